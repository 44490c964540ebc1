"""From what was measured of an image back to its latent: an encoder in closed form.

For generators that have no trained encoder, so that latents of images that they were not asked
for, inverted ones, can be had. They have what such latents have of trained encoders too: less
spread than those of the prior, and nothing of what no feature shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.gcv_ridge import LinearReading, fit_ridge
from schemas.errors import InputError

Array = NDArray[np.float64]
Features = Mapping[str, NDArray]  # kind, such as "pixels" -> (N, F), NaN in rows without a face
WHO = "inversion"


@dataclass(frozen=True)
class Encoder:
    """latent = mean + weights . features, every kind of feature scaled to a variance of 1."""

    centres: Mapping[str, Array]  # kind -> (F,)
    scales: Mapping[str, float]  # kind -> root of the summed variance of its F numbers
    reading: LinearReading
    explained: float  # share of the latents' variance to expect on new images, by GCV

    def invert(self, features: Features) -> NDArray[np.float32]:
        """(N, D) latents of N images; NaN in rows of which a feature is not known.

        Raises:
            InputError: a kind is missing, or has other numbers than the encoder was fitted to.
        """
        _check(features)
        for kind, centre in self.centres.items():
            came = np.shape(features[kind])[1:] if kind in features else None
            if came != (len(centre),):
                raise InputError(
                    f"{WHO}: {kind} of {came or 'no'} numbers came; expected {len(centre)}, as the "
                    "encoder was fitted to."
                )
        known = known_rows({kind: features[kind] for kind in self.centres})
        latents = np.full((len(known), len(self.reading.mean)), np.nan, np.float32)
        if known.any():
            latents[known] = self.reading.read(self._joined(features, known))
        return latents

    def _joined(self, features: Features, rows: NDArray[np.bool_]) -> Array:
        return _scaled(features, rows, self.centres, self.scales)


def fit_encoder(features: Features, latents: NDArray) -> Encoder:
    """Regress latents on features: ridge regression, a penalty for every number by GCV.

    Source: Golub, Heath & Wahba (1979), doi:10.1080/00401706.1979.10489751.

    Args:
        features: kind -> (N, F) of N images; a row with a NaN in any kind is left out.
        latents: (N, D) that made the images, W+ with its rows laid end to end.

    Raises:
        InputError: shapes disagree, there is no kind, nothing varies, or fewer than 3 rows are
            left.
    """
    latents = np.asarray(latents)
    count = _check(features)
    if latents.ndim != 2 or len(latents) != count:
        raise InputError(
            f"{WHO}: features of {count} images and latents {latents.shape} do not pair up; "
            "expected (N, F) and (N, D)."
        )
    known = known_rows(features)
    if known.sum() < 3:
        raise InputError(
            f"{WHO}: of {known.sum()} of {count} images all features are known, expected 3 at "
            f"least ({', '.join(features)})."
        )
    parts = {kind: np.asarray(values, np.float64)[known] for kind, values in features.items()}
    centres = {kind: values.mean(axis=0) for kind, values in parts.items()}
    spread = {kind: float(np.sqrt(values.var(axis=0).sum())) for kind, values in parts.items()}
    scales = {kind: value if value > 0 else 1.0 for kind, value in spread.items()}
    reading = fit_ridge(_scaled(features, known, centres, scales), latents[known])
    variance = latents[known].var(axis=0, dtype=np.float64)
    explained = float((reading.r2 * variance).sum() / max(variance.sum(), 1e-300))
    return Encoder(centres, scales, reading, explained)


def known_rows(features: Features) -> NDArray[np.bool_]:
    """(N,) true where every feature of every kind is a number."""
    return np.logical_and.reduce([np.isfinite(values).all(axis=1) for values in features.values()])


def explained_share(latents: NDArray, inverted: NDArray) -> float:
    """The share of the latents' variance that inverted ones (N, D) explain; can be negative.

    NaN where the latents do not vary, such as a single one.
    """
    latents = np.asarray(latents, np.float64)
    missed = ((latents - inverted) ** 2).sum()
    varied = ((latents - latents.mean(axis=0)) ** 2).sum()
    return float(1 - missed / varied) if varied > 0 else float("nan")


def correlations(one: NDArray, other: NDArray) -> Array:
    """(K,) Pearson's r of the columns of two (N, K); NaN where one is constant."""
    a, b = (np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64) for x in (one, other))
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(size > 0, (a * b).sum(axis=0) / np.where(size > 0, size, 1), np.nan)


def _scaled(
    features: Features,
    rows: NDArray[np.bool_],
    centres: Mapping[str, Array],
    scales: Mapping[str, float],
) -> Array:
    parts = [
        (np.asarray(features[kind], np.float64)[rows] - centre) / scales[kind]
        for kind, centre in centres.items()
    ]
    return np.concatenate(parts, axis=1)


def _check(features: Features) -> int:
    """How many images there are features of."""
    shapes = {kind: np.shape(values) for kind, values in features.items()}
    counts = {shape[0] for shape in shapes.values() if len(shape) == 2}
    if len(counts) != 1 or any(len(shape) != 2 for shape in shapes.values()):
        told = ", ".join(f"{kind} {shape}" for kind, shape in shapes.items()) or "none"
        raise InputError(f"{WHO}: features {told} came; expected (N, F) of each kind, one N.")
    return counts.pop()
