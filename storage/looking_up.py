"""Cards by name: the rows of an id or the first digits of it, of a tag, of a publication."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow.compute

from schemas.errors import InputError
from storage.finding import Rows
from storage.snapshots import State
from storage.tags import Tag, looks_like_tag

pc: Any = pyarrow.compute  # whose functions pyright does not see

Tags = Callable[[], Mapping[str, Tag]]


def row_of(state: State, name: str, tags: Tags) -> Rows:
    """The newest version of a direction, or the version that a tag points at.

    Args:
        state: the cards.
        name: an id, the first digits of the only one that starts so, or a tag.
        tags: tells where each points; called where the name can be no id.

    Raises:
        InputError: no direction, or more than one, starts so.
    """
    name = name.strip()
    if looks_like_tag(name):
        target = known.target if (known := tags().get(name)) is not None else None
        if target is not None:
            rows = _with(state, "direction_id", target.direction_id)
            return rows[state.versions[rows] == target.version][:1]
    return _with(state, "direction_id", _whole_id(state, name))[-1:]


def lineage_of(state: State, name: str, tags: Tags) -> Rows:
    """Every version of the lineage that the direction is in; names as in `row_of`."""
    row = row_of(state, name, tags)
    return np.flatnonzero(state.lineages == state.lineages[row])


def publication_of(state: State, publication_id: str) -> Rows:
    """The rows of one publication in the order in which they were published."""
    return _with(state, "publication_id", publication_id)


def _with(state: State, column: str, value: str) -> Rows:
    return np.flatnonzero(pc.equal(state.rows[column], value).to_numpy())


def _whole_id(state: State, name: str) -> str:
    start = name.lower()
    if not start:
        raise InputError(
            "direction: the id is empty; expected the first digits of one. `lode catalog list` "
            "shows them."
        )
    starts = pc.starts_with(state.rows["direction_id"], start)
    found = sorted(pc.unique(state.rows["direction_id"].filter(starts)).to_pylist())
    if len(found) != 1:
        what = f"{len(found)} start so, first {', '.join(found[:3])}" if found else "none is"
        raise InputError(
            f"direction {name!r} of {state.vectors.url}: {what}; expected the first digits of "
            "exactly one. `lode catalog list --all-versions` shows them all."
        )
    return found[0]
