"""Pose, expression and identity of the rows that a chain learns from, and what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.gcv_ridge import LinearReading, fit_ridge, fit_within
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.shape3d.model_files import Loaded, load_model
from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.methods.matrix_config import MatrixConfig
    from mining.shape3d.model import Sparse

Array = NDArray[np.float64]
WHO = "direction_matrix"
IDENTITIES = 40  # fitted at most, as the extractor `shape3d` does
ANGLES = ("yaw", "pitch", "roll")


def in_pairs(rows: LearnedRows, config: MatrixConfig) -> bool:
    """Whether rows are to be learned from in pairs of one identity, and there are some."""
    return config.training in ("auto", "paired") and has_sequences(rows)


def reading_of(rows: LearnedRows, codes: ShapeCodes, paired: bool) -> LinearReading:
    """The linear reading p = mean + C (latent - centre): of pairs, within their sequences."""
    if paired:
        return fit_within(rows.latents, codes.moving, np.asarray(rows.sequences))
    return fit_ridge(rows.latents, codes.moving)


def has_sequences(rows: LearnedRows) -> bool:
    """Whether two rows are of one sequence."""
    if rows.sequences is None:
        return False
    own = rows.sequences[rows.sequences >= 0]
    return len(np.unique(own)) < len(own)


def shape_codes(rows: LearnedRows, config: MatrixConfig) -> tuple[ShapeCodes, Sparse, Any]:
    """The codes of the rows, or a fit to their landmarks; the model at its landmarks; its jaw.

    Rows are of the dataset; those without a face hold NaN.
    """
    loaded = load_model(WHO, config.shape_model, config.shape_kind, None, config.reader)
    if rows.codes is not None:
        return _measured_codes(rows.codes, loaded, config)
    if rows.landmarks is None or not np.isfinite(rows.landmarks).any():
        raise InputError(
            f"{WHO}: the dataset holds neither pose and expression of a 3-D model nor 68 landmarks "
            "of a face; expected an extractor such as dlib or shape3d. Extend the dataset by one."
        )
    return _fitted_codes(rows.landmarks, loaded, config)


def _fitted_codes(
    landmarks: NDArray, loaded: Loaded, config: MatrixConfig
) -> tuple[ShapeCodes, Sparse, None]:
    from mining.shape3d.expression_names import column_names
    from mining.shape3d.fit import FitConfig, Fitter

    model = loaded.shape.landmarks(IDENTITIES, config.expressions)
    count = len(model.expression)
    said = loaded.shape.expression_names[:count]
    names = column_names(WHO, said, set(ANGLES)) if said else _numbered(count)
    fit = Fitter(model, FitConfig()).fit(landmarks)
    kept = (fit.good & fit.converged)[:, None]
    moving = np.where(kept, np.concatenate([fit.angles, fit.expression], axis=1), np.nan)
    units = ("degrees",) * 3 + (loaded.shape.expression_unit,) * count
    identity = np.where(kept, fit.identity, np.nan)
    return ShapeCodes((*ANGLES, *names), units, moving, identity), model, None


def _measured_codes(
    codes: ShapeCodes, loaded: Loaded, config: MatrixConfig
) -> tuple[ShapeCodes, Sparse, Any]:
    """The first expressions of codes that an extractor measured, of the shape model that came."""
    with_jaw = codes.units[3:4] == ("degrees",)  # expressions are in deviations, or whole
    first = 4 if with_jaw else 3
    identities = codes.identity.shape[1]
    expressions = min(len(codes.names) - first, config.expressions)
    shape = loaded.shape
    if codes.names[:3] != ANGLES:
        raise InputError(f"{WHO}: the first codes are {codes.names[:3]}, expected {ANGLES}.")
    if identities > len(shape.identity) or expressions > len(shape.expression):
        raise InputError(
            f"{WHO}: the source has {identities} coefficients of identity and {expressions} of "
            f"expression, the shape model {shape.name!r} {len(shape.identity)} and "
            f"{len(shape.expression)}. Name the model they are of: shape_model and shape_kind."
        )
    jaw = None
    if with_jaw:
        if config.shape_kind != "flame":
            raise InputError(
                f"{WHO}: the source measures a jaw, {codes.names[3:4]}, and shape model "
                f"{shape.name!r} has none. Name FLAME's file: shape_model and shape_kind: flame."
            )
        from mining.methods.flame_jaw import read_jaw

        jaw = read_jaw(WHO, loaded, identities, expressions)
    kept = first + expressions
    moving = np.asarray(codes.moving, np.float64)[:, :kept]
    chosen = ShapeCodes(codes.names[:kept], codes.units[:kept], moving, codes.identity)
    return chosen, shape.landmarks(identities, expressions), jaw


def still_descriptors(rows: LearnedRows, reading: LinearReading, paired: bool) -> Array | None:
    """Descriptors (N, E) without what p explains of them within sequences.

    e - B (p - mean p), B the effect of the read p on e within sequences. Without pairs as they
    are: across people p and identity cannot be told apart. None where no face has one.
    """
    if rows.descriptors is None or not np.isfinite(rows.descriptors).any():
        return None
    descriptors = np.asarray(rows.descriptors, np.float64)
    if not paired:
        return descriptors
    read = reading.read(rows.latents)
    try:
        effect = fit_within(read, descriptors, np.asarray(rows.sequences))
    except InputError:  # no sequence has two descriptors
        return descriptors
    return descriptors - (read - read.mean(axis=0)) @ effect.weights.T


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"expression_{k}" for k in range(count))
