"""Anchors by text: images are optimised until a scorer finds them to fit a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mining.editing.image_networks import ImageNetwork
from mining.generators.base import Generator
from mining.methods.anchors import Anchors
from mining.methods.base import check_positive, check_whole
from schemas.errors import InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Optimiser = Literal["auto", "gradient", "evolution"]
MOST_LETTERS = 300  # of a sentence

# attribute -> the source's sentence, {} where the degree stands
TEMPLATES: Mapping[str, str] = {
    "smile": "person with {} smile",
    "angry": "person with {} angry face",
    "eyes_closed": "person with eyes {} closed",
    "ageing": "{} old person with gray hair",
    "dog_eyes_closed": "eyes {} close",
    "dog_mouth_open": "mouth {} open",
}
# word -> how much it says, from 0 to 1; the source orders none of its own
PERCENT: Mapping[str, float] = {"no": 0.0, **{f"{k}0%": k / 10 for k in range(1, 11)}}
TENS: Mapping[str, float] = {f"{k}0": k / 10 for k in range(1, 7)}
SIZES: Mapping[str, float] = {"small": 0.25, "big": 1.0}
WORDS: Mapping[str, float] = {
    "no": 0.0,
    "a slight": 0.25,
    "slight": 0.25,
    "": 0.5,
    "a large": 0.75,
    "large": 0.75,
    "a big": 1.0,
    "big": 1.0,
}
# the last two are those of the source's ablation of words
DEGREES: Mapping[str, Mapping[str, float]] = {
    "percent": PERCENT,
    "words": WORDS,
    "tens": TENS,
    "sizes": SIZES,
}


class Scorer(Protocol):
    """Tells how well images fit sentences. Weights load in __init__; calls change nothing."""

    def text(self, sentences: Sequence[str]) -> Array:
        """(T, E) features of length 1, one per sentence."""
        ...

    def images(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in -1..1 -> (N, E) features of length 1; gradients pass through it."""
        ...


@dataclass(frozen=True)
class TextConfig:
    """Settings of `TextAnchors`; the defaults are the released code's."""

    degrees: str = "percent"  # of DEGREES
    steps: int = 40
    learning_rate: float = 0.1  # of Adam, at its highest
    ramp_up: float = 0.05  # share of the steps in which the rate rises from 0
    ramp_down: float = 0.25  # and in which it falls to 0 again
    l2_weight: float = 0.008  # of |w - w0|^2
    identity_weight: float = 0.005  # of 1 - the cosine of two face descriptors
    optimiser: Optimiser = "auto"  # gradient where the generator passes it, else evolution
    pairs: int = 8  # mirrored pairs of images that evolution tries in one step
    explore: float = 0.1  # how far they lie off, in spreads of the latents
    axes: int = 32  # widest directions of the latents that evolution moves along
    compat: bool = False  # as released: the start counts as the first degree, the last is dropped
    batch: int = 4  # latents optimised at once; gradient results do not depend on it
    seed: int = 0  # of evolution

    def __post_init__(self) -> None:
        if self.degrees not in DEGREES:
            raise unknown("degrees of text anchors", str(self.degrees), DEGREES)
        if self.optimiser not in get_args(Optimiser):
            raise unknown("optimiser of text anchors", self.optimiser, get_args(Optimiser))
        check_whole(
            "text anchors", 1, steps=self.steps, pairs=self.pairs, axes=self.axes, batch=self.batch
        )
        check_whole("text anchors", 0, seed=self.seed)
        check_positive("text anchors", learning_rate=self.learning_rate, explore=self.explore)
        check_positive(
            "text anchors", True, l2_weight=self.l2_weight, identity_weight=self.identity_weight
        )
        for name in ("ramp_up", "ramp_down"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"text anchors: {name} is {getattr(self, name)}, expected inside (0, 1]."
                )


