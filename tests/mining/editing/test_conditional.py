"""Conditional boundaries: orthogonal to all that are held, in any order, in W and W+."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.conditional import conditional
from mining.methods.base import Direction
from schemas.errors import InputError


def made(rng, name: str, shape=(16,), **more) -> Direction:
    vector = rng.normal(size=shape)
    return Direction("svm", vector / np.linalg.norm(vector), 2.0, name, "1", **more)


@pytest.mark.parametrize(("space", "shape"), [("w", (16,)), ("w+", (3, 8))])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_is_orthogonal_to_every_held_one(rng, space, shape, count):
    smile, *others = (made(rng, f"a{k}", shape, space=space) for k in range(count + 1))
    found = conditional(smile, others)
    assert found.vector.shape == shape
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    for other in others:
        assert np.vdot(found.vector, other.vector) == pytest.approx(0, abs=1e-12)
        cosine = np.vdot(smile.vector, other.vector)
        assert found.evidence[f"cosine_{other.attribute}"] == pytest.approx(cosine)
    assert found.evidence["held"] == count
    assert 0 < found.evidence["kept"] == pytest.approx(np.vdot(found.vector, smile.vector))
    again = conditional(smile, others[::-1])
    np.testing.assert_allclose(again.vector, found.vector, atol=1e-12)


def test_is_the_papers_equation_for_one(rng):
    smile, age = made(rng, "smile"), made(rng, "age")
    left = smile.vector - (smile.vector @ age.vector) * age.vector
    np.testing.assert_allclose(conditional(smile, [age]).vector, left / np.linalg.norm(left))
    assert conditional(smile, []) is smile


def test_its_slope_is_that_of_the_gradient(rng):
    smile, age, weights = made(rng, "smile"), made(rng, "age"), rng.normal(size=16)
    assert np.isnan(conditional(smile, [age]).slope)
    found = conditional(smile, [age], weights)
    assert found.slope == pytest.approx(weights @ found.vector)


def test_what_does_not_fit_is_refused(rng):
    smile = made(rng, "smile")
    with pytest.raises(InputError, match="in w and age .* in w\\+ came"):
        conditional(smile, [made(rng, "age", (2, 8), space="w+")])
    with pytest.raises(InputError, match="nothing is left"):
        conditional(smile, [made(rng, "age"), smile])
