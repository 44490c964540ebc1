"""Editing by gradient descent: equation (15) of the NRSfM paper, with what else may not change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.editing.analytic import CodeEdit
from mining.editing.terms import IDENTITY_WEIGHT as IDENTITY_WEIGHT  # goes with the presets
from mining.editing.terms import Term
from mining.methods.base import check_positive, check_whole
from mining.methods.control import ControlModel
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
Objective = Literal["codes", "landmarks"]
Optimiser = Literal["sgd", "adam"]


@dataclass(frozen=True)
class GradientConfig:
    """Settings of `edit_by_gradient`; `PRESETS` names three sets."""

    objective: Objective = "codes"  # |phi(w) - q|^2, equation (15); or |R(phi(w)) - R(q)|^2
    optimiser: Optimiser = "sgd"
    steps: int = 100  # at most
    learning_rate: float = 1.0  # of the optimiser, in the units that `scaled` says
    scaled: bool = True  # codes in spreads, steps in the row's own curvature; False: raw numbers
    tolerance: float = 1e-6  # a row whose loss changes by less of its first value rests; 0: never
    every: int = 10  # steps between two points of the trajectory; the last is always kept
    batch: int = 16  # rows that are held in memory at once; results do not depend on it

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise unknown("objective", self.objective, get_args(Objective))
        if self.optimiser not in get_args(Optimiser):
            raise unknown("optimiser", self.optimiser, get_args(Optimiser))
        check_positive("gradient edit", learning_rate=self.learning_rate)
        check_positive("gradient edit", zero=True, tolerance=self.tolerance)
        check_whole("gradient edit", 1, steps=self.steps, every=self.every, batch=self.batch)


PRESETS = {
    "default": GradientConfig(),
    # equation (15) with the released code's optimiser; identity: IDENTITY_WEIGHT, the default
    "paper": GradientConfig(
        optimiser="sgd", steps=100, learning_rate=1.0, scaled=False, tolerance=0.0
    ),
    # the released demonstration: landmarks, and 0.12 as the weight of identity
    "demo": GradientConfig(
        "landmarks", optimiser="sgd", steps=30, learning_rate=0.7, scaled=False, tolerance=0.0
    ),
}


@dataclass(frozen=True, kw_only=True)
class GradientEdit(CodeEdit):
    """A `CodeEdit` with what was minimised."""

    objective: Array  # (n + 1, N), the distance from the target after each of the n steps done
    terms: Array  # (n + 1, T, N), each term, its weight included
    rested: NDArray[np.bool_]  # (N,), rows that stopped before the last step


def edit_by_gradient(
    control: ControlModel,
    start: Array,
    target: Array,
    config: GradientConfig = PRESETS["default"],
    terms: Sequence[Term] = (),
    weights: Array | None = None,
) -> GradientEdit:
    """Move latents down the gradient of equation (15): min |phi(w) - q|^2 + sum_i term_i(w, w0).

    With `scaled`, codes count in spreads s of the regressor, f = mean_j u_j ((phi_j - q_j)/s_j)^2,
    and latents in units in which the steepest curvature of f at the row's start is 1, so that a
    learning rate means the same in Z, W, W+ and S; gradient descent then halves a row's rate and
    goes back where its loss rose. The landmark objective is divided by the mean square by which
    one spread of a code moves the landmarks. Unscaled, both are plain sums of squares (radians,
    fractions of the image), steps are learning_rate times the gradient and nothing goes back: the
    released code's, whose losses, unlike these, are not squared.
    Rows do not touch each other: the loss is a sum over rows, and all that is adapted is a row's
    own. Without images torch runs on one thread (restored after), so that sums round alike.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.3; Adam: Kingma & Ba
    (2015), arXiv:1412.6980.

    Args:
        start: (N, D), w0. target: (N, Q) or (Q,), q.
        terms: what else is minimised, such as `EmbeddingTerm` or `ImageTerm`; each has its weight.
        weights: (Q,) u, how much each code counts; 0 frees it. None: all alike. Only for codes.
            They are plain factors: to move one code and little else, as `edit_to_codes` with
            `asked_weights` does, give the others 0.001.

    Raises:
        InputError: shapes disagree, a value is not finite, or weights came for landmarks.
        RunError: the loss is no longer finite; lower the learning rate.
    """
    width = len(control.regressor.mean)
    start = _checked("start", start, (len(start), len(control.regressor.centre)))
    target = _checked("target", target, (len(start), width))
    if weights is not None and config.objective == "landmarks":
        raise InputError("gradient edit: weights of codes came, but its objective is landmarks.")
    u = _checked("weights", np.ones(width) if weights is None else weights, (width,))
    if u.min() < 0 or u.max() == 0:
        raise InputError("gradient edit: weights are all 0 or below 0; expected 0 or more.")
    from mining.editing.descent import descend
    from mining.methods.training import one_torch_thread

    parts = [slice(i, i + config.batch) for i in range(0, max(1, len(start)), config.batch)]
    images = any(getattr(term, "makes_images", False) for term in terms)
    with nullcontext() if images else one_torch_thread():
        found = [descend(control, start[p], target[p], u, config, terms) for p in parts]
    walk = np.concatenate([part.trajectory for part in found], axis=1)
    return GradientEdit(
        walk,
        np.stack([control.regressor.predict(rows) for rows in walk]),
        target,
        objective=np.concatenate([part.objective for part in found], axis=1),
        terms=np.concatenate([part.terms for part in found], axis=2),
        rested=np.concatenate([part.rested for part in found]),
    )


def _checked(what: str, values: Array, shape: tuple[int, ...]) -> Array:
    """Values as finite float64 of that shape; a single row is repeated."""
    values = np.asarray(values, np.float64)
    if values.shape not in {shape, shape[1:] or shape}:
        raise InputError(f"gradient edit: {what} is {values.shape}, expected {shape}.")
    if not np.isfinite(values).all():
        raise InputError(f"gradient edit: {what} holds NaN or infinity.")
    return np.array(np.broadcast_to(values, shape))
