"""From what was mined and measured to direction cards."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jobs.attributes import attribute_pairs, spreads_of, true_name
from jobs.evaluation_stage import Evaluated, rescoring_config
from jobs.mining_data import labels_of
from jobs.mining_stage import Mined
from jobs.versions import code_version, package_versions
from mining.evaluation.calibration import CalibrationConfig, calibrate
from mining.evaluation.rescoring import Rescored, RescoringConfig
from mining.evaluation.response import identity_interval, leak_interval, respond
from mining.evaluation.scalars import UNSEEN, Pair
from mining.evaluation.truth import truth_cosine
from mining.generators.base import KnownTruth, Truth
from mining.generators.registry import make_generator
from mining.labels import Label
from mining.methods.base import Direction
from mining.methods.learned import Learned
from mining.methods.naming import name_of
from schemas.directions import Artefact, DirectionCard, Provenance, Response
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.manifest import Manifest


def make_cards(
    settings: RunSettings, dataset: Dataset, mined: Mined, evaluated: Sequence[Evaluated]
) -> list[DirectionCard]:
    """One card per evaluated direction, in order."""
    pairs = attribute_pairs(settings, dataset.manifest)
    labels = labels_of(settings.mining)
    spreads = spreads_of(dataset, pairs, labels)
    truth = known_truth(dataset.manifest)
    config = rescoring_config(settings.evaluation)
    cards = []
    for item in evaluated:
        direction, rescored = item.direction, item.rescored
        told = settings_of(mined.settings[direction.method], labels.get(direction.attribute))
        card = replace(
            card_of(dataset, direction, item.sigma, told, settings.mining.seed, truth),
            responses=respond(rescored, pairs, spreads, config),
            evidence={**direction.evidence, **_counts(rescored)},
            **_costs(rescored, config),
            **_steadiness(mined, direction),
            **_file(mined, direction),
        )
        card = named(card) if card.aimless else _in_own_unit(card)
        card = _calibrated(card, rescored, pairs, config)
        cards.append(_with_leak(card, rescored, pairs, config))
    return cards


def card_of(
    dataset: Dataset,
    direction: Direction,
    sigma: float,
    settings: str,
    seed: int,
    truth: Truth | None,
) -> DirectionCard:
    """The card of a direction that was mined and not measured on images.

    Args:
        sigma: standard deviation of the dataset's latents along it.
        settings: JSON of what it was mined with.
        truth: of the dataset's generator, where it is known.
    """
    generator = dataset.manifest.generator
    known = None
    if truth is not None:
        name = true_name(direction.attribute, dataset.manifest, truth.names)
        known = truth_cosine(truth, name, direction.vector, direction.space)
    return DirectionCard(
        attribute=direction.attribute,
        unit=direction.unit,
        method=direction.method,
        space=direction.space,
        layers=direction.layers,
        generator=generator["name"],
        generator_fingerprint=generator["fingerprint"],
        generator_licence=generator["licence"],
        vector=direction.vector.astype(np.float32),
        provenance=Provenance(
            dataset.dataset_id, seed, settings, code_version(), package_versions(dataset.manifest)
        ),
        slope=direction.slope,
        sigma=sigma,
        truth_cosine=known,
        evidence=dict(direction.evidence),
    )


def settings_of(method: str, label: Label | None, where: str | None = None) -> str:
    """The JSON of a method's settings; with the label's expression, and the rows that were read."""
    more = {} if label is None else {"label": label.expression.text}
    more |= {} if where is None else {"where": where}
    return json.dumps({**json.loads(method), **more}, sort_keys=True) if more else method


def named(card: DirectionCard) -> DirectionCard:
    """An aimless direction with a note of what it moves most, and the unit of that."""
    own = card.own
    if own is None:
        note = (
            "Mined without an attribute; what it moves is not known: of those measured both in the "
            "dataset and along it, there is none or none moves."
        )
        return replace(card, notes=note)
    end = f", 95 % {own.low:.3g} to {own.high:.3g}" if math.isfinite(own.low + own.high) else ""
    unit = "" if own.unit == "1" else f" {own.unit}"
    note = (
        f"Mined without an attribute; of those measured it moves {own.attribute} most: "
        f"{own.per_step:.3g}{unit} per unit step{end}{_sureness(card, own)}."
    )
    return replace(card, unit=own.unit, notes=note)


def _sureness(card: DirectionCard, own: Response) -> str:
    """How far the name of an aimless direction holds; "" where no interval was measured."""
    if not math.isfinite(own.low + own.high):
        return ""
    found = name_of(card.responses)
    if found.attribute == own.attribute:
        return f", {100 * found.purity:.0f} % of its squared response"
    surer = f", what it moves for sure is {found.attribute}" if found.attribute else ""
    return f"; its interval holds 0{surer}"


def known_truth(manifest: Manifest) -> Truth | None:
    """The generator's truth, where it knows one."""
    if not any(field.name == "truth_parameters" for field in manifest.fields):
        return None  # without loading a checkpoint, perhaps where it has no GPU
    about = manifest.generator
    generator = make_generator(about["load"], **about["options"])
    return generator.truth() if isinstance(generator, KnownTruth) else None


