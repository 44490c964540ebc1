"""The attribute flow's training: its epochs, in torch. Imported when one is trained.

Two objectives. `matching`, conditional flow matching: a row x and Gaussian noise z are joined by
the path x_t = cos(pi t/2) z + sin(pi t/2) x, and the network learns the path's velocity from
(t, x_t, a) by least squares; whatever of it the attributes do not tell averages out, and what is
left is the flow from noise to latents under a. The cosine keeps the variance of a path between two
things of variance 1, so a white Gaussian needs no velocity at all, and the network learns what the
attributes change. No equation is solved while training.
Source: Lipman et al. (2023), https://openreview.net/forum?id=PqvMRDCJT9t; the path: Albergo &
Vanden-Eijnden (2023), https://openreview.net/forum?id=li7qeBbCR1t.

Few rows are learnt by heart before the attributes are: of 1,000 rows of 512 numbers an edit does
a fifth of what is asked. Where conditions are read linearly, an epoch is therefore filled up with
normal mixtures of rows, whose conditions are the same mixtures; 500 rows then do what is asked.
They are of all rows, the held-out ones too, as are the reading and the balance: where rows are
fewer than numbers, the held-out ones would otherwise lie outside of what is seen.

`likelihood`, as StyleFlow: log p(x | a) = log N(z; 0, I) - integral of tr(d phi / dx) over t, z and
the integral by solving the flow back from x; the trace is exact, by D derivatives, or Hutchinson's
estimate e' (d phi / dx) e with one e of signs a batch.
Source: Chen et al. (2018), arXiv:1806.07366, section 4; Grathwohl et al. (2019),
https://openreview.net/forum?id=rJxgknCcK7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mining.generators.devices import pick_device
from mining.methods.flow_config import WHO, FlowConfig
from mining.methods.flow_network import first_weights, solved, velocity
from mining.methods.flow_rows import FlowRows
from mining.methods.learned import Checkpoint, Keep
from schemas.errors import InputError, RunError

DRAWS = 4  # of noise and time for each held-out row
MOST_FILLED = 8192  # latents that an epoch is filled up to
MIXED = 512  # rows that a batch's mixtures are of
FEW = 64  # held-out rows whose likelihood is worked out
PARTS = ("weight", "first", "second", "best")  # of a checkpoint: weights, AdamW's moments
HELD_OUT, TRAINING = 0, 1  # what random numbers are drawn for
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Trained:
    """A network, and its losses by epoch."""

    network: Mapping[str, NDArray[np.float32]]
    training: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int


@dataclass(frozen=True)
class _State:
    """What changes from step to step."""

    weights: Tensors
    adam: torch.optim.AdamW
    best: Tensors


def train(
    rows: FlowRows, config: FlowConfig, start: Checkpoint | None = None, keep: Keep | None = None
) -> Trained:
    """The epochs; the network of the one with the least held-out loss is kept.

    Random numbers are drawn from (seed, epoch), so that going on from a checkpoint gives the same
    bytes as never having stopped, on a CPU.

    Raises:
        InputError: the checkpoint is of another network or of other settings.
        RunError: the loss is no longer finite.
    """
    device = pick_device(config.device)
    x, conditions = (torch.from_numpy(a).to(device) for a in (rows.x, rows.conditions))
    width, told = x.shape[1], conditions.shape[1]
    weights = first_weights(width, told, config.hidden, config.embedded, config.seed)
    state = _started(weights, config, device)
    losses: list[tuple[float, ...]] = []
    if start is not None:
        losses = _restored(state, start, config, _steps(rows, config))
    for epoch in range(len(losses), config.epochs):
        training = _epoch(state, (x, conditions), rows.held_out, epoch, config)
        unseen = _held_out(state.weights, (x, conditions), rows.held_out, config)
        if not (math.isfinite(training) and math.isfinite(unseen)):
            raise RunError(f"{WHO}: the loss is not finite in epoch {epoch}; lower the rate.")
        if not losses or unseen < min(loss for _, loss in losses):
            state.best.update({name: w.detach().clone() for name, w in state.weights.items()})
        losses.append((training, unseen))
        if keep is not None:
            keep(_checkpoint(state, losses, config))
    seen, unseen = zip(*losses, strict=True)
    network = {name: w.cpu().numpy().astype(np.float32) for name, w in state.best.items()}
    return Trained(network, seen, unseen, int(np.argmin(unseen)))


def mixed_share(rows: FlowRows, config: FlowConfig) -> float:
    """What share of the latents of an epoch are mixtures of rows."""
    seen = len(rows.x) - rows.held_out
    return 1 - seen / size_of_epoch(seen, rows.x.shape[1], config)


def size_of_epoch(seen: int, width: int, config: FlowConfig) -> int:
    """How many latents an epoch is of: the training rows, and mixtures where those are few.

    Args:
        seen: training rows. width: D, numbers of a latent.
    """
    wanted = min(config.fill * width, MOST_FILLED) if config.denoise else 0
    return max(seen, wanted)


def _steps(rows: FlowRows, config: FlowConfig) -> int:
    """Of an epoch; the last one may be of fewer rows."""
    size = size_of_epoch(len(rows.x) - rows.held_out, rows.x.shape[1], config)
    return -(-size // config.batch)


def _epoch(
    state: _State, rows: tuple[torch.Tensor, ...], held: int, epoch: int, config: FlowConfig
) -> float:
    """One epoch's mean loss."""
    draws = _draws(config.seed, TRAINING, epoch)
    seen = len(rows[0]) - held
    size = size_of_epoch(seen, rows[0].shape[1], config)
    parts = torch.randperm(size, generator=draws).split(config.batch)
    total = 0.0
    for number, part in enumerate(parts):
        done = (epoch * len(parts) + number) / (config.epochs * len(parts))
        share = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1.0
        state.adam.param_groups[0]["lr"] = config.learning_rate * share
        state.adam.zero_grad()
        x, conditions = _batch(rows, part, seen, draws)
        loss = _loss(state.weights, x, conditions, draws, config)
        loss.backward()
        state.adam.step()
        total += loss.item() * len(part)
    return total / size


