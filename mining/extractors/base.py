"""The protocol that every extractor fits: images in, one row of measurements out per image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError, RunError

OK = "ok"
NO_FACE = "no_face"
SEVERAL_FACES = "several_faces"  # the largest was measured, `faces` says how many there were
NOT_MEASURED = "not_measured"  # an extractor that this one needs has nothing for this image
NO_POSE = "no_pose"  # no pose of a head explains the landmarks
MEASURED = frozenset({OK, SEVERAL_FACES})  # the statuses of rows that carry values
FAILED = "failed"  # the extractor raised an exception; the reason column holds it
CRASHED = "crashed"  # the extractor took its process down
TIMEOUT = "timeout"  # the extractor did not answer in time
FAILURES = frozenset({FAILED, CRASHED, TIMEOUT})  # what says something of the code, not the image


@dataclass(frozen=True)
class Column:
    """One column that an extractor fills."""

    shape: tuple[int, ...]  # () for one number a row
    unit: str  # "degrees", "fraction of the image", "1"
    text: str  # one sentence for the dataset card
    dtype: str = "float32"


@dataclass(frozen=True)
class Measurement:
    """N rows. Values of rows whose status is not in MEASURED are NaN (0 for whole numbers)."""

    status: tuple[str, ...]  # N
    values: Mapping[str, NDArray]  # name -> (N, *shape)
    reasons: Mapping[int, str] = field(default_factory=dict)  # row -> why it failed, in one line

    def __len__(self) -> int:
        return len(self.status)

    def measured(self) -> NDArray[np.bool_]:
        """(N,) true where the row carries values."""
        return np.array([status in MEASURED for status in self.status], dtype=bool)

    def row(self, index: int) -> Measurement:
        """One row as a measurement of its own."""
        values = {name: value[index : index + 1] for name, value in self.values.items()}
        reasons = {0: self.reasons[index]} if index in self.reasons else {}
        return Measurement(self.status[index : index + 1], values, reasons)


@runtime_checkable
class Extractor(Protocol):
    """Measures images. Weights load in __init__; calls change nothing.

    Beside these, an extractor may have `models`, a tuple of `mining.extractors.models.Model`, which
    the dataset's metadata then lists, and `fingerprint_tells_all = True`, where the fingerprint
    tells of everything that decides what it measures: then its options, such as a model's path,
    are no part of a dataset's identity. `reads` maps a name in `needs` to columns of which one
    must be there. `reads_pixels = False` says that it reads nothing of an image but its shape, so
    that it can be added to a dataset without images.
    """

    name: str  # the registry's name; the dataset's columns are "<name>_<column>"
    columns: Mapping[str, Column]
    needs: tuple[str, ...]  # extractors whose results it reads; they run first
    licence: str  # of the models behind it

    def fingerprint(self) -> str:
        """64 hex digits: SHA-256 over code version, settings and model files."""
        ...

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB, 0..255. One row out per image in.

        earlier: what the extractors in `needs` said about the same images.
        """
        ...


def checked_name(name: str) -> str:
    """The name of an extractor.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", name):
        raise InputError(
            f"extractor name {name!r} came; expected lower-case letters, digits and _, such as "
            "'celeba'."
        )
    return name


def check_images(who: str, images: NDArray) -> None:
    """Raise InputError unless images are uint8 (N, H, W, 3)."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"{who}: images {images.shape} {images.dtype} came; "
            "expected (N, H, W, 3) uint8 RGB, 0..255."
        )


def measure(
    extractors: Sequence[Extractor],
    images: NDArray[np.uint8],
    earlier: Mapping[str, Measurement] | None = None,
) -> dict[str, Measurement]:
    """Run the extractors in order over one batch; each sees the results of those before it.

    Where an extractor raises, it gets the batch again image by image: the rows at which it
    raises again have status "failed" with the exception as the reason, and no other is lost.

    Args:
        earlier: what others have said of the same images before; no part of the result.

    Raises:
        InputError: these are no images.
        RunError: an extractor does not return what its protocol says.
    """
    check_images("measure", images)
    done = dict(earlier or {})
    for extractor in extractors:
        try:
            found = extractor(images, done)
        except Exception:  # whatever it is: the rows keep it, and too many of them end a run
            rows = range(len(images))
            found = concatenate(extractor, [measure_one(extractor, images, done, k) for k in rows])
        check_measurement(extractor, found, len(images))
        done[extractor.name] = found
    return {extractor.name: done[extractor.name] for extractor in extractors}


