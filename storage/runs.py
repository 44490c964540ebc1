"""What each run did to a dataset: one small file per run, rewritten while it goes on.

Nothing here decides anything about the data; it is for people, and for runs to see each other.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from schemas.errors import StorageError
from storage.files import Store

FOLDER = "runs"
BEAT = 15.0  # seconds between two notes of a run that goes on
FRESH = 60.0  # seconds after its last note in which a run counts as going on
RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"


@dataclass
class RunRecord:
    """One run over a dataset."""

    dataset_id: str
    engine: Mapping[str, Any] = field(default_factory=dict)  # its settings
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    started: float = field(default_factory=time.time)  # seconds since 1970
    updated: float = 0.0
    state: str = RUNNING
    seconds: float = 0.0
    seconds_to_first_shard: float | None = None
    shards: int = 0
    rows: int = 0
    bytes: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)  # over all workers
    stage_rows: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)  # "extractor status" -> rows
    quarantined: int = 0
    lost: int = 0  # workers and processes that died or hung
    error: str = ""

    @property
    def name(self) -> str:
        """Its file; names sort by the time of the start."""
        at = datetime.fromtimestamp(self.started, UTC)
        return f"{FOLDER}/{at:%Y%m%dT%H%M%SZ}-{self.run_id}.json"

    @property
    def going_on(self) -> bool:
        """Whether it was running a moment ago."""
        return self.state == RUNNING and time.time() - self.updated < FRESH

    def save(self, store: Store) -> None:
        """Write the record over its last version."""
        self.updated = time.time()
        store.replace(self.name, json.dumps(asdict(self), sort_keys=True, indent=1).encode())


def runs(store: Store) -> list[RunRecord]:
    """The records of all runs, by their start; those that cannot be read are left out."""
    found = []
    for name in store.names(FOLDER):
        try:
            found.append(RunRecord(**json.loads(store.read(f"{FOLDER}/{name}"))))
        except (ValueError, TypeError, StorageError):
            continue
    return sorted(found, key=lambda record: (record.started, record.run_id))


def going_on(store: Store) -> list[RunRecord]:
    """The runs that are making the dataset at this moment, as far as their notes say."""
    return [record for record in runs(store) if record.going_on]
