"""What a run has done so far: for its progress, its record, its metrics, and when to stop it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

from jobs.engine import Event
from jobs.isolation.supervisor import Outcome
from jobs.metrics import Metrics
from jobs.progress import Progress
from mining.extractors.base import FAILURES
from schemas.errors import RunError, StorageError
from schemas.settings import EngineSettings
from storage.derived import stored_names
from storage.files import Store
from storage.manifest import Manifest
from storage.quarantine import quarantine, release
from storage.runs import BEAT, RunRecord
from storage.shards import Receipt, read_shard

ENOUGH = 100  # rows after which the share of failures is judged
FEW = 3  # shards that cannot be made before their share is judged
QUIET = frozenset({"ok", "not_measured"})  # statuses that are nobody's reject


class Ledger:
    """Takes the engine's events of one run.

    Args:
        rows: that the run is to make.
        quarantined: shards that earlier runs could not make.
        judge: stop the run where too much fails.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        engine: EngineSettings,
        rows: int,
        quarantined: set[int],
        progress: Progress,
        judge: bool = True,
    ):
        self._store, self._manifest, self._engine = store, manifest, engine
        self._total, self._quarantined, self._judging = rows, quarantined, judge
        self._stored = stored_names(manifest)  # what another run measured, and judged
        self._progress, self._metrics = progress, Metrics(manifest.dataset_id)
        self.record = RunRecord(manifest.dataset_id, engine.model_dump())
        self.failures: dict[int, str] = {}  # shard -> reason
        self._failed: Counter[str] = Counter()  # extractor -> rows that say something of its code
        self._done = self._shards = 0  # rows and shards that are committed, by whomever
        self._clock = self._saved = time.monotonic()
        self.record.save(store)

    def take(self, event: Event) -> None:
        """Note one event.

        Raises:
            RunError: more rows failed than engine.max_failed allows.
            StorageError: a note on a quarantined shard cannot be written.
        """
        if event.kind == "said":
            self._progress.say(event.text)
        if event.lost:
            self.record.lost += 1
            self._metrics.lost()
        if event.outcome is not None:
            self._passed(event.outcome)
            if event.kind == "finished":
                self._finished(event.outcome)
        self._progress.beat()
        if time.monotonic() - self._saved > BEAT:
            with suppress(StorageError):  # the next one will do
                self.save()

    def save(self, state: str | None = None, error: str = "") -> None:
        """Write the run's record."""
        self._saved = time.monotonic()
        self.record.seconds = round(self._saved - self._clock, 3)
        self.record.state, self.record.error = state or self.record.state, error
        self.record.save(self._store)

    def end(self, state: str, error: str = "") -> None:
        """Write how the run ended, on a full disk too."""
        try:
            self.save(state, error)
        except StorageError:
            with suppress(StorageError):
                # a record that says "running" would keep repairs away: removing it needs no room
                self._store.remove(self.record.name)
                self.save(state, error)

    @property
    def quarantine_note(self) -> str:
        """How many shards could not be made, and why the first one could not; "" without any."""
        if not self.failures:
            return ""
        shard, reason = min(self.failures.items())
        return (
            f"{len(self.failures)} of {self._manifest.shards} shards could not be made and are "
            f"quarantined, first shard {shard}: {reason}"
        )

    def _passed(self, outcome: Outcome) -> None:
        rows = len(self._manifest.rows(outcome.shard))
        self._metrics.passed(outcome)
        for stage, seconds in outcome.seconds.items():
            spent = self.record.stage_seconds.get(stage, 0.0)
            self.record.stage_seconds[stage] = round(spent + seconds, 3)
            self.record.stage_rows[stage] = self.record.stage_rows.get(stage, 0) + rows
            self._progress.part(stage, rows)

    def _finished(self, outcome: Outcome) -> None:
        receipt = outcome.receipt
        noted = {} if receipt is None else rejects(receipt, self._stored)
        self._metrics.finished(outcome, noted)
        if receipt is None:
            self._give_up(outcome)
        else:
            if outcome.shard in self._quarantined:
                release(self._store, outcome.shard)
            self._keep(receipt, noted, made=bool(outcome.seconds))
        if self._judging:
            self._judge_shards()
            self._judge_rows(receipt)

    def _keep(self, receipt: Receipt, noted: dict[str, int], made: bool) -> None:
        """Count a finished shard; where another run made it, only towards the end of this one."""
        record = self.record
        self._done += receipt.rows
        self._shards += 1
        for extractor, counts in receipt.statuses.items():
            if extractor in self._stored:
                continue
            self._failed[extractor] += sum(counts.get(status, 0) for status in FAILURES)
        self._progress.advance(receipt.rows, noted)
        if not made:
            return
        if record.seconds_to_first_shard is None:
            record.seconds_to_first_shard = round(time.monotonic() - self._clock, 3)
        record.shards += 1
        record.rows += receipt.rows
        record.bytes += receipt.bytes
        for reason, count in noted.items():
            record.rejects[reason] = record.rejects.get(reason, 0) + count

    def _give_up(self, outcome: Outcome) -> None:
        rows = len(self._manifest.rows(outcome.shard))
        quarantine(self._store, self._manifest, outcome.shard, outcome.failure)
        self.failures[outcome.shard] = outcome.failure
        self.record.quarantined += 1
        self._progress.say(f"shard {outcome.shard} is quarantined: {outcome.failure}")
        self._progress.advance(rows, {"quarantined": rows})

    def _judge_shards(self) -> None:
        """Stop a run whose generator mostly fails; a few shards are only quarantined."""
        lost, seen = len(self.failures), len(self.failures) + self._shards
        if lost >= FEW and lost > self._engine.max_failed * seen:
            raise RunError(
                f"generate: {lost} of {seen} shards could not be made, more than engine.max_failed "
                f"{self._engine.max_failed:g} allows; shard {min(self.failures)}: "
                f"{self.failures[min(self.failures)]}. Mend that, or allow more; what is done "
                "stays done."
            )

    def _judge_rows(self, receipt: Receipt | None) -> None:
        """Stop a run whose extractors mostly fail."""
        seen = self._done
        extractor, failed = self._failed.most_common(1)[0] if self._failed else ("", 0)
        allowed = self._engine.max_failed * max(seen, min(self._total, ENOUGH))
        if failed <= allowed + 1e-9:  # 0.29 of 100 is 28.999...
            return
        reason = "unknown"
        if receipt is not None and any(receipt.statuses[extractor].get(s) for s in FAILURES):
            reason = self._reason(receipt, extractor)
        raise RunError(
            f"generate: {failed} of {seen} rows failed, were lost to crashes or took too long "
            f"(extractor {extractor!r}), more than engine.max_failed {self._engine.max_failed:g} "
            f"allows; one of them: {reason}. Mend that, or allow more; what is done stays done."
        )

    def _reason(self, receipt: Receipt, extractor: str) -> str:
        column = f"{extractor}_reason"
        try:
            table = read_shard(self._store, receipt, [column])
        except StorageError:
            return "unknown, its shard cannot be read"
        return next((said for said in table.column(column).to_pylist() if said), "unknown")


def rejects(receipt: Receipt, but: Collection[str] = ()) -> dict[str, int]:
    """Rows per reason other than "ok", as "extractor status", of all extractors but these."""
    return {
        f"{extractor} {status}": count
        for extractor, counts in receipt.statuses.items()
        if extractor not in but
        for status, count in counts.items()
        if status not in QUIET
    }
