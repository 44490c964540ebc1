"""What a process knows of its catalogues: every column but the vectors, kept between calls.

A catalogue only grows, and what was read stays true. Each call looks for commits that came since
(one listing and the newest commit) and reads those alone. Where the log says otherwise, as after
rows were deleted or the folder was made anew, everything is read again. An earlier state is the
first rows of a later one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError, StorageError
from storage import delta, log, opening
from storage.card_table import SCHEMA
from storage.lineages import DERIVED, LINEAGE, codes, newest, order, versions
from storage.log import Log
from storage.vectors import Vectors

if TYPE_CHECKING:
    from deltalake import DeltaTable

LIGHT = pa.schema([field for field in SCHEMA if field.name != "vector"])

_MOST_KEPT = 8  # catalogues; the one asked for longest ago is forgotten
_MOST_NEWS = 500  # publications that are read by name
_SETTINGS = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCS_",
)  # of the environment: another may be another place


@final
class State:
    """The cards of a catalogue after one commit, in the order of commits. Nothing in it changes."""

    def __init__(
        self, vectors: Vectors, commit: int, log: Log, rows: pa.Table, numbers: NDArray[np.int64]
    ) -> None:
        """Derive versions.

        Args:
            vectors: of the same table, and of later states of it.
            commit: the newest that it holds.
            log: up to that commit.
            rows: columns of LIGHT.
            numbers: (N,) commits of the rows, -1 where the log forgot it.
        """
        self.vectors, self.commit, self.log = vectors, commit, log
        self.rows, self.numbers = rows, numbers
        self.lineages = codes(rows, LINEAGE)
        self.versions = versions(self.lineages)
        self.memo: dict[str, Any] = {}  # what others derive of it, by who they are

    @cached_property
    def latest(self) -> NDArray[np.bool_]:
        """(N,) which rows no later version replaced."""
        return newest(self.lineages)

    def __len__(self) -> int:
        return len(self.numbers)

    def __bool__(self) -> bool:
        return True  # an empty one is a state too

    def until(self, commit: int) -> State:
        """The state after an earlier commit."""
        count = int(np.searchsorted(self.numbers, commit, side="right"))
        known = tuple(each for each in self.log.commits if each.number <= commit)
        return _part(self, count, commit, Log(known, self.log.whole))

    def table(self, indices: NDArray[np.int64] | None = None) -> pa.Table:
        """LIGHT and DERIVED columns of these rows, or of all."""
        at = np.arange(len(self)) if indices is None else indices
        rows = self.rows if indices is None else self.rows.take(pa.array(at))
        numbers = self.numbers[at]
        derived = (self.versions[at], self.latest[at], pa.array(numbers, mask=numbers < 0))
        for field, values in zip(DERIVED, derived, strict=True):
            rows = rows.append_column(field, pa.array(values, field.type))
        return rows

    def whole(self, indices: NDArray[np.int64] | None = None) -> pa.Table:
        """As `table`, with the vectors at their place among the columns."""
        rows = self.table(indices)
        at = SCHEMA.get_field_index("vector")
        return rows.add_column(at, SCHEMA.field(at), self.vectors.column(rows))


def current(url: str, as_of: int | datetime | None = None) -> State:
    """The newest state of a catalogue, or that after a commit, or at a time.

    Raises:
        InputError: nothing was published there, there is no such commit, or the time is before
            the first one.
        StorageError: the catalogue cannot be read.
    """
    environment = {k: v for k, v in os.environ.items() if k.startswith(_SETTINGS)}
    key = (url, *sorted(environment.items()))
    with _LOCK:
        place = _KEPT.setdefault(key, _Place(url))
        _KEPT.move_to_end(key)
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    state = place.newest()
    return state if as_of is None else _past(url, state, as_of)


def forget() -> None:
    """Drop what is kept, as if the process had just begun."""
    with _LOCK:
        _KEPT.clear()


@final
class _Place:
    """One catalogue as this process last saw it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._state: State | None = None

    def newest(self) -> State:
        with self._lock:
            known, self._state = self._state, None
            state = self._refreshed(known) if known is not None else None
            self._state = state or _load(self._url, opening.open_(self._url))
            return self._state

    def _refreshed(self, state: State) -> State | None:
        """The state with what was committed since; None where all has to be read anew."""
        with state.vectors.lock:
            if not state.log.commits:  # nothing to compare but the tables themselves
                table = opening.open_(self._url)
                return state if _files(table) == _files(state.vectors.table) else None
            try:
                known = log.news(state.vectors.table, state.log)
            except StorageError:  # the table is another's, or gone: opening it tells
                return None
            if known is None or known is state.log:
                return state if known else None
            opening.check(self._url, state.vectors.table)
            return _extended(state, known)


