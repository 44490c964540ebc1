"""StyleGAN3's filters and the filtered leaky ReLU against what the equations say."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.generators.networks import filtered
from mining.generators.networks.filtered import downsample, filtered_lrelu, upsample
from mining.generators.networks.filters import lowpass, radial_lowpass

DESIGNS = {"separable": lowpass, "radial": radial_lowpass}
BANDS = [(12, 4.0, 8.0, 32.0), (24, 20.0, 24.0, 128.0), (12, 128.0, 60.0, 1024.0)]


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("band", BANDS)
def test_sum_one_and_symmetric(design, band):
    taps = design(*band)
    assert taps.sum() == pytest.approx(1, abs=1e-12)
    for axis in range(taps.ndim):
        np.testing.assert_allclose(taps, np.flip(taps, axis), atol=1e-15)
    np.testing.assert_allclose(taps, taps.T, atol=1e-15)


@given(taps=st.integers(1, 48), cutoff=st.floats(0.5, 10), width=st.floats(1, 12))
@settings(deadline=None, max_examples=50)
def test_separable_design_is_that_of_scipy(taps, cutoff, width):
    expected = scipy.signal.firwin(numtaps=taps, cutoff=cutoff, width=width, fs=32)
    np.testing.assert_allclose(lowpass(taps, cutoff, width, 32), expected, atol=1e-12)


@pytest.mark.parametrize("angle", [0, 20, 45])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_passes_low_and_stops_high_frequencies(design, angle):
    """Long filters: 1 below the transition band, 1/2 at the cut-off, 0 above it."""
    cutoff, half_width, rate = 10.0, 3.0, 64.0
    taps = design(48, cutoff, 2 * half_width, rate)
    kernel = taps if taps.ndim == 2 else np.outer(taps, taps)

    def response(frequency: float) -> float:
        x, y = (frequency * trig(np.radians(angle)) for trig in (np.cos, np.sin))
        time = (np.arange(48) - 23.5) / rate
        wave = np.cos(2 * np.pi * (x * time + y * time[:, None]))
        return float((kernel * wave).sum())

    assert response(cutoff - half_width) == pytest.approx(1, abs=0.03)
    if taps.ndim == 2 or angle == 0:
        assert response(cutoff) == pytest.approx(0.5, abs=0.05)
        assert response(cutoff + half_width) == pytest.approx(0, abs=0.03)
    if taps.ndim == 1 and angle == 45:  # its pass band is a square: the corner reaches further
        assert response(cutoff + half_width) > 0.3


@given(
    up=st.integers(1, 4),
    length=st.integers(1, 12),
    axis=st.sampled_from([2, 3]),
    start=st.integers(0, 12),
    count=st.integers(1, 12),
)
@settings(deadline=None, max_examples=60)
def test_upsampling_by_definition(up, length, axis, start, count):
    """Zeros between the pixels, convolution, a part cut out: scipy's `upfirdn`."""
    rng = np.random.default_rng(0)
    x, taps = rng.standard_normal((2, 3, 13, 13)), rng.standard_normal(length)
    expected = scipy.signal.upfirdn(taps * up, x, up=up, axis=axis)
    count = min(count, expected.shape[axis] - start)
    part = torch.from_numpy(expected).narrow(axis, start, count)
    found = upsample(torch.from_numpy(x), torch.from_numpy(taps), up, axis, start, count)
    torch.testing.assert_close(found.narrow(axis, 0, count), part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("radial", [False, True])
def test_downsampling_by_definition(radial):
    x = np.random.default_rng(0).standard_normal((2, 3, 21, 21))
    taps = (radial_lowpass if radial else lowpass)(6, 4.0, 4.0, 32.0)
    plane = taps if radial else np.outer(taps, taps)
    expected = np.stack(
        [[scipy.signal.convolve2d(c, plane, mode="valid")[::2, ::2] for c in image] for image in x]
    )
    found = downsample(torch.from_numpy(x), torch.from_numpy(taps), 2).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def activated(x, clamp=None, **changes):
    taps = torch.from_numpy(lowpass(12, 4.0, 8.0, 32.0))
    options = {"up": 2, "down": 2, "before": 11, "size": x.shape[2], "clamp": clamp, **changes}
    return filtered_lrelu(x, taps, taps, **options)


def test_constant_image_is_scaled_by_its_sign_and_clamped():
    """Far from the borders: sqrt(2) times a positive level, 0.2 sqrt(2) times a negative one."""
    flat = torch.ones(1, 1, 40, 40, dtype=torch.float64)

    def value(level: float, clamp: float | None) -> float:
        found = activated(flat * level, clamp)[0, 0, 15:25, 15:25]
        assert found.std() < 0.01 * found.abs().mean()  # up-sampling leaves a ripple
        return found.mean().item()

    assert value(3, None) == pytest.approx(3 * 2**0.5, rel=5e-3)
    assert value(-3, None) == pytest.approx(-0.6 * 2**0.5, rel=5e-3)
    assert value(3, 2.0) == pytest.approx(2, rel=1e-6)
    assert value(-30, 2.0) == pytest.approx(-2, rel=1e-6)


@pytest.mark.parametrize("stripe", [1, 3000, 9000])
@pytest.mark.parametrize("up", [2, 4])
def test_stripes_do_not_show(monkeypatch, stripe, up):
    """Of one row each, or of several and a rest: as the whole image at once."""
    x = torch.randn(2, 3, 20, 20, dtype=torch.float64, generator=torch.manual_seed(0))
    options = {"up": up, "before": 9, "size": 9 * up, "clamp": 1.0}
    whole = activated(x, **options)
    monkeypatch.setattr(filtered, "STRIPE", stripe)
    torch.testing.assert_close(activated(x, **options), whole, rtol=0, atol=1e-12)


def test_gradients_pass_the_overwriting_activation():
    x = torch.randn(1, 2, 12, 12, dtype=torch.float64, generator=torch.manual_seed(0))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: activated(x, 0.5), x)
