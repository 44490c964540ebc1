"""Responses from images and from the dataset together, in a world that is linear."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.pooled import measured_alone, pooled_responses
from schemas.errors import InputError

ROWS, WIDTH, DIRECTIONS, ATTRIBUTES = 400, 30, 6, 3


@pytest.fixture
def world(rng):
    """Latents, noisy scores, directions, and what a unit step along each truly does."""
    latents = rng.normal(size=(ROWS, WIDTH))
    gradients = rng.normal(size=(ATTRIBUTES, WIDTH)) / np.sqrt(WIDTH)
    scores = latents @ gradients.T + rng.normal(size=(ROWS, ATTRIBUTES))
    vectors = rng.normal(size=(DIRECTIONS, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return latents, scores, vectors, vectors @ gradients.T


def test_both_sources_together_are_nearer_the_truth_than_either(world):
    latents, scores, vectors, truth = world
    misses = {"measured": 0.0, "dataset": 0.0, "both": 0.0}
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=truth.shape)
        measured, errors = truth + 0.05 * noise, np.full(truth.shape, 0.05)
        unknown = np.full(truth.shape, np.nan)
        ways = {
            "measured": measured,
            "dataset": pooled_responses(vectors, measured, unknown, latents, scores).responses,
            "both": pooled_responses(vectors, measured, errors, latents, scores).responses,
        }
        for name, found in ways.items():
            misses[name] += float(((found - truth) ** 2).mean())
    assert misses["both"] < 0.9 * min(misses["measured"], misses["dataset"])


def test_doubts_tell_how_far_the_responses_are_off(world):
    latents, scores, vectors, truth = world
    errors = np.full(truth.shape, 0.05)
    found = pooled_responses(vectors, truth, errors, latents, scores)
    assert (np.diagonal(found.doubts, axis1=1, axis2=2) < 0.05**2).all()
    assert (np.linalg.eigvalsh(found.doubts) > -1e-12).all()
    # errors far below the dataset's own leave the responses as they were measured
    sure = pooled_responses(vectors, truth, np.full(truth.shape, 1e-6), latents, scores)
    np.testing.assert_allclose(sure.responses, truth, atol=1e-6)


def test_what_the_dataset_does_not_hold_stays_as_it_was_measured(world):
    latents, scores, vectors, truth = world
    scores[:, 1] = np.nan  # a label, say
    errors = np.full(truth.shape, 0.05)
    found = pooled_responses(vectors, truth, errors, latents, scores)
    alone = measured_alone(vectors, truth, errors)
    np.testing.assert_allclose(found.responses[:, 1], truth[:, 1], atol=0.002)
    np.testing.assert_array_equal(found.doubts[1], alone.doubts[1])
    assert not np.array_equal(found.responses[:, 0], truth[:, 0])


def test_directions_that_depend_on_each_other_have_responses_that_do(world, rng):
    _, _, vectors, truth = world
    shares = rng.normal(size=DIRECTIONS)
    size = np.linalg.norm(shares @ vectors)
    vectors = np.vstack([vectors, shares @ vectors / size]).astype(np.float32).astype(float)
    told = np.vstack([truth, shares @ truth / size + 0.1])  # what was measured along it disagrees
    errors = np.full(told.shape, 0.03)
    found = measured_alone(vectors, told, errors)
    gap = found.responses[-1] - shares @ found.responses[:-1] / size
    assert np.abs(gap).max() < 1e-4
    np.testing.assert_allclose(found.responses[:-1], truth, atol=0.11)
    spread = np.diagonal(found.doubts, axis1=1, axis2=2)
    assert (spread <= 1.001 * 0.03**2).all()
    blind = measured_alone(vectors, told, np.full(told.shape, np.nan))
    assert np.isfinite(blind.responses).all()


def test_shapes_that_do_not_fit_are_named(world):
    latents, scores, vectors, truth = world
    with pytest.raises(InputError, match=r"directions \(6, 30\).*scores \(400, 2\)"):
        pooled_responses(vectors, truth, truth, latents, scores[:, :2])
