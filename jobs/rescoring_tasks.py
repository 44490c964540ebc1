"""What the workers of `lode rescore` do: draw held-out images, edit them, measure them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.instruments import open_instruments
from jobs.placement import hide_gpus
from mining.evaluation.rescoring import (
    Bases,
    Measured,
    RescoringConfig,
    measure_bases,
    rescore,
)
from mining.evaluation.scalars import measured_pairs
from mining.labels import Label
from mining.latents import Latents, shard_latents
from mining.methods.base import Direction
from storage.dataset import image_size
from storage.manifest import Manifest

Array = NDArray[np.float64]

RESCORED = 2**34  # a shard number that no dataset, evaluation or control table reaches
SPARE = 2  # candidates per image: one without a measurable face is passed over


@dataclass(frozen=True)
class Part:
    """Some of the held-out images; what they are hangs on its number and the seed alone."""

    number: int
    images: int


@dataclass(frozen=True)
class Kept:
    """What is stored of a part's unedited images."""

    picked: NDArray[np.int64]  # (n,) rows of the candidates
    values: Array  # (n, A)
    descriptors: Array  # (n, E)


@dataclass(frozen=True)
class Edit:
    """One direction and how far to go along it."""

    direction: Direction
    step: float  # steps of norm 1, not 0


class Rescorer:
    """Edits and measures; one per worker. Loads generator and extractors once.

    Args:
        seed: of the held-out images.
        gpus: what Ray gives it; with 0 it sees none. None leaves them as they are.
        labels: attributes of the user's own, measured as the extractors' columns are.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        seed: int,
        gpus: float | None = None,
        labels: Mapping[str, Label] | None = None,
    ):
        if gpus == 0:
            hide_gpus()
        manifest = Manifest(content)
        self._generator, self._extractors, descriptor = open_instruments(manifest, True, labels)
        self._config = RescoringConfig(
            steps=(1.0,),
            thumbnails=0,
            descriptor=descriptor,
            image_size=image_size(manifest),
        )
        self._sampling = {**manifest.settings, "seed": seed}

    def bases(self, part: Part, kept: Kept | None = None) -> tuple[Kept, Bases]:
        """A part's unedited images: the first candidates whose face is measured.

        Fewer than `part.images` where too few of the candidates have one.

        Args:
            kept: of an earlier run; nothing is rendered then.
        """
        latents = shard_latents(
            self._generator, self._sampling, RESCORED + part.number, SPARE * part.images
        )
        if kept is None:
            kept = self._kept(latents, part.images)
        condition = None if latents.condition is None else latents.condition[kept.picked]
        pairs, units = measured_pairs(self._generator, self._extractors)
        measured = Measured(kept.values, kept.descriptors, {})
        return kept, Bases(latents.w_plus[kept.picked], condition, pairs, units, measured, ())

    def edit(
        self, index: int, number: int, bases: Bases, edit: Edit
    ) -> tuple[int, int, tuple[Array, Array]]:
        """Edit a part's images once; `index` and `number` come back with the result.

        Returns:
            (n, A) what is measured after the edit, and (n,) the cosines of the face descriptors.
        """
        done = rescore(
            self._generator,
            self._extractors,
            np.sign(edit.step) * edit.direction.vector,
            abs(edit.step),
            bases,
            replace(self._config, identities=len(bases.w_plus)),
            edit.direction.layers,
        )
        return index, number, (done.values[:, -1], done.cosines[:, -1])

    def _kept(self, latents: Latents, wanted: int) -> Kept:
        """Measure candidates until `wanted` have a face, or none is left."""
        found: list[Kept] = []
        tried = have = 0
        while have < wanted and tried < len(latents.w_plus):
            rows = np.arange(tried, min(tried + wanted - have, len(latents.w_plus)))
            bases = self._measure(latents, rows)
            # honest where nothing is found at all: the first candidates stand, without numbers
            seen = bases.seen if bases.seen.any() or tried else np.ones(len(rows), bool)
            values, descriptors = bases.measured.values, bases.measured.descriptors
            found.append(Kept(rows[seen], values[seen], descriptors[seen]))
            tried, have = tried + len(rows), have + int(seen.sum())
        columns = zip(*((k.picked, k.values, k.descriptors) for k in found), strict=True)
        return Kept(*map(np.concatenate, columns))

    def _measure(self, latents: Latents, rows: NDArray[np.int64]) -> Bases:
        condition = None if latents.condition is None else latents.condition[rows]
        return measure_bases(
            self._generator, self._extractors, latents.w_plus[rows], self._config, condition
        )