@dataclass(frozen=True)
class TextAnchors:
    """Optimises one latent for each sentence, from each start: StyleCLIP's latent optimisation.

    min_w 1 - cos(I(G(w)), T(sentence)) + l2 |w - w0|^2 + id (1 - cos(R(G(w)), R(G(w0)))), by Adam
    with a rate that rises and falls; where no gradient passes the generator, an evolution strategy
    estimates it along the latents' widest directions.
    Source: Patashnik et al. (2021), arXiv:2103.17249, section 4; sentences, degrees and weights:
    Wu, Jiang et al. (2022), arXiv:2204.12696, section 3.3, and its code.
    """

    generator: Generator
    scorer: Scorer
    template: str  # with one {} for the degree
    starts: Array  # (P, D) of `space`, truncated
    space: str = "w+"
    config: TextConfig = TextConfig()
    identity: ImageNetwork | None = None  # a face embedding; None leaves its term out
    latents: NDArray | None = None  # (N, D) of a dataset, whose spread evolution moves in

    def __post_init__(self) -> None:
        check_template(self.template)
        if self.space not in ("w", "w+"):
            raise InputError(f"text anchors: space {self.space!r} came; expected w or w+.")
        if self.generator.c_dim:
            raise InputError(
                f"text anchors: {self.generator.name} takes a condition; expected a generator "
                "without."
            )
        if not self._by_gradient() and self.latents is None:
            raise InputError(
                f"text anchors: generator {self.generator.name!r} is not differentiable, and no "
                "latents came whose spread an evolution strategy could move in. Give those of a "
                "dataset, or make anchors by degrees of an attribute."
            )

    def __call__(self) -> Anchors:
        """One anchor for each start and degree.

        `fit` is the mean cosine of image and sentence at the anchors and `fit_before` at the
        starts; `fit_gain` is their difference, and `travelled` the mean |w - w0|.

        Raises:
            InputError: the scorer's features are not finite.
        """
        words = DEGREES[self.config.degrees]
        sentences = self.scorer.text([filled(self.template, word) for word in words])
        _check_features(sentences)
        count = len(sentences)
        first = np.repeat(self.starts, count, axis=0)
        wanted = np.tile(sentences, (len(self.starts), 1))
        made, before, after = self._optimised(first, wanted)
        degrees = np.tile(list(words.values()), len(self.starts))
        who = np.repeat(np.arange(len(self.starts)), count)
        if self.config.compat:
            made = made.reshape(-1, count, made.shape[1])
            made = np.concatenate([self.starts[:, None], made[:, :-1]], axis=1)
            made = made.reshape(-1, made.shape[2])
        evidence = {
            "fit": float(after.mean()),
            "fit_before": float(before.mean()),
            "fit_gain": float((after - before).mean()),
            "travelled": float(np.linalg.norm(made - first, axis=1).mean()),
        }
        return Anchors(made, degrees, who, self.starts, evidence)

    def _optimised(self, first: Array, wanted: Array) -> tuple[Array, Array, Array]:
        """Latents (M, D), and the cosine to their sentence before and after, (M,) each."""
        from mining.methods.latent_optimisation import by_evolution, by_gradient

        run: Callable[..., Any] = by_gradient if self._by_gradient() else by_evolution
        parts = [slice(i, i + self.config.batch) for i in range(0, len(first), self.config.batch)]
        found = [run(self, first[part], wanted[part]) for part in parts]
        made, before, after = (np.concatenate(column) for column in zip(*found, strict=True))
        return made, before, after

    def _by_gradient(self) -> bool:
        able = hasattr(self.generator, "differentiable")
        if self.config.optimiser == "gradient" and not able:
            raise InputError(
                f"text anchors: no gradient passes generator {self.generator.name!r}; expected "
                "optimiser evolution, or auto."
            )
        return able and self.config.optimiser != "evolution"


def filled(template: str, word: str) -> str:
    """The sentence of a degree; no word leaves no gap."""
    return " ".join(template.replace("{}", word).split())


def check_template(template: str) -> None:
    """InputError unless it is a sentence with one place for the degree."""
    if template.count("{}") != 1 or not template.isprintable() or len(template) > MOST_LETTERS:
        raise InputError(
            f"text anchors: the template {template[:80]!r} came; expected a sentence with one {{}} "
            f"where the degree stands, such as {TEMPLATES['smile']!r}."
        )


def _check_features(features: Array) -> None:
    if not np.isfinite(features).all():
        raise InputError("text anchors: the scorer's features of the sentences are not finite.")
