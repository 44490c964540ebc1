"""The commits of a Delta table: numbered, timed, which of them are new, and as of when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from schemas.errors import InputError, StorageError
from storage import delta

if TYPE_CHECKING:
    from deltalake import DeltaTable

_NO_TIME = datetime.fromtimestamp(0, UTC)
_APPEND = ("WRITE", "Append")  # operation and mode
_ATTEMPTS = 20  # of reading a log that others write to
_KEEPS_ROWS = (  # operations after which the table holds the rows that it held before
    "OPTIMIZE",
    "VACUUM START",
    "VACUUM END",
    "ADD COLUMN",
    "SET TBLPROPERTIES",
    "UPDATE TABLE METADATA",
    "UPDATE FIELD METADATA",
)


@dataclass(frozen=True)
class Commit:
    """One commit, as its writer described it."""

    number: int
    at: datetime  # UTC, the writer's clock; never before that of the commit before it
    info: Mapping[str, Any]  # as the log has it, without its number

    @property
    def publication(self) -> str | None:
        """The publication that it holds; None where its writer named none."""
        return self.info.get("publication_id")

    @property
    def keeps_rows(self) -> bool:
        """Whether it neither added nor took rows."""
        return self.info.get("operation") in _KEEPS_ROWS

    @property
    def appends(self) -> bool:
        """Whether all rows from before it are still there after it."""
        operation = str(self.info.get("operation", ""))
        mode = (self.info.get("operationParameters") or {}).get("mode")
        return self.keeps_rows or operation == "CREATE TABLE" or (operation, mode) == _APPEND


@dataclass(frozen=True)
class Log:
    """What a table's log still tells, oldest first and without gaps."""

    commits: tuple[Commit, ...]
    whole: bool  # it begins with the table's creation; else older commits were cleaned up

    def numbers(self) -> dict[str, int]:
        """Commit number by publication."""
        return {c.publication: c.number for c in self.commits if c.publication is not None}

    def newest_at(self, moment: datetime) -> int | None:
        """The last commit up to a time; None where the first one known is later."""
        before = [commit.number for commit in self.commits if commit.at <= moment]
        return before[-1] if before else None

    def extended(self, infos: Sequence[Mapping[str, Any]]) -> Log:
        """This log and the commits after it, described oldest first; itself where none are."""
        if not infos:
            return self
        last = self.commits[-1]
        return Log(self.commits + _numbered(infos, last.number + 1, last.at), self.whole)


def when(as_of: int | str | datetime | None) -> int | datetime | None:
    """A commit number or a time, UTC unless it says otherwise, as they are typed or passed.

    Digits alone are a commit; "2026-11-20" is the beginning of that day.

    Raises:
        InputError: it is neither.
    """
    if isinstance(as_of, str) and as_of.strip().isdecimal():
        as_of = int(as_of)
    if isinstance(as_of, str):
        try:
            as_of = datetime.fromisoformat(as_of.strip())
        except ValueError:
            raise InputError(
                f"as of {as_of!r}: expected the number of a commit or a time such as "
                "2026-11-20T09:30 (UTC) or 2026-11-20T09:30+02:00."
            ) from None
    if isinstance(as_of, datetime):
        return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    return as_of


def read(table: DeltaTable) -> Log:
    """The whole log of the table, which is brought up to date; empty where only checkpoints are.

    deltalake 1.6.6 lists the newest log and numbers it down from the commit that the table was
    opened at, which is too low when others have committed since. A log with its creation starts
    at 0; another is read until nobody commits meanwhile.

    Raises:
        StorageError: the log cannot be read, or others never stop committing.
    """
    for _ in range(_ATTEMPTS):
        update(table)
        newest = table.version()
        infos = _history(table)
        if not infos:
            return Log((), whole=False)
        if str(infos[0].get("operation", "")).startswith("CREATE"):
            return Log(_numbered(infos[: newest + 1], 0), whole=True)
        update(table)
        if table.version() == newest:
            return Log(_numbered(infos, newest + 1 - len(infos)), whole=False)
    raise StorageError(f"{table.table_uri}: others commit without a pause; run it again.")


def news(table: DeltaTable, log: Log) -> Log | None:
    """The log with what was committed since; the table is brought up to date.

    One listing and the newest commits are read. The last commit that is known must be among them:
    it gives the others their numbers.

    Returns:
        None where it is not there, as in a table that was made anew at the same place.

    Raises:
        StorageError: the log cannot be read, or is shorter than it was.
    """
    if not log.commits:
        return None
    last = log.commits[-1]
    for _ in range(_ATTEMPTS):
        update(table)
        newest = table.version()
        infos = _history(table, newest - last.number + 1)
        after = next((at for at, info in enumerate(infos, 1) if info == last.info), None)
        if after is not None:
            return log.extended(infos[after : after + newest - last.number])
        update(table)
        if table.version() == newest:  # else others committed between the two looks
            return None
    return None


def update(table: DeltaTable) -> None:
    """Bring an opened table to its newest commit.

    Raises:
        StorageError: the log cannot be read, or is another's.
    """
    try:
        table.update_incremental()
    except delta.delta_errors() as error:
        raise StorageError(f"{table.table_uri}: {delta.one_line(error)}") from error


def _history(table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
    """What the newest commits say of themselves, oldest first, without deltalake's numbers."""
    try:
        infos = table.history(limit)[::-1]
    except delta.delta_errors() as error:
        said = delta.one_line(error)
        raise StorageError(f"{table.table_uri}: its log is broken: {said}") from error
    return [{k: v for k, v in info.items() if k != "version"} for info in infos]


def _numbered(
    infos: Iterable[Mapping[str, Any]], first: int, at: datetime = _NO_TIME
) -> tuple[Commit, ...]:
    """The commits from number `first` on, none of them before `at`."""
    commits = []
    for number, info in enumerate(infos, first):
        stamp = info.get("timestamp")
        if isinstance(stamp, int):
            at = max(at, datetime.fromtimestamp(stamp / 1000, UTC))
        commits.append(Commit(number, at, info))
    return tuple(commits)
