"""StyleGAN2 as the `.pt` files of the stylegan2-pytorch implementation by rosinality hold it.

Its weights are NVIDIA's under other names: modulated convolutions have a leading axis of 1, and
none is flipped; the mapping network's weights are stored divided by its learning-rate multiplier,
as NVIDIA's are. What its file does not say (the multiplier, 0.01, and the activation) is what
every network made with it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.arguments import FLOATS, MOST_NUMBERS, whole
from mining.generators.checkpoints.arrays import TensorRef, shown
from mining.generators.checkpoints.plain import Normalised
from schemas.errors import InputError

Floats = NDArray[np.float32]
Load = Callable[[], Floats]

MULTIPLIER = 0.01  # of the mapping network's learning rate
SLOPE, GAIN = 0.2, 2**0.5  # of the leaky rectifier
SAMPLES, SEED = 10_000, 0  # of z, behind a mean of w that the file does not have
TAPS = [1, 3, 3, 1]
LARGEST = 4096  # pixels
FORMAT = "rosinality"
ESTIMATED = f"{FORMAT}, mean of w estimated"  # in place of FORMAT, where it was
LICENCE = "unknown"


def normalise(state: Mapping[str, TensorRef], latent_avg: TensorRef | None) -> Normalised:
    """The averaged generator's state dict -> NVIDIA's arguments and tensor names.

    Without `latent_avg` the mean of w is that of 10,000 seeded z, and `file_format` says so: it is
    what truncation pulls to, not what training tracked.

    Raises:
        InputError: tensors are missing, do not fit together, or are not known.
    """
    weights = _Weights(state)
    layers = weights.count(r"style\.(\d+)\.weight")
    pairs = weights.count(r"convs\.(\d+)\.conv\.weight") // 2
    sizes = [4 * 2**n for n in range(pairs + 1)]
    if not layers or not pairs or sizes[-1] > LARGEST:
        raise InputError(f"it has {layers} mapping layers and {2 * pairs} convolutions above 4 px")
    tensors = dict(_tensors(weights, layers, sizes))
    weights.check_all_read()
    config = {
        "z_dim": weights.shape("style.1.weight")[1],
        "c_dim": 0,
        "w_dim": weights.shape(f"style.{layers}.weight")[0],
        "img_resolution": sizes[-1],
        "img_channels": weights.shape("to_rgb1.bias")[1],
        "mapping_kwargs": {
            "num_layers": layers,
            "embed_features": None,
            "layer_features": None,
            "activation": "lrelu",
            "lr_multiplier": MULTIPLIER,
        },
        "synthesis_kwargs": {
            **_channels(weights, sizes),
            "num_fp16_res": 0,
            "conv_clamp": None,
            "architecture": "skip",
            "resample_filter": _taps(weights),
            "use_noise": True,
            "activation": "lrelu",
        },
    }
    if latent_avg is not None:
        mean, file_format = _mean(latent_avg, config["w_dim"]), FORMAT
    else:
        mean, file_format = _estimated(tensors, layers), ESTIMATED
    return Normalised("stylegan2", config, {**tensors, "mapping.w_avg": mean}, file_format, LICENCE)


class _Weights:
    """The state dict, and which of its tensors were asked for."""

    def __init__(self, state: Mapping[str, TensorRef]):
        self.state = state
        self._read: set[str] = set()

    def count(self, pattern: str) -> int:
        """How many tensors have such a name; 0 where their numbers have gaps."""
        found = {int(m[1]) for name in self.state if (m := re.fullmatch(pattern, name))}
        return len(found) if found and max(found) - min(found) + 1 == len(found) else 0

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor of floats; InputError where there is none."""
        found = self.state.get(name)
        if not isinstance(found, TensorRef) or found.dtype not in FLOATS:
            raise InputError(f"it has no tensor {name}; it is no StyleGAN2 of this kind")
        return found.shape

    def load(self, name: str, dimensions: int, change: Callable[[NDArray], NDArray]) -> Load:
        """Reads a tensor when called; its number of dimensions is checked now."""
        if len(self.shape(name)) != dimensions:
            raise InputError(f"{name} has shape {self.shape(name)}; expected {dimensions} axes")
        self._read.add(name)
        return lambda: np.asarray(change(self.state[name].read()), np.float32)

    def kernels(self) -> list[str]:
        """The low-pass filters."""
        return [name for name in self.state if name.endswith((".blur.kernel", ".upsample.kernel"))]

    def check_all_read(self) -> None:
        """Refuse a network that has more than the one that is read here."""
        left = self.state.keys() - self._read - set(self.kernels())
        if left:
            raise InputError(
                f"its tensor {sorted(left)[0]!r:.80} is none of a StyleGAN2 generator's "
                f"({len(left)} such)"
            )


