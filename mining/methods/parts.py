"""Rows in parts that are never held together: a loop here, a task a part elsewhere.

A step takes one part and returns it changed, with what is to be summed over all. What steps need
is small; parts stay where their keeper has them: in memory, in files, in other processes.
"""

from __future__ import annotations

import functools
import operator
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

Step = Callable[..., tuple[Any, Any]]


class Parts(Protocol):
    """Parts of many rows."""

    def each(self, step: Step, *arguments: Any) -> tuple[Parts, list[Any]]:
        """Run step(part, *arguments) -> (new part, summary) on every part.

        Returns:
            The new parts, which may be the old ones, and the summaries in the order of the parts.
        """
        ...

    def sum(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """question(part, *arguments) of every part, added in the order of the parts.

        Few answers are held at once, as they can be large; the parts stay as they are.
        """
        ...

    def __iter__(self) -> Iterator[Any]:
        """The parts in order, one at a time."""
        ...


class LocalParts:
    """Parts in this process, `workers` of them at a time."""

    def __init__(self, parts: Sequence[Any], workers: int = 1):
        self._parts, self._workers = list(parts), workers

    def each(self, step: Step, *arguments: Any) -> tuple[LocalParts, list[Any]]:
        """As `Parts`; NumPy lets other threads run while it computes."""
        done = list(self._answers(step, *arguments))
        return LocalParts([part for part, _ in done], self._workers), [said for _, said in done]

    def sum(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """As `Parts`."""
        return total(self._answers(question, *arguments))

    def _answers(self, question: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        if self._workers == 1:
            yield from (question(part, *arguments) for part in self._parts)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(lambda part: question(part, *arguments), self._parts)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)


class SpilledParts:
    """Parts in files of a folder, one in memory at a time.

    The files are this process's own for the time of a fit: pickles that nobody else writes.
    """

    def __init__(self, folder: str | Path, parts: Sequence[Any], turn: int = 0):
        """
        Args:
            folder: an existing one, private to this process.
            parts: what the first step takes, small things such as places to read from.
        """
        self._folder, self._first, self._turn = Path(folder), list(parts), turn

    def each(self, step: Step, *arguments: Any) -> tuple[SpilledParts, list[Any]]:
        """As `Parts`; the files of the parts that are replaced are removed."""
        said, after = [], SpilledParts(self._folder, self._first, self._turn + 1)
        for number in range(len(self._first)):
            made, summary = step(self._read(number), *arguments)
            after._write(number, made)
            said.append(summary)
            if self._turn > 0:
                self._file(number).unlink(missing_ok=True)
        return after, said

    def sum(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """As `Parts`."""
        return total(question(part, *arguments) for part in self)

    def __iter__(self) -> Iterator[Any]:
        return (self._read(number) for number in range(len(self._first)))

    def _file(self, number: int) -> Path:
        return self._folder / f"{self._turn}-{number}.part"

    def _read(self, number: int) -> Any:
        if not self._turn:
            return self._first[number]
        return pickle.loads(self._file(number).read_bytes())

    def _write(self, number: int, part: Any) -> None:
        self._file(number).write_bytes(pickle.dumps(part, protocol=5))


def total(summaries: Iterable[Any]) -> Any:
    """Their sum, added in the order of the parts, so that it does not hang on who is first."""
    return functools.reduce(operator.add, summaries)
