"""How many non-rigid modes the landmarks carry: residuals and left-out landmarks, by K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole, own_order
from mining.methods.camera import cameras_of, image_points
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.refine import Factors, refine
from mining.methods.shape_model import ShapeModel, check_landmarks, codes_from
from schemas.errors import InputError

Array = NDArray[np.float64]

MOST, STEP = 24, 2  # of the candidates where none are named
LEAST_ROWS = 20
FITTED_SHARE = 0.75  # of the rows that are read; the others are held out
PARTS = 5  # of the landmarks: each part, a fifth, is predicted from the others
FIT_SWEEPS, FIT_TOLERANCE = 60, 1e-5  # of equation (11) on the landmarks that are kept
JOINT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ChoiceConfig:
    """Settings of `choose_components`."""

    rows: int = 1500  # at most that many are read
    sweeps: int = 20  # of the joint refinement of every candidate; 0 judges the closed form

    def __post_init__(self) -> None:
        check_whole("choice of K", LEAST_ROWS, rows=self.rows)
        check_whole("choice of K", 0, sweeps=self.sweeps)


@dataclass(frozen=True)
class ComponentCurve:
    """What each K explains and predicts, and the K that this speaks for."""

    components: tuple[int, ...]  # candidates K, ascending
    rank_share: tuple[float, ...]  # of the energy, inside the first 3 + K singular vectors
    closed_residual: tuple[float, ...]  # relative, of the closed form on the fitted rows
    joint_residual: tuple[float, ...]  # relative, after the joint refinement; NaN without
    held_out: tuple[float, ...]  # rms of left-out landmarks' errors, in fractions of the image
    held_out_error: tuple[float, ...]  # standard error of that, over rows
    suggested: int  # the smallest K within one standard error of the lowest held-out error
    fitted_rows: int
    held_rows: int
    seed: int = 0


def choose_components(
    landmarks: Array,
    candidates: Sequence[int] | None = None,
    config: ChoiceConfig = ChoiceConfig(),
    seed: int = 0,
) -> ComponentCurve:
    """Judge numbers of non-rigid modes by landmarks that the fit has not seen.

    The model is fitted to a part of the rows. Of every held-out row each fifth of the landmarks
    is predicted from the others: q is fitted to those that are kept, equation (11), and R(q) read
    at those left out. Residuals fall with every mode; this error rises again as soon as modes fit
    noise. A K's error is the root mean square over all landmarks of all held-out rows, its
    standard error that of the mean of squares over rows, by the delta method. Suggested is the
    smallest K whose error is within one standard error of the lowest.
    Closed forms are nested (cameras and b_k do not depend on K), so one fit serves all
    candidates; each is refined on its own. Cameras are left affine: R(q) is the same.
    Source: cross-validation over rows and columns, Wold (1978),
    doi:10.1080/00401706.1978.10489693; Owen & Perry (2009), arXiv:0908.2062; the rule of one
    standard error, Breiman et al. (1984), Classification and Regression Trees, section 3.4.3.

    Args:
        landmarks: (N, L, 2) in [0, 1], y down; no NaN. N >= 20.
        candidates: values of K; None takes 0, 2, 4 ... up to 24, as far as the landmarks allow.
        seed: of the rows that are read and held out, and of the fifths.

    Raises:
        InputError: the shape is wrong, a value is not finite, there are too few rows or
            landmarks, or a candidate is above L - 4.
    """
    rng = np.random.default_rng(seed)
    read = check_landmarks(_some_rows(landmarks, config.rows, rng))
    count, points = int(FITTED_SHARE * len(read)), read.shape[1]
    chosen = _candidates(candidates, len(read), count, points)
    fitted, held = read[:count], read[count:]
    parts = np.array_split(rng.permutation(points), PARTS)
    closed = fit_nrsfm(fitted, NrsfmConfig(max(*chosen, 1), "none", sweeps=0))
    models = [_truncated(closed, k) for k in chosen]
    joint = [_refined(model, fitted, config.sweeps) for model in models]
    errors = [_left_out(model, held, parts) for model in joint]
    means, spreads = zip(*(_mean_error(row) for row in errors), strict=True)
    lowest = int(np.argmin(means))
    within = means[lowest] + spreads[lowest]
    return ComponentCurve(
        components=chosen,
        rank_share=_shares(fitted, chosen),
        closed_residual=tuple(_relative(model, fitted) for model in models),
        joint_residual=tuple(
            _relative(model, fitted) if config.sweeps else float("nan") for model in joint
        ),
        held_out=means,
        held_out_error=spreads,
        suggested=next(k for k, mean in zip(chosen, means, strict=True) if mean <= within),
        fitted_rows=len(fitted),
        held_rows=len(held),
        seed=seed,
    )


def _some_rows(landmarks: Array, count: int, rng: np.random.Generator) -> Array:
    """At most `count` rows, which and in which order being a function of the rows and the seed."""
    landmarks = np.asarray(landmarks)
    if landmarks.ndim != 3 or len(landmarks) < 2:
        return landmarks  # to be refused by whoever reads them
    order = own_order(landmarks.reshape(len(landmarks), -1))
    return landmarks[order[rng.permutation(len(order))[:count]]]


def _candidates(
    wanted: Sequence[int] | None, rows: int, fitted: int, points: int
) -> tuple[int, ...]:
    """The candidates in ascending order, none twice; InputError where one cannot be fitted."""
    if rows < LEAST_ROWS:
        raise InputError(f"choice of K: {rows} rows came, expected at least {LEAST_ROWS}.")
    most = min(points - 4, 2 * fitted - 3)
    if most < 1:
        raise InputError(f"choice of K: {points} landmarks came, expected at least 5.")
    if wanted is None:
        return tuple(range(0, min(most, MOST) + 1, STEP))
    chosen = tuple(sorted(set(wanted)))
    check_whole("choice of K", 0, **{f"candidate {k}": k for k in chosen})
    if not chosen or chosen[-1] > most:
        raise InputError(
            f"choice of K: candidates {list(chosen)} came; {points} landmarks of {fitted} fitted "
            f"rows carry 0 to {most}."
        )
    return chosen


def _shares(landmarks: Array, chosen: tuple[int, ...]) -> tuple[float, ...]:
    """Share of the energy in the first 3 + K singular vectors, from the Gram matrix alone."""
    flat = _flat(landmarks)
    energy = np.maximum(np.linalg.eigvalsh(flat.T @ flat)[::-1], 0)
    share = np.cumsum(energy) / energy.sum()
    return tuple(float(min(share[2 + k], 1.0)) for k in chosen)


def _flat(landmarks: Array) -> Array:
    """(N, L, 2) -> (2N, L), each row of landmarks centred."""
    centred = landmarks - landmarks.mean(axis=1, keepdims=True)
    return centred.transpose(0, 2, 1).reshape(-1, landmarks.shape[1])


def _truncated(model: ShapeModel, components: int) -> ShapeModel:
    """The closed form of fewer modes; for none, one mode that moves nothing stands in."""
    kept = max(components, 1)
    basis = model.basis[:kept] if components else np.zeros_like(model.basis[:1])
    codes = np.concatenate([model.codes[:, : 6 + kept], model.codes[:, -2:]], axis=1)
    return replace(model, basis=basis, modes=model.modes[:kept], codes=codes)


def _refined(model: ShapeModel, landmarks: Array, sweeps: int) -> ShapeModel:
    """The model after the joint refinement, from its closed form on.

    Without modes there is nothing to refine: the top three singular vectors are the best rank 3.
    """
    if not sweeps or not model.basis.any():
        return model
    frame, upper = np.linalg.qr(np.concatenate([model.mean_shape, model.basis]).T)
    points = (_flat(landmarks) @ frame).reshape(len(landmarks), 2, -1)
    cameras, alpha = cameras_of(model.codes), model.codes[:, 6:-2]
    start = Factors(cameras, upper.T[:3], upper.T[3:], model.modes, alpha)
    found = refine(points, start, sweeps, JOINT_TOLERANCE).factors
    return replace(
        model,
        mean_shape=found.shape @ frame.T,
        basis=found.basis @ frame.T,
        modes=found.modes,
        codes=codes_from(found.cameras, found.alpha, model.codes[:, -2:]),
    )


def _relative(model: ShapeModel, landmarks: Array) -> float:
    """|X - R(q)|_F / |X - t|_F over the rows that the model was fitted to."""
    gaps = _points(model, model.codes) - landmarks
    return float(np.linalg.norm(gaps) / np.linalg.norm(_flat(landmarks)))


def _points(model: ShapeModel, codes: Array) -> Array:
    """R(q) of the model, (N, L, 2)."""
    return np.stack(image_points(codes, model.mean_shape, model.basis, model.modes), axis=2)


def predict_left_out(model: ShapeModel, landmarks: Array, left_out: NDArray[np.intp]) -> Array:
    """Landmarks at `left_out`, predicted from all the others by equation (11).

    Of the kept landmarks t is not the centroid of the whole, so B_0 and the b_k are centred on
    the kept ones, for the fit and for the prediction: M (B - mean B) + mean x, which is exact.

    Args:
        landmarks: (N, L, 2); what stands at `left_out` is not read.
        left_out: (P,) of the L.

    Returns:
        (N, P, 2)
    """
    kept = np.setdiff1d(np.arange(landmarks.shape[1]), left_out)
    shape = model.mean_shape - model.mean_shape[:, kept].mean(axis=1, keepdims=True)
    basis = model.basis - model.basis[:, kept].mean(axis=1, keepdims=True)
    moved = replace(model, mean_shape=shape, basis=basis, rigid=None)  # some are left out
    seen = replace(moved, mean_shape=shape[:, kept], basis=basis[:, kept])
    codes = seen.fit(landmarks[:, kept], FIT_SWEEPS, FIT_TOLERANCE)
    return _points(moved, codes)[:, left_out]


def _left_out(model: ShapeModel, landmarks: Array, parts: Sequence[NDArray[np.intp]]) -> Array:
    """(N,) mean over a row's landmarks of |x - predicted|^2, each predicted once."""
    total = np.zeros(len(landmarks))
    for part in parts:
        gaps = predict_left_out(model, landmarks, part) - landmarks[:, part]
        total += (gaps**2).sum(axis=(1, 2))
    return total / landmarks.shape[1]


def _mean_error(squares: Array) -> tuple[float, float]:
    """Root of the mean, and its standard error: that of the mean over twice the root."""
    root = float(np.sqrt(squares.mean()))
    error = float(squares.std(ddof=1) / np.sqrt(len(squares)))
    return root, error / (2 * root) if root else 0.0