_LOCK = threading.Lock()
_KEPT: OrderedDict[tuple[Any, ...], _Place] = OrderedDict()


def _load(url: str, table: DeltaTable) -> State:
    known = log.read(table)
    commit = table.version()
    rows, numbers = order(delta.scan(table, LIGHT), known.numbers())
    return State(Vectors(url, table), commit, known, rows, numbers)


def _extended(state: State, known: Log) -> State | None:
    """The state and the rows of the log's new commits; None where they did more than add rows."""
    table = state.vectors.table
    added = [c for c in known.commits[len(state.log.commits) :] if not c.keeps_rows]
    names = [c.publication for c in added if c.appends and c.publication is not None]
    if len(names) < len(added) or len(names) > _MOST_NEWS:
        return None
    rows, numbers = state.rows, state.numbers
    if names:
        fresh = delta.scan(table, LIGHT, publication_id=names)
        fresh, new_numbers = order(fresh, known.numbers())
        rows = pa.concat_tables([rows, fresh]).combine_chunks()
        numbers = np.concatenate([numbers, new_numbers])
    if _row_count(table) not in (None, len(numbers)):
        return None
    return State(state.vectors, table.version(), known, rows, numbers)


def _files(table: DeltaTable) -> tuple[str, int, list[str]]:
    return str(table.metadata().id), table.version(), sorted(table.file_uris())


def _row_count(table: DeltaTable) -> int | None:
    """The rows that the files are said to hold; None where a writer did not say."""
    counts = pa.table(table.get_add_actions(flatten=True))["num_records"]
    return None if counts.null_count else sum(counts.to_pylist())


def _past(url: str, state: State, as_of: int | datetime) -> State:
    known, commit = state.log, _number(url, state, as_of)
    if commit == state.commit:
        return state
    remembered = known.whole or (known.commits and commit >= known.commits[0].number - 1)
    later = [each for each in known.commits if each.number > commit]
    if remembered and all(each.appends for each in later):
        return state.until(commit)
    table = opening.open_(url, commit)  # rows were deleted since, or the log forgot the commit
    rows, numbers = order(delta.scan(table, LIGHT), known.numbers())
    before = tuple(each for each in known.commits if each.number <= commit)
    return State(Vectors(url, table), commit, Log(before, known.whole), rows, numbers)


def _number(url: str, state: State, as_of: int | datetime) -> int:
    if isinstance(as_of, int):
        if not 0 <= as_of <= state.commit:
            raise InputError(f"{url} has the commits 0 to {state.commit}; {as_of} came.")
        return as_of
    number = state.log.newest_at(as_of)
    if number is not None:
        return number
    first = f"{state.log.commits[0].at:%Y-%m-%d %H:%M:%S}" if state.log.commits else "none"
    what = "made" if state.log.whole else "its log begins"
    raise InputError(
        f"{url} as of {as_of:%Y-%m-%d %H:%M:%S} UTC: the first commit known is of {first} UTC, "
        f"when it was {what}; expected a later time."
    )


def _part(state: State, count: int, commit: int, known: Log) -> State:
    """The first rows of a state, without deriving their versions again."""
    part = object.__new__(State)
    part.vectors, part.commit, part.log = state.vectors, commit, known
    part.rows, part.numbers = state.rows.slice(0, count), state.numbers[:count]
    part.lineages, part.versions = state.lineages[:count], state.versions[:count]
    part.memo = {}
    return part
