"""Joint refinement of the rank-one shape model: cameras, shape, modes and amplitudes together.

After a closed form the top three singular vectors still hold a part of the bending. Here all
parts of X_n = M_n (B_0 + sum_k alpha_nk d_k b_k') are fitted in turn to the full objective: what
belongs to a row is solved row by row, what all rows share from sums over the rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.anderson import Anderson

Array = NDArray[np.float64]

EDGE = 1e-12  # of a matrix's trace, added to its diagonal: what no row or mode fixes stays small

STILL = 3  # sweeps running of hardly any change, that end a refinement


@dataclass(frozen=True)
class Factors:
    """The parts of X_n = M_n (B_0 + sum_k alpha_nk d_k b_k') for centred measurements X_n."""

    cameras: Array  # (N, 2, 3)
    shape: Array  # (3, L), or (3, R) in the coordinates of a row space
    basis: Array  # (K, L) unit rows b_k, not orthogonal after refinement
    modes: Array  # (K, 3) unit vectors d_k
    alpha: Array  # (N, K)

    def points(self) -> Array:
        """(N, 2, L) what the factors say that is measured."""
        bent = self.alpha[:, None] * (self.cameras @ self.modes.T)
        return self.cameras @ self.shape + bent @ self.basis


@dataclass(frozen=True)
class Sums:
    """What the shared parts need of the rows, with F_n = [M_n, alpha_n1 M_n, ..., alpha_nK M_n].

    X_n is fitted by F_n C, C the stack of B_0 and of all d_k b_k', so that the objective is
    tr(S) - 2 <P, C> + <C, G C>.
    """

    gram: Array  # (3 + 3K, 3 + 3K) G, the sum of F_n'F_n
    pull: Array  # (3 + 3K, R) P, the sum of F_n'X_n
    squares: float  # tr(S), the sum of |X_n|_F^2

    @classmethod
    def of(cls, points: Array, cameras: Array, alpha: Array) -> Sums:
        """The sums over N rows: points (N, 2, R), cameras (N, 2, 3), alpha (N, K)."""
        weights = np.concatenate([np.ones((len(alpha), 1)), alpha], axis=1)
        seen = weights[:, None, :, None] * cameras[:, :, None]
        seen = seen.reshape(-1, 3 * weights.shape[1])
        flat = points.reshape(-1, points.shape[2])
        return cls(seen.T @ seen, seen.T @ flat, float((flat**2).sum()))

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.pull + other.pull, self.squares + other.squares)

    def objective(self, factors: Factors) -> float:
        """sum_n |X_n - F_n C|_F^2, never negative."""
        bent = factors.modes[:, :, None] * factors.basis[:, None]
        whole = np.concatenate([factors.shape, bent.reshape(-1, factors.shape.shape[1])])
        fitted = float(((self.gram @ whole - 2 * self.pull) * whole).sum())
        return max(self.squares + fitted, 0.0)


@dataclass(frozen=True)
class Refined:
    """Factors at the end of the sweeps, and how it got there."""

    factors: Factors
    objectives: tuple[float, ...]  # sum of squares after each sweep; never grows
    converged: bool


def refine(
    points: Array,
    start: Factors,
    sweeps: int = 100,
    tolerance: float = 1e-6,
    rest: float = 0.0,
    rotations: Array | None = None,
    hold_shape: bool = False,
) -> Refined:
    """Minimise sum_n |X_n - M_n (B_0 + sum_k alpha_nk d_k b_k')|_F^2 over all parts in turn.

    One sweep solves in closed form for the cameras, the amplitudes, for B_0 with all b_k, and for
    all d_k; each solve is exact, so the objective never grows. The next sweep starts from a mixture
    of the last ones (`Anderson`); one that raises the objective is thrown away. It ends where the
    relative residual changes by less than `tolerance` of itself in STILL sweeps running, as a
    mixture that is let go of costs a sweep or two.
    Source: the objective is equation (10) of Haas, Grasshof & Brandt (2022), arXiv:2211.07195,
    with M and B_0 free; the d_k are unit vectors, so its penalty is 0.

    Args:
        points: (N, 2, R) centred landmarks, or their coordinates in a row space of R dimensions.
        start: factors in the same coordinates.
        rest: sum of squares outside that row space, which no factor reaches.
        rotations: (N, 2, 3) orthonormal rows; cameras are then K_n of them, K_n upper triangular,
            so that angles stay what they are.
        hold_shape: B_0 stays what it is.
    """
    given, best, objectives, small = start, start, [], 0
    looking_back = Anderson(start.shape.size + start.basis.size + start.modes.size)
    for _ in range(sweeps):
        made, value = _sweep(points, given, rotations, hold_shape)
        value += rest
        if objectives and value > objectives[-1] and looking_back.inputs:
            given = best  # a mixture that led uphill: go on from the last sweep's own result
            looking_back.forget()
            continue
        before = np.sqrt(objectives[-1]) if objectives else np.inf
        objectives.append(min(value, objectives[-1]) if objectives else value)
        best = made
        small = small + 1 if before - np.sqrt(value) <= tolerance * np.sqrt(value) else 0
        if small == STILL:
            return Refined(best, tuple(objectives), True)
        given = _unpacked(looking_back.next(_packed(given), _packed(made)), made)
    return Refined(best, tuple(objectives), False)


def _sweep(
    points: Array, factors: Factors, rotations: Array | None, hold_shape: bool
) -> tuple[Factors, float]:
    """All parts solved for once, and the objective inside the row space."""
    factors = fit_rows(points, factors, rotations)
    sums = Sums.of(points, factors.cameras, factors.alpha)
    shared, lengths = fit_shared(sums, factors, hold_shape)
    value = sums.objective(replace(shared, modes=shared.modes * lengths[:, None]))
    return replace(shared, alpha=shared.alpha * lengths), value


