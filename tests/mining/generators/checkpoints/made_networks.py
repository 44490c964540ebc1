"""Small networks with random weights, written as the published trainers write theirs.

The weights are planted under NVIDIA's names, by our own networks; each writer here turns them into
another format by that format's own rules, the reverse of what the reader does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.mining.generators.checkpoints.made_files import EasyDict, Network, dumped, module

COMMON = {"z_dim": 12, "c_dim": 0, "w_dim": 16, "img_resolution": 16, "img_channels": 3}
MAPPING = {
    "num_layers": 2,
    "embed_features": None,
    "layer_features": None,
    "activation": "lrelu",
    "lr_multiplier": 0.01,
}
SYNTHESIS = {
    "channel_base": 128,
    "channel_max": 24,
    "num_fp16_res": 0,
    "conv_clamp": None,
    "architecture": "skip",
    "resample_filter": [1, 3, 3, 1],
    "use_noise": True,
    "activation": "lrelu",
}
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def config(**changes: Any) -> dict[str, Any]:
    """A StyleGAN2's arguments, all of them; changes go where their names belong."""
    made = {**COMMON, "mapping_kwargs": dict(MAPPING), "synthesis_kwargs": dict(SYNTHESIS)}
    for key, value in changes.items():
        inside = [part for part in ("mapping_kwargs", "synthesis_kwargs") if key in made[part]]
        (made[inside[0]] if inside else made)[key] = value
    return made


def network(architecture: str = "stylegan2", seed: int = 0, **arguments: Any) -> Any:
    """One of our networks with random weights, biases, noises and mean of w."""
    from mining.generators.pretrained import make_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = make_network(architecture, arguments).eval().requires_grad_(False)
        for name, tensor in made.state_dict().items():
            if name.endswith(("bias", "noise_strength", "w_avg")):
                tensor.add_(0.3 * torch.randn_like(tensor))
    return made


