"""What is said of an edit: captions, titles, notes, and codes as plain records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.editing.analytic import CodeEdit
from mining.editing.apply import Unit
from mining.editing.request import ANGLES, shown
from schemas.directions import DirectionCard

Array = NDArray[np.float64]

CAPTIONS = 3  # codes that are written below an image; all are in the record
FAR = 3.0  # spreads of a code from its mean, beyond which few training images lie


def values_text(names: Sequence[str], codes: Sequence[int], q: Array) -> str:
    """One line for each of the codes, as they are in q (Q,)."""
    return "\n".join(value_text(names[code], q[code]) for code in codes[:CAPTIONS])


def value_text(name: str, value: float) -> str:
    """A code as it is written below an image: "yaw 12.3°", "alpha_3 0.041"."""
    told = shown(name, value)
    return f"{name} {told:.1f}°" if name in ANGLES else f"{name} {told:.3f}"


def change_text(names: Sequence[str], codes: Sequence[int], edit: CodeEdit, row: int) -> str:
    """ "yaw 3.1° -> 19.8° (asked 20.0°)" for the codes that are asked for."""
    parts = []
    for code in codes[:CAPTIONS]:
        name, ends = names[code], (edit.codes[0, row], edit.codes[-1, row], edit.target[row])
        first, last, target = (value_text(name, q[code]).removeprefix(f"{name} ") for q in ends)
        parts.append(f"{name} {first} -> {last}" + f" (asked {target})" * (last != target))
    return ", ".join(parts) + ", ..." * (len(codes) > CAPTIONS)


def step_text(card: DirectionCard, unit: Unit, step: float, move: float | None) -> str:
    """A step along a direction, and the change of its attribute that its card predicts."""
    counted = "" if unit == "norm" else f" {unit if unit == 'sigma' else card.unit}"
    text = f"{step:+.3g}{counted}" if step else "unedited"
    if card.own is None or move is None:
        return text
    own_unit = "" if card.own.unit == "1" else f" {card.own.unit}"
    return f"{text}\n{card.own.attribute} {move:+.3g}{own_unit}" if step else text


def amount_text(card: DirectionCard, change: float) -> str:
    """A change of a card's attribute with its unit: "+10 degrees"."""
    return f"{change:+.3g}" + f" {card.unit}" * (card.unit != "1")


def landing_text(card: DirectionCard, asked: float, landed: float, between: str = ", ") -> str:
    """What was asked for and, where it was measured, what came of it."""
    text = f"asked {amount_text(card, asked)}"
    return text if np.isnan(landed) else f"{text}{between}landed {amount_text(card, landed)}"


def far_notes(
    names: Sequence[str], codes: Sequence[int], target: Array, mean: Array, spread: Array
) -> list[str]:
    """A sentence for each code that is asked to lie where few images were seen."""
    off = np.abs((target - mean) / spread).max(axis=0)
    return [
        f"{names[code]} is asked to lie {off[code]:.1f} spreads from the mean; few of the images "
        "that the control model was fitted to do, so what is predicted may be off."
        for code in codes
        if off[code] > FAR
    ]


def code_record(names: Sequence[str], q: Array) -> dict[str, float]:
    """Codes by name as they are shown: angles in degrees."""
    return {name: round(shown(name, value), 6) for name, value in zip(names, q, strict=True)}


def row_line(title: str, row: Mapping[str, Any]) -> str:
    """A row's title, and which of the other codes moved most by the way."""
    moved = row.get("moved_spreads", {})
    others = {name: by for name, by in moved.items() if name not in row["asked"]}
    if not others:
        return title
    most = sorted(others, key=lambda name: abs(others[name]), reverse=True)[:2]
    told = ", ".join(f"{name} {others[name]:+.2f}" for name in most)
    return f"{title}; of the rest most, in spreads: {told}"


def measured_line(name: str, first: float | None, last: float | None, *source: float | None) -> str:
    """What was measured at both ends of a row, and in its source; "none" where nothing was."""
    ends = ("none" if value is None else f"{value:.3f}" for value in (first, last, *source))
    before, after, *whose = ends
    return f"  measured {name:<24} {before} -> {after}" + "".join(
        f" ({one} there)" for one in whose
    )


def finite(value: float) -> float | None:
    """As JSON has it: None for what is not a number."""
    return round(float(value), 6) if np.isfinite(value) else None
