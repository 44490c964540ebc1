"""Which directions of a catalogue are re-scored, and how far each is edited."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.attributes import attribute_pairs, spreads_of
from jobs.evaluation_stage import spread_along
from jobs.rescoring_tasks import Edit
from mining.editing.steps import steps_for
from mining.evaluation.matrix import direction_names
from mining.evaluation.scalars import Pair
from mining.labels import Label, make_labels
from mining.methods.base import Direction
from mining.methods.registry import DRAWN
from mining.stored import latent_column
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.samples import from_column
from schemas.settings import RunSettings
from storage.dataset import Dataset, attribute_fields
from storage.manifest import Manifest
from storage.selecting import row_fields

STEP, EFFECT = KINDS = ("step", "effect")
REACH = 4.0  # sigma: edits of equal effect that need more go where no latents are
SPACES = ("w", "w+")
INSTEAD = {  # of artefacts: what there is to measure them
    "flow": ": its card holds what `lode mine` measured, at the settings of that run",
    "matrix": ": its columns are directions of their own",
}


@dataclass(frozen=True)
class RescoreSettings:
    """How often and how far every direction is tried.

    Raises:
        InputError: a number is out of its range, or neither kind of edit is asked for.
    """

    edits: int = 2000  # images, each edited once along every direction
    step: float | None = 1.0  # in sigma of the latents along the direction; None: not so
    by_effect: float | None = 1.0  # in population spreads of the own attribute; None: not so
    seed: int = 1  # of the held-out images and of the bootstrap
    bootstrap: int = 1000  # resamples behind the intervals

    def __post_init__(self) -> None:
        for name, least in (("edits", 2), ("bootstrap", 10), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"rescore: {name} is {getattr(self, name)}, expected at least {least}."
                )
        for name in ("step", "by_effect"):
            amount = getattr(self, name)
            if amount is not None and not (math.isfinite(amount) and 0 < abs(amount) <= REACH):
                raise InputError(
                    f"rescore: {name} is {amount}, expected not 0 and within {REACH:g} either way."
                )
        if not self.kinds:
            raise InputError("rescore: neither a step nor an effect came; expected one or both.")

    @property
    def kinds(self) -> dict[str, float]:
        """Kind of edit -> its amount."""
        amounts = {STEP: self.step, EFFECT: self.by_effect}
        return {kind: amount for kind, amount in amounts.items() if amount is not None}


@dataclass(frozen=True)
class Task:
    """One direction and one kind of edit."""

    card: DirectionCard
    name: str  # short and unique
    attribute: str  # what it is judged by; "" where nothing measured is its own
    ranked: bool
    kind: str
    amount: float  # in sigma or in spreads
    sigma: float
    edit: Edit

    @property
    def aimed(self) -> bool:
        """Whether its method was told the attribute, and used it."""
        return not self.card.aimless and self.card.method not in DRAWN


@dataclass(frozen=True)
class Found:
    """What was measured of one task's M edits."""

    values: NDArray[np.float64]  # (M, A) after the edit; NaN without a face
    cosines: NDArray[np.float64]  # (M,) of the face descriptors before and after
    step: float  # that was taken, of norm 1


@dataclass(frozen=True)
class Plan:
    """All that is to be tried, and what is measured by."""

    dataset: Dataset
    tasks: tuple[Task, ...]
    skipped: Mapping[str, str]  # direction -> why it is not tried, or not at equal effect
    pairs: Mapping[str, Pair]  # attribute -> (extractor, column)
    units: Mapping[str, str]
    spreads: Mapping[str, float]
    labels: Mapping[str, Label]


def make_plan(
    dataset: Dataset,
    cards: Sequence[DirectionCard],
    settings: RescoreSettings,
    labels: Mapping[str, Label] | None = None,
) -> Plan:
    """What is tried of these directions with this dataset's generator and extractors.

    An edit of equal effect is planned to go as far as the card says that `by_effect` spreads of
    its own attribute take: by its calibration, else by its measured response. Those were measured
    on other images, and responses bend; `landing` corrects it on some of the images here.

    Args:
        labels: as `labels_in` finds them in the whole catalogue; those of `cards` for None. What
            the dataset has no columns for is left out.

    Raises:
        InputError: none of them can be tried.
    """
    manifest = dataset.manifest
    there = row_fields(manifest)
    labels = {
        name: label
        for name, label in (labels_in(cards) if labels is None else labels).items()
        if set(label.expression.names) <= set(there)
    }
    known = attribute_fields(manifest)
    wanted = [c.attribute for c in cards if c.attribute in known or c.attribute in labels]
    pairs = _pairs(manifest, wanted, labels)
    units = {name: labels[name].unit if name in labels else known[name].unit for name in pairs}
    spreads = spreads_of(dataset, pairs, labels)
    sigmas = _sigmas(dataset, cards)
    tasks, skipped = [], {}
    ranked = _ranked(cards)
    for card, name, sigma in zip(cards, direction_names(cards), sigmas, strict=True):
        if why := _unfit(card, manifest, sigma):
            skipped[name] = why
            continue
        own = card.effect_on or (card.attribute if card.attribute in pairs else "")
        own = own if own in pairs else ""
        for kind, amount in settings.kinds.items():
            step, why = amount * sigma, ""
            if kind == EFFECT:
                step, why = _by_effect(card, amount * spreads.get(own, math.nan), sigma)
            if why:
                skipped[f"{name}, at equal effect"] = why
                continue
            edit = Edit(_direction(card), step)
            mine = card.direction_id in ranked
            tasks.append(Task(card, name, own, mine, kind, amount, sigma, edit))
    if not tasks:
        first = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        raise InputError(f"rescore: none of {len(cards)} directions can be tried. {first}")
    return Plan(dataset, tuple(tasks), skipped, pairs, units, spreads, labels)


