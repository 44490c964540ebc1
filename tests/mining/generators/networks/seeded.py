"""Weights made from a seed and the tensors' names: the same on every machine and torch version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FIXED = ("up_filter", "down_filter", "resample_filter")  # follow from the config, are not learned


def seeded_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """A float32 tensor for every name but the filters, each drawn from its own name and `seed`.

    Nothing stays at the 0 or 1 of a fresh network, so a tensor that is not read shows. An entry
    depends on its own name and shape alone: order and the other names do not matter.

    Args:
        shapes: tensor names as in NVIDIA's releases, with their shapes.
    """
    return {
        name: torch.from_numpy(_draw(name, tuple(shape), seed))
        for name, shape in shapes.items()
        if not name.endswith(FIXED)
    }


def shapes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a module's tensors."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _draw(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return np.asarray(_scaled(name, rng.standard_normal(shape)), np.float32)


def _scaled(name: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal numbers -> what a tensor of this name might hold after training."""
    last = name.rsplit(".", 1)[-1]
    mapping = ".fc" in f".{name}" and "mapping" in name  # learns at 0.01 of the rate: 100 times
    match last:
        case "weight":
            return normal * (100.0 if mapping else 1.0)
        case "bias" if "affine" in name:
            return 1.0 + 0.1 * normal
        case "bias":
            return normal * (10.0 if mapping else 0.1)
        case "noise_strength" | "w_avg":
            return 0.1 * normal
        case "magnitude_ema":
            return np.exp(0.3 * normal)
        case "transform":
            return np.eye(3) + 0.1 * normal * [[1.0], [1.0], [0.0]]
        case _:
            return normal
