"""The steps of `TextAnchors` and `OptimisingInverter`, in torch. Imported when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mining.editing.image_networks import ImageNetwork
from mining.methods.base import principal_axes
from mining.spaces import render
from schemas.errors import InputError, RunError

if TYPE_CHECKING:
    from mining.methods.frame_anchors import OptimisingInverter
    from mining.methods.text_anchors import TextAnchors, TextConfig

Array = NDArray[np.float64]
Found = tuple[Array, Array, Array]  # latents (N, D), cosines before and after (N,)
ROWS = 2048  # latents whose spread is looked at


def rate_at(step: int, steps: int, ramp_up: float = 0.05, ramp_down: float = 0.25) -> float:
    """The share of the learning rate in a step: a straight ramp up, half a cosine down at the end.

    Source: Karras et al. (2020), arXiv:1912.04958, appendix D.
    """
    up = min(1.0, (step + 1) / steps / ramp_up)  # a first step of 0 would be lost
    down = min(1.0, (1 - step / steps) / ramp_down)
    return up * (0.5 - 0.5 * math.cos(math.pi * down))


def by_gradient(job: TextAnchors, first: Array, wanted: Array) -> Found:
    """Adam on the latents through generator and scorer.

    Args:
        first: (N, D). wanted: (N, E) features of the sentences.

    Raises:
        RunError: the loss is no longer finite.
    """
    generator: Any = job.generator
    images: Callable[[Tensor, None], Tensor] = generator.differentiable(job.space)
    start = torch.from_numpy(first).float()
    target = torch.from_numpy(wanted).float()
    latents = start.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=job.config.learning_rate)
    with torch.no_grad():
        seen = images(start, None)
        before, face = _fit(job, seen, target), _face(job.identity, seen)
    for step in range(job.config.steps):
        adam.param_groups[0]["lr"] = _rate(step, job.config)
        made = images(latents, None)
        loss = _loss(job, made, latents, (start, target, face)).sum()
        _check(loss)
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        after = _fit(job, images(latents, None), target)
    return latents.detach().double().numpy(), _array(before), _array(after)


def by_evolution(job: TextAnchors, first: Array, wanted: Array) -> Found:
    """The same by differences: w = w0 + c B, with B the latents' widest axes in their spreads.

    The slope is mean_j (f(c + s e_j) - f(c - s e_j)) e_j / 2s over mirrored pairs of normal e_j,
    drawn once a step for all rows; Adam follows it with the same rates, in spreads.
    Source: Salimans et al. (2017), arXiv:1703.03864, section 2, with mirrored sampling.
    """
    config = job.config
    assert job.latents is not None  # TextAnchors saw to it
    axes = torch.from_numpy(wide_axes(job.latents, config.axes))
    start, target = torch.from_numpy(first), torch.from_numpy(wanted).float()
    seen = _rendered(job, start)
    before, face = _fit(job, seen, target), _face(job.identity, seen)
    draws = torch.Generator().manual_seed(config.seed)
    place = torch.zeros(len(first), len(axes), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([place], lr=config.learning_rate)

    def cost(at: Tensor) -> Tensor:
        latents = start + at @ axes
        costs = _loss(job, _rendered(job, latents), latents, (start, target, face)).double()
        _check(costs.sum())
        return costs

    with torch.no_grad():
        for step in range(config.steps):
            adam.param_groups[0]["lr"] = _rate(step, config)
            slope = torch.zeros_like(place)
            for _ in range(config.pairs):
                way = torch.randn(len(axes), generator=draws, dtype=torch.float64)
                rise = cost(place + config.explore * way) - cost(place - config.explore * way)
                slope += rise[:, None] * way / (2 * config.explore * config.pairs)
            place.grad = slope
            adam.step()
        latents = start + place @ axes
        after = _fit(job, _rendered(job, latents), target)
    return latents.numpy(), _array(before), _array(after)


def invert(job: OptimisingInverter, frames: NDArray[np.uint8]) -> Array:
    """(N, H, W, 3) -> (N, D) latents whose images are nearest that Adam found.

    Raises:
        RunError: the loss is no longer finite.
    """
    from mining.methods.frame_anchors import start_of

    generator: Any = job.generator
    images: Callable[[Tensor, None], Tensor] = generator.differentiable(job.space)
    size = min(job.size, generator.resolution)
    wanted = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    wanted = _sized(wanted, size)
    seen = None if job.perceptual is None else _described(job.perceptual, wanted)
    start = torch.from_numpy(start_of(generator, job.space)).float()
    latents = start.repeat(len(frames), 1).requires_grad_()
    adam = torch.optim.Adam([latents], lr=job.learning_rate)
    for step in range(job.steps):
        adam.param_groups[0]["lr"] = job.learning_rate * rate_at(step, job.steps)
        made = _sized(images(latents, None), size).to(wanted)
        loss = (made - wanted).square().mean(dim=(1, 2, 3)).sum()
        if job.perceptual is not None and seen is not None:
            found = _described(job.perceptual, made)
            loss = loss + job.perceptual.compare(found, seen).sum().to(loss)
        _check(loss)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return latents.detach().double().numpy()


def wide_axes(latents: NDArray, count: int) -> Array:
    """(K, D): the widest principal axes of latents, each as long as the spread along it.

    Raises:
        InputError: fewer than two latents came, or they do not spread.
    """
    rows = np.asarray(latents[:ROWS], np.float64)
    if len(rows) < 2 or not np.ptp(rows, axis=0).any():
        raise InputError(
            f"text anchors: latents {np.shape(latents)} came for evolution; expected at least two "
            "that differ."
        )
    energy, axes = principal_axes(rows - rows.mean(axis=0))
    widest = np.argsort(-energy, kind="stable")[: min(count, len(rows) - 1)]
    spread = np.sqrt(np.maximum(energy[widest], 0) / (len(rows) - 1))
    return spread[:, None] * axes[:, widest].T


def _loss(
    job: TextAnchors, images: Tensor, latents: Tensor, held: tuple[Tensor, Tensor, Tensor | None]
) -> Tensor:
    """(N,) what is minimised.

    Args:
        held: start latents (N, D), sentences (N, E), descriptors of the start or None.
    """
    start, target, face = held
    loss = 1 - _fit(job, images, target).to(latents.device)
    loss = loss + job.config.l2_weight * (latents - start).square().sum(dim=1)
    if job.identity is None or face is None:
        return loss
    changed = job.identity.compare(_described(job.identity, images), face)
    return loss + job.config.identity_weight * changed.to(loss)


def _fit(job: TextAnchors, images: Tensor, target: Tensor) -> Tensor:
    """(N,) cosines of images and sentences."""
    found = job.scorer.images(images)
    return (found * target.to(found)).sum(dim=1)


def _face(network: ImageNetwork | None, images: Tensor) -> Tensor | None:
    return None if network is None else _described(network, images)


def _described(network: ImageNetwork, images: Tensor) -> Tensor:
    return network(_sized(images, network.size))


def _sized(images: Tensor, size: int) -> Tensor:
    """(N, 1 or 3, H, W) -> (N, 3, size, size)."""
    if tuple(images.shape[-2:]) != (size, size):
        images = torch.nn.functional.interpolate(
            images, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return images.expand(-1, 3, -1, -1)


def _rate(step: int, config: TextConfig) -> float:
    share = rate_at(step, config.steps, config.ramp_up, config.ramp_down)
    return config.learning_rate * share


def _rendered(job: TextAnchors, latents: Tensor) -> Tensor:
    """(N, 3, H, W) in -1..1 of a generator that makes bytes."""
    made = render(job.generator, job.space, latents.numpy().astype(np.float32))
    return torch.from_numpy(made).permute(0, 3, 1, 2).float() / 127.5 - 1


def _array(tensor: Tensor) -> Array:
    return tensor.detach().double().cpu().numpy()


def _check(loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise RunError("text anchors: the loss is not finite; lower the learning rate.")
