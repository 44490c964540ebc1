"""Progress of long work: live lines on a terminal, one JSON line per interval elsewhere."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

MB = 1_000_000
NARROW = 79  # columns and fewer: no bars, so that the figures fit


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
        self._interval = interval
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
            shown = self._figures(0)
            self._tasks = {
                name: self._bar.add_task(name, total=self.total, notes="", **shown)
                for name in (*self.parts, self.stage)
            }
            self._bar.start()
        else:  # a thread, since the work may be one call that takes hours
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._bar is not None:
            self.beat()
            self._bar.stop()
        if self._ticker is not None:
            self._ticker.join()
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            self._tell("stopped" if stopped else "failed" if error else "done")

    def advance(self, count: int, notes: Mapping[str, int] | None = None) -> None:
        """Count finished units, and tally notes such as rejects by reason."""
        self.done += count
        self.notes.update(notes or {})
        if self._bar is not None:
            told = ", ".join(f"{many:,} {key}" for key, many in self.notes.most_common())
            self._draw(self.stage, self.done, notes=told)

    def part(self, name: str, count: int) -> None:
        """Count units that passed one part of the stage."""
        if name in self.parts:
            self.parts[name] += count
            if self._bar is not None:
                self._draw(name, self.parts[name])

    def beat(self) -> None:
        """Let the figures on a terminal follow the clock; call it while nothing else happens."""
        if self._bar is not None:
            for name, done in {**self.parts, self.stage: self.done}.items():
                if done < self.total:  # what is finished keeps the rate that it had
                    self._draw(name, done)

    def say(self, text: str) -> None:
        """Show one line of text beside the progress."""
        if self._bar is not None:
            self._bar.console.print(text, soft_wrap=True, markup=False, highlight=False)
        else:
            _print({"stage": self.stage, "state": "warning", "text": text})

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Units per second since the stage began."""
        return self.done / max(self.seconds, 1e-9)

    def _draw(self, name: str, done: int, **fields: str) -> None:
        # work that was lost is done again: a part may count more than there is
        done = min(done, self.total)
        self._bar.update(self._tasks[name], completed=done, **self._figures(done), **fields)

    def _figures(self, done: int) -> dict[str, str]:
        """What a line shows beside its bar."""
        rate = done / max(self.seconds, 1e-9)
        digits = f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
        left = timedelta(seconds=round((self.total - done) / rate)) if done else "-:--:--"
        return {
            "count": f"{done:,}/{self.total:,}",
            "rate": f"{digits} {self.unit}/s",
            "left": f"{left} left",
        }

    def _tick(self) -> None:
        while not self._over.wait(self._interval):
            self._tell("running")

    def _tell(self, state: str) -> None:
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
            **({"parts": dict(self.parts)} if self.parts else {}),
            **({"notes": dict(sorted(self.notes.items()))} if self.notes else {}),
        }
        _print(line)


def _print(line: Mapping[str, Any]) -> None:
    # in one call, so that two threads do not share a line
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Field(ProgressColumn):
        """One figure; only `notes` give way where the terminal is too narrow."""

        def __init__(self, name: str, justify: Any = "right", style: str = ""):
            super().__init__()
            self._name, self._justify, self._style = name, justify, style

        def render(self, task: Any) -> Text:
            said = task.description if self._name == "name" else task.fields[self._name]
            fixed = {"no_wrap": True, "overflow": "ellipsis"}
            return Text(said, justify=self._justify, style=self._style, **fixed)

        def get_table_column(self) -> Any:
            from rich.table import Column

            return Column(no_wrap=self._name != "notes")

    console = Console(file=sys.stderr)
    return Bar(
        Field("name", "left", "bold"),
        *([BarColumn(bar_width=12)] if console.width > NARROW else []),
        Field("count"),
        Field("rate"),
        Field("left"),
        Field("notes", "left", "dim"),
        console=console,
        redirect_stdout=False,
    )


@contextlib.contextmanager
def fetching() -> Iterator[Callable[[int, int | None], None]]:
    """Takes a download's reports, bytes that are here and in all; shows them from the first on."""
    with contextlib.ExitStack() as stack:
        shown: list[Progress] = []

        def report(here: int, total: int | None) -> None:
            if not shown:
                whole = -(-(here if total is None else total) // MB)
                shown.append(stack.enter_context(Progress("fetch", whole, "MB")))
            progress = shown[0]
            progress.total = max(progress.total, -(-here // MB))
            progress.advance(-(-here // MB) - progress.done)

        yield report
