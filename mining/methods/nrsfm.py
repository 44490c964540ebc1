"""Non-rigid structure from motion with rank-one basis shapes: its settings, and the fit itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mining.methods.base import check_positive, check_whole
from mining.methods.parts import LocalParts
from mining.methods.shape_model import ShapeModel, check_landmarks, refuse_rows
from schemas.errors import InputError

Array = NDArray[np.float64]
Calibration = Literal["none", "mean", "upgrade", "metric"]
Search = Literal["global", "als"]

PART = 4096  # rows at a time


@dataclass(frozen=True)
class NrsfmConfig:
    """Settings of `fit_nrsfm`."""

    components: int = 16  # K, the number of non-rigid modes; the paper has 12
    calibration: Calibration = "metric"
    # none: the factorisation's own axes; mean: those, turned so that the mean rotation is 1;
    # upgrade: cameras made metric on all landmarks; metric: on those that move with the skull
    sweeps: int = 200  # of the joint refinement on the sample, at most; 0: the closed form alone
    passes: int = 20  # of the joint refinement over all rows after it, at most
    tolerance: float = 1e-6  # relative change of the residual at which the refinement ends
    sample: int = 4000  # rows that searches and most sweeps look at
    robust: bool = False  # leave out landmarks that are grossly wrong
    rigid: float = 0.6  # share of the landmarks that count as rigid
    search: Search = "global"  # for d_k in the closed form; als: the authors' alternation
    grid: int = 1000  # points on the half sphere where the global search starts, at least
    starts: int = 6  # best grid points, apart from each other, that are refined, at least
    iterations: int = 10  # of als; the authors' ten
    polish: int = 0  # iterations on equation (10) with its penalty, after the search
    penalty: float = 5.0  # lambda of equation (10); the authors' five
    seed: int = 0  # of the amplitudes that als starts from

    def __post_init__(self) -> None:
        sizes = ("components", "grid", "starts", "sample", "iterations", "passes")
        check_whole("nrsfm", 1, **{name: getattr(self, name) for name in sizes})
        check_whole("nrsfm", 0, sweeps=self.sweeps, polish=self.polish, seed=self.seed)
        check_positive("nrsfm", zero=True, tolerance=self.tolerance, penalty=self.penalty)
        for name, known in (("calibration", Calibration), ("search", Search)):
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"nrsfm: {name} is {getattr(self, name)!r}, expected one of "
                    f"{', '.join(get_args(known))}."
                )
        if not 0 < self.rigid <= 1:
            raise InputError(f"nrsfm: rigid is {self.rigid}, expected a share in (0, 1].")


def fit_nrsfm(
    landmarks: Array, config: NrsfmConfig = NrsfmConfig(), workers: int = 1
) -> ShapeModel:
    """Recover a 3-D shape model from 2-D landmarks alone.

    With the centred measurements X (2N, L) = U S V', only their coordinates in the first 3 + K
    rows of V are read from then on; the rows come from the Gram matrix X'X in float64.
    The closed form: the top three rows give cameras M_n and B_0, the next K the rows b_k,
    equations (3) to (6). As b_k is orthogonal to B_0 and to the other rows, equation (10) splits
    into K problems in three unknowns: with y_nk = X_n b_k,
    d_k = argmax over the unit sphere of sum_n (y_nk'M_n d)^2 / |M_n d|^2, found by a grid and
    Newton's method, and alpha_nk = (M_n d_k)'y_nk / |M_n d_k|^2.
    The affine freedom is spent on metric cameras: by `metric_upgrade`, or, with `metric`, they are
    fitted to the most rigid landmarks (`rigid_shape`), from which B_0 and the rows of X - M B_0
    follow. With `sweeps` all parts are refined together on the full objective (`refine`), after
    `metric` first with the rotations held: on a sample until it converges, then on all rows.
    Rotations and B_0 stay held where that costs little (`joint_parts`), and new rows then turn as
    their rigid landmarks say too. At last the mean rotation is made the identity, so theta = 0
    faces the camera.
    Scale: the mean of sqrt(k11 k22) is 1. Mirror: the shape bulges towards the viewer (its
    depth grows with the distance from its centre), as a face does. Sign: d_k points along
    (1, e, pi).
    alpha_nk is a least-squares solution, so it grows without bound where camera n looks along d_k
    and hardly sees it; `train_regressor` bounds it.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.1; the split by k follows
    from the orthonormal rows used by Brandt & Ackermann (2019), arXiv:1904.13271.

    Landmarks that no memory holds, in shards, with rows that miss some: `fit_parts`.

    Args:
        landmarks: (N, L, 2) in [0, 1], y down; 2N >= 3 + K, L >= 3 + K + 1.
        workers: parts of the rows that are worked on at once; the result is the same.

    Raises:
        InputError: the shape is wrong, there are too few rows or landmarks, a value is NaN, or the
            landmarks of a row lie on one line; with `robust`, those that are left of it.
    """
    from mining.methods.fit_parts import fit_parts, measured

    if np.ndim(landmarks) != 3 or np.shape(landmarks)[2] != 2:
        check_landmarks(landmarks)
    starts = range(0, max(1, len(landmarks)), PART)
    parts = LocalParts([landmarks[start : start + PART] for start in starts], workers)
    with threadpool_limits(1):  # of BLAS: matrices are small, and threads change the last digits
        moments = measured(parts, config)
        if moments.missing or moments.flat:
            check_landmarks(landmarks)
        found = fit_parts(parts, config, moments)
        codes = np.concatenate(list(found.codes))
        refuse_rows(np.isnan(codes[:, 0]), "collinear as the shape model sees them")
        return replace(found.model, codes=codes)


def check_size(rows: int, points: int, components: int) -> None:
    """InputError unless 3 + K singular vectors can exist."""
    if min(2 * rows, points - 1) < 3 + components:
        raise InputError(
            f"nrsfm: {rows} rows of {points} landmarks cannot carry {components} modes; "
            f"expected 2N and L - 1 of at least {3 + components}. Lower `components`."
        )


def check_sample(rows: int, looked_at: int, config: NrsfmConfig) -> None:
    """InputError unless the rows that the model is first fitted to can carry its modes."""
    least = (3 + config.components + 1) // 2
    if rows < least:
        said = "have enough landmarks that agree" if config.robust else "differ"
        hint = "Lower `components`, or leave `robust` out" if config.robust else "Raise `sample`"
        raise InputError(
            f"nrsfm: {rows} rows of a sample of {looked_at} {said}; expected at least {least} for "
            f"{config.components} modes. {hint}."
        )
