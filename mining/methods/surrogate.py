"""A surrogate of render-and-measure: what an extractor will say of a latent's image, no image made.

A ridge reading with a penalty for each target finds the few directions of the latent that matter;
a small network on those readings, beside a linear path, bends them. On 4,000 heads that reads
better, and trains in seconds, where a network on the latent itself overfits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_positive, check_whole, own_order, row_parts
from mining.methods.gcv_ridge import LinearReading, fit_ridge
from schemas.errors import CorruptDataError, InputError
from schemas.registry import Registry, build

Array = NDArray[np.float64]
WHO = "surrogate"
LEAST = 5  # rows
MOST_LAYERS = 16
READING = ("weights", "centre", "mean", "penalty", "r2")
SETTINGS: Registry = {WHO: (f"{__name__}:SurrogateConfig", "")}
OWN = ("centre", "radius", "skip", "mean", "spread", "r2", "r2_linear")


@dataclass(frozen=True)
class SurrogateConfig:
    """Settings of `train_surrogate`."""

    hidden: tuple[int, ...] = (96, 96)  # SiLU layers on the readings; (): linear
    learning_rate: float = 2e-3  # AdamW's, at the start; falls to 0 along a cosine
    batch: int = 128  # rows per step
    epochs: int = 60
    weight_decay: float = 1.0  # decoupled (AdamW): weights shrink by learning_rate * this a step
    held_out: float = 0.1  # share of the rows, or of the groups, that measures r2
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list comes from YAML
        check_positive(WHO, learning_rate=self.learning_rate)
        check_positive(WHO, zero=True, weight_decay=self.weight_decay)
        whole = {"batch": self.batch, "epochs": self.epochs}
        whole |= {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        check_whole(WHO, 1, **whole)
        check_whole(WHO, 0, seed=self.seed)
        if len(self.hidden) >= MOST_LAYERS:
            raise InputError(f"{WHO}: {len(self.hidden)} layers, expected below {MOST_LAYERS}.")
        if not 0 < self.held_out < 1:
            raise InputError(f"{WHO}: held_out is {self.held_out}, expected inside (0, 1).")


@dataclass(frozen=True)
class Surrogate:
    """latents (N, D) -> targets (N, K). Plain arrays: it pickles and runs without torch.

    u = (reading(latent) - centre) / radius; targets = mean + spread (skip u + network(u)).
    """

    reading: LinearReading  # D -> U
    centre: Array  # (U,) mean of the training rows' readings, and
    radius: Array  # (U,) their spread
    skip: Array  # (K, U) the linear path
    weights: tuple[Array, ...]  # one (out, in) matrix per layer, SiLU between them
    biases: tuple[Array, ...]  # one (out,) vector per layer
    mean: Array  # (K,) of the training rows' targets, and
    spread: Array  # (K,)
    r2: Array  # (K,) of the held-out rows: 1 - sum of squared errors / that of the training mean
    r2_linear: Array  # (K,) the same of a ridge reading alone

    def predict(self, latents: NDArray) -> Array:
        """(N, D) -> (N, K) float64."""
        return np.concatenate([self._predict(part) for part in row_parts(latents)])

    def _predict(self, latents: NDArray) -> Array:
        u = (self.reading.read(latents) - self.centre) / self.radius
        x = u
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = silu(x @ weight.T + bias)
        out = u @ self.skip.T + x @ self.weights[-1].T + self.biases[-1]
        return self.mean + self.spread * out

    def arrays(self) -> dict[str, Array]:
        """Name -> float64 array, for a file; `from_arrays` takes them back."""
        found = {f"reading.{name}": getattr(self.reading, name) for name in READING}
        found |= {name: getattr(self, name) for name in OWN}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= {f"weights.{layer}": weight, f"biases.{layer}": bias}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Surrogate:
        """What `arrays` gave, each shape checked.

        Raises:
            CorruptDataError: an array is missing, unknown, not finite, or does not fit the others.
        """
        return _read(dict(arrays))


def surrogate_options(options: Mapping[str, Any], seed: int = 0) -> SurrogateConfig:
    """Settings as YAML has them; `seed` is theirs unless they name one.

    Raises:
        InputError: an option is unknown, of another kind, or out of its range.
    """
    return build("settings", WHO, SETTINGS, {"seed": seed, **options})


def silu(x: Array) -> Array:
    """x times its logistic function."""
    return x / (1 + np.exp(-np.clip(x, -60, None)))


def train_surrogate(
    latents: NDArray,
    targets: NDArray,
    config: SurrogateConfig = SurrogateConfig(),
    groups: NDArray | None = None,
) -> Surrogate:
    """Train a reader of many measured numbers from a latent.

    A ridge reading with a penalty per target (`fit_ridge`), then an MLP on the standardised
    readings beside a linear path that starts at least squares; the MLP's last layer starts at 0.
    Loss: the mean squared error of standardised targets. AdamW, cosine to 0, the last weights: the
    held-out rows choose nothing, so that their r2 is honest. Equal results: rows are put in an
    order of their own before the seeded split, and torch runs in float64 on one thread (restored
    after).
    Source: the cosine, Loshchilov & Hutter (2017), arXiv:1608.03983; AdamW, arXiv:1711.05101;
    SiLU, Elfwing, Uchibe & Doya (2018), arXiv:1702.03118.

    Args:
        latents: (N, D), N >= 5. targets: (N, K); a row with a NaN in any of them is left out.
        groups: (N,) whole numbers; rows of one group (a sequence) are held out together. Negative:
            a row of its own.

    Raises:
        InputError: shapes disagree, latents are not finite or all equal, or too few rows are left.
        RunError: the loss is no longer finite; lower the learning rate.
    """
    latents, targets, groups = _check_rows(latents, targets, groups)
    order = own_order(latents, targets)
    latents, targets, groups = latents[order], targets[order], groups[order]
    held, kept = split(groups, config.held_out, config.seed)
    reading = fit_ridge(latents[kept], targets[kept])
    readings = reading.read(latents)
    centre, radius = readings[kept].mean(axis=0), _spread(readings[kept])
    mean, spread = targets[kept].mean(axis=0), _spread(targets[kept])
    from mining.methods.surrogate_torch import train
    from mining.methods.training import one_torch_thread

    u, y = (readings - centre) / radius, (targets - mean) / spread
    with one_torch_thread():
        skip, weights, biases = train(u[kept], y[kept], config)
    linear = 1 - _energy(targets[held] - readings[held]) / _energy(targets[held] - mean)
    blank = Surrogate(
        reading, centre, radius, skip, weights, biases, mean, spread, r2=linear, r2_linear=linear
    )
    left = _energy(targets[held] - blank.predict(latents[held]))
    r2 = 1 - left / _energy(targets[held] - mean)
    return Surrogate(
        reading, centre, radius, skip, weights, biases, mean, spread, r2=r2, r2_linear=linear
    )


def split(groups: NDArray, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the held-out rows and of the others; whole groups go to one side.

    Raises:
        InputError: one side would be left with too few rows.
    """
    own = np.where(groups < 0, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    numbers, first = np.unique(own, return_index=True)
    numbers = numbers[np.argsort(first)]  # as the rows come, whatever the groups are called
    shuffled = np.random.default_rng(seed).permutation(numbers)
    chosen = np.isin(own, shuffled[: max(1, round(share * len(numbers)))])
    held, kept = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if len(kept) < 3:
        raise InputError(
            f"{WHO}: held_out {share} of {len(groups)} rows in {len(numbers)} groups leaves "
            f"{len(kept)} to train on, expected at least 3. Lower `held_out`."
        )
    return held, kept


def _energy(gaps: Array) -> Array:
    """(K,) sums of squares, never 0."""
    return np.maximum((gaps**2).sum(axis=0), 1e-300)


def _spread(rows: Array) -> Array:
    """(K,) standard deviations; 1 where a column is constant."""
    spread = rows.std(axis=0)
    return np.where(spread > 1e-12 * np.maximum(np.abs(rows).max(axis=0), 1e-300), spread, 1.0)


def _check_rows(
    latents: NDArray, targets: NDArray, groups: NDArray | None
) -> tuple[Array, Array, NDArray[np.int64]]:
    """The rows whose targets are all measured."""
    x, y = np.asarray(latents, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not x.shape[1] or not y.shape[1]:
        raise InputError(
            f"{WHO}: latents {x.shape} and targets {y.shape} do not pair up; expected (N, D) and "
            "(N, K)."
        )
    numbers = np.full(len(x), -1) if groups is None else np.asarray(groups)
    if numbers.shape != (len(x),) or numbers.dtype.kind not in "iu":
        raise InputError(
            f"{WHO}: groups {numbers.shape} {numbers.dtype} came with {len(x)} rows; expected one "
            "whole number a row."
        )
    if not np.isfinite(x).all():
        raise InputError(f"{WHO}: latents hold NaN or infinity; drop those rows first.")
    used = np.isfinite(y).all(axis=1)
    if used.sum() < LEAST:
        raise InputError(
            f"{WHO}: {used.sum()} of {len(x)} rows have all {y.shape[1]} targets measured, "
            f"expected at least {LEAST}."
        )
    return x[used], y[used], numbers[used].astype(np.int64)


def _read(left: dict[str, NDArray]) -> Surrogate:
    """`Surrogate.from_arrays`; arrays are taken out of `left`."""
    count = sum(f"weights.{layer}" in left for layer in range(MOST_LAYERS + 1))
    if not 1 <= count <= MOST_LAYERS:
        raise CorruptDataError(f"the surrogate has {count} layers, expected 1..{MOST_LAYERS}.")
    axes = {"reading.weights": 2, "skip": 2}
    plain = {
        name: _take(left, name, axes.get(name, 1))
        for name in (*(f"reading.{name}" for name in READING), *OWN)
    }
    weights = tuple(_take(left, f"weights.{layer}", 2) for layer in range(count))
    biases = tuple(_take(left, f"biases.{layer}", 1) for layer in range(count))
    if left:
        raise CorruptDataError(f"unknown arrays {', '.join(sorted(left))[:200]}.")
    directions, centre, mean, penalty, r2 = (plain[f"reading.{name}"] for name in READING)
    reading = LinearReading(directions, centre, mean, penalty, r2)
    found = Surrogate(
        reading, weights=weights, biases=biases, **{name: plain[name] for name in OWN}
    )
    _check_sizes(found)
    return found


def _check_sizes(found: Surrogate) -> None:
    inside, outside = len(found.centre), len(found.mean)
    reading = found.reading
    sizes = [inside, *map(len, found.weights)]
    fits = [
        reading.weights.shape == (inside, len(reading.centre)),
        len(reading.mean) == len(reading.penalty) == len(reading.r2) == inside == len(found.radius),
        [weight.shape[1] for weight in found.weights] == sizes[:-1],
        [len(bias) for bias in found.biases] == sizes[1:] and sizes[-1] == outside,
        found.skip.shape == (outside, inside),
        len(found.spread) == len(found.r2) == len(found.r2_linear) == outside,
    ]
    if not all(fits) or not min(sizes):
        raise CorruptDataError("the arrays of the surrogate do not fit together.")
    if (found.spread <= 0).any() or (found.radius <= 0).any():
        raise CorruptDataError("a spread in the surrogate is not above 0.")


def _take(left: dict[str, NDArray], name: str, axes: int) -> Array:
    """One finite float64 array, taken out of `left`."""
    if name not in left:
        raise CorruptDataError(f"array {name} of the surrogate is missing.")
    array = np.asarray(left.pop(name))
    if array.dtype != np.float64 or array.ndim != axes:
        raise CorruptDataError(
            f"array {name} of the surrogate is {array.shape} {array.dtype}, expected {axes} axes "
            "of float64."
        )
    if not np.isfinite(array).all():
        raise CorruptDataError(f"array {name} of the surrogate holds NaN or infinity.")
    return array
