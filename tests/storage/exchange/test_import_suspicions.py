"""What is no direction is told from what is one, on arrays of which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from storage.exchange.suspicions import lopsidedness, suspicions, tied


def latents_of_w(seed: int, count: int, width: int = 512) -> np.ndarray:
    """w of a mapping network with random weights: leaky ReLUs of slope 0.2 (StyleGAN)."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, width))
    rows /= np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    for _ in range(4):
        rows = rows @ rng.normal(size=(width, width)) / np.sqrt(width)
        rows = np.where(rows > 0, rows, 0.2 * rows) * np.sqrt(2)
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_absolute_latents_of_w_are_told_from_their_differences(seed):
    latents = latents_of_w(seed, 40)
    assert lopsidedness(latents).min() > 3
    assert all("absolute latents of W" in suspicions(row, "")[0] for row in latents)
    moved = (latents[:20] - latents[20:]) / 2  # whole, some are by chance as long as a z
    mean = moved.mean(axis=0)
    told = " ".join(text for row in (*moved, mean) for text in suspicions(row, ""))
    assert "absolute" not in told


def test_the_rows_are_named():
    code = np.random.default_rng(0).normal(size=(6, 512)) / 30
    code[[1, 4]] = latents_of_w(1, 2)
    (said,) = suspicions(code, "")
    assert said.startswith("rows 1, 4 look like absolute latents of W")


def test_random_rows_raise_no_suspicion():
    rows = np.random.default_rng(1).normal(size=(3000, 512))
    lengths = np.linspace(0.6, 20, len(rows))
    rows *= (lengths / np.linalg.norm(rows, axis=1))[:, None]
    assert not [text for row in rows for text in suspicions(row, "e4e")]


def test_an_absolute_latent_of_z():
    rows = np.random.default_rng(2).normal(size=(200, 512))
    assert all("absolute latent of Z" in suspicions(row, "")[0] for row in rows)
    assert suspicions(rows[0] / np.linalg.norm(rows[0]), "") == []


@pytest.mark.parametrize(
    ("norm", "says"), [(1.0, ""), (88.3, ""), (0.01, "0.01"), (1e4, "1e+04"), (1e-20, "1e-20")]
)
def test_wild_norms(norm, says):
    """(18, 512), the norm spread over its rows; the published ones range from 1 to 88."""
    code = np.random.default_rng(3).normal(size=(18, 512))
    told = suspicions(norm * code / np.linalg.norm(code), "micromotion")
    assert [f"its norm is {says};" in text for text in told][:1] == ([True] if says else [])


def test_a_row_that_is_longer_than_latents_lie_apart():
    code = np.random.default_rng(4).normal(size=(18, 512)) / 50
    code[1] *= 40 / np.linalg.norm(code[1])
    (said,) = suspicions(code, "micromotion")
    assert said.startswith("row 1 have") or said.startswith("row 1 has")
    assert "40" in said and "about 32" in said


def test_boundaries_have_norm_one():
    row = np.random.default_rng(5).normal(size=512)
    row /= np.linalg.norm(row)
    assert suspicions(row, "interfacegan") == []
    assert "boundary of norm 2" in suspicions(2 * row, "interfacegan_c_age")[0]
    assert suspicions(2 * row, "e4e") == []


def test_rows_of_zeros():
    code = np.random.default_rng(6).normal(size=(4, 512)) / 20
    code[[0, 3]] = 0
    assert "rows 0, 3 hold only 0" in suspicions(code, "")[0]
    assert suspicions(code, "", (1, 2)) == []  # where it is said that it moves the others
    assert "hold only 0" in suspicions(code, "", (1, 2, 3))[0]


@pytest.mark.parametrize(("norm", "wild"), [(0.4, False), (0.12, False), (0.1, True), (101, True)])
def test_a_direction_of_some_layers_may_be_short(norm, wild):
    """One row of 18 of a direction of norm 0.5 has 0.12; with no row of 0, 0.4 is short."""
    code = np.random.default_rng(6).normal(size=(18, 512))
    code[4:] = 0
    code *= norm / np.linalg.norm(code)
    assert bool([text for text in suspicions(code, "", range(4)) if "its norm" in text]) == wild
    full = np.random.default_rng(6).normal(size=(18, 512))
    assert suspicions(0.4 * full / np.linalg.norm(full), "")[0].startswith("its norm is 0.4;")


def test_identical_rows_are_one_row():
    row = np.random.default_rng(7).normal(size=512)
    np.testing.assert_array_equal(tied(np.tile(row, (18, 1))), row)
    rounded = np.tile(row, (18, 1)).astype(np.float32).astype(np.float64)
    rounded[3] *= 1 + 1e-7
    assert tied(rounded) is not None
    other = np.tile(row, (18, 1))
    other[3, 5] += 0.01
    assert tied(other) is None and tied(row) is None
