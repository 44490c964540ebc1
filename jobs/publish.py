"""From what was mined and measured to direction cards and the report's data."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata

import numpy as np

from jobs.evaluation_stage import Evaluated, rescoring_config
from jobs.mining_data import mined_attributes
from jobs.mining_stage import Mined
from jobs.report.data import (
    DatasetFacts,
    LossCurve,
    ReportData,
    Stage,
    Strip,
    strip_of,
    summarise,
)
from mining.evaluation.rescoring import Rescored
from mining.evaluation.response import identity_cost, respond
from mining.evaluation.truth import truth_cosine
from mining.generators.base import KnownTruth, Truth
from mining.generators.registry import make_generator
from schemas.directions import DirectionCard, Provenance
from schemas.samples import Field
from schemas.settings import RunSettings
from storage.dataset import CAMERA, Dataset, attribute_fields, image_size
from storage.manifest import Manifest

RECORDED = ("numpy", "scipy", "torch", "dlib-bin", "opencv-contrib-python-headless", "pyarrow")
Pair = tuple[str, str]


def make_cards(
    settings: RunSettings, dataset: Dataset, mined: Mined, evaluated: Sequence[Evaluated]
) -> list[DirectionCard]:
    """One card per evaluated direction, in order."""
    manifest = dataset.manifest
    pairs = attribute_pairs(settings, manifest)
    spreads = _spreads(dataset, pairs)
    truth = known_truth(manifest)
    config = rescoring_config(settings.evaluation)
    cards = []
    for item in evaluated:
        direction = item.direction
        cosine = None
        if truth is not None:
            cosine = truth_cosine(truth, direction.attribute, direction.vector, direction.space)
        card = DirectionCard(
            attribute=direction.attribute,
            unit=direction.unit,
            method=direction.method,
            space=direction.space,
            layers=direction.layers,
            generator=manifest.generator["name"],
            generator_fingerprint=manifest.generator["fingerprint"],
            generator_licence=manifest.generator["licence"],
            vector=direction.vector.astype(np.float32),
            provenance=Provenance(
                dataset.dataset_id,
                settings.mining.seed,
                mined.settings[direction.method],
                code_version(),
                package_versions(),
            ),
            slope=direction.slope,
            sigma=item.sigma,
            responses=respond(item.rescored, pairs, spreads, config),
            identity_cost=identity_cost(item.rescored),
            truth_cosine=cosine,
            evidence={**direction.evidence, **_counts(item.rescored)},
        )
        cards.append(named(card) if card.aimless else card)
    return cards


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
        f"{own.per_step:.3g}{unit} per unit step{end}."
    )
    return replace(card, unit=own.unit, notes=note)


def make_report(
    settings: RunSettings,
    dataset: Dataset,
    mined: Mined,
    evaluated: Sequence[Evaluated],
    cards: Sequence[DirectionCard],
    stages: Sequence[Stage],
) -> ReportData:
    """Everything that the report shows."""
    pairs = attribute_pairs(settings, dataset.manifest)
    return ReportData(
        title=f"{len(cards)} directions of the {dataset.manifest.generator['name']} generator",
        created_at=datetime.now(UTC),
        settings=json.dumps(settings.model_dump(), indent=2),
        code_version=code_version(),
        dataset=dataset_facts(dataset, pairs),
        cards=tuple(cards),
        strips=_strips(cards, evaluated, pairs),
        curves=_curves(mined),
        stages=tuple(stages),
        packages=package_versions(),
        failures=dict(mined.failures),
    )


def publication_id(settings: RunSettings, dataset: Dataset, cards: Sequence[DirectionCard]) -> str:
    """32 hex digits over the directions and over everything that their measurements hang on.

    Publishing the same measurements of the same directions again is recognised; measuring them
    in another way is a publication of its own, and gives new versions.
    """
    parts = [
        sorted(card.direction_id for card in cards),
        settings.evaluation.model_dump(),
        sorted(attribute_pairs(settings, dataset.manifest)),
        dataset.manifest.identity["extractors"],
        package_versions(),
        code_version(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def attribute_pairs(settings: RunSettings, manifest: Manifest) -> dict[str, Pair]:
    """Attribute -> (extractor, column), as re-scoring names what it measures.

    Every scalar that the extractors measure, those that are mined first.
    """
    known = attribute_fields(manifest)
    short = [name for name, field in known.items() if name != field.name]
    names = dict.fromkeys([*mined_attributes(settings.mining), *short])
    return {name: _pair(known[name], manifest) for name in names}


def dataset_facts(dataset: Dataset, pairs: Mapping[str, Pair]) -> DatasetFacts:
    """What the report says of the dataset."""
    manifest = dataset.manifest
    first = manifest.extractors[0]["name"]
    counts = dataset.statuses()[first]
    rejects = {
        f"{first}: {status.replace('_', ' ')}": count
        for status, count in counts.items()
        if status not in ("ok", "several_faces")
    }
    licences = {f"generator {manifest.generator['name']}": manifest.generator["licence"]}
    licences |= {f"extractor {item['name']}": item["licence"] for item in manifest.extractors}
    columns = {name: dataset.field("_".join(pair)) for name, pair in pairs.items()}
    values = dataset.arrays([field.name for field in columns.values()])
    summaries = [
        summarise(name, field.unit, values[field.name], field.text)
        for name, field in columns.items()
    ]
    return DatasetFacts(
        dataset_id=dataset.dataset_id,
        url=dataset.url,
        rows=dataset.rows,
        rejects=rejects,
        generator=manifest.generator["name"],
        generator_fingerprint=manifest.generator["fingerprint"],
        resolution=manifest.generator["resolution"],
        image_size=image_size(manifest),
        licences=licences,
        attributes=tuple(summaries),
    )


def known_truth(manifest: Manifest) -> Truth | None:
    """The generator's truth, where it knows one."""
    if not any(field.name == "truth_parameters" for field in manifest.fields):
        return None  # without loading a checkpoint, perhaps where it has no GPU
    about = manifest.generator
    generator = make_generator(about["load"], **about["options"])
    return generator.truth() if isinstance(generator, KnownTruth) else None


