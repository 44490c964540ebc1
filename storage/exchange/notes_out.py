"""README.txt beside exported files: what each holds, where it goes and whose it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.directions import DirectionCard
from storage.exchange.layouts import LAYOUTS, step_of
from storage.exchange.licences import licence_lines

README = "README.txt"
HEAD = "Directions from a LatentLode catalogue."  # its first line
_SCALES = {
    "unit": "norm 1, as the catalogue holds it",
    "sigma": "one natural step long (the standard deviation of latents along it)",
    "calibration": "as long as changes its attribute by one unit, positive upwards",
}


@dataclass(frozen=True)
class Made:
    """One file that is about to be written."""

    name: str
    data: bytes
    cards: tuple[DirectionCard, ...]
    shape: tuple[int, ...] = ()  # of the array in it


def notes_of(
    cards: Sequence[DirectionCard], form: str, layout: str | None, centred: bool
) -> list[str]:
    """What whoever uses the files should know; empty where nothing is out of the ordinary."""
    notes = []
    layered = sorted({_line(card.attribute) for card in cards if card.layers})
    components = form == "ganspace" or layout == "ganspace"
    if layered:
        how = "only some rows of W+ move, the others are written as zeros"
        if components:
            how = "edit only the rows that README.txt names (start to end in the tool)"
        elif form == "safetensors":
            how = "rows of W+ that do not move are zeros; where it is one row, `layers` names them"
        notes.append(f"{', '.join(layered)}: {how}.")
    if components:
        notes += _component_notes(cards, centred)
    if any(card.licence == "" and card.source for card in cards):
        notes.append("Some directions were imported without a licence; ask before passing them on.")
    return notes


def readme(
    made: Sequence[Made], form: str, layout: str | None, scale: str, notes: Sequence[str]
) -> str:
    """The whole text."""
    components = form == "ganspace" or layout == "ganspace"
    length = "norm 1; the stdevs are the steps" if components else _SCALES[scale]
    lines = [HEAD, "", f"Every vector is {length}."]
    if not components and any(
        len(file.shape) == 3 and file.cards[0].vector.ndim == 1 for file in made
    ):
        lines[-1] += " Where it is repeated to rows of W+, each row is that long."
    lines += [f"Note: {note}" for note in notes]
    lines += ["", "Where the files go:", *_places(form, layout), "", "Files:"]
    for file in made:
        shape = f"float32 ({', '.join(map(str, file.shape))}{',' * (len(file.shape) == 1)})"
        lines += [f"  {file.name}: {shape}"]
        for index, card in enumerate(file.cards):
            place = f"component {index}: " if components else ""
            lines.append(f"    {place}{_about(card, 'unit' if components else scale)}")
    lines += ["", "Licences (licences.json has them by file):"]
    lines += [
        f"  {_line(line)}" for line in licence_lines([c for file in made for c in file.cards])
    ]
    return "\n".join(lines) + "\n"


def _places(form: str, layout: str | None) -> list[str]:
    if layout is None and form != "ganspace":
        fitting = [tool for tool in LAYOUTS.values() if form in tool.formats]
        fitting = [tool for tool in fitting if tool.tool != "GANSpace"]
    else:
        fitting = [LAYOUTS[layout or "ganspace"]]
    found = [f"  {tool.tool}: {tool.place} (read from {tool.read_at})" for tool in fitting]
    own = "  From Python: safetensors.numpy.load_file(FILE)['direction']; the header says the rest."
    return found or [own]


def _about(card: DirectionCard, scale: str) -> str:
    words = [f"{_line(card.attribute)} by {_line(card.method)} in {card.space}"]
    if scale != "unit":
        words.append(f"norm {abs(step_of(card, scale)):.4g}")
    if card.layers:
        words.append(f"layers {' '.join(map(str, card.layers))}")
    if math.isfinite(card.sigma):
        words.append(f"sigma {card.sigma:.4g}")
    if card.calibration:
        words.append(f"{card.calibration.step:.4g} for one {_line(card.unit)}")
    words.append(f"generator {_line(card.generator)}")
    words.append(f"id {card.direction_id}")
    return ", ".join(words)


def _component_notes(cards: Sequence[DirectionCard], centred: bool) -> list[str]:
    notes = []
    if not centred:
        notes.append(
            "act_mean and lat_mean are zero, the mean of W is not in the catalogue: edits from an "
            "image are right, centred views are not. Give the generator's w_avg by --mean."
        )
    if not np.isfinite([card.sigma for card in cards]).all():
        notes.append("A sigma that was not measured is written as 1.")
    notes.append("var_ratio and random_stdevs are zero: the catalogue does not know them.")
    return notes


def _line(text: str) -> str:
    """Text of a card in one line that a terminal may show."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