def artefact_of(learned: Learned) -> Artefact:
    """What a card says of a learned method's file."""
    sha256 = hashlib.sha256(learned.artefact).hexdigest()
    return Artefact(learned.kind, sha256, len(learned.artefact))


def _file(mined: Mined, direction: Direction) -> dict[str, Any]:
    """The file that edits in the vector's place, by the card's names; nothing where none does."""
    if not direction.artefact:
        return {}
    artefact = artefact_of(mined.learned[direction.method])
    return {"artefact": artefact, "vector": np.empty(0, np.float32)}


def _in_own_unit(card: DirectionCard) -> DirectionCard:
    """The card in the unit that its attribute is measured in, where it was fitted in another.

    A matrix's smile counts standard deviations of a shape model, a measured one millimetres.
    """
    if card.own is None or card.own.unit == card.unit:
        return card
    note = f"Fitted in {card.unit}, {card.slope:.3g} of them per unit step."
    return replace(card, unit=card.own.unit, slope=math.nan, notes=note)


def _costs(rescored: Rescored, config: RescoringConfig) -> dict[str, float]:
    """The cost in identity with its interval, by the card's names."""
    mean, low, high = identity_interval(rescored, config)
    return {"identity_cost": mean, "identity_cost_low": low, "identity_cost_high": high}


def _steadiness(mined: Mined, direction: Direction) -> dict[str, float]:
    """The stability, by the card's names; nothing where it was not measured."""
    found = mined.stability.get((direction.method, direction.attribute))
    if found is None:
        return {}
    return {"stability": found.mean, "stability_low": found.low, "stability_high": found.high}


def _calibrated(
    card: DirectionCard, rescored: Rescored, pairs: Mapping[str, Pair], config: RescoringConfig
) -> DirectionCard:
    """The card with its response curve, where its own attribute answers to it."""
    if card.own is None:
        return card
    curve = calibrate(rescored, pairs[card.own.attribute], CalibrationConfig(seed=config.seed))
    return replace(card, calibration=curve)


def _with_leak(
    card: DirectionCard, rescored: Rescored, pairs: Mapping[str, Pair], config: RescoringConfig
) -> DirectionCard:
    """The card with the interval of its leak, where there is a leak."""
    if card.own is None or not math.isfinite(card.leak):
        return card
    spreads = {moved.attribute: moved.spread for moved in card.responses}
    low, high = leak_interval(rescored, pairs, spreads, card.own.attribute, config)
    return replace(card, leak_low=low, leak_high=high)


def _counts(rescored: Rescored) -> dict[str, float]:
    """How many identities were edited, and how many of the edited images could be measured."""
    seen = [extractor not in UNSEEN for extractor, _ in rescored.pairs]
    edited = rescored.values[:, rescored.steps != 0]
    measured = np.isfinite(edited[..., seen]).any(axis=2)
    return {
        "identities": float(len(edited)),
        "edits": float(measured.size),
        "edits_measured": float(measured.sum()),
    }
