"""Names of expressions become columns that clash with none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.shape3d.expression_names import RESERVED, column_names
from schemas.errors import InputError

TAKEN = {"yaw", "scale", "expression"}


def test_names_are_normalised():
    said = ("happiness", "Mouth Open (L)", "__x--y__", "yaw", "status", "expression_0")
    assert column_names("who", said, TAKEN) == (
        *("happiness", "mouth_open_l", "x_y", "expression_yaw", "expression_status"),
        "expression_expression_0",
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Ärger!", "rger"), "'Ärger!' and 'rger' would both be the column 'rger'"),
        (("yaw", "expression yaw"), "would both be the column 'expression_yaw'"),
        (("é",), "makes no column"),
        (("",), "makes no column"),
        (("a" * 65,), "makes no column"),
        (tuple(f"n{k}" for k in range(129)), "129 named expressions"),
    ],
)
def test_names_that_make_no_columns_are_refused(names, says):
    with pytest.raises(InputError, match=says) as caught:
        column_names("who", names, TAKEN)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@given(st.lists(st.text(max_size=80), max_size=6))
def test_whatever_comes_out_is_a_new_column(names):
    try:
        found = column_names("who", names, TAKEN)
    except InputError:
        return
    assert len(set(found)) == len(names) and not set(found) & {*TAKEN, *RESERVED}
    assert all(re.fullmatch("[a-z0-9_]{1,64}", name) for name in found)
