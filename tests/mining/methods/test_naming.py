"""Names by measured responses: planted shares, noise that gives no name, coordinates and scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.naming import associations, name_components, name_of
from schemas.directions import Response
from schemas.errors import InputError

NAMES = ("yaw", "smile", "age")


def test_a_direction_is_named_by_the_strongest_share_of_its_response():
    found = name_components(np.array([[0.9, 0.3, -0.3], [0.0, -2.0, 0.0]]), NAMES)
    assert [name.attribute for name in found] == ["yaw", "smile"]
    assert found[0].purity == pytest.approx(0.81 / 0.99)
    assert str(found[0]) == "yaw (82 % of its response)"
    assert (found[1].response, found[1].purity) == (-2.0, 1.0)


def test_what_may_be_noise_gives_no_name_and_makes_none_purer():
    responses = np.array([[0.5, 0.4, math.nan], [0.1, -0.1, 0.0], [math.nan] * 3])
    wide = np.array([[0.6, 0.1, 0.0], [0.2, 0.2, 0.2], [0.1, 0.1, 0.1]])
    found = name_components(responses, NAMES, responses - wide, responses + wide)
    assert [name.attribute for name in found] == ["smile", None, None]
    assert found[0].purity == pytest.approx(0.16 / 0.41)  # yaw, larger but unsure, counts
    assert str(found[1]) == "nothing for sure" and math.isnan(found[1].purity)


def test_a_card_is_named_by_its_responses():
    yaw = Response("yaw", "degrees", 9.0, 8.0, 10.0, 10.0)
    smile = Response("smile", "1", -0.3, -0.4, -0.2, 1.0)
    unsure = Response("age", "years", 30.0, -5.0, 60.0, 10.0)
    flat = Response("camera_yaw", "degrees", 0.0, 0.0, 0.0, 0.0)
    assert str(name_of([yaw, smile, flat])) == "yaw (90 % of its response)"
    assert name_of([yaw, unsure]).attribute == "yaw"
    assert name_of([unsure]).attribute is None and name_of([]).attribute is None


SIZES = st.floats(-1e150, 1e150, allow_subnormal=False).filter(lambda x: not 0 < abs(x) < 1e-150)


@given(
    st.lists(SIZES, min_size=3, max_size=3).filter(any),
    st.permutations(range(3)),
    st.floats(1e-3, 1e3),
)
def test_the_name_hangs_on_no_order_sign_or_scale(row, order, scale):
    responses = np.array([row])
    (name,) = name_components(responses, NAMES)
    (moved,) = name_components(-scale * responses[:, order], [NAMES[k] for k in order])
    assert 1 / 3 - 1e-12 <= name.purity <= 1
    assert moved.purity == pytest.approx(name.purity)
    if sorted(map(abs, row))[-1] > 1.001 * sorted(map(abs, row))[-2]:
        assert moved.attribute == name.attribute


def test_coordinates_go_along_with_planted_scores(rng):
    along = rng.normal(size=(6000, 3)) * [5.0, 1.0, 0.2]
    unit = along / [5.0, 1.0, 0.2]
    scores = np.stack(
        [
            0.6 * unit[:, 0] + 0.8 * rng.normal(size=6000),
            unit @ [0.0, 3.0, -4.0],
            rng.normal(size=6000),
            np.ones(6000),
        ],
        axis=1,
    )
    scores[::4, 0] = np.nan
    found, low, high = associations(along, scores)
    wanted = np.array([[0.6, 0, 0], [0, 0.6, 0], [0, -0.8, 0]])
    np.testing.assert_allclose(found[:, :3], wanted, atol=0.06)
    assert ((low <= wanted_of(wanted)) & (wanted_of(wanted) <= high))[:, :3].all()
    assert np.isnan(found[:, 3]).all()
    names = name_components(found, ["a", "b", "none", "flat"], low, high)
    assert [name.attribute for name in names] == ["a", "b", "b"]


def wanted_of(wanted: np.ndarray) -> np.ndarray:
    """With a column for the score that does not spread."""
    return np.column_stack([wanted, np.zeros(3)])


def test_chance_names_nothing(rng):
    """Of 20 components and 10 scores that have nothing to do with them: 200 intervals hold 0."""
    named = 0
    for _ in range(20):
        found = associations(rng.normal(size=(200, 20)), rng.normal(size=(200, 10)))
        names = name_components(found[0], [str(k) for k in range(10)], *found[1:])
        named += sum(name.attribute is not None for name in names)
    assert named <= 5  # one in 20 tries has a name among all 200 numbers, by the coverage


def test_few_or_wrong_numbers(rng):
    few = associations(rng.normal(size=(3, 2)), rng.normal(size=(3, 1)))
    assert all(np.isnan(part).all() for part in few)
    with pytest.raises(InputError, match=r"\(2, 2\) .* and 3 attributes"):
        name_components(np.ones((2, 2)), NAMES)
    with pytest.raises(InputError, match=r"\(4, 2\) and scores \(3, 1\)"):
        associations(np.ones((4, 2)), np.ones((3, 1)))
