"""Readings and surrogates in torch: their training, and their differentiable forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import RunError

if TYPE_CHECKING:
    from mining.methods.gcv_ridge import LinearReading
    from mining.methods.surrogate import Surrogate, SurrogateConfig

Array = NDArray[np.float64]
Function = Callable[[torch.Tensor], torch.Tensor]


def differentiable_reading(
    reading: LinearReading, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Function:
    """`LinearReading.read` on tensors: (N, D) -> (N, K)."""
    weights, centre, mean = (
        torch.as_tensor(array, dtype=dtype, device=device)
        for array in (reading.weights, reading.centre, reading.mean)
    )
    return lambda latents: mean + (latents - centre) @ weights.T


def differentiable_surrogate(
    surrogate: Surrogate, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Function:
    """`Surrogate.predict` on tensors: (N, D) -> (N, K)."""

    def tensor(array: Array) -> torch.Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    read = differentiable_reading(surrogate.reading, dtype, device)
    centre, radius, mean, spread, skip = (
        tensor(getattr(surrogate, name)) for name in ("centre", "radius", "mean", "spread", "skip")
    )
    layers = [
        tensor(array)
        for pair in zip(surrogate.weights, surrogate.biases, strict=True)
        for array in pair
    ]

    def predict(latents: torch.Tensor) -> torch.Tensor:
        u = (read(latents) - centre) / radius
        return mean + spread * _network([skip, *layers], u)

    return predict


def train(
    readings: Array, targets: Array, config: SurrogateConfig
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """The epochs of `train_surrogate`, in float64.

    Args:
        readings: (N, U) and targets (N, K), both standardised.

    Returns:
        The linear path (K, U), weights and biases.

    Raises:
        RunError: the loss is no longer finite.
    """
    x, y = (torch.from_numpy(np.ascontiguousarray(rows)) for rows in (readings, targets))
    draws = torch.Generator().manual_seed(config.seed)
    layers = _start(readings, targets, config.hidden, draws)
    steps = -(-len(x) // config.batch) * config.epochs
    adam = torch.optim.AdamW(
        layers, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for epoch in range(config.epochs):
        total = 0.0
        for part in torch.randperm(len(x), generator=draws).split(config.batch):
            adam.zero_grad()
            loss = (_network(layers, x[part]) - y[part]).square().mean()
            loss.backward()
            adam.step()
            cosine.step()
            total += loss.item()
        if not np.isfinite(total):
            raise RunError(f"surrogate: the loss is not finite in epoch {epoch}; lower the rate.")
    skip, *rest = [layer.detach().numpy() for layer in layers]
    return skip, tuple(rest[::2]), tuple(rest[1::2])


def _start(
    readings: Array, targets: Array, hidden: tuple[int, ...], draws: torch.Generator
) -> list[torch.Tensor]:
    """The linear path by least squares, the layers of He et al. (2015), arXiv:1502.01852, the
    last of them 0.
    """
    skip = np.linalg.lstsq(readings, targets, rcond=None)[0].T
    found = [torch.from_numpy(np.ascontiguousarray(skip))]
    sizes = (readings.shape[1], *hidden, targets.shape[1])
    for number, (before, after) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weight = torch.randn(after, before, generator=draws, dtype=torch.float64)
        last = number == len(hidden)
        found += [
            weight * (0.0 if last else (2 / before) ** 0.5),
            torch.zeros(after, dtype=torch.float64),
        ]
    return [layer.requires_grad_() for layer in found]


def _network(layers: list[torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """The linear path and the MLP together: [skip, weight, bias, weight, bias ...]."""
    x = u
    for weight, bias in zip(layers[1:-2:2], layers[2:-2:2], strict=True):
        x = torch.nn.functional.silu(x @ weight.T + bias)
    return u @ layers[0].T + x @ layers[-2].T + layers[-1]
