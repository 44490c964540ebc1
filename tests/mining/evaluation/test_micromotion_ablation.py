"""Ablations of micromotions on a linear world: what more anchors and identities bring, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from mining.evaluation.micromotion_ablation import AblationConfig, ablate, damage, plan
from mining.methods.anchors import Anchors
from mining.methods.control import ControlModel
from mining.methods.micromotion import MicromotionConfig
from schemas.errors import InputError
from tests.mining.editing import planted

WIDTH, ROWS = 32, 200
QUICK = AblationConfig(
    anchors=(1, 2, 4, 8, 16), identities=(1, 3), repeats=4, base=MicromotionConfig(degrees=8)
)


@pytest.fixture
def world(rng):
    """A linear regressor; the attribute is its fifth code in degrees, and the truth its slope."""
    regressor = planted.linear_regressor(rng, WIDTH)
    control = ControlModel(planted.shape_model(rng), regressor)
    latents = rng.normal(size=(ROWS, WIDTH))
    scores = np.degrees(regressor.predict(latents)[:, 4])
    truth = np.linalg.lstsq(latents, scores - scores.mean(), rcond=None)[0]
    return control, latents, scores, truth


def of(found, study: str, damaged: bool, **wanted):
    return [
        point
        for point in found.points
        if point.study == study
        and point.damaged == damaged
        and all(getattr(point, name) == value for name, value in wanted.items())
    ]


def test_clean_anchors_find_the_truth_and_damage_asks_for_more(world):
    control, latents, scores, truth = world
    told = []
    found = ablate(control, latents, scores, QUICK, truth=truth, watch=lambda: told.append(1))
    assert found.known and found.reference == "the generator's true direction"
    assert len(told) == len(found.points) == len(plan(QUICK)) == 2 * (5 * 3 + 2 * 2 + 9)
    clean = [point for point in found.points if not point.damaged]
    assert all(point.cosine > 0.999 for point in clean if point.decomposition != "robust_pca")
    # of two or four rows the pursuit takes a part for damage
    assert all(point.cosine > 0.98 for point in clean if point.anchors >= 8)
    hurt = of(found, "anchors", True, decomposition="robust_pca")
    assert [point.anchors for point in hurt] == [1, 2, 4, 8, 16]
    assert hurt[-1].cosine > hurt[0].cosine + 0.1
    plain = of(found, "anchors", True, decomposition="pca")
    assert hurt[-1].cosine > plain[-1].cosine
    for point in found.points:
        assert point.worst <= point.cosine + 1e-12 and point.low <= point.cosine <= point.high
        assert point.repeats == 4
    again = ablate(control, latents, scores, QUICK, truth=truth)
    assert again == found


def test_without_a_truth_cosines_are_to_the_most_anchors(world):
    control, latents, scores, truth = world
    found = ablate(control, latents, scores, QUICK)
    assert not found.known and "16 clean anchors of 3 identities" in found.reference
    same = ablate(control, latents, scores, QUICK, truth=truth)
    for one, other in zip(found.points, same.points, strict=True):
        assert one.cosine == pytest.approx(other.cosine, abs=0.02)


def test_no_damage_leaves_half_of_the_plan(world):
    control, latents, scores, _ = world
    config = AblationConfig(anchors=(2,), identities=(1,), repeats=1, damaged=0.0)
    found = ablate(control, latents, scores, config)
    assert not any(point.damaged for point in found.points)
    assert all(np.isnan(point.low) for point in found.points)  # one repeat has no interval


def test_damage_hits_a_share_and_leaves_the_rest(rng):
    latents = np.arange(1.0, 9)[:, None] * np.ones(50)
    anchors = Anchors(latents, np.arange(8.0), np.zeros(8, int), np.zeros((1, 50)))
    hurt = damage(anchors, 0.25, 2.0, rng)
    moved = np.linalg.norm(hurt.latents - latents, axis=1)
    assert (moved > 0).sum() == 2
    np.testing.assert_allclose(moved[moved > 0], 2 * 8 * np.sqrt(50))
    assert ((hurt.latents != latents).sum(axis=1) <= 5).all()
    np.testing.assert_array_equal(damage(anchors, 0.0, 2.0, rng).latents, latents)


def test_mistakes_are_told(world):
    control, latents, scores, truth = world
    for change, said in [
        ({"anchors": ()}, "anchors are"),
        ({"anchors": (0,)}, "is 0"),
        ({"identities": (101,)}, "1 to 100"),
        ({"damaged": 1.0}, "damaged is 1.0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"strength": -1.0}, "strength"),
    ]:
        with pytest.raises(InputError, match=said):
            AblationConfig(**change)
    with pytest.raises(InputError, match="identities asked of 20 rows"):
        ablate(control, latents[:20], scores[:20], AblationConfig(identities=(21,)))
    with pytest.raises(InputError, match=r"truth \(31,\)"):
        ablate(control, latents, scores, QUICK, truth=truth[:-1])
