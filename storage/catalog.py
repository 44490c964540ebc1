"""The versioned catalogue of directions: a Delta Lake table that grows by publications.

From Python:

    from storage.catalog import Catalog

    catalog = Catalog("runs/demo/catalog")          # or s3://bucket/catalog; None: LODE_CATALOG
    card = catalog.best("smile", space="w")         # a DirectionCard: card.vector, card.leak, ...
    card = catalog.get("3f9a")                      # by the first digits of its direction_id
    cards = catalog.cards(attribute="smile")        # the newest version of every lineage
    cards = catalog.find("smile >= 0.4, |age leak| <= 0.02", order_by="leak")
    for other, cosine in catalog.nearest(card): ...
    frame = catalog.frame()                         # every version, a pandas DataFrame
    Catalog("runs/demo/catalog", as_of=12).cards()  # as it was after commit 12
    catalog.diff("2026-11-20").replaced             # what has changed since that day began

Without this code, any Delta reader opens the folder; `storage.card_table` explains the columns.

A lineage is (generator fingerprint, space, attribute, method). A card's version is its rank within
the lineage, from 1, in the order of commits and, within one commit, in the order published. It is
derived on reading, so publishers cannot collide. The order comes from the log's commit numbers,
where each commit names its publication: writers' clocks play no part, and neither compaction nor
moving the folder changes it.

The columns are kept between calls (`storage.snapshots`); every call looks for newer commits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from schemas.directions import Artefact, DirectionCard
from schemas.errors import InputError
from storage import delta
from storage.duplicates import LIMIT as NEAR
from storage.log import when
from storage.publishing import Publication, publish

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import ArrayLike

    from storage.cards import Cards
    from storage.catalog_stats import Stats
    from storage.differences import Difference
    from storage.exchange.exporting import Exported
    from storage.exchange.importing import Imported
    from storage.finding import Rows
    from storage.snapshots import State
    from storage.tags import Tag, Target

__all__ = ["CATALOG_VARIABLE", "DEFAULT_CATALOG", "NEAR", "Catalog", "Publication"]

DEFAULT_CATALOG = "runs/demo/catalog"  # relative to the current folder
CATALOG_VARIABLE = "LODE_CATALOG"


class Catalog:
    """The catalogue at a folder or URL. Every call reads the newest commit, or `as_of`."""

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        as_of: int | str | datetime | None = None,
    ) -> None:
        """Name the catalogue; nothing is read yet.

        Args:
            url: a local folder, file:// or an object store such as s3:// with credentials from the
                standard environment variables; None for LODE_CATALOG, else DEFAULT_CATALOG.
            as_of: the commit (`Publication.commit`) to read; or a time, UTC unless it says
                otherwise: all commits up to it, by their writers' clocks. None for the newest.

        Raises:
            InputError: a local path holds a percent sign, or `as_of` is neither.
        """
        url = url or os.environ.get(CATALOG_VARIABLE) or DEFAULT_CATALOG
        self.url = delta.place(os.fspath(url))
        self.as_of = when(as_of)

    def publish(
        self,
        cards: Iterable[DirectionCard],
        publication_id: str | None = None,
        near: float | None = NEAR,
    ) -> Publication:
        """Add the cards in one commit, all or none; safe to repeat and from many processes.

        A publication id is published once: later calls return the first one's `Publication` with
        `written` False and write nothing, whatever their cards. The default id is a hash of the
        direction ids, so rerunning a job publishes nothing new. To publish new measurements of
        directions already there (their next version), pass an id of your own.

        Args:
            cards: an artefact that one names is in the catalogue already (`storage.artefacts.put`).
            publication_id: names the publication.
            near: |cosine| to another direction of its generator and space, beyond which
                `Publication.duplicates` points a card out; None not to look.

        Raises:
            InputError: no cards, two alike, one refused by `check_card`, or `as_of` is set.
            ConflictError: the publication was published and its rows were deleted since.
            StorageError: the commit was refused or could not be written; nothing was published.
        """
        if self.as_of is not None:
            which = "commit " * isinstance(self.as_of, int)
            raise InputError(f"publish: {self.url} was opened as of {which}{self.as_of}.")
        return publish(self.url, tuple(cards), publication_id, datetime.now(UTC), near)

    def cards(
        self,
        attribute: str | None = None,
        method: str | None = None,
        space: str | None = None,
        generator: str | None = None,
        all_versions: bool = False,
    ) -> Cards:
        """The cards that match every argument, oldest first; none where none matches all of them.

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
        from storage.finding import Filters, matching

        state = self._state()
        wanted = Filters(attribute, method, space, generator, all_versions)
        return self._cards(state, matching(state, wanted))

    def find(
        self,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        attribute: str | None = None,
        method: str | None = None,
        space: str | None = None,
        generator: str | None = None,
        all_versions: bool = False,
    ) -> Cards:
        """The cards for which a condition is true: "smile >= 0.4, |age leak| <= 0.02".

        Args:
            where: `schemas.expressions` has the grammar, `storage.finding` the names; None for
                all cards.
            order_by: a name or an expression, the smallest value first and cards without one
                last; None for the oldest first.
            descending: the largest value first.
            limit: at most so many.
            attribute, method, space, generator, all_versions: as in `cards`.

        Raises:
            InputError: as `cards`, or an expression cannot be read or names what no card has.
            StorageError: the catalogue cannot be read.
        """
        from storage import finding

        state = self._state()
        wanted = finding.Filters(attribute, method, space, generator, all_versions)
        rows = finding.matching(state, wanted)
        if where is not None:
            rows = finding.where(state, rows, where)
        if order_by is not None:
            rows = finding.ordered(state, rows, order_by, descending)
        return self._cards(state, finding.limited(rows, limit))

    def get(self, direction_id: str) -> DirectionCard:
        """The direction with this id, or the only one whose id starts so; its newest version.

        A tag is taken for the version that it points at.

        Raises:
            InputError: no direction, or more than one, starts so; or nothing was published yet.
            StorageError: the catalogue cannot be read.
        """
        from storage.looking_up import row_of

        state = self._state()
        return self._cards(state, row_of(state, direction_id, self.tags))[0]

    def history(self, direction_id: str) -> Cards:
        """Every version of the lineage that the direction is in, oldest first; ids as in `get`."""
        from storage.looking_up import lineage_of

        state = self._state()
        return self._cards(state, lineage_of(state, direction_id, self.tags))

    def publication(self, publication_id: str) -> Cards:
        """The cards of one publication in the order in which they were published."""
        from storage.looking_up import publication_of

        state = self._state()
        return self._cards(state, publication_of(state, publication_id))

    def best(
        self,
        attribute: str,
        space: str | None = None,
        by: str = "score",
        method: str | None = None,
        generator: str | None = None,
        where: str | None = None,
    ) -> DirectionCard:
        """The best direction for an attribute among the newest versions.

        By default the one with the largest cosine to the truth, where that is known; else with the
        largest |effect_relative| * sigma / (1 + leak): the population spreads of the attribute
        that one natural step moves, less what it drags along. `ranking.best_place` has the others.

        Raises:
            InputError: as `find` and `best_place`, or no direction matches every argument.
            StorageError: the catalogue cannot be read.
        """
        from storage import finding, ranking

        state = self._state()
        rows = finding.matching(state, finding.Filters(attribute, method, space, generator))
        if where is not None:
            rows = finding.where(state, rows, where)
        if not len(rows):
            also = f", where {where!r}," * (where is not None)
            raise InputError(
                f"best: {self.url} has directions for {attribute!r}, but none with space {space}, "
                f"method {method} and generator {generator}{also} together; leave one of them out."
            )
        columns = {name: finding.numbers(state, name)[rows] for name in ranking.MEASUREMENTS}
        best = ranking.best_place(columns, by)
        return self._cards(state, rows[best : best + 1])[0]

    def nearest(
        self,
        to: DirectionCard | str | ArrayLike,
        k: int = 10,
        space: str | None = None,
        fingerprint: str | None = None,
        absolute: bool = False,
        all_versions: bool = False,
    ) -> list[tuple[DirectionCard, float]]:
        """The k nearest directions and their cosines, the nearest first.

        Only directions of one generator, one space and one shape are compared, as their vectors
        are stored: which layers a card is applied to plays no part.

        Args:
            to: a card or the id or tag of one, which is not among those found; or a vector of the
                shape (D,) or (num_ws, D).
            k: at most so many.
            space: of a vector; needed where the catalogue has its shape in more than one.
            fingerprint: of a vector's generator, or the first digits (8 at least) of it, or the
                generator's name; needed where the catalogue has more than one.
            absolute: the largest |cosine| first; the cosines keep their signs.
            all_versions: also versions that were replaced.

        Raises:
            InputError: the vector fits no directions of the catalogue, or those of more than one
                generator or space; or it is zero, or the card is an artefact.
            StorageError: the catalogue cannot be read.
        """
        from storage.nearest import neighbours

        state = self._state()
        to = self.get(to) if isinstance(to, str) else to
        found = neighbours(state, to, k, space, fingerprint, absolute, all_versions)
        cards = self._cards(state, found.rows)
        return list(zip(cards, found.cosines.tolist(), strict=True))

    def diff(self, other: int | str | datetime) -> Difference:
        """What changed between this state of the catalogue and another, the later against the
        earlier one.

        Args:
            other: a commit or a time, as `as_of`.

        Raises:
            InputError: nothing was published yet, or there is no such commit.
            StorageError: the catalogue cannot be read.
        """
        from storage import snapshots
        from storage.differences import difference

        moment = when(other)
        if moment is None:
            raise InputError(f"diff: {other!r} came; expected a commit or a time.")
        state = self._state()
        return difference(state, snapshots.current(self.url, moment), self._tagged)

    def tag(
        self,
        name: str,
        direction_id: str,
        version: int | None = None,
        expected: str | Target | None = None,
    ) -> Tag:
        """Let a tag point at a version of a direction; `storage.tags.set_tag` says how."""
        from storage.tags import set_tag

        return set_tag(self, name, direction_id, version, expected)

    def untag(self, name: str, expected: str | Target | None = None) -> Tag:
        """Remove a tag; `storage.tags.remove_tag` says how."""
        from storage.tags import remove_tag

        return remove_tag(self, name, expected)

    def tags(self) -> dict[str, Tag]:
        """Where each tag points, by name; {} where there is none."""
        from storage.tags import current

        return current(self.url, self.as_of)

    def stats(self, near: float | None = NEAR) -> Stats:
        """The catalogue in numbers, and its near-duplicates; `storage.catalog_stats` says how."""
        from storage.catalog_stats import stats

        return stats(self, near)

    def import_(self, path: str | os.PathLike[str], **given: Any) -> Imported:
        """Publish the directions that others keep in a file or folder, in one commit.

        `storage.exchange.importing.import_cards` explains what may be given.
        """
        from storage.exchange.importing import import_cards

        return import_cards(self, path, **given)

    def export(
        self,
        target: str,
        form: str,
        cards: Sequence[DirectionCard] | None = None,
        **options: Any,
    ) -> Exported:
        """Write cards (None: the newest of every lineage) as files that other programs read.

        `storage.exchange.exporting.export_cards` explains the forms and options.
        """
        from storage import artefacts
        from storage.exchange.exporting import export_cards

        def data(artefact: Artefact) -> bytes:
            return artefacts.read(self.url, artefact.sha256)

        chosen = self.cards() if cards is None else cards
        return export_cards(chosen, target, form, **{"artefact": data, **options})

    def table(self) -> pa.Table:
        """Every row in the order of commits: `card_table.SCHEMA`, then `lineages.DERIVED`.

        Raises:
            InputError: nothing was published yet.
            StorageError: the catalogue cannot be read.
        """
        return self._state().whole()

    def frame(self) -> pd.DataFrame:
        """`table` as pandas; `vector` holds flat arrays, `responses` arrays of dicts."""
        return self.table().to_pandas()

    def _state(self) -> State:
        from storage import opening, snapshots

        state = snapshots.current(self.url, self.as_of)
        if not len(state):
            raise opening.empty(self.url)
        return state

    def _cards(self, state: State, rows: Rows) -> Cards:
        from storage.cards import Cards

        return Cards(state, rows, self._tagged)

    def _tagged(self) -> Mapping[tuple[str, int], Sequence[str]]:
        """The tags of each version that has any."""
        found: dict[tuple[str, int], list[str]] = {}
        for name, tag in self.tags().items():
            if tag.target is not None:
                found.setdefault((tag.target.direction_id, tag.target.version), []).append(name)
        return found
