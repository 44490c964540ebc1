"""The direction matrix: the step in latent space that changes pose and expression by so much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, unit_vector
from mining.methods.learned import Checkpoint, Curve, Keep, Learned, LearnedRows
from mining.methods.matrix_config import MatrixConfig
from schemas.errors import InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from mining.generators.base import Generator

Array = NDArray[np.float64]
METHOD = "direction_matrix"
DEFAULT = MatrixConfig()
ARTEFACT = "pose_and_expression"  # the attribute of the card that stands for the whole matrix


@dataclass(frozen=True)
class DirectionMatrix:
    """Delta w = A Delta p (equation 2), and the linear reading p = C w + c that feeds it.

    Latents of `space` are flat: w (D,), or W+ with its rows laid end to end.
    Source: Bounareli, Argyriou & Tzimiropoulos (2022), arXiv:2202.00046, section 3.
    """

    names: tuple[str, ...]  # K: yaw, pitch, roll, then a jaw where there is one, then expressions
    units: tuple[str, ...]  # K
    vectors: Array  # (K, D) columns of A: the step of a latent per unit of the parameter
    reading: Array  # (K, D) C, parameters per unit of the latent
    offset: Array  # (K,) c
    low: Array  # (K,) range of the parameters in the training rows,
    high: Array  # (K,) without their tails
    scale: Array  # (K,) parameter's units per rescaled unit: reach / scale is what -a..a spans
    space: str  # "w" or "w+"
    latent_shape: tuple[int, ...]  # (w_dim,) or (num_ws, w_dim)
    num_ws: int  # rows of W+
    layers: tuple[int, ...] = ()  # rows of W+ that move; () means all
    reach: float = 6.0  # a
    bias: Array | None = None  # (D,) compat: Delta w = A Delta p + b
    alone: Array | None = None  # (K, D) for changes asked for by name: `single_columns`; None: A
    method: str = METHOD  # or the closed form that it came from
    mode: str = ""  # "synthetic", "mixed" or "paired"
    generator: str = ""
    fingerprint: str = ""
    licence: str = ""
    settings: str = ""  # of the training, JSON
    evidence: Mapping[str, float] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        check_matrix(self)

    def delta(self, change: Array) -> Array:
        """Delta w of changes Delta p: (N, K) in the parameters' units -> (N, D)."""
        moved = np.asarray(change, np.float64) @ self.vectors
        return moved if self.bias is None else moved + self.bias

    @property
    def columns(self) -> Array:
        """(K, D) the step for each parameter changed by itself."""
        return self.vectors if self.alone is None else self.alone

    def by_name(self) -> DirectionMatrix:
        """The matrix whose A is `columns`: for changes of what is named, the others let be."""
        return replace(self, vectors=self.columns, alone=None)

    def parameters(self, latents: Array) -> Array:
        """p as read from latents: (N, D) -> (N, K)."""
        return np.asarray(latents, np.float64) @ self.reading.T + self.offset

    def latents(self, w_plus: NDArray) -> Array:
        """Rows of W+ (N, num_ws, w_dim) as latents of `space`, flat: (N, D).

        A w is the mean of the rows that move; where all rows are equal, it is that row.
        """
        w_plus = self._checked(w_plus)
        if self.space == "w+":
            return w_plus.reshape(len(w_plus), -1)
        rows = w_plus if not self.layers else w_plus[:, list(self.layers)]
        first = rows[:, 0]
        return first + (rows - first[:, None]).mean(axis=1)

    def moved(self, w_plus: NDArray, change: Mapping[str, float] | NDArray) -> NDArray[np.float32]:
        """Rows of W+ with their pose and expression changed.

        Args:
            w_plus: (N, num_ws, w_dim).
            change: {"yaw": 10.0, "smile": 1.5}, in the parameters' units: these change, by
                `columns`; or (K,) or (N, K), the whole of Delta p, by A.

        Raises:
            InputError: there is no such parameter, or shapes or numbers do not fit.
        """
        w_plus = self._checked(w_plus)
        step = np.atleast_2d(self._change(change))
        if len(step) not in (1, len(w_plus)):
            raise InputError(f"{METHOD}: {len(step)} changes came for {len(w_plus)} latents.")
        shift = (self.by_name() if isinstance(change, Mapping) else self).delta(step)
        if self.space == "w+":
            return (w_plus + shift.reshape(len(shift), *w_plus.shape[1:])).astype(np.float32)
        moved = w_plus.copy()
        moved[:, list(self.layers) or slice(None)] += shift[:, None]
        return moved.astype(np.float32)

    def transferred(
        self, source: NDArray, target: NDArray, names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """The sources with the targets' pose and expression: w_r = w_s + A (C w_t - C w_s).

        Args:
            source, target: (N, num_ws, w_dim) rows of W+; one target may serve all sources.
            names: the parameters that are transferred; None means all.
        """
        change = self.parameters(self.latents(target)) - self.parameters(self.latents(source))
        if names is not None:
            kept = [self._index(name) for name in names]
            change[:, [k for k in range(len(self.names)) if k not in kept]] = 0
        return self.moved(source, change)

    def _change(self, change: Mapping[str, float] | NDArray) -> Array:
        """(K,) or (N, K) finite."""
        if isinstance(change, Mapping):
            found = np.zeros(len(self.names))
            for name, value in change.items():
                found[self._index(name)] = value
        else:
            found = np.asarray(change, np.float64)
        if found.ndim not in (1, 2) or found.shape[-1] != len(self.names):
            raise InputError(
                f"{METHOD}: a change {found.shape} came; expected ({len(self.names)},) or "
                f"(N, {len(self.names)}): {', '.join(self.names)}."
            )
        if not np.isfinite(found).all():
            raise InputError(f"{METHOD}: a change holds NaN or infinity.")
        return found

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise unknown("parameter of the direction matrix", str(name), self.names)
        return self.names.index(name)

    def _checked(self, w_plus: NDArray) -> Array:
        w_plus = np.asarray(w_plus, np.float64)
        expected = (self.num_ws, self.latent_shape[-1])
        if w_plus.ndim != 3 or w_plus.shape[1:] != expected:
            raise InputError(
                f"{METHOD}: rows of W+ {w_plus.shape} came, expected (N, {expected[0]}, "
                f"{expected[1]}): the matrix is of another generator."
            )
        return w_plus


def check_matrix(matrix: DirectionMatrix) -> None:
    """InputError where the parts of a matrix do not fit together."""
    count, shape = len(matrix.names), tuple(matrix.latent_shape)
    width = int(np.prod(shape))
    wide = {"w": 1, "w+": 2}.get(matrix.space)
    fits = wide == len(shape) and matrix.num_ws >= 1 and (wide == 1 or shape[0] == matrix.num_ws)
    fits &= matrix.vectors.shape == matrix.reading.shape == (count, width)
    single = (matrix.offset, matrix.low, matrix.high, matrix.scale)
    fits &= all(array.shape == (count,) for array in single) and len(matrix.units) == count
    fits &= matrix.bias is None or matrix.bias.shape == (width,)
    fits &= matrix.alone is None or matrix.alone.shape == (count, width)
    if not fits or not count:
        raise InputError(
            f"{METHOD}: {count} names, {len(matrix.units)} units, vectors {matrix.vectors.shape} "
            f"and a reading {matrix.reading.shape} do not fit latents {shape} of space "
            f"{matrix.space!r} with {matrix.num_ws} rows of W+."
        )
    if len(set(matrix.names)) < count or not (matrix.scale > 0).all() or not matrix.reach > 0:
        raise InputError(f"{METHOD}: names repeat, or a scale is not above 0.")
    rows = tuple(matrix.layers)
    if rows != tuple(sorted({int(row) for row in rows if 0 <= row < matrix.num_ws})):
        raise InputError(
            f"{METHOD}: layers {list(rows)}, expected ascending below {matrix.num_ws}."
        )


def directions_of(matrix: DirectionMatrix) -> tuple[Direction, ...]:
    """The columns as directions of their own, each with its unit per unit step."""
    found = []
    for k, (name, unit) in enumerate(zip(matrix.names, matrix.units, strict=True)):
        column = matrix.columns[k].reshape(matrix.latent_shape)
        norm = float(np.linalg.norm(column))
        told = {"low": float(matrix.low[k]), "high": float(matrix.high[k])}
        if f"r2_{name}" in matrix.evidence:
            told["r2"] = matrix.evidence[f"r2_{name}"]
        found.append(
            Direction(
                method=matrix.method,
                vector=unit_vector(f"{METHOD}: {name}", column),
                slope=1 / norm,
                attribute=name,
                unit=unit,
                space=matrix.space,
                layers=matrix.layers,
                evidence=told,
            )
        )
    return tuple(found)


def mine_direction_matrix(
    rows: LearnedRows,
    config: MatrixConfig = DEFAULT,
    start: Checkpoint | None = None,
    keep: Keep | None = None,
    generator: Generator | None = None,
) -> Learned:
    """Learn the steps in latent space that change pose and expression, and nothing else.

    Delta w = A Delta p, trained so that what is seen of w + A Delta p has the source's identity and
    its pose and expression changed by Delta p:

        L = shape + eye + mouth + identity + perceptual (+ pixel for pairs) + |Delta w|^2

    each with its weight, equations (3) to (7). Pairs are random; half of them change a single
    parameter. With sequences of one identity (`rows.sequences`) A starts from the ridge of p on w
    within sequences, and the target image is what a source should become. With
    inverted latents (`rows.inverted`) they are half of every batch.
    Equal results: rows are put in an order of their own, random numbers come from (seed, epoch),
    torch runs on one thread: on a CPU the same rows give the same bytes, resumed or not.
    Source: Bounareli, Argyriou & Tzimiropoulos (2022), arXiv:2202.00046, section 3.

    Args:
        rows: latents with 68 landmarks or codes of a 3-D shape model; for the chain of images
            latents alone.
        start: a checkpoint of the same training, to go on from.
        keep: called with a checkpoint after every epoch.
        generator: that makes the images, where `config.chain` is "images".

    Returns:
        A direction for each parameter, the matrix as a file, and its loss curves.

    Raises:
        InputError: rows lack what the settings ask for, or the checkpoint is of another training.
        RunError: the loss is no longer finite.
    """
    from mining.methods.matrix_file import matrix_bytes
    from mining.methods.matrix_mining import mined

    matrix = mined(rows, config, start, keep, generator)
    return Learned(
        directions=directions_of(matrix),
        kind="matrix",
        artefact=matrix_bytes(matrix),
        curves=matrix.curves,
        evidence=matrix.evidence,
    )
