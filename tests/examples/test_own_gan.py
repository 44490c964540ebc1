"""The examples that a user copies: they are as short as promised and measure what they say."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.extractors.base import OK
from tests.examples.brightness import DARK, Brightness
from tests.examples.own_gan import OwnGan

NO_CODE = (
    *(tokenize.ENCODING, tokenize.COMMENT, tokenize.STRING, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
)


def square(left: int, top: int, edge: int, level: int) -> np.ndarray:
    """(1, 64, 64, 3), black but for one square."""
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, top : top + edge, left : left + edge] = level
    return image


def test_the_example_has_under_forty_lines_of_code():
    with Path(__file__).with_name("own_gan.py").open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    assert len({token.start[0] for token in tokens if token.type not in NO_CODE}) < 40


@pytest.mark.parametrize("seed", [0, 3])
def test_each_number_of_the_layout_moves_what_it_is_named_after(seed):
    generator, brightness = OwnGan(seed), Brightness()
    rows = generator.gan.layout.weight.detach().numpy()
    steps = np.concatenate([-2 * rows[:3], 2 * rows[:3]])
    found = brightness(generator.synthesize(generator.broadcast(steps)), {})
    moved = np.stack(
        [found.values[name][3:] - found.values[name][:3] for name in ("x", "y", "size")]
    )
    # 4 units of x or y are 4 * 0.25 of half an image; the disc lies inside it all the way
    assert moved[0, 0] == pytest.approx(0.5, abs=0.01)
    assert moved[1, 1] == pytest.approx(0.5, abs=0.01)
    # 4 units of radius are 0.2 of half an image; a disc's area is pi r^2
    assert moved[2, 2] == pytest.approx(np.sqrt(np.pi) * 0.1, abs=0.01)
    assert np.abs(moved[~np.eye(3, dtype=bool)]).max() < 0.01


@given(
    left=st.integers(0, 40),
    top=st.integers(0, 40),
    edge=st.integers(1, 24),
    level=st.integers(9, 255),
)
def test_brightness_finds_a_square_of_any_light(left, top, edge, level):
    found = Brightness()(square(left, top, edge, level), {})
    assert found.status == (OK,)
    # exact but for float32: the centre of pixel k lies at (k + 0.5) / 64
    assert found.values["x"][0] == pytest.approx((left + edge / 2) / 64, abs=1e-6)
    assert found.values["y"][0] == pytest.approx((top + edge / 2) / 64, abs=1e-6)
    assert found.values["size"][0] == pytest.approx(edge / 64, abs=1e-6)


def test_a_dark_image_is_a_row_without_values_and_says_so():
    images = np.concatenate([square(5, 5, 10, 200), square(5, 5, 10, 8)])
    found = Brightness()(images, {})
    assert found.status == (OK, DARK)
    assert all(np.isnan(value).tolist() == [False, True] for value in found.values.values())
