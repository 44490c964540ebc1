"""The attribute regressor: an MLP from latents to the shape model's codes, w -> q."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_positive, check_whole, own_order, row_parts
from mining.methods.camera import cameras_of
from mining.methods.mlp import backward, forward
from mining.methods.shape_model import ShapeModel, check_landmarks
from mining.methods.whitening import mean_of, numbers_of, whitening
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]


CLIP = 6.0  # robust spreads from the median to which codes are clipped before training
DEVICES = ("cpu", "cuda", "auto")


@dataclass(frozen=True)
class RegressorConfig:
    """Settings of `train_regressor`; `PRESETS` names some sets."""

    hidden: tuple[int, ...] = (512, 512, 512)  # ReLU layers; the paper's three
    learning_rate: float = 1e-3  # Adam's
    batch: int = 64  # rows per step
    epochs: int = 40  # at most
    patience: int | None = 20  # epochs without a better held-out loss; None: never stop early
    held_out: float = 0.2  # share of the rows that only choose the epoch
    landmark_weight: float = 1.0  # of the landmarks' error, equation (12); 0 leaves the codes'
    code_weight: float = 1.0  # of the codes' error in their spreads; 0 leaves (12) alone
    standardise: bool = True  # the network gives codes in their spreads; False: minus their mean
    weight_decay: float = 3.0  # decoupled (AdamW): weights shrink by learning_rate * this a step
    averaging: float = 0.99  # kept share per step of the averaged weights; 0: the last weights
    decorrelate: float = 0.1  # variance of a mixture of codes, in spreads, below which none counts
    # more in the loss; 0: every code counts by itself
    whiten: float = 0.25  # latents times covariance^(-this/2); 0: as they are, 1: white
    seed: int = 0
    device: str = "cpu"  # one of DEVICES; auto: a GPU where torch sees one
    unshrink: bool = True  # stretch each code to the held-out rows', where their loss gains by it

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
            "regressor",
            zero=True,
            landmark_weight=self.landmark_weight,
            code_weight=self.code_weight,
            weight_decay=self.weight_decay,
            decorrelate=self.decorrelate,
        )
        self._check_loss()
        if not 0 < self.held_out < 1:
            raise InputError(f"regressor: held_out is {self.held_out}, expected inside (0, 1).")
        if not 0 <= self.averaging < 1:
            raise InputError(f"regressor: averaging is {self.averaging}, expected inside [0, 1).")
        if not 0 <= self.whiten <= 1:
            raise InputError(f"regressor: whiten is {self.whiten}, expected inside [0, 1].")
        if self.device not in DEVICES:
            raise unknown("device of the regressor", str(self.device), DEVICES)

    def _check_loss(self) -> None:
        if not self.landmark_weight and not self.code_weight:
            raise InputError("regressor: landmark_weight and code_weight are 0; nothing to learn.")
        if not self.standardise and self.code_weight:
            raise InputError(
                f"regressor: standardise is off and code_weight {self.code_weight}; codes that "
                "never change have no spread to divide by. Expected code_weight 0."
            )


PRESETS = {
    "default": RegressorConfig(),  # equation (12) and the standardised codes
    "landmarks": RegressorConfig(code_weight=0.0),  # equation (12) alone
    "codes": RegressorConfig(landmark_weight=0.0),  # the standardised codes alone
    # the authors' released settings, for tens of thousands of rows; the last epoch is not forced:
    # the epoch with the lowest held-out loss is kept
    "paper": RegressorConfig(
        learning_rate=2e-5,
        batch=256,
        epochs=50,
        patience=None,
        code_weight=0.0,
        standardise=False,
        weight_decay=0.0,
        averaging=0.0,
        decorrelate=0.0,
        whiten=0.0,
        unshrink=False,
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
    held_out_loss: tuple[float, ...]  # the minimised loss on the held-out rows after each epoch,
    # of the best one as it is in these weights: stretched by `unshrink`
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
        outputs, active = self._forward(latents)
        start = np.broadcast_to(weights * self.spread, outputs.shape)
        return backward(start, self.weights, active)

    def jacobian(self, latents: Array) -> Array:
        """J = d phi / d w: (N, D) -> (N, Q, D) float64."""
        outputs, active = self._forward(latents)
        start = np.broadcast_to(np.diag(self.spread), (len(outputs), *[len(self.spread)] * 2))
        return backward(start, self.weights, [mask[:, None] for mask in active])

    def _forward(self, latents: Array) -> tuple[Array, list[Array]]:
        """The standardised outputs, and for each hidden layer which units are on."""
        return forward("regressor", latents, self.centre, self.weights, self.biases)


def train_regressor(
    latents: NDArray,
    codes: Array,
    model: ShapeModel,
    landmarks: Array,
    config: RegressorConfig = RegressorConfig(),
) -> Regressor:
    """Train phi so that the landmarks R(phi(w)) match the measured ones.

    Loss per row: landmark_weight |R(phi(w)) - X|_F^2 / 2L, equation (12) as a mean over the 2L
    coordinates, plus code_weight * v * mean_j u_j ((phi_j(w) - q_j) / s_j)^2, where s_j is the
    spread of code j and v the landmarks' own variance, so that both terms start near v; u_j is 1,
    for alpha_k it is min(1, |M_n d_k|^2), as the variance of alpha_nk is that of the landmarks
    over |M_n d_k|^2.
    Equation (12) alone hardly sees eyes and mouth corners, which move a few of the L points by
    little beside pose: on 1,478 heads measured by dlib the second term raised the cosine of the
    mined to the true direction from 0.16 to 0.70 for eye closure and from 0.03 to 0.72 for smile,
    and cost pose under 0.02.
    Errors of the codes count by mixtures that do not correlate (`decorrelate`): after the joint
    refinement the b_k overlap, and what eyes and brows do is a small difference of large alpha_k.
    On 1,484 heads it raised the cosine of eye closure from .55 to .68 and that of brows from .68
    to .72, and cost no other attribute more than .01.
    Outputs are standardised, because k, theta, alpha and t differ in size. Before, each code is
    clipped to its median +- 6 robust spreads (`clip_codes`): a camera that looks along d_k leaves
    alpha_k a division by almost nothing (341 in one head of 1,484, the next 1.3), and that row
    would rule the spread of its code, the loss, and every edit measured in spreads.
    Adam with decoupled weight decay on partly whitened latents; the weights are averaged over
    steps, those of the epoch with the lowest held-out loss are kept. With `unshrink` their last
    layer is stretched, code by code, as `unshrinking.stretches` says, where that lowers the
    held-out loss; the curves then hold what is left in place of that epoch's. On 2,000 heads it
    lowered (12) on 800 others by 6 % (dlib) and 9 % (true landmarks), and the slope of q on phi
    for yaw from 1.15 to 1.01 and from 1.12 to 1.01.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.2; Kingma & Ba (2015),
    arXiv:1412.6980; Loshchilov & Hutter (2019), arXiv:1711.05101; averaging: Polyak & Juditsky
    (1992), doi:10.1137/0330046, with a fading memory.

    Equal results: rows are put in an order of their own (by latent) before the seeded split, and
    training runs in float64 on one torch thread (restored after), so neither the order of rows
    nor the number of threads or workers matters. A GPU trains in float64 too, from the same
    weights on the same batches, and differs by the rounding of its sums.

    Args:
        latents: (N, D), N >= 5, float32 or float64; D numbers of Z, W, or W+ and S laid flat. One
            copy in float64 is made. codes: (N, Q) from `model`. landmarks: (N, L, 2) in [0, 1].

    Raises:
        InputError: shapes disagree, a value is not finite, latents are all equal, or `held_out`
            leaves fewer than two rows.
        RunError: the loss is no longer finite; lower the learning rate.
    """
    latents, codes, landmarks = _check_rows(latents, codes, model, landmarks)
    order = own_order(latents, codes, landmarks)
    held, kept = _split(len(latents), config)
    centre = mean_of(latents, order[kept])
    into = whitening(latents, config.whiten, order[kept])
    codes, landmarks = codes[order], landmarks[order]
    trust = np.ones_like(codes)
    trust[:, 6:-2] = np.minimum(1, ((cameras_of(codes) @ model.modes.T) ** 2).sum(axis=1))
    codes = clip_codes(codes, codes[kept])
    mean, spread = codes[kept].mean(axis=0), codes[kept].std(axis=0)
    spread = np.where(spread > 1e-9 * (1 + abs(mean)), spread, 1e-9)
    # latents are the bulk: written once, in order, in the float64 that training reads
    x = np.empty(latents.shape)
    for part in numbers_of(np.arange(len(x))):
        x[part] = into(latents[order[part]] - centre)
    rows = (x, (codes - mean) / spread, trust, landmarks)
    from mining.methods.training import one_torch_thread, train

    with one_torch_thread():
        standard = (mean, spread, _mixing(rows[1][kept], config))
        weights, biases, curves, best = train(rows, held, kept, model, standard, config)
    weights = (into(weights[0]), *weights[1:])
    radius = _radius(latents, order[kept], centre)
    return Regressor(weights, biases, centre, radius, mean, spread, *curves, best_epoch=best)


def held_out_rows(
    latents: NDArray, codes: Array, landmarks: NDArray, config: RegressorConfig
) -> NDArray[np.int64]:
    """Numbers of the rows that `train_regressor` holds out, ascending; arguments as there."""
    order = own_order(latents, codes, landmarks)
    return np.sort(order[_split(len(latents), config)[0]])


def _mixing(codes: Array, config: RegressorConfig) -> Array:
    """(Q, Q) standardised codes -> mixtures of variance 1, or 1 itself without `decorrelate`."""
    if not (config.decorrelate and config.standardise):
        return np.eye(codes.shape[1])
    energy, axes = np.linalg.eigh(np.cov(codes.T))
    return axes / np.sqrt(np.maximum(energy, config.decorrelate))


def _split(count: int, config: RegressorConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the held-out and of the training rows, in random order."""
    shuffled = np.random.default_rng(config.seed).permutation(count)
    first = max(1, round(config.held_out * count))
    if count - first < 2:
        raise InputError(
            f"regressor: held_out {config.held_out} of {count} rows leaves {count - first} to "
            "train on, expected at least 2. Lower `held_out`."
        )
    return shuffled[:first], shuffled[first:]


