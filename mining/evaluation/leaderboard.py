"""The truth leaderboard: every method and attribute at several numbers of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.truth import truth_cosine
from mining.generators.base import Truth
from schemas.directions import DirectionCard, Response

Array = NDArray[np.float64]
NAN = float("nan")

FIGURES = ("cosine", "effect", "leak", "identity", "identity_per_spread", "seconds")
LARGER_IS_BETTER = frozenset({"cosine", "effect"})


@dataclass(frozen=True)
class Score:
    """One direction on the board."""

    method: str
    attribute: str
    samples: int
    cosine: float  # to the true direction
    effect: float  # on its attribute, in population spreads for a step of one sigma
    leak: float  # root mean square of the other attributes' responses over its own, in spreads
    identity: float  # distance of the face descriptor after a step of one sigma
    seconds: float  # of one core, for this direction alone; NaN where it was not timed
    direction_id: str
    chosen: str = ""  # "pc3": which of the method's directions moves the attribute most

    @property
    def identity_per_spread(self) -> float:
        """What a change by one population spread costs in identity, as if both grew alike.

        Infinite where the attribute does not move, as the leak is.
        """
        if self.effect == 0:
            return math.inf if math.isfinite(self.identity) else NAN
        return self.identity / abs(self.effect)

    def figure(self, name: str) -> float:
        """One of FIGURES."""
        return float(getattr(self, name))


@dataclass(frozen=True)
class Board:
    """All scores of one generator."""

    scores: tuple[Score, ...]
    facts: Mapping[str, str]  # generator, extractors, dataset ...
    failures: Mapping[str, str]  # "500 samples: svm age" -> why
    skipped: Mapping[str, str]  # method that this generator cannot take -> why
    shared: Mapping[str, float]  # "nrsfm, robust_pca at 500" -> seconds spent once for all

    @property
    def samples(self) -> tuple[int, ...]:
        """Numbers of samples, ascending."""
        return tuple(sorted({score.samples for score in self.scores}))

    @property
    def attributes(self) -> tuple[str, ...]:
        """In order of appearance."""
        return tuple(dict.fromkeys(score.attribute for score in self.scores))

    @property
    def methods(self) -> tuple[str, ...]:
        """Best mean cosine at the largest number of samples first."""
        names = dict.fromkeys(score.method for score in self.scores)
        last = self.samples[-1] if self.scores else 0
        found = {name: self.mean(name, last, "cosine") for name in names}
        ranked = {name: value if math.isfinite(value) else -2.0 for name, value in found.items()}
        return tuple(sorted(names, key=lambda name: -ranked[name]))

    def table(self, samples: int, figure: str) -> Array:
        """(methods, attributes) one of FIGURES; NaN where there is none."""
        methods, attributes = self.methods, self.attributes
        found = np.full((len(methods), len(attributes)), NAN)
        for score in self.scores:
            if score.samples == samples:
                cell = methods.index(score.method), attributes.index(score.attribute)
                found[cell] = score.figure(figure)
        return found

    def mean(self, method: str, samples: int, figure: str) -> float:
        """Of one of FIGURES over the attributes that the method has; the median of ratios.

        A leak, and an identity per spread, are infinite where the attribute does not move.
        """
        both = (
            score for score in self.scores if (score.method, score.samples) == (method, samples)
        )
        values = [score.figure(figure) for score in both]
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return NAN
        ratio = figure in ("leak", "identity_per_spread")
        return float(np.median(known) if ratio else np.mean(known))


def scores_of(
    cards: Sequence[DirectionCard],
    samples: int,
    truth: Truth,
    names: Mapping[str, str],
    seconds: Mapping[tuple[str, str], float],
) -> list[Score]:
    """The board's rows of one run.

    A method that was given no attributes takes part with, for each attribute, the direction along
    which re-scoring saw it move most (in spreads per sigma), turned so that it grows: what a user
    who looks through the components would take. The truth has no say in that.

    Args:
        names: attribute -> the truth's parameter that it is a reading of.
        seconds: (method, attribute) -> of one core; attribute "" where a method has none.
    """
    found = []
    for method in dict.fromkeys(card.method for card in cards):
        own = [card for card in cards if card.method == method]
        for attribute in names:
            named = [card for card in own if card.attribute == attribute]
            card = named[-1] if named else _most_moving(own, attribute)
            if card is not None:
                time = seconds.get((method, attribute), seconds.get((method, ""), NAN))
                found.append(_score(card, attribute, names[attribute], samples, truth, time))
    return found


def _most_moving(cards: Iterable[DirectionCard], attribute: str) -> DirectionCard | None:
    moves = [
        (abs(_effect(card, attribute)), k, card)
        for k, card in enumerate(cards)
        if card.aimless and math.isfinite(_effect(card, attribute))
    ]
    return max(moves, key=lambda move: (move[0], -move[1]))[2] if moves else None


def _effect(card: DirectionCard, attribute: str) -> float:
    """Spreads of the attribute for a step of one sigma."""
    moved = card.response(attribute)
    return NAN if moved is None else moved.relative * card.sigma


def _score(
    card: DirectionCard, attribute: str, parameter: str, samples: int, truth: Truth, seconds: float
) -> Score:
    chosen = card.attribute != attribute
    effect = _effect(card, attribute)
    sign = -1.0 if chosen and effect < 0 else 1.0
    if card.artefact is not None:  # no one vector: that of its mean step was compared when mined
        cosine = card.truth_cosine
    else:
        cosine = truth_cosine(truth, parameter, card.vector, card.space)
    return Score(
        method=card.method,
        attribute=attribute,
        samples=samples,
        cosine=NAN if cosine is None else sign * cosine,
        effect=sign * effect,
        leak=leak_of(card.responses, attribute),
        identity=card.identity_cost,
        seconds=seconds,
        direction_id=card.direction_id,
        chosen=card.attribute if chosen else "",
    )


def leak_of(responses: Sequence[Response], attribute: str) -> float:
    """Root mean square of the others' responses over that of one attribute, all in spreads."""
    own = [r.relative for r in responses if r.attribute == attribute]
    others = [r.relative for r in responses if r.attribute != attribute]
    known = np.array([value for value in others if math.isfinite(value)])
    if not own or not math.isfinite(own[0]) or not len(known):
        return NAN
    with np.errstate(divide="ignore"):
        return float(np.sqrt((known**2).mean()) / np.abs(np.float64(own[0])))
