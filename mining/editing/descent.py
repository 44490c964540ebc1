"""The steps of `edit_by_gradient`, in torch. Imported when an edit is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mining.editing.networks import torch_landmarks, torch_regressor
from mining.editing.terms import Term
from mining.methods.control import ControlModel
from schemas.errors import InputError, RunError

if TYPE_CHECKING:
    from mining.editing.gradient import GradientConfig

Array = NDArray[np.float64]
Residual = Callable[[Tensor], Tensor]  # (N, D) -> (N, M), whose square is the objective
CALM = 3  # steps in a row whose loss hardly changes, after which a row rests
THERE = 1e-20  # a row whose loss is less at the start has nowhere to go
ITERATIONS = 12  # of the search for the steepest curvature


@dataclass(frozen=True)
class Descent:
    """The descent of one batch of rows, as arrays."""

    trajectory: Array  # (P, N, D)
    objective: Array  # (steps + 1, N)
    terms: Array  # (steps + 1, T, N)
    rested: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True)
class Point:
    """A batch of rows, what they cost and where it grows."""

    latents: Tensor  # (N, D)
    objective: Tensor  # (N,)
    terms: Tensor  # (T, N)
    slope: Tensor  # (N, D), of `total`

    @property
    def total(self) -> Tensor:
        """(N,)"""
        return self.objective + self.terms.sum(dim=0)

    def where(self, rows: Tensor, other: Point) -> Point:
        """This point for some rows (N,), the other for the rest."""
        return Point(
            torch.where(rows[:, None], self.latents, other.latents),
            torch.where(rows, self.objective, other.objective),
            torch.where(rows, self.terms, other.terms),
            torch.where(rows[:, None], self.slope, other.slope),
        )


def descend(
    control: ControlModel,
    start: Array,
    target: Array,
    weights: Array,
    config: GradientConfig,
    terms: Sequence[Term],
) -> Descent:
    """Go down the loss of one batch of rows; a row that rests stays where it is.

    Args:
        start: (N, D). target: (N, Q). weights: (Q,), of the codes' errors.

    Raises:
        RunError: the loss is no longer finite.
    """
    w = torch.from_numpy(start)
    residual = _residual(control, torch.from_numpy(target), torch.from_numpy(weights), config)
    unit = torch.ones(len(w), 1, dtype=torch.float64)
    if config.scaled:
        unit = unit_steps(residual, w).clamp_max(control.regressor.radius)
    walker = (Adam if config.optimiser == "adam" else Sgd)(config, unit)
    here = first = _cost(residual, terms, w, w)
    path, costs = [w], [(here.objective, here.terms)]
    quiet = torch.where(first.total < THERE, CALM, 0)  # Adam would follow the rounding errors
    for step in range(1, config.steps + 1):
        going = quiet < CALM
        if going.any():
            move = torch.where(going[:, None], walker.move(here.slope), 0.0)
            there = _cost(residual, terms, here.latents - move, w)
            taken = walker.accepts(here, there)
            calm = (there.total - here.total).abs() < config.tolerance * first.total
            quiet = torch.where(going & taken, torch.where(calm, quiet + 1, 0), quiet)
            here = there.where(taken, here)
        if not torch.isfinite(here.total).all():
            raise RunError(
                f"gradient edit: the loss is not finite in step {step}; lower the learning rate."
            )
        costs.append((here.objective, here.terms))
        if step % config.every == 0 or step == config.steps:
            path.append(here.latents)
    objectives, held = (torch.stack(column).numpy() for column in zip(*costs, strict=True))
    return Descent(torch.stack(path).numpy(), objectives, held, (quiet >= CALM).numpy())


class Sgd:
    """Steps down the gradient; scaled ones go back where the loss rose, at half the row's rate."""

    def __init__(self, config: GradientConfig, unit: Tensor):
        self._goes_back = config.scaled
        self._rate = config.learning_rate * unit**2

    def move(self, slope: Tensor) -> Tensor:
        """(N, D) slopes -> (N, D), to be taken from the latents."""
        return self._rate * slope

    def accepts(self, here: Point, there: Point) -> Tensor:
        """(N,) which rows go there."""
        lower = there.total <= here.total if self._goes_back else torch.ones_like(here.total) > 0
        self._rate = torch.where(lower[:, None], self._rate, self._rate / 2)
        return lower


