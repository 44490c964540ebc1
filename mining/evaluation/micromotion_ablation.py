"""What anchors, identities and decompositions bring to a micromotion, by its cosine to a reference.

Anchors that the regressor makes are clean; those of text optimisation or of inverted frames are
not. So every choice is tried twice: on the anchors as they are, and with some of them damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.response import bootstrap_mean
from mining.methods.anchor_motion import (
    Decomposition,
    MotionConfig,
    Pooling,
    Reading,
    find_motion,
)
from mining.methods.anchors import Anchors, AttributeAnchors, central_starts, even_degrees
from mining.methods.base import check_pairs, check_positive, check_whole, own_order
from mining.methods.control import ControlModel
from mining.methods.micromotion import MicromotionConfig
from mining.methods.readout import Readout, fit_readout
from schemas.errors import InputError

Array = NDArray[np.float64]
Study = Literal["anchors", "identities", "decomposition"]
HIT = 0.1  # share of a damaged anchor's numbers that are off


@dataclass(frozen=True)
class AblationConfig:
    """Settings of `ablate`."""

    anchors: tuple[int, ...] = tuple(range(1, 17))
    identities: tuple[int, ...] = tuple(range(1, 11))
    repeats: int = 5  # identities, or draws of them, behind a mean
    damaged: float = 0.25  # share of the anchors that are damaged
    strength: float = 2.0  # length of the damage, in lengths of the longest move
    bootstrap: int = 500  # resamples of the repeats behind an interval
    # what is not varied; a looser pursuit than for mining changes cosines by less than 1e-8
    base: MicromotionConfig = MicromotionConfig(tolerance=1e-5)
    seed: int = 0  # of identities and damage

    def __post_init__(self) -> None:
        for name in ("anchors", "identities"):
            counts = tuple(getattr(self, name))
            check_whole("ablation", 1, **{f"{name}[{k}]": each for k, each in enumerate(counts)})
            if not counts or max(counts) > 100:
                raise InputError(f"ablation: {name} are {list(counts)}, expected some of 1 to 100.")
            object.__setattr__(self, name, tuple(sorted(set(counts))))
        check_whole("ablation", 1, repeats=self.repeats, bootstrap=self.bootstrap)
        check_whole("ablation", 0, seed=self.seed)
        check_positive("ablation", zero=True, strength=self.strength)
        if not 0 <= self.damaged < 1:
            raise InputError(f"ablation: damaged is {self.damaged}, expected inside [0, 1).")


@dataclass(frozen=True)
class Point:
    """One setting, tried on several identities."""

    study: Study
    anchors: int  # per identity
    identities: int
    pooling: str
    decomposition: str
    reading: str
    damaged: bool
    cosine: float  # to the reference, mean over the repeats
    low: float  # 95 % of the mean, by bootstrap; NaN where there is one repeat
    high: float
    worst: float  # the lowest repeat
    repeats: int
    converged: float  # share of the repeats whose pursuits all did


@dataclass(frozen=True)
class Ablation:
    """Everything that was tried for one attribute."""

    attribute: str
    unit: str
    reference: str  # what cosines are to, in words
    known: bool  # whether that is the truth
    r2: float  # of the attribute's read-out from the codes, on held-out rows
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Setting:
    """One of the settings that are tried."""

    study: Study
    motion: MotionConfig
    anchors: int  # per identity
    identities: int
    damaged: bool


@dataclass(frozen=True)
class Bench:
    """What all trials share, and the anchors made so far."""

    control: ControlModel
    readout: Readout
    scores: Array
    people: tuple[Array, ...]  # one order of starts (P, D) for each repeat
    reference: Array  # (D,) of length 1
    config: AblationConfig
    made: dict[tuple[int, int, int], Anchors] = field(default_factory=dict)


def ablate(
    control: ControlModel,
    latents: Array,
    scores: Array,
    config: AblationConfig = AblationConfig(),
    *,
    attribute: str = "",
    unit: str = "1",
    truth: Array | None = None,
    watch: Callable[[], object] = lambda: None,
) -> Ablation:
    """Vary anchors, identities, and decomposition with reading; all else as `config.base` says.

    Identities are rows drawn by the seed. Damage is a vector on a tenth of an anchor's numbers,
    `strength` times as long as the longest move. Without a truth, cosines are to what the most
    anchors of the most identities give, clean and by `base`.

    Args:
        latents: (N, D) of the control model's space. scores: (N,).
        truth: (D,), any length above 0.
        watch: called after each of `len(plan(config))` settings.

    Raises:
        InputError: shapes disagree, or there are fewer rows than identities.
    """
    latents, scores = check_pairs("ablation", latents, scores, least=10)
    most = max(config.identities)
    if most > len(latents):
        raise InputError(f"ablation: {most} identities asked of {len(latents)} rows.")
    readout = fit_readout(control.regressor.predict(latents), scores, seed=config.base.seed)
    rng = np.random.default_rng(config.seed)
    rows = own_order(latents)
    people = tuple(latents[rng.permutation(rows)[:most]] for _ in range(config.repeats))
    known = truth is not None
    words = "the generator's true direction"
    if truth is None:
        starts = central_starts(latents, most)
        targets = even_degrees(scores, max(config.anchors), config.base.spread)
        anchors = AttributeAnchors(control, readout, starts, targets, config.base.steps)()
        truth = find_motion(anchors, config.base.motion(), control.latent_shape).vector
        words = f"the result of {max(config.anchors)} clean anchors of {most} identities"
    reference = np.asarray(truth, np.float64).ravel()
    if reference.shape != latents.shape[1:] or not np.linalg.norm(reference) > 0:
        raise InputError(f"ablation: a truth {reference.shape} came for latents {latents.shape}.")
    reference = reference / np.linalg.norm(reference)
    bench = Bench(control, readout, scores, people, reference, config)
    points = []
    for setting in plan(config):
        points.append(_tried(bench, setting))
        watch()
    return Ablation(attribute, unit, words, known, readout.r2, tuple(points))


def damage(anchors: Anchors, share: float, strength: float, rng: np.random.Generator) -> Anchors:
    """The anchors with this share of them, one at least where it is above 0, knocked off."""
    count = max(1, round(share * len(anchors.latents))) if share > 0 else 0
    latents, width = anchors.latents.copy(), anchors.latents.shape[1]
    size = strength * float(np.linalg.norm(anchors.moves, axis=1).max())
    for row in rng.choice(len(latents), count, replace=False):
        hit = rng.choice(width, max(1, round(HIT * width)), replace=False)
        blow = rng.normal(size=len(hit))
        latents[row, hit] += size * blow / np.linalg.norm(blow)
    return replace(anchors, latents=latents)


def plan(config: AblationConfig) -> list[Setting]:
    """Everything that is tried, in order."""
    states = (False, True) if config.damaged > 0 and config.strength > 0 else (False,)
    return [setting for damaged in states for setting in _settings(config, damaged)]


def _settings(config: AblationConfig, damaged: bool) -> Iterator[Setting]:
    base, count = config.base.motion(), config.base.degrees
    for anchors, kind in product(config.anchors, get_args(Decomposition)):
        # without a decomposition two anchors are all that is read, as in the source's ablation
        reading = "last_minus_first" if kind == "none" else base.reading
        motion = replace(base, decomposition=kind, reading=reading)
        yield Setting("anchors", motion, anchors, 1, damaged)
    for people, pooling in product(config.identities, get_args(Pooling)):
        yield Setting("identities", replace(base, pooling=pooling), count, people, damaged)
    for kind, reading in product(get_args(Decomposition), get_args(Reading)):
        motion = replace(base, decomposition=kind, reading=reading)
        yield Setting("decomposition", motion, count, 1, damaged)


def _tried(bench: Bench, setting: Setting) -> Point:
    config, motion = bench.config, setting.motion
    cosines, converged = [], []
    for repeat in range(config.repeats):
        made = _anchors(bench, repeat, setting.anchors, setting.identities)
        if setting.damaged:
            seed = [config.seed, repeat, setting.anchors, setting.identities]
            made = damage(made, config.damaged, config.strength, np.random.default_rng(seed))
        found = find_motion(made, motion, bench.control.latent_shape)
        cosines.append(float(found.vector @ bench.reference))
        converged.append(found.converged)
    mean, low, high = bootstrap_mean(np.array(cosines), config.bootstrap, config.seed)
    return Point(
        setting.study, setting.anchors, setting.identities, motion.pooling, motion.decomposition,
        motion.reading, setting.damaged, mean, low, high, min(cosines), len(cosines),
        float(np.mean(converged)),
    )  # fmt: skip


def _anchors(bench: Bench, repeat: int, count: int, people: int) -> Anchors:
    """Clean anchors of the first identities of a repeat, made once."""
    key = (repeat, count, people)
    if key not in bench.made:
        config = bench.config.base
        targets = even_degrees(bench.scores, count, config.spread)
        starts = bench.people[repeat][:people]
        source = AttributeAnchors(bench.control, bench.readout, starts, targets, config.steps)
        bench.made[key] = source()
    return bench.made[key]
