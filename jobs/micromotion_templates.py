"""How much the wording of a text micromotion decides: one direction for each, and their cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.micromotion import TextJob, mine_text
from jobs.micromotion_run import MinedRun
from mining.methods.text_anchors import DEGREES
from schemas.directions import DirectionCard

SHOWN = 44  # letters of a sentence in the table


@dataclass(frozen=True)
class Wordings:
    """Directions by sentence and list of degrees, all else alike."""

    wordings: tuple[tuple[str, str], ...]  # sentence with {}, name of its degrees
    cards: tuple[DirectionCard, ...]

    def cosines(self) -> NDArray[np.float64]:
        """(K, K) between the directions."""
        rows = np.stack([card.vector.astype(np.float64).ravel() for card in self.cards])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T


def compare(
    run: MinedRun, attribute: str, wordings: Sequence[tuple[str, str]], job: TextJob
) -> Wordings:
    """Mine a direction for each wording, with a line of progress.

    The choice of sentences and of the words for degrees is an ablation of Wu, Jiang et al. (2022),
    arXiv:2204.12696.

    Raises:
        InputError: as `mine_text`.
    """
    from jobs.progress import Progress

    cards = []
    with Progress("templates", len(wordings), "wordings") as progress:
        for sentence, degrees in wordings:
            told = replace(job, config=replace(job.config, degrees=degrees))
            cards.append(mine_text(run, attribute, sentence, told))
            progress.advance(1)
    return Wordings(tuple(wordings), tuple(cards))


def document(found: Wordings, attribute: str) -> dict[str, Any]:
    """Everything as plain JSON; null for what is no number."""
    cosines = found.cosines()
    rows = []
    for (sentence, degrees), card, line in zip(found.wordings, found.cards, cosines, strict=True):
        known = {"slope": card.slope, "truth_cosine": card.truth_cosine, **card.evidence}
        rows.append(
            {
                "template": sentence,
                "degrees": degrees,
                "anchors": len(DEGREES[degrees]),
                "direction": card.direction_id,
                **{name: _number(value) for name, value in known.items()},
                "cosines": [round(float(each), 6) for each in line],
            }
        )
    return {"table": "micromotion_templates", "attribute": attribute, "wordings": rows}


def table(found: Wordings) -> list[str]:
    """A line for each wording: how far its images came to fit, and its cosines to all."""
    cosines = found.cosines()
    width = max(len(_cut(sentence)) for sentence, _ in found.wordings)
    numbers = "".join(f"{place:>7}" for place in range(1, len(cosines) + 1))
    lines = [f"    {'template':<{width}}  degrees  anchors  fit gain  to truth  cosine to{numbers}"]
    for place, (sentence, degrees) in enumerate(found.wordings):
        card = found.cards[place]
        truth = "-" if card.truth_cosine is None else f"{card.truth_cosine:.3f}"
        line = "".join(f"{each:>7.3f}" for each in cosines[place])
        lines.append(
            f"{place + 1:>2}  {_cut(sentence):<{width}}  {degrees:<7}  {len(DEGREES[degrees]):>7}  "
            f"{card.evidence['fit_gain']:>8.4f}  {truth:>8}           {line}"
        )
    return lines


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= SHOWN else sentence[: SHOWN - 3] + "..."


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
