"""The control model's rows: which are read, drawn, and shown in the report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jobs.control_stage import _choice
from jobs.mining_data import MiningData
from jobs.mining_stage import Mined
from jobs.publish import shape_of
from mining.methods.choice import choose_components
from mining.methods.control import fit_control
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from tests.jobs.planted_dataset import Made, write_dataset
from tests.mining.methods.test_refine import planted

ROWS = 60


@pytest.fixture
def data(rng) -> MiningData:
    """Latents, and ten landmarks that are measured in every row."""
    landmarks, q = planted(rng, rows=ROWS)
    landmarks = landmarks[:, ::3]
    latents = np.concatenate([q, rng.normal(size=(ROWS, 4))], axis=1).astype(np.float32)
    shape = latents.shape[1:]
    return MiningData(latents, "w", shape, {}, {}, landmarks.astype(np.float32), {}, {})


def mined(data: MiningData, rows) -> Mined:
    nrsfm = NrsfmConfig(1, sweeps=5, grid=100)
    regressor = RegressorConfig(hidden=(8,), epochs=2)
    control = fit_control(data.latents[rows], data.landmarks[rows], nrsfm, regressor)
    return Mined((), {}, control, {})


def spoilt(data: MiningData, missing=(), flat=()) -> MiningData:
    landmarks = data.landmarks.copy()
    landmarks[list(missing)] = np.nan
    landmarks[list(flat)] = np.linspace(0.2, 0.8, landmarks.shape[1])[:, None]
    return dataclasses.replace(data, landmarks=landmarks)


def written(data: MiningData, folder):
    return write_dataset(folder, {"planted": Made({"landmarks": data.landmarks})}, ROWS)


def test_a_row_whose_landmarks_lie_on_one_line_is_not_shown(data, tmp_path):
    found = mined(data, np.arange(5, ROWS))
    bad = spoilt(data, missing=[0, 1], flat=[2, 3, 4])
    shown = shape_of(found, bad, written(data, tmp_path), 0)
    assert sum(shown.errors.predicted) == ROWS - 5
    assert all(sample.row >= 5 for sample in shown.samples)
    assert np.isfinite(bad.landmarks[2]).all()  # what was read stays as it is


def test_a_model_of_five_rows_is_shown(data, tmp_path):
    few = spoilt(data, missing=range(5, ROWS))
    shown = shape_of(mined(data, np.arange(5)), few, written(data, tmp_path), 0)
    assert sum(shown.errors.predicted) == 5
    assert {sample.row for sample in shown.samples} <= set(range(5))


def test_nothing_is_shown_where_no_method_needed_the_model(data, tmp_path):
    assert shape_of(Mined((), {}, None, {}), data, written(data, tmp_path), 0) is None


def test_the_choice_of_k_skips_what_cannot_be_used_and_says_nothing_of_few_rows(data):
    curve = _choice(spoilt(data, missing=[7], flat=[20]), 3)
    kept = np.delete(data.landmarks, [7, 20], axis=0)
    assert curve == choose_components(np.asarray(kept, np.float64), seed=3)
    assert _choice(spoilt(data, missing=range(10, ROWS)), 3) is None
