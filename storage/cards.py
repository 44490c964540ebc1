"""Cards that are built when they are looked at: a sequence over a catalogue's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.directions import DirectionCard
from storage.card_table import to_card
from storage.snapshots import State

if TYPE_CHECKING:
    import pandas as pd

Tagged = Callable[[], Mapping[tuple[str, int], Sequence[str]]]  # (direction_id, version) -> tags

_BLOCK = 256  # cards whose vectors are read at once


@final
class Cards(Sequence[DirectionCard]):
    """Cards in an order, as they were when they were asked for; a part of them is Cards too.

    Their columns are in memory already. A card's vector is read when the card is looked at,
    together with those of its neighbours; `table` and `frame` read vectors only where told to.
    """

    def __init__(self, state: State, indices: NDArray[np.int64], tagged: Tagged) -> None:
        """Name the rows.

        Args:
            state: that holds them.
            indices: (N,) rows of the state.
            tagged: tells which tags point at which version; called once, when a card is built.
        """
        self._state, self._indices, self._tagged = state, indices, tagged
        self._tags: Mapping[tuple[str, int], Sequence[str]] | None = None
        self._block: tuple[int, list[DirectionCard]] = (0, [])  # its first place, its cards

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, at: int) -> DirectionCard: ...
    @overload
    def __getitem__(self, at: slice) -> Cards: ...
    def __getitem__(self, at: int | slice) -> DirectionCard | Cards:
        if isinstance(at, slice):
            return Cards(self._state, self._indices[at], self._tagged)
        place = range(len(self))[at]  # an IndexError of the usual words
        first, built = self._block
        if not first <= place < first + len(built):
            first = place - place % _BLOCK
            built = self._built(first, first + _BLOCK)
            self._block = (first, built)
        return built[place - first]

    def __iter__(self) -> Iterator[DirectionCard]:
        for first in range(0, len(self), _BLOCK):
            yield from self._built(first, first + _BLOCK)

    def __repr__(self) -> str:
        return f"<{len(self)} cards of {self._state.vectors.url}>"

    def table(self, vectors: bool = False) -> pa.Table:
        """The rows: columns of `card_table.SCHEMA`, then `lineages.DERIVED`.

        Args:
            vectors: whether the column `vector` is among them.
        """
        return self._state.whole(self._indices) if vectors else self._state.table(self._indices)

    def frame(self, vectors: bool = False) -> pd.DataFrame:
        """`table` as pandas."""
        return self.table(vectors).to_pandas()

    def _built(self, first: int, end: int) -> list[DirectionCard]:
        table = self._state.table(self._indices[first:end])
        vectors = self._state.vectors.each(table)
        if self._tags is None:
            self._tags = self._tagged()
        tags = self._tags
        rows: list[dict[str, Any]] = table.to_pylist()
        return [
            to_card(row, vector, tags.get((row["direction_id"], row["version"]), ()))
            for row, vector in zip(rows, vectors, strict=True)
        ]