def weights(made: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Its tensors by NVIDIA's names."""
    return dict(made.state_dict())


def persistent(
    made: torch.nn.Module,
    class_name: str,
    said: Mapping[str, Mapping[str, Any]] = {},
    filters: torch.Tensor | None = None,
    init_args: tuple[Any, ...] = (),
    init_kwargs: Mapping[str, Any] = {},
    prefix: str = "",
) -> Any:
    """The tree of modules as `torch_utils.persistence` pickles it.

    Args:
        said: module's name -> the attributes that it is pickled with.
        filters: stored beside every modulated layer, as StyleGAN2's releases do.
    """
    inner = {
        name: persistent(child, type(child).__name__, said, filters, prefix=f"{prefix}{name}.")
        for name, child in made.named_children()
    }
    stored = made.state_dict()
    buffers = {name: value for name, value in made.named_buffers(recurse=False) if name in stored}
    if filters is not None and "noise_strength" in dict(made.named_parameters(recurse=False)):
        buffers["resample_filter"] = filters
    node = module(
        class_name,
        dict(made.named_parameters(recurse=False)),
        buffers,
        inner,
        EasyDict(init_kwargs),
        **said.get(prefix.rstrip("."), {}),
    )
    node.meta["state"]["_init_args"] = init_args
    return node


def nvidia_pickle(path: Path, generator: Any) -> Path:
    """A snapshot of a training with this G_ema."""
    path.write_bytes(dumped({"G": None, "D": None, "G_ema": generator, "augment_pipe": None}))
    return path


def tensorflow_variables(
    tensors: Mapping[str, torch.Tensor], revised: bool = False
) -> tuple[list[Any], list[Any], list[Any]]:
    """The variables of G_main, G_mapping and G_synthesis that hold these weights."""
    top: list[Any] = [("lod", np.float32(0)), ("dlatent_avg", tensors["mapping.w_avg"].numpy())]
    mapping: list[Any] = []
    synthesis: list[Any] = []
    last = max(int(name.split(".")[1][1:]) for name in tensors if name.startswith("synthesis.b"))
    for name, tensor in tensors.items():
        array = tensor.numpy()
        part, *place, kind = name.split(".")
        if part == "mapping" and kind != "w_avg":
            layer = "LabelEmbed" if place == ["embed"] else f"Dense{place[0][2:]}"
            mapping.append((f"{layer}/{kind}", array.T if kind == "weight" else array))
        elif part == "synthesis":
            synthesis.append(_tensorflow_variable(place, kind, array, last, revised))
    return top, mapping, synthesis


def _tensorflow_variable(
    place: list[str], kind: str, array: np.ndarray, last: int, revised: bool
) -> tuple[str, Any]:
    block, *layer = place
    r = int(block[1:])
    if kind == "const":
        return f"{r}x{r}/Const/const", array[None]
    number = 2 * (r.bit_length() - 4) + (2 if layer[0] == "conv1" else 1) if r > 4 else 0
    if kind == "noise_const":
        return f"noise{number}", array[None, None]
    names = {"conv0": "Conv0_up", "conv1": "Conv1" if r > 4 else "Conv", "torgb": "ToRGB"}
    full = f"{r}x{r}/{names.get(layer[0], 'Skip')}"
    if revised and layer[0] == "torgb":
        full = f"ToRGB_lod{(last // r).bit_length() - 1}"
    if layer[1:] == ["affine"]:
        return f"{full}/mod_{kind}", array.T if kind == "weight" else array - np.float32(1)
    if kind == "weight":
        turned = array.transpose(2, 3, 1, 0)
        up = layer[0] in ("conv0", "skip")
        return f"{full}/weight", np.ascontiguousarray(turned[::-1, ::-1] if up else turned)
    return f"{full}/{kind}", np.float32(array) if kind == "noise_strength" else array


def tensorflow_pickle(
    path: Path,
    parts: tuple[list[Any], list[Any], list[Any]],
    keywords: Mapping[str, Any],
    version: int = 4,
    function: str = "G_main",
) -> Path:
    """(G, D, Gs), all of them the same network."""
    top, mapping, synthesis = parts
    inside = EasyDict(
        synthesis=Network("G_synthesis", synthesis, dict(keywords), {}),
        mapping=Network("G_mapping", mapping, dict(keywords), {}),
    )
    made = Network("G", top, dict(keywords), inside)
    made.__dict__ |= {"version": version, "build_func_name": function}
    path.write_bytes(dumped((made, made, made)))
    return path


def rosinality_state(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict that holds these weights, its low-pass filters with it."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        part, *place, kind = name.split(".")
        if part == "mapping" and kind != "w_avg":
            state[f"style.{int(place[0][2:]) + 1}.{kind}"] = tensor
        elif part == "synthesis":
            state |= _rosinality_tensor(place, kind, tensor)
    for name in list(state):
        first, number, *_ = name.split(".")
        if first == "convs" and name.endswith("conv.weight") and int(number) % 2 == 0:
            state[name.replace("weight", "blur.kernel")] = FILTER * 4
    return state


def _rosinality_tensor(place: list[str], kind: str, tensor: torch.Tensor) -> dict[str, Any]:
    block, *layer = place
    n = int(block[1:]).bit_length() - 4  # -1 for 4 pixels
    if kind == "const":
        return {"input.input": tensor[None]}
    number = 2 * n + (layer[0] == "conv1")
    full = "conv1" if n < 0 else f"convs.{number}"
    if layer[0] == "torgb":
        full = "to_rgb1" if n < 0 else f"to_rgbs.{n}"
    if layer[1:] == ["affine"]:
        return {f"{full}.conv.modulation.{kind}": tensor}
    if kind == "weight":
        return {f"{full}.conv.weight": tensor[None]}
    if kind == "noise_const":
        return {f"noises.noise_{number + 1}": tensor[None, None]}
    if kind == "noise_strength":
        return {f"{full}.noise.weight": tensor[None]}
    if layer[0] == "torgb":
        return {f"{full}.bias": tensor[None, :, None, None]}
    return {f"{full}.activate.bias": tensor}
