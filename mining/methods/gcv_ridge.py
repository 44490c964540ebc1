"""Ridge regression of many targets on the latents, each with the penalty that suits it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
WHO = "ridge reading"
PENALTIES = np.logspace(-9, 1, 61)  # times the largest eigenvalue of X'X


@dataclass(frozen=True)
class LinearReading:
    """targets = mean + weights (latent - centre)."""

    weights: Array  # (K, D)
    centre: Array  # (D,) mean latent of the rows it was fitted to
    mean: Array  # (K,) mean targets of the same rows
    penalty: Array  # (K,) lambda
    r2: Array  # (K,) by GCV: the share of the variance to expect on new rows; can be negative
    rows: int = 0  # that it was fitted to

    def read(self, latents: NDArray) -> Array:
        """(N, D) -> (N, K) float64."""
        latents = np.asarray(latents, np.float64)
        if latents.ndim != 2 or latents.shape[1] != len(self.centre):
            raise InputError(
                f"{WHO}: latents {latents.shape} came, expected (N, {len(self.centre)})."
            )
        return self.mean + (latents - self.centre) @ self.weights.T


def fit_ridge(
    latents: NDArray, targets: NDArray, penalties: float | Array | None = None
) -> LinearReading:
    """Ridge regression with a penalty of its own for every target, from one decomposition.

    With X, Y centred: w_k = (X'X + lambda_k I)^-1 X'y_k; lambda_k has the least
    GCV(lambda) = N |y - Xw|^2 / (N - 1 - df)^2, df = sum s / (s + lambda), s the eigenvalues of
    X'X (the mean takes one degree of freedom).
    Source: Golub, Heath & Wahba (1979), doi:10.1080/00401706.1979.10489751.

    Rows of W+ that are all equal are solved as one row of them, see `untied`: the same reading, in
    the time of W.

    Args:
        latents: (N, D), N >= 3. targets: (N, K); a row with a NaN in any of them is left out.
        penalties: lambda, one or (K,); None: by GCV.

    Raises:
        InputError: shapes disagree, latents are not finite, a penalty is not above 0, fewer than
            3 rows are left, or their latents are all equal.
    """
    x, y, copies = _rows(latents, targets)
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    return _laid_out(_fit(x - centre, y - mean, centre, mean, 1, penalties), copies)


def fit_within(
    latents: NDArray,
    targets: NDArray,
    groups: NDArray,
    penalties: float | Array | None = None,
) -> LinearReading:
    """As `fit_ridge`, from what changes within groups alone: latents and targets are centred in
    each group first.

    What is the same in all rows of a group then has no say, whatever it is: with the sequences of
    one identity as groups, the weights are of pose and expression, and of no identity. Each group
    takes one degree of freedom.
    Source: the within (fixed-effects) estimator, Mundlak (1978), doi:10.2307/1913646.

    Args:
        groups: (N,) a number for each row; negative: of none. Those rows are left out, as is the
            only row of a group.

    Raises:
        InputError: as `fit_ridge`, or groups are no (N,) whole numbers.
    """
    _check_pair(latents, targets)
    numbers = np.asarray(groups)
    if numbers.shape != (len(latents),) or numbers.dtype.kind not in "iu":
        raise InputError(
            f"{WHO}: groups {numbers.shape} {numbers.dtype} came with {len(latents)} rows; "
            "expected one whole number a row."
        )
    used = np.isfinite(np.asarray(targets, np.float64)).all(axis=1) & (numbers >= 0)
    _, place, sizes = np.unique(numbers[used], return_inverse=True, return_counts=True)
    used[used] = sizes[place] > 1
    if not used.any():
        raise InputError(f"{WHO}: no group has two rows whose targets are measured.")
    x, y, copies = _rows(np.asarray(latents)[used], np.asarray(targets)[used])
    own_x, own_y = (centred_within(rows, numbers[used]) for rows in (x, y))
    lost = len(np.unique(numbers[used]))
    found = _fit(own_x, own_y, x.mean(axis=0), y.mean(axis=0), lost, penalties)
    return _laid_out(found, copies)


def untied(latents: NDArray) -> tuple[NDArray, int]:
    """Latents (N, copies * D) whose rows of W+ are all equal, as (N, D), and how many rows those
    are; others as they are, and 1.

    The ridge of copies equal rows with the penalty lambda is that of one row times sqrt(copies):
    X'(XX' + lambda I)^-1 y holds the same numbers for each of them.
    """
    if not len(latents):
        return latents, 1
    width = latents.shape[1]
    for size in (size for size in range(1, width) if width % size == 0):
        first = latents[:1]
        if (first[:, size:] == first[:, :-size]).all():  # nearly always told by one row
            one = latents[:, :size]
            if all((latents[:, at : at + size] == one).all() for at in range(size, width, size)):
                return one, width // size
    return latents, 1


def _laid_out(narrow: LinearReading, copies: int) -> LinearReading:
    """The reading of rows that are `copies` equal ones, from that of `_rows`' scaled one."""
    if copies == 1:
        return narrow
    scale = np.sqrt(copies)
    weights = np.tile(narrow.weights / scale, (1, copies))
    return replace(narrow, weights=weights, centre=np.tile(narrow.centre / scale, copies))


