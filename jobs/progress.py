"""Progress of long work: a live line on a terminal, one JSON line per interval elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """Counts finished units of one stage and shows rate, time left and notes.

    Args:
        stage: the name shown.
        total: how many units there are.
        unit: what is counted, in the plural.
        interval: seconds between two JSON lines where stderr is not a terminal.
    """

    def __init__(self, stage: str, total: int, unit: str, interval: float = 10.0):
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self.notes: Counter[str] = Counter()
        self._start = time.monotonic()
        self._said = self._start
        self._interval = interval
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(
                self.stage, total=self.total, unit=self.unit, rate="", notes=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._say(state="failed" if error else "done")

    def advance(self, count: int, notes: Mapping[str, int] | None = None) -> None:
        """Count finished units, and tally notes such as rejects by reason."""
        self.done += count
        self.notes.update(notes or {})
        if self._bar is not None:
            shown = "  ".join(f"{key} {value}" for key, value in sorted(self.notes.items()))
            rate = f"{self.rate:.1f} {self.unit}/s"
            self._bar.update(self._task, completed=self.done, rate=rate, notes=shown)
        elif time.monotonic() - self._said >= self._interval:
            self._say(state="running")

    def say(self, text: str) -> None:
        """Show one line of text beside the progress."""
        if self._bar is not None:
            from rich.markup import escape

            self._bar.console.print(escape(text), soft_wrap=True)
        else:
            line = json.dumps({"stage": self.stage, "state": "warning", "text": text})
            print(line, file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Units per second since the stage began."""
        return self.done / max(self.seconds, 1e-9)

    def _say(self, state: str) -> None:
        self._said = time.monotonic()
        left = (self.total - self.done) / self.rate if self.done else None
        line = {
            "stage": self.stage,
            "state": state,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_second": round(self.rate, 2),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
            **({"notes": dict(sorted(self.notes.items()))} if self.notes else {}),
        }
        print(json.dumps(line), file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("[bold]{task.description:<10}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("[dim]{task.fields[notes]}"),
        console=Console(file=sys.stderr),
    )
