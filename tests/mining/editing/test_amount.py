"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.editing.amount import Amount, parse_amount
from schemas.directions import Response
from schemas.errors import InputError
from tests.storage.sample_cards import sample_card


def card(unit="degrees", spread=15.0):
    return sample_card(
        attribute="yaw", unit=unit, responses=(Response("yaw", unit, 1.0, 1.0, 1.0, spread),)
    )


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("10deg", Amount(0, 10, "deg")),
        (" -5.5 degrees ", Amount(0, -5.5, "degrees")),
        ("-20deg..20deg", Amount(-20, 20, "deg")),
        ("-20..20°", Amount(-20, 20, "°")),
        ("-20DEG .. 20deg", Amount(-20, 20, "deg")),
        ("0.1", Amount(0, 0.1, "")),
        ("1e-2mm", Amount(0, 0.01, "mm")),
        ("0..-2s", Amount(0, -2, "s")),
        ("5..-5", Amount(5, -5, "")),
    ],
)
def test_what_is_written_is_read(text, amount):
    assert parse_amount(text) == amount


@given(st.floats(-1e6, 1e6).filter(bool), st.sampled_from(["", "deg", "mm", "s"]))
def test_an_amount_survives_being_written(number, unit):
    amount = parse_amount(f"{number!r}{unit}")
    assert amount == Amount(0.0, number, unit)
    assert parse_amount(str(amount)).last == pytest.approx(number, rel=1e-8)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("far", "'far' cannot be read; expected such as 10deg"),
        ("", "cannot be read"),
        ("10..", "cannot be read"),
        ("10 deg 20", "cannot be read"),
        ("nan", "cannot be read"),
        ("9" * 300, "cannot be read"),
        ("1e999deg", "no change that is a number"),
        ("0deg", "no change"),
        ("3deg..3deg", "no change"),
        ("10deg..20mm", "begins in deg and ends in mm"),
        ("10deg..20", "begins in deg and ends in no unit"),
    ],
)
def test_what_is_no_amount_is_refused(text, says):
    with pytest.raises(InputError, match=says):
        parse_amount(text)


def test_units_are_those_of_the_attribute():
    assert parse_amount("10deg").ends(card()) == (0, 10)
    assert parse_amount("-3..3").ends(card("mm")) == (-3, 3)
    assert parse_amount("-1..2s").ends(card()) == (-15, 30)
    assert parse_amount("0.2").ends(card("1")) == (0, 0.2)
    for text, unit, says in (
        ("10deg", "mm", "10deg came for 'yaw', which is counted in mm; expected"),
        ("10mm", "degrees", "10mm .* counted in degrees \\(deg\\)"),
        ("10years", "1", "counted in plain numbers"),
    ):
        with pytest.raises(InputError, match=says):
            parse_amount(text).ends(card(unit))
    with pytest.raises(InputError, match="the spread of 'yaw' was not measured"):
        parse_amount("1s").ends(card(spread=float("nan")))
