"""Matrices of directions in closed form: where the training starts, and what it has to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import row_parts
from mining.methods.direction_matrix import DEFAULT, METHOD, DirectionMatrix
from mining.methods.gcv_ridge import LinearReading, fit_ridge, fit_within
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.matrix_config import ANGLES, MatrixConfig
from schemas.errors import InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from mining.methods.control import ControlModel

Array = NDArray[np.float64]
LEAST = 10  # rows with all parameters measured
JACOBIANS = 512  # latents whose Jacobians are averaged


@dataclass(frozen=True)
class Frame:
    """What a matrix of these rows says beside its numbers."""

    names: tuple[str, ...]  # K
    units: tuple[str, ...]
    low: Array  # (K,) range of the parameters without their tails
    high: Array
    scale: Array  # (K,) parameter's units per rescaled unit
    reach: float
    space: str
    latent_shape: tuple[int, ...]
    num_ws: int
    layers: tuple[int, ...]  # rows of W+ that move; () means all
    parameters: tuple[str, ...] = ()  # the columns that are kept; () means all
    facts: Mapping[str, str] = field(default_factory=dict)

    def mask(self) -> Array:
        """(D,) 1 where a step may move a latent: in W+, on the rows of `layers`."""
        found = np.ones(self.latent_shape)
        if self.space == "w+" and self.layers:
            found[[row for row in range(self.num_ws) if row not in self.layers]] = 0
        return found.reshape(-1)

    def matrix(self, vectors: Array, reading: LinearReading, **more: Any) -> DirectionMatrix:
        """The matrix of columns (K, D), per unit of the parameters, and their reading."""
        own = ("names", "units", "low", "high", "scale", "reach")
        place = ("space", "latent_shape", "num_ws", "layers")
        count = len(self.names)
        weights = reading.weights[:count]
        matrix = DirectionMatrix(
            **{name: getattr(self, name) for name in (*own, *place)},
            **{name: self.facts.get(name, "") for name in ("generator", "fingerprint", "licence")},
            vectors=vectors,
            reading=weights,
            offset=reading.mean[:count] - weights @ reading.centre,
            **more,
        )
        return only(matrix, self.parameters)


def chosen(codes: ShapeCodes, config: MatrixConfig) -> ShapeCodes:
    """The angles and the first `expressions`."""
    rigid = [k for k, unit in enumerate(codes.units) if unit == "degrees"]
    others = [k for k in range(len(codes.names)) if k not in rigid][: config.expressions]
    kept = [*rigid, *others]
    names = tuple(codes.names[k] for k in kept)
    units = tuple(codes.units[k] for k in kept)
    return ShapeCodes(names, units, codes.moving[:, kept], codes.identity)


def only(matrix: DirectionMatrix, names: Sequence[str]) -> DirectionMatrix:
    """The columns of these names; all where none is named. Each still holds the others as they are.

    Raises:
        InputError: there is no parameter of a name.
    """
    for name in names:
        if name not in matrix.names:
            raise unknown(f"parameter of {METHOD}", name, matrix.names)
    if not names:
        return matrix
    kept = [matrix.names.index(name) for name in names]
    arrays = ("vectors", "reading", "offset", "low", "high", "scale")
    return dataclasses.replace(
        matrix,
        names=tuple(names),
        units=tuple(matrix.units[k] for k in kept),
        **{name: getattr(matrix, name)[kept] for name in arrays},
        alone=None if matrix.alone is None else matrix.alone[kept],
    )


def frame_of(
    rows: LearnedRows,
    names: Sequence[str],
    units: Sequence[str],
    parameters: Array,
    config: MatrixConfig,
) -> Frame:
    """The frame of rows whose parameters (N, K) are known; NaN rows are left out.

    An angle's rescaled unit is that of `ANGLES`, the same for every dataset; that of the others
    makes their range -a..a.

    Raises:
        InputError: too few rows are measured, a parameter is constant, or there is no such row of
            W+.
    """
    parameters = parameters[np.isfinite(parameters).all(axis=1)]
    if len(parameters) < LEAST:
        raise InputError(
            f"{METHOD}: {len(parameters)} of {len(rows)} rows have all of {', '.join(names)} "
            f"measured; expected at least {LEAST}."
        )
    tail = 0.0 if config.extremes else config.tail
    low, high = np.quantile(parameters, [tail, 1 - tail], axis=0)
    flat = [name for name, span in zip(names, high - low, strict=True) if not span > 0]
    if flat:
        raise InputError(f"{METHOD}: {', '.join(flat)} never changes; leave it out of parameters.")
    half = [ANGLES.get(name, span / 2) for name, span in zip(names, high - low, strict=True)]
    scale = np.array(half) / config.reach
    layers = layers_of(config.layers, rows.num_ws)
    at = (rows.space, tuple(rows.shape), rows.num_ws, layers, config.parameters, rows.facts)
    return Frame(tuple(names), tuple(units), low, high, scale, config.reach, *at)


def layers_of(layers: tuple[int, int] | None, num_ws: int) -> tuple[int, ...]:
    """The rows of W+ from the first to the last but one; those that are not there are left out."""
    if layers is None:
        return ()
    if layers[0] >= num_ws:
        raise InputError(f"{METHOD}: layers {list(layers)}; the generator has {num_ws} rows of W+.")
    return tuple(range(layers[0], min(layers[1], num_ws)))


def inverse(weights: Array, mask: Array) -> Array:
    """(K, D) the shortest steps A that a reading C (K, D) answers with one unit each: C A' = I."""
    return np.linalg.pinv(weights * mask).T * mask


