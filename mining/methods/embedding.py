"""The embedding regressor: an MLP from latents to a face descriptor, w -> e."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_positive, check_whole, own_order, row_parts
from mining.methods.mlp import backward, forward
from mining.methods.regressor import whitening
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EmbeddingConfig:
    """Settings of `train_embedding`."""

    hidden: tuple[int, ...] = (512, 512)  # ReLU layers
    learning_rate: float = 1e-3  # Adam's
    batch: int = 64  # rows per step
    epochs: int = 60  # at most
    patience: int | None = 10  # epochs without a better held-out loss; None: never stop early
    held_out: float = 0.2  # share of the rows that choose the epoch and measure r2
    weight_decay: float = 10.0  # decoupled (AdamW): weights shrink by learning_rate * this a step
    averaging: float = 0.99  # kept share per step of the averaged weights; 0: the last weights
    whiten: float = 0.25  # latents times covariance^(-this/2); 0: as they are, 1: white
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list comes from YAML
        check_positive("embedding", learning_rate=self.learning_rate)
        check_positive("embedding", zero=True, weight_decay=self.weight_decay)
        whole = {"batch": self.batch, "epochs": self.epochs}
        whole |= {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        if self.patience is not None:
            whole["patience"] = self.patience
        check_whole("embedding", 1, **whole)
        check_whole("embedding", 0, seed=self.seed)
        if not 0 < self.held_out < 1:
            raise InputError(f"embedding: held_out is {self.held_out}, expected inside (0, 1).")
        if not 0 <= self.averaging < 1:
            raise InputError(f"embedding: averaging is {self.averaging}, expected inside [0, 1).")
        if not 0 <= self.whiten <= 1:
            raise InputError(f"embedding: whiten is {self.whiten}, expected inside [0, 1].")


@dataclass(frozen=True)
class Embedding:
    """latents (N, D) -> descriptors (N, E). Plain arrays: it pickles and runs without torch."""

    weights: tuple[Array, ...]  # one (out, in) matrix per layer
    biases: tuple[Array, ...]  # one (out,) vector per layer
    centre: Array  # (D,) taken from a latent before the first layer
    radius: float  # root mean square distance of the training latents from the centre
    mean: Array  # (E,) and
    spread: Array  # (E,), of the descriptors: e = mean + spread * output
    train_loss: tuple[float, ...]  # mean squared error in spreads, mean over the epoch's batches
    held_out_loss: tuple[float, ...]  # the same on the held-out rows after each epoch
    best_epoch: int  # index of the epoch whose weights these are
    r2: float  # of the held-out rows: 1 - sum |e - found|^2 / sum |e - mean|^2

    def predict(self, latents: Array) -> Array:
        """(N, D) -> (N, E) float64."""
        parts = [self._forward(part)[0] for part in row_parts(latents)]
        return self.mean + self.spread * np.concatenate(parts)

    def pullback(self, latents: Array, grads: Array) -> Array:
        """J'g at every latent, without forming J.

        Args:
            latents: (N, D). grads: (N, E) or (E,), g.

        Returns:
            (N, D)
        """
        _, active = self._forward(latents)
        start = np.broadcast_to(grads * self.spread, (len(latents), len(self.spread)))
        return backward(start, self.weights, active)

    def jacobian(self, latents: Array) -> Array:
        """J, the derivative of the descriptor by the latent: (N, D) -> (N, E, D) float64."""
        _, active = self._forward(latents)
        start = np.broadcast_to(np.diag(self.spread), (len(latents), *[len(self.spread)] * 2))
        return backward(start, self.weights, [mask[:, None] for mask in active])

    def _forward(self, latents: Array) -> tuple[Array, list[Array]]:
        """The standardised outputs, and for each hidden layer which units are on."""
        return forward("embedding", latents, self.centre, self.weights, self.biases)


def train_embedding(
    latents: Array, descriptors: Array, config: EmbeddingConfig = EmbeddingConfig()
) -> Embedding:
    """Train an MLP that reads a face descriptor off a latent.

    It stands in for the descriptor of the rendered image where that has no derivative: edits hold
    what it predicts. Loss: the mean squared error of descriptors divided by their spread, one
    number for all E, so that distances between descriptors count as they do in the descriptor.
    Training is that of `train_regressor`: AdamW on partly whitened latents, averaged weights,
    one validation per epoch, the epoch with the lowest held-out loss is kept.
    Equal results: rows are put in an order of their own before the seeded split, and torch runs in
    float64 on one thread (restored after).
    Source: an embedding as the measure D of identity: Haas, Grasshof & Brandt (2022),
    arXiv:2211.07195, equation (15); AdamW: Loshchilov & Hutter (2019), arXiv:1711.05101.

    Args:
        latents: (N, D), N >= 5. descriptors: (N, E), such as dlib's 128 numbers or ArcFace's 512.

    Raises:
        InputError: shapes disagree, a value is not finite, latents or descriptors are all equal,
            or `held_out` leaves fewer than two rows.
        RunError: the loss is no longer finite; lower the learning rate.
    """
    latents, descriptors = _check_rows(latents, descriptors)
    order = own_order(latents, descriptors)
    latents, descriptors = latents[order], descriptors[order]
    shuffled = np.random.default_rng(config.seed).permutation(len(latents))
    count = max(1, round(config.held_out * len(latents)))
    held, kept = shuffled[:count], shuffled[count:]
    if len(kept) < 2:
        raise InputError(
            f"embedding: held_out {config.held_out} of {len(latents)} rows leaves {len(kept)} to "
            "train on, expected at least 2. Lower `held_out`."
        )
    centre, into = latents[kept].mean(axis=0), whitening(latents[kept], config.whiten)
    mean = descriptors[kept].mean(axis=0)
    size = float(np.sqrt(((descriptors[kept] - mean) ** 2).mean()))
    spread = np.full(len(mean), max(size, 1e-9))
    from mining.methods.embedding_training import train
    from mining.methods.training import one_torch_thread

    with one_torch_thread():
        rows = (into(latents - centre), (descriptors - mean) / spread)
        weights, biases, curves, best = train(rows, held, kept, config)
    weights = (into(weights[0]), *weights[1:])
    radius = float(np.sqrt(((latents[kept] - centre) ** 2).sum(axis=1).mean()))
    found = Embedding(
        weights, biases, centre, radius, mean, spread, *curves, best_epoch=best, r2=float("nan")
    )
    return replace(found, r2=_explained(found, latents[held], descriptors[held]))


def _explained(embedding: Embedding, latents: Array, descriptors: Array) -> float:
    """R^2 of some rows against the training mean, all numbers of the descriptor together."""
    left = ((descriptors - embedding.predict(latents)) ** 2).sum()
    whole = ((descriptors - embedding.mean) ** 2).sum()
    return float(1 - left / whole) if whole > 0 else float("nan")


def _check_rows(latents: Array, descriptors: Array) -> tuple[Array, Array]:
    """Latents and descriptors as float64 arrays that pair up."""
    latents, descriptors = np.asarray(latents, np.float64), np.asarray(descriptors, np.float64)
    paired = latents.ndim == 2 and descriptors.ndim == 2 and len(latents) == len(descriptors)
    if not paired or not latents.shape[1] or not descriptors.shape[1]:
        raise InputError(
            f"embedding: latents {latents.shape} and descriptors {descriptors.shape} do not pair "
            "up; expected (N, D) and (N, E). Drop rows that have a reason first."
        )
    if len(latents) < 5:
        raise InputError(f"embedding: {len(latents)} rows came, expected at least 5.")
    for name, rows in (("latents", latents), ("descriptors", descriptors)):
        if not np.isfinite(rows).all():
            raise InputError(f"embedding: {name} hold NaN or infinity; drop those rows first.")
        if np.ptp(rows, axis=0).max() == 0:
            raise InputError(f"embedding: {name} {rows.shape} are all equal; nothing to learn.")
    return latents, descriptors
