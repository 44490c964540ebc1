"""The direction card: what one published direction is, how it was made and what was measured."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Response:
    """How one attribute answers to one unit step along the direction (a row of re-scoring)."""

    attribute: str
    unit: str
    per_step: float  # change in the attribute's own unit for a step of norm 1; NaN if unmeasured
    low: float  # 95 % bootstrap interval of per_step
    high: float
    spread: float  # standard deviation of the attribute over the dataset

    @property
    def relative(self) -> float:
        """The change in units of the attribute's population spread."""
        return self.per_step / self.spread if self.spread > 0 else float("nan")


@dataclass(frozen=True)
class Provenance:
    """How a direction was made."""

    dataset_id: str
    seed: int
    settings: str  # JSON of the method's settings
    code_version: str
    packages: Mapping[str, str] = field(default_factory=dict)  # name -> version
    created_at: datetime | None = None  # UTC; set at publication


@dataclass(frozen=True)
class Artefact:
    """A safetensors file that a card stands for: what is no single vector."""

    kind: str  # "matrix", "regressor" or "flow"
    sha256: str  # 64 hex digits; the file's name in the catalogue
    bytes: int


@dataclass(frozen=True)
class Calibration:
    """How far to step for a wanted change of the attribute, and where that holds."""

    step: float  # steps of norm 1 for one unit of the attribute; its sign is the effect's
    low: float  # the change in the attribute's unit down to which it was seen to hold, <= 0
    high: float  # and up to which, >= 0
    values: tuple[float, ...] = ()  # the measured curve: the mean change of the attribute ...
    steps: tuple[float, ...] = ()  # ... after these steps of norm 1; both ascend through (0, 0)
    monotonic: float = math.nan  # share of held-out identities whose own curve never turns back
    error: float = math.nan  # mean |landed - asked| / |asked| on identities it was not fitted to


@dataclass(frozen=True)
class DirectionCard:
    """One direction of the catalogue, or an artefact that yields directions."""

    attribute: str
    unit: str  # of `effect`
    method: str
    space: str  # "z", "w", "w+" or "s"
    generator: str
    generator_fingerprint: str
    generator_licence: str
    vector: NDArray[np.float32]  # (D,) or (num_ws, D), Frobenius norm 1; (0,) of an artefact
    provenance: Provenance
    layers: tuple[int, ...] = ()  # rows of W+ that it is applied to; empty means all
    slope: float = float("nan")  # as fitted: unit of the attribute per step of norm 1
    sigma: float = float("nan")  # standard deviation of the dataset's latents along the vector
    responses: tuple[Response, ...] = ()
    leak_low: float = float("nan")  # 95 % bootstrap interval of `leak`
    leak_high: float = float("nan")
    identity_cost: float = float("nan")  # mean face-descriptor distance after a step of sigma
    identity_cost_low: float = float("nan")  # 95 % bootstrap interval
    identity_cost_high: float = float("nan")
    stability: float = float("nan")  # mean cosine between the directions of a dataset's halves
    stability_low: float = float("nan")  # smallest and largest of them
    stability_high: float = float("nan")
    calibration: Calibration | None = None
    artefact: Artefact | None = None
    truth_cosine: float | None = None  # cosine to the true direction, where the truth is known
    evidence: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    source: str = ""  # of a direction that was imported: the file, repository or paper
    licence: str = ""  # of such a direction itself, beside the generator's
    publication_id: str = ""  # set at publication
    version: int | None = None  # derived when read: rank within the lineage, from 1
    tags: tuple[str, ...] = ()  # derived when read: what points at this version, sorted

    @property
    def lineage(self) -> tuple[str, str, str, str]:
        """What successive versions of one direction share."""
        return (self.generator_fingerprint, self.space, self.attribute, self.method)

    @property
    def direction_id(self) -> str:
        """32 hex digits from the content: lineage, layers, dataset, settings and the vector."""
        head = [*self.lineage, list(self.layers), list(self.vector.shape)]
        made = [self.provenance.dataset_id, self.provenance.seed, self.provenance.settings]
        made += [self.artefact.sha256] if self.artefact else []
        digest = hashlib.sha256(json.dumps([head, made], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.vector, "<f4").tobytes())
        return digest.hexdigest()[:32]

    def response(self, attribute: str) -> Response | None:
        """The response of one attribute, None where it was not measured."""
        return next((r for r in self.responses if r.attribute == attribute), None)

    @property
    def aimless(self) -> bool:
        """Whether it was mined for no attribute: none was fitted, none of its name is measured.

        What was imported has the attribute that its source says.
        """
        unknown = math.isnan(self.slope) and self.response(self.attribute) is None
        return unknown and not self.source

    @property
    def own(self) -> Response | None:
        """The response of its own attribute; of an aimless direction the strongest, in spreads.

        What an aimless one leaves where it is, as a camera, is not what it moves.
        """
        if not self.aimless:
            return self.response(self.attribute)
        known = [r for r in self.responses if math.isfinite(r.relative) and r.relative]
        return max(known, key=lambda response: abs(response.relative), default=None)

    @property
    def effect_on(self) -> str | None:
        """The attribute that `effect` is of: for an aimless direction not its own name."""
        return self.own.attribute if self.own else None

    @property
    def effect(self) -> float:
        """The change of `own` per step of norm 1, in `unit`; NaN where unmeasured."""
        return self.own.per_step if self.own else float("nan")

    @property
    def effect_low(self) -> float:
        """Lower end of the 95 % bootstrap interval of `effect`."""
        return self.own.low if self.own else float("nan")

    @property
    def effect_high(self) -> float:
        """Upper end of the 95 % bootstrap interval of `effect`."""
        return self.own.high if self.own else float("nan")

    @property
    def effect_relative(self) -> float:
        """`effect` in units of the attribute's population spread."""
        return self.own.relative if self.own else float("nan")

    @property
    def leak(self) -> float:
        """Root mean square of the other attributes' relative responses over the own one's."""
        own = self.own
        others = [] if own is None else [r for r in self.responses if r.attribute != own.attribute]
        finite = [r.relative for r in others if np.isfinite(r.relative)]
        if own is None or not finite or not own.relative:
            return float("nan")
        with np.errstate(over="ignore"):  # a leak beyond all numbers is infinite
            return float(np.sqrt(np.mean(np.square(finite))) / abs(own.relative))