def centred_within(rows: Array, groups: NDArray) -> Array:
    """(N, K) rows less the mean of their group."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    together = rows[np.argsort(place, kind="stable")]
    totals = np.add.reduceat(together, np.cumsum(sizes) - sizes, axis=0)
    return rows - (totals / sizes[:, None])[place]


def _fit(
    x: Array, y: Array, centre: Array, mean: Array, lost: int, penalties: float | Array | None
) -> LinearReading:
    """The reading from centred rows; `lost` degrees of freedom went into the centring."""
    if not np.ptp(x, axis=0).max() > 0:
        raise InputError(f"{WHO}: all {len(x)} latents are equal; nothing to learn from.")
    energy, axes = _axes(x)
    count = len(x) - lost  # rows that the centring has left
    pull = axes.T @ (x.T @ y)  # (R, K)
    outside = ((y - x @ (axes @ (pull / energy[:, None]))) ** 2).sum(axis=0)
    total = np.maximum((y**2).sum(axis=0), 1e-300)  # constant targets: r2 is 1
    lambdas = _lambdas(energy, y.shape[1], penalties)
    # |y - Xw|^2 as sums of positive terms: what shrinking leaves in X's span, and what lies outside
    shrunk = lambdas[..., None] / (energy + lambdas[..., None])  # (L, K or 1, R)
    left = np.einsum("lkr,rk->lk", shrunk**2, pull**2 / energy[:, None]) + outside
    freedom = max(count - len(energy), 0) + shrunk.sum(axis=2)
    errors = (count + 1) * left / np.maximum(freedom, 1e-150) ** 2
    best = errors.argmin(axis=0)
    chosen = np.broadcast_to(lambdas, errors.shape)[best, np.arange(y.shape[1])]
    weights = (axes @ (pull / (energy[:, None] + chosen))).T
    r2 = 1 - errors.min(axis=0) * count / total
    return LinearReading(np.ascontiguousarray(weights), centre, mean, chosen, r2, len(x))


def _lambdas(energy: Array, targets: int, penalties: float | Array | None) -> Array:
    """(L, 1) for all targets, or the (1, K) given ones."""
    if penalties is None:
        return (energy.max() * PENALTIES)[:, None]
    given = np.asarray(penalties, np.float64)
    if given.shape not in ((), (targets,)) or not (np.isfinite(given) & (given > 0)).all():
        raise InputError(
            f"{WHO}: penalties {given.shape} came; expected one or {targets} numbers above 0."
        )
    return np.broadcast_to(given, (targets,))[None]


def _axes(x: Array) -> tuple[Array, Array]:
    """Eigenvalues (R,) and eigenvectors (D, R) of X'X, without those of rounding noise.

    Through XX' where there are fewer rows than numbers (W+).
    """
    wide = len(x) < x.shape[1]
    energy, axes = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = energy > np.finfo(float).eps * max(x.shape) * energy.max()
    energy, axes = energy[kept], axes[:, kept]
    return energy, x.T @ axes / np.sqrt(energy) if wide else axes


def _check_pair(latents: NDArray, targets: NDArray) -> None:
    shapes = np.shape(latents), np.shape(targets)
    if any(len(shape) != 2 or not shape[1] for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise InputError(
            f"{WHO}: latents {shapes[0]} and targets {shapes[1]} do not pair up; expected (N, D) "
            "and (N, K)."
        )


def _rows(latents: NDArray, targets: NDArray) -> tuple[Array, Array, int]:
    """Latents and targets as float64, the rows whose targets are all measured; and of how many
    equal rows of W+ the latents are: of those one comes, times the root of their number.
    """
    _check_pair(latents, targets)
    one, copies = untied(np.asarray(latents))
    x, y = np.asarray(one, np.float64), np.asarray(targets, np.float64)
    if not np.isfinite(x).all():
        raise InputError(f"{WHO}: latents hold NaN or infinity; drop those rows first.")
    used = np.isfinite(y).all(axis=1)
    if used.sum() < 3:
        raise InputError(
            f"{WHO}: {used.sum()} of {len(x)} rows have all {y.shape[1]} targets measured, "
            "expected at least 3."
        )
    return (x[used] * np.sqrt(copies) if copies > 1 else x[used]), y[used], copies
