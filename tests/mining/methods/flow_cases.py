"""Made-up latents whose attributes are known, for the tests of the attribute flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.flow_config import FlowConfig
from mining.methods.learned import LearnedRows

Array = NDArray[np.float64]

QUICK = FlowConfig(hidden=(32,), embedded=16, batch=128, epochs=25, learning_rate=5e-3)
BRIEF = FlowConfig(hidden=(8,), embedded=4, batch=128, epochs=4)


@dataclass(frozen=True)
class Case:
    """Gaussian latents and attributes that are linear in them, with noise."""

    rows: LearnedRows
    ways: Array  # (K, D): attributes are latents times these
    covariance: Array  # (D, D)


def planted(rng: np.random.Generator, count: int = 1500, width: int = 8, rows: int = 3) -> Case:
    """Two attributes in different units whose axes are neither orthogonal nor uncorrelated."""
    axes = np.linalg.qr(rng.normal(size=(width, width)))[0]
    spreads = np.linspace(2.0, 0.5, width)
    latents = (rng.normal(size=(count, width)) * spreads) @ axes.T
    ways = rng.normal(size=(2, width))
    ways[1] += 0.5 * ways[0]
    ways *= [[10.0], [0.1]]
    scores = latents @ ways.T
    scores += 0.05 * scores.std(axis=0) * rng.normal(size=scores.shape)
    return Case(
        LearnedRows(
            latents.astype(np.float32),
            "w",
            (width,),
            rows,
            {"yaw": scores[:, 0], "smile": scores[:, 1]},
            {"yaw": "degrees"},
            facts={"generator": "head", "fingerprint": "ab" * 32, "licence": "MIT"},
        ),
        ways,
        (axes * spreads**2) @ axes.T,
    )


def bent(rng: np.random.Generator, count: int = 2000) -> LearnedRows:
    """Latents on a parabola: the second number is the square of the first, which is measured."""
    latents = rng.normal(size=(count, 4))
    latents[:, 1] = latents[:, 0] ** 2 + 0.2 * latents[:, 1]
    return LearnedRows(latents.astype(np.float32), "w", (4,), 2, {"age": latents[:, 0].copy()})


def wide(rng: np.random.Generator, count: int = 1500) -> tuple[LearnedRows, Array]:
    """W+ of two rows of six whose attributes hang on one row each; and their axes (2, 2, 6)."""
    latents = rng.normal(size=(count, 2, 6))
    ways = np.zeros((2, 2, 6))
    ways[0, 0], ways[1, 1] = rng.normal(size=(2, 6))
    scores = np.einsum("nrd,krd->nk", latents, ways)
    named = {"yaw": scores[:, 0], "smile": scores[:, 1]}
    flat = latents.reshape(count, -1).astype(np.float32)
    return LearnedRows(flat, "w+", (2, 6), 2, named), ways