def _batch(
    rows: tuple[torch.Tensor, ...],
    part: torch.Tensor,
    seen: int,
    draws: torch.Generator,
) -> list[torch.Tensor]:
    """Latents (n, D) and conditions (n, K) of numbers: rows, and from `seen` on mixtures.

    A mixture is sum_i e_i x_i / sqrt(m) of m rows, e ~ N(0, I): normal, of the rows' own
    covariance. Its conditions are mixed alike, as what is read is linear in a latent.
    """
    own = part[part < seen]
    found = [each[own.to(each.device)] for each in rows]
    count = len(part) - len(own)
    if not count:
        return found
    mixed = torch.randperm(len(rows[0]), generator=draws)[:MIXED]
    shares = torch.randn(count, len(mixed), generator=draws) / len(mixed) ** 0.5
    return [
        torch.cat([kept, shares.to(each) @ each[mixed.to(each.device)]])
        for kept, each in zip(found, rows, strict=True)
    ]


def _held_out(
    weights: Tensors, rows: tuple[torch.Tensor, ...], held: int, config: FlowConfig
) -> float:
    """The loss of the held-out rows, with the same draws in every epoch."""
    draws = _draws(config.seed, HELD_OUT, 0)
    x, conditions = (each[-held:] for each in rows)
    if config.objective == "likelihood":
        with torch.enable_grad():  # the trace is a derivative
            return _likelihood(weights, x[:FEW], conditions[:FEW], draws, config).item()
    with torch.no_grad():
        losses = [_matching(weights, x, conditions, draws).item() for _ in range(DRAWS)]
    return sum(losses) / DRAWS


def _loss(
    weights: Tensors,
    x: torch.Tensor,
    conditions: torch.Tensor,
    draws: torch.Generator,
    config: FlowConfig,
) -> torch.Tensor:
    if config.objective == "likelihood":
        return _likelihood(weights, x, conditions, draws, config)
    return _matching(weights, x, conditions, draws)


