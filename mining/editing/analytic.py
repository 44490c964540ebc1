"""Analytic editing: walk a latent until the regressor reads what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole
from mining.methods.readout import Readout
from mining.methods.regressor import Regressor
from schemas.errors import InputError

Array = NDArray[np.float64]

REACH = 10.0  # radii of the training latents that a whole walk may measure


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
    regressor: Regressor, start: Array, target: Array, steps: int = 8, cutoff: float = 0.02
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
            `missed`; to move one code and free the rest, read it out with `edit_to_attribute`.

    Raises:
        InputError: shapes disagree, a value is not finite, or steps < 1.
    """
    start = _check_start(regressor, start, steps)
    width = len(regressor.mean)
    target = _check_target(target, (len(start), width))
    walk, codes = [start], [regressor.predict(start)]
    for left in range(steps, 0, -1):
        scaled = regressor.jacobian(walk[-1]) / regressor.spread[:, None]
        gap = (target - codes[-1]) / regressor.spread / left
        step = np.einsum("ndq,nq->nd", np.linalg.pinv(scaled, rcond=cutoff), gap)
        walk.append(walk[-1] + _bounded(step, regressor.radius * REACH / steps))
        codes.append(regressor.predict(walk[-1]))
    return CodeEdit(np.stack(walk), np.stack(codes), target)


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
