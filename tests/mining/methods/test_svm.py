"""The SVM: its protocol, its held-out accuracy, ties."""

from __future__ import annotations

import pytest

from mining.methods.svm import SvmConfig, mine_svm


@pytest.fixture
def planted(rng):
    latents = rng.normal(size=(1000, 8))
    return latents, 5 * latents[:, 0] + rng.normal(size=1000)


def test_shares_and_split_are_those_of_the_protocol(planted):
    found = mine_svm(*planted, SvmConfig(share=0.1))
    assert found.evidence["rows"] == 2 * 70
    assert found.evidence["held_out_rows"] == 2 * 30
    default = mine_svm(*planted)
    assert default.evidence["rows"] + default.evidence["held_out_rows"] == 2 * 20


def test_accuracy_is_that_of_rows_not_trained_on(rng):
    latents, noise = rng.normal(size=(400, 100)), rng.normal(size=400)
    found = mine_svm(latents, noise, SvmConfig(share=0.25, cost=1.0))
    assert found.evidence["train_accuracy"] > 0.9  # memorised
    assert 0.25 < found.evidence["accuracy"] < 0.75  # and found to be nothing
    latents[:, 0] += 3 * noise
    assert mine_svm(latents, noise, SvmConfig(share=0.25)).evidence["accuracy"] > 0.9


def test_the_seed_draws_the_split(planted):
    first = mine_svm(*planted, SvmConfig(share=0.2))
    second = mine_svm(*planted, SvmConfig(share=0.2, seed=1))
    assert first.vector @ second.vector < 1 - 1e-6


def test_tied_scores_are_split_without_using_a_row_twice(rng):
    latents = rng.normal(size=(200, 4))
    scores = (latents[:, 0] > 1.5).astype(float)  # few ones: the high end is filled with zeros
    found = mine_svm(latents, scores, SvmConfig(share=0.5))
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == 200
    assert found.vector[0] > 0.5


def test_takes_a_few_rows_where_the_share_gives_less(rng):
    latents = rng.normal(size=(40, 3))
    found = mine_svm(latents, latents[:, 1])
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == 16