def _matching(
    weights: Tensors, x: torch.Tensor, conditions: torch.Tensor, draws: torch.Generator
) -> torch.Tensor:
    """Squared error of the velocity per number, less that of a velocity of zero."""
    noise = torch.randn(x.shape, generator=draws).to(x)
    time = torch.rand(len(x), generator=draws).to(x)
    angle = time[:, None] * math.pi / 2
    between = noise * angle.cos() + x * angle.sin()
    wanted = (x * angle.cos() - noise * angle.sin()) * math.pi / 2
    found = velocity(weights, time, between, conditions)
    return ((found - wanted).square() - wanted.square()).sum(dim=1).mean()


def _likelihood(
    weights: Tensors,
    x: torch.Tensor,
    conditions: torch.Tensor,
    draws: torch.Generator,
    config: FlowConfig,
) -> torch.Tensor:
    """-log p(x | a) per number of a latent, in nats."""
    signs = torch.randint(0, 2, x.shape, generator=draws).to(x) * 2 - 1

    def slope(time: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            at = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
            flow = velocity(weights, time.expand(len(at)), at, conditions)
            return flow, _trace(flow, at, signs if config.trace == "hutchinson" else None)

    ends = torch.tensor([1.0, 0.0], dtype=x.dtype, device=x.device)
    begin = (x, torch.zeros(len(x), 1, dtype=x.dtype, device=x.device))
    noise, trace = (
        part[-1] for part in solved(slope, begin, ends, config.solver, config.tolerance)
    )
    normal = 0.5 * noise.square().sum(dim=1) + 0.5 * x.shape[1] * math.log(2 * math.pi)
    return (normal - trace[:, 0]).mean() / x.shape[1]


def _trace(flow: torch.Tensor, x: torch.Tensor, signs: torch.Tensor | None) -> torch.Tensor:
    """(N, 1) the trace of d flow / d x, or its estimate with these signs."""

    def pulled(along: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(flow, x, along, create_graph=True)[0]

    if signs is not None:
        return (pulled(signs) * signs).sum(dim=1, keepdim=True)
    axes = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    parts = [pulled(axis.expand_as(x))[:, number] for number, axis in enumerate(axes)]
    return torch.stack(parts).sum(dim=0)[:, None]


def _draws(seed: int, what: int, epoch: int) -> torch.Generator:
    number = np.random.SeedSequence((seed, what, epoch)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(number >> np.uint64(1)))


def _started(weights: Tensors, config: FlowConfig, device: torch.device) -> _State:
    found = {name: weight.to(device).requires_grad_() for name, weight in weights.items()}
    adam = torch.optim.AdamW(
        list(found.values()), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return _State(found, adam, {name: w.detach().clone() for name, w in found.items()})


def _checkpoint(state: _State, losses: list[tuple[float, ...]], config: FlowConfig) -> Checkpoint:
    arrays: dict[str, NDArray[Any]] = {}
    for name, weight in state.weights.items():
        moments = state.adam.state[weight]
        kept = (weight.detach(), moments["exp_avg"], moments["exp_avg_sq"], state.best[name])
        for part, array in zip(PARTS, kept, strict=True):
            arrays[f"{part}.{name}"] = array.cpu().numpy().copy()
    return Checkpoint(len(losses), config.epochs, arrays, tuple(losses))


def _restored(
    state: _State, start: Checkpoint, config: FlowConfig, steps: int
) -> list[tuple[float, ...]]:
    """Set the state to a checkpoint's; its losses."""
    wanted = {f"{part}.{n}": tuple(w.shape) for n, w in state.weights.items() for part in PARTS}
    found = {name: array.shape for name, array in start.arrays.items()}
    losses = [tuple(map(float, row)) for row in start.losses]
    whole = start.epoch == len(losses) and all(len(row) == 2 for row in losses)
    if found != wanted or start.epochs != config.epochs or not whole or not losses:
        raise InputError(
            f"{WHO}: the checkpoint is of another network or of other settings (epoch "
            f"{start.epoch} of {start.epochs}); expected {config.epochs} epochs. Delete it."
        )
    for name, weight in state.weights.items():
        kept = [torch.from_numpy(start.arrays[f"{part}.{name}"].copy()) for part in PARTS]
        values, first, second, best = (array.to(weight) for array in kept)
        with torch.no_grad():
            weight.copy_(values)
        state.best[name] = best
        done = torch.tensor(float(start.epoch * steps))
        state.adam.state[weight] = {"step": done, "exp_avg": first, "exp_avg_sq": second}
    return losses
