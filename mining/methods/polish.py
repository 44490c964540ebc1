"""Gradient polish of the directions and amplitudes of the modes: equation (10) with its penalty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.refine import Factors
from schemas.errors import InputError

Array = NDArray[np.float64]

HARDLY = 0.1  # of a mode's mean visible length: where less is seen, steps grow no further


@dataclass(frozen=True)
class Polished:
    """Factors at the end of the descent, and why it ended."""

    factors: Factors  # cameras, shape and basis as they came; unit modes
    objectives: tuple[float, ...]  # equation (10) at the start, after each step, with unit modes
    converged: bool
    reason: str  # the minimiser's own words


def polish(
    points: Array,
    factors: Factors,
    penalty: float = 5.0,
    iterations: int = 100,
    rest: float = 0.0,
) -> Polished:
    """Minimise |Xhat - X|_F^2 + lambda sum_k (d_k'd_k - 1)^2 over all d_k and alpha together.

    L-BFGS with the exact gradient, in variables scaled by the diagonal of the Hessian. At the end
    the d_k are set to length 1 and alpha takes their lengths, which leaves Xhat as it is and the
    penalty at 0: lambda acts on the path, the minimum is the same for every lambda > 0.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equation (10); their descent has the
    penalty 5. L-BFGS: Liu & Nocedal (1989), doi:10.1007/BF01589116.

    Args:
        points: (N, 2, R) centred landmarks, or their coordinates in a row space of R dimensions.
        factors: where it starts; its cameras, shape and basis are held.
        penalty: lambda >= 0.
        rest: sum of squares outside that row space, which no factor reaches.

    Raises:
        InputError: `penalty` is negative, or there is no iteration.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    if not penalty >= 0 or iterations < 1:
        raise InputError(
            f"nrsfm: polish has penalty {penalty} and {iterations} iterations, "
            "expected a penalty of 0 or more and at least one iteration."
        )
    scales = _scales(factors, penalty)
    shapes = factors.modes.shape, factors.alpha.shape

    def scaled(flat: Array) -> tuple[float, Array]:
        modes, alpha = _parts(flat * scales, shapes)
        now = replace(factors, modes=modes, alpha=alpha)
        value, by_modes, by_alpha = penalised(points, now, penalty)
        return value, np.concatenate([by_modes.ravel(), by_alpha.ravel()]) * scales

    start = np.concatenate([factors.modes.ravel(), factors.alpha.ravel()]) / scales
    objectives = [scaled(start)[0] + rest]

    def note(intermediate_result) -> None:  # scipy hands its state over by this name
        objectives.append(float(intermediate_result.fun) + rest)

    options = {"maxiter": iterations, "maxfun": 20 * iterations + 20, "ftol": 1e-12, "gtol": 1e-12}
    with threadpool_limits(1):  # sums of short vectors: threads only wait for each other
        found = minimize(scaled, start, jac=True, method="L-BFGS-B", callback=note, options=options)
    modes, alpha = _parts(found.x * scales, shapes)
    done = _unit(replace(factors, modes=modes, alpha=alpha))
    objectives.append(penalised(points, done, penalty)[0] + rest)
    return Polished(done, tuple(objectives), bool(found.success), str(found.message))


def penalised(points: Array, factors: Factors, penalty: float) -> tuple[float, Array, Array]:
    """Equation (10), and its gradients by the d_k (K, 3), of any length, and by alpha (N, K)."""
    count = len(factors.basis)
    seen = factors.cameras @ factors.modes.T
    gap = (factors.alpha[:, None] * seen) @ factors.basis
    gap += factors.cameras @ factors.shape - points
    back = 2 * gap @ factors.basis.T  # (N, 2, K)
    over = (factors.modes**2).sum(axis=1) - 1
    pulled = (back * factors.alpha[:, None]).reshape(-1, count)
    by_modes = pulled.T @ factors.cameras.reshape(-1, 3)
    by_modes += 4 * penalty * over[:, None] * factors.modes
    value = float((gap**2).sum() + penalty * (over**2).sum())
    return value, by_modes, (back * seen).sum(axis=1)


def _scales(factors: Factors, penalty: float) -> Array:
    """(3 K + N K,) one over the root of the Hessian's diagonal, roughly; never without bound."""
    seen = ((factors.cameras @ factors.modes.T) ** 2).sum(axis=1)
    seen = np.maximum(seen, HARDLY**2 * seen.mean(axis=0))
    size = (factors.cameras**2).sum(axis=(1, 2)) / 3
    turned = size @ factors.alpha**2 + 4 * penalty / 3
    each = np.concatenate([np.repeat(turned, 3), seen.ravel()])
    return 1 / np.sqrt(np.where(each > 0, each, 1.0))


def _parts(flat: Array, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Array, Array]:
    """The modes (K, 3) and alpha (N, K) of one long vector."""
    cut = shapes[0][0] * 3
    return flat[:cut].reshape(shapes[0]), flat[cut:].reshape(shapes[1])


def _unit(factors: Factors) -> Factors:
    """The same model with unit d_k; a mode of no length keeps none, and no amplitude."""
    length = np.linalg.norm(factors.modes, axis=1)
    safe = np.maximum(length, np.finfo(float).tiny)[:, None]
    return replace(factors, modes=factors.modes / safe, alpha=factors.alpha * length)