def _tensors(weights: _Weights, layers: int, sizes: Sequence[int]) -> Iterator[tuple[str, Load]]:
    for n in range(layers):
        for what, dimensions in (("weight", 2), ("bias", 1)):
            load = weights.load(f"style.{n + 1}.{what}", dimensions, np.asarray)
            yield f"mapping.fc{n}.{what}", load
    yield "synthesis.b4.const", weights.load("input.input", 4, lambda a: a[0])
    for number, (ours, theirs) in enumerate(_convolutions(sizes)):
        yield from _modulated(weights, ours, theirs)
        yield f"{ours}.bias", weights.load(f"{theirs}.activate.bias", 1, np.asarray)
        yield f"{ours}.noise_strength", weights.load(f"{theirs}.noise.weight", 1, lambda a: a[0])
        noise = weights.load(f"noises.noise_{number}", 4, lambda a: a[0, 0])
        yield f"{ours}.noise_const", noise
    for r, theirs in zip(sizes, ["to_rgb1", *_numbered("to_rgbs", len(sizes) - 1)], strict=True):
        ours = f"synthesis.b{r}.torgb"
        yield from _modulated(weights, ours, theirs)
        yield f"{ours}.bias", weights.load(f"{theirs}.bias", 4, np.ravel)


def _convolutions(sizes: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Our name and theirs, in the order of their noises."""
    yield "synthesis.b4.conv1", "conv1"
    for n, r in enumerate(sizes[1:]):
        yield f"synthesis.b{r}.conv0", f"convs.{2 * n}"
        yield f"synthesis.b{r}.conv1", f"convs.{2 * n + 1}"


def _modulated(weights: _Weights, ours: str, theirs: str) -> Iterator[tuple[str, Load]]:
    yield f"{ours}.weight", weights.load(f"{theirs}.conv.weight", 5, lambda a: a[0])
    for what, dimensions in (("weight", 2), ("bias", 1)):
        load = weights.load(f"{theirs}.conv.modulation.{what}", dimensions, np.asarray)
        yield f"{ours}.affine.{what}", load


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}.{n}" for n in range(count)]


def _channels(weights: _Weights, sizes: Sequence[int]) -> dict[str, int]:
    """The base b and the most m with channels = min(b / resolution, m) at every resolution."""
    widths = [weights.shape("conv1.conv.weight")[1]]
    widths += [weights.shape(f"convs.{2 * n}.conv.weight")[1] for n in range(len(sizes) - 1)]
    most = widths[0]
    bases = [width * r for width, r in zip(widths, sizes, strict=True) if width < most]
    base = bases[-1] if bases else most * sizes[-1]
    if widths != [min(base // r, most) for r in sizes]:
        raise InputError(f"its channels {widths} do not follow the rule of StyleGAN2")
    return {"channel_base": base, "channel_max": most}


def _taps(weights: _Weights) -> list[float]:
    """The one filter that all its low-pass filters are, up to their gain."""
    found = {}
    for name in weights.kernels():
        shape = weights.shape(name)
        if len(shape) != 2 or not 0 < shape[0] == shape[1] <= MOST_NUMBERS:
            raise InputError(f"its filter {shown(name)} has shape {shape}; expected a small square")
        kernel = np.asarray(weights.state[name].read(), np.float64)
        row = kernel.sum(axis=0) / (kernel.sum() or 1)
        if not np.allclose(np.outer(row, row) * kernel.sum(), kernel, atol=1e-5):
            raise InputError(f"its filter {shown(name)} is not the product of a row with itself")
        found[tuple(np.round(row, 6))] = row
    if len(found) > 1:
        raise InputError(f"it has {len(found)} different filters; expected one")
    row = next(iter(found.values()), np.asarray(TAPS) / sum(TAPS))
    usual = np.asarray(TAPS) / sum(TAPS)
    same = len(row) == len(usual) and np.allclose(row, usual, atol=1e-5)
    return list(TAPS) if same else row.tolist()


def _mean(latent_avg: TensorRef, width: int) -> Load:
    """(width,), also where the file repeats it for every row of W+."""
    if latent_avg.shape[-1:] != (width,) or 0 in latent_avg.shape:
        raise InputError(f"its latent_avg has shape {latent_avg.shape}; expected ({width},)")
    rows = latent_avg.read().reshape(-1, width)
    if not np.array_equal(rows, np.broadcast_to(rows[0], rows.shape)):
        raise InputError(f"its latent_avg of shape {latent_avg.shape} differs from row to row")
    return lambda: np.asarray(rows[0], np.float32)


def _estimated(tensors: Mapping[str, Load], layers: int) -> Load:
    """The mean of w over 10,000 standard normal z of a fixed seed.

    Source of the practice: Karras et al. (2019), arXiv:1812.04948, appendix B.
    """
    width = whole(tensors["mapping.fc0.weight"]().shape[1], "z_dim", 1)
    x = np.random.default_rng(SEED).standard_normal((SAMPLES, width), np.float32)
    x /= np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)
    for n in range(layers):
        weight, bias = tensors[f"mapping.fc{n}.weight"](), tensors[f"mapping.fc{n}.bias"]()
        if weight.shape != (len(bias), x.shape[1]):
            raise InputError(f"its mapping layer {n} has shape {weight.shape} and does not fit")
        x = x @ (weight.T * np.float32(MULTIPLIER / weight.shape[1] ** 0.5)) + MULTIPLIER * bias
        x = np.where(x < 0, np.float32(SLOPE) * x, x) * np.float32(GAIN)
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    return lambda: mean


def is_state(content: Mapping[Any, Any]) -> bool:
    """Whether it is such a generator's state dict."""
    return "style.1.weight" in content and "input.input" in content
