"""The Surrey Face Model as eos stores it: a binary archive of the C++ library cereal."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model import DEVIATIONS, FULL, ShapeModel
from mining.shape3d.readers.checks import (
    Array,
    Places,
    checked_places,
    components,
    kept_count,
    local_file,
    numbers,
    points,
    put_together,
)
from mining.shape3d.readers.landmark_files import missing, read_landmarks
from schemas.errors import InputError

WHO = "shape model 'surrey'"
LICENCE = "Surrey Face Model: University of Surrey, non-commercial use only"
VERSIONS = range(1, 5)  # of MorphableModel: what follows the shape and colour models
LONGEST_NAME = 256  # bytes of a blendshape's name
MOST_BLENDSHAPES = 1 << 10
MOST_NAMED = 1 << 10  # landmarks

# Vertices of eos's 3,448 from 0 on: ibug_to_sfm.txt and sfm_model_contours.json in
# https://github.com/patrikhuber/eos/tree/master/share; -1 where no vertex is published.
VERTICES = 3448
CHIN = 33
INNER = (
    *(225, 229, 233, 2086, 157, 590, 2091, 666, 662, 658),  # brows, landmarks 18 to 27
    *(2842, 379, 272, 114, 100, 2794, 270, 2797, 537),  # nose
    *(177, 172, 191, 181, 173, 174, 614, 624, 605, 610, 607, 606),  # eyes
    *(398, 315, 413, 329, 825, 736, 812, 841, 693, 411, 264, 431),  # lips, outer
    *(-1, 416, 423, 828, -1, 817, 442, 404),  # lips, inner
)
OUTLINES = (  # from the height of the eyes down to the chin: the right side, the left one
    (356, 358, 359, 360, 365, 363, 364, 388, 391, 392, 393, 11, 21, 25, 22, CHIN),
    (773, 775, 776, 777, 782, 780, 781, 802, 805, 806, 807, 454, 464, 466, 465, CHIN),
)
MOUTH_CORNERS = {60: (398, 416, 404), 64: (812, 828, 817)}  # outer corner, upper, lower inner lip
FROM_CORNER = 0.35  # of the way from the outer corner to the middle of those two


def read_surrey(
    path: str | Path,
    blendshapes: str | Path | None = None,
    landmarks: str | Path | None = None,
    identities: int | None = None,
    expressions: int | None = None,
) -> ShapeModel:
    """The Surrey Face Model, or another model that eos stores (4DFM, LYHM, converted BFM).

    s = mean + basis (sqrt(eigenvalues) * p), millimetres, axes as ours. Expressions are the file's
    own, those of a principal component analysis in standard deviations, else blendshapes, whose 1
    is the full expression. Source: Huber et al. (2016), doi:10.5220/0005669500790086.

    Args:
        path: such as sfm_shape_3448.bin; on this machine, as the other files.
        blendshapes: such as expression_blendshapes_3448.bin, for a file without expressions.
        landmarks: where the 68 lie, see `landmark_files`. None takes eos's table for 3,448
            vertices, see `published`.
        identities, expressions: how many of the first components are kept; None keeps all.

    Raises:
        InputError: a file is damaged, hostile or of another kind, or no table has its landmarks.
    """
    file = local_file(WHO, path)
    who = f"{WHO}, {file.name}"
    told = _read(who, file, _model)
    flat = numbers(who, "the mean", told.shape.mean, (None,))
    mean = points(who, "the mean", flat)
    identity = _identity(who, "the shape's basis", told.shape, len(flat), identities)
    expression, moved, names = _expression(who, told, len(flat), blendshapes, expressions)
    unit = DEVIATIONS if isinstance(told.expression, Pca) else FULL
    mean = mean + moved
    if landmarks is not None:
        places = read_landmarks(who, landmarks, len(mean), told.named)
    elif len(mean) == VERTICES:
        places = published(who, mean)
    else:
        raise missing(who, f"it has {len(mean):,} vertices, and eos's table is for {VERTICES:,}")
    return put_together("surrey", LICENCE, mean, identity, expression, places, names, unit)


def published(who: str, mean: Array) -> Places:
    """The 68 landmarks on eos's 3,448 vertices: 50 from its table; two inner corners of the mouth
    and, since eos picks the outline's by the pose, the 16 beside the chin are ours.

    The outline's lie at eighths of the length between the height of the eyes and the chin.
    """
    corners = np.zeros((68, 3), np.int64)
    weights = np.tile([1.0, 0.0, 0.0], (68, 1))
    corners[17:] = np.array(INNER)[:, None]
    for landmark, (outer, upper, lower) in MOUTH_CORNERS.items():
        corners[landmark] = outer, upper, lower
        weights[landmark] = 1 - FROM_CORNER, FROM_CORNER / 2, FROM_CORNER / 2
    for side, outline in enumerate(OUTLINES):
        between, share = _eighths(mean[list(outline)])
        for step in range(9):
            landmark = 16 - step if side else step
            pair = outline[between[step]], outline[between[step] + 1]
            corners[landmark] = *pair, pair[1]
            weights[landmark] = 1 - share[step], share[step], 0.0
    return checked_places(who, corners, weights, len(mean))


def _eighths(line: Array) -> tuple[NDArray[np.int64], Array]:
    """Where eighths of a line's length lie: after which point, and how far towards the next."""
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0.0, along[-1], 9)
    between = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, len(lengths) - 1)
    share = (wanted - along[between]) / np.maximum(lengths[between], 1e-12)
    return between, np.clip(share, 0.0, 1.0)


