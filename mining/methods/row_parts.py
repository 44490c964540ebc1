"""The steps of the shape model's fit over parts of the rows: sums out, each row's own kept.

Landmarks are read twice, for their Gram matrix and for their coordinates in its first 3 + K
singular rows; from then on a part holds 2 x (3 + K) numbers a row, its camera and amplitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.camera import orthonormal, split_cameras, upgrade_sums
from mining.methods.closed_form import ModeTerms
from mining.methods.refine import Factors, Sums, fit_rows
from mining.methods.rigid import RigidShape
from mining.methods.robust_landmarks import RobustSpace
from mining.methods.shape_model import amplitudes, codes_from, is_flat, rows_of_new
from schemas.errors import InputError

Array = NDArray[np.float64]

CHUNK = 4096  # rows looked at together, where all are in memory


@dataclass(frozen=True)
class Rows:
    """What is kept of a part's N rows."""

    points: Array  # (N, 2, R) coordinates of the centred landmarks in the row space
    shift: Array  # (N, 2) centroids
    cameras: Array  # (N, 2, 3)
    alpha: Array  # (N, K)


@dataclass(frozen=True)
class Moments:
    """Sums over a part's landmarks, and those of its rows that may belong to the sample."""

    rows: int
    missing: int  # rows skipped: a landmark is not finite
    flat: int  # rows skipped: the landmarks lie on one line
    gram: Array  # (L, L) sum of X_n'X_n, X_n centred
    keys: NDArray[np.uint64]  # (S,) ascending, none twice
    sample: Array  # (S, L, 2) the rows with the smallest keys; of equal rows one
    size: int  # of the whole sample

    def __add__(self, other: Moments) -> Moments:
        if self.gram.shape != other.gram.shape:
            raise InputError(
                f"nrsfm: parts have {len(self.gram)} and {len(other.gram)} landmarks; expected "
                "the same number in all."
            )
        keys, order = _smallest(np.concatenate([self.keys, other.keys]), self.size)
        return Moments(
            self.rows + other.rows,
            self.missing + other.missing,
            self.flat + other.flat,
            self.gram + other.gram,
            keys,
            np.concatenate([self.sample, other.sample])[order],
            self.size,
        )


def measure(source: Any, size: int) -> Moments:
    """The first question: the sums over a part's landmarks.

    Args:
        source: (N, L, 2) landmarks, or a function that reads them.
        size: rows of the sample that the model is first fitted to.
    """
    landmarks, (x, y), missing, flat = usable(source)
    keys, order = _smallest(row_keys(landmarks), size)
    gram = x.T @ x + y.T @ y
    return Moments(len(landmarks), missing, flat, gram, keys, landmarks[order], size)


