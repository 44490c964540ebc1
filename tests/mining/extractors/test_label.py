"""Labels on images that are in no dataset: the same values from measurements as from columns."""

from __future__ import annotations

import numpy as np
import pytest

from mining.description import describe
from mining.extractors.base import measure
from mining.extractors.label import Labels
from mining.labels import attribute_values, make_labels
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import claim
from storage.selecting import row_fields
from storage.shards import commit

READER = "tests.examples.points:PointsExtractor"
LABELS = {
    "grin": "smile > 0.2 or mouth_open > 1",
    "turn": "abs(yaw) + 2 * pitch",
    "far": "points_landmarks[8, 1] - points_landmarks[27, 1]",
    "seen": "points_status = 'ok'",
    "first": "w[0] > 0",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of 40 images, some without a face, and those images."""
    settings = RunSettings.model_validate(
        {
            "generator": {"name": "tests.examples.points:PointsGenerator"},
            "extractors": {READER: {"blind_every": 4}},
            "dataset": {"samples": 40, "shard_size": 20, "thumbnail": 0},
        }
    )
    manifest = describe(settings)
    store = Store(str(tmp_path_factory.mktemp("label") / "dataset"))
    claim(store, manifest)
    renderer, measurer = Renderer(manifest), Measurer(manifest)
    images = []
    for shard in range(manifest.shards):
        table = renderer(shard)
        images.append(measurer.images(table))
        commit(store, manifest, shard, measurer(table))
    return Dataset(store.url), np.concatenate(images), measurer.extractors


def test_an_image_has_the_label_that_its_row_has(made):
    dataset, images, extractors = made
    labels = make_labels(LABELS)
    known = attribute_values(dataset, labels, labels)
    measurer = Labels(labels, row_fields(dataset.manifest), extractors)
    found = measure([*extractors, measurer], images)["label"]
    missed = np.isnan(known["turn"])
    assert 3 < missed.sum() < 30  # images without a face are among them
    for name in ("grin", "turn", "far", "seen"):
        np.testing.assert_array_equal(found.values[name], known[name].astype(np.float32))
    assert known["seen"].tolist() == (~missed).tolist()


def test_what_reads_the_latents_is_unknown_on_images(made):
    dataset, images, extractors = made
    labels = make_labels(LABELS)
    assert np.isfinite(attribute_values(dataset, ["first"], labels)["first"]).all()
    measurer = Labels(labels, row_fields(dataset.manifest), extractors)
    assert np.isnan(measure([*extractors, measurer], images)["label"].values["first"]).all()


def test_another_expression_is_another_fingerprint(made):
    dataset, _, extractors = made
    columns = row_fields(dataset.manifest)
    prints = {
        Labels(make_labels({"a": text}), columns, extractors).fingerprint()
        for text in ("yaw > 1", "yaw > 2", "yaw >= 1")
    }
    assert len(prints) == 3
