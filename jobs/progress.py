"""Progress of long work: a live line on a terminal, one JSON line per interval elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any


class Progress:
    """Counts finished units of one stage and shows rate, time left and notes.

    Args:
        stage: the name shown.
        total: how many units there are.
        unit: what is counted, in the plural.
        interval: seconds between two JSON lines where stderr is not a terminal.
        parts: what the stage consists of; each gets a line of its own on a terminal.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str,
        interval: float = 10.0,
        parts: Sequence[str] = (),
    ):
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self.parts = dict.fromkeys(parts, 0)
        self.notes: Counter[str] = Counter()
        self._start = time.monotonic()
        self._said = self._start
        self._interval = interval
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._tasks = {
                name: self._bar.add_task(name, total=self.total, rate="", notes="")
                for name in (*self.parts, self.stage)
            }
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
            self._draw(self.stage, self.done, shown)
        self.beat()

    def part(self, name: str, count: int) -> None:
        """Count units that passed one part of the stage."""
        if name in self.parts:
            self.parts[name] += count
            if self._bar is not None:
                self._draw(name, self.parts[name], "")

    def beat(self) -> None:
        """Say how far it is where no terminal shows it and the interval is over."""
        if self._bar is None and time.monotonic() - self._said >= self._interval:
            self._say(state="running")

    def _draw(self, name: str, done: int, notes: str) -> None:
        rate = f"{done / max(self.seconds, 1e-9):.1f} {self.unit}/s"
        # work that was lost is done again: a part may count more than there is
        done = min(done, self.total)
        self._bar.update(self._tasks[name], completed=done, rate=rate, notes=notes)

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
            **({"parts": self.parts} if self.parts else {}),
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
