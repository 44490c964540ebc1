"""What every reader of shape models checks: sizes, numbers, landmarks; and how a model is put
together from them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model import DEVIATIONS, IBUG, ShapeModel
from schemas.errors import InputError

Array = NDArray[np.float64]
Places = tuple[NDArray[np.int64], Array]  # (68, 3) corners and (68, 3) weights

MOST_BYTES = 2 << 30  # of a model's file; BFM 2009 has 240 MB
MOST_VERTICES = 1 << 19  # BFM 2019's full head has 58,203
MOST_COMPONENTS = 1 << 10  # FLAME has 400
PACKED = 16  # an array may be that much larger than its file, which may be compressed
SMALL = 1 << 20  # bytes that any file may hold


def local_file(who: str, source: str | Path) -> Path:
    """The file of a model on this machine; `mining.extractors.shape3d` brings those of URLs.

    Raises:
        InputError: there is none, or it is too large.
    """
    try:
        path = Path(source).expanduser()
        size = path.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{who}: {str(source)[:200]}: {said}; expected a file.") from None
    if not path.is_file() or size > MOST_BYTES:
        raise InputError(
            f"{who}: {path} is no file, or has more than {MOST_BYTES:,} bytes ({size:,})."
        )
    return path


def check_room(who: str, name: str, shape: Sequence[int], item: int, size: int) -> None:
    """Refuse an array before it is made that a file of `size` bytes can hardly hold."""
    wanted = math.prod(shape) * item
    if any(length < 0 for length in shape) or wanted > PACKED * size + SMALL:
        raise InputError(
            f"{who}: {name} of shape {tuple(shape)} would take {wanted:,} bytes, and the file has "
            f"{size:,}; it is damaged or hostile."
        )


def numbers(who: str, name: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """An array of real numbers of that shape (None: any length), all of them finite.

    Raises:
        InputError: it is missing or another kind of array.
    """
    wanted = ", ".join("any" if length is None else str(length) for length in shape)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        came = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{who}: {name} is {came}; expected numbers of shape ({wanted}).")
    fits = len(value.shape) == len(shape) and all(
        length in (None, found) for length, found in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{who}: {name} has the shape {value.shape}; expected ({wanted}).")
    if not np.isfinite(value).all():
        raise InputError(f"{who}: {name} holds numbers that are not finite.")
    return value


def points(who: str, name: str, flat: NDArray[Any]) -> Array:
    """(3V,) as x, y, z of each vertex in turn -> (V, 3)."""
    if len(flat) % 3 or not 0 < len(flat) <= 3 * MOST_VERTICES:
        raise InputError(
            f"{who}: {name} has {len(flat):,} rows; expected 3 for each of 1 to {MOST_VERTICES:,} "
            "vertices."
        )
    return flat.reshape(-1, 3).astype(np.float64)


def components(
    who: str,
    name: str,
    basis: NDArray[Any],
    deviations: NDArray[Any],
    keep: int | None,
    unit: float = 1.0,
) -> Array:
    """(3V, K) columns, times their standard deviations and `unit` -> (K', V, 3)."""
    rows, count = basis.shape
    if count > MOST_COMPONENTS or deviations.shape != (count,):
        raise InputError(
            f"{who}: {name} has {count} columns and {len(deviations)} deviations; expected as many "
            f"of either, at most {MOST_COMPONENTS}."
        )
    if (deviations < 0).any():
        raise InputError(f"{who}: {name} has a standard deviation or variance below 0.")
    kept = kept_count(who, name, keep, count)
    scaled = basis[:, :kept].T.astype(np.float64)
    scaled *= (deviations[:kept] * unit)[:, None]
    return scaled.reshape(kept, rows // 3, 3)


def kept_count(who: str, name: str, keep: int | None, count: int) -> int:
    """How many of a file's components are kept; None keeps all."""
    if keep is None:
        return count
    if type(keep) is not int or not 0 <= keep <= count:
        raise InputError(f"{who}: {keep!r} of {name} came; the file has {count}.")
    return keep


def on_vertices(who: str, vertices: Sequence[int] | NDArray[Any], count: int) -> Places:
    """Landmarks that lie on vertices, counted from 0."""
    corners = np.repeat(np.asarray(vertices)[:, None], 3, axis=1)
    return checked_places(who, corners, np.tile([1.0, 0.0, 0.0], (len(corners), 1)), count)


def checked_places(who: str, corners: NDArray[Any], weights: NDArray[Any], count: int) -> Places:
    """Corners and weights of 68 landmarks, weights made to sum to 1.

    Raises:
        InputError: they are not 68, lie on no vertex, or their weights do not sum to about 1.
    """
    corners = numbers(who, "landmark corners", corners, (IBUG, 3))
    weights = numbers(who, "landmark weights", weights, (IBUG, 3)).astype(np.float64)
    whole = (corners == np.floor(corners)).all()
    if not whole or not ((corners >= 0) & (corners < count)).all():
        raise InputError(f"{who}: a landmark lies on none of the {count:,} vertices, from 0 on.")
    sums = weights.sum(axis=1)
    if not (np.abs(sums - 1) < 1e-2).all() or not (np.abs(weights) < 2).all():
        raise InputError(f"{who}: the weights of a landmark do not sum to 1.")
    return corners.astype(np.int64), weights / sums[:, None]


def put_together(
    name: str,
    licence: str,
    mean: Array,
    identity: Array,
    expression: Array,
    places: Places,
    names: tuple[str, ...] = (),
    unit: str = DEVIATIONS,
) -> ShapeModel:
    """A shape model whose origin is the mean of its 68 landmarks at rest.

    Args:
        mean, identity, expression: in millimetres, x right, y up, z to the viewer.
        unit: of the coefficients of expression.
    """
    corners, weights = places
    at = np.einsum("lcx,lc->x", mean[corners], weights) / IBUG
    mean = mean - at
    digest = hashlib.sha256()
    for array in (mean, identity, expression, corners, weights):
        digest.update(f"{array.shape} {array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return ShapeModel(
        name,
        licence,
        digest.hexdigest(),
        mean,
        identity,
        expression,
        corners,
        weights,
        names,
        unit,
    )