def code_version() -> str:
    """The installed version of LatentLode."""
    try:
        return metadata.version("latentlode")
    except metadata.PackageNotFoundError:
        return "not installed"


def package_versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _pair(field: Field, manifest: Manifest) -> Pair:
    for extractor in manifest.extractors:
        if field.name.startswith(f"{extractor['name']}_"):
            return extractor["name"], field.name.removeprefix(f"{extractor['name']}_")
    if field.name in CAMERA:
        return "camera", field.name.removeprefix("camera_")
    raise AssertionError(f"{field.name} belongs to no extractor")  # attribute_fields saw to it


def _spreads(dataset: Dataset, pairs: Mapping[str, Pair]) -> dict[str, float]:
    """Standard deviation of each attribute over the dataset; NaN where nothing was measured."""
    values = dataset.arrays(["_".join(pair) for pair in pairs.values()])
    found = {}
    for name, pair in pairs.items():
        known = values["_".join(pair)].astype(np.float64)
        known = known[np.isfinite(known)]
        found[name] = float(known.std()) if len(known) else float("nan")
    return found


def _counts(rescored: Rescored) -> dict[str, float]:
    """How many identities were edited, and how many of the edited images could be measured."""
    seen = [extractor != "camera" for extractor, _ in rescored.pairs]  # a camera always has angles
    edited = rescored.values[:, rescored.steps != 0]
    measured = np.isfinite(edited[..., seen]).any(axis=2)
    return {
        "identities": float(len(edited)),
        "edits": float(measured.size),
        "edits_measured": float(measured.sum()),
    }


def _strips(
    cards: Sequence[DirectionCard], evaluated: Sequence[Evaluated], pairs: Mapping[str, Pair]
) -> tuple[Strip, ...]:
    both = zip(cards, evaluated, strict=True)
    owns = ((card, item, card.own.attribute if card.own else card.attribute) for card, item in both)
    return tuple(strip_of(card, item.rescored, pairs.get(own)) for card, item, own in owns)


def _curves(mined: Mined) -> tuple[LossCurve, ...]:
    if mined.control is None:
        return ()
    regressor = mined.control.regressor
    return (
        LossCurve(
            "regressor w -> q",
            "landmarks' squared error plus the codes' own",
            tuple(regressor.train_loss),
            tuple(regressor.held_out_loss),
        ),
    )
