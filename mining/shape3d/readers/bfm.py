"""The Basel Face Models: 2009 as MATLAB's .mat, 2017 and 2019 as .h5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model import ShapeModel
from mining.shape3d.readers.bound import read_bound
from mining.shape3d.readers.checks import (
    Array,
    Places,
    components,
    local_file,
    numbers,
    on_vertices,
    points,
    put_together,
)
from mining.shape3d.readers.landmark_files import missing, read_landmarks
from mining.shape3d.readers.mat5 import read_mat5
from schemas.errors import InputError

WHO = "shape model 'bfm'"
LICENCE = "Basel Face Model: University of Basel, non-commercial research only"
MICROMETRES, MILLIMETRES = 1e-3, 1.0
NEAR = 5.0  # mm: a named landmark farther than that from every vertex belongs to another mesh

# Vertices of the 68 landmarks on the 53,490 of BFM 2009, counted from 1 as in their table:
# A. Bas, BFMLandmarks, Landmarks68_BFM.anl, https://github.com/anilbas/BFMLandmarks
VERTICES_2009 = 53_490
IBUG_2009 = (
    *(22143, 22813, 22840, 23250, 44124, 45884, 47085, 47668, 48188),  # outline, right
    *(48708, 49299, 50498, 52457, 32022, 32386, 32359, 32979),  # outline, left
    *(38886, 39636, 40030, 40238, 40433, 41172, 41368, 41578, 42011, 42646),  # brows
    *(8291, 8305, 8314, 8320, 6783, 7687, 8331, 8977, 9879),  # nose
    *(1832, 3760, 5050, 6087, 4546, 3516),  # right eye
    *(10731, 11758, 12919, 14859, 13191, 12157),  # left eye
    *(5523, 6155, 7442, 8345, 9506, 10799, 11199, 10179, 9277, 8374, 7471, 6566),  # lips, outer
    *(5909, 7322, 8354, 9386, 10941, 9141, 8367, 7194),  # lips, inner
)


def read_bfm(
    path: str | Path,
    landmarks: str | Path | None = None,
    identities: int | None = None,
    expressions: int | None = None,
) -> ShapeModel:
    """A Basel Face Model; the file's content tells which.

    2009 (Paysan et al., doi:10.1109/AVSS.2009.58): s = shapeMU + shapePC (shapeEV * p) in
    micrometres, shapeEV standard deviations, no expressions. 2017 and 2019 (Gerig et al.,
    arXiv:1709.08398): s = the means of shape and expression + pcaBasis (sqrt(pcaVariance) * p) of
    both, in millimetres; all coefficients at 0 are the mean expression, not the neutral one.
    Axes are ours already.

    Args:
        path: 01_MorphableModel.mat, model2017-1_*.h5 or model2019_*.h5, on this machine.
        landmarks: where the 68 lie, see `landmark_files`; a list may hold the names of the .h5
            file, such as "center.nose.tip". None takes the published table of 2009.
        identities, expressions: how many of the first components are kept; None keeps all.

    Raises:
        InputError: the file is damaged, hostile or another kind, or no table has its landmarks.
    """
    file = local_file(WHO, path)
    who = f"{WHO}, {file.name}"
    with file.open("rb") as opened:
        start = opened.read(8)
    if start[:4] == b"\x89HDF":
        return _of_h5(who, file, landmarks, identities, expressions)
    if start[:6] == b"MATLAB":
        if expressions:
            raise InputError(f"{who}: expressions {expressions} came; BFM 2009 has none.")
        return _of_mat(who, file, landmarks, identities)
    raise InputError(
        f"{who}: it is neither .mat (2009) nor .h5 (2017, 2019) of a Basel Face Model."
    )


def _of_mat(
    who: str, path: Path, landmarks: str | Path | None, identities: int | None
) -> ShapeModel:
    told = read_mat5(who, path, {"shapeMU", "shapePC", "shapeEV"})
    flat = numbers(who, "shapeMU", told.get("shapeMU"), (None, 1))[:, 0]
    mean = points(who, "shapeMU", flat) * MICROMETRES
    basis = numbers(who, "shapePC", told.get("shapePC"), (3 * len(mean), None))
    deviations = numbers(who, "shapeEV", told.get("shapeEV"), (basis.shape[1], 1))[:, 0]
    check_unit(who, "shapePC", basis)
    identity = components(who, "shapePC", basis, deviations, identities, MICROMETRES)
    if landmarks is not None:
        places = read_landmarks(who, landmarks, len(mean))
    elif len(mean) == VERTICES_2009:
        places = on_vertices(who, np.array(IBUG_2009) - 1, VERTICES_2009)
    else:
        why = f"it has {len(mean):,} vertices, and the published table is for {VERTICES_2009:,}"
        raise missing(who, why)
    none = np.zeros((0, *mean.shape))
    return put_together("bfm2009", LICENCE, mean, identity, none, places)


def _of_h5(
    who: str,
    path: Path,
    landmarks: str | Path | None,
    identities: int | None,
    expressions: int | None,
) -> ShapeModel:
    told = read_bound(who, path, "mining.shape3d.readers.statismo:arrays")
    flat = numbers(who, "shape/model/mean", told.get("shape/model/mean"), (None,))
    shape = points(who, "shape/model/mean", flat) * MILLIMETRES
    identity = _part(who, told, "shape", len(shape), identities)
    if "expression/model/mean" in told:
        moved = numbers(who, "expression/model/mean", told["expression/model/mean"], (len(flat),))
        mean = shape + points(who, "expression/model/mean", moved)
        expression = _part(who, told, "expression", len(shape), expressions)
    else:
        mean, expression = shape, np.zeros((0, *shape.shape))
    places = _named_or_told(who, told, shape, landmarks)
    return put_together("bfm", LICENCE, mean, identity, expression, places)


def _part(
    who: str, told: dict[str, NDArray[Any]], part: str, count: int, keep: int | None
) -> Array:
    """The components of shape or expression."""
    name = f"{part}/model/pcaBasis"
    basis = numbers(who, name, told.get(name), (3 * count, None))
    place = f"{part}/model/pcaVariance"
    variance = numbers(who, place, told.get(place), (basis.shape[1],))
    if (variance < 0).any():
        raise InputError(f"{who}: {place} has a variance below 0.")
    check_unit(who, name, basis)
    return components(who, name, basis, np.sqrt(variance.astype(np.float64)), keep)


def check_unit(who: str, name: str, basis: NDArray[Any]) -> None:
    """Refuse a basis whose columns are not of length 1: its scale would be guessed.

    Statismo's files before 0.9 have columns that are scaled already.
    """
    lengths = np.sqrt(np.einsum("ij,ij->j", basis, basis, dtype=np.float64))
    if not (np.abs(lengths - 1) < 0.02).all():
        raise InputError(
            f"{who}: the columns of {name} are {lengths.min():.4g} to {lengths.max():.4g} long; "
            "expected 1, as the released Basel Face Models have them."
        )


def _named_or_told(
    who: str, told: dict[str, NDArray[Any]], shape: Array, landmarks: str | Path | None
) -> Places:
    named = _named(who, told.get("metadata/landmarks/json"), shape)
    if landmarks is None:
        raise missing(who, f"it names {len(named)} landmarks, which are not the 68 of iBUG")
    return read_landmarks(who, landmarks, len(shape), named)


def _named(who: str, text: NDArray[Any] | None, shape: Array) -> dict[str, int]:
    """The landmarks that a file of scalismo names, on the nearest vertices of its mean shape."""
    if text is None:
        return {}
    try:
        entries = json.loads(text.astype(np.uint8).tobytes())
        pairs = [(str(entry["id"]), np.array(entry["coordinates"], float)) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise InputError(f"{who}: metadata/landmarks/json is damaged.") from None
    named = {}
    for name, at in pairs:
        if at.shape != (3,) or not np.isfinite(at).all():
            raise InputError(f"{who}: its landmark {name[:80]!r} lies nowhere.")
        distance = np.linalg.norm(shape - at, axis=1)
        if distance.min() <= NEAR:
            named[name] = int(distance.argmin())
    return named
