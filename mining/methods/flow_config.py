"""Settings of the attribute flow, and the sets of them that have names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mining.methods.base import check_layers, check_positive, check_whole
from schemas.errors import InputError
from schemas.registry import unknown

WHO = "attribute_flow"
OBJECTIVES = ("matching", "likelihood")
TRACES = ("hutchinson", "exact")
READINGS = ("ridge", "within")
SCHEDULES = ("cosine", "constant")
DEVICES = ("cpu", "cuda", "auto")
SOLVERS = ("dopri5", "dopri8", "bosh3", "adaptive_heun")  # adaptive ones of torchdiffeq
TIGHTEST, LOOSEST = 1e-12, 0.1  # of `tolerance`; under it float64 has no digits left


@dataclass(frozen=True)
class FlowConfig:
    """Settings of `mine_attribute_flow`; `PRESETS` names some sets."""

    attributes: tuple[str, ...] = ()  # conditions; empty: all that the rows have scores of
    layers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # attribute -> [first, last): the rows of W+ that its edits move; all of them where not named
    denoise: bool = True  # conditions are E[a | w], not a as measured on each image
    reading: str = "ridge"  # E[a | w] by one of READINGS; within: by what changes in a sequence
    balance: float = 1.0  # 0: the rows as they are; 1: those of a population of the same latents
    # whose axes all have one spread, so that what goes together in the rows need not move together
    fill: int = 16  # latents an epoch, at least, for each number of one; normal mixtures of rows
    # make up for missing ones, as few rows are learnt by heart; 0, or no denoise: rows alone
    objective: str = "matching"  # one of OBJECTIVES
    trace: str = "hutchinson"  # of the likelihood's divergence, one of TRACES
    hidden: tuple[int, ...] = (64, 64)  # widths between D and D
    embedded: int = 64  # width of time and conditions before the gates; 0: they gate directly
    learning_rate: float = 1e-3  # AdamW's
    schedule: str = "cosine"  # of the rate over all steps, one of SCHEDULES
    weight_decay: float = 1.0  # decoupled: weights shrink by learning_rate * this a step
    batch: int = 256  # rows a step
    epochs: int = 40
    held_out: float = 0.1  # share of the rows that only choose the epoch
    solver: str = "dopri5"  # one of SOLVERS
    tolerance: float = 1e-6  # relative and absolute, of latents in their spread
    seed: int = 0
    device: str = "cpu"  # one of DEVICES; auto: a GPU where torch sees one

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", tuple(self.attributes))  # lists come from YAML
        object.__setattr__(self, "hidden", tuple(self.hidden))
        layers = {name: check_layers(WHO, rows) for name, rows in self.layers.items()}
        object.__setattr__(self, "layers", {n: r for n, r in layers.items() if r is not None})
        widths = {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        check_whole(WHO, 1, batch=self.batch, epochs=self.epochs, **widths)
        check_whole(WHO, 0, seed=self.seed, embedded=self.embedded, fill=self.fill)
        check_positive(WHO, learning_rate=self.learning_rate)
        check_positive(WHO, zero=True, weight_decay=self.weight_decay)
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        for name, known in (
            ("objective", OBJECTIVES),
            ("trace", TRACES),
            ("reading", READINGS),
            ("schedule", SCHEDULES),
            ("solver", SOLVERS),
            ("device", DEVICES),
        ):
            if getattr(self, name) not in known:
                raise unknown(f"{WHO} {name}", str(getattr(self, name)), known)
        if len(set(self.attributes)) != len(self.attributes):
            raise InputError(f"{WHO}: attributes {list(self.attributes)} name one twice.")
        for name in self.layers:
            if self.attributes and name not in self.attributes:
                raise unknown(f"{WHO}: layers are given to attribute", name, self.attributes)

    def _check_ranges(self) -> None:
        if not self.hidden:
            raise InputError(f"{WHO}: hidden is empty, expected one width or more.")
        if not 0 < self.held_out < 1:
            raise InputError(f"{WHO}: held_out is {self.held_out}, expected inside (0, 1).")
        if not 0 <= self.balance <= 1:
            raise InputError(f"{WHO}: balance is {self.balance}, expected 0 to 1.")
        if self.balance and not self.denoise:
            raise InputError(
                f"{WHO}: balance is {self.balance} and denoise is off; balanced latents are of no "
                "image, so their conditions can only be read: set balance to 0, or denoise."
            )
        if not TIGHTEST <= self.tolerance <= LOOSEST or not math.isfinite(self.tolerance):
            raise InputError(
                f"{WHO}: tolerance is {self.tolerance}, expected {TIGHTEST:g} to {LOOSEST:g}."
            )


PRESETS = {
    "default": FlowConfig(),
    # Abdal et al. (2021), doi:10.1145/3447648, as their code has it where the paper is silent
    "styleflow": FlowConfig(
        denoise=False,
        balance=0.0,
        fill=0,
        objective="likelihood",
        hidden=(512, 512, 512, 512),  # five layers with the last, back to D
        embedded=0,
        schedule="constant",
        weight_decay=0.0,
        batch=5,
        epochs=3,
        tolerance=1e-5,
    ),
}