def ridge_inverted(
    rows: LearnedRows, codes: ShapeCodes, config: MatrixConfig = DEFAULT
) -> DirectionMatrix:
    """C by ridge of p on w, each parameter with a penalty of its own; A = C^+.

    Raises:
        InputError: as `frame_of` and `gcv_ridge.fit_ridge`.
    """
    codes = chosen(codes, config)
    frame = frame_of(rows, codes.names, codes.units, codes.moving, config)
    reading = fit_ridge(rows.latents, codes.moving)
    return frame.matrix(
        inverse(reading.weights, frame.mask()),
        reading,
        method="ridge_inverted",
        mode="synthetic",
        evidence=read_evidence(codes.names, reading),
    )


def regression(
    rows: LearnedRows, codes: ShapeCodes, config: MatrixConfig = DEFAULT
) -> DirectionMatrix:
    """A by ridge of Delta w on Delta p, over pairs of random heads; read by ridge of p on w.

    For pairs that are drawn independently it is the regression of w on p.
    """
    codes = chosen(codes, config)
    frame = frame_of(rows, codes.names, codes.units, codes.moving, config)
    known = np.isfinite(codes.moving).all(axis=1)
    reading = fit_ridge(rows.latents, codes.moving)
    made = fit_ridge(codes.moving[known] / frame.scale, np.asarray(rows.latents)[known])
    return frame.matrix(
        made.weights.T / frame.scale[:, None] * frame.mask(),
        reading,
        method="regression",
        mode="synthetic",
        evidence=read_evidence(codes.names, reading),
    )


def within_sequences(
    rows: LearnedRows, codes: ShapeCodes, config: MatrixConfig = DEFAULT
) -> DirectionMatrix:
    """C by ridge of p on w within sequences of one identity; A = C^+.

    Raises:
        InputError: there are no sequences; further as `ridge_inverted`.
    """
    if rows.sequences is None:
        raise InputError(f"{METHOD}: the rows are of no sequences; expected LearnedRows.sequences.")
    codes = chosen(codes, config)
    frame = frame_of(rows, codes.names, codes.units, codes.moving, config)
    reading = fit_within(rows.latents, codes.moving, rows.sequences)
    return frame.matrix(
        inverse(reading.weights, frame.mask()),
        reading,
        method="within_sequences",
        mode="paired",
        evidence=read_evidence(codes.names, reading),
    )


def mean_jacobian(
    rows: LearnedRows,
    codes: ShapeCodes,
    config: MatrixConfig = DEFAULT,
    control: ControlModel | None = None,
) -> DirectionMatrix:
    """A = J^+, J the mean Jacobian of p over latents, as a regressor has it; read by J too.

    Args:
        control: of NRSfM: p is read off its codes, p = R phi(w), and J = R mean(d phi / d w).
            None: the surrogate of p is trained and its Jacobians are taken.
    """
    codes = chosen(codes, config)
    frame = frame_of(rows, codes.names, codes.units, codes.moving, config)
    known = np.isfinite(codes.moving).all(axis=1)
    latents, targets = np.asarray(rows.latents, np.float64)[known], codes.moving[known]
    if control is None:
        slope, predicted = _surrogate_slope(latents, targets, config)
    else:
        read = fit_ridge(control.regressor.predict(latents), targets)
        slope = read.weights @ _mean_jacobian(control.regressor.jacobian, latents)
        predicted = read.read(control.regressor.predict(latents))
    left = ((targets - predicted) ** 2).sum(axis=0)
    r2 = 1 - left / ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    reading = LinearReading(
        slope, latents.mean(axis=0), targets.mean(axis=0), np.zeros(len(r2)), r2, len(latents)
    )
    return frame.matrix(
        inverse(slope, frame.mask()),
        reading,
        method="mean_jacobian" if control is not None else "mean_jacobian_surrogate",
        mode="synthetic",
        evidence=read_evidence(codes.names, reading),
    )


def read_evidence(names: Sequence[str], reading: LinearReading) -> dict[str, float]:
    """How well each parameter is read from a latent."""
    found = {f"r2_{name}": float(r2) for name, r2 in zip(names, reading.r2, strict=False)}
    return {**found, "rows": float(reading.rows)}


def _surrogate_slope(latents: Array, targets: Array, config: MatrixConfig) -> tuple[Array, Array]:
    """The mean Jacobian (K, D) of the surrogate, and what it predicts (N, K)."""
    from mining.methods.surrogate import SurrogateConfig, train_surrogate

    surrogate = train_surrogate(latents, targets, SurrogateConfig(**config.surrogate))
    import torch

    from mining.methods.surrogate_torch import differentiable_surrogate

    predict = differentiable_surrogate(surrogate, torch.float64)
    part = torch.from_numpy(_some(latents)).requires_grad_()
    total = predict(part).mean(dim=0)
    rows = [torch.autograd.grad(each, part, retain_graph=True)[0].sum(dim=0) for each in total]
    return torch.stack(rows).numpy(), surrogate.predict(latents)


def _mean_jacobian(jacobian: Callable[[Array], Array], latents: Array) -> Array:
    """(Q, D) from Jacobians (N, Q, D)."""
    some = _some(latents)
    total: Any = sum(jacobian(part).sum(axis=0) for part in row_parts(some, 32))
    return total / len(some)


def _some(latents: Array) -> Array:
    """At most JACOBIANS latents, evenly taken."""
    taken = np.linspace(0, len(latents) - 1, min(JACOBIANS, len(latents))).astype(np.int64)
    return np.ascontiguousarray(latents[taken])


RIVALS: Mapping[str, Callable[..., DirectionMatrix]] = {
    "ridge_inverted": ridge_inverted,
    "regression": regression,
    "mean_jacobian": mean_jacobian,
    "within_sequences": within_sequences,
}
