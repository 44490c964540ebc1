"""Scores of transfers: planted errors come back as they were planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.evaluation.face_distances import cosines, normalised_error, placed
from mining.evaluation.transfer_scores import BARS, Names, Side, Told, Trial, score
from schemas.errors import InputError

NAMES = ("yaw", "pitch", "roll", "jaw_open", "smile", "frown")
STILL = ("age", "hair", "nose", "lamp", "wall")
GROUPS = ("age", "colour", "identity", "scene", "scene")
PAIRS = 400


def side(rng, count: int = PAIRS) -> Side:
    """Random faces; the truth is what is measured."""
    moving = rng.normal(size=(count, 6)) * [20, 10, 5, 4, 1, 1]
    told = Told(moving, rng.normal(size=(count, 5)) * [1, 2, 3, 4, 5])
    points = rng.uniform(0.3, 0.7, size=(count, 68, 2))
    faces = rng.normal(size=(count, 16))
    return Side(told, points, faces / np.linalg.norm(faces, axis=1, keepdims=True), told, points)


def trial(rng, **more) -> Trial:
    names = Names(NAMES, STILL, GROUPS, np.array([1, 1, 1, 2.0, 0.5, 0.25]))
    plain = Names(NAMES, STILL)
    return Trial("cross", side(rng), side(rng), plain, names, **more)


def perfect(pairs: Trial) -> Side:
    """The sources with the targets' pose and expression, and the targets' landmarks."""
    told = Told(pairs.target.measured.moving.copy(), pairs.source.measured.still.copy())
    points = pairs.target.landmarks.copy()
    return Side(told, points, pairs.source.descriptors.copy(), told, points)


def changed(one: Side, moving=0.0, still=0.0) -> Side:
    told = Told(one.measured.moving + moving, one.measured.still + still)
    return replace(one, measured=told, true=told)


def test_a_perfect_transfer_misses_nothing_and_meets_every_bar(rng):
    pairs = trial(rng)
    row = score("perfect", "latents", pairs, perfect(pairs), resamples=50)
    for view in ("measured", "true"):
        found = row.views[view]
        assert found["pose"].value == found["exp"].value == found["moved"].value == 0
        assert found["expression"].value == pytest.approx(1.0)
        assert found["nme"].value == 0
        assert row.joint[view].value == pytest.approx(0.0, abs=1e-9)
        assert row.meets[view] == dict.fromkeys(BARS, True)
    assert row.identity["csim"].value == pytest.approx(1.0)
    assert row.identity["same"].value == 1 and row.best_view == "true"
    assert (row.pairs, row.faces) == (PAIRS, PAIRS)


def test_planted_errors_come_back(rng):
    pairs = trial(rng)
    signs = rng.choice([-1.0, 1.0], size=(PAIRS, 1))
    wrong = changed(perfect(pairs), signs * [6, 3, 1.5, 4, 0.5, 0.25], signs * [0.5, 0, 0, 8, 0])
    row = score("wrong", "latents", pairs, wrong, resamples=50)
    found = row.views["true"]
    assert [found[n].value for n in ("yaw", "pitch", "roll", "pose")] == pytest.approx(
        [6, 3, 1.5, 3.5]
    )
    assert found["exp"].value == pytest.approx(0.375)  # without the jaw, which is no expression
    assert found["exp_ranged"].value == pytest.approx((4 / 2 + 0.5 / 0.5 + 0.25 / 0.25) / 3)
    assert "exp_ranged" not in row.views["measured"]  # its ranges are not known
    pooled = np.concatenate([pairs.source.measured.still, pairs.target.measured.still]).std(axis=0)
    assert found["moved age"].value == pytest.approx(0.5 / pooled[0])
    assert found["moved scene"].value == pytest.approx(8 / pooled[3] / 2)
    assert found["moved"].value == pytest.approx(0.5 / pooled[0] / 3)  # the scene is no person
    measured = row.views["measured"]["moved"].value
    assert measured == pytest.approx((0.5 / pooled[0] + 8 / pooled[3]) / 5)
    r = np.corrcoef(wrong.measured.moving[:, 4], pairs.target.measured.moving[:, 4])[0, 1]
    assert found["r smile"].value == pytest.approx(r)
    both = found["r smile"].value + found["r frown"].value
    assert found["expression"].value == pytest.approx(both / 2)
    assert row.meets["true"]["pose"] is False  # by its worst angle
    expected = np.mean(
        [3.5 / 3, (1 - both / 2) / 0.15, found["moved"].value / 0.15, 0.0],
    )
    assert row.joint["true"].value == pytest.approx(expected)


def test_unedited_sources_show_what_pairs_have_in_common(rng):
    pairs = trial(rng)
    row = score("unedited", "", pairs, pairs.source, resamples=200)
    found = row.views["true"]
    gap = np.abs(pairs.source.measured.moving - pairs.target.measured.moving)[:, :3].mean()
    assert found["pose"].value == pytest.approx(gap)
    assert found["pose"].low < gap < found["pose"].high
    assert abs(found["expression"].value) < 0.15 and found["moved"].value == 0
    assert found["expression"].low < 0 < found["expression"].high


def test_faces_that_were_lost_cost_only_what_needs_them(rng):
    pairs = trial(rng)
    row = changed(perfect(pairs), moving=1.0)
    for array in (row.measured.moving, row.measured.still, row.landmarks, row.descriptors):
        array[:40] = np.nan
    told = Told(row.measured.moving.copy(), row.measured.still.copy())
    told.moving[:40], told.still[:40] = 1, 1
    found = score("some", "images", pairs, replace(row, true=told), resamples=20)
    assert found.faces == PAIRS - 40
    assert found.views["measured"]["pose"].value == pytest.approx(1.0)
    assert found.views["true"]["pose"].value != pytest.approx(1.0)
    assert np.isfinite(found.identity["same"].value)


@pytest.mark.parametrize(("distance", "threshold"), [("euclidean", 1.0), ("cosine", 0.5)])
def test_one_identity_is_told_by_the_threshold_of_the_distance(rng, distance, threshold):
    pairs = trial(rng, distance=distance, threshold=threshold)
    turned = pairs.source.descriptors.copy()
    turned[:100] = -turned[:100]
    row = score("some", "", pairs, replace(perfect(pairs), descriptors=turned), resamples=20)
    assert row.identity["same"].value == pytest.approx(0.75)
    assert row.identity["csim"].value == pytest.approx(0.5)
    unknown = replace(pairs, threshold=None)
    row = score("some", "", unknown, perfect(pairs), resamples=20)
    assert np.isnan(row.identity["same"].value) and "same" not in row.meets["true"]
    assert row.joint["true"].value == pytest.approx(0.0, abs=1e-9)


def test_without_descriptors_and_truth_the_rest_is_told(rng):
    pairs = trial(rng)
    none = np.empty((PAIRS, 0))
    bare = [
        replace(one, descriptors=none, true=None, true_landmarks=None)
        for one in (pairs.source, pairs.target, changed(perfect(pairs), moving=2.0))
    ]
    row = score("bare", "", Trial("self", *bare[:2], pairs.measured), bare[2], resamples=20)
    assert set(row.views) == {"measured"} == set(row.joint)
    assert row.views["measured"]["pose"].value == pytest.approx(2.0)
    assert np.isnan(row.identity["csim"].value) and np.isfinite(row.joint["measured"].value)


def test_landmarks_are_compared_with_the_ideal_image_where_there_is_one(rng):
    pairs = trial(rng)
    off = replace(perfect(pairs), landmarks=pairs.target.landmarks + [0.03, 0.04])
    row = score("off", "", pairs, off, resamples=20)
    box = np.ptp(pairs.target.landmarks, axis=1).prod(axis=1)
    assert row.views["measured"]["nme"].value == pytest.approx(np.mean(50 / np.sqrt(box)))
    assert row.views["measured"]["nme_placed"].value == pytest.approx(0.0, abs=1e-9)
    row = score("off", "", replace(pairs, ideal=off), off, resamples=20)
    assert row.views["measured"]["nme"].value == 0


def test_the_error_of_landmarks_by_hand():
    wanted = np.array([[[0.0, 0.0], [0.4, 0.0], [0.0, 0.1]]])
    found = wanted + [[0.003, 0.004], [0, 0], [0, 0.01]]
    assert normalised_error(found, wanted) == pytest.approx(1000 * (0.005 + 0.01) / 3 / 0.2)
    np.testing.assert_allclose(placed(3 * wanted + 0.5, wanted), wanted, atol=1e-12)
    mirrored = placed(wanted[..., ::-1], wanted)  # a turn is not taken back
    assert normalised_error(mirrored, wanted) > 100
    assert np.isnan(normalised_error(found, np.zeros((1, 3, 2))))
    assert np.isnan(cosines(np.zeros((1, 3)), np.ones((1, 3))))


def test_rows_of_one_seed_are_resampled_alike(rng):
    pairs = trial(rng)
    noise = rng.normal(size=(PAIRS, 6))
    one = score("one", "", pairs, changed(perfect(pairs), 5 + noise), 200, seed=3)
    two = score("two", "", pairs, changed(perfect(pairs), 6 + noise), 200, seed=3)
    gaps = two.replicates["true pose"] - one.replicates["true pose"]
    assert gaps.std() < 0.05 * one.replicates["true pose"].std()
    other = score("one", "", pairs, changed(perfect(pairs), 5 + noise), 200, seed=4)
    assert other.views["true"]["pose"].value == one.views["true"]["pose"].value
    assert other.views["true"]["pose"].low != one.views["true"]["pose"].low


def test_an_interval_is_that_of_the_mean(rng):
    pairs = trial(rng)
    miss = rng.exponential(size=(PAIRS, 1))
    row = score("some", "", pairs, changed(perfect(pairs), miss), resamples=2000)
    found = row.views["true"]["pose"]
    half = 1.96 * miss.std() / PAIRS**0.5
    assert found.value == pytest.approx(miss.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_sides_that_do_not_pair_up_are_refused(rng):
    pairs = trial(rng)
    with pytest.raises(InputError, match="400 targets and 3 reenacted"):
        score("few", "", pairs, side(rng, 3))
    fewer = replace(pairs, measured=Names(NAMES[:5], STILL))
    with pytest.raises(InputError, match="6 parameters and 5 others came for 5 and 5 names"):
        score("names", "", fewer, perfect(pairs))
    with pytest.raises(InputError, match="resamples is 0"):
        score("none", "", pairs, perfect(pairs), resamples=0)
