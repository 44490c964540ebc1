"""Conditioned directions of a run: candidates from its catalogue, the curve, and a card."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from jobs.cards import card_of, known_truth
from jobs.conditioning_candidates import (
    METHOD,
    Candidates,
    Source,
    error_of,
    gather,
    relative,
    response_of,
    usable_cards,
)
from jobs.conditioning_measured import Measurer
from mining.editing.condition import Conditioned, Wishes, choose, trade_off
from mining.editing.identity_form import with_costs
from mining.editing.leaks import Leak, leak_of
from mining.evaluation.quantities import PRIVATE, meanings
from mining.methods.base import Direction
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown
from storage.catalog import Catalog
from storage.dataset import Dataset

ALL = "all"  # in place of names to hold: whatever else was measured
WEIGHTS = (0.0, 0.3, 0.6, 0.8, 0.9)  # of identity beside the norm, tried under a budget
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """Change one attribute, hold others.

    Raises:
        InputError: nothing is held, or what is to change is.
    """

    change: str
    hold: tuple[str, ...]  # names, or ALL
    wishes: Wishes = field(default_factory=Wishes)
    layers: tuple[int, ...] = ()  # rows of W+ that may move; empty means all
    source: Source = "both"  # of responses

    def __post_init__(self) -> None:
        if not self.hold:
            raise InputError(
                f"condition: nothing is held; expected names of attributes besides {self.change!r},"
                f" or {ALL}."
            )
        if self.change in self.hold:
            raise InputError(f"condition: {self.change!r} is to be changed and held at once.")


@dataclass(frozen=True)
class TradeOff:
    """What can be had for what, and the point that was picked."""

    asked: Asked
    held: tuple[str, ...]
    candidates: Candidates
    curve: tuple[Conditioned, ...]
    picked: Conditioned
    strongest: float  # effect that could be had, in spreads per unit step; above 0
    plain: DirectionCard  # the strongest single direction of the attribute
    plain_effect: float  # in spreads per unit step
    plain_leak: float


def solve(
    catalog: Catalog, dataset: Dataset, asked: Asked, measurer: Measurer | None = None
) -> TradeOff:
    """The curve from the cards of a catalogue, before anything is rendered.

    Responses of directions restricted to rows of W+ are in no card: with `asked.layers` the
    candidates are re-scored, which renders.

    Raises:
        InputError: an attribute is unknown or unmeasured, too few directions are there, or no
            point does what is asked.
    """
    cards = usable_cards(catalog, dataset, asked.layers)
    held = held_of(cards, asked)
    if asked.layers:
        if measurer is None:
            raise InputError(
                "condition: what directions do on some layers alone is in no card and has to be "
                "measured; nothing that measures came."
            )
        cards = _restricted(cards, dataset, asked.layers, measurer)
    return _solved(cards, dataset, asked, held)


def refined(found: TradeOff, dataset: Dataset, measurer: Measurer) -> TradeOff:
    """The curve once more, with what is measured along the point that was picked.

    What a combination does is known less surely than what each of its parts does: errors add up,
    and attributes are not linear. Its own re-scoring says it directly, and the next point differs
    from this one by little.
    """
    return with_measured(found, dataset, measurer.cards([card_of_point(found, dataset)]))


def with_measured(found: TradeOff, dataset: Dataset, measured: Sequence[DirectionCard]) -> TradeOff:
    """The curve once more, with further directions that were measured."""
    again = _solved([*found.candidates.cards, *measured], dataset, found.asked, found.held)
    left_out = found.candidates.left_out + again.candidates.left_out
    return replace(again, candidates=replace(again.candidates, left_out=left_out))


def _solved(
    cards: Sequence[DirectionCard], dataset: Dataset, asked: Asked, held: tuple[str, ...]
) -> TradeOff:
    found = gather(cards, dataset, (asked.change, *held), asked.source)
    rest = list(range(1, 1 + len(held)))  # the wanted attribute is the first
    responses = found.measured.responses
    doubt = found.measured.doubts[rest].mean(axis=0)
    weights = WEIGHTS if asked.wishes.identity_budget is not None else WEIGHTS[:1]
    curves = [
        with_costs(
            trade_off(found.vectors, responses, 0, rest, _metric(found, weight), doubt),
            found.form,
            found.covariance,
        )
        for weight in weights
    ]
    points = [point for curve in curves for point in curve]
    picked = choose(points, wishes=asked.wishes)
    curve = next(curve for curve in curves if any(point is picked for point in curve))
    plain = _plain(found, asked.change)
    effect = abs(float(responses[plain, 0]))
    total = float((responses[plain][rest] ** 2).mean() + doubt[plain, plain])
    return TradeOff(
        asked,
        held,
        found,
        tuple(curve),
        picked,
        max(abs(point.effect) for point in points),
        found.cards[plain],
        effect,
        math.sqrt(total) / effect if effect else math.inf,
    )


def _metric(found: Candidates, weight: float) -> Array:
    """What an effect is paid in: the step alone, or identity with some weight beside it."""
    gram, form = found.vectors @ found.vectors.T, found.form
    if not weight or not np.isfinite(form).all():
        return gram
    return (1 - weight) * gram + weight * form * np.trace(gram) / np.trace(form)


def held_of(cards: Sequence[DirectionCard], asked: Asked) -> tuple[str, ...]:
    """The names that are held; of ALL, whatever is measured and tells of something else.

    Raises:
        InputError: a name is unknown, or no card has a response of it.
    """
    known = {
        response.attribute: None
        for card in cards
        for response in card.responses
        if math.isfinite(response.relative)
    }
    for name in (asked.change, *(name for name in asked.hold if name != ALL)):
        if name not in known:
            raise unknown("attribute", name, known)
    told = meanings(known)
    every = [name for name in known if not told[name] & told[asked.change] and name not in PRIVATE]
    named = [name for name in asked.hold if name != ALL]
    wanted = [*named, *(every if ALL in asked.hold else [])]
    held = tuple(name for k, name in enumerate(wanted) if name not in wanted[:k])
    if not held:
        raise InputError(f"condition: nothing but {asked.change!r} was measured; nothing to hold.")
    return held


def card_of_point(found: TradeOff, dataset: Dataset, seed: int = 0) -> DirectionCard:
    """The picked point as a card that was not measured; its settings say what was asked of whom."""
    asked, point = found.asked, found.picked
    first = found.candidates.cards[0]
    shape = first.vector.shape
    unit = response_of(found.plain, asked.change).unit
    slope = point.effect * float(found.candidates.spreads[0])
    direction = Direction(
        method=METHOD,
        vector=point.vector.reshape(shape),
        slope=slope,
        attribute=asked.change,
        unit=unit,
        space=first.space,
        layers=asked.layers,
        evidence={
            "expected_effect": point.effect,
            "expected_leak": point.leak,
            "expected_identity_cost": point.cost,
            "kept_effect": abs(point.effect) / found.strongest,
        },
    )
    said = json.dumps(settings_of(found), sort_keys=True)
    card = card_of(dataset, direction, point.sigma, said, seed, known_truth(dataset.manifest))
    notes = f"Changes {asked.change}, holds {', '.join(found.held)}."
    return replace(card, notes=notes)


def settings_of(found: TradeOff) -> dict[str, object]:
    """What was asked, and the directions it was made of with their shares."""
    asked, wishes = found.asked, found.asked.wishes
    return {
        "change": asked.change,
        "hold": list(found.held),
        "least_effect": wishes.least_effect,
        "leak": wishes.leak,
        "identity_budget": wishes.identity_budget,
        "by": wishes.by,
        "layers": list(asked.layers),
        "source": asked.source,
        "parents": {key: round(share, 6) for key, share in shares_of(found).items()},
    }


def shares_of(found: TradeOff) -> dict[str, float]:
    """Direction id in the catalogue -> share in the picked point, the weightiest first.

    A point that was measured to refine the curve is in no catalogue: its own parents stand for it.
    """
    shares: dict[str, float] = {}
    for card, share in zip(found.candidates.cards, found.picked.shares, strict=True):
        for key, part in origins(card).items():
            shares[key] = shares.get(key, 0.0) + float(share) * part
    return dict(sorted(shares.items(), key=lambda item: -abs(item[1])))


def origins(card: DirectionCard) -> dict[str, float]:
    """Ids of the catalogue's directions that a candidate is the sum of, and their shares."""
    if card.method == METHOD or card.layers:  # made here, of directions of the catalogue
        return json.loads(card.provenance.settings)["parents"]
    return {card.direction_id: 1.0}