class Adam:
    """Steps by running means of the gradient and its square.

    Source: Kingma & Ba (2015), arXiv:1412.6980, algorithm 1.
    """

    def __init__(self, config: GradientConfig, unit: Tensor):
        self._rate, self._unit, self._steps = config.learning_rate, unit, 0
        self._mean, self._square = torch.zeros_like(unit), torch.zeros_like(unit)

    def move(self, slope: Tensor) -> Tensor:
        """(N, D) slopes -> (N, D), to be taken from the latents."""
        slope = slope * self._unit
        self._steps += 1
        self._mean = 0.9 * self._mean + 0.1 * slope
        self._square = 0.999 * self._square + 0.001 * slope**2
        mean = self._mean / (1 - 0.9**self._steps)
        square = self._square / (1 - 0.999**self._steps)
        return self._rate * self._unit * mean / (square.sqrt() + 1e-8)

    def accepts(self, here: Point, there: Point) -> Tensor:
        """(N,) all rows go there."""
        return torch.ones_like(here.total) > 0


def unit_steps(residual: Residual, start: Tensor) -> Tensor:
    """(N, 1): the length of a latent step that makes the steepest curvature of each row 1.

    With r the residual and J its derivative, the Hessian of |r|^2 is nearly 2 J'J: the largest
    singular value of J by power iteration from one fixed vector, so that rows do not mix.
    """
    w = start.detach().requires_grad_()
    r = residual(w)
    draws = torch.Generator().manual_seed(0)
    v = torch.randn(r.shape[1], generator=draws, dtype=torch.float64).expand_as(r).clone()
    # J'v is linear in v: its derivative by v along b is J b
    (pulled,) = torch.autograd.grad(r, w, v.requires_grad_(), create_graph=True)
    size = torch.zeros(len(start), 1, dtype=torch.float64)
    back = pulled.detach()
    for _ in range(ITERATIONS):
        back = back / back.norm(dim=1, keepdim=True).clamp_min(1e-300)
        (pushed,) = torch.autograd.grad(pulled, v, back, retain_graph=True)
        size = pushed.norm(dim=1, keepdim=True)
        (back,) = torch.autograd.grad(r, w, pushed, retain_graph=True)
    return torch.where(size > 0, 1 / (2**0.5 * size), torch.inf)


def _cost(residual: Residual, terms: Sequence[Term], latents: Tensor, start: Tensor) -> Point:
    """The objective, the terms and the gradient of their sum."""
    w = latents.detach().requires_grad_()
    parts = [residual(w).square().sum(dim=1)]
    for term in terms:
        value = term(w, start)
        if value.shape != (len(w),):
            raise InputError(
                f"gradient edit: the term {type(term).__name__} gave {tuple(value.shape)} for "
                f"{len(w)} latents, expected ({len(w)},)."
            )
        parts.append(value.to(w))
    costs = torch.stack(parts)
    (slope,) = torch.autograd.grad(costs.sum(), w)
    return Point(w.detach(), costs[0].detach(), costs[1:].detach(), slope)


def _residual(
    control: ControlModel, target: Tensor, weights: Tensor, config: GradientConfig
) -> Residual:
    """The vector whose squared length is the objective, per row."""
    predict, project = torch_regressor(control.regressor), torch_landmarks(control.shape)
    spread = torch.from_numpy(control.regressor.spread)
    if config.objective == "codes":
        scale = (weights / len(spread)).sqrt() / spread if config.scaled else weights.sqrt()
        return lambda w: scale * (predict(w) - target)
    wanted = project(target)
    size = _landmark_spread(control) if config.scaled else 1.0
    return lambda w: (project(predict(w)) - wanted).flatten(1) / size


def _landmark_spread(control: ControlModel) -> float:
    """Root mean over the codes of |R(mean + s_j e_j) - R(mean)|^2, in fractions of the image."""
    mean = control.regressor.mean
    moved = control.shape.project(mean + np.diag(control.regressor.spread))
    change = moved - control.shape.project(mean[None])
    return float(np.sqrt((change**2).sum(axis=(1, 2)).mean()))
