"""Analytic editing: walk a latent until the regressor reads what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole
from mining.methods.readout import Readout
from mining.methods.regressor import Regressor
from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.methods.embedding import Embedding
    from mining.methods.shape_model import ShapeModel

Array = NDArray[np.float64]

REACH = 10.0  # radii of the training latents that a whole walk may measure
UNASKED = 0.1  # weight of codes that nobody asked for; the figures are in README.md
HOLD_RANK = 16  # directions of the embedding's Jacobian that an edit may not move along


@dataclass(frozen=True)
class CodeEdit:
    """Latents edited towards codes, and every step on the way."""

    trajectory: Array  # (steps + 1, N, D), from the start to the edited latents
    codes: Array  # (steps + 1, N, Q), phi along it
    target: Array  # (N, Q)

    @property
    def latents(self) -> Array:
        """(N, D), the edited latents."""
        return self.trajectory[-1]

    @property
    def missed(self) -> Array:
        """(N, Q), what phi reads at the end minus the target."""
        return self.codes[-1] - self.target

    def landmarks(self, shape: ShapeModel) -> Array:
        """(steps + 1, N, L, 2) R(phi(w)): the landmarks to expect on the way."""
        flat = shape.project(self.codes.reshape(-1, self.codes.shape[-1]))
        return flat.reshape(*self.codes.shape[:2], *flat.shape[1:])


@dataclass(frozen=True)
class AttributeEdit:
    """Latents edited towards one attribute, and every step on the way."""

    trajectory: Array  # (steps + 1, N, D), from the start to the edited latents
    codes: Array  # (steps + 1, N, Q), phi along it
    attributes: Array  # (steps + 1, N), the read-out along it, in the attribute's unit
    target: Array  # (N,)

    @property
    def latents(self) -> Array:
        """(N, D), the edited latents."""
        return self.trajectory[-1]

    @property
    def attribute(self) -> Array:
        """(N,), the read-out at the end."""
        return self.attributes[-1]

    @property
    def missed(self) -> Array:
        """(N,), the read-out at the end minus the target."""
        return self.attributes[-1] - self.target


def edit_to_codes(
    regressor: Regressor,
    start: Array,
    target: Array,
    steps: int = 8,
    cutoff: float = 0.02,
    weights: Array | None = None,
    hold: Embedding | None = None,
    hold_rank: int = HOLD_RANK,
) -> CodeEdit:
    """Move latents by the shortest steps that bring phi(w) to the wanted codes.

    w += J(w)^+ (q - phi(w)) / r at each step, r the number of steps left: equations (13) and
    (14), re-linearised. With 1/r the last step takes the whole gap, so the walk lands where a
    constant 1/n would stop at 63 % of it. Codes are divided by their spread first, so that `cutoff`
    means the same for all. A step is at most REACH / steps radii of the training latents long:
    where phi is almost flat the exact step would leave all that it was trained on.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.3.

    Args:
        start: (N, D), w0.
        target: (N, Q) or (Q,), q.
        cutoff: singular values of J below this share of the largest are taken for zero. Some
            codes move together whatever the latent (the shift of the face with its yaw); to part
            them, 1e-6 walks 117 units of W where 0.02 walks 3. What is out of reach stays in
            `missed`.
        weights: (Q,) from 0 to 1, None for 1 everywhere. 1 asks for a code, exactly where it can
            be reached; 0 frees it, whatever its target; between them a code is drawn to its
            target, at a price: see `weighted_step`. `asked_weights` makes those of an edit that
            asks for some codes.
        hold: a regressor of a face descriptor, which is to stay: no step moves along the
            `hold_rank` directions of latents along which it changes fastest.

    Raises:
        InputError: shapes disagree, a value is not finite, a weight is outside [0, 1], or
            steps < 1.
    """
    start = _check_start(regressor, start, steps)
    width = len(regressor.mean)
    target = _check_target(target, (len(start), width))
    weights = _check_weights(weights, width)
    if hold is not None:
        check_whole("edit", 1, hold_rank=hold_rank)
    scale = regressor.radius / np.sqrt(start.shape[1])
    walk, codes = [start], [regressor.predict(start)]
    for left in range(steps, 0, -1):
        scaled = regressor.jacobian(walk[-1]) * (scale / regressor.spread[:, None])
        if hold is not None:
            scaled = _without(scaled, leading_directions(hold, walk[-1], hold_rank))
        gap = (target - codes[-1]) / regressor.spread / left
        step = scale * weighted_step(scaled, gap, weights, cutoff)
        walk.append(walk[-1] + _bounded(step, regressor.radius * REACH / steps))
        codes.append(regressor.predict(walk[-1]))
    return CodeEdit(np.stack(walk), np.stack(codes), target)


def asked_weights(asked: NDArray[np.bool_], unasked: float = UNASKED) -> Array:
    """(Q,) weights of `edit_to_codes`: 1 for codes that are asked for, `unasked` for the others."""
    return np.where(asked, 1.0, unasked)


def weighted_step(jacobian: Array, gap: Array, weights: Array, cutoff: float) -> Array:
    """The shortest step that closes the gaps of weight 1, and pays for the others.

    Minimises |d|^2 + sum_j c_j (J_j d - g_j)^2, c_j = u_j / (1 - u_j), over all d that meet
    J_j d = g_j for the codes of weight u_j = 1, in the least-squares sense of the pseudo-inverse.
    With d ~ N(0, I) as its prior, c_j is one over the variance at which code j is known: in
    standardised codes and latents, u_j = 1/2 trusts a code as much as the latent.

    Args:
        jacobian: (N, Q, D). gap: (N, Q), g. weights: (Q,), u, from 0 to 1.
        cutoff: share of the largest singular value of the rows of weight 1, as they are once the
            others are paid for, below which one is taken for zero.

    Returns:
        (N, D)
    """
    asked, held = weights == 1, (weights > 0) & (weights < 1)
    a, h = jacobian[:, asked], jacobian[:, held]
    price = np.diag((1 - weights[held]) / weights[held])
    inner = np.linalg.inv(h @ h.transpose(0, 2, 1) + price)
    drawn = _apply(h.transpose(0, 2, 1) @ inner, gap[:, held])
    across = a @ h.transpose(0, 2, 1) @ inner
    free = a - across @ h
    seen = a @ free.transpose(0, 2, 1)
    seen = (seen + seen.transpose(0, 2, 1)) / 2
    rest = gap[:, asked] - _apply(a, drawn)
    inverse = np.linalg.pinv(seen, rcond=cutoff**2, hermitian=True).astype(np.float64)
    push = _apply(inverse, rest)
    return drawn + _apply(free.transpose(0, 2, 1), push)


def leading_directions(embedding: Embedding, latents: Array, count: int) -> Array:
    """(N, D) -> (N, R, D), orthonormal rows: along them the descriptor changes fastest."""
    jacobian = embedding.jacobian(latents)
    sizes, vectors = np.linalg.eigh(jacobian @ jacobian.transpose(0, 2, 1))
    rank = min(count, sizes.shape[1])
    leading = vectors[:, :, ::-1][:, :, :rank].transpose(0, 2, 1) @ jacobian
    length = np.linalg.norm(leading, axis=2, keepdims=True)
    floor = 1e-9 * length[:, :1]
    return np.where(length > floor, leading / np.maximum(length, 1e-300), 0.0)


def edit_to_attribute(
    regressor: Regressor, start: Array, readout: Readout, target: Array | float, steps: int = 8
) -> AttributeEdit:
    """Move latents by the shortest steps that bring a = c . phi(w) + b to the wanted value.

    w += g / |g|^2 (a - a(w)) / r at each step, g = J(w)'c and r the number of steps left: the
    pseudo-inverse of equation (14) for a single row. Where g is zero the latent stays; where it is
    almost zero a step is at most REACH / steps radii of the training latents long, and the rest
    stays in `missed`.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.3.

    Args:
        start: (N, D), w0.
        target: (N,) or one number, in the attribute's own unit.

    Raises:
        InputError: shapes disagree, a value is not finite, or steps < 1.
    """
    start = _check_start(regressor, start, steps)
    target = _check_target(target, (len(start),))
    walk, codes = [start], [regressor.predict(start)]
    for left in range(steps, 0, -1):
        slope = regressor.pullback(walk[-1], readout.weights)
        size = np.linalg.norm(slope, axis=1)
        length = np.where(size > 0, size, np.inf)
        gap = (target - readout(codes[-1])) / left
        most = regressor.radius * REACH / steps
        walk.append(walk[-1] + (np.clip(gap / length, -most, most) / length)[:, None] * slope)
        codes.append(regressor.predict(walk[-1]))
    attributes = np.stack([readout(row) for row in codes])
    return AttributeEdit(np.stack(walk), np.stack(codes), attributes, target)


def _apply(matrices: Array, vectors: Array) -> Array:
    """(N, A, B) matrices times (N, B) vectors."""
    return np.einsum("nab,nb->na", matrices, vectors)


def _without(rows: Array, directions: Array) -> Array:
    """(N, Q, D) rows less their part in the span of (N, R, D) orthonormal directions."""
    return rows - rows @ directions.transpose(0, 2, 1) @ directions


def _bounded(steps: Array, most: float) -> Array:
    """(N, D) steps, those longer than `most` cut to it."""
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    return steps * np.minimum(1, most / np.maximum(length, 1e-300))


def _check_start(regressor: Regressor, start: Array, steps: int) -> Array:
    """The start latents as finite float64 of the regressor's width."""
    start = np.asarray(start, np.float64)
    if start.ndim != 2 or start.shape[1] != len(regressor.centre):
        raise InputError(f"edit: latents are {start.shape}, expected (N, {len(regressor.centre)}).")
    if not np.isfinite(start).all():
        raise InputError("edit: latents hold NaN or infinity.")
    check_whole("edit", 1, steps=steps)
    return start


def _check_target(target: Array | float, shape: tuple[int, ...]) -> Array:
    """The target, repeated to one row per latent."""
    target = np.asarray(target, np.float64)
    if target.shape not in {shape, shape[1:]}:
        raise InputError(f"edit: the target is {target.shape}, expected {shape} or {shape[1:]}.")
    if not np.isfinite(target).all():
        raise InputError("edit: the target holds NaN or infinity.")
    return np.array(np.broadcast_to(target, shape))


def _check_weights(weights: Array | None, width: int) -> Array:
    """Weights (Q,) from 0 to 1; 1 everywhere for None."""
    weights = np.ones(width) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != (width,):
        raise InputError(f"edit: weights are {weights.shape}, expected ({width},).")
    if not ((weights >= 0) & (weights <= 1)).all():
        raise InputError("edit: weights hold a number outside [0, 1], or NaN.")
    return weights
