"""The versioned catalogue of directions: a Delta Lake table that grows by publications.

From Python:

    from storage.catalog import Catalog

    catalog = Catalog("runs/demo/catalog")          # or s3://bucket/catalog; None: LODE_CATALOG
    card = catalog.best("smile", space="w")         # a DirectionCard: card.vector, card.leak, ...
    card = catalog.get("3f9a")                      # by the first digits of its direction_id
    cards = catalog.cards(attribute="smile")        # the newest version of every lineage
    frame = catalog.frame()                         # every version, a pandas DataFrame
    Catalog("runs/demo/catalog", as_of=12).cards()  # as it was after commit 12

Without this code, any Delta reader opens the folder; `storage.card_table` explains the columns.

A lineage is (generator fingerprint, space, attribute, method). A card's version is its rank within
the lineage, from 1, in the order of commits and, within one commit, in the order published. It is
derived on reading, so publishers cannot collide. The order comes from the log's commit numbers,
where each commit names its publication: writers' clocks play no part, and neither compaction nor
moving the folder changes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from schemas.directions import DirectionCard
from schemas.errors import ConflictError, InputError, StorageError
from schemas.registry import unknown
from storage import delta
from storage.ranking import choose

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from deltalake import DeltaTable

DEFAULT_CATALOG = "runs/demo/catalog"  # relative to the current folder
CATALOG_VARIABLE = "LODE_CATALOG"

_FIRST = "run `make demo` or `python jobs/mine_directions.py` first, or name another catalogue"
_SCHEMA_KEY = "latentlode.schemaVersion"


@dataclass(frozen=True)
class Publication:
    """What one commit added to a catalogue."""

    publication_id: str
    commit: int | None  # the Delta table's version that holds it; None where the log forgot it
    created_at: datetime  # UTC, the publisher's clock
    direction_ids: tuple[str, ...]
    written: bool  # False where an earlier commit already held this publication


class Catalog:
    """The catalogue at a folder or URL. Every call reads the newest commit, or `as_of`."""

    def __init__(self, url: str | os.PathLike[str] | None = None, as_of: int | None = None) -> None:
        """Name the catalogue; nothing is read yet.

        Args:
            url: a local folder, file:// or an object store such as s3:// with credentials from the
                standard environment variables; None for LODE_CATALOG, else DEFAULT_CATALOG.
            as_of: the commit (`Publication.commit`) to read; None for the newest.

        Raises:
            InputError: a local path holds a percent sign.
        """
        url = url or os.environ.get(CATALOG_VARIABLE) or DEFAULT_CATALOG
        self.url = delta.place(os.fspath(url))
        self.as_of = as_of

    def publish(
        self, cards: Iterable[DirectionCard], publication_id: str | None = None
    ) -> Publication:
        """Add the cards in one commit, all or none; safe to repeat and from many processes.

        A publication id is published once: later calls return the first one's `Publication` with
        `written` False and write nothing, whatever their cards. The default id is a hash of the
        direction ids, so rerunning a job publishes nothing new. To publish new measurements of
        directions already there (their next version), pass an id of your own.

        Raises:
            InputError: no cards, two alike, one refused by `check_card`, or `as_of` is set.
            ConflictError: the publication was published and its rows were deleted since.
            StorageError: the commit was refused or could not be written; nothing was published.
        """
        from deltalake import write_deltalake

        from storage.card_table import distinct_ids, to_table

        if self.as_of is not None:
            raise InputError(f"publish: {self.url} was opened as of commit {self.as_of}.")
        cards = tuple(cards)
        ids = distinct_ids(cards)
        name = publication_id or hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:32]
        created_at = datetime.now(UTC)
        rows = to_table(cards, name, created_at)

        # Check and write share one snapshot: a publisher with the same id that commits in between
        # makes this write conflict.
        table = self._open_or_create()
        if table.transaction_version(name) is not None:
            return self._published(table, name)
        commit = delta.once(name, publication_id=name)
        try:
            write_deltalake(table, rows, mode="append", commit_properties=commit)
        except delta.delta_errors() as error:
            table = self._open_or_create()
            if table.transaction_version(name) is not None:
                return self._published(table, name)  # another's, or ours and the answer was lost
            raise StorageError(
                f"publish: {self.url} did not take publication {name}: {delta.one_line(error)} "
                "Nothing was published; run it again."
            ) from error
        return Publication(name, table.version(), created_at, ids, written=True)

    def cards(
        self,
        attribute: str | None = None,
        method: str | None = None,
        space: str | None = None,
        generator: str | None = None,
        all_versions: bool = False,
    ) -> list[DirectionCard]:
        """The cards that match every argument, oldest first; [] where none matches all of them.

        Args:
            attribute: its name.
            method: its name.
            space: "z", "w", "w+" or "s", in either case.
            generator: its name, or the first digits (8 at least) of its fingerprint.
            all_versions: also those that a later version of their lineage replaced.

        Raises:
            InputError: nothing was published yet, or no card at all has that attribute, method,
                space or generator.
            StorageError: the catalogue cannot be read.
        """
        from storage.card_table import to_cards
        from storage.lineages import made_by

        table, ordered = self._ordered()
        space = space.lower() if space is not None else None
        wanted = {"attribute": attribute, "method": method, "space": space}
        equal = {name: value for name, value in wanted.items() if value is not None}
        for name, value in equal.items():
            known = set(ordered[name].to_pylist())
            if value not in known:
                raise unknown(name, value, known)
        rows = self._ranked(table, ordered, **equal)
        if not all_versions:
            rows = rows.filter(rows["latest"])
        if generator is not None:
            if not any(made_by(ordered, generator)):
                raise unknown("generator", generator, set(ordered["generator"].to_pylist()))
            rows = rows.filter(made_by(rows, generator))
        return to_cards(rows)

    def get(self, direction_id: str) -> DirectionCard:
        """The direction with this id, or the only one whose id starts so; its newest version.

        Raises:
            InputError: no direction, or more than one, starts so; or nothing was published yet.
            StorageError: the catalogue cannot be read.
        """
        whole = self._whole_id(direction_id)
        return [card for card in self.history(whole) if card.direction_id == whole][-1]

    def history(self, direction_id: str) -> list[DirectionCard]:
        """Every version of the lineage that the direction is in, oldest first; ids as in `get`."""
        from storage.card_table import to_cards
        from storage.lineages import LINEAGE

        whole = self._whole_id(direction_id)
        table, ordered = self._ordered()
        row = ordered.slice(ordered["direction_id"].to_pylist().index(whole), 1).to_pylist()[0]
        return to_cards(self._ranked(table, ordered, **{name: row[name] for name in LINEAGE}))

    def publication(self, publication_id: str) -> list[DirectionCard]:
        """The cards of one publication in the order in which they were published."""
        from storage.card_table import to_cards

        return to_cards(self._ranked(*self._ordered(), publication_id=publication_id))

    def best(
        self,
        attribute: str,
        space: str | None = None,
        by: str = "score",
        method: str | None = None,
        generator: str | None = None,
    ) -> DirectionCard:
        """The best direction for an attribute among the newest versions.

        By default the one with the largest cosine to the truth, where that is known; else with the
        largest |effect_relative| * sigma / (1 + leak): the population spreads of the attribute
        that one natural step moves, less what it drags along. `ranking.choose` has the others.

        Raises:
            InputError: as `cards` and `choose`, or no direction matches every argument.
            StorageError: the catalogue cannot be read.
        """
        found = self.cards(attribute, method, space, generator)
        if not found:
            raise InputError(
                f"best: {self.url} has directions for {attribute!r}, but none with space {space}, "
                f"method {method} and generator {generator} together; leave one of them out."
            )
        return choose(found, by)

    def table(self) -> pa.Table:
        """Every row in the order of commits: `card_table.SCHEMA`, then `lineages.DERIVED`.

        Raises:
            InputError: nothing was published yet.
            StorageError: the catalogue cannot be read.
        """
        return self._ranked(*self._ordered())

    def frame(self) -> pd.DataFrame:
        """`table` as pandas; `vector` holds flat arrays, `responses` arrays of dicts."""
        return self.table().to_pandas()

    def _open(self) -> DeltaTable | None:
        from storage.card_table import SCHEMA_VERSION

        if os.path.isfile(self.url):  # which Delta Lake calls missing
            raise InputError(
                f"{self.url} is a file and holds no catalogue; expected a folder or a URL."
            )
        table = delta.open_table(self.url, self.as_of)
        if table is None:
            return None
        stored = table.metadata().configuration.get(_SCHEMA_KEY, "")
        if not stored.isdecimal():
            raise InputError(f"{self.url} is a Delta table, but not a catalogue of LatentLode.")
        if int(stored) > SCHEMA_VERSION:
            raise InputError(
                f"{self.url} has schema version {stored}, this LatentLode reads up to "
                f"{SCHEMA_VERSION}; install a newer one: pip install --upgrade latentlode."
            )
        return table

    def _open_or_create(self) -> DeltaTable:
        from storage.card_table import SCHEMA, SCHEMA_VERSION

        table = self._open()
        if table is None:
            configuration = {_SCHEMA_KEY: str(SCHEMA_VERSION), **delta.KEEP_HISTORY}
            delta.create_table(self.url, SCHEMA, "latentlode catalogue", configuration)
            table = self._open()
        if table is None:
            raise StorageError(f"{self.url} vanished while it was being created; run it again.")
        return table

    def _ordered(self) -> tuple[DeltaTable, pa.Table]:
        """The table, and the light columns of all its rows in the order of commits."""
        from storage.lineages import LIGHT_SCHEMA, order

        table = self._open()
        if table is None:
            if os.path.exists(self.url):
                raise InputError(f"{self.url} holds no catalogue; {_FIRST}.")
            raise InputError(f"there is no catalogue at {self.url}; {_FIRST}.")
        light = delta.scan(table, LIGHT_SCHEMA)
        if light.num_rows == 0:
            raise InputError(f"the catalogue {self.url} is empty; {_FIRST}.")
        return table, order(light, delta.commits(table, "publication_id"))

    def _ranked(self, table: DeltaTable, ordered: pa.Table, **equal: str) -> pa.Table:
        from storage.card_table import SCHEMA
        from storage.lineages import ranked

        return ranked(delta.scan(table, SCHEMA, **equal), ordered)

    def _whole_id(self, direction_id: str) -> str:
        start = direction_id.strip().lower()
        if not start:
            raise InputError(
                "direction: the id is empty; expected the first digits of one. `lode catalog list` "
                "shows them."
            )
        ids = set(self._ordered()[1]["direction_id"].to_pylist())
        found = sorted(known for known in ids if known.startswith(start))
        if len(found) != 1:
            what = f"{len(found)} start so, first {', '.join(found[:3])}" if found else "none is"
            raise InputError(
                f"direction {direction_id!r} of {self.url}: {what}; expected the first digits of "
                "exactly one. `lode catalog list --all-versions` shows them all."
            )
        return found[0]

    def _published(self, table: DeltaTable, publication_id: str) -> Publication:
        from storage.lineages import LIGHT_SCHEMA

        rows = delta.scan(table, LIGHT_SCHEMA, publication_id=publication_id).sort_by("position")
        if rows.num_rows == 0:
            raise ConflictError(
                f"publish: {publication_id} was published in {self.url} and its rows were deleted "
                "since; pass another publication_id to publish them again."
            )
        return Publication(
            publication_id,
            delta.commits(table, "publication_id").get(publication_id),
            rows["created_at"][0].as_py().astimezone(UTC),
            tuple(rows["direction_id"].to_pylist()),
            written=False,
        )
