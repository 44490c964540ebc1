"""What people write of codes is what is aimed at, and what cannot be meant is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.editing.request import Change, Request, parse_request, shown, unit_of
from mining.methods.camera import component_names
from schemas.errors import InputError

NAMES = component_names(4)


def codes(rows=3):
    q = np.arange(rows * len(NAMES), dtype=float).reshape(rows, -1) / 100
    q[:, [0, 2]] = 1.0
    return q


def test_equals_sets_and_plus_equals_changes_in_degrees_and_fractions():
    q = codes()
    request = parse_request("yaw=20, Pitch += 5,roll-=2.5, alpha_3=.3, t_x+=0.02")
    target, asked = request.target(q, NAMES)
    column = {name: target[:, NAMES.index(name)] for name in NAMES}
    before = {name: q[:, NAMES.index(name)] for name in NAMES}
    np.testing.assert_allclose(column["yaw"], math.radians(20))
    np.testing.assert_allclose(column["pitch"], before["pitch"] + math.radians(5))
    np.testing.assert_allclose(column["roll"], before["roll"] - math.radians(2.5))
    np.testing.assert_allclose(column["alpha_3"], 0.3)
    np.testing.assert_allclose(column["t_x"], before["t_x"] + 0.02)
    named = {name for name, wanted in zip(NAMES, asked, strict=True) if wanted}
    assert named == {"yaw", "pitch", "roll", "alpha_3", "t_x"}
    np.testing.assert_array_equal(target[:, ~asked], q[:, ~asked])


def test_an_s_counts_spreads_from_the_mean_or_from_what_is():
    q, mean, spread = codes(), np.full(len(NAMES), 0.5), np.full(len(NAMES), 0.1)
    place = NAMES.index("alpha_2")
    target, _ = parse_request("alpha_2=-2s").target(q, NAMES, mean, spread)
    np.testing.assert_allclose(target[:, place], 0.3)
    target, _ = parse_request("alpha_2+=1.5s").target(q, NAMES, mean, spread)
    np.testing.assert_allclose(target[:, place], q[:, place] + 0.15)
    with pytest.raises(InputError, match="counts spreads"):
        parse_request("alpha_2=2s").target(q, NAMES)


@pytest.mark.parametrize(
    "text", ["", "yaw", "yaw=", "yaw=high", "yaw==3", "=3", "yaw=3;pitch=2", "yaw=1e999", "yaw=nan",
             "yaw=3,,pitch=2", "yaw=3 4", "yaw*=2", "yaw=0x10", "yaw=2ss", "x" * 20_000,
             "yaw=1..", "yaw=..2", "yaw=1..2..3", "yaw=1....2", "alpha_0=1s..2", "yaw=1..1e999"]
)  # fmt: skip
def test_what_is_no_request_is_told_how_one_looks(text):
    with pytest.raises(InputError, match="edit: "):
        parse_request(text)


def test_a_code_that_comes_twice_or_is_unknown_is_named():
    with pytest.raises(InputError, match="asks for yaw twice"):
        parse_request("yaw=3, pitch=2, yaw+=1")
    with pytest.raises(InputError, match="unknown code 'yav'; did you mean 'yaw'.*alpha_3"):
        parse_request("yav=3").target(codes(), NAMES)
    with pytest.raises(InputError, match="unknown code 'alpha_4'"):
        parse_request("alpha_4=3").target(codes(), NAMES)


def test_what_no_camera_is_and_what_no_image_showed_is_refused():
    q = codes()
    for text in ("yaw=181", "pitch=91", "roll-=400"):
        with pytest.raises(InputError, match="degrees; expected -"):
            parse_request(text).target(q, NAMES)
    with pytest.raises(InputError, match="more than 0"):
        parse_request("k11-=1").target(q, NAMES)
    mean, spread = np.zeros(len(NAMES)), np.full(len(NAMES), math.radians(10))
    parse_request("yaw=60").target(q, NAMES, mean, spread)
    with pytest.raises(InputError, match="61, which is 6.1 spreads.*expected -60 to 60"):
        parse_request("yaw=61").target(q, NAMES, mean, spread)


def test_two_values_are_the_ends_of_a_sweep():
    q, mean, spread = codes(), np.full(len(NAMES), 0.5), np.full(len(NAMES), 0.1)
    request = parse_request(
        "yaw=-20..20, roll-=5..2.5, alpha_1 = -2s .. 2s, t_x+=1e-2, pitch=.5...5"
    )
    assert request.sweeps and not request.begin.sweeps and not parse_request("yaw=20").sweeps
    (first, asked), (last, same) = (
        each.target(q, NAMES, mean, 10 * spread) for each in (request.begin, request)
    )
    np.testing.assert_array_equal(asked, same)
    before, first, last = (dict(zip(NAMES, rows.T, strict=True)) for rows in (q, first, last))
    np.testing.assert_allclose(np.degrees([first["yaw"], last["yaw"]]), [[-20] * 3, [20] * 3])
    moved = np.degrees([end["roll"] - before["roll"] for end in (first, last)])
    np.testing.assert_allclose(moved, [[-5] * 3, [-2.5] * 3])
    np.testing.assert_allclose([first["alpha_1"], last["alpha_1"]], [[-1.5] * 3, [2.5] * 3])
    np.testing.assert_array_equal(first["t_x"], last["t_x"])
    np.testing.assert_allclose(np.degrees([first["pitch"], last["pitch"]]), 0.5)
    with pytest.raises(InputError, match="asks for -200 degrees"):
        parse_request("yaw=-200..20").begin.target(q, NAMES)


finite = st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}"))
changes = st.builds(Change, st.sampled_from(NAMES), finite, st.booleans(), st.booleans(),
                    st.none() | finite)  # fmt: skip


@given(st.lists(changes, min_size=1, max_size=6, unique_by=lambda change: change.code))
def test_a_request_reads_what_it_writes(listed):
    request = Request(tuple(listed))
    assert parse_request(str(request)) == request


def test_values_are_shown_as_they_are_written():
    assert shown("pitch", math.pi / 2) == pytest.approx(90)
    assert shown("alpha_1", 0.25) == 0.25
    assert [unit_of(code) for code in ("roll", "t_y", "alpha_0")] == [
        "degrees",
        "of the image",
        "1",
    ]
