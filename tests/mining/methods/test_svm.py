"""The SVM: its protocol, its held-out accuracy, ties."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.svm import SvmConfig, mine_svm
from schemas.errors import InputError


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


def test_equal_scores_never_stand_on_both_ends(rng):
    latents = rng.normal(size=(1000, 8))
    scores = np.zeros(1000)
    scores[np.argsort(latents[:, 0])[-21:]] = 1
    found = mine_svm(latents, scores, SvmConfig(share=0.3))
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == 300 + 21
    assert found.vector[0] > 0.8
    negated = mine_svm(latents, -scores, SvmConfig(share=0.3))
    np.testing.assert_allclose(negated.vector, -found.vector, atol=1e-6)
    assert negated.evidence == found.evidence


def test_ties_inside_an_end_are_drawn_alike_for_negated_scores(planted):
    latents, scores = planted
    rounded = np.round(scores / 5)
    found, negated = (mine_svm(latents, x, SvmConfig(share=0.25)) for x in (rounded, -rounded))
    np.testing.assert_allclose(negated.vector, -found.vector, atol=1e-6)


def test_tied_rows_join_the_end_that_has_none(rng):
    latents = rng.normal(size=(400, 5))
    scores = np.where(latents[:, 1] < -1, latents[:, 1], 0)  # most are 0, the rest below
    found = mine_svm(latents, scores, SvmConfig(share=0.5))
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == (scores < 0).sum() + 200
    assert found.vector[1] > 0.8


def test_refuses_an_end_of_one_row(rng):
    scores = np.zeros(50)
    scores[7] = 1
    with pytest.raises(InputError, match="0 scores lie under 0 and 1 above it, the other 49"):
        mine_svm(rng.normal(size=(50, 4)), scores, SvmConfig(share=0.3))


def test_accuracy_weighs_both_ends_alike(rng):
    scores = np.zeros(500)
    scores[:20] = 1  # noise: always saying "low" would be right in 93 of 100 rows
    found = mine_svm(rng.normal(size=(500, 3)), scores, SvmConfig(share=0.5))
    assert found.evidence["accuracy"] < 0.75


def test_takes_a_few_rows_where_the_share_gives_less(rng):
    latents = rng.normal(size=(40, 3))
    found = mine_svm(latents, latents[:, 1])
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == 16


def test_all_rows_train_on_both_sides_of_the_median(planted):
    found = mine_svm(*planted, SvmConfig(split="all"))
    assert found.evidence["rows"] + found.evidence["held_out_rows"] == 1000
    assert found.evidence["converged"] == 1
    ends = mine_svm(*planted, SvmConfig(share=0.5))
    np.testing.assert_allclose(found.vector, ends.vector, atol=1e-9)  # both halves are all


def test_a_threshold_divides_all_rows(rng):
    latents = rng.normal(size=(2000, 6))
    scores = np.where(latents[:, 0] > 1, 5 + latents[:, 1], latents[:, 2])
    found = mine_svm(latents, scores, SvmConfig(split="all", threshold=3.0))
    assert found.vector[0] > 0.95
    assert mine_svm(latents, scores, SvmConfig(split="all")).vector[2] > 0.5
    with pytest.raises(InputError, match="0 above it"):
        mine_svm(latents, scores, SvmConfig(split="all", threshold=99.0))


def test_balance_finds_the_rare_class(rng):
    latents = rng.normal(size=(2000, 4))
    rare = (latents[:, 0] + 0.5 * rng.normal(size=2000) > 2).astype(float)
    found = {
        balance: mine_svm(latents, rare, SvmConfig(split="all", cost=1.0, balance=balance))
        for balance in (True, False)
    }
    assert found[True].evidence["accuracy"] > found[False].evidence["accuracy"] + 0.1


def test_more_numbers_than_rows_is_no_trouble(rng):
    latents = rng.normal(size=(60, 200))
    found = mine_svm(latents, 10 * latents[:, 0], SvmConfig(split="all"))
    assert found.vector[0] == max(abs(found.vector))


def test_what_has_not_converged_says_so(planted):
    found = mine_svm(*planted, SvmConfig(split="all", iterations=1))
    assert found.evidence["converged"] == 0 and found.evidence["iterations"] == 1