def measure_one(
    extractor: Extractor,
    images: NDArray[np.uint8],
    earlier: Mapping[str, Measurement],
    index: int,
) -> Measurement:
    """One image of a batch through one extractor; an exception becomes the row's reason."""
    try:
        before = {name: found.row(index) for name, found in earlier.items()}
        found = extractor(images[index : index + 1], before)
    except Exception as error:
        return unmeasured(extractor, FAILED, first_line(error))
    check_measurement(extractor, found, 1)
    return found


def unmeasured(extractor: Extractor, status: str, reason: str) -> Measurement:
    """One row without values."""
    return Measurement((status,), empty_values(extractor.columns, 1), {0: reason})


def concatenate(extractor: Extractor, parts: Sequence[Measurement]) -> Measurement:
    """Measurements of neighbouring rows as one."""
    values = {
        name: np.concatenate([_empty(column, 0), *(part.values[name] for part in parts)])
        for name, column in extractor.columns.items()
    }
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    reasons = {
        start + row: reason
        for start, part in zip(starts, parts, strict=False)
        for row, reason in part.reasons.items()
    }
    return Measurement(tuple(status for part in parts for status in part.status), values, reasons)


def first_line(error: BaseException) -> str:
    """The exception's class and the first line of what it says."""
    try:
        text = str(error)
    except Exception:  # an exception of somebody else's that cannot even be told
        text = ""
    said = next((line.strip() for line in text.splitlines() if line.strip()), "")
    told = f"{type(error).__name__}: {said}"[:MOST_REASON].rstrip(": ")
    return told.encode("utf-8", "replace").decode()  # file names may hold what UTF-8 cannot


def check_measurement(extractor: Extractor, found: Measurement, count: int) -> None:
    """Raise RunError unless an extractor returned what its protocol says."""
    who = f"extractor {extractor.name!r}"
    if not isinstance(found, Measurement):
        raise RunError(f"{who} returned a {type(found).__name__}; expected a Measurement.")
    for part in ("values", "reasons"):
        if not isinstance(getattr(found, part), Mapping):
            came = type(getattr(found, part)).__name__
            raise RunError(f"{who} returned a {came} as the {part}; expected a mapping.")
    if len(found) != count:
        raise RunError(f"{who} returned {len(found)} rows for {count} images.")
    for status in found.status:
        if not isinstance(status, str):
            raise RunError(f"{who} returned the status {status!r}; expected a string.")
    for name, column in extractor.columns.items():
        value = found.values.get(name)
        array = isinstance(value, np.ndarray)
        came = f"{value.shape} {value.dtype}" if array else f"a {type(value).__name__}"
        came = "nothing" if value is None else came
        wanted = f"{(count, *column.shape)} {np.dtype(column.dtype)}"
        same_kind = array and value.dtype.kind == np.dtype(column.dtype).kind
        if not array or value.shape != (count, *column.shape) or not same_kind:
            raise RunError(f"{who} returned {came} for column {name!r}; expected {wanted}.")


def empty_values(columns: Mapping[str, Column], count: int) -> dict[str, NDArray]:
    """Column -> rows without a value, for an extractor to fill."""
    return {name: _empty(column, count) for name, column in columns.items()}


def _empty(column: Column, count: int) -> NDArray:
    """Rows without a value: NaN, or 0 for whole numbers."""
    fill = np.nan if column.dtype == "float32" else 0
    return np.full((count, *column.shape), fill, column.dtype)


MOST_REASON = 300  # characters of a reason that are kept
