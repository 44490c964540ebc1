"""Ridge readings: one attribute's ridge for each target, and what groups leave out."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.gcv_ridge import centred_within, fit_ridge, fit_within, untied
from mining.methods.ridge import fit_ridge as fit_one
from schemas.errors import InputError


@pytest.fixture
def rows(rng):
    """Latents of uneven spread and three targets: clear, noisy, and noise alone."""
    latents = rng.normal(size=(300, 20)) * np.geomspace(0.1, 3, 20)
    truth = rng.normal(size=(3, 20)) * [[1.0], [1.0], [0.0]]
    noise = rng.normal(size=(300, 3)) * [0.01, 5.0, 1.0]
    return latents, latents @ truth.T + noise + [5.0, -3.0, 0.5], truth


def test_every_target_is_the_ridge_of_that_target_alone(rows):
    latents, targets, _ = rows
    found = fit_ridge(latents, targets)
    for k in range(3):
        alone = fit_one(latents, targets[:, k])
        np.testing.assert_allclose(found.weights[k], alone.weights, rtol=1e-8, atol=1e-10)
        assert found.penalty[k] == pytest.approx(alone.penalty)
        assert found.r2[k] == pytest.approx(alone.r2_gcv)
    assert found.penalty[0] < found.penalty[1] < found.penalty[2]
    assert found.rows == 300


def test_reads_new_latents_as_well_as_it_says(rows, rng):
    latents, targets, truth = rows
    found = fit_ridge(latents[:150], targets[:150])
    gaps = targets[150:] - found.read(latents[150:])
    r2 = 1 - (gaps**2).mean(axis=0) / targets[150:].var(axis=0)
    np.testing.assert_allclose(found.r2, r2, atol=0.15)
    np.testing.assert_allclose(found.weights[0], truth[0], atol=0.05)
    np.testing.assert_allclose(found.read(found.centre[None]), found.mean[None])


def test_more_numbers_than_rows_are_the_dual_form(rng):
    latents, targets = rng.normal(size=(30, 80)), rng.normal(size=(30, 2))
    found = fit_ridge(latents, targets, penalties=np.array([0.7, 11.0]))
    x, y = latents - latents.mean(axis=0), targets - targets.mean(axis=0)
    for k, penalty in enumerate((0.7, 11.0)):
        by_hand = np.linalg.solve(x.T @ x + penalty * np.eye(80), x.T @ y[:, k])
        np.testing.assert_allclose(found.weights[k], by_hand, atol=1e-10)


@pytest.mark.parametrize("penalties", [None, 2.5])
def test_rows_of_w_plus_that_are_all_equal_share_the_weights(rows, penalties):
    """As the ridge of all 80 numbers has it, though 20 are solved."""
    latents, targets, _ = rows
    tied = np.tile(latents, (1, 4))
    four = fit_ridge(tied, targets, penalties)
    x, y = tied - tied.mean(axis=0), targets - targets.mean(axis=0)
    for k in range(3):
        by_hand = np.linalg.solve(x.T @ x + four.penalty[k] * np.eye(80), x.T @ y[:, k])
        np.testing.assert_allclose(four.weights[k], by_hand, atol=1e-9)
    np.testing.assert_allclose(four.centre, tied.mean(axis=0), atol=1e-12)
    if penalties is None:
        one = fit_ridge(latents, targets)
        np.testing.assert_allclose(four.read(tied), one.read(latents), atol=1e-9)
        np.testing.assert_allclose(four.r2, one.r2, atol=1e-9)
        np.testing.assert_allclose(four.penalty, 4 * one.penalty)


def test_thousands_of_tied_rows_are_solved_as_one(rng):
    """9,216 numbers in 3,000 rows: 660 MB and minutes, were they not seen to repeat."""
    w = rng.normal(size=(3000, 512)).astype(np.float32)
    targets = w[:, :4] + rng.normal(size=(3000, 4))
    found = fit_ridge(np.tile(w, (1, 18)), targets)
    assert found.weights.shape == (4, 18 * 512)
    np.testing.assert_allclose(found.r2, fit_ridge(w, targets).r2, atol=1e-9)


def test_what_repeats_is_found_and_nothing_else():
    row = np.arange(12.0)
    for count, copies in ((1, 1), (3, 3), (6, 6)):
        narrow, found = untied(np.tile(row, (5, count)))
        assert (narrow.shape, found) == ((5, 12), copies)
    nearly = np.tile(row, (5, 3))
    nearly[4, 30] += 1
    assert untied(nearly)[1] == 1
    assert untied(np.tile([1.0, 2, 1], (5, 1)))[1] == 1  # 1 2 1 begins and ends alike


def test_a_row_with_a_gap_is_dropped_from_all_targets(rows):
    latents, targets, _ = rows
    holed = targets.copy()
    holed[::7, 1] = np.nan
    kept = np.isfinite(holed).all(axis=1)
    found, by_hand = fit_ridge(latents, holed), fit_ridge(latents[kept], targets[kept])
    np.testing.assert_array_equal(found.weights, by_hand.weights)
    assert found.rows == kept.sum()


@pytest.fixture
def people(rng):
    """60 people in 4 rows each, whose identity moves the measured yaw as much as their yaw does."""
    identity, yaw = rng.normal(size=(60, 5)), rng.normal(size=(240, 1))
    groups = np.repeat(np.arange(60), 4)
    latents = np.concatenate([yaw, identity[groups] + 0.3 * yaw], axis=1)
    measured = 10 * yaw + 10 * identity[groups][:, :1] + 0.1 * rng.normal(size=(240, 1))
    return latents, measured, groups


def test_within_groups_what_groups_share_has_no_say(people):
    latents, measured, groups = people
    within = fit_within(latents, measured, groups)
    motion = np.array([1.0, *[0.3] * 5])  # how a latent moves with one unit of yaw
    assert within.weights[0] @ motion == pytest.approx(10, rel=0.01)
    cosine = within.weights[0] @ motion / np.linalg.norm(within.weights) / np.linalg.norm(motion)
    assert cosine > 0.999  # nothing but the motion is read
    across = fit_ridge(latents, measured)
    assert across.weights[0, 1] > 5  # identity, which is no yaw


def test_within_is_ridge_of_centred_rows(people):
    latents, measured, groups = people
    found = fit_within(latents, measured, groups, penalties=3.0)
    x, y = centred_within(latents, groups), centred_within(measured, groups)
    np.testing.assert_allclose(x[:4].mean(axis=0), 0, atol=1e-12)
    by_hand = np.linalg.solve(x.T @ x + 3 * np.eye(6), x.T @ y).T
    np.testing.assert_allclose(found.weights, by_hand, atol=1e-9)
    np.testing.assert_allclose(found.centre, latents.mean(axis=0))
    np.testing.assert_allclose(found.mean, measured.mean(axis=0))


def test_rows_alone_of_no_group_or_with_gaps_are_left_out(people):
    latents, measured, groups = people
    more = np.concatenate([latents, latents[:3] + 9, latents[:2] - 9])
    targets = np.concatenate([measured, measured[:3] + 99, [[np.nan], [5.0]]])
    numbers = np.concatenate([groups, [-1, -1, 1000], [1001, 1001]])
    found = fit_within(more, targets, numbers)
    by_hand = fit_within(latents, measured, groups)
    np.testing.assert_array_equal(found.weights, by_hand.weights)
    assert found.rows == 240


def test_within_groups_tied_rows_of_w_plus_are_one(people):
    latents, measured, groups = people
    one, three = (fit_within(np.tile(latents, (1, k)), measured, groups) for k in (1, 3))
    np.testing.assert_allclose(three.weights, np.tile(one.weights, (1, 3)) / 3, atol=1e-9)
    np.testing.assert_allclose(three.r2, one.r2, atol=1e-9)


def test_groups_cost_their_degrees_of_freedom(rng):
    """Noise in groups of two: half of the freedom went into the means, and r2 stays near 0."""
    latents, targets = rng.normal(size=(400, 10)), rng.normal(size=(400, 1))
    assert fit_within(latents, targets, np.arange(400) // 2).r2[0] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :0], y), r"latents \(300, 0\) and targets \(300, 3\)"),
        (lambda x, y: (x[:9], y), r"latents \(9, 20\) and targets \(300, 3\) do not pair up"),
        (lambda x, y: (x * np.nan, y), "NaN or infinity"),
        (lambda x, y: (x, y * np.nan), "0 of 300 rows have all 3 targets"),
        (lambda x, y: (x * 0, y), "latents are equal"),
    ],
)
def test_errors_say_what_came(rows, change, message):
    latents, targets, _ = rows
    with pytest.raises(InputError, match=message):
        fit_ridge(*change(latents, targets))


def test_wrong_penalties_groups_and_latents_are_errors(rows):
    latents, targets, _ = rows
    with pytest.raises(InputError, match="one or 3 numbers above 0"):
        fit_ridge(latents, targets, penalties=0.0)
    with pytest.raises(InputError, match="one whole number a row"):
        fit_within(latents, targets, np.zeros(300))
    with pytest.raises(InputError, match=r"latents \(300, 20\) and targets \(9, 3\) do not pair"):
        fit_within(latents, targets[:9], np.arange(300) // 2)
    with pytest.raises(InputError, match=r"latents \(\) and targets"):
        fit_within(np.float64(1), targets, np.arange(300) // 2)
    with pytest.raises(InputError, match="no group has two rows"):
        fit_within(latents, targets, np.arange(300))
    with pytest.raises(InputError, match=r"latents \(300, 19\) came, expected \(N, 20\)"):
        fit_ridge(latents, targets).read(latents[:, 1:])