def _packed(factors: Factors) -> Array:
    parts = (factors.shape, factors.basis, factors.modes, factors.alpha)
    return np.concatenate([part.ravel() for part in parts])


def _unpacked(numbers: Array, like: Factors) -> Factors:
    parts = (like.shape, like.basis, like.modes, like.alpha)
    cuts = np.cumsum([part.size for part in parts])[:-1]
    shape, basis, modes, alpha = (
        found.reshape(part.shape)
        for found, part in zip(np.split(numbers, cuts), parts, strict=True)
    )
    return replace(like, shape=shape, basis=basis, modes=modes, alpha=alpha)


def fit_rows(points: Array, factors: Factors, rotations: Array | None = None) -> Factors:
    """The same shared parts with the cameras, then the amplitudes, that are best for each row."""
    if rotations is None:
        factors = replace(factors, cameras=best_cameras(points, factors))
    else:
        factors = replace(factors, cameras=best_scales(points, factors, rotations))
    return replace(factors, alpha=best_amplitudes(points, factors))


def fit_shared(sums: Sums, factors: Factors, hold_shape: bool = False) -> tuple[Factors, Array]:
    """The shared parts that are best for the sums' rows, and by what each amplitude must grow.

    B_0 with all b_k (or these alone), then all d_k, two exact solves; then b_k and d_k are made
    unit vectors, and the rows' alpha_k are to be multiplied by the (K,) lengths returned.
    """
    factors = _with_rows(sums, factors, hold_shape)
    factors = replace(factors, modes=_directions(sums, factors))
    rows = np.linalg.norm(factors.basis, axis=1)
    ways = np.linalg.norm(factors.modes, axis=1)
    tiny = np.finfo(float).tiny
    unit = replace(
        factors,
        basis=factors.basis / np.maximum(rows, tiny)[:, None],
        modes=factors.modes / np.maximum(ways, tiny)[:, None],
    )
    return unit, rows * ways


def best_cameras(points: Array, factors: Factors) -> Array:
    """(N, 2, 3) affine cameras for the shape that each row's amplitudes make."""
    solid = _solids(factors)
    gram = _steady(solid @ solid.transpose(0, 2, 1))
    seen = points @ solid.transpose(0, 2, 1)
    found = np.linalg.solve(gram, seen.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.asarray(found, np.float64)


def best_scales(points: Array, factors: Factors, rotations: Array) -> Array:
    """(N, 2, 3) cameras K_n [I|0] R_n for given rotations: three unknowns a row."""
    seen = rotations @ _solids(factors)
    gram = _steady(seen @ seen.transpose(0, 2, 1))
    top = np.linalg.solve(gram, seen @ points[:, 0, :, None])[..., 0]
    bottom = (seen[:, 1] * points[:, 1]).sum(axis=1) / gram[:, 1, 1]
    upper = np.stack([top, np.stack([np.zeros_like(bottom), bottom], axis=1)], axis=1)
    return np.asarray(upper @ rotations, np.float64)


def best_amplitudes(points: Array, factors: Factors) -> Array:
    """(N, K) amplitudes for given cameras: K unknowns a row, coupled where b_k overlap."""
    left = points - factors.cameras @ factors.shape
    seen = factors.cameras @ factors.modes.T
    overlap = factors.basis @ factors.basis.T
    gram = _steady((seen.transpose(0, 2, 1) @ seen) * overlap)
    pull = (seen * (left @ factors.basis.T)).sum(axis=1)
    return np.linalg.solve(gram, pull[..., None])[..., 0]


def _solids(factors: Factors) -> Array:
    """(N, 3, R) the shape of each row: B_0 + sum_k alpha_nk d_k b_k'."""
    bent = factors.modes[:, :, None] * factors.basis[:, None]
    flat = factors.alpha @ bent.reshape(len(bent), -1)
    return flat.reshape(-1, *factors.shape.shape) + factors.shape


def _with_rows(sums: Sums, factors: Factors, hold_shape: bool) -> Factors:
    """B_0 and the rows b_k together: one linear problem of 3 + K unknowns a column."""
    count = len(factors.modes)
    into = np.zeros((3 + 3 * count, 3 + count))  # C = into [B_0; b]
    into[:3, :3] = np.eye(3)
    for k, mode in enumerate(factors.modes):
        into[3 + 3 * k : 6 + 3 * k, 3 + k] = mode
    normal, pull = into.T @ sums.gram @ into, into.T @ sums.pull
    if hold_shape:
        pull = pull[3:] - normal[3:, :3] @ factors.shape
        return replace(factors, basis=np.linalg.solve(_steady(normal[3:, 3:]), pull))
    found = np.asarray(np.linalg.solve(_steady(normal), pull), np.float64)
    return replace(factors, shape=found[:3], basis=found[3:])


def _directions(sums: Sums, factors: Factors) -> Array:
    """All d_k together: 3 K unknowns."""
    count = len(factors.basis)
    overlap = np.repeat(np.repeat(factors.basis @ factors.basis.T, 3, axis=0), 3, axis=1)
    normal = _steady(sums.gram[3:, 3:] * overlap)
    left = (sums.pull[3:] - sums.gram[3:, :3] @ factors.shape).reshape(count, 3, -1)
    pull = np.einsum("kir,kr->ki", left, factors.basis)
    return np.linalg.solve(normal, pull.ravel()).reshape(count, 3)


def _steady(gram: Array) -> Array:
    """A Gram matrix, or a stack of them, with EDGE of its trace on the diagonal."""
    trace = np.trace(gram, axis1=-2, axis2=-1)[..., None, None]
    return gram + (EDGE * trace + np.finfo(float).tiny) * np.eye(gram.shape[-1])
