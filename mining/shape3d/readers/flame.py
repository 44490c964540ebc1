"""The FLAME head model: its pickle or an .npz with the same names, and its landmark embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model import IBUG, ShapeModel
from mining.shape3d.readers.bound import read_bound
from mining.shape3d.readers.checks import (
    MOST_COMPONENTS,
    MOST_VERTICES,
    Array,
    Places,
    checked_places,
    kept_count,
    local_file,
    numbers,
    put_together,
)
from mining.shape3d.readers.flame_pickle import EMBEDDING, MODEL
from mining.shape3d.readers.landmark_files import missing, read_landmarks
from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError

WHO = "shape model 'flame'"
LICENCE = "FLAME: Max Planck Society, non-commercial research only (2023 Open: CC-BY-4.0)"
METRES = 1000.0  # millimetres
IDENTITIES = 300  # of shapedirs; the rest are expressions
OUTLINE = 17  # landmarks of the face's outline
FULL = ("full_lmk_faces_idx", "full_lmk_bary_coords")
STATIC = (("lmk_face_idx", "lmk_b_coords"), ("static_lmk_faces_idx", "static_lmk_bary_coords"))
MOVING = (("lmk_face_idx", "lmk_b_coords"), ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"))
Told = Mapping[str, NDArray[Any]]


def read_flame(
    path: str | Path,
    landmarks: str | Path | None = None,
    contour: str | Path | None = None,
    identities: int | None = None,
    expressions: int | None = None,
    split: int = IDENTITIES,
) -> ShapeModel:
    """FLAME without its pose: s = v_template + shapedirs p.

    Metres; x to the left of the head, which is the right of its image, y up, z ahead. The columns
    of shapedirs are scaled to standard deviations already: 300 of identity, 100 of expression. Jaw,
    neck and eyes stay at rest (kintree_table, J_regressor, weights, posedirs are not read).
    Source: Li et al. (2017), doi:10.1145/3130800.3130813, and https://flame.is.tue.mpg.de.

    Args:
        path: generic_model.pkl, FLAME_*.pkl (Python 2's pickles and chumpy's arrays are read
            without either), or an .npz with v_template, shapedirs and f; on this machine, as the
            other files.
        landmarks: where the 68 lie on the triangles: landmark_embedding.npy of DECA, or the 51 of
            flame_static_embedding.pkl with `contour`; or a file of `landmark_files`.
        contour: flame_dynamic_embedding.npy: the 17 of the outline, one row for each yaw, of which
            the first, looking ahead, is taken.
        identities, expressions: how many of the first components are kept; None keeps all.
        split: where the expressions begin in shapedirs.

    Raises:
        InputError: a file is damaged, hostile or of another kind, or the landmarks are missing.
    """
    file = local_file(WHO, path)
    who = f"{WHO}, {file.name}"
    told = _arrays(who, file, MODEL, "model_arrays")
    mean = numbers(who, "v_template", told.get("v_template"), (None, 3)).astype(np.float64)
    if not 0 < len(mean) <= MOST_VERTICES:
        raise InputError(f"{who}: it has {len(mean):,} vertices; expected 1 to {MOST_VERTICES:,}.")
    moves = numbers(who, "shapedirs", told.get("shapedirs"), (len(mean), 3, None))
    count = moves.shape[2]
    if not 0 <= split <= count <= MOST_COMPONENTS:
        raise InputError(
            f"{who}: split {split} came and shapedirs has {count} columns; expected 0 to {count}, "
            f"and at most {MOST_COMPONENTS} columns."
        )
    keep_i = kept_count(who, "identities", identities, split)
    keep_e = kept_count(who, "expressions", expressions, count - split)
    places = _places(who, told, len(mean), landmarks, contour)
    return put_together(
        "flame",
        LICENCE,
        mean * METRES,
        _millimetres(moves[:, :, :keep_i]),
        _millimetres(moves[:, :, split : split + keep_e]),
        places,
    )


def _millimetres(moves: NDArray[Any]) -> Array:
    """(V, 3, K) metres -> (K, V, 3)."""
    return np.ascontiguousarray(np.moveaxis(moves, 2, 0), dtype=np.float64) * METRES


def _arrays(who: str, path: Path, names: tuple[str, ...], reader: str) -> Told:
    """The named arrays of a pickle or an npz file."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return read_npz(who, path, names)
    return read_bound(who, path, f"mining.shape3d.readers.flame_pickle:{reader}")


def _places(
    who: str, told: Told, count: int, landmarks: str | Path | None, contour: str | Path | None
) -> Places:
    if landmarks is None:
        raise missing(who, "FLAME's own file tells no landmarks; an embedding has them")
    path = Path(landmarks)
    if path.suffix == ".json":
        return read_landmarks(who, path, count)
    embedding = _embedding(who, path)
    if not embedding and path.suffix == ".npz":
        return read_landmarks(who, path, count)
    triangles = numbers(who, "f", told.get("f"), (None, 3)).astype(np.int64)
    corners, weights = _on_triangles(who, embedding, contour)
    if not ((corners >= 0) & (corners < len(triangles))).all():
        raise InputError(f"{who}: a landmark lies on none of its {len(triangles):,} triangles.")
    return checked_places(who, triangles[corners.astype(np.int64)], weights, count)


def _embedding(who: str, path: Path) -> Told:
    who = f"{who}, landmarks {path.name}"
    if not path.is_file():
        raise InputError(f"{who}: there is no such file; expected a landmark embedding of FLAME.")
    return _arrays(who, path, EMBEDDING, "embedding_arrays")


def _on_triangles(
    who: str, told: Told, contour: str | Path | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(68,) triangles and (68, 3) barycentric weights; the outline comes first."""
    if all(name in told for name in FULL) and contour is None:
        faces, weights = told[FULL[0]].reshape(-1), told[FULL[1]].reshape(-1, 3)
        return (
            numbers(who, FULL[0], faces, (IBUG,)),
            numbers(who, FULL[1], weights, (IBUG, 3)),
        )
    static = _pair(who, told, STATIC, "static landmarks")
    rest = IBUG - OUTLINE
    faces = numbers(who, "static faces", static[0], (rest,))
    weights = numbers(who, "static weights", static[1], (rest, 3))
    moving = _embedding(who, Path(contour)) if contour is not None else told
    if contour is None and not any(name in told for name in MOVING[1]):
        raise missing(who, f"{rest} landmarks came and none of the outline: name its file, contour")
    outline = _pair(who, moving, MOVING[::-1], "the outline's landmarks")
    first = numbers(who, "outline faces", outline[0], (None, OUTLINE))
    second = numbers(who, "outline weights", outline[1], (len(first), OUTLINE, 3))
    if not len(first):
        raise InputError(f"{who}: the outline's landmarks are none.")
    return np.concatenate([first[0], faces]), np.concatenate([second[0], weights])


def _pair(
    who: str, told: Told, names: tuple[tuple[str, str], ...], what: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    for faces, weights in names:
        if faces in told and weights in told:
            return told[faces], told[weights]
    wanted = " or ".join(f"{faces} and {weights}" for faces, weights in names)
    raise InputError(f"{who}: {what}: expected {wanted}; came: {', '.join(told) or 'neither'}.")