def measured_leak(card: DirectionCard, held: Sequence[str]) -> Leak:
    """The held responses per unit step as they were measured, with and without their noise."""
    changes = np.array([relative(card, name) for name in held])
    return leak_of(changes, np.array([error_of(card, name) for name in held]))


def _restricted(
    cards: Sequence[DirectionCard], dataset: Dataset, layers: tuple[int, ...], measurer: Measurer
) -> list[DirectionCard]:
    """The same directions on some rows of W+ alone, measured anew."""
    kept = []
    for card in cards:
        vector = np.asarray(card.vector, np.float64)
        if vector.ndim == 2:
            others = [row for row in range(len(vector)) if row not in layers]
            vector = np.where(np.isin(np.arange(len(vector)), others)[:, None], 0.0, vector)
        size = float(np.linalg.norm(vector))
        if size > 1e-6:
            vector = (vector / size).astype(np.float32)
            made = json.dumps({"parents": {card.direction_id: 1 / size}})
            provenance = replace(card.provenance, settings=made)
            changed = {"vector": vector, "layers": layers, "provenance": provenance}
            kept.append(replace(card, **changed, responses=()))
    return measurer.cards(kept)


def _plain(found: Candidates, change: str) -> int:
    """The candidate with the strongest effect among those that are for the attribute itself."""
    effects = np.abs(found.measured.responses[:, 0])
    fresh = np.array([card.method != METHOD for card in found.cards])
    own = fresh & np.array([card.attribute == change for card in found.cards])
    return int(np.argmax(np.where(own if own.any() else fresh, effects, -1.0)))
