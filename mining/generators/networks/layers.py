"""Dense layers with an equalised learning rate, activations, and the mapping network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schemas.errors import InputError

GAINS = {"linear": 1.0, "lrelu": math.sqrt(2.0), "relu": math.sqrt(2.0), "sigmoid": 1.0}
GAINS |= {"tanh": 1.0, "elu": 1.0, "selu": 1.0, "softplus": 1.0, "swish": math.sqrt(2.0)}
MOST_LAYERS = 64  # of a mapping network; releases have 2 or 8
SLOPE = 0.2  # of the leaky rectifier below zero


def activate(x: Tensor, kind: str, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    """clamp(gain * GAINS[kind] * f(x)): the activations keep the variance of their input.

    Source: Karras et al. (2020), arXiv:1912.04958; gain of the rectifier: He et al. (2015).

    Args:
        clamp: the result stays within +-clamp * gain; None leaves it as it is.
    """
    if kind == "lrelu":
        x = F.leaky_relu(x, SLOPE)
    elif kind == "swish":
        x = F.silu(x)
    elif kind != "linear":
        x = getattr(F if kind in ("elu", "selu", "softplus") else torch, kind)(x)
    total = GAINS[kind] * gain
    if total != 1:
        x = x * total
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def check_activation(kind: str) -> str:
    """The name of a known activation, or InputError."""
    if kind not in GAINS:
        raise InputError(f"network: activation {kind!r} came; expected one of {', '.join(GAINS)}.")
    return kind


def second_moment_one(x: Tensor, dim: int = 1) -> Tensor:
    """x / sqrt(mean(x^2)): rows of unit second moment."""
    return x * (x.square().mean(dim=dim, keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    """y = f(x (g W)' + l b) with g = l / sqrt(inputs): the learning rate is equalised at run time.

    Source: Karras et al. (2018), arXiv:1710.10196, section 4.1.

    Args:
        lr_multiplier: l; weights are stored divided by it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        weight_init: float = 1.0,
    ):
        super().__init__()
        self.activation = check_activation(activation)
        scale = weight_init / lr_multiplier
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * scale)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier

    def scaled_weight(self) -> Tensor:
        """(outputs, inputs) the matrix that the input is multiplied with."""
        return self.weight * self.weight_gain

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        y = torch.addmm(bias.to(x.dtype), x, self.scaled_weight().to(x.dtype).t())
        return activate(y, self.activation)


class Mapping(nn.Module):
    """The mapping network z, condition -> w of StyleGAN2 and EG3D.

    Source: Karras et al. (2019), arXiv:1812.04948, section 2; with a condition: Karras et al.
    (2020), arXiv:2006.06676, appendix D.

    Args:
        embed_features, layer_features: w_dim where they are None.
        w_avg_beta: of training; the mean of w is stored in either case.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.998,
    ):
        super().__init__()
        if not 1 <= num_layers <= MOST_LAYERS:
            raise InputError(f"network: {num_layers} mapping layers; expected 1..{MOST_LAYERS}.")
        self.z_dim, self.c_dim, self.num_layers = z_dim, c_dim, num_layers
        embedded = (embed_features or w_dim) if c_dim else 0
        widths = [z_dim + embedded, *[layer_features or w_dim] * (num_layers - 1), w_dim]
        if c_dim:
            self.embed = Dense(c_dim, embedded)
        for n in range(num_layers):
            layer = Dense(widths[n], widths[n + 1], activation, lr_multiplier)
            self.add_module(f"fc{n}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, z_dim), (N, c_dim) -> (N, w_dim), not truncated."""
        parts = [second_moment_one(z)] if self.z_dim else []
        if self.c_dim:
            parts.append(second_moment_one(self.embed(need_condition(condition, self.c_dim))))
        x = torch.cat(parts, dim=1)
        for n in range(self.num_layers):
            x = self.get_submodule(f"fc{n}")(x)
        return x


def need_condition(condition: Tensor | None, c_dim: int) -> Tensor:
    """The condition, or InputError where it is missing or of another width."""
    if condition is None or condition.ndim != 2 or condition.shape[1] != c_dim:
        came = "none" if condition is None else tuple(condition.shape)
        raise InputError(f"network: condition {came} came; expected (N, {c_dim}).")
    return condition
