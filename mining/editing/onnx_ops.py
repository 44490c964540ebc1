"""The operators of ONNX face networks in torch, each a function of its attributes and inputs.

Source: the ONNX operator specification, https://onnx.ai/onnx/operators/, opsets 7 to 21. Absent
optional inputs come as None. Whole numbers (shapes, axes) are tensors on the CPU, with values
always; features may be on any device, "meta" too, where only shapes are worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from schemas.errors import InputError

Attributes = Mapping[str, Any]
MOST_NUMBERS = 1 << 28  # of all features of a network, per image: 1 GiB


def conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv in two dimensions."""
    x, padding = _padded(a, x, 0.0)
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    return F.conv2d(x, weight, bias, strides, padding, dilations, a.get("group", 1))


def batch_norm(a: Attributes, x: Tensor, *numbers: Tensor) -> Tensor:
    """BatchNormalization with stored statistics: scale, bias, mean, variance."""
    if a.get("training_mode", 0):
        raise InputError("BatchNormalization in training mode; export the network for inference")
    scale, bias, mean, var = numbers
    return F.batch_norm(x, mean, var, scale, bias, training=False, eps=a.get("epsilon", 1e-5))


def prelu(a: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    """PRelu; the slope is broadcast as for Mul."""
    return torch.where(x < 0, slope * x, x)


def gemm(a: Attributes, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    """alpha A'B' + beta C."""
    x = x.T if a.get("transA", 0) else x
    y = y.T if a.get("transB", 0) else y
    product = a.get("alpha", 1.0) * (x @ y)
    return product if z is None else product + a.get("beta", 1.0) * z


def flatten(a: Attributes, x: Tensor) -> Tensor:
    """Flatten to two dimensions, at an axis."""
    axis = a.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = int(torch.tensor(x.shape[:axis]).prod()) if axis else 1
    return x.reshape(rows, -1)


def reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape: 0 copies the edge, -1 is what is left."""
    edges = shape.tolist()
    if not a.get("allowzero", 0):
        edges = [x.shape[n] if edge == 0 else edge for n, edge in enumerate(edges)]
    return x.reshape(edges)


def transpose(a: Attributes, x: Tensor) -> Tensor:
    """Transpose; without `perm` all axes are turned round."""
    return x.permute(a.get("perm", list(range(x.ndim))[::-1]))


def squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Squeeze axes of length 1; all of them where none are named."""
    chosen = _axes(a, axes)
    for axis in chosen or range(x.ndim):
        if chosen and x.shape[axis] != 1:
            raise InputError(f"Squeeze of axis {axis} of {tuple(x.shape)}")
    return x.squeeze(tuple(chosen)) if chosen else x.squeeze()


def unsqueeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Unsqueeze: axes of length 1, numbered as in the result."""
    chosen = _axes(a, axes) or []
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def max_pool(a: Attributes, x: Tensor) -> Tensor:
    """MaxPool in two dimensions."""
    x, padding = _padded(a, x, -torch.inf)
    sizes, strides = a["kernel_shape"], a.get("strides", [1, 1])
    dilations, ceil = a.get("dilations", [1, 1]), bool(a.get("ceil_mode", 0))
    return F.max_pool2d(x, sizes, strides, padding, dilations, ceil)


def average_pool(a: Attributes, x: Tensor) -> Tensor:
    """AveragePool in two dimensions."""
    if set(a.get("dilations", [1])) != {1}:
        raise InputError("AveragePool with dilations")
    include, ceil = bool(a.get("count_include_pad", 0)), bool(a.get("ceil_mode", 0))
    if not include and _pads(a, x)[:2] != _pads(a, x)[2:]:
        raise InputError("AveragePool with pads that differ from side to side")
    x, padding = _padded(a, x, 0.0)
    return F.avg_pool2d(
        x, a["kernel_shape"], a.get("strides", [1, 1]), padding, ceil, include or padding == [0, 0]
    )


def clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Clip, with the bounds as attributes (to opset 10) or inputs."""
    if "min" in a or "max" in a:
        return x.clamp(a.get("min"), a.get("max"))
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    """Gather along an axis."""
    axis = a.get("axis", 0) % x.ndim
    edge, flat = x.shape[axis], index.reshape(-1)
    if index.is_floating_point() or ((flat < -edge) | (flat >= edge)).any():
        raise InputError(f"Gather of {flat[:5].tolist()} from an edge of {edge}")
    found = x.index_select(axis, flat % edge)
    return found.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def lp_norm(a: Attributes, x: Tensor) -> Tensor:
    """LpNormalization."""
    return F.normalize(x, a.get("p", 2), a.get("axis", -1), eps=1e-30)


def _pads(a: Attributes, x: Tensor) -> list[int]:
    """top, left, bottom, right."""
    if x.ndim != 4:
        raise InputError(f"a two-dimensional operator on {tuple(x.shape)}; expected (N, C, H, W)")
    mode = a.get("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID"):
        raise InputError(f"auto_pad {mode}; export the network with explicit pads")
    pads = [0, 0, 0, 0] if mode == "VALID" else list(a.get("pads", [0, 0, 0, 0]))
    top, left, bottom, right = pads
    high, wide = x.shape[2] + top + bottom, x.shape[3] + left + right
    if min(pads) < 0 or x.shape[1] * high * wide > MOST_NUMBERS:
        raise InputError(f"pads {pads} around {tuple(x.shape)}")
    return pads


def _padded(a: Attributes, x: Tensor, fill: float) -> tuple[Tensor, list[int]]:
    """The features, padded here where the sides differ, and the padding that is left to do."""
    top, left, bottom, right = _pads(a, x)
    if (top, left) == (bottom, right):
        return x, [top, left]
    return F.pad(x, (left, right, top, bottom), value=fill), [0, 0]


def _axes(a: Attributes, axes: Tensor | None) -> list[int] | None:
    """Axes as an input (from opset 13) or an attribute."""
    return a.get("axes") if axes is None else axes.tolist()


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Concat": lambda a, *xs: torch.cat(xs, dim=a["axis"]),
    "Conv": conv,
    "Div": lambda a, x, y: x / y if x.is_floating_point() else x // y,
    "Dropout": lambda a, x, *_: x,  # of inference
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
    "Identity": lambda a, x: x,
    "LpNormalization": lp_norm,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": max_pool,
    "Mul": lambda a, x, y: x * y,
    "PRelu": prelu,
    "Relu": lambda a, x: x.relu(),
    "Reshape": reshape,
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0) : a.get("end", None)]),
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Squeeze": squeeze,
    "Sub": lambda a, x, y: x - y,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
