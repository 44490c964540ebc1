"""Everything that a report shows, as plain values that can be stored and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

from jobs.report.response_curves import ResponseCurve
from jobs.report.shape_data import ShapeFacts
from mining.evaluation.rescoring import Pair, Rescored
from mining.evaluation.stability import Stability
from schemas.directions import DirectionCard

NAN = float("nan")


@dataclass(frozen=True)
class AttributeSummary:
    """One measured attribute over the dataset."""

    name: str
    unit: str
    text: str  # one sentence on what it measures
    count: int  # rows that carry a value
    mean: float
    spread: float  # standard deviation
    low: float
    high: float
    edges: tuple[float, ...] = ()  # B + 1 edges of the histogram, in the attribute's unit
    counts: tuple[int, ...] = ()  # B counts; what lies outside the edges is in no bin


@dataclass(frozen=True)
class DatasetFacts:
    """What the directions were mined from."""

    dataset_id: str
    url: str
    rows: int  # images rendered, those with a reject reason included
    rejects: Mapping[str, int]  # reason -> rows
    generator: str
    generator_fingerprint: str
    resolution: int  # pixels
    licences: Mapping[str, str]  # generator, model or data -> its licence
    attributes: tuple[AttributeSummary, ...]
    image_size: int = 0  # pixels that the extractors read; 0 in reports from before it was noted

    @property
    def usable(self) -> int:
        """Rows without a reject reason."""
        return self.rows - sum(self.rejects.values())


@dataclass(frozen=True)
class Picture:
    """One rendered image of a strip."""

    jpeg: bytes
    value: float = NAN  # what the direction is judged by, in the card's unit
    distance: float = NAN  # of the face descriptor to the unedited image's


@dataclass(frozen=True)
class Strip:
    """Pictures along one direction: a row per identity, a column per step."""

    direction_id: str
    steps: tuple[float, ...]  # in sigma, ascending; 0 is the unedited image
    rows: tuple[tuple[Picture, ...], ...]  # each as long as steps


@dataclass(frozen=True)
class LossCurve:
    """One training: its loss after every epoch."""

    name: str
    loss: str  # what is shown: "mean squared error"
    train: tuple[float, ...]
    held_out: tuple[float, ...] = ()


@dataclass(frozen=True)
class ArtefactFacts:
    """A file that a learned method left: a matrix, a flow."""

    method: str
    kind: str
    path: str  # under the run's folder
    sha256: str
    bytes: int
    attributes: tuple[str, ...]  # that it changes
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One stage of the run."""

    name: str
    seconds: float
    detail: str = ""  # "2,000 images"


@dataclass(frozen=True)
class ReportData:
    """One run, ready to be shown. `jobs.report.files` stores it, `jobs.report.page` renders it."""

    title: str
    created_at: datetime  # UTC
    settings: str  # JSON of the run's settings
    code_version: str
    dataset: DatasetFacts
    cards: tuple[DirectionCard, ...] = ()
    strips: tuple[Strip, ...] = ()
    curves: tuple[LossCurve, ...] = ()
    stages: tuple[Stage, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)  # name -> version
    failures: Mapping[str, str] = field(default_factory=dict)  # what could not be mined -> why
    skipped: Mapping[str, str] = field(default_factory=dict)  # method -> why it was not tried
    response_curves: tuple[ResponseCurve, ...] = ()  # in the order of their cards
    stability: Mapping[str, Stability] = field(default_factory=dict)  # by direction_id
    # direction_id -> mean change of the face embedding's cosine per edit, and its 95 % interval
    identity: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    artefacts: tuple[ArtefactFacts, ...] = ()  # of learned methods
    shape: ShapeFacts | None = None  # where a method needed the control model

    def save(self, folder: str) -> None:
        """Store everything under a folder or fsspec URL; see `jobs.report.files.save`."""
        from jobs.report.files import save

        save(self, folder)

    @classmethod
    def load(cls, folder: str) -> ReportData:
        """Read what `save` stored; see `jobs.report.files.load`."""
        from jobs.report.files import load

        return load(folder)


def summarise(
    name: str, unit: str, values: ArrayLike, text: str = "", bins: int = 32
) -> AttributeSummary:
    """Summarise one attribute; NaN means unmeasured and is left out.

    The histogram covers the 0.2 to the 99.8 percentile, so that one outlier does not flatten it.

    Args:
        values: (N,) in `unit`.
    """
    known = np.asarray(values, np.float64).ravel()
    known = known[np.isfinite(known)]
    if not len(known):
        return AttributeSummary(name, unit, text, 0, NAN, NAN, NAN, NAN)
    first, last = np.percentile(known, (0.2, 99.8))
    if first == last:
        first, last = first - 0.5, last + 0.5
    counts, edges = np.histogram(known, bins=bins, range=(first, last))
    return AttributeSummary(
        name,
        unit,
        text,
        len(known),
        float(known.mean()),
        float(known.std()),
        float(known.min()),
        float(known.max()),
        tuple(float(edge) for edge in edges),
        tuple(int(count) for count in counts),
    )


def strip_of(card: DirectionCard, rescored: Rescored, own: Pair | None) -> Strip:
    """The pictures that re-scoring kept, with what was measured on each.

    Args:
        own: (extractor, column) of what the card is judged by; None where nothing measures it.

    Raises:
        InputError: `own` was not measured.
    """
    values = np.full_like(rescored.distances, np.nan)
    if own is not None:
        values = rescored.column(*own)
    rows = tuple(
        tuple(
            Picture(jpeg, float(values[row, column]), float(rescored.distances[row, column]))
            for column, jpeg in enumerate(pictures)
        )
        for row, pictures in enumerate(rescored.thumbnails)
    )
    steps = tuple(float(step) for step in rescored.steps / rescored.sigma)
    return Strip(card.direction_id, steps, rows)
