"""The regressors' plain arrays as differentiable functions of torch tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mining.methods.camera import image_points
from mining.methods.embedding import Embedding
from mining.methods.regressor import Regressor
from mining.methods.shape_model import ShapeModel


def forward(network: Regressor | Embedding, latents: Tensor) -> Tensor:
    """The standardised outputs of a regressor, (N, D) -> (N, Q); `torch_regressor` has the units.

    The arrays are copied to the device of the latents at each call; on a CPU they are shared.
    """
    x = latents - _tensor(network.centre, latents)
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        x = (x @ _tensor(weight, latents).T + _tensor(bias, latents)).relu()
    return x @ _tensor(network.weights[-1], latents).T + _tensor(network.biases[-1], latents)


def torch_regressor(network: Regressor | Embedding) -> Callable[[Tensor], Tensor]:
    """`network.predict` as a differentiable function, float64 (N, D) -> (N, Q)."""

    def predict(latents: Tensor) -> Tensor:
        spread, mean = (_tensor(a, latents) for a in (network.spread, network.mean))
        return mean + spread * forward(network, latents)

    return predict


def torch_landmarks(shape: ShapeModel) -> Callable[[Tensor], Tensor]:
    """`shape.project` as a differentiable function: R, float64 (N, 8 + K) -> (N, L, 2)."""

    def project(q: Tensor) -> Tensor:
        solid, basis, modes = (_tensor(a, q) for a in (shape.mean_shape, shape.basis, shape.modes))
        return torch.stack(image_points(q, solid, basis, modes, torch), dim=2)

    return project


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)
