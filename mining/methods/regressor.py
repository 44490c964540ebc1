"""The attribute regressor: an MLP from latents to the shape model's codes, w -> q."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import (
    check_positive,
    check_whole,
    own_order,
    principal_axes,
    row_parts,
)
from mining.methods.camera import cameras_of
from mining.methods.shape_model import ShapeModel, check_landmarks
from schemas.errors import InputError

Array = NDArray[np.float64]


CLIP = 6.0  # robust spreads from the median to which codes are clipped before training


@dataclass(frozen=True)
class RegressorConfig:
    """Settings of `train_regressor`; `PRESETS` names two sets."""

    hidden: tuple[int, ...] = (512, 512, 512)  # ReLU layers; the paper's three
    learning_rate: float = 1e-3  # Adam's
    batch: int = 64  # rows per step
    epochs: int = 40  # at most
    patience: int | None = 20  # epochs without a better held-out loss; None: never stop early
    held_out: float = 0.2  # share of the rows that only choose the epoch
    code_weight: float = 1.0  # of the codes' error beside equation (12); 0 leaves (12) alone
    weight_decay: float = 3.0  # decoupled (AdamW): weights shrink by learning_rate * this a step
    averaging: float = 0.99  # kept share per step of the averaged weights; 0: the last weights
    whiten: float = 0.25  # latents times covariance^(-this/2); 0: as they are, 1: white
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list comes from YAML
        check_positive("regressor", learning_rate=self.learning_rate)
        whole = {"batch": self.batch, "epochs": self.epochs}
        whole |= {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        if self.patience is not None:
            whole["patience"] = self.patience
        check_whole("regressor", 1, **whole)
        check_whole("regressor", 0, seed=self.seed)
        check_positive(
            "regressor", zero=True, code_weight=self.code_weight, weight_decay=self.weight_decay
        )
        if not 0 < self.held_out < 1:
            raise InputError(f"regressor: held_out is {self.held_out}, expected inside (0, 1).")
        if not 0 <= self.averaging < 1:
            raise InputError(f"regressor: averaging is {self.averaging}, expected inside [0, 1).")
        if not 0 <= self.whiten <= 1:
            raise InputError(f"regressor: whiten is {self.whiten}, expected inside [0, 1].")


PRESETS = {
    "default": RegressorConfig(),
    # the authors' released settings, for tens of thousands of rows; the last epoch is not forced:
    # the epoch with the lowest held-out loss is kept
    "paper": RegressorConfig(
        learning_rate=2e-5,
        batch=256,
        epochs=50,
        patience=None,
        code_weight=0.0,
        weight_decay=0.0,
        averaging=0.0,
        whiten=0.0,
    ),
}


@dataclass(frozen=True)
class Regressor:
    """phi: latents (N, D) -> codes q (N, Q). Plain arrays: it pickles and runs without torch."""

    weights: tuple[Array, ...]  # one (out, in) matrix per layer
    biases: tuple[Array, ...]  # one (out,) vector per layer
    centre: Array  # (D,) taken from a latent before the first layer
    radius: float  # root mean square distance of the training latents from the centre
    mean: Array  # (Q,) and
    spread: Array  # (Q,), of the codes inside +-CLIP robust spreads: q = mean + spread * output
    train_loss: tuple[float, ...]  # the minimised loss, mean over the epoch's batches
    held_out_loss: tuple[float, ...]  # the minimised loss on the held-out rows after each epoch
    held_out_landmarks: tuple[float, ...]  # equation (12) alone on the held-out rows
    best_epoch: int  # index of the epoch whose weights these are

    def predict(self, latents: Array) -> Array:
        """phi(w): (N, D) -> (N, Q) float64."""
        parts = [self._forward(part)[0] for part in row_parts(latents)]
        return self.mean + self.spread * np.concatenate(parts)

    def pullback(self, latents: Array, weights: Array) -> Array:
        """J' c at every latent: the gradient of c . phi(w), without forming J.

        Args:
            latents: (N, D). weights: (Q,), c.

        Returns:
            (N, D)
        """
        _, active = self._forward(latents)
        start = np.broadcast_to(weights * self.spread, (len(active[0]), len(self.spread)))
        return self._backward(start, active)

    def jacobian(self, latents: Array) -> Array:
        """J = d phi / d w: (N, D) -> (N, Q, D) float64."""
        _, active = self._forward(latents)
        start = np.broadcast_to(np.diag(self.spread), (len(active[0]), *[len(self.spread)] * 2))
        return self._backward(start, [mask[:, None] for mask in active])

    def _forward(self, latents: Array) -> tuple[Array, list[Array]]:
        """The standardised outputs, and for each hidden layer which units are on."""
        x = np.asarray(latents, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise InputError(f"regressor: latents are {x.shape}, expected (N, {len(self.centre)}).")
        x, active = x - self.centre, []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight.T + bias, 0)
            active.append((x > 0).astype(np.float64))
        return x @ self.weights[-1].T + self.biases[-1], active

    def _backward(self, grads: Array, active: list[Array]) -> Array:
        """Rows of output gradients (..., Q) -> rows of latent gradients (..., D)."""
        grads = grads @ self.weights[-1]
        for weight, mask in zip(self.weights[-2::-1], active[::-1], strict=True):
            grads = (grads * mask) @ weight
        return grads


def train_regressor(
    latents: Array,
    codes: Array,
    model: ShapeModel,
    landmarks: Array,
    config: RegressorConfig = RegressorConfig(),
) -> Regressor:
    """Train phi so that the landmarks R(phi(w)) match the measured ones.

    Loss per row: |R(phi(w)) - X|_F^2 / 2L, equation (12) as a mean over the 2L coordinates, plus
    code_weight * v * mean_j u_j ((phi_j(w) - q_j) / s_j)^2, where s_j is the spread of code j and v
    the landmarks' own variance, so that both terms start near v; u_j is 1, for alpha_k it is
    min(1, |M_n d_k|^2), as the variance of alpha_nk is that of the landmarks over |M_n d_k|^2.
    Equation (12) alone hardly sees eyes and mouth corners, which move a few of the L points by
    little beside pose: on 1,478 heads measured by dlib the second term raised the cosine of the
    mined to the true direction from 0.16 to 0.70 for eye closure and from 0.03 to 0.72 for smile,
    and cost pose under 0.02.
    Outputs are standardised, because k, theta, alpha and t differ in size. Before, each code is
    clipped to its median +- 6 robust spreads (`clip_codes`): a camera that looks along d_k leaves
    alpha_k a division by almost nothing (341 in one head of 1,484, the next 1.3), and that row
    would rule the spread of its code, the loss, and every edit measured in spreads.
    Adam with decoupled weight decay on partly whitened latents; the weights are averaged over
    steps, those of the epoch with the lowest held-out loss are kept.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.2; Kingma & Ba (2015),
    arXiv:1412.6980; Loshchilov & Hutter (2019), arXiv:1711.05101; averaging: Polyak & Juditsky
    (1992), doi:10.1137/0330046, with a fading memory.

    Equal results: rows are put in an order of their own (by latent) before the seeded split, and
    training runs in float64 on one torch thread (restored after), so neither the order of rows
    nor the number of threads or workers matters.

    Args:
        latents: (N, D), N >= 5. codes: (N, Q) from `model`. landmarks: (N, L, 2) in [0, 1].

    Raises:
        InputError: shapes disagree, a value is not finite, latents are all equal, or `held_out`
            leaves fewer than two rows.
        RunError: the loss is no longer finite; lower the learning rate.
    """
    latents, codes, landmarks = _check_rows(latents, codes, model, landmarks)
    order = own_order(latents, codes, landmarks)
    latents, codes, landmarks = latents[order], codes[order], landmarks[order]
    rng = np.random.default_rng(config.seed)
    shuffled = rng.permutation(len(latents))
    count = max(1, round(config.held_out * len(latents)))
    held, kept = shuffled[:count], shuffled[count:]
    if len(kept) < 2:
        raise InputError(
            f"regressor: held_out {config.held_out} of {len(latents)} rows leaves {len(kept)} to "
            "train on, expected at least 2. Lower `held_out`."
        )
    centre, into = latents[kept].mean(axis=0), whitening(latents[kept], config.whiten)
    trust = np.ones_like(codes)
    trust[:, 6:-2] = np.minimum(1, ((cameras_of(codes) @ model.modes.T) ** 2).sum(axis=1))
    codes = clip_codes(codes, codes[kept])
    mean, spread = codes[kept].mean(axis=0), codes[kept].std(axis=0)
    spread = np.where(spread > 1e-9 * (1 + abs(mean)), spread, 1e-9)
    rows = (into(latents - centre), (codes - mean) / spread, trust, landmarks)
    from mining.methods.training import one_torch_thread, train

    with one_torch_thread():
        weights, biases, curves, best = train(rows, held, kept, model, (mean, spread), config)
    weights = (into(weights[0]), *weights[1:])
    radius = float(np.sqrt(((latents[kept] - centre) ** 2).sum(axis=1).mean()))
    return Regressor(weights, biases, centre, radius, mean, spread, *curves, best_epoch=best)


def clip_codes(codes: Array, reference: Array) -> Array:
    """Codes clipped, column by column, to the median +- CLIP robust spreads of `reference`.

    The robust spread is the span of the 5th to 95th percentile over 3.29, which is the standard
    deviation of a normal sample; where that is 0, the standard deviation itself.
    """
    low, middle, high = np.quantile(reference, [0.05, 0.5, 0.95], axis=0)
    spread = (high - low) / 3.29
    reach = CLIP * np.where(spread > 0, spread, reference.std(axis=0))
    return np.clip(codes, middle - reach, middle + reach)


def whitening(latents: Array, power: float) -> Callable[[Array], Array]:
    """The map of rows by the symmetric matrix covariance^(-power/2), scaled to spread 1.

    Gradient descent learns along the widest axes first; where W is far from white, early stopping
    leaves the narrow ones out. Eigenvalues under 1e-3 of the largest are raised to it.
    """
    centred = latents - latents.mean(axis=0)
    energy, axes = principal_axes(centred)
    if energy.max() <= 0:
        return lambda rows: rows
    energy = energy / energy.max()
    rest = 1e-3 ** (-power / 2)
    gains = np.maximum(energy, 1e-3) ** (-power / 2)
    spread = centred.std() * np.sqrt((energy * gains**2).sum() / energy.sum())
    return lambda rows: (rest * rows + (rows @ axes * (gains - rest)) @ axes.T) / spread


def _check_rows(
    latents: Array, codes: Array, model: ShapeModel, landmarks: Array
) -> tuple[Array, Array, Array]:
    """Latents, codes and landmarks as float64 arrays that pair up."""
    landmarks = check_landmarks(landmarks, model.mean_shape.shape[1])
    latents, codes = np.asarray(latents, np.float64), np.asarray(codes, np.float64)
    width = 8 + model.components
    paired = latents.ndim == 2 and codes.ndim == 2 and len(latents) == len(codes) == len(landmarks)
    if not paired or codes.shape[1] != width:
        raise InputError(
            f"regressor: latents {latents.shape}, codes {codes.shape} and landmarks "
            f"{landmarks.shape} do not pair up; expected (N, D), (N, {width}) and (N, L, 2)."
        )
    if len(latents) < 5:
        raise InputError(f"regressor: {len(latents)} rows came, expected at least 5.")
    if not (np.isfinite(latents).all() and np.isfinite(codes).all()):
        raise InputError("regressor: latents or codes hold NaN or infinity; drop those rows first.")
    if not latents.size or np.ptp(latents, axis=0).max() == 0:
        raise InputError(f"regressor: latents {latents.shape} are all equal; nothing to learn.")
    return latents, codes, landmarks
