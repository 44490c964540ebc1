"""SeFa: directions read off a generator's weights, without an image or a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, check_layers, check_whole, made_up, signed
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SefaConfig:
    """Settings of `mine_sefa`."""

    components: int = 10  # those that the styles answer to most
    layers: tuple[int, int] | None = None  # [first, last): rows of W+ that are read and move

    def __post_init__(self) -> None:
        check_whole("sefa", 1, components=self.components)
        object.__setattr__(self, "layers", check_layers("sefa", self.layers))


def mine_sefa(
    weights: Mapping[str, NDArray], rows: Mapping[str, int], config: SefaConfig = SefaConfig()
) -> list[Direction]:
    """Find the orthogonal directions of W that change the layers' styles most.

    A'A n = lambda n for the largest lambda, A being the affine maps of the chosen layers one
    below the other, each of its rows (one channel) scaled to norm 1. A'A is symmetric, so the
    eigenvalues come sorted; the largest entry of a direction is made positive.
    Source: Shen & Zhou (2021), arXiv:2007.06600, section 3.2. The scaling, which the text
    does not mention, is the authors' own practice.
    StyleGAN3's input takes part as any layer does: of its row, 0, the directions are rotations
    and shifts, four at most. EG3D's super-resolution reads the last row alone.

    Args:
        weights: layer -> (channels, D), its affine map without the bias.
        rows: layer -> the row of W+ that it reads.

    Returns:
        Directions named by `made_up`, "sefa1" first, with, as evidence, the `eigenvalue`, its
        `share` of the sum, and the number of `channels`. They are applied to the rows of
        `config.layers`.

    Raises:
        InputError: no layer reads the chosen rows, shapes disagree, or there are not so many
            directions.
    """
    stacked = _stack(weights, rows, config)
    channels, width = stacked.shape
    if config.components > width:
        raise InputError(
            f"sefa: components is {config.components}, but W has {width} numbers; ask for fewer."
        )
    values, vectors = np.linalg.eigh(stacked.T @ stacked)
    order = np.argsort(-values, kind="stable")[: config.components]
    if values[order[-1]] <= np.finfo(float).eps * max(channels, width) * values.sum():
        raise InputError(
            f"sefa: the styles of the chosen layers do not answer to {config.components} "
            "directions; ask for fewer."
        )
    vectors = signed(vectors[:, order])
    layers = () if config.layers is None else tuple(range(*config.layers))
    return [
        Direction(
            method="sefa",
            vector=vectors[:, k] / np.linalg.norm(vectors[:, k]),
            slope=float("nan"),
            attribute=made_up("sefa", k + 1, layers),
            layers=layers,
            evidence={
                "eigenvalue": float(values[place]),
                "share": float(values[place] / np.maximum(values, 0.0).sum()),
                "channels": float(channels),
            },
        )
        for k, place in enumerate(order)
    ]


def _stack(weights: Mapping[str, NDArray], rows: Mapping[str, int], config: SefaConfig) -> Array:
    """(channels of all chosen layers, D), every row of norm 1; rows of zeros stay."""
    if set(weights) != set(rows):
        raise InputError(
            f"sefa: weights of {len(weights)} layers and rows of {len(rows)} do not name the same."
        )
    first, last = config.layers or (0, max(rows.values(), default=0) + 1)
    chosen = [
        np.asarray(weight, np.float64)
        for name, weight in weights.items()
        if first <= rows[name] < last
    ]
    if not chosen:
        raise InputError(f"sefa: no layer reads the rows {first} to {last - 1} of W+.")
    shapes = sorted({part.shape[1:] for part in chosen})
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise InputError(f"sefa: weights end in {shapes}; expected (channels, D) with one D.")
    stacked = np.concatenate(chosen)
    norms = np.linalg.norm(stacked, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.any():
        raise InputError("sefa: the weights hold NaN or infinity, or are all zero.")
    return stacked / np.where(norms > 0, norms, 1.0)