@dataclass(frozen=True)
class Pca:
    """A mean, unit columns and the variances along them."""

    mean: NDArray[np.float32]  # (3V,)
    basis: NDArray[np.float32]  # (3V, K)
    variances: NDArray[np.float32]  # (K,)


@dataclass(frozen=True)
class Morphable:
    """What a file of eos holds, without colours and triangles."""

    shape: Pca
    expression: Pca | dict[str, NDArray[np.float32]] | None
    named: dict[str, int]  # landmarks


class Archive:
    """cereal's BinaryArchive: numbers as they lie in memory (little-endian), counts in 8 bytes."""

    def __init__(self, who: str, data: mmap.mmap) -> None:
        self.who, self.data, self.at = who, data, 0

    def take(self, count: int) -> bytes:
        """The next bytes, which must be there."""
        if count < 0 or self.at + count > len(self.data):
            raise InputError(f"{self.who}: it is cut short or damaged at byte {self.at:,}.")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def flag(self) -> bool:
        value = self.number("B")
        if value > 1:
            raise InputError(f"{self.who}: byte {self.at - 1:,} is {value}, expected 0 or 1.")
        return value == 1

    def count(self, item: int, most: int | None = None) -> int:
        """How many entries follow, each of `item` bytes at least."""
        count = self.number("Q")
        if count * item > len(self.data) - self.at or (most is not None and count > most):
            raise InputError(
                f"{self.who}: {count:,} entries at byte {self.at:,}, where they cannot lie."
            )
        return count

    def skip(self, item: int) -> None:
        """Pass over a vector of entries of `item` bytes."""
        self.take(self.count(item) * item)

    def text(self) -> str:
        return self.take(self.count(1, LONGEST_NAME)).decode("utf-8", "replace")

    def matrix(self) -> NDArray[np.float32]:
        """An Eigen matrix of float32: rows and columns in 4 bytes each, then its columns."""
        rows, columns = self.number("i"), self.number("i")
        if min(rows, columns) < 0:
            raise InputError(f"{self.who}: a matrix of {rows} x {columns} at byte {self.at:,}.")
        data = self.take(4 * rows * columns)
        return np.frombuffer(data, "<f4").reshape((rows, columns), order="F")

    def vector(self) -> NDArray[np.float32]:
        found = self.matrix()
        if found.shape[1] != 1:
            raise InputError(f"{self.who}: a vector has {found.shape[1]} columns, expected 1.")
        return found[:, 0]


