"""What learned methods leave beside directions' cards: files, the cards of files, loss curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from jobs.cards import artefact_of, card_of
from jobs.evaluation_stage import LearnedFile
from jobs.mining_stage import Mined
from jobs.report.data import ArtefactFacts, LossCurve
from mining.methods.direction_matrix import ARTEFACT
from mining.methods.learned import Learned
from mining.methods.registry import LEARNED_METHODS
from schemas.directions import DirectionCard
from storage import artefacts
from storage.dataset import Dataset
from storage.files import Store

PLACE = "results/{}.safetensors"  # under the run's folder, for each learned method


def files_of(mined: Mined) -> dict[str, LearnedFile]:
    """The artefacts that directions name, by their SHA-256."""
    return {artefact_of(each).sha256: (each.kind, each.artefact) for each in mined.learned.values()}


def keep_artefacts(mined: Mined, catalog_url: str, out: str) -> None:
    """Put every artefact into the catalogue, before a card names it, and beside the results.

    Raises:
        StorageError: one cannot be written.
    """
    store = Store(out)
    for method in LEARNED_METHODS:
        learned = mined.learned.get(method)
        if learned is None:
            store.remove(PLACE.format(method))  # of an earlier run
            continue
        artefacts.put(catalog_url, learned.artefact, learned.kind)
        store.replace(PLACE.format(method), learned.artefact)


def artefact_cards(dataset: Dataset, mined: Mined, seed: int) -> list[DirectionCard]:
    """A card for each artefact that several directions come from: a whole matrix."""
    return [
        _matrix_card(dataset, learned, mined.settings[method], seed)
        for method, learned in mined.learned.items()
        if learned.kind == "matrix"
    ]


def _matrix_card(dataset: Dataset, learned: Learned, settings: str, seed: int) -> DirectionCard:
    first = learned.directions[0]
    named = ", ".join(f"{made.attribute} ({made.unit})" for made in learned.directions)
    note = (
        f"The whole matrix of {named}. `lode edit matrix` changes several at once, or transfers "
        "them from one latent to another; each column is a direction of its own."
    )
    return replace(
        card_of(dataset, first, math.nan, settings, seed, None),
        attribute=ARTEFACT,
        unit="1",
        vector=np.empty(0, np.float32),
        slope=math.nan,
        artefact=artefact_of(learned),
        evidence=_finite(learned.evidence),
        notes=note,
    )


def _finite(evidence: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence.items() if math.isfinite(value)}


def artefact_facts(mined: Mined) -> list[ArtefactFacts]:
    """What the report says of the files."""
    return [
        ArtefactFacts(
            method,
            *(learned.kind, PLACE.format(method)),
            *(artefact_of(learned).sha256, len(learned.artefact)),
            tuple(made.attribute for made in learned.directions),
            _finite(learned.evidence),
        )
        for method, learned in mined.learned.items()
    ]


def loss_curves(mined: Mined) -> list[LossCurve]:
    """The losses of every training, by epoch."""
    return [
        LossCurve(_title(method, curve.title), curve.loss, curve.training, curve.held_out)
        for method, learned in mined.learned.items()
        for curve in learned.curves
    ]


def _title(method: str, title: str) -> str:
    """A curve's title that says which method's it is."""
    words = method.replace("_", " ")
    return title if words in title.lower() else f"{words}: {title[:1].lower()}{title[1:]}"
