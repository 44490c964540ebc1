"""What an edit looks like: its images, and what is measured in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.editing_latents import Given
from jobs.editing_run import Studio
from jobs.editing_words import finite
from mining.generators.base import Images
from mining.spaces import render
from schemas.errors import InputError

Array = NDArray[np.float64]
Method = Literal["analytic", "gradient"]

MOST_FRAMES = 240
MOST_PIXELS = 100_000_000  # of all images of an edit together


@dataclass(frozen=True)
class Look:
    """How an edit is computed and shown."""

    frames: int  # images of a row, the unedited one among them
    size: int  # pixels of their edge
    method: Method = "analytic"
    hold_identity: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.frames <= MOST_FRAMES:
            raise InputError(f"edit: {self.frames} frames came, expected 2 to {MOST_FRAMES}.")


@dataclass(frozen=True)
class Edited:
    """Images of R latents at C points of their edits, and what is said of them."""

    images: Images  # (R, C, size, size, 3)
    captions: tuple[tuple[str, ...], ...]  # R x C
    titles: tuple[str, ...]  # R
    rows: tuple[dict[str, Any], ...]  # R records of what was asked and predicted, plain JSON
    about: dict[str, Any]  # what all rows share, plain JSON
    ends: tuple[Array, Array]  # latents or W+ of the first and the last column, as `space` says
    space: str
    notes: tuple[str, ...] = field(default=())  # what the user should know
    alarms: tuple[str, ...] = field(default=())  # those of them that are warnings
    source: tuple[Given, Array] | None = None  # whose attributes were copied: its (1, D) latent


def images_along(studio: Studio, space: str, walk: Array, given: Given, size: int) -> Images:
    """(C, R, D) latents -> (R, C, size, size, 3)."""
    return np.stack(
        [images_of_latents(studio, space, latents, given, size) for latents in walk], axis=1
    )


def images_of_latents(
    studio: Studio, space: str, latents: Array, given: Given, size: int
) -> Images:
    """(R, D) latents -> (R, size, size, 3)."""
    settings = studio.manifest.settings
    return render(
        studio.generator,
        space,
        latents.astype(np.float32),
        size,
        settings["psi"],
        settings["cutoff"],
        given.condition,
    )


def measure_ends(studio: Studio, given: Given, edited: Edited) -> tuple[dict[str, Any], ...]:
    """What the run's extractors measure in the first and the last image of each row.

    Returns:
        One {"geometry.yaw": [first, last], ...} for each row, and behind them that of the source
        where there is one; None where nothing was measured.
    """

    def seen(latents: Array, some: Given) -> dict[str, Array]:
        images = images_of_latents(studio, edited.space, latents, some, studio.seen_size)
        return studio.measured(images, some)

    first, last = (seen(latents, given) for latents in edited.ends)
    whose = None if edited.source is None else seen(edited.source[1], edited.source[0])
    return tuple(
        {
            name: [
                *(finite(first[name][row]), finite(last[name][row])),
                *([] if whose is None else [finite(whose[name][0])]),
            ]
            for name in first
        }
        for row in range(len(given))
    )


def check_pixels(rows: int, look: Look) -> None:
    """Refuse what no picture could hold, before anything is rendered."""
    pixels = rows * look.frames * look.size**2
    if pixels > MOST_PIXELS:
        raise InputError(
            f"edit: {rows} latents in {look.frames} frames of {look.size} pixels make "
            f"{pixels:,} pixels, more than {MOST_PIXELS:,}; ask for fewer, or a smaller --size."
        )
