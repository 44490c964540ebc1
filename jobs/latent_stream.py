"""Latents and scores of a finished dataset, shard by shard, for methods that need sums of them.

However many rows there are, memory holds some thousand of them, their scores, and a D x D matrix
for each attribute; what is read more than once goes to a file that has no name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.labels import Label, needed_columns, values_in
from mining.methods.moments import Moments
from mining.methods.paired_moments import PairedMoments, each_paired, joint_moments
from mining.stored import latent_column
from schemas.errors import InputError, StorageError
from schemas.samples import from_column
from storage.dataset import Dataset
from storage.selecting import select

FEW = 8192  # rows that are kept in memory whatever D is
Part = tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]  # latents, attribute -> scores


@dataclass(frozen=True)
class Collected:
    """What one pass over the shards left of the rows where all attributes are measured."""

    shape: tuple[int, ...]  # of one latent
    scores: Mapping[str, NDArray[np.float64]]  # attribute -> (N,)
    rows: NDArray[np.float32] | None  # (N, D) in memory or in a file; None: not kept
    moments: Mapping[str, PairedMoments] | None  # of each attribute; None where rows are few

    @property
    def few(self) -> bool:
        """Whether there are so few rows that they are all in memory."""
        return self.moments is None


def collect(
    dataset: Dataset,
    attributes: Sequence[str],
    labels: Mapping[str, Label],
    where: str | None,
    keep: bool,
    few: int = FEW,
) -> Collected:
    """Read latents and attributes once.

    Args:
        where: an expression over the columns; other rows are left out.
        keep: whether the method reads the rows again.
        few: so many rows, or as many as a latent has numbers, stay in memory.

    Raises:
        InputError: no row is left, or none with all attributes.
        CorruptDataError: a shard is damaged.
        StorageError: the file cannot be written.
    """
    reading = _Reading(dataset, attributes, labels, where)
    with tempfile.TemporaryFile() as file:
        return _collected(reading, max(few, reading.width), file if keep else None)


def _collected(reading: _Reading, few: int, file: IO[bytes] | None) -> Collected:
    held: list[Part] = []
    sums: Moments | None = None
    scores: dict[str, list[NDArray]] = {name: [] for name in reading.attributes}
    waiting = 0
    for latents, values in reading:
        held.append((latents, values))
        waiting += len(latents)
        for name, told in scores.items():
            told.append(values[name])
        if waiting > few:
            sums = _added(sums, held, file)
            held, waiting = [], 0
    reading.check()
    found = {name: np.concatenate(told) for name, told in scores.items()}
    if sums is None:
        return Collected(reading.shape, found, np.concatenate([part for part, _ in held]), None)
    if held:
        sums = _added(sums, held, file)
    moments = dict(zip(found, each_paired(sums, reading.width), strict=True))
    return Collected(reading.shape, found, _mapped(file, reading), moments)


def _mapped(file: IO[bytes] | None, reading: _Reading) -> NDArray[np.float32] | None:
    """The rows in a file, which goes with the array."""
    if file is None:
        return None
    file.flush()
    shape = reading.measured, reading.width
    return np.memmap(file, np.float32, "r", shape=shape)  # type: ignore[arg-type]


def _added(sums: Moments | None, held: list[Part], file: IO[bytes] | None) -> Moments:
    """The sums with the parts in memory, which go to the file too where there is one."""
    latents = np.concatenate([part for part, _ in held])
    scores = np.concatenate([np.column_stack(list(values.values())) for _, values in held])
    made = joint_moments(latents, scores)
    if file is not None:
        _kept(latents, file)
    return made if sums is None else sums + made


def _kept(latents: NDArray[np.float32], file: IO[bytes]) -> None:
    try:
        latents.tofile(file)
    except OSError as error:
        raise StorageError(
            f"{tempfile.gettempdir()}: the latents could not be written ({error}); give TMPDIR a "
            "folder with room for 4 bytes of each number."
        ) from error


class _Reading:
    """The parts of a dataset, and what was seen of it."""

    def __init__(
        self,
        dataset: Dataset,
        attributes: Sequence[str],
        labels: Mapping[str, Label],
        where: str | None,
    ):
        self.dataset, self.attributes, self.labels, self.where = dataset, attributes, labels, where
        self.column = latent_column(dataset.manifest)
        self.reads = needed_columns(dataset.manifest, attributes, labels)
        self.shape = dataset.field(self.column).shape
        self.width = int(np.prod(self.shape))
        self.rows = self.measured = 0
        self.known = dict.fromkeys(attributes, 0)

    def __iter__(self) -> Iterator[Part]:
        names = list(dict.fromkeys([self.column, *self.reads.values()]))
        for table in select(self.dataset, self.where, names):
            latents, scores = self._part(table)
            if len(latents):
                yield latents, scores

    def _part(self, table: pa.Table) -> Part:
        scores = {name: values_in(table, name, self.reads, self.labels) for name in self.attributes}
        finite = {name: np.isfinite(values) for name, values in scores.items()}
        rows = np.logical_and.reduce(list(finite.values()))
        self.rows, self.measured = self.rows + len(rows), self.measured + int(rows.sum())
        for name, found in finite.items():
            self.known[name] += int(found.sum())
        latents = from_column(table.column(self.column))[rows]
        return latents.reshape(len(latents), self.width), {
            name: x[rows] for name, x in scores.items()
        }

    def check(self) -> None:
        """InputError where nothing was read."""
        if not self.rows:
            which = f"with {self.where}" if self.where else "yet"
            raise InputError(
                f"direction: {self.dataset.url} has no rows {which}; nothing can be mined."
            )
        for name, known in self.known.items():
            if not known:
                raise InputError(
                    f"{name} is known in none of {self.rows:,} rows; see the extractors' statuses "
                    "with `lode dataset info`."
                )
        if not self.measured:
            raise InputError(
                f"direction: none of {self.rows:,} rows has all of {', '.join(self.attributes)}; "
                "hold fewer attributes."
            )
