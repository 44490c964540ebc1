"""Anchors of a micromotion: latents of an identity at several degrees of an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mining.editing.analytic import edit_to_attribute
from mining.methods.control import ControlModel
from mining.methods.readout import Readout
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Anchors:
    """M latents of P identities, each at a degree of one attribute."""

    latents: Array  # (M, D)
    degrees: Array  # (M,) in the attribute's unit, or 0 to 1 where words say them
    identity: NDArray[np.int64]  # (M,) the row of `starts` that an anchor belongs to
    starts: Array  # (P, D) what an identity's moves are counted from
    evidence: Mapping[str, float] = field(default_factory=dict)  # how well they were made

    def __post_init__(self) -> None:
        rows = len(self.latents)
        pairs = self.latents.ndim == self.starts.ndim == 2 and rows > 0
        if not pairs or self.latents.shape[1] != self.starts.shape[1]:
            raise InputError(
                f"anchors: latents {self.latents.shape} and starts {self.starts.shape} came; "
                "expected (M, D) and (P, D), M > 0."
            )
        if self.degrees.shape != (rows,) or self.identity.shape != (rows,):
            raise InputError(
                f"anchors: degrees {self.degrees.shape} and identities {self.identity.shape} came "
                f"for {rows} latents; expected one of each."
            )
        if not all(np.isfinite(part).all() for part in (self.latents, self.degrees, self.starts)):
            raise InputError("anchors: latents, starts or degrees hold NaN or infinity.")
        if not np.array_equal(np.unique(self.identity), np.arange(len(self.starts))):
            raise InputError(f"anchors: each of {len(self.starts)} starts needs an anchor.")
        if not self.moves.any():
            raise InputError(
                f"anchors: all {rows} equal their start; whatever made them moves nothing."
            )

    @property
    def moves(self) -> Array:
        """(M, D) anchors minus their start."""
        return self.latents - self.starts[self.identity]

    def of(self, person: int) -> Anchors:
        """The anchors of one identity."""
        rows = self.identity == person
        return Anchors(
            self.latents[rows],
            self.degrees[rows],
            np.zeros(int(rows.sum()), np.int64),
            self.starts[person : person + 1],
        )


class AnchorSource(Protocol):
    """Makes anchors; holds what it needs. Calls change nothing."""

    def __call__(self) -> Anchors:
        """The same anchors at every call."""
        ...


@dataclass(frozen=True)
class AttributeAnchors:
    """Pushes start codes to degrees of an attribute by the analytic edit through the regressor."""

    control: ControlModel
    readout: Readout
    starts: Array  # (P, D)
    targets: Array  # (A,) degrees, in the attribute's unit
    steps: int = 8  # of the edit

    def __call__(self) -> Anchors:
        """P x A anchors, with `missed` (mean distance from the degree, in its unit) as evidence."""
        people = len(self.starts)
        first = np.repeat(self.starts, len(self.targets), axis=0)
        wanted = np.tile(self.targets, people)
        edit = edit_to_attribute(self.control.regressor, first, self.readout, wanted, self.steps)
        missed = float(np.abs(edit.attribute - wanted).mean())
        who = np.repeat(np.arange(people), len(self.targets))
        return Anchors(edit.latents, wanted, who, self.starts, {"missed": missed})


def even_degrees(scores: Array, count: int, spread: float) -> Array:
    """(count,) evenly spaced scores between two quantiles, or the ends where the quantiles tie.

    One alone is the highest: what an edit to the full attribute would ask for.

    Args:
        spread: share of the scores that they span.
    """
    tails = (1 - spread) / 2
    lowest, highest = np.quantile(scores, [tails, 1 - tails])
    if not lowest < highest:
        lowest, highest = scores.min(), scores.max()
    return np.linspace(lowest, highest, count) if count > 1 else np.array([highest])


def central_starts(latents: Array, identities: int) -> Array:
    """(P, D): the mean latent, or the rows nearest to it, nearest first."""
    centre = latents.mean(axis=0)
    if identities == 1:
        return centre[None]
    distance = ((latents - centre) ** 2).sum(axis=1)
    return latents[np.argsort(distance, kind="stable")[:identities]]
