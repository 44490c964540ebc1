"""A shard is a pure function of its manifest and number."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mining.description import describe, describe_extractors, manifest_of
from mining.generators.base import TrueFaces, Truth
from mining.latents import shard_latents
from mining.rendering import pack_images, unpack_images
from mining.sampling import Measurer, Renderer
from schemas.errors import InputError, RunError
from schemas.samples import from_column
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import Manifest
from storage.shards import commit, encode
from tests.examples.points import PointsGenerator

POINTS = "tests.examples.points:PointsGenerator"
READER = "tests.examples.points:PointsExtractor"


def settings(**dataset) -> RunSettings:
    return RunSettings.model_validate(
        {
            "generator": {"name": POINTS},
            "extractors": {READER: {"blind_every": 7}},
            "dataset": {"samples": 25, "shard_size": 10, "thumbnail": 16, **dataset},
        }
    )


def make(manifest: Manifest, shard: int):
    return Measurer(manifest)(Renderer(manifest)(shard))


def test_shards_are_the_same_bytes_every_time_and_differ_from_each_other():
    manifest = describe(settings())
    first, again = (encode(make(manifest, 1), manifest) for _ in range(2))
    assert first == again
    assert first != encode(make(manifest, 0), manifest)


def test_the_last_shard_holds_what_is_left():
    manifest = describe(settings())
    assert manifest.shards == 3
    assert make(manifest, 2).column("index").to_pylist() == [20, 21, 22, 23, 24]


def test_the_stored_w_made_the_image():
    manifest = describe(settings())
    table = make(manifest, 0)
    w = from_column(table.column("w"))
    generator = PointsGenerator()
    seen = from_column(table.column("points_landmarks"))
    ok = np.array(table.column("points_status").to_pylist()) == "ok"
    assert 0 < ok.sum() <= len(ok)
    expected = generator.landmarks(generator.broadcast(w))
    np.testing.assert_allclose(seen[ok], expected[ok], atol=1e-4)
    assert np.isnan(seen[~ok]).all()


def test_statuses_reach_the_receipt(tmp_path):
    manifest = describe(settings(samples=60, shard_size=60))
    receipt = commit(Store(str(tmp_path)), manifest, 0, make(manifest, 0))
    counts = receipt.statuses["points"]
    assert sum(counts.values()) == 60
    assert counts["no_face"] > 0


def test_truncation_with_a_cutoff_stores_the_rows_of_w_plus():
    manifest = describe(settings(psi=0.5, cutoff=1))
    table = make(manifest, 0)
    rows, z = from_column(table.column("w_plus")), from_column(table.column("z"))
    np.testing.assert_allclose(rows[:, 0], 0.5 * z, rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], z, rtol=1e-6)


def test_space_w_plus_draws_each_layer_by_itself():
    dataset = settings(space="w+").dataset.model_dump()
    made = shard_latents(PointsGenerator(), dataset, 0, 5)
    assert made.z.shape == made.w_plus.shape == (5, 2, 24)
    assert not np.allclose(made.w_plus[:, 0], made.w_plus[:, 1])


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"samples": 26}, {"psi": 0.7}, {"batch_size": 3}, {"image_size": 16}]
)
def test_every_dataset_setting_names_another_dataset(change):
    assert describe(settings(**change)).dataset_id != describe(settings()).dataset_id


def test_workers_do_not_change_the_manifest():
    one, two = settings(), settings()
    two = two.model_copy(update={"engine": two.engine.model_copy(update={"workers": 9})})
    assert describe(one).to_bytes() == describe(two).to_bytes()


def test_a_cutoff_beyond_the_layers_is_refused():
    with pytest.raises(InputError, match="cutoff 3 came; points has 2 rows"):
        describe(settings(cutoff=3))


def test_other_weights_on_a_node_are_refused():
    content = dict(describe(settings()).content)
    content["generator"] = {**content["generator"], "fingerprint": "0" * 64}
    with pytest.raises(RunError, match="install the same versions"):
        Renderer(Manifest(content))


class Noted:
    """Passes calls on and notes how many rows each brought."""

    def __init__(self, inner):
        self.inner, self.sizes = inner, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def synthesize(self, w_plus, condition=None):
        self.sizes.append(len(w_plus))
        return self.inner.synthesize(w_plus, condition)

    def __call__(self, images, earlier):
        self.sizes.append(len(images))
        return self.inner(images, earlier)


def test_generator_and_extractors_are_called_with_batches_of_the_manifests_size():
    manifest = describe(settings(batch_size=4))
    renderer, measurer = Renderer(manifest), Measurer(manifest)
    renderer.generator = made = Noted(renderer.generator)
    measurer.extractors = [measured] = [Noted(extractor) for extractor in measurer.extractors]
    table = measurer(renderer(0))
    assert made.sizes == measured.sizes == [4, 4, 2]
    assert table.equals(make(describe(settings(batch_size=4)), 0))


class Truthful(Noted):
    """A generator that knows the truth: all zeros, one parameter."""

    def truth(self):
        direction = np.eye(1, self.inner.w_dim, dtype=np.float32)
        return Truth(("yaw",), ("degrees",), (0,), direction)

    def synthesize_with_truth(self, w_plus):
        shapes = ((len(w_plus), 1), (len(w_plus), 68, 2), (len(w_plus), 68, 3))
        faces = TrueFaces(*(np.zeros(shape, np.float32) for shape in shapes))
        return self.synthesize(w_plus), faces


def test_a_generator_with_truth_is_called_with_batches_too():
    renderer = Renderer(describe(settings(batch_size=4)))
    renderer.generator = made = Truthful(renderer.generator)
    assert from_column(renderer(0).column("truth_landmarks_3d")).shape == (10, 68, 3)
    assert made.sizes == [4, 4, 2]


def test_images_survive_packing():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    import pyarrow as pa

    np.testing.assert_array_equal(unpack_images(pa.chunked_array([pack_images(images)]), 8), images)


def test_other_library_versions_are_refused():
    content = dict(describe(settings()).content)
    content["made_with"] = {**content["made_with"], "numpy": "1.0"}
    assert Manifest(content).dataset_id != describe(settings()).dataset_id
    for load in (Renderer, Measurer):
        with pytest.raises(RunError, match=r"has numpy \S+, not 1\.0"):
            load(Manifest(content))


def test_an_option_of_an_extractor_may_be_null(monkeypatch):
    """Null is a value: of shape3d's focal length it means weak perspective."""
    from tests.examples import points

    class Nullable(points.PointsExtractor):
        fingerprint_tells_all = True

        def __init__(self, focal: float | None = 4.0):
            super().__init__()
            self._focal = focal

        def fingerprint(self):
            return hashlib.sha256(repr(self._focal).encode()).hexdigest()

    monkeypatch.setattr(points, "Nullable", Nullable, raising=False)
    name = "tests.examples.points:Nullable"
    asked = settings().model_copy(update={"extractors": {name: {"focal": None}}})
    manifest = describe(asked)
    assert manifest.extractors[0]["options"] == {"focal": None}
    Measurer(manifest)  # raises where it is another one


@pytest.mark.parametrize("name", ["sample", "truth", "camera", "w"])
def test_an_extractor_cannot_fill_the_datasets_own_columns(name, monkeypatch):
    from tests.examples import points

    class Own(points.PointsExtractor):
        pass

    Own.name = name
    monkeypatch.setattr(points, "Own", Own, raising=False)
    asked = settings().model_copy(update={"extractors": {"tests.examples.points:Own": {}}})
    with pytest.raises(InputError, match="begins columns of the dataset itself"):
        describe(asked)


def test_two_columns_of_one_name_are_refused():
    told = describe_extractors(settings())
    with pytest.raises(InputError, match="stands twice in the dataset"):
        manifest_of(settings(), told, told)