def landing(task: Task, asked: float, moved: float) -> float:
    """The step that a trial of the planned one says to take: asked / moved times as far.

    At most twice or half of the plan, and within REACH; the plan where the trial says nothing.

    Args:
        asked, moved: the change of the own attribute that is wanted, and that the trial gave.
    """
    ratio = asked / moved if moved else math.nan
    if not (math.isfinite(ratio) and ratio > 0):
        return task.edit.step
    step = task.edit.step * min(max(ratio, 0.5), 2.0)
    return math.copysign(min(abs(step), REACH * task.sigma), step)


def labels_in(cards: Sequence[DirectionCard]) -> dict[str, Label]:
    """The labels that directions were mined for, from what their cards say of how."""
    told = {}
    for card in cards:
        try:
            settings = json.loads(card.provenance.settings or "{}")
        except json.JSONDecodeError:  # of a direction that was imported
            continue
        if isinstance(settings, dict) and "label" in settings:
            told[card.attribute] = {"is": settings["label"], "unit": card.unit}
    return make_labels(told)


def _pairs(
    manifest: Manifest, attributes: Sequence[str], labels: Mapping[str, Label]
) -> dict[str, Pair]:
    names = list(dict.fromkeys(attributes))
    said = {name: {"is": made.expression.text} for name, made in labels.items()}
    mining = {"labels": said, "methods": {"ridge" if names else "pca": {}}}
    mining |= {"attributes": names} if names else {}
    return attribute_pairs(RunSettings.model_validate({"mining": mining}), manifest)


def _sigmas(dataset: Dataset, cards: Sequence[DirectionCard]) -> list[float]:
    """The standard deviation of latents along each; the dataset's where a card has none."""
    lacking = [not (math.isfinite(card.sigma) and card.sigma > 0) for card in cards]
    if not any(lacking):
        return [card.sigma for card in cards]
    column, rows = latent_column(dataset.manifest), dataset.manifest.generator["num_ws"]
    latents = from_column(dataset.read([column]).column(column))
    flat = latents.reshape(len(latents), -1)
    shapes = _shapes(dataset.manifest)
    return [
        spread_along(flat, _direction(card), rows)
        if lacks and card.vector.shape in shapes and card.vector.size <= flat.shape[1]
        else card.sigma
        for card, lacks in zip(cards, lacking, strict=True)
    ]


def _shapes(manifest: Manifest) -> tuple[tuple[int, ...], ...]:
    """Of directions that can be added to W+."""
    about = manifest.generator
    return (about["w_dim"],), (about["num_ws"], about["w_dim"])


def _unfit(card: DirectionCard, manifest: Manifest, sigma: float) -> str:
    """Why a direction cannot be tried; "" where it can."""
    if card.generator_fingerprint != manifest.generator["fingerprint"]:
        return f"it is of another generator ({card.generator}) than the dataset"
    if card.artefact is not None:
        kind = card.artefact.kind
        return f"it is a {kind}, not one vector{INSTEAD.get(kind, '')}"
    if card.space not in SPACES:
        return f"it is of space {card.space}; expected {' or '.join(SPACES)}"
    if card.vector.shape not in _shapes(manifest):
        return f"its vector has shape {card.vector.shape}, which the generator's W+ does not take"
    if not (math.isfinite(sigma) and sigma > 0):
        return "the dataset's latents do not vary along it, so that a step has no length"
    return ""


def _by_effect(card: DirectionCard, change: float, sigma: float) -> tuple[float, str]:
    """Steps of norm 1 for a change of the own attribute; or why there are none."""
    if not math.isfinite(change):
        return math.nan, "nothing that is measured here with a population spread is its own"
    step = change / card.effect if card.effect else math.nan
    if card.calibration is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # beyond its range: a trial corrects it
            try:
                step = float(steps_for(card, change))
            except InputError as error:  # another program spoilt the calibration
                return math.nan, str(error)
    if not math.isfinite(step) or step == 0:
        return math.nan, "its card holds no response of its own attribute; `lode mine` measures it"
    if abs(step) > REACH * sigma:
        return math.nan, (
            f"it would take {abs(step) / sigma:.3g} sigma by its measured response, which is "
            f"beyond {REACH:g}"
        )
    return step, ""


def _ranked(cards: Sequence[DirectionCard]) -> set[str]:
    """The ids of those that stand for their method.

    Of the directions that a method mined for nothing, the one that moves an attribute most by one
    sigma stands for it; so a component is named by what was measured, not by eye.
    """
    best: dict[tuple[str, str], tuple[float, str]] = {}
    chosen = {card.direction_id for card in cards if not card.aimless}
    for card in cards:
        own = card.own
        if card.aimless and own is not None:
            strength = abs(own.relative) * card.sigma
            key = (card.method, own.attribute)
            if strength > best.get(key, (-np.inf, ""))[0]:
                best[key] = (strength, card.direction_id)
    return chosen | {name for _, name in best.values()}


def _direction(card: DirectionCard) -> Direction:
    return Direction(
        card.method,
        card.vector.astype(np.float64),
        card.slope,
        card.attribute,
        card.unit,
        card.space,
        card.layers,
    )
