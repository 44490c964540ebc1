"""The regressor's training: the epochs, in torch. Imported when a regressor is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mining.generators.devices import pick_device
from mining.methods.camera import image_points
from mining.methods.shape_model import ShapeModel
from mining.methods.unshrinking import stretches
from schemas.errors import RunError

if TYPE_CHECKING:
    from mining.methods.regressor import RegressorConfig

Array = NDArray[np.float64]
Curves = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
Loss = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    tuple[torch.Tensor, torch.Tensor],
]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch on one thread, so that sums are added in one order; the old number comes back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    rows: tuple[Array, Array, Array, Array],
    held: NDArray[np.int64],
    kept: NDArray[np.int64],
    model: ShapeModel,
    standard: tuple[Array, Array, Array],
    config: RegressorConfig,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Curves, int]:
    """The epochs of `train_regressor`, in float64.

    Args:
        rows: latents ready for the first layer (N, D), standardised codes (N, Q), the weights of
            their errors (N, Q), landmarks (N, L, 2).
        held, kept: numbers of the held-out and of the training rows.
        standard: mean and spread of the codes, and the (Q, Q) mixture in which their errors count.

    Returns:
        Weights, biases, three loss curves (training, held out, equation (12) held out) and the
        epoch whose weights these are.

    Raises:
        RunError: the loss is no longer finite.
    """
    device = pick_device(config.device)
    x, targets, trust, points = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in rows)
    loss_of = _loss(model, standard, float(rows[3].var(axis=0).mean()), config, device)
    draws = torch.Generator().manual_seed(config.seed)  # on the CPU: the same everywhere
    sizes = (x.shape[1], *config.hidden, targets.shape[1])
    layers = [layer.detach().to(device).requires_grad_() for layer in _layers(sizes, draws)]
    adam = torch.optim.AdamW(
        layers, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    seen, unseen = torch.from_numpy(kept), torch.from_numpy(held).to(device)

    def held_out(layers: list[torch.Tensor]) -> tuple[float, float]:
        with torch.no_grad():
            outputs = _network(layers, x[unseen])
            losses = loss_of(outputs, targets[unseen], trust[unseen], points[unseen])
        return float(losses[0]), float(losses[1])

    curves: list[tuple[float, float, float]] = []
    mean = [layer.detach().clone() for layer in layers]
    best, best_epoch, steps = mean, -1, 0
    for epoch in range(config.epochs):
        total = torch.zeros((), dtype=torch.float64, device=device)
        shuffled = seen[torch.randperm(len(seen), generator=draws)].to(device)
        for part in shuffled.split(config.batch):
            adam.zero_grad()
            loss, _ = loss_of(_network(layers, x[part]), targets[part], trust[part], points[part])
            loss.backward()
            adam.step()
            steps += 1
            fresh = 1 - min(config.averaging, (1 + steps) / (10 + steps))  # short memory at first
            for average, layer in zip(mean, layers, strict=True):
                average.lerp_(layer.detach(), fresh)
            total += loss.detach() * len(part)  # read once an epoch: a GPU need not be waited for
        curves.append((float(total) / len(seen), *held_out(mean)))
        if not np.isfinite(curves[-1]).all():
            raise RunError(f"regressor: the loss is not finite in epoch {epoch}; lower the rate.")
        if best_epoch < 0 or curves[-1][1] < curves[best_epoch][1]:
            best, best_epoch = [layer.clone() for layer in mean], epoch
        if config.patience is not None and epoch - best_epoch >= config.patience:
            break
    if config.unshrink:
        unit = 1.0 if config.standardise else torch.from_numpy(standard[1]).to(device)
        stretched = _stretched(best, x[unseen], targets[unseen] * unit)
        losses = held_out(stretched)
        if losses[0] < curves[best_epoch][1]:
            best, curves[best_epoch] = stretched, (curves[best_epoch][0], *losses)
    arrays = [layer.cpu().numpy() for layer in best]
    if not config.standardise:
        arrays[-2:] = arrays[-2] / standard[1][:, None], arrays[-1] / standard[1]
    training, unseen_loss, unseen_points = zip(*curves, strict=True)
    losses = (training, unseen_loss, unseen_points)
    return tuple(arrays[::2]), tuple(arrays[1::2]), losses, best_epoch


def _stretched(
    layers: list[torch.Tensor], x: torch.Tensor, targets: torch.Tensor
) -> list[torch.Tensor]:
    """The network with its last layer stretched towards targets (N, Q) in its outputs' unit."""
    with torch.no_grad():
        outputs = _network(layers, x)
    found = stretches(outputs.cpu().numpy(), targets.cpu().numpy())
    slope, offset = (torch.from_numpy(part).to(x) for part in found)
    return [*layers[:-2], slope[:, None] * layers[-2], slope * layers[-1] + offset]


def _layers(sizes: tuple[int, ...], draws: torch.Generator) -> list[torch.Tensor]:
    """Weights and biases in turn, uniform in +-1/sqrt(fan in) and zero, float64."""
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        weight = torch.rand(fan_out, fan_in, generator=draws, dtype=torch.float64) * 2 - 1
        layers += [weight / fan_in**0.5, torch.zeros(fan_out, dtype=torch.float64)]
    return [layer.requires_grad_() for layer in layers]


def _network(layers: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The MLP: affine maps with a ReLU between."""
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = (x @ weight.T + bias).relu()
    return x @ layers[-2].T + layers[-1]


def _loss(
    model: ShapeModel,
    standard: tuple[Array, Array, Array],
    variance: float,
    config: RegressorConfig,
    device: torch.device,
) -> Loss:
    """The loss as a function of outputs, targets, their weights and landmarks; also (12) alone."""
    shape, basis, modes, mean, spread, mixing = (
        torch.from_numpy(np.ascontiguousarray(a)).to(device)
        for a in (model.mean_shape, model.basis, model.modes, *standard)
    )
    scale = spread if config.standardise else torch.ones_like(spread)

    def loss(
        outputs: torch.Tensor, targets: torch.Tensor, trust: torch.Tensor, points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = image_points(mean + scale * outputs, shape, basis, modes, torch)
        landmarks = ((x - points[..., 0]) ** 2 + (y - points[..., 1]) ** 2).mean() / 2
        if not config.code_weight:
            return config.landmark_weight * landmarks, landmarks
        codes = (((trust.sqrt() * (outputs - targets)) @ mixing) ** 2).mean()
        weighted = config.landmark_weight * landmarks + config.code_weight * variance * codes
        return weighted, landmarks

    return loss
