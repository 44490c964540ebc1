"""Analytic editing: walk a latent until the regressor reads what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.readout import Readout
from mining.methods.regressor import Regressor
from schemas.errors import InputError

Array = NDArray[np.float64]


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
    means the same for all.
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
        walk.append(walk[-1] + np.einsum("ndq,nq->nd", np.linalg.pinv(scaled, rcond=cutoff), gap))
        codes.append(regressor.predict(walk[-1]))
    return CodeEdit(np.stack(walk), np.stack(codes), target)


def edit_to_attribute(
    regressor: Regressor, start: Array, readout: Readout, target: Array | float, steps: int = 8
) -> AttributeEdit:
    """Move latents by the shortest steps that bring a = c . phi(w) + b to the wanted value.

    w += g / |g|^2 (a - a(w)) / r at each step, g = J(w)'c and r the number of steps left: the
    pseudo-inverse of equation (14) for a single row. Where g is zero the latent stays.
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
        size = (slope**2).sum(axis=1)
        gain = (target - readout(codes[-1])) / left / np.where(size > 0, size, np.inf)
        walk.append(walk[-1] + gain[:, None] * slope)
        codes.append(regressor.predict(walk[-1]))
    attributes = np.stack([readout(row) for row in codes])
    return AttributeEdit(np.stack(walk), np.stack(codes), attributes, target)


def _check_start(regressor: Regressor, start: Array, steps: int) -> Array:
    """The start latents as finite float64 of the regressor's width."""
    start = np.asarray(start, np.float64)
    if start.ndim != 2 or start.shape[1] != len(regressor.centre):
        raise InputError(f"edit: latents are {start.shape}, expected (N, {len(regressor.centre)}).")
    if not np.isfinite(start).all():
        raise InputError("edit: latents hold NaN or infinity.")
    if steps < 1:
        raise InputError(f"edit: {steps} steps, expected at least 1.")
    return start


def _check_target(target: Array | float, shape: tuple[int, ...]) -> Array:
    """The target, repeated to one row per latent."""
    target = np.asarray(target, np.float64)
    if target.shape not in {shape, shape[1:]}:
        raise InputError(f"edit: the target is {target.shape}, expected {shape} or {shape[1:]}.")
    if not np.isfinite(target).all():
        raise InputError("edit: the target holds NaN or infinity.")
    return np.array(np.broadcast_to(target, shape))
