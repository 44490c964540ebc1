"""What a worker and the process that it watches say to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mining.extractors.base import Measurement

START, RENDER, MEASURE, COMMIT = "start", "render", "measure", "commit"
Key = tuple[int, int, str]  # batch, row of the batch, extractor


@dataclass(frozen=True)
class Setup:
    """What a process is for."""

    content: Mapping[str, Any]  # of the manifest
    url: str
    stages: tuple[str, ...]  # of RENDER, MEASURE, COMMIT: those that it does
    timeout: float = 300.0  # seconds of silence after which it counts as hanging
    attempts: int = 3  # at a shard that cannot be made
    max_failed: float = 0.05  # share of a shard's rows that may end the process

    def most_spared(self, rows: int) -> int:
        """How many images of one shard may end the process before the shard is given up."""
        return max(10, round(2 * self.max_failed * rows))


@dataclass
class Plan:
    """What earlier attempts at a shard have shown."""

    tries: int = 0  # that ended while rendering or committing
    kills: int = 0  # the same, where the process was killed from outside
    done: dict[int, dict[str, Measurement]] = field(default_factory=dict)  # measured batches
    suspects: set[int] = field(default_factory=set)  # batches in which the process ended once
    alone: set[int] = field(default_factory=set)  # batches that are measured image by image
    deaths: Counter[Key] = field(default_factory=Counter)
    spared: dict[Key, tuple[str, str]] = field(default_factory=dict)  # status and reason


@dataclass(frozen=True)
class Task:
    """One shard to be made; `images` says that the rendered rows follow as bytes."""

    shard: int
    plan: Plan
    images: bool


@dataclass(frozen=True)
class At:
    """Where the process is; sent before every step that may end or hang it."""

    stage: str
    batch: int = 0
    row: int | None = None
    extractor: str = ""


@dataclass(frozen=True)
class Measured:
    """One batch is measured."""

    batch: int
    parts: dict[str, Measurement]


@dataclass(frozen=True)
class Passed:
    """One stage of the shard is done."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class Raised:
    """An exception that is not LatentLode's own, in one line."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """A LodeError: it stops the run."""

    kind: str
    message: str


@dataclass(frozen=True)
class Ready:
    """Generator and extractors are loaded."""


@dataclass(frozen=True)
class Rendered:
    """The shard's rows with images follow as the bytes of an Arrow stream."""


@dataclass(frozen=True)
class Receipted:
    """The shard is committed, now or by somebody else before."""

    receipt: bytes
