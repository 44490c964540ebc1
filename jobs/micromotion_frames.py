"""Frames for a micromotion: read from images or a film, and measured as the dataset was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.editing_sources import read_photo, resized
from mining.extractors.base import measure
from mining.extractors.registry import make_extractors
from mining.generators.base import Images
from schemas.errors import InputError
from storage.dataset import attribute_fields
from storage.manifest import Manifest

FEATURES = "features"
FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif", ".m4v")
PICTURES = (".jpg", ".jpeg", ".png")
MOST_FRAMES = 240
MOST_PIXELS = 40_000_000  # of one frame
MOST_SIDE = 500  # landmarks of a face, at most
BATCH = 16
PAPER = 255
NO_FEATURES = ("_score", "_faces", "_box")  # ends of columns that say nothing of the face


def read_frames(places: Sequence[str], size: int, most: int) -> Images:
    """Images, folders of images, or films, as (N, size, size, 3); a film gives `most` even ones.

    Raises:
        InputError: there is no such file, it is no image or film, or there are too many frames.
    """
    if not 3 <= most <= MOST_FRAMES:
        raise InputError(f"frames: {most} frames came, expected 3 to {MOST_FRAMES}.")
    found: list[Images] = []
    for place in places:
        path = Path(place)
        if path.suffix.lower() in FILMS:
            found += _film(path, size, most)
            continue
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.iterdir() if each.suffix.lower() in PICTURES)
        if len(files) + len(found) > MOST_FRAMES:
            raise InputError(
                f"frames: {len(files) + len(found)} images came, more than {MOST_FRAMES}."
            )
        found += [resized(read_photo(str(file)), size) for file in files]
    if not found:
        raise InputError(
            f"frames: no image or film in {', '.join(places)[:200]}; expected some of "
            f"{', '.join((*PICTURES, *FILMS))}."
        )
    return np.stack(found)


def features_of(manifest: Manifest) -> list[str]:
    """The dataset's columns that describe a face: landmarks and scalars of its extractors."""
    names = []
    for extractor in manifest.extractors:
        for field in manifest.fields:
            mine = field.name.startswith(f"{extractor['name']}_") and field.dtype == "float32"
            points = len(field.shape) == 2 and field.shape[0] <= MOST_SIDE and field.shape[1] == 2
            if mine and (points or not field.shape) and not field.name.endswith(NO_FEATURES):
                names.append(field.name)
    if not names:
        raise InputError("frames: the dataset's extractors give no landmarks and no scalars.")
    return names


def measured_in(
    manifest: Manifest, frames: Images, columns: Sequence[str], attribute: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the dataset's extractors measure: (N, F) columns, and (N,) the attribute; NaN: nothing.

    Raises:
        InputError: an extractor cannot be made here, or the attribute is none of theirs.
    """
    extractors = make_extractors({each["load"]: each["options"] for each in manifest.extractors})
    field = attribute_fields(manifest)[attribute].name
    parts = []
    for first in range(0, len(frames), BATCH):
        done = measure(extractors, frames[first : first + BATCH])
        values = {
            f"{extractor.name}_{name}": np.asarray(found, np.float64).reshape(len(found), -1)
            for extractor in extractors
            for name, found in done[extractor.name].values.items()
        }
        if field not in values:
            raise InputError(f"frames: no extractor measures {field} in an image.")
        parts.append(np.concatenate([*(values[name] for name in columns), values[field]], axis=1))
    table = np.concatenate(parts)
    return table[:, :-1], table[:, -1]


def _film(path: Path, size: int, most: int) -> list[Images]:
    """Evenly spaced frames of a film, each (size, size, 3)."""
    import cv2

    if not path.is_file():
        raise InputError(f"frames: {path} is no file; expected a film or images.")
    film = cv2.VideoCapture(str(path))
    try:
        across, down = (int(film.get(each)) for each in (3, 4))  # width and height
        if not film.isOpened() or not 0 < across * down <= MOST_PIXELS:
            raise InputError(
                f"frames: {path} is no film that can be read, or one of more than {MOST_PIXELS:,} "
                "pixels a frame."
            )
        kept: list[Images] = []
        step, number = 1, 0
        while film.grab():  # nobody may trust a header's count: thin out while reading
            if number % step == 0:
                good, frame = film.retrieve()
                if good:
                    kept.append(_square(np.asarray(frame[..., ::-1], np.uint8), size))
                if len(kept) >= 2 * most:
                    kept, step = kept[::2], 2 * step
            number += 1
    finally:
        film.release()
    if not kept:
        raise InputError(f"frames: {path} has no frames that can be read.")
    chosen = np.unique(np.linspace(0, len(kept) - 1, most).round().astype(int))
    return [kept[place] for place in chosen]


def _square(frame: Images, size: int) -> Images:
    """A frame resized to fit a square, and padded with white: long ones take no more memory."""
    import cv2

    share = size / max(frame.shape[:2])
    high, wide = (max(1, round(share * edge)) for edge in frame.shape[:2])
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    square = np.full((size, size, 3), PAPER, np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = cv2.resize(
        frame, (wide, high), interpolation=way
    )
    return square
