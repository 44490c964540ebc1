"""The pairs of latents on which a direction matrix is trained: drawn from a seed and an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.chain_codes import has_sequences
from mining.methods.direction_matrix import METHOD
from mining.methods.learned import LearnedRows
from mining.methods.matrix_config import MatrixConfig
from schemas.errors import InputError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
SPLIT, VALIDATION, EPOCH = 0, 1, 2  # what random numbers are drawn for
SYNTHETIC, MIXED, PAIRED = "synthetic", "mixed", "paired"


@dataclass(frozen=True)
class Pool:
    """Rows from which pairs are drawn: any two, or two of one group."""

    rows: Numbers  # (N,), a group's beside each other
    starts: Numbers  # (G + 1,) where each group starts, and the end

    def pairs(self, count: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """(count,) sources and (count,) targets: other rows of their groups."""
        group = rng.integers(len(self.starts) - 1, size=count)
        sizes = np.diff(self.starts)[group]
        first = (rng.random(count) * sizes).astype(np.int64)
        step = 1 + (rng.random(count) * (sizes - 1)).astype(np.int64)
        start = self.starts[group]
        return self.rows[start + first], self.rows[start + (first + step) % sizes]


@dataclass(frozen=True)
class Draw:
    """Sources, targets, and which parameter changes alone, by how much."""

    source: Numbers  # (n,) rows
    target: Numbers  # (n,)
    alone: Numbers  # (n,) a parameter, or -1 where all change as the target says
    amount: Array  # (n,) rescaled units of it


@dataclass(frozen=True)
class Stage:
    """Epochs on pairs of one kind."""

    mode: str  # SYNTHETIC, MIXED or PAIRED
    epochs: int
    training: tuple[Pool, ...]  # a batch takes from them in turn
    held_out: tuple[Pool, ...]

    @property
    def paired(self) -> bool:
        """Whether the target is the source's person, and so what the source should become."""
        return self.mode == PAIRED


def drawn(
    pools: Sequence[Pool],
    count: int,
    parameters: int,
    config: MatrixConfig,
    single: float,
    seed: Sequence[int],
) -> Draw:
    """`count` pairs, taken from the pools in turn; a share `single` changes one parameter alone."""
    rng = np.random.default_rng([config.seed, *seed])
    source, target = np.empty(count, np.int64), np.empty(count, np.int64)
    for k, pool in enumerate(pools):
        place = slice(k, count, len(pools))
        source[place], target[place] = pool.pairs(len(range(count)[place]), rng)
    alone = rng.integers(parameters, size=count)
    amount = rng.uniform(-config.reach, config.reach, size=count)
    turn = np.arange(count) // len(pools)  # each pool has its share of them
    kept = np.floor((turn + 1) * single) > np.floor(turn * single)
    return Draw(source, target, np.where(kept, alone, -1), amount)


def place_of(stages: Sequence[Stage], epoch: int) -> tuple[int, int]:
    """The stage of an epoch, and its number there."""
    for number, stage in enumerate(stages):
        if epoch < stage.epochs:
            return number, epoch
        epoch -= stage.epochs
    raise AssertionError("no stage has so many epochs")


def part_of(draw: Draw, start: int, count: int) -> Draw:
    """`count` of the pairs, from number `start` on."""
    part = slice(start, start + count)
    return Draw(draw.source[part], draw.target[part], draw.alone[part], draw.amount[part])


def stages_of(rows: LearnedRows, config: MatrixConfig) -> tuple[Stage, ...]:
    """What the training goes through; rows of `rows.inverted` are numbered after the others.

    Raises:
        InputError: the training needs sequences or inverted latents that are not there, or there
            are too few rows.
    """
    mode = mode_of(rows, config)
    if len(rows) < 4:
        raise InputError(f"{METHOD}: {len(rows)} rows came, expected at least 4.")
    found = []
    if mode != PAIRED or config.start != "ridge":  # else the closed form of the pairs stands there
        pools = [_split(np.arange(len(rows)), config, 0)]
        if rows.inverted is not None and mode != SYNTHETIC:
            if len(rows.inverted) < 4:
                raise InputError(f"{METHOD}: {len(rows.inverted)} inverted latents, expected 4.")
            pools.append(_split(len(rows) + np.arange(len(rows.inverted)), config, 1))
        kept, held = (tuple(_pool(part) for part in parts) for parts in zip(*pools, strict=True))
        first = SYNTHETIC if len(pools) == 1 else MIXED
        found.append(Stage(first, config.epochs, kept, held))
    if mode == PAIRED:
        kept, held = _sequences(rows, config)
        found.append(Stage(PAIRED, config.paired_epochs, (kept,), (held,)))
    return tuple(found)


def mode_of(rows: LearnedRows, config: MatrixConfig) -> str:
    """How the rows are trained on; InputError where they cannot be so."""
    mode = config.training
    if mode == "auto" and has_sequences(rows):
        return PAIRED
    if mode == "auto":
        return SYNTHETIC if rows.inverted is None else MIXED
    missing = {PAIRED: rows.sequences, MIXED: rows.inverted}.get(mode, rows)
    if missing is None:
        what = "sequences of one identity" if mode == PAIRED else "latents of inverted images"
        raise InputError(
            f"{METHOD}: training {mode} needs {what}, and the rows have none; expected the option "
            f"{'sequences' if mode == PAIRED else 'inverted'}, or training synthetic."
        )
    return mode


def _split(rows: Numbers, config: MatrixConfig, which: int) -> tuple[Numbers, Numbers]:
    """Training and held-out rows, at least two of each."""
    rng = np.random.default_rng([config.seed, SPLIT, which])
    shuffled = rows[rng.permutation(len(rows))]
    count = min(max(2, round(config.held_out * len(rows))), len(rows) - 2)
    return shuffled[count:], shuffled[:count]


def _pool(rows: Numbers) -> Pool:
    """Any two of the rows."""
    return Pool(rows, np.array([0, len(rows)]))


def _sequences(rows: LearnedRows, config: MatrixConfig) -> tuple[Pool, Pool]:
    """Sequences of two rows or more, those trained on and those held out."""
    numbers = np.asarray(rows.sequences)
    used = np.flatnonzero(numbers >= 0)
    _, first, place = np.unique(numbers[used], return_index=True, return_inverse=True)
    by_place = np.argsort(np.argsort(first))[place]  # by the first row that they have
    groups = [used[by_place == k] for k in range(len(first))]
    groups = [group for group in groups if len(group) > 1]
    if len(groups) < 2:
        raise InputError(
            f"{METHOD}: {len(groups)} sequences have two rows or more; expected at least 2."
        )
    order = np.random.default_rng([config.seed, SPLIT, 2]).permutation(len(groups))
    count = min(max(1, round(config.held_out * len(groups))), len(groups) - 1)
    return _grouped([groups[k] for k in order[count:]]), _grouped(
        [groups[k] for k in order[:count]]
    )


def _grouped(groups: Sequence[Numbers]) -> Pool:
    ends = np.cumsum([len(group) for group in groups])
    return Pool(np.concatenate(groups), np.concatenate([[0], ends]))
