"""Rows and columns of a dataset that an expression and a sample choose, one shard at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.expression_values import Kind, check_condition, evaluate, kind_of
from schemas.expressions import Expression, parse
from schemas.registry import unknown
from schemas.samples import Field
from storage.dataset import Dataset, attribute_fields
from storage.manifest import Manifest
from storage.shards import read_shard

ID, INDEX = "sample_id", "index"
WHO = "--where"
DIGEST = 16  # bytes of a sample's lot; that two of 10^9 draw the same one has odds of 10^-21
ROOM = 65_536  # lots that are kept beyond those asked for before they are sorted


@dataclass(frozen=True)
class Choice:
    """Which rows and columns are asked for; everything in it fits the dataset."""

    where: Expression | None
    columns: tuple[str, ...]  # full names, in the order of the tables
    sample: int | None = None
    seed: int = 0


def select(
    dataset: Dataset,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Iterator[pa.Table]:
    """The chosen rows of each finished shard in order; a shard without any gives no table.

    Everything is checked before this returns. One shard is in memory at a time, and of it only
    the columns that are needed. With a sample the shards are read twice.

    Args:
        where: an expression over the columns and the attributes' short names; a row is chosen
            where it is true, and not where it is unknown for want of a measurement.
        columns: names of the same kind, in the order of the tables, which carry full names.
        sample: so many of the rows that `where` chooses: those with the lowest lots, a lot being
            a hash of the seed and the sample's id and index. How the rows lie in shards changes
            nothing about it.

    Raises:
        InputError: a name, the expression or the sample does not fit; fewer rows match.
        CorruptDataError: a shard is not what its receipt says.
    """
    choice = choose(dataset.manifest, where, columns, sample, seed)
    drawn = lots(dataset, choice)
    shards = sorted(dataset.receipts)
    return (table for _, table in chosen(dataset, choice, shards, drawn) if len(table))


def choose(
    manifest: Manifest,
    where: str | None,
    columns: Sequence[str] | None,
    sample: int | None,
    seed: int,
) -> Choice:
    """What `select` is told, checked against the dataset's columns.

    Raises:
        InputError: as `select`.
    """
    if sample is not None and sample < 1:
        raise InputError(f"sample {sample} came; expected 1 or more rows.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed {seed} came; expected 0 to 2^63 - 1.")
    expression = None
    if where is not None:
        expression = parse(where, WHO)
        refuse_pictures(expression, manifest, WHO)
        check_condition(expression, row_kinds(manifest), WHO)
    return Choice(expression, _columns(manifest, columns), sample, seed)


def _columns(manifest: Manifest, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(field.name for field in manifest.fields)
    if not names:
        raise InputError("columns: none came; expected the name of one at least.")
    known = row_fields(manifest)
    for name in names:
        if name not in known:
            raise unknown("column", name, known)
    return tuple(dict.fromkeys(known[name].name for name in names))


def row_fields(manifest: Manifest) -> dict[str, Field]:
    """What a row may be asked for: columns by their names, and attributes by their short ones."""
    return {**attribute_fields(manifest), **{field.name: field for field in manifest.fields}}


def row_kinds(manifest: Manifest) -> dict[str, Kind]:
    """Name -> its kind in an expression; pictures have none."""
    fields = row_fields(manifest).items()
    kinds = {name: kind_of(field.to_arrow().type) for name, field in fields}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def refuse_pictures(expression: Expression, manifest: Manifest, who: str) -> None:
    """InputError where an expression reads a column that is there and that has no kind."""
    kinds, known = row_kinds(manifest), row_fields(manifest)
    for name in expression.names:
        if name in known and name not in kinds:
            raise InputError(
                f"{who}: {name!r} holds bytes ({known[name].text or 'no numbers'}); expected "
                "columns of numbers or texts."
            )


def columns_read(manifest: Manifest, choice: Choice) -> tuple[str, ...]:
    """The columns that decide which rows are chosen."""
    known = row_fields(manifest)
    names = [] if choice.where is None else [known[name].name for name in choice.where.names]
    return tuple(dict.fromkeys([*names, *((ID, INDEX) if choice.sample is not None else ())]))


def chosen(
    dataset: Dataset, choice: Choice, shards: Sequence[int], drawn: bytes | None
) -> Iterator[tuple[int, pa.Table]]:
    """(shard, its chosen rows) of the given shards, with the choice's columns.

    Args:
        drawn: as `lots` gives it.
    """
    decide = columns_read(dataset.manifest, choice)
    wanted = list(dict.fromkeys([*choice.columns, *decide]))
    known = row_fields(dataset.manifest)
    for shard in shards:
        table = read_shard(dataset.store, dataset.receipts[shard], wanted)
        rows = matching(table, choice, known)
        if drawn is not None:
            rows &= _lots(table, choice.seed) <= np.bytes_(drawn)
        yield shard, table.select(list(choice.columns)).filter(pa.array(rows))


def matching(table: pa.Table, choice: Choice, known: Mapping[str, Field]) -> NDArray[np.bool_]:
    """(N,) true where the expression is; everywhere without one."""
    if choice.where is None:
        return np.ones(len(table), bool)
    columns = {name: table.column(known[name].name) for name in choice.where.names}
    return evaluate(choice.where, columns, rows=len(table), who=WHO).kept()


def lots(dataset: Dataset, choice: Choice) -> bytes | None:
    """The highest lot that is still in the sample; None where there is no sample.

    Holds as many lots as the sample has rows, of 16 bytes each, and one shard.

    Raises:
        InputError: fewer rows match than the sample asks for.
    """
    if choice.sample is None:
        return None
    known, decide = row_fields(dataset.manifest), columns_read(dataset.manifest, choice)
    best, parts, waiting, matched = np.empty(0, f"S{DIGEST}"), [], 0, 0
    for table in dataset.tables(decide):
        found = _lots(table, choice.seed)[matching(table, choice, known)]
        parts.append(found)
        waiting, matched = waiting + len(found), matched + len(found)
        if waiting > choice.sample + ROOM:
            best, parts, waiting = _lowest([best, *parts], choice.sample), [], 0
    if matched < choice.sample:
        which = "rows" if choice.where is None else f"rows with {choice.where.text}"
        raise InputError(
            f"sample {choice.sample:,} came; {dataset.url} has {matched:,} {which}. Ask for as "
            "many at most."
        )
    return bytes(_lowest([best, *parts], choice.sample)[-1])


def _lowest(parts: Sequence[NDArray], count: int) -> NDArray:
    return np.sort(np.concatenate(parts))[:count]


def _lots(table: pa.Table, seed: int) -> NDArray:
    """(N,) bytes that order the samples at random, the same whatever shard they lie in."""
    key = seed.to_bytes(8, "little")
    pairs = zip(table.column(ID).to_pylist(), table.column(INDEX).to_pylist(), strict=True)
    named = (f"{name} {index}".encode() for name, index in pairs)
    drawn = [hashlib.blake2b(each, digest_size=DIGEST, key=key).digest() for each in named]
    return np.array(drawn, f"S{DIGEST}")