def _radius(latents: NDArray, rows: NDArray[np.int64], centre: Array) -> float:
    """The root mean square distance of some latents from the centre."""
    total = sum(float(((latents[part] - centre) ** 2).sum()) for part in numbers_of(rows))
    return float(np.sqrt(total / len(rows)))


def clip_codes(codes: Array, reference: Array) -> Array:
    """Codes clipped, column by column, to the median +- CLIP robust spreads of `reference`.

    The robust spread is the span of the 5th to 95th percentile over 3.29, which is the standard
    deviation of a normal sample; where that is 0, the standard deviation itself.
    """
    low, middle, high = np.quantile(reference, [0.05, 0.5, 0.95], axis=0)
    spread = (high - low) / 3.29
    reach = CLIP * np.where(spread > 0, spread, reference.std(axis=0))
    return np.clip(codes, middle - reach, middle + reach)


def _check_rows(
    latents: NDArray, codes: Array, model: ShapeModel, landmarks: Array
) -> tuple[NDArray, Array, Array]:
    """Latents, codes and landmarks that pair up, as float64; latents of float32 stay so."""
    landmarks = check_landmarks(landmarks, model.mean_shape.shape[1])
    latents, codes = np.asarray(latents), np.asarray(codes, np.float64)
    if latents.dtype not in (np.float32, np.float64):
        latents = latents.astype(np.float64)
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
