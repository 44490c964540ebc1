"""Versions derived: a card's rank within its lineage, in the order of commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from storage.card_table import SCHEMA

LINEAGE = ("generator_fingerprint", "space", "attribute", "method")
_LIGHT = ("direction_id", "generator", *LINEAGE, "publication_id", "position", "created_at")
LIGHT_SCHEMA = pa.schema([SCHEMA.field(name) for name in _LIGHT])  # what `order` reads
DERIVED = (
    pa.field("version", pa.int32()),  # from 1
    pa.field("latest", pa.bool_()),  # no other of its lineage is newer
    pa.field("commit", pa.int64()),  # the Delta version; null where the log forgot it
)
_FINGERPRINT_DIGITS = 8  # fewer do not name a generator


def order(light: pa.Table, commits: Mapping[str, int]) -> pa.Table:
    """The rows in the order of commits, and of publishing within one, with DERIVED columns.

    A publication that the log has forgotten is older than all that it remembers; among those the
    publishers' clocks decide.

    Args:
        light: every row of the catalogue, the columns of LIGHT_SCHEMA.
        commits: commit number by publication id.
    """
    rows = light.to_pylist()
    rows.sort(key=lambda row: _key(row, commits.get(row["publication_id"], -1)))
    count: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        count[_lineage(row)] += 1
        row["version"] = count[_lineage(row)]
        row["commit"] = commits.get(row["publication_id"])
    for row in rows:
        row["latest"] = row["version"] == count[_lineage(row)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*LIGHT_SCHEMA, *DERIVED]))


def ranked(rows: pa.Table, ordered: pa.Table) -> pa.Table:
    """The rows in the order of `ordered`, with its DERIVED columns; rows it lacks are left out."""
    place = {key: index for index, key in enumerate(_keys(ordered))}
    found = sorted((place[key], index) for index, key in enumerate(_keys(rows)) if key in place)
    rows = rows.take(pa.array([index for _, index in found], pa.int64()))
    beside = ordered.take(pa.array([at for at, _ in found], pa.int64()))
    for field in DERIVED:
        rows = rows.append_column(field, beside[field.name])
    return rows


def made_by(rows: pa.Table, generator: str) -> list[bool]:
    """Which rows are of the generator of this name, or whose fingerprint starts so (8 digits)."""
    start = generator.lower() if len(generator) >= _FINGERPRINT_DIGITS else "-"  # no such digit
    names, prints = rows["generator"].to_pylist(), rows["generator_fingerprint"].to_pylist()
    pairs = zip(names, prints, strict=True)
    return [name == generator or print_.startswith(start) for name, print_ in pairs]


def _lineage(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in LINEAGE)


def _key(row: Mapping[str, Any], commit: int) -> tuple[Any, ...]:
    return (commit, row["created_at"], row["publication_id"], row["position"])


def _keys(rows: pa.Table) -> list[tuple[str, int]]:
    publications, positions = rows["publication_id"].to_pylist(), rows["position"].to_pylist()
    return list(zip(publications, positions, strict=True))
