"""The training of the direction matrix: the losses of equations (3) to (7), and the epochs.

Bounareli, Argyriou & Tzimiropoulos (2022), arXiv:2202.00046, sections 3.1 to 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mining.methods.chains import Chain
from mining.methods.direction_matrix import METHOD
from mining.methods.gcv_ridge import LinearReading
from mining.methods.learned import Checkpoint, Keep
from mining.methods.matrix_config import MatrixConfig
from mining.methods.matrix_pairs import EPOCH, VALIDATION, Draw, Stage, drawn, part_of, place_of
from mining.methods.matrix_rivals import Frame
from mining.methods.shape_loss import (
    EYE_PAIRS,
    MOUTH_PAIRS,
    identity_loss,
    inner_distance_loss,
    perceptual_loss,
    pixel_loss,
    shape_loss,
)
from schemas.errors import InputError, RunError

Array = NDArray[np.float64]
Tensors = dict[str, torch.Tensor]
Compare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
DECAYS, SMALL = (0.9, 0.999), 1e-8  # Adam's beta_1, beta_2 and epsilon
BEST = "best.loss"


@dataclass
class State:
    """What an epoch begins with."""

    values: Tensors  # "matrix" (K, R), and "bias" (D,) where there is one
    first: Tensors  # Adam's moments of each
    second: Tensors
    best: Tensors  # the values of the best epoch
    best_loss: float
    steps: int = 0  # of the stage

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        parts = {"": self.values, "first.": self.first, "second.": self.second, "best.": self.best}
        found = {
            f"{part}{n}": v.cpu().numpy().copy()
            for part, of in parts.items()
            for n, v in of.items()
        }
        return {**found, BEST: np.array([self.best_loss]), "steps": np.array([self.steps])}


class Trainer:
    """Trains A in coordinates: Delta w = Delta p M B + b, Delta p in rescaled units.

    Args:
        chain: what is seen of latents.
        latents: (N, D) of all pools.
        frame: of the matrix: names, scales, ranges, what may move.
        reading: of p, by which `change` "reading" has the targets' parameters.
        basis: (R, D) B; None stands for the coordinates of the latents themselves.
    """

    def __init__(
        self,
        chain: Chain,
        latents: NDArray,
        frame: Frame,
        reading: LinearReading,
        basis: Array | None,
        config: MatrixConfig,
    ):
        self.chain, self.config = chain, config
        self.dtype = getattr(chain, "dtype", torch.float32)
        self.device = str(getattr(chain, "device", "cpu"))
        self.latents = torch.as_tensor(latents, dtype=self.dtype)  # on the CPU: there may be many
        scale, count = frame.scale, len(frame.scale)
        self.scale, self.mask = self._tensor(scale), self._tensor(frame.mask())
        self.ends = self._tensor(frame.low / scale), self._tensor(frame.high / scale)
        weights, mean = reading.weights[:count], reading.mean[:count]
        self.reading, self.offset = (
            self._tensor(weights),
            self._tensor(mean - weights @ reading.centre),
        )
        self.basis = None if basis is None else self._tensor(basis)

    def run(
        self,
        stages: Sequence[Stage],
        values: Mapping[str, Array],
        start: Checkpoint | None,
        keep: Keep | None,
    ) -> tuple[dict[str, Array], tuple[tuple[float, ...], ...], float]:
        """The epochs of all stages, from the values or from a checkpoint.

        Random numbers come from (seed, stage, epoch), so a checkpoint leads to the same numbers.

        Returns:
            The values of the best epoch of the last stage; training and held-out loss of every
            epoch; the best held-out loss.

        Raises:
            InputError: the checkpoint is of another training.
            RunError: the loss is no longer finite.
        """
        total = sum(stage.epochs for stage in stages)
        state = self._begin({n: self._tensor(v) for n, v in values.items()})
        losses: list[tuple[float, ...]] = []
        done = 0
        if start is not None:
            state, losses, done = (
                self._restored(start, state, total),
                list(start.losses),
                start.epoch,
            )
        for epoch in range(done, total):
            number, local = place_of(stages, epoch)
            if local == 0:
                state = self._begin(state.best)
                state.best_loss = self._held_out(stages[number], number, state.values)
            training = self._epoch(stages[number], number, local, state)
            held_out = self._held_out(stages[number], number, state.values)
            if not math.isfinite(training + held_out):
                raise RunError(
                    f"{METHOD}: the loss is not finite in epoch {epoch}; lower the rate."
                )
            if held_out < state.best_loss:
                state.best_loss = held_out
                state.best = {name: value.clone() for name, value in state.values.items()}
            losses.append((training, held_out))
            if keep is not None:
                keep(Checkpoint(epoch + 1, total, state.arrays(), tuple(losses)))
        best = {n: v.cpu().numpy().astype(np.float64) for n, v in state.best.items()}
        return best, tuple(losses), state.best_loss

    def start_losses(self, stages: Sequence[Stage], values: Mapping[str, Array]) -> list[float]:
        """The held-out loss of every stage for the same values."""
        tensors = {name: self._tensor(value) for name, value in values.items()}
        return [self._held_out(stage, k, tensors) for k, stage in enumerate(stages)]

    def _epoch(self, stage: Stage, number: int, epoch: int, state: State) -> float:
        """The steps of one epoch; the mean loss."""
        config, total = self.config, 0.0
        draw = self._draw(
            stage, stage.training, config.steps * config.batch, (EPOCH, number, epoch)
        )
        for step in range(config.steps):
            part = part_of(draw, step * config.batch, config.batch)
            leaves = {name: value.requires_grad_() for name, value in state.values.items()}
            loss = self._loss(stage, part, leaves)
            found = torch.autograd.grad(loss, list(leaves.values()))
            self._adam(state, dict(zip(leaves, found, strict=True)), stage)
            total += float(loss.detach())
        return total / config.steps

    def _held_out(self, stage: Stage, number: int, values: Tensors) -> float:
        """The loss of the held-out pairs, the same in every epoch."""
        config = self.config
        draw = self._draw(stage, stage.held_out, config.pairs, (VALIDATION, number))
        parts = [part_of(draw, at, config.batch) for at in range(0, config.pairs, config.batch)]
        with torch.no_grad():
            sums = [float(self._loss(stage, part, values)) * len(part.source) for part in parts]
        return sum(sums) / config.pairs

    def _draw(self, stage: Stage, pools: Any, count: int, seed: Sequence[int]) -> Draw:
        single = 0.0 if stage.paired else self.config.single
        return drawn(pools, count, len(self.scale), self.config, single, seed)

    def _loss(self, stage: Stage, draw: Draw, values: Tensors) -> torch.Tensor:
        """Equation (3), or (7) for pairs, plus latent_weight |Delta w|^2."""
        chain, config, count = self.chain, self.config, len(self.scale)
        source, target = self._latents(draw.source), self._latents(draw.target)
        with torch.no_grad():
            codes = chain.codes(source)  # all that is asked of one image is asked in a row
            alike = [] if stage.paired else self._alike(stage, source)
            of_target = chain.codes(target)
            alike = alike or self._alike(stage, target)
            now, then = codes[:, :count], of_target[:, :count]
            if config.change == "reading":  # as a transfer will read them
                now, then = (latents @ self.reading.T + self.offset for latents in (source, target))
            change = self._change(draw, now / self.scale, then / self.scale)
            wanted = of_target if stage.paired else codes.clone()
            if not stage.paired:
                wanted[:, :count] += change * self.scale
            points = chain.points(wanted)
        step = self.step(change, values)
        moved = source + step
        found = chain.points(chain.codes(moved))
        loss = config.shape_weight * shape_loss(found, points)
        for weight, pairs in ((config.eye_weight, EYE_PAIRS), (config.mouth_weight, MOUTH_PAIRS)):
            if weight:
                loss = loss + weight * inner_distance_loss(found, points, pairs)
        found_alike = self._alike(stage, moved)
        for (weight, compare), it, other in zip(
            self._compared(stage), found_alike, alike, strict=True
        ):
            if it is not None and other is not None:
                loss = loss + weight * compare(it, other)
        if config.latent_weight and not stage.paired:  # pairs say how far a step goes
            loss = loss + config.latent_weight * step.square().sum(dim=1).mean()
        return loss

    def _compared(self, stage: Stage) -> list[tuple[float, Compare]]:
        """Weight and loss of what is compared with the source, or for pairs with the target."""
        config = self.config
        found: list[tuple[float, Compare]] = [
            (config.identity_weight, identity_loss),
            (config.perceptual_weight, perceptual_loss),
        ]
        return [*found, (config.pixel_weight, pixel_loss)] if stage.paired else found

    def _alike(self, stage: Stage, latents: torch.Tensor) -> list[torch.Tensor | None]:
        """What each of `_compared` compares; None where it counts nothing or is not seen."""
        looks = (self.chain.identity, self.chain.features, self.chain.pixels)
        return [
            look(latents) if weight else None
            for (weight, _), look in zip(self._compared(stage), looks, strict=False)
        ]

    def step(self, change: torch.Tensor, values: Tensors) -> torch.Tensor:
        """Delta w (n, D) of rescaled changes (n, K)."""
        step = change @ values["matrix"]
        step = step * self.mask if self.basis is None else step @ self.basis
        return step + values["bias"] * self.mask if "bias" in values else step

    def _change(self, draw: Draw, now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
        """Rescaled Delta p: the whole one, or of one parameter where that changes alone."""
        change = then - now
        single = torch.from_numpy(np.flatnonzero(draw.alone >= 0)).to(self.device)
        columns = torch.from_numpy(draw.alone).to(self.device)[single]
        amount = self._tensor(draw.amount)[single]
        if self.config.inside:
            low, high = (end[columns] for end in self.ends)
            start = now[single, columns]
            amount = (start + amount).clamp(
                torch.minimum(low, start), torch.maximum(high, start)
            ) - start
        change[single] = 0
        change[single, columns] = amount
        return change

    def _adam(self, state: State, gradients: Tensors, stage: Stage) -> None:
        """One step of Adam (Kingma & Ba (2015), arXiv:1412.6980), decay added to the gradient."""
        config, state.steps = self.config, state.steps + 1
        done = (state.steps - 1) / max(stage.epochs * config.steps, 1)
        falling = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1.0
        rate = config.learning_rate * falling
        corrections = [1 - decay**state.steps for decay in DECAYS]
        for name, gradient in gradients.items():
            value = state.values[name].detach()
            gradient = gradient + config.weight_decay * value
            state.first[name] = state.first[name] * DECAYS[0] + gradient * (1 - DECAYS[0])
            state.second[name] = state.second[name] * DECAYS[1] + gradient**2 * (1 - DECAYS[1])
            spread = (state.second[name] / corrections[1]).sqrt() + SMALL
            state.values[name] = value - rate * (state.first[name] / corrections[0]) / spread

    def _begin(self, values: Tensors) -> State:
        """A stage's first state."""
        own = {name: value.detach().clone() for name, value in values.items()}
        moments = [{n: torch.zeros_like(v) for n, v in own.items()} for _ in range(2)]
        return State(own, *moments, best={n: v.clone() for n, v in own.items()}, best_loss=math.inf)

    def _restored(self, start: Checkpoint, fresh: State, total: int) -> State:
        """The state of a checkpoint."""
        expected = {name: array.shape for name, array in fresh.arrays().items()}
        came = {name: np.shape(array) for name, array in start.arrays.items()}
        fits = came == expected and start.epochs == total and 0 <= start.epoch <= total
        if not fits or len(start.losses) != start.epoch:
            raise InputError(
                f"{METHOD}: the checkpoint after epoch {start.epoch} of {start.epochs} is of "
                "another training; remove it to begin anew."
            )
        parts: dict[str, Tensors] = {"": {}, "first.": {}, "second.": {}, "best.": {}}
        for part, found in parts.items():
            for name in fresh.values:
                found[name] = self._tensor(start.arrays[f"{part}{name}"])
        values, first, second, best = parts.values()
        loss, steps = float(start.arrays[BEST][0]), int(start.arrays["steps"][0])
        return State(values, first, second, best, loss, steps)

    def _latents(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return self.latents[torch.from_numpy(rows)].to(self.device)

    def _tensor(self, array: Any) -> torch.Tensor:
        # in C order, as what comes out of a checkpoint: sums depend on it
        own = np.array(array, order="C")
        return torch.as_tensor(own, dtype=self.dtype, device=self.device).clone()
