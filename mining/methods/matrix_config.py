"""Settings of the direction matrix, and sets of them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mining.methods.base import check_layers, check_positive, check_whole
from schemas.errors import InputError
from schemas.registry import unknown

CHAINS = ("surrogate", "images")
TRAININGS = ("auto", "synthetic", "mixed", "paired")
STARTS = ("ridge", "zeros", "normal")
SCHEDULES = ("constant", "cosine")
METRICS = ("motion", "none")
CHANGES = ("reading", "codes")
DEVICES = ("cpu", "cuda", "auto")
ANGLES = {"yaw": 40.0, "pitch": 20.0, "roll": 20.0}  # degrees that are rescaled to `reach`


@dataclass(frozen=True)
class MatrixConfig:
    """Settings of `mine_direction_matrix`; `PRESETS` names some sets."""

    source: str = ""  # extractor whose pose and expression are read; "": fitted to landmarks
    shape_model: str = "head"  # what is fitted: "head", or the path or URL of a shape model
    shape_kind: str = "head"  # what that file is: head, bfm, flame, surrey
    reader: Mapping[str, Any] = field(default_factory=dict)  # options of that kind's reader
    parameters: tuple[str, ...] = ()  # columns that are kept, by name; none named: all
    expressions: int = 12  # m_e, at most
    layers: tuple[int, int] | None = None  # rows of W+ that move, first to last - 1; None: all
    chain: str = "surrogate"  # one of CHAINS: through what the losses reach A
    training: str = "auto"  # one of TRAININGS; auto: paired, mixed or synthetic as rows allow
    start: str = "ridge"  # one of STARTS: closed form, zeros, or normal numbers
    start_spread: float = 0.03  # of `normal`, per rescaled unit
    shape_weight: float = 1.0  # of |S_r - S_gt|, equation (4)
    eye_weight: float = 1.0  # of equation (5) over the eyes' pairs
    mouth_weight: float = 1.0  # and over the mouth's
    identity_weight: float = 0.1  # of equation (6)
    perceptual_weight: float = 0.1
    pixel_weight: float = 1.0  # of equation (7), pairs alone
    latent_weight: float = 1e-4  # of |Delta w|^2, random pairs alone
    change: str = "reading"  # one of CHANGES: what Delta p of a pair is: read linearly, or as seen
    single: float = 0.5  # share of a batch that changes one parameter alone
    inside: bool = True  # such a change ends inside the parameter's range; False: anywhere
    reach: float = 6.0  # a: parameters are rescaled to -a..a
    tail: float = 0.005  # share of a parameter's values beyond each end of its range
    extremes: bool = False  # compat: the range ends at the smallest and largest value
    bias: bool = False  # compat: Delta w = A Delta p + b
    metric: str = "motion"  # one of METRICS: coordinates in which steps are taken
    learning_rate: float = 1e-4  # Adam's; other starts than ridge want more
    schedule: str = "cosine"  # one of SCHEDULES
    weight_decay: float = 0.0  # added to the gradient, as Adam has it
    batch: int = 64
    steps: int = 100  # an epoch
    epochs: int = 8  # synthetic or mixed
    paired_epochs: int = 8
    held_out: float = 0.1  # share of rows, or of sequences, whose pairs choose the epoch
    pairs: int = 256  # held-out pairs
    surrogate: Mapping[str, Any] = field(default_factory=dict)  # options of SurrogateConfig
    images: Mapping[str, Any] = field(default_factory=dict)  # options of the chain of images
    sequences: str = ""  # another dataset with sequences of one identity: read by the job
    inverted: str = ""  # latents of inverted images: read by the job
    seed: int = 0
    device: str = "cpu"  # one of DEVICES

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))  # a list comes from YAML
        object.__setattr__(self, "layers", check_layers("direction_matrix", self.layers))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown(f"{name} of direction_matrix", str(getattr(self, name)), known)
        weights = {name: getattr(self, name) for name in (*WEIGHTS, "weight_decay")}
        check_positive("direction_matrix", zero=True, **weights, start_spread=self.start_spread)
        check_positive("direction_matrix", learning_rate=self.learning_rate, reach=self.reach)
        check_whole("direction_matrix", 1, batch=self.batch, steps=self.steps, pairs=self.pairs)
        wholes = {name: getattr(self, name) for name in ("expressions", "epochs", "paired_epochs")}
        check_whole("direction_matrix", 0, **wholes, seed=self.seed)
        self._check_shares()
        if not any(weights[name] for name in WEIGHTS[:3]):
            raise InputError(
                "direction_matrix: shape_weight, eye_weight and mouth_weight are 0; nothing says "
                "what a parameter does. Expected one above 0."
            )
        if len(set(self.parameters)) < len(self.parameters):
            raise InputError(f"direction_matrix: parameters {list(self.parameters)} repeat a name.")

    def _check_shares(self) -> None:
        for name, value, least, most in (
            ("single", self.single, 0.0, 1.0),
            ("tail", self.tail, 0.0, 0.25),
            ("held_out", self.held_out, 0.01, 0.5),
        ):
            if not least <= value <= most:
                raise InputError(
                    f"direction_matrix: {name} is {value}, expected {least:g} to {most:g}."
                )


WEIGHTS = (
    *("shape_weight", "eye_weight", "mouth_weight", "identity_weight", "perceptual_weight"),
    *("pixel_weight", "latent_weight"),
)
CHOICES = {
    "chain": CHAINS,
    "training": TRAININGS,
    "start": STARTS,
    "schedule": SCHEDULES,
    "metric": METRICS,
    "change": CHANGES,
    "device": DEVICES,
}

PRESETS = {
    "default": MatrixConfig(),
    # Bounareli et al.'s numbers and their code's: 20,000 steps of 12, then 150,000 on pairs
    "paper": MatrixConfig(
        layers=(0, 8),
        start="normal",
        identity_weight=10.0,
        perceptual_weight=10.0,
        latent_weight=0.0,
        change="codes",
        inside=False,
        metric="none",
        learning_rate=1e-4,
        schedule="constant",
        weight_decay=5e-4,
        batch=12,
        steps=1000,
        epochs=20,
        paired_epochs=150,
        pairs=100,
    ),
}