def _smallest(keys: NDArray[np.uint64], size: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """The smallest `size` keys, ascending, none twice, and the first place of each."""
    found, places = np.unique(keys, return_index=True)
    return found[:size], places[:size]


def coordinates(source: Any, space: Array, robust: RobustSpace | None) -> tuple[Rows, float]:
    """The first step: the rows' coordinates, and their sum of squares outside the row space.

    Args:
        space: (R, L) orthonormal rows.
        robust: finds the coordinates without the landmarks that are grossly wrong.
    """
    landmarks, (x, y), _, _ = usable(source)
    if robust is None:
        held = np.stack([x @ space.T, y @ space.T], axis=1)
        shift = landmarks.mean(axis=1)
        rest = float(np.vdot(x, x) + np.vdot(y, y)) - float((held**2).sum())
    else:
        held, shift, rest = robust.coordinates(landmarks)
    count = len(held)
    return Rows(held, shift, held[:, :, :3], np.zeros((count, len(space) - 3))), max(rest, 0.0)


def usable(source: Any) -> tuple[Array, tuple[Array, Array], int, int]:
    """Landmarks (N, L, 2) as float64 without the rows that cannot be used.

    Returns:
        Also their x and y about the centroids, each (N, L); how many rows miss a landmark, and how
        many lie on one line.
    """
    landmarks = np.asarray(source() if callable(source) else source, np.float64)
    if landmarks.ndim != 3 or landmarks.shape[2] != 2 or not landmarks.shape[1]:
        raise InputError(f"nrsfm: landmarks are {landmarks.shape}, expected (N, L, 2).")
    finite = np.isfinite(landmarks).all(axis=(1, 2))
    landmarks = landmarks if finite.all() else landmarks[finite]
    x, y = _centred(landmarks)
    flat = _flat(x, y)
    if flat.any():
        landmarks, x, y = (part[~flat] for part in (landmarks, x, y))
    return landmarks, (x, y), int((~finite).sum()), int(flat.sum())


def _flat(x: Array, y: Array) -> NDArray[np.bool_]:
    """As `is_flat`, of centred x and y (N, L)."""
    xx, yy, xy = (np.einsum("nl,nl->n", a, b) for a, b in ((x, x), (y, y), (x, y)))
    return xx * yy - xy**2 <= 1e-10 * (xx + yy) ** 2


def usable_rows(landmarks: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) which rows of landmarks (N, L, 2) `usable` keeps."""
    found = np.zeros(len(landmarks), np.bool_)
    for start in range(0, len(landmarks), CHUNK):
        part = landmarks[start : start + CHUNK]
        rows = np.asarray(np.isfinite(part).all(axis=(1, 2)), np.bool_)
        rows[rows] = ~_flat(*_centred(part[rows]))
        found[start : start + CHUNK] = rows
    return found


def row_keys(landmarks: Array) -> NDArray[np.uint64]:
    """(N,) numbers that look random and depend on a row's own values alone.

    A multiplicative hash of the bits, finished as in splitmix64 (Steele et al., 2014,
    doi:10.1145/2660193.2660195): a sample by them is the same however rows are sharded.
    """
    flat = np.ascontiguousarray(landmarks, np.float64).reshape(-1, 2 * landmarks.shape[1])
    words = flat.view(np.uint64)
    odd = np.random.Generator(np.random.PCG64(5)).integers(
        0, 2**64, words.shape[1], np.uint64
    ) | np.uint64(1)
    with np.errstate(over="ignore"):
        found = ((words ^ (words >> np.uint64(29))) * odd).sum(axis=1, dtype=np.uint64)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def turned_cameras(rows: Rows, change: Array) -> tuple[Rows, None]:
    """Cameras M_n A."""
    return replace(rows, cameras=rows.cameras @ change), None


def grown(rows: Rows, lengths: Array) -> tuple[Rows, None]:
    """Amplitudes times (K,) lengths."""
    return replace(rows, alpha=rows.alpha * lengths), None


def rigid_cameras(rows: Rows, rigid: RigidShape, space: Array) -> tuple[Rows, Pair]:
    """Metric cameras of the rigid landmarks; the sums M'M and M'X that B_0 follows from."""
    cameras = rigid.cameras(rows.points @ space)
    seen = cameras.reshape(-1, 3)
    flat = rows.points.reshape(len(seen), -1)
    return replace(rows, cameras=cameras), Pair((seen.T @ seen, seen.T @ flat))


def left_over(rows: Rows, shape: Array) -> Array:
    """(R, R) the Gram matrix of X - M B_0, from which the rows b_k follow."""
    left = (rows.points - rows.cameras @ shape).reshape(-1, rows.points.shape[2])
    return left.T @ left


def upgrade(rows: Rows) -> Pair:
    """The sums that `metric_upgrade` reads."""
    return Pair(upgrade_sums(rows.cameras))


def mode_terms(rows: Rows, shape: Array, basis: Array, ways: Array) -> Pair:
    """What the search for d_k sums, at (K, P, 3) directions."""
    bent = (rows.points - rows.cameras @ shape) @ basis.T
    return Pair(ModeTerms(rows.cameras, bent)(ways))


def given_amplitudes(rows: Rows, shape: Array, basis: Array, modes: Array) -> tuple[Rows, Sums]:
    """Amplitudes of orthonormal rows b_k, one by one, and the sums of the objective."""
    bent = (rows.points - rows.cameras @ shape) @ basis.T
    rows = replace(rows, alpha=amplitudes(rows.cameras, modes, bent))
    return rows, Sums.of(rows.points, rows.cameras, rows.alpha)


def own_start(
    rows: Rows, shared: Factors, sweeps: int, rigid: RigidShape | None, space: Array
) -> tuple[Rows, Sums]:
    """Cameras and amplitudes for shared parts that were fitted to other rows.

    Args:
        rigid: the landmarks that rotations come from; None: from all that the shared parts say.
        space: (R, L) the row space.
    """
    turns = None if rigid is None else orthonormal(rigid.cameras(rows.points @ space))
    cameras, alpha = rows_of_new(rows.points, shared, sweeps, tolerance=0.0, rotations=turns)
    rows = replace(rows, cameras=cameras, alpha=alpha)
    return rows, Sums.of(rows.points, cameras, alpha)


def sweep(rows: Rows, shared: Factors, lengths: Array, turned: bool) -> tuple[Rows, Sums]:
    """One sweep of each row's own, after the shared parts were solved for.

    Args:
        turned: rotations stay what they are.
    """
    given = replace(shared, cameras=rows.cameras, alpha=rows.alpha * lengths)
    found = fit_rows(rows.points, given, orthonormal(rows.cameras) if turned else None)
    rows = replace(rows, cameras=found.cameras, alpha=found.alpha)
    return rows, Sums.of(rows.points, rows.cameras, rows.alpha)


def poses(rows: Rows, change: Array) -> Pair:
    """The sums over cameras M_n A of rank 2 of their rotations (3, 3) and of sqrt(k11 k22), and
    how many these cameras are."""
    cameras = rows.cameras @ change
    k, rotations = split_cameras(cameras[~is_flat(cameras)])
    return Pair((rotations.sum(axis=0), np.sqrt(k[:, 0] * k[:, 2]).sum(), len(k)))


def codes(rows: Rows, change: Array, lengths: Array) -> tuple[Array, None]:
    """Last step: q (N, 8 + K) for cameras M_n A and amplitudes times `lengths`.

    NaN where a row fixes no camera, as where all landmarks that are not gross errors coincide.
    """
    cameras = rows.cameras @ change
    seen = ~is_flat(cameras)
    found = np.full((len(seen), 8 + len(lengths)), np.nan)
    found[seen] = codes_from(cameras[seen], (rows.alpha * lengths)[seen], rows.shift[seen])
    return found, None


class Pair(tuple[Any, ...]):
    """Some things that are added one by one."""

    def __add__(self, other: Any) -> Pair:
        return Pair(one + more for one, more in zip(self, other, strict=True))


def _centred(landmarks: NDArray[Any]) -> tuple[Array, Array]:
    """x and y of landmarks (N, L, 2) about their centroids, each (N, L) in one piece."""
    x, y = (np.array(landmarks[:, :, axis], np.float64, order="C") for axis in (0, 1))
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    return x, y
