"""W as a generator's mapping network makes it: any number of samples, in parts, and no image.

Part k is a pure function of (generator, seed, k): who draws it, and beside how many others, changes
nothing. More samples with the same seed begin with the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from mining.generators.base import Conditioned, Floats, Generator, truncate
from mining.latents import check_conditional, shard_rng
from mining.methods.base import check_positive, check_whole
from mining.methods.moments import Moments
from schemas.errors import InputError, RunError

PART = 8192  # samples of one part
FIRST = 2**35  # the first part's number for `shard_rng`: no dataset, test or re-scoring reaches it
MOST = 10**9  # samples
MOST_PSI = 2.0  # as of a dataset


@dataclass(frozen=True)
class Draw:
    """Which samples of W."""

    samples: int = 1_000_000
    seed: int = 0
    psi: float = 1.0  # truncation: w = mean + psi (w - mean)

    def __post_init__(self) -> None:
        check_whole("samples of W", 1, samples=self.samples)
        check_whole("samples of W", 0, seed=self.seed)
        check_positive("samples of W", psi=self.psi)
        if self.samples > MOST or self.psi > MOST_PSI:
            raise InputError(
                f"samples of W: {self.samples:,} with psi {self.psi:g} came; expected at most "
                f"{MOST:,}, and a psi of at most {MOST_PSI:g}."
            )

    @property
    def parts(self) -> range:
        """The numbers of the parts."""
        return range(-(-self.samples // PART))

    def rows(self, part: int) -> int:
        """How many samples a part has: PART, but for the last."""
        return min(PART, self.samples - part * PART)

    def id_of(self, fingerprint: str) -> str:
        """Names the samples as a dataset's id names a dataset; `fingerprint`: of the generator."""
        content = {"generator": fingerprint, "part": PART, **asdict(self)}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"mapped-{digest[:16]}"


def mapped(generator: Generator, draw: Draw, part: int) -> Floats:
    """(rows, w_dim) of one part, truncated. z is drawn first, then the condition.

    Raises:
        InputError: as `check_conditional`.
        RunError: the generator gives another shape than it says.
    """
    check_conditional(generator)
    rng, count = shard_rng(draw.seed, FIRST + part), draw.rows(part)
    z = generator.sample_z(count, rng)
    condition = None
    if generator.c_dim and isinstance(generator, Conditioned):
        condition = np.asarray(generator.sample_condition(count, rng), np.float32)
    w = np.asarray(generator.map(z, condition=condition))
    if w.shape != (count, generator.w_dim):
        raise RunError(
            f"generator {generator.name!r}: map gave shape {w.shape}; expected "
            f"{(count, generator.w_dim)}; see mining/generators/base.py."
        )
    return w if draw.psi == 1 else truncate(w[:, None], generator.mean_w(), draw.psi)[:, 0]


def moments_of_part(generator: Generator, draw: Draw, part: int) -> Moments:
    """Of one part; errors as `mapped`, and InputError where W holds NaN or infinity."""
    return Moments.of(mapped(generator, draw, part))


def in_halves(parts: Iterable[Moments]) -> tuple[Moments, ...]:
    """The sums of the even and of the odd parts, in order; one sum where there is one part.

    Two halves that share no sample say how far what is found in all of them can be trusted.
    """
    found: list[Moments] = []
    for k, part in enumerate(parts):
        if k < 2:
            found.append(part)
        else:
            found[k % 2] += part
    return tuple(found)


def mapped_moments(generator: Generator, draw: Draw) -> Moments:
    """Of all samples, one part in memory at a time; errors as `moments_of_part`."""
    return whole(in_halves(moments_of_part(generator, draw, part) for part in draw.parts))


def whole(halves: tuple[Moments, ...]) -> Moments:
    """What `in_halves` parted."""
    return halves[0] if len(halves) == 1 else halves[0] + halves[1]
