"""Images of the size that the extractors read, from generators that offer more and less."""

from __future__ import annotations

import numpy as np
import pytest

from mining.description import describe
from mining.evaluation.thumbnails import jpeg
from mining.generators.base import Resizing, Streaming
from mining.rendering import check_size, downscale, images_of
from mining.sampling import Measurer, Renderer
from schemas.errors import InputError, RunError
from schemas.settings import RunSettings
from storage.dataset import image_size
from storage.manifest import Manifest
from tests.examples.noise import EDGE, NoiseGenerator
from tests.examples.points import PointsGenerator
from tests.examples.posed import StreamingPoints


def settings(generator: str = "tests.examples.noise:NoiseGenerator", **dataset) -> RunSettings:
    return RunSettings.model_validate(
        {
            "generator": {"name": generator},
            "extractors": {"tests.examples.points:PointsExtractor": {}},
            "dataset": {
                "samples": 12, "shard_size": 12, "batch_size": 5, "thumbnail": 8, **dataset
            },
        }
    )  # fmt: skip


def latents(generator, count: int = 3) -> np.ndarray:
    return generator.broadcast(generator.map(generator.sample_z(count, np.random.default_rng(0))))


@pytest.mark.parametrize("size", [32, 16, 8])
def test_a_smaller_image_is_the_mean_of_its_areas(rng, size):
    images = rng.integers(0, 256, (2, EDGE, EDGE, 3), dtype=np.uint8)
    part = EDGE // size
    means = images.reshape(2, size, part, size, part, 3).mean(axis=(2, 4))
    assert np.abs(downscale(images, size) - means).max() <= 0.5 + 1e-6


def test_an_odd_size_averages_too(rng):
    """White noise of 64 px averaged to 48 px keeps its mean and loses spread."""
    images = rng.integers(0, 256, (1, EDGE, EDGE, 3), dtype=np.uint8)
    small = downscale(images, 48)
    assert small.mean() == pytest.approx(images.mean(), abs=0.5)
    assert small.std() < 0.8 * images.std()


def test_the_extractors_read_images_of_the_size_in_the_manifest():
    manifest = describe(settings(image_size=16))
    images = Measurer(manifest).images(Renderer(manifest)(0))
    whole = describe(settings())
    full = Measurer(whole).images(Renderer(whole)(0))
    assert full.shape == (12, EDGE, EDGE, 3)
    np.testing.assert_array_equal(images, downscale(full, 16))


def test_no_size_leaves_the_manifest_as_it_was_before_there_was_one():
    manifest = describe(settings())
    assert "image_size" not in manifest.settings
    assert image_size(manifest) == EDGE
    sized = describe(settings(image_size=32))
    assert (image_size(sized), sized.settings["image_size"]) == (32, 32)
    assert sized.dataset_id != manifest.dataset_id
    assert image_size(Manifest.from_bytes(manifest.to_bytes(), "here")) == EDGE


def test_images_are_never_enlarged():
    with pytest.raises(InputError, match="image_size 65 came; noise makes images of 64 px"):
        describe(settings(image_size=65))
    check_size(NoiseGenerator(), 64)
    check_size(NoiseGenerator(), None)


class OnDevice(NoiseGenerator):
    """Makes its images smaller itself."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def synthesize_at(self, w_plus, condition, size):
        self.sizes.append(size)
        return self.synthesize(w_plus, condition)[:, :size, :size]


def test_a_generator_that_can_makes_them_smaller_itself():
    generator = OnDevice()
    w_plus = latents(generator)
    assert isinstance(generator, Resizing) and not isinstance(NoiseGenerator(), Resizing)
    (small,) = images_of(generator, [(w_plus, None)], 16)
    np.testing.assert_array_equal(small, generator.synthesize(w_plus)[:, :16, :16])
    (full,) = images_of(generator, [(w_plus, None)], EDGE)
    assert (full.shape[1], generator.sizes) == (EDGE, [16])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda images: images[:, :32], r"\(3, 32, 64, 3\) uint8; expected \(3, 64, 64, 3\)"),
        (lambda images: images[:2], r"\(2, 64, 64, 3\) uint8; expected \(3, "),
        (lambda images: images.astype(np.float32), "float32; expected"),
    ],
)
def test_other_images_than_were_asked_for_are_refused(wrong, said):
    generator = NoiseGenerator()
    inner = generator.synthesize
    generator.synthesize = lambda w_plus, condition=None: wrong(inner(w_plus))
    with pytest.raises(RunError, match=said):
        list(images_of(generator, [(latents(generator), None)], EDGE))


def test_a_stream_begins_a_batch_before_the_last_is_taken_and_each_is_told_before():
    manifest = describe(settings("tests.examples.posed:StreamingPoints"))
    renderer = Renderer(manifest)
    generator = renderer.generator
    assert isinstance(generator, Streaming)
    table = renderer(0, watch=lambda number: generator.noted.append(("told", number)))
    assert generator.noted == [
        ("told", 0), ("begun", 0),
        ("told", 1), ("begun", 1), ("taken", 0),
        ("told", 2), ("begun", 2), ("taken", 1), ("taken", 2),
    ]  # fmt: skip
    plain = Renderer(describe(settings("tests.examples.points:PointsGenerator")))(0)
    for name in ("w", "image", "thumbnail"):
        assert table.column(name) == plain.column(name), name


def test_the_plain_loop_makes_one_batch_after_the_other():
    noted = []
    renderer = Renderer(describe(settings()))
    inner = renderer.generator.synthesize

    def synthesize(w_plus, condition=None):
        noted.append(("made", len(w_plus)))
        return inner(w_plus)

    renderer.generator.synthesize = synthesize
    renderer(0, watch=lambda number: noted.append(("told", number)))
    told = [("told", 0), ("made", 5), ("told", 1), ("made", 5), ("told", 2), ("made", 2)]
    assert noted == told


def test_a_stream_that_ends_early_is_no_shard():
    generator = StreamingPoints()
    inner = generator.stream
    generator.stream = lambda batches, size: (images for images in [next(inner(batches, size))])
    renderer = Renderer(describe(settings("tests.examples.posed:StreamingPoints")))
    renderer.generator = generator
    with pytest.raises(RunError, match="streamed fewer batches than it was given"):
        renderer(0)


def test_thumbnails_show_what_the_extractors_read():
    manifest = describe(settings(image_size=32, thumbnail=24, thumbnail_quality=90))
    table = Renderer(manifest)(0)
    images = Measurer(manifest).images(table)
    shown = table.column("thumbnail").to_pylist()
    assert shown == [jpeg(image, 24, 90) for image in images]


@pytest.mark.parametrize(("kept", "said"), [(1, "fewer"), (2, "fewer"), (4, "more")])
def test_a_stream_of_another_length_is_told(kept, said):
    """Of three batches: one that stops early, one that drops the last, one that repeats it."""

    class Cut(PointsGenerator):
        def stream(self, batches, size):
            made = []
            for w_plus, condition in batches:
                made.append(self.synthesize(w_plus, condition))
                if kept == 1:
                    break
            yield from [*made, made[-1]][:kept]

    generator = Cut()
    w_plus = generator.broadcast(generator.mean_w()[None])
    with pytest.raises(RunError, match=f"'points' streamed {said} batches than it was given"):
        list(images_of(generator, [(w_plus, None)] * 3, generator.resolution))
