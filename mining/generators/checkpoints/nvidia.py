"""Pickles of NVIDIA's PyTorch releases: StyleGAN2-ADA, StyleGAN3 (both its networks) and EG3D.

The pickle names classes by their last name alone, and StyleGAN2 has other defaults in the release
of StyleGAN3 than in its own. So what the layers say of themselves goes before the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.arguments import (
    FLOATS,
    as_json,
    named,
    options,
    resolutions,
    taps_of,
    unless,
    whole,
)
from mining.generators.checkpoints.arrays import TensorRef, shown
from mining.generators.checkpoints.plain import Module, Normalised
from schemas.errors import InputError

Load = Callable[[], NDArray[np.float32]]

COMMON = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
STYLEGAN2 = (*COMMON, "mapping_kwargs", "synthesis_kwargs")
STYLEGAN3 = (*COMMON, "mapping_kwargs")
EG3D = (*COMMON, "sr_num_fp16_res", "mapping_kwargs", "rendering_kwargs", "sr_kwargs")
TAPS = [1, 3, 3, 1]  # the low-pass filter of every release
DERIVED = "resample_filter"  # buffers that follow from the arguments; checked, then left out
HOW = {"fp16_channels_last", "fused_modconv_default"}  # arguments that decide no image
PLANES: dict[
    tuple[tuple[int, int], ...], str
] = {  # of EG3D: the axes that span each of the three planes
    ((0, 1), (0, 2), (2, 0)): "released",
    ((0, 1), (0, 2), (2, 1)): "corrected",
}
LICENCE = "unknown (the file holds code that NVIDIA licenses for non-commercial use)"


def normalise(generator: Module) -> Normalised:
    """An averaged generator (G_ema) -> its architecture, arguments and tensors.

    Raises:
        InputError: the architecture is not known, or something of it is missing.
    """
    synthesis = generator.modules.get("synthesis")
    if {"backbone", "superresolution", "decoder"} <= generator.modules.keys():
        made, config = "eg3d", _eg3d(generator)
    elif synthesis is not None and "b4" in synthesis.modules:
        made, config = "stylegan2", _stylegan2(generator)
    elif synthesis is not None and "input" in synthesis.modules:
        made, config = "stylegan3", _stylegan3(generator)
    else:
        raise InputError(
            f"its generator is a {generator.class_name[:80]!r}, an architecture that is not known "
            "here; expected a StyleGAN2, a StyleGAN3 or an EG3D"
        )
    tensors = dict(_tensors(generator, config))
    if not any(name.endswith("mapping.w_avg") for name in tensors):
        raise InputError("its generator has no mean of w (it was trained with w_avg_beta None)")
    return Normalised(made, config, tensors, "nvidia-pytorch", LICENCE)


def _stylegan2(generator: Module) -> dict[str, Any]:
    given = named(STYLEGAN2, generator.init_args, generator.init_kwargs)
    flat = {key: given.pop(key) for key in set(given) - set(STYLEGAN2)}  # StyleGAN3's release
    mapping = options(given.pop("mapping_kwargs", None), "mapping_kwargs")
    synthesis = {**options(given.pop("synthesis_kwargs", None), "synthesis_kwargs"), **flat}
    config = as_json({"img_channels": 3, **given}, "generator")
    width = whole(config.get("w_dim"), "w_dim", 1)
    parts = generator.modules
    config["mapping_kwargs"] = _mapping(_need(parts, "mapping"), mapping, width)
    config["synthesis_kwargs"] = _blocks(
        _need(parts, "synthesis"), synthesis, resolutions(config.get("img_resolution"))
    )
    return config


def _mapping(module: Module, given: Mapping[str, Any], width: int) -> dict[str, Any]:
    """The arguments of a mapping network, without what only its training needed."""
    first = _need(module.modules, "fc0")
    count = sum(name.startswith("fc") for name in module.modules)
    return {
        "num_layers": whole(_said(module, "num_layers", given, count), "number of layers", 1),
        "embed_features": unless(given.get("embed_features"), width),
        "layer_features": unless(given.get("layer_features"), width),
        "activation": as_json(_said(first, "activation", given, "lrelu"), "activation"),
        "lr_multiplier": as_json(
            first.attributes.get("bias_gain", given.get("lr_multiplier", 0.01)), "lr_multiplier"
        ),
    }


def _blocks(module: Module, given: Mapping[str, Any], sizes: list[int]) -> dict[str, Any]:
    """The arguments of a StyleGAN2 synthesis as its blocks have them."""
    blocks = [_need(module.modules, f"b{r}") for r in sizes]
    layer = _need(blocks[-1].modules, "conv1")
    half = sum(block.attributes.get("use_fp16") is True for block in blocks)
    known = {
        "channel_base": given.get("channel_base", 32768),
        "channel_max": given.get("channel_max", 512),
        "num_fp16_res": half
        if "use_fp16" in blocks[0].attributes
        else given.get("num_fp16_res", 0),
        "conv_clamp": _said(layer, "conv_clamp", given, None),
        "architecture": _said(blocks[-1], "architecture", given, "skip"),
        "resample_filter": taps_of(given.get("resample_filter", TAPS)),
        "use_noise": _said(layer, "use_noise", given, True),
        "activation": _said(layer, "activation", given, "lrelu"),
    }
    others = {key: value for key, value in given.items() if key not in {*known, *HOW}}
    return as_json({**known, **others}, "synthesis")


def _stylegan3(generator: Module) -> dict[str, Any]:
    given = as_json(named(STYLEGAN3, generator.init_args, generator.init_kwargs), "generator")
    synthesis = {key: given.pop(key) for key in sorted(set(given) - set(STYLEGAN3))}
    mapping = options(given.pop("mapping_kwargs", None), "mapping_kwargs")
    return {
        "img_channels": 3,
        **given,
        "mapping_kwargs": {key: mapping[key] for key in mapping if key != "w_avg_beta"},
        "synthesis_kwargs": synthesis,
    }


def _eg3d(generator: Module) -> dict[str, Any]:
    given = named(EG3D, generator.init_args, generator.init_kwargs)
    synthesis = {key: given.pop(key) for key in sorted(set(given) - set(EG3D))}
    rendering = generator.attributes.get("rendering_kwargs", given.get("rendering_kwargs"))
    config = as_json(
        {
            "img_channels": 3,
            "sr_num_fp16_res": 0,
            **given,
            "rendering_kwargs": options(rendering, "rendering_kwargs"),
            "sr_kwargs": options(given.get("sr_kwargs"), "sr_kwargs"),
            "neural_rendering_resolution": generator.attributes.get(
                "neural_rendering_resolution", 64
            ),
        },
        "generator",
    )
    config["plane_axes"] = _plane_axes(generator.modules.get("renderer"))
    parts = _need(generator.modules, "backbone").modules
    width = whole(config.get("w_dim"), "w_dim", 1)
    sizes = [r for r in resolutions(1024) if f"b{r}" in _need(parts, "synthesis").modules]
    config["mapping_kwargs"] = _mapping(
        _need(parts, "mapping"), options(config.get("mapping_kwargs"), "mapping_kwargs"), width
    )
    config["synthesis_kwargs"] = _blocks(_need(parts, "synthesis"), synthesis, sizes)
    return config


def _plane_axes(renderer: Module | None) -> str:
    """Which planes the renderer reads: its bases, whose inverses map a point onto each plane.

    A basis is a permutation of the axes; its inverse is its transpose, so that the first two
    columns of the transpose pick the axes along a plane's columns and rows.
    """
    stored = renderer.attributes.get("plane_axes") if renderer else None
    if not isinstance(stored, TensorRef):
        return "released"
    axes: tuple[tuple[int, int], ...] = ()
    if stored.shape == (3, 3, 3):
        bases = np.asarray(stored.read(), np.float64)
        if np.allclose(bases @ bases.transpose(0, 2, 1), np.eye(3)):
            picked = np.linalg.inv(bases)[..., :2].argmax(axis=1)
            axes = tuple((int(column), int(row)) for column, row in picked)
    if axes not in PLANES:
        raise InputError(
            f"its tri-planes span the axes {axes}; expected {' or '.join(map(str, PLANES))}"
        )
    return PLANES[axes]


def _tensors(generator: Module, config: Mapping[str, Any]) -> Iterator[tuple[str, Load]]:
    """Every parameter and buffer by its name, but for the filters of StyleGAN2."""
    taps = config["synthesis_kwargs"].get("resample_filter", TAPS)
    for name, tensor in generator.tensors():
        if tensor.dtype not in FLOATS:
            raise InputError(f"its tensor {shown(name)} holds {tensor.dtype}; expected floats")
        if name.rpartition(".")[2] == DERIVED:
            # the release gives its layers that do not up-sample the default, which they never use
            allowed = (TAPS,) if name.startswith("superresolution.") else (taps, TAPS)
            _check_filter(name, tensor, allowed)
        else:
            yield name, _load(tensor)


def _load(tensor: TensorRef) -> Load:
    return lambda: np.asarray(tensor.read(), np.float32)


def _check_filter(name: str, tensor: TensorRef, allowed: Sequence[Sequence[float]]) -> None:
    """Refuse a stored filter that none of the taps give."""
    for taps in allowed:
        wanted = np.outer(taps, taps)
        # the shape first: another may be as large as the file
        if tensor.shape == wanted.shape and np.allclose(
            tensor.read(), wanted / wanted.sum(), atol=1e-6
        ):
            return
    raise InputError(f"its filter {shown(name)} is not the one of its arguments, {allowed[0]}")


def _said(module: Module, name: str, given: Mapping[str, Any], otherwise: Any) -> Any:
    """What a layer says of itself, else what it was given."""
    return module.attributes.get(name, given.get(name, otherwise))


def _need(modules: Mapping[str, Module | None], name: str) -> Module:
    found = modules.get(name)
    if found is None:
        raise InputError(f"its generator has no part {name!r}")
    return found
