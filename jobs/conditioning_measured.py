"""Measuring directions of a finished run again: its evaluation, on identities of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import ValidationError

from jobs.cards import make_cards
from jobs.cluster import ray_session
from jobs.evaluation_stage import evaluate
from jobs.mining_data import labels_of
from jobs.mining_stage import Mined
from mining.methods.base import Direction
from mining.stored import latent_column
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store


@dataclass(frozen=True)
class Measurer:
    """Re-scores cards as a run's settings say; Ray starts when it is first asked."""

    dataset: Dataset
    settings: RunSettings

    def on_others(self) -> Measurer:
        """The same on the next seed's identities."""
        own = self.settings.evaluation
        changed = own.model_copy(update={"seed": own.seed + 1})
        return replace(self, settings=self.settings.model_copy(update={"evaluation": changed}))

    def cards(self, cards: Sequence[DirectionCard]) -> list[DirectionCard]:
        """The same directions with what was measured along them, in order.

        Raises:
            RunError: a worker failed.
        """
        if not cards:
            return []
        column = latent_column(self.dataset.manifest)
        latents = self.dataset.arrays([column])[column]
        settings = self.settings
        with ray_session(settings.engine):
            evaluated = evaluate(
                self.dataset.manifest,
                latents.reshape(len(latents), -1).astype(np.float32),
                [_direction(card) for card in cards],
                settings.evaluation,
                settings.engine,
                labels_of(settings.mining),
            )
        told = {card.method: "{}" for card in cards}  # the cards keep their own
        mined = Mined(tuple(_direction(card) for card in cards), told, None, {})
        made = make_cards(settings, self.dataset, mined, evaluated)
        return [
            replace(new, provenance=old.provenance, notes=old.notes)
            for new, old in zip(made, cards, strict=True)
        ]


def measurer_of(
    run: str, dataset: Dataset, identities: int | None = None, seed: int | None = None
) -> Measurer:
    """As the run measured its directions, on identities that it did not use.

    Args:
        run: the run's URL.
        identities: how many; as many as the run for None.
        seed: of the identities; the next after the run's for None, so that none of those tells
            twice.

    Raises:
        InputError: the run has no settings to go by.
    """
    settings = run_settings(run)
    own = settings.evaluation
    changed = own.model_copy(
        update={
            "seed": own.seed + 1 if seed is None else seed,
            "identities": identities or own.identities,
            "strips": 0,
        }
    )
    return Measurer(dataset, settings.model_copy(update={"evaluation": changed}))


def run_settings(run: str) -> RunSettings:
    """What a finished run was told; InputError where its results are not there or no settings."""
    from jobs.report.files import NUMBERS

    name = f"results/{NUMBERS}"
    store = Store(run)
    if not store.exists(name):
        raise InputError(
            f"condition: the run {run} has no {name}; expected the --out of a finished `lode mine`."
        )
    try:
        said = json.loads(store.read(name))["settings"]
        return RunSettings.model_validate(json.loads(said) if isinstance(said, str) else said)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"condition: {name} of {run} holds no settings of a run.") from error


def _direction(card: DirectionCard) -> Direction:
    return Direction(
        method=card.method,
        vector=np.asarray(card.vector, np.float64),
        slope=card.slope,
        attribute=card.attribute,
        unit=card.unit,
        space=card.space,
        layers=card.layers,
        evidence=dict(card.evidence),
    )
