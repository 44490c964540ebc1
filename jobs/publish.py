"""A run's publication, and the report's data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from jobs.attributes import attribute_pairs
from jobs.evaluation_stage import Evaluated, rescoring_config
from jobs.learned_cards import artefact_facts, loss_curves
from jobs.mining_data import MiningData, labels_of
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
from jobs.report.response_curves import response_curves
from jobs.report.shape_data import ShapeFacts
from jobs.versions import code_version, package_versions
from mining.evaluation.identity import identity_change
from mining.evaluation.rescoring import RescoringConfig
from mining.evaluation.scalars import Pair
from mining.evaluation.stability import Stability
from mining.labels import Label, attribute_values, with_labels
from mining.methods.registry import DRAWN
from schemas.directions import DirectionCard
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.dataset import Dataset, image_size
from storage.duplicates import Duplicate


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
    config = rescoring_config(settings.evaluation)
    return ReportData(
        title=f"{len(cards)} directions of the {dataset.manifest.generator['name']} generator",
        created_at=datetime.now(UTC),
        settings=json.dumps(settings.model_dump(), indent=2),
        code_version=code_version(),
        dataset=dataset_facts(dataset, pairs, labels_of(settings.mining)),
        cards=tuple(cards),
        strips=_strips(cards, evaluated, pairs),
        curves=_curves(mined),
        stages=tuple(stages),
        packages=package_versions(dataset.manifest),
        failures=dict(mined.failures),
        skipped=dict(mined.skipped),
        response_curves=response_curves(
            cards, [item.rescored for item in evaluated], pairs, config
        ),
        stability=_stability(cards, mined),
        identity=_identity(cards, evaluated, config),
        artefacts=tuple(artefact_facts(mined)),
    )


def _identity(
    cards: Sequence[DirectionCard], evaluated: Sequence[Evaluated], config: RescoringConfig
) -> dict[str, tuple[float, float, float]]:
    """By direction_id, of those along which faces could be compared."""
    both = zip(cards, evaluated, strict=True)
    found = {card.direction_id: identity_change(item.rescored, config) for card, item in both}
    return {key: told for key, told in found.items() if math.isfinite(told[0])}


def _stability(cards: Sequence[DirectionCard], mined: Mined) -> dict[str, Stability]:
    """By direction_id, of those that were mined again."""
    named = {card.direction_id: (card.method, card.attribute) for card in cards}
    return {key: mined.stability[name] for key, name in named.items() if name in mined.stability}


def publication_id(settings: RunSettings, dataset: Dataset, cards: Sequence[DirectionCard]) -> str:
    """32 hex digits over the directions and over everything that their measurements hang on.

    Publishing the same measurements of the same directions again is recognised; measuring them
    in another way is a publication of its own, and gives new versions; so is measuring a stability
    for which a worker was lost before.
    """
    parts = [
        sorted(card.direction_id for card in cards),
        settings.evaluation.model_dump(),
        settings.mining.stability.model_dump(),
        sorted(card.direction_id for card in cards if math.isfinite(card.stability)),
        sorted(attribute_pairs(settings, dataset.manifest)),
        dataset.manifest.identity["extractors"],
        package_versions(dataset.manifest),
        code_version(),
        *sorted((name, made.expression.text) for name, made in labels_of(settings.mining).items()),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def dataset_facts(
    dataset: Dataset, pairs: Mapping[str, Pair], labels: Mapping[str, Label]
) -> DatasetFacts:
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
    known = with_labels(manifest, labels)
    summaries = [
        summarise(name, known[name].unit, values, known[name].text)
        for name, values in attribute_values(dataset, pairs, labels).items()
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


def _strips(
    cards: Sequence[DirectionCard], evaluated: Sequence[Evaluated], pairs: Mapping[str, Pair]
) -> tuple[Strip, ...]:
    both = zip(cards, evaluated, strict=True)
    owns = ((card, item, card.own.attribute if card.own else card.attribute) for card, item in both)
    return tuple(strip_of(card, item.rescored, pairs.get(own)) for card, item, own in owns)


def publish_cards(
    catalog: Catalog, settings: RunSettings, dataset: Dataset, cards: Sequence[DirectionCard]
) -> tuple[list[DirectionCard], tuple[Duplicate, ...]]:
    """Publish in one commit; the cards with their versions there, and near-duplicates."""
    name = publication_id(settings, dataset, cards)
    done = catalog.publish(cards, name)
    standing = {card.direction_id: card for card in catalog.publication(name)}
    numbered = [replace(card, version=standing[card.direction_id].version) for card in cards]
    return numbered, _unexpected(done.duplicates or (), cards)


def _unexpected(
    duplicates: Sequence[Duplicate], cards: Sequence[DirectionCard]
) -> tuple[Duplicate, ...]:
    """Less those among the random control's directions: they are one vector but for its sign."""
    drawn = {card.direction_id for card in cards if card.method in DRAWN}
    return tuple(pair for pair in duplicates if not {pair.direction_id, pair.other} <= drawn)


def shape_of(mined: Mined, data: MiningData, dataset: Dataset, seed: int) -> ShapeFacts | None:
    """What the report shows of the shape model; None where no method needed one.

    Raises:
        LodeError: a shard's thumbnails cannot be read, or the rows say nothing of the model.
    """
    if mined.control is None:
        return None
    from jobs.report.shape_facts import shape_facts, thumbnails_of
    from mining.methods.row_parts import usable_rows

    landmarks, rows = data.landmarks, usable_rows(data.landmarks)
    if np.isfinite(landmarks[~rows]).all(axis=(1, 2)).any():  # measured, and all on one line
        landmarks = np.where(rows[:, None, None], landmarks, np.float32(np.nan))
    pictures = thumbnails_of(dataset)
    checks = vars(mined.checks) if mined.checks else {}
    return shape_facts(mined.control, data.latents, landmarks, pictures, seed=seed, **checks)


def _curves(mined: Mined) -> tuple[LossCurve, ...]:
    learned = loss_curves(mined)
    if mined.control is None:
        return tuple(learned)
    regressor = mined.control.regressor
    own = LossCurve(
        "regressor w -> q",
        "landmarks' squared error plus the codes' own",
        tuple(regressor.train_loss),
        tuple(regressor.held_out_loss),
    )
    return own, *learned
