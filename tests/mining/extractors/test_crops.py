"""Crops show what they should, where they should: planted pixels, planted transforms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.extractors.crops import box_crop, middle_crop, resized, similarity, warped, window
from schemas.errors import InputError

WAYS = ["bilinear", "bicubic", "plain", "area", "nearest"]


def waves(height: int, width: int) -> np.ndarray:
    """A smooth image; each place has a colour of its own."""
    y, x = np.mgrid[:height, :width] + 0.5
    y, x = y / height, x / width
    made = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * x) * np.cos(7 * y)], axis=-1)
    return np.rint(255 * made).astype(np.uint8)


def turned(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.01, 100),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    seed=st.integers(0, 2**32),
)
def test_similarity_finds_the_transform_that_was_planted(angle, scale, x, y, seed):
    points = np.random.default_rng(seed).uniform(0, 200, (1, 5, 2))
    truth = turned(angle, scale, (x, y))
    template = points[0] @ truth[:, :2].T + truth[:, 2]
    found = similarity(points, template)[0]
    assert found == pytest.approx(truth, abs=1e-6 * (1 + scale) * 300)


def test_similarity_never_mirrors(rng):
    """The nearest rotation to a mirrored face is still a rotation."""
    template = rng.uniform(0, 100, (5, 2))
    mirrored = template * [-1, 1]
    matrix = similarity(mirrored[None], template)[0]
    assert np.linalg.det(matrix[:, :2]) > 0


def test_similarity_is_the_best_of_its_kind(rng):
    """Small changes of the four numbers only raise the error."""
    points, template = rng.uniform(0, 100, (2, 6, 2))
    best = similarity(points[None], template)[0]
    a, b = best[0, 0], best[1, 0]

    def error(a, b, x, y):
        matrix = np.array([[a, -b], [b, a]])
        return ((points @ matrix.T + [x, y] - template) ** 2).sum()

    least = error(a, b, *best[:, 2])
    assert best[:, :2] == pytest.approx(np.array([[a, -b], [b, a]]))
    for k in range(4):
        for step in (-1e-3, 1e-3):
            other = np.array([a, b, *best[:, 2]])
            other[k] += step
            assert error(*other) > least


@pytest.mark.parametrize("bad", [np.full((1, 4, 2), 3.0), np.full((1, 4, 2), np.nan)])
def test_points_in_one_place_are_refused(bad):
    with pytest.raises(InputError, match="lie in one place, or are not finite"):
        similarity(bad, np.arange(8.0).reshape(4, 2))


def test_points_that_do_not_pair_up_are_refused():
    with pytest.raises(InputError, match=r"points \(1, 4, 2\) and template \(5, 2\)"):
        similarity(np.zeros((1, 4, 2)), np.zeros((5, 2)))


@pytest.mark.parametrize("scale", [0.11, 0.3, 0.49, 0.51, 1.0, 1.7])
@pytest.mark.parametrize("shape", [(200, 200), (150, 260)])
def test_warping_puts_pixels_where_the_matrix_says(scale, shape):
    image = waves(*shape)
    matrix = turned(0.3, scale, (20.0, -3.5))
    size = (60, 40)
    made = warped(image, matrix, size)
    assert made.shape == (40, 60, 3) and made.dtype == np.uint8
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    v, u = np.mgrid[:40, :60]
    x, y = (
        back[0, 0] * u + back[0, 1] * v + back[0, 2],
        back[1, 0] * u + back[1, 1] * v + back[1, 2],
    )
    border = 2 / min(scale, 1)
    inner = (x > border) & (x < shape[1] - 1 - border) & (y > border) & (y < shape[0] - 1 - border)
    assert inner.sum() > 30
    expected = np.stack([255 * (x + 0.5) / shape[1], 255 * (y + 0.5) / shape[0]], axis=-1)
    # OpenCV reads at 1/32 of a pixel and each of two steps rounds; 255 levels over the image
    assert np.abs(made[inner][:, :2] - expected[inner]).max() < 1.6
    outside = (x < -border) | (x > shape[1] + border)
    assert not made[outside].any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("height", "width", "size"), [(64, 96, (33, 21)), (30, 20, (64, 50))])
def test_resizing_keeps_places(way, height, width, size):
    image = waves(height, width)
    made = resized(image[None], size, way)[0]
    assert made.shape == (size[1], size[0], 3) and made.dtype == np.uint8
    expected = waves(size[1], size[0])
    inner = (slice(2, -2), slice(2, -2))
    step = max(255 / width, 255 / height)  # nearest: up to half a pixel of the source
    allowed = step if way in ("nearest", "area") else 3
    assert np.abs(made[inner].astype(int) - expected[inner])[..., :2].max() <= allowed


@pytest.mark.parametrize("way", ["bilinear", "bicubic", "area"])
def test_shrinking_is_antialiased(way):
    """A board of single pixels is grey from afar."""
    board = np.indices((128, 128)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
    made = resized(image[None], (31, 31), way)[0]
    assert np.abs(made[2:-2, 2:-2].astype(int) - 127).max() <= 12


@pytest.mark.parametrize("way", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("shape", "size"), [((256, 256), (224, 224)), ((64, 101), (224, 170))])
def test_resizing_is_pillows_to_two_levels_of_noise(rng, way, shape, size):
    image_module = pytest.importorskip("PIL.Image")
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    filters = image_module.Resampling
    wanted = image_module.fromarray(image).resize(size, getattr(filters, way.upper()))
    found = resized(image[None], size, way)[0]
    apart = np.abs(found.astype(int) - np.asarray(wanted))
    assert apart.max() <= 2 and (apart > 0).mean() < 0.1


@pytest.mark.parametrize("way", WAYS)
def test_resizing_knows_no_batch(rng, way):
    images = rng.integers(0, 256, (5, 48, 40, 3), dtype=np.uint8)
    whole = resized(images, (30, 20), way)
    for row in range(5):
        assert (resized(images[row : row + 1], (30, 20), way)[0] == whole[row]).all()
    assert resized(images[:0], (30, 20), way).shape == (0, 20, 30, 3)
    assert (resized(images, (40, 48), way) == images).all()


def test_images_that_cannot_be_written_to_are_read(rng):
    images = rng.integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    images.flags.writeable = False
    for way in WAYS:
        assert resized(images, (20, 20), way).shape == (2, 20, 20, 3)
        assert middle_crop(images, (20, 10), 0.5, way).shape == (2, 10, 20, 3)


@given(
    left=st.integers(-30, 50),
    top=st.integers(-30, 50),
    wide=st.integers(1, 60),
    high=st.integers(1, 60),
)
def test_a_window_is_the_image_or_black(left, top, wide, high):
    image = 1 + (np.arange(20 * 30 * 3) % 255).reshape(20, 30, 3).astype(np.uint8)
    found = window(image, left, top, left + wide, top + high)
    padded = np.pad(image, ((100, 100), (100, 100), (0, 0)))
    assert (found == padded[100 + top : 100 + top + high, 100 + left : 100 + left + wide]).all()


@pytest.mark.parametrize(("size", "aspect"), [((32, 32), 1.0), ((40, 20), 2.0), ((20, 40), 0.5)])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_a_box_is_cut_with_the_proportions_of_the_result(size, aspect, margin):
    image = waves(200, 400)
    box = np.array([0.45, 0.4, 0.55, 0.6])  # 40 x 40 pixels in the middle
    made = box_crop(image, box, size, margin)
    assert made.shape == (size[1], size[0], 3)
    edge = 40 * (1 + 2 * margin)
    wide, high = (edge * aspect, edge) if aspect >= 1 else (edge, edge / aspect)
    corners = [200 - wide / 2, 100 - high / 2, 200 + wide / 2, 100 + high / 2]
    expected = (np.array(corners) / [400, 200, 400, 200] * 255).round(1)
    step = [255 * wide / 400 / size[0], 255 * high / 200 / size[1]]
    assert made[0, 0, :2] == pytest.approx(expected[:2] + np.array(step) / 2, abs=2.5)
    assert made[-1, -1, :2] == pytest.approx(expected[2:] - np.array(step) / 2, abs=2.5)


def test_what_lies_outside_the_image_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    made = box_crop(image, np.array([-0.5, 0.0, 0.5, 1.0]), (40, 40))
    assert not made[:, :19].any()
    assert (made[:, 21:] == 200).all()


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([0.5, 0.5, 0.5, 0.9], "has no area"),
        ([0.5, 0.5, 0.4, 0.9], "has no area"),
        ([np.nan, 0, 1, 1], "has no area"),
        ([0, 0, np.inf, 1], "has no area"),
        ([-1e9, -1e9, 1e9, 1e9], "times the image; at most 8 are cut"),
    ],
)
def test_boxes_that_are_none_are_refused(box, said):
    with pytest.raises(InputError, match=said):
        box_crop(np.zeros((50, 50, 3), np.uint8), np.array(box, float), (32, 32))


def test_the_middle_of_an_image():
    image = waves(100, 200)[None]
    whole = middle_crop(image, (50, 50))
    assert whole[0, 25, 0, 0] == pytest.approx(255 * 0.25, abs=3)  # columns 50 to 150
    assert whole[0, 25, -1, 0] == pytest.approx(255 * 0.75, abs=3)
    inner = middle_crop(image, (50, 50), share=0.5)
    assert inner[0, 25, 0, 0] == pytest.approx(255 * 0.375, abs=3)
    assert inner[0, 0, 25, 1] == pytest.approx(255 * 0.25, abs=3)
    wide = middle_crop(image, (100, 25))
    assert wide[0, 0, 50, 1] == pytest.approx(255 * 0.25, abs=4)
