"""What StyleGAN3's layers let through, and the low-pass filters that see to it.

Frequencies are in cycles, sampling rates in pixels per image width.
Source: Karras et al. (2021), "Alias-Free Generative Adversarial Networks", arXiv:2106.12423.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """What a layer hands to the next."""

    size: int  # pixels of each axis, margins included
    rate: int
    cutoff: float  # f_c
    half_width: float  # f_h of the transition band


def signals(
    resolution: int,
    num_layers: int,
    num_critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband_rel: float,
    margin_size: int,
) -> list[Signal]:
    """Cut-off and stop band grow geometrically, up to the first critically sampled layer.

    f_c[i] = f_c0 (f_cN / f_c0)^e and f_t[i] = f_t0 (f_tN / f_t0)^e with
    e = min(i / (num_layers - num_critical), 1), f_cN = resolution / 2 and
    f_tN = f_cN last_stopband_rel. The rate is the next power of two from min(2 f_t[i], resolution).
    Source: section 3.2 ("Flexible layer specifications").

    Args:
        num_layers: N, without that of the colours.
        num_critical: so many of them, the last, are critically sampled.
        first_cutoff, first_stopband: f_c0 and f_t0.
        margin_size: pixels kept beyond each border; the last two signals have none.

    Returns:
        N + 1 signals, that of the colours last.
    """
    last_cutoff = resolution / 2
    last_stopband = last_cutoff * last_stopband_rel
    exponents = np.minimum(np.arange(num_layers + 1) / (num_layers - num_critical), 1)
    cutoffs = first_cutoff * (last_cutoff / first_cutoff) ** exponents
    stopbands = first_stopband * (last_stopband / first_stopband) ** exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(2 * stopbands, resolution))))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * margin_size
    sizes[-2:] = resolution
    return [
        Signal(int(size), int(rate), float(cutoff), float(half_width))
        for size, rate, cutoff, half_width in zip(sizes, rates, cutoffs, half_widths, strict=True)
    ]


def lowpass(taps: int, cutoff: float, width: float, rate: float) -> Doubles:
    """Design a separable low-pass filter: sinc under a Kaiser window, with sum 1.

    h[n] = sinc(2 f_c t_n) w[n] with t_n = (n - (taps - 1) / 2) / rate.
    Source: appendix C.1.

    Args:
        taps: its length, >= 1.
        cutoff: f_c.
        width: of the transition band, both halves together.
        rate: at which the filter runs.

    Returns:
        (taps,), symmetric.
    """
    time = (np.arange(taps) - (taps - 1) / 2) / rate
    row = np.sinc(2 * cutoff * time) * _window(taps, width, rate)
    return row / row.sum()


def radial_lowpass(taps: int, cutoff: float, width: float, rate: float) -> Doubles:
    """Design a low-pass filter that is the same in every direction: jinc, Kaiser-windowed.

    h[m, n] = J1(2 pi f_c r) / (pi r) w[m] w[n] with r = |(t_m, t_n)|, then made to sum 1.
    Source: appendix C.2. Arguments as for `lowpass`.

    Returns:
        (taps, taps), symmetric; `taps` is even, so that no sample has r = 0.
    """
    from scipy.special import j1

    time = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.pi * np.hypot(time[:, None], time)
    window = _window(taps, width, rate)
    plane = j1(2 * cutoff * radius) / radius * np.outer(window, window)
    return plane / plane.sum()


def _window(taps: int, width: float, rate: float) -> Doubles:
    """The Kaiser window that reaches the transition `width` with this many taps.

    Source: Kaiser (1974), "Nonrecursive digital filter design using the I0-sinh window function":
    the attenuation in dB, and beta that brings it. `scipy.signal` has both, and takes a second to
    import.
    """
    attenuation = 2.285 * (taps - 1) * np.pi * (width / (rate / 2)) + 7.95
    beta = 0.0
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return np.kaiser(taps, beta)
