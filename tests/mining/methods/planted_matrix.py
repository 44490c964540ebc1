"""Made-up people whose latents are known sums of identity and motion, measured by a shape model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.direction_matrix import DirectionMatrix
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.matrix_config import MatrixConfig
from mining.shape3d.readers.head import EXPRESSION

Array = NDArray[np.float64]
NAMES = ("yaw", "pitch", "roll", *EXPRESSION)
UNITS = ("degrees",) * 3 + ("standard deviations",) * len(EXPRESSION)
K, D, ROWS = len(NAMES), 24, 4
SPREAD = np.array([12.0, 6.0, 5.0, *[1.0] * len(EXPRESSION)])
CONFIG = MatrixConfig(
    surrogate={"epochs": 8, "hidden": [24]}, steps=4, batch=16, epochs=3, paired_epochs=3, pairs=32
)


@dataclass
class People:
    """`rows` of the dataset, what they truly are, and the true columns of A."""

    rows: LearnedRows
    truth: Array  # (N, K)
    motion: Array  # (K, D) how a latent moves with one unit of each parameter


def people(
    seed: int = 11, single: int = 300, sequences: int = 60, leak: float = 0.0, space: str = "w"
) -> People:
    """`single` people of one row, and `sequences` of three; `leak` of identity in the smile."""
    rng = np.random.default_rng(seed)
    person = np.concatenate([np.arange(single), single + np.repeat(np.arange(sequences), 3)])
    mixing = np.linalg.qr(rng.normal(size=(D, D)))[0]
    own = rng.normal(size=(single + sequences, D - K))[person]
    state = rng.normal(size=(len(person), K))
    latents = np.concatenate([own, state], axis=1) @ mixing
    truth = state * SPREAD
    measured = truth + 0.05 * SPREAD * rng.normal(size=truth.shape)
    measured[:, 3] += leak * own[:, 0]
    rows = LearnedRows(
        latents.astype(np.float32),
        "w",
        (D,),
        ROWS,
        codes=ShapeCodes(NAMES, UNITS, measured, own[:, :3]),
        descriptors=(own @ rng.normal(size=(D - K, 8))).astype(np.float32),
        sequences=np.where(person >= single, person, -1) if sequences else None,
        facts={"generator": "planted", "fingerprint": "ab" * 32, "licence": "MIT"},
    )
    if space == "w+":
        tiled = np.tile(rows.latents, (1, ROWS))
        rows = replace(rows, latents=tiled, space="w+", shape=(ROWS, D))
    return People(rows, truth, mixing[D - K :] / SPREAD[:, None])


def cosines(matrix: DirectionMatrix, motion: Array) -> Array:
    """(K,) of the columns with the true ones."""
    found = matrix.vectors / np.linalg.norm(matrix.vectors, axis=1, keepdims=True)
    return (found * motion).sum(axis=1) / np.linalg.norm(motion, axis=1)


def made(
    seed: int = 0, columns: int = 3, width: int = 6, rows: int = 4, space: str = "w", **more
) -> DirectionMatrix:
    """A matrix of random numbers."""
    rng = np.random.default_rng(seed)
    shape = (width,) if space == "w" else (rows, width)
    size = (columns, int(np.prod(shape)))
    return DirectionMatrix(
        names=NAMES[:columns],
        units=UNITS[:columns],
        vectors=rng.normal(size=size),
        reading=rng.normal(size=size),
        offset=rng.normal(size=columns),
        low=-rng.uniform(1, 2, columns),
        high=rng.uniform(1, 2, columns),
        scale=rng.uniform(0.5, 2, columns),
        space=space,
        latent_shape=shape,
        num_ws=rows,
        **more,
    )
