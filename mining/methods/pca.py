"""GANSpace: the principal components of W, directions that nobody asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import (
    Direction,
    check_layers,
    check_whole,
    made_up,
    principal_axes,
    row_parts,
    signed,
)
from mining.methods.moments import Moments
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PcaConfig:
    """Settings of `mine_pca`."""

    components: int = 10  # the widest ones
    layers: tuple[int, int] | None = None  # [first, last): rows of W+ that move; None: all

    def __post_init__(self) -> None:
        check_whole("pca", 1, components=self.components)
        object.__setattr__(self, "layers", check_layers("pca", self.layers))


def mine_pca(latents: Array, config: PcaConfig = PcaConfig()) -> list[Direction]:
    """Find the orthogonal directions along which the latents spread most.

    With X centred, the eigenvectors of X'X, the largest eigenvalue first. A component has no
    sign of its own: its largest entry is made positive.
    Rows are read in parts, so that a million of them take no second copy in memory.
    Source: Harkonen et al. (2020), arXiv:2004.02546, section 2.2; rows of W+ as in 2.3.

    Args:
        latents: (N, D) of W, N > components; float32 is read as it is.

    Returns:
        Directions named by `made_up`, "pc1" first, with, as evidence, the `variance` along each,
        its `share` of the whole and the `rows` it comes from. They are applied to the rows of
        `config.layers`.

    Raises:
        InputError: a shape or a value does not fit, or the latents span fewer components.
    """
    latents = np.asarray(latents)
    if latents.ndim != 2 or not all(np.isfinite(part).all() for part in row_parts(latents)):
        raise InputError(f"pca: latents {latents.shape} came; expected (N, D) finite numbers.")
    rows, width = latents.shape
    if rows >= max(width, 1):
        return pca_of(Moments.of(latents), config)
    energy, axes = principal_axes(latents - latents.mean(axis=0, dtype=np.float64))
    return _components(rows, width, (energy, axes), config)


def pca_of(moments: Moments, config: PcaConfig = PcaConfig()) -> list[Direction]:
    """As `mine_pca`, of rows whose moments were summed part by part and never held together.

    Raises:
        InputError: the rows span fewer components.
    """
    energy, axes = np.linalg.eigh(moments.scatter)
    return _components(moments.rows, len(axes), (np.maximum(energy, 0), axes), config)


def explained(moments: Moments) -> Array:
    """(D,) the share of the variance that the widest 1, 2, ... D components explain; ends at 1.

    Raises:
        InputError: the rows do not spread.
    """
    energy = np.maximum(np.linalg.eigvalsh(moments.scatter)[::-1], 0)
    if not energy.sum() > 0:
        raise InputError(f"pca: all {moments.rows:,} latents are equal; there is no variance.")
    together = np.cumsum(energy)
    return together / together[-1]


def halves_agree(one: Moments, other: Moments, components: int) -> Array:
    """(components,) cosines, 0..1, between the components of one number of two halves.

    Components of like width mix or change places from half to half: what they span may hold
    where each alone does not.
    """
    axes = [np.linalg.eigh(half.scatter)[1][:, ::-1][:, :components] for half in (one, other)]
    return np.abs((axes[0] * axes[1]).sum(axis=0))


def _components(
    rows: int, width: int, spread: tuple[Array, Array], config: PcaConfig
) -> list[Direction]:
    """The widest components from eigenvalues (R,) and eigenvectors (D, R)."""
    most = min(rows - 1, width)
    if config.components > most:
        raise InputError(
            f"pca: components is {config.components}, but latents {(rows, width)} span {most} at "
            "most; ask for fewer, or sample more."
        )
    energy, axes = spread
    order = np.argsort(-energy, kind="stable")[: config.components]
    total = float(energy.sum())
    if energy[order[-1]] <= np.finfo(float).eps * max(rows, width) * total:
        raise InputError(
            f"pca: the latents do not spread along {config.components} directions; ask for fewer."
        )
    vectors = signed(axes[:, order])
    layers = () if config.layers is None else tuple(range(*config.layers))
    return [
        Direction(
            method="pca",
            vector=vectors[:, k] / np.linalg.norm(vectors[:, k]),
            slope=float("nan"),
            attribute=made_up("pc", k + 1, layers),
            layers=layers,
            evidence={
                "variance": float(energy[place]) / (rows - 1),
                "share": float(energy[place]) / total,
                "rows": float(rows),
            },
        )
        for k, place in enumerate(order)
    ]
