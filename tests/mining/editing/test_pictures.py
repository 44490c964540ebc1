"""Strips, frames, GIFs and films hold the images they were given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mining.editing.gif import encode_gif, palette
from mining.editing.pictures import GAP, encode, frames, strip, there_and_back
from mining.editing.video import encode_mp4
from schemas.errors import InputError


@pytest.fixture
def images(rng):
    """(2, 3, 24, 32, 3), each of one colour."""
    colours = rng.integers(0, 200, (2, 3, 1, 1, 3)).astype(np.uint8)
    return np.broadcast_to(colours, (2, 3, 24, 32, 3)).copy()


CAPTIONS = [["yaw 1.0°", "yaw 2.0°", "yaw 3.0°"]] * 2


def test_a_strip_holds_every_image_unchanged_and_in_order(images):
    sheet = strip(images, CAPTIONS, ["", ""])
    found = []
    for image in images.reshape(-1, 24, 32, 3):
        at = np.argwhere((sheet == image[0, 0]).all(axis=2))
        top, left = at.min(axis=0)
        np.testing.assert_array_equal(sheet[top : top + 24, left : left + 32], image)
        found.append((int(top), int(left)))
    assert found == sorted(found) and found[0][1] == GAP
    assert sheet.shape[1] == 3 * (32 + GAP) + GAP


def test_texts_are_written_below_and_never_on_the_images(images):
    bare, told = (strip(images, c, t) for c, t in ((CAPTIONS, ["a", "b"]), (CAPTIONS, ["", "b"])))
    assert (bare != 255).sum() > 2 * 3 * 24 * 32 * 3  # ink beside the images
    assert bare.shape == told.shape
    long = strip(images, [["very long indeed " * 9] * 3] * 2, ["", ""])
    beside = long[:, GAP + 32 : 2 * GAP + 32]
    assert (beside == 255).all()  # no text runs into its neighbour


def test_frames_are_the_columns_and_all_of_one_size(images):
    films = frames(images, [["a\nb", "c", ""]] * 2, ["one", "two"])
    assert films.shape[0] == 3
    for column in range(3):
        for row in range(2):
            colour = images[row, column, 0, 0]
            assert (films[column] == colour).all(axis=2).sum() == 24 * 32
    np.testing.assert_array_equal(there_and_back(films), films[[0, 1, 2, 1]])


def test_three_images_stand_in_two_rows(images):
    three = np.concatenate([images, images[:1]])
    films = frames(three, [["", "", ""]] * 3, ["1", "2", "3"])
    assert films.shape[2] == 2 * (32 + GAP) + GAP and films.shape[1] > 2 * 24


def test_png_keeps_every_pixel(images):
    sheet = strip(images, CAPTIONS, ["a", "b"])
    again = cv2.imdecode(np.frombuffer(encode(sheet, ".png"), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(again[..., ::-1], sheet)
    assert encode(sheet, ".jpg")[:2] == b"\xff\xd8"


def decoded(data):
    done, film = cv2.imdecodeanimation(np.frombuffer(data, np.uint8))
    assert done
    return np.stack([frame[..., 2::-1] for frame in film.frames]), list(film.durations)


def smooth(count, height=61, width=47):
    """Frames of smooth shades that move."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    made = [
        np.stack([x * 200 + 5 * k, y * 180, 90 + 60 * np.sin(3 * x + k)], 2) for k in range(count)
    ]
    return np.stack(made).clip(0, 255).astype(np.uint8)


def test_a_gif_is_near_to_its_frames_and_keeps_their_times():
    film = smooth(4)
    found, waits = decoded(encode_gif(film, [600, 80, 80, 600]))
    assert found.shape == film.shape and waits == [600, 80, 80, 600]
    off = np.sqrt(((found.astype(float) - film) ** 2).mean(axis=(1, 2, 3)))
    assert off.max() < 8  # of 255: shades of all colours in a palette of 255


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 5, 3), (3, 150, 151, 3)])
def test_noise_that_fills_the_table_of_words_comes_back(shape, rng):
    film = rng.integers(0, 256, shape).astype(np.uint8)
    found, _ = decoded(encode_gif(film))
    known = {tuple(colour) for colour in palette(film)}
    assert found.shape == film.shape
    assert {tuple(c) for c in found.reshape(-1, 3)} <= known


def test_a_still_frame_costs_next_to_nothing():
    film = smooth(1)
    one, five = (len(encode_gif(film.repeat(count, axis=0))) for count in (1, 5))
    assert five - one < 0.2 * one
    found, _ = decoded(encode_gif(film.repeat(3, axis=0)))
    np.testing.assert_array_equal(found[1:], found[:2])


def test_a_film_holds_its_frames(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    film = smooth(6)
    path = tmp_path / "film.mp4"
    path.write_bytes(encode_mp4(film, per_second=10))
    reader, read = cv2.VideoCapture(str(path)), []
    while (found := reader.read())[0]:
        read.append(found[1][..., ::-1])
    assert np.shape(read) == (6, 62, 48, 3)  # odd edges are padded
    off = np.stack(read)[:, :61, :47].astype(float) - film
    assert np.sqrt((off**2).mean()) < 8


def test_errors_name_what_came(images):
    with pytest.raises(InputError, match="2 rows of 3 images, but 1 titles"):
        strip(images, CAPTIONS, ["a"])
    with pytest.raises(InputError, match="float64 came"):
        strip(images.astype(float), CAPTIONS, ["a", "b"])
    with pytest.raises(InputError, match=r"gif: \(0, 4, 4, 3\)"):
        encode_gif(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="more than 100,000,000 pixels"):
        strip(np.broadcast_to(np.uint8(0), (9, 9, 1200, 1200, 3)), [[""] * 9] * 9, [""] * 9)
