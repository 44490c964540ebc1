"""FIR filters against convolutions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from mining.generators.networks.resample import blur, conv_up2, fir, upsample2

TAPS = [[1, 3, 3, 1], [1, 2, 1], [1], [1, 4, 6, 4, 1], [2, 1]]


def stuffed(image: np.ndarray) -> np.ndarray:
    """Zeros after every pixel of both axes."""
    wide = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    wide[::2, ::2] = image
    return wide


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(TAPS), st.integers(0, 2**32 - 1))
def test_blur_is_a_convolution_after_padding(before, after, taps, seed):
    image = np.random.default_rng(seed).standard_normal((7, 9))
    kernel = np.outer(fir(taps), fir(taps))
    expected = 3.0 * convolve2d(np.pad(image, ((before, after),) * 2), kernel, "valid")
    given_ = torch.from_numpy(image).float()[None, None]
    found = blur(given_, fir(taps), before, after, gain=3.0)
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


def test_negative_padding_crops():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    torch.testing.assert_close(blur(image, fir([1]), -1, -2), image[:, :, 1:4, 1:4])


@pytest.mark.parametrize("taps", TAPS[:2])
def test_upsampling_keeps_a_constant_away_from_the_edges(taps):
    doubled = upsample2(torch.ones(1, 2, 6, 6), fir(taps))
    assert doubled.shape == (1, 2, 12, 12)
    torch.testing.assert_close(doubled[:, :, 2:-2, 2:-2], torch.ones(1, 2, 8, 8))


@pytest.mark.parametrize("taps", TAPS[:2])
@pytest.mark.parametrize("edge", [1, 3])
def test_up_and_convolve_in_one_is_stuffing_then_filter_then_convolution(rng, taps, edge):
    image, weight = rng.standard_normal((5, 5)), rng.standard_normal((edge, edge))
    low = 4 * convolve2d(stuffed(image), np.outer(fir(taps), fir(taps)), "full")
    whole = convolve2d(low, weight, "full")
    found = conv_up2(
        torch.from_numpy(image).float()[None, None],
        torch.from_numpy(weight).float()[None, None],
        fir(taps),
    )[0, 0]
    start = (len(taps) - 1) - (len(taps) + 1) // 2 + edge // 2  # of the padded image in the whole
    np.testing.assert_allclose(found, whole[start : start + 10, start : start + 10], atol=1e-5)
