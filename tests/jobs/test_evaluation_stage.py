"""Evaluation without Ray: conditions, sizes and layers reach the images."""

from __future__ import annotations

import os

import numpy as np
import pytest

from jobs.attributes import attribute_pairs
from jobs.evaluation_stage import Evaluator, spread_along
from jobs.mining_stage import check_mining
from mining.description import describe
from mining.methods.base import Direction
from schemas.errors import RunError
from schemas.settings import EvaluationSettings, RunSettings
from tests.examples.noise import DIM, LAYERS
from tests.examples.posed import PosedPoints

READER = "tests.examples.points:PointsExtractor"


def evaluator(generator: str, extractors: dict, identities: int = 5, **dataset) -> Evaluator:
    settings = RunSettings.model_validate(
        {
            "generator": {"name": generator},
            "extractors": extractors,
            "dataset": {"samples": 10, "shard_size": 10, **dataset},
            "evaluation": {"identities": identities, "steps": [-1.0, 1.0]},
        }
    )
    return Evaluator(describe(settings).content, settings.evaluation)


def test_held_out_identities_have_cameras_of_their_own():
    stage = evaluator("tests.examples.posed:PosedPoints", {READER: {"blind_every": 3}})
    bases = stage.bases()
    assert bases.condition.shape == (5, 3) and len(np.unique(bases.condition)) == 15
    assert bases.seen.all()  # those without a face were passed over, camera and all
    generator = PosedPoints()
    direction = Direction("ridge", generator.truth_rows[2].astype(float), 1.0)
    index, done = stage.rescore(4, direction, 0.5, bases)
    assert index == 4
    np.testing.assert_allclose(done.column("camera", "pitch"), np.tile(bases.condition[:, 1:2], 3))


def test_an_evaluator_without_a_gpu_of_its_own_sees_none(monkeypatch):
    settings = RunSettings.model_validate(
        {
            "generator": {"name": "tests.examples.gpu_model:GpuGenerator"},
            "extractors": {READER: {}},
        }
    )
    for gpus, seen in ((0.0, ""), (0.5, "0"), (None, "0")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
        content = describe(settings).content
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        Evaluator(content, settings.evaluation, gpus)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    with pytest.raises(RunError, match="'gpu_model' would run here in another way"):
        Evaluator(content, settings.evaluation, 0.0)


def test_the_cameras_angles_are_attributes_where_they_are_asked_for():
    for asked in (["yaw"], ["camera_yaw", "smile"]):
        settings = RunSettings.model_validate(
            {
                "generator": {"name": "tests.examples.posed:PosedPoints"},
                "extractors": {READER: {}},
                "mining": {"attributes": asked, "methods": {"ridge": {}}},
            }
        )
        manifest = describe(settings)
        check_mining(settings.mining, manifest)
        pairs = attribute_pairs(settings, manifest)
        assert pairs["smile"] == ("points", "smile")
        assert pairs.get("camera_yaw") == (("camera", "yaw") if "camera_yaw" in asked else None)


def test_a_direction_moves_its_layers_alone_and_images_have_the_datasets_size():
    reads = {"tests.jobs.test_evaluation_stage:Corner": {}}
    stage = evaluator("tests.examples.noise:NoiseGenerator", reads, image_size=16)
    bases = stage.bases()
    assert set(bases.measured.values[:, 1]) == {16.0}
    step = np.eye(DIM)[0]
    done = [
        stage.rescore(0, Direction("sefa", step, np.nan, layers=layers), 1.0, bases)[1]
        for layers in ((), (0, 1, 2, 3), (2,))
    ]
    whole, named, part = (one.column("corner", "grey") for one in done)
    np.testing.assert_array_equal(whole, named)
    assert np.abs(whole - part).max() > 1


class Corner:
    """Measures the grey of the image's corner, and its size."""

    def __new__(cls):
        from mining.extractors.base import OK, Column, Measurement

        class Reader:
            name, needs, licence = "corner", (), "none"
            columns = {"grey": Column((), "1", "mean"), "size": Column((), "1", "pixels")}

            def fingerprint(self) -> str:
                return "0" * 64

            def __call__(self, images, earlier) -> Measurement:
                count, size = len(images), images.shape[1]
                grey = images[:, : size // 4, : size // 4].mean(axis=(1, 2, 3)).astype("f4")
                values = {"grey": grey, "size": np.full(count, size, "f4")}
                return Measurement((OK,) * count, values)

        return Reader()


def test_sigma_along_w_is_the_spread_of_its_own_coordinate(rng):
    latents = rng.normal(size=(500, DIM)).astype(np.float32)
    direction = Direction("pca", np.eye(DIM)[3], np.nan)
    expected = latents[:, 3].astype(np.float64).std()
    assert spread_along(latents, direction, LAYERS) == pytest.approx(expected)


def test_sigma_of_w_in_latents_of_w_plus_is_that_of_the_rows_that_move(rng):
    """Two truncated rows spread half as far as the other two."""
    w = rng.normal(size=(500, DIM)).astype(np.float32)
    rows = w[:, None] * np.array([0.5, 0.5, 1, 1], np.float32)[:, None]
    latents, one = rows.reshape(500, -1), w[:, 3].astype(np.float64).std()
    step = np.eye(DIM)[3]
    for layers, expected in (((0, 1), 0.5), ((2,), 1.0), ((), np.sqrt((0.25 + 1) / 2))):
        direction = Direction("pca", step, np.nan, layers=layers)
        assert spread_along(latents, direction, LAYERS) == pytest.approx(expected * one)
    whole = Direction("ridge", np.outer([1, 0, 0, 0], step), 1.0, space="w+")
    assert spread_along(latents, whole, LAYERS) == pytest.approx(0.5 * one)


def test_sigma_of_w_plus_in_latents_of_w_is_that_along_the_sum_of_its_rows(rng):
    w = rng.normal(size=(500, DIM)).astype(np.float32)
    direction = Direction("matrix", rng.normal(size=(LAYERS, DIM)), 1.0, space="w+")
    tied = np.repeat(w[:, None], LAYERS, axis=1).reshape(500, -1)
    expected = spread_along(tied, direction, LAYERS)
    assert spread_along(w, direction, LAYERS) == pytest.approx(expected, rel=1e-6)


def test_steps_and_identities_come_from_the_settings():
    settings = EvaluationSettings(identities=5, steps=[-1.0, 1.0])
    bases = evaluator("tests.examples.points:PointsGenerator", {READER: {}}).bases()
    assert bases.condition is None and len(bases.w_plus) == settings.identities
