"""Strips as the page shows them: under every picture what was measured on it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.report.data import Picture, Strip


@dataclass(frozen=True)
class Shot:
    """One picture with its step, and how far its value lies from the unedited picture's."""

    picture: Picture
    step: float  # in sigma
    change: float  # NaN where either was not measured


def shots(strip: Strip) -> tuple[tuple[Shot, ...], ...]:
    """A row per identity, a column per step."""
    return tuple(_row(strip.steps, row) for row in strip.rows)


def _row(steps: tuple[float, ...], row: tuple[Picture, ...]) -> tuple[Shot, ...]:
    unedited = row[steps.index(0.0)].value if 0.0 in steps else float("nan")
    return tuple(
        Shot(picture, step, picture.value - unedited)
        for picture, step in zip(row, steps, strict=True)
    )