def _read(who: str, path: Path, part: Any) -> Any:
    """What `part` reads of an archive, all of which it must take."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            archive = Archive(who, data)
            found = part(archive)
            if archive.at != len(data):
                raise InputError(
                    f"{who}: {len(data) - archive.at:,} bytes follow its end; it is damaged or of "
                    "another version of eos."
                )
            return found
    except (OSError, ValueError) as error:  # ValueError: an empty file
        if isinstance(error, InputError):
            raise
        raise InputError(f"{who}: {error}; expected a file of eos.") from None


def _model(archive: Archive) -> Morphable:
    """MorphableModel::serialize of eos, include/eos/morphablemodel/MorphableModel.hpp."""
    version = archive.number("I")
    if version not in VERSIONS:
        raise InputError(
            f"{archive.who}: version {version} of a model; expected 1 to 4, as eos 0.9 to 1.5 "
            "write. Is it a file of eos?"
        )
    shape = _pca(archive)
    _pca(archive)  # colours
    expression = None
    if version >= 2 and not archive.flag():  # a flag that says there is none
        expression = _expression_model(archive)
    named: dict[str, int] = {}
    if version >= 3 and not archive.flag():
        for _ in range(archive.count(12, MOST_NAMED)):
            name = archive.text()
            named[name] = archive.number("i")
    archive.skip(16)  # texture coordinates
    if version >= 4:
        archive.skip(12)  # their triangles
    return Morphable(shape, expression, named)


def _pca(archive: Archive) -> Pca:
    mean, basis, variances = archive.vector(), archive.matrix(), archive.vector()
    archive.skip(12)  # triangles
    return Pca(mean, basis, variances)


def _expression_model(archive: Archive) -> Pca | dict[str, NDArray[np.float32]]:
    """A variant: which of the two it is, then that one."""
    kind = archive.number("i")
    if kind not in (0, 1):
        raise InputError(f"{archive.who}: expressions of kind {kind}; expected 0 or 1.")
    return _blendshapes(archive) if kind else _pca(archive)


def _blendshapes(archive: Archive) -> dict[str, NDArray[np.float32]]:
    found = {}
    for _ in range(archive.count(16, MOST_BLENDSHAPES)):
        name = archive.text()
        if name in found:
            raise InputError(f"{archive.who}: two blendshapes named {name[:80]!r}.")
        found[name] = archive.vector()
    return found


def _identity(who: str, name: str, pca: Pca, rows: int, keep: int | None) -> Array:
    variances = numbers(who, f"{name}'s variances", pca.variances, (None,))
    basis = numbers(who, name, pca.basis, (rows, len(variances)))
    if (variances < 0).any():
        raise InputError(f"{who}: {name} has a variance below 0.")
    return components(who, name, basis, np.sqrt(variances.astype(np.float64)), keep)


def _expression(
    who: str, told: Morphable, rows: int, blendshapes: str | Path | None, keep: int | None
) -> tuple[Array, Array, tuple[str, ...]]:
    """Expressions (E, V, 3), what they add to the mean (V, 3), their names."""
    found = told.expression
    none = np.zeros((rows // 3, 3))
    if blendshapes is not None:
        if found is not None:
            raise InputError(f"{who}: blendshapes came, and it has expressions of its own.")
        file = local_file(WHO, blendshapes)
        found = _read(f"{WHO}, {file.name}", file, _blendshapes)
    if isinstance(found, Pca):
        moved = numbers(who, "the expressions' mean", found.mean, (rows,))
        basis = _identity(who, "the expressions' basis", found, rows, keep)
        return basis, moved.astype(np.float64).reshape(-1, 3), ()
    shapes = found or {}
    kept = kept_count(who, "expressions", keep, len(shapes))
    names = tuple(shapes)[:kept]
    moves = [numbers(who, f"blendshape {name!r}", shapes[name], (rows,)) for name in names]
    stacked = np.array(moves, np.float64).reshape(kept, rows // 3, 3)
    return stacked, none, names
