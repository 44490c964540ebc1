"""Publishes cards: one commit for all of them, written once however often it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from schemas.directions import DirectionCard
from schemas.errors import ConflictError, InputError, StorageError
from storage import delta

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from storage.duplicates import Duplicate

_ATTEMPTS = 20  # while others add columns
_MOST_ID = 1_000  # characters of a publication's id


@dataclass(frozen=True)
class Publication:
    """What one commit added to a catalogue."""

    publication_id: str
    commit: int | None  # the Delta table's version that holds it; None where the log forgot it
    created_at: datetime  # UTC, the publisher's clock
    direction_ids: tuple[str, ...]
    written: bool  # False where an earlier commit already held this publication
    # which of its directions all but repeat others; None where nobody looked
    duplicates: tuple[Duplicate, ...] | None = None


def publish(
    url: str,
    cards: Sequence[DirectionCard],
    publication_id: str | None,
    created_at: datetime,
    near: float | None,
) -> Publication:
    """As `Catalog.publish`, at this time of the publisher's clock."""
    from deltalake import write_deltalake

    from storage import artefacts
    from storage.card_checks import distinct_ids
    from storage.card_table import to_table
    from storage.opening import fitted, open_for_writing

    ids = distinct_ids(cards)
    name = publication_id or hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:32]
    if len(name) > _MOST_ID or not name.isprintable():
        raise InputError(
            f"publish: the publication id {name[:80]!r} came; expected {_MOST_ID:,} printable "
            "characters at most."
        )
    rows = to_table(cards, name, created_at)
    artefacts.check(url, *cards)

    # Check and write share one snapshot: a publisher with the same id that commits in between
    # makes this write conflict.
    table = open_for_writing(url)
    if table.transaction_version(name) is not None:
        return _published(url, table, name)
    duplicates = _duplicates(url, cards, near)
    for attempt in range(_ATTEMPTS):
        before = _described(table)
        try:
            commit = delta.once(name, publication_id=name)
            write_deltalake(table, fitted(rows, table), mode="append", commit_properties=commit)
            break
        except delta.delta_errors() as error:
            table = open_for_writing(url)
            if table.transaction_version(name) is not None:
                return _published(url, table, name)  # another's, or ours and the answer was lost
            # where columns were added meanwhile, which refuses every write, it is tried again
            if _described(table) == before or attempt == _ATTEMPTS - 1:
                raise StorageError(
                    f"publish: {url} did not take publication {name}: {delta.one_line(error)} "
                    "Nothing was published; run it again."
                ) from error
    return Publication(name, table.version(), created_at, ids, True, duplicates)


def _described(table: DeltaTable) -> tuple[str, dict[str, str]]:
    return table.schema().to_json(), table.metadata().configuration


def _duplicates(
    url: str, cards: Sequence[DirectionCard], near: float | None
) -> tuple[Duplicate, ...] | None:
    """What the cards all but repeat; None where nobody asked, or the vectors cannot be read."""
    from storage import nearest, snapshots
    from storage.duplicates import of_new

    if near is None:
        return None
    cards = [card for card in cards if card.artefact is None]
    wanted = {nearest.group_of_card(card) for card in cards}
    try:
        rows = nearest.with_vectors(snapshots.current(url), sorted(wanted))
    except StorageError:  # which must not keep anybody from publishing
        return None
    return of_new(cards, rows, near)


def _published(url: str, table: DeltaTable, publication_id: str) -> Publication:
    import pyarrow as pa

    from storage.card_table import SCHEMA

    named = ("direction_id", "publication_id", "position", "created_at")
    schema = pa.schema([SCHEMA.field(name) for name in named])
    rows = delta.scan(table, schema, publication_id=publication_id).sort_by("position")
    if rows.num_rows == 0:
        raise ConflictError(
            f"publish: {publication_id} was published in {url} and its rows were deleted "
            "since; pass another publication_id to publish them again."
        )
    return Publication(
        publication_id,
        delta.commits(table, "publication_id").get(publication_id),
        rows["created_at"][0].as_py().astimezone(UTC),
        tuple(rows["direction_id"].to_pylist()),
        written=False,
    )
