"""The embedding regressor's training: the epochs, in torch. Imported when one is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mining.methods.training import _layers, _network
from schemas.errors import RunError

if TYPE_CHECKING:
    from mining.methods.embedding import EmbeddingConfig

Array = NDArray[np.float64]
Curves = tuple[tuple[float, ...], tuple[float, ...]]


def train(
    rows: tuple[Array, Array],
    held: NDArray[np.int64],
    kept: NDArray[np.int64],
    config: EmbeddingConfig,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Curves, int]:
    """The epochs of `train_embedding`, in float64.

    Args:
        rows: latents ready for the first layer (N, D) and standardised descriptors (N, E).
        held, kept: numbers of the held-out and of the training rows.

    Returns:
        Weights, biases, two loss curves (training, held out) and the epoch whose weights these are.

    Raises:
        RunError: the loss is no longer finite.
    """
    x, targets = (torch.from_numpy(np.ascontiguousarray(a)) for a in rows)
    draws = torch.Generator().manual_seed(config.seed)
    layers = _layers((x.shape[1], *config.hidden, targets.shape[1]), draws)
    mean = [layer.detach().clone() for layer in layers]
    adam = torch.optim.AdamW(
        layers, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    seen, unseen = torch.from_numpy(kept), torch.from_numpy(held)
    curves: list[tuple[float, float]] = []
    best, best_epoch, steps = mean, -1, 0
    for epoch in range(config.epochs):
        total = 0.0
        for part in seen[torch.randperm(len(seen), generator=draws)].split(config.batch):
            adam.zero_grad()
            loss = (_network(layers, x[part]) - targets[part]).square().mean()
            loss.backward()
            adam.step()
            steps += 1
            fresh = 1 - min(config.averaging, (1 + steps) / (10 + steps))  # short memory at first
            for average, layer in zip(mean, layers, strict=True):
                average.lerp_(layer.detach(), fresh)
            total += loss.item() * len(part)
        with torch.no_grad():
            loss = (_network(mean, x[unseen]) - targets[unseen]).square().mean()
        curves.append((total / len(seen), float(loss)))
        if not np.isfinite(curves[-1]).all():
            raise RunError(f"embedding: the loss is not finite in epoch {epoch}; lower the rate.")
        if best_epoch < 0 or curves[-1][1] < curves[best_epoch][1]:
            best, best_epoch = [layer.clone() for layer in mean], epoch
        if config.patience is not None and epoch - best_epoch >= config.patience:
            break
    arrays = [layer.numpy() for layer in best]
    training, held_out = zip(*curves, strict=True)
    return tuple(arrays[::2]), tuple(arrays[1::2]), (training, held_out), best_epoch
