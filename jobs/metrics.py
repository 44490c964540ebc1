"""What Ray's metrics page shows Prometheus of a run that generates.

Ray hands the figures of a driver to its node's agent every ten seconds and once more when the
driver leaves, in `ray.shutdown`; only a driver that is killed loses its last ones. A driver is one
series of its own there: sum over WorkerId.
"""

from __future__ import annotations

from typing import Any

from jobs.isolation.supervisor import Outcome

# Ray passes a histogram on as counts per bucket and makes its sum from their middles: what has to
# be exact is counted apart
BOUNDS = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class Metrics:
    """Counters of one run, on the Ray that is running.

    Ray adds ray_ before the names, and _total behind those of counters.
    """

    def __init__(self, dataset_id: str):
        from ray.util.metrics import Counter, Histogram

        tags = {"dataset": dataset_id}
        self._rows: Any = Counter("lode_rows", "Rows committed.", ("dataset",))
        self._rejects: Any = Counter(
            "lode_rejects", "Rows without values, by reason.", ("dataset", "reason")
        )
        self._seconds: Any = Histogram(
            "lode_shard_seconds", "Seconds per shard and stage.", BOUNDS, ("dataset", "stage")
        )
        self._busy: Any = Counter(
            "lode_stage_seconds", "Seconds that workers spent in a stage.", ("dataset", "stage")
        )
        self._quarantined: Any = Counter(
            "lode_quarantined_shards", "Shards that could not be made.", ("dataset",)
        )
        self._lost: Any = Counter(
            "lode_lost_workers", "Workers and processes that died or hung.", ("dataset",)
        )
        for metric in vars(self).values():
            metric.set_default_tags(tags)

    def finished(self, outcome: Outcome, rejects: dict[str, int]) -> None:
        """One shard is committed or given up."""
        if outcome.receipt is None:
            self._quarantined.inc(1)
            return
        self._rows.inc(outcome.receipt.rows)
        for reason, count in rejects.items():  # none is 0: Ray's counters refuse that
            self._rejects.inc(count, {"reason": reason})

    def passed(self, outcome: Outcome) -> None:
        """Stages of one shard were passed."""
        for stage, seconds in outcome.seconds.items():
            self._seconds.observe(seconds, {"stage": stage})
            if seconds > 0:
                self._busy.inc(seconds, {"stage": stage})

    def lost(self) -> None:
        """A worker or a process died or hung."""
        self._lost.inc(1)
