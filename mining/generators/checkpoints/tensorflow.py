"""StyleGAN2 as its TensorFlow releases of 2019 and 2020 saved it, under the names of PyTorch's.

Tensors of TensorFlow: dense weights are (inputs, outputs), convolutions (height, width, inputs,
outputs); the convolution after an up-sampling is stored the other way round in both directions;
the bias of a style is stored without the 1 that is added to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.arguments import as_json, resolutions, taps_of, unless, whole
from mining.generators.checkpoints.arrays import TensorRef
from mining.generators.checkpoints.plain import Normalised, TensorFlowNetwork
from schemas.errors import InputError

Floats = NDArray[np.float32]
Load = Callable[[], Floats]

OLDEST = 4  # of the pickle's format; StyleGAN's of 2019 and older have lower ones
SYNTHESIS = ("G_synthesis_stylegan2", "G_synthesis_stylegan_revised")
FIXED = {  # arguments that only one value of fits the networks here
    "fmap_decay": 1.0,
    "fmap_min": 1,
    "normalize_latents": True,
    "mapping_func": "G_mapping",
    "dtype": "float32",
}
IGNORED = {  # of training, of truncation, or of how the same numbers are computed
    "truncation_psi",
    "truncation_cutoff",
    "truncation_psi_val",
    "truncation_cutoff_val",
    "dlatent_avg_beta",
    "w_avg_beta",
    "style_mixing_prob",
    "randomize_noise",
    "fused_modconv",
    "structure",
    "is_training",
    "is_validation",
}
LICENCE = "unknown (the file was made with code that NVIDIA licenses for non-commercial use)"


def normalise(networks: Sequence[TensorFlowNetwork]) -> Normalised:
    """(G, D, Gs) of a TensorFlow release -> Gs, its averaged generator.

    Raises:
        InputError: it is of another architecture, or tensors are missing or do not fit.
    """
    network = networks[-1]
    if network.version < OLDEST:
        raise InputError(
            f"it is a TensorFlow network of format {network.version}, as StyleGAN of 2019 and what "
            f"came before saved them; expected {OLDEST} or later: a StyleGAN2"
        )
    if network.function != "G_main":
        raise InputError(
            f"its generator is built by {network.function[:80]!r}; expected 'G_main', a "
            "StyleGAN2 (configuration A is a StyleGAN)"
        )
    variables = _Variables(network)
    config = _config(network.static_kwargs, variables)
    return Normalised(
        "stylegan2", config, _tensors(config, variables), "nvidia-tensorflow", LICENCE
    )


class _Variables:
    """The variables of a network and its components, by their names from the top."""

    def __init__(self, network: TensorFlowNetwork):
        self._values: dict[str, TensorRef] = {}
        self._collect("", network)

    def _collect(self, prefix: str, network: TensorFlowNetwork) -> None:
        self._values |= {prefix + name: value for name, value in network.variables.items()}
        for name, component in network.components.items():
            self._collect(f"{prefix}{name}/", component)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a variable; InputError where there is none of that name."""
        if name not in self._values:
            raise InputError(f"it has no variable {name}; it is no StyleGAN2 of a known kind")
        return self._values[name].shape

    def load(self, name: str, dimensions: int, change: Callable[[NDArray], NDArray]) -> Load:
        """Reads a variable when called; its number of dimensions is checked now."""
        if len(self.shape(name)) != dimensions:
            raise InputError(f"{name} has shape {self.shape(name)}; expected {dimensions} axes")
        return lambda: np.asarray(change(self._values[name].read()), np.float32)


def _config(given: Mapping[str, Any], variables: _Variables) -> dict[str, Any]:
    """The arguments of the release as those of the PyTorch network."""
    left = {key: value for key, value in given.items() if key not in IGNORED}
    for key, value in FIXED.items():
        if left.pop(key, value) != value:
            raise InputError(f"its argument {key} is {given[key]!r:.40}; expected {value!r}")
    synthesis = left.pop("synthesis_func", SYNTHESIS[0])
    if synthesis not in SYNTHESIS:
        raise InputError(f"its synthesis is {synthesis!r:.80}; expected one of {SYNTHESIS}")
    revised = "synthesis/ToRGB_lod0/weight" in variables
    taps = left.pop("resample_kernel", [1, 3, 3, 1])
    w_dim = left.pop("dlatent_size", 512)
    config = {
        "z_dim": left.pop("latent_size", 512),
        "c_dim": left.pop("label_size", 0),
        "w_dim": w_dim,
        "img_resolution": left.pop("resolution", 1024),
        "img_channels": left.pop("num_channels", 3),
        "mapping_kwargs": {
            "num_layers": whole(left.pop("mapping_layers", 8), "number of mapping layers", 1),
            "embed_features": unless(left.pop("label_fmaps", None), w_dim),
            "layer_features": unless(left.pop("mapping_fmaps", None), w_dim),
            "activation": left.pop("mapping_nonlinearity", "lrelu"),
            "lr_multiplier": left.pop("mapping_lrmul", 0.01),
        },
        "synthesis_kwargs": {
            "channel_base": 2 * whole(left.pop("fmap_base", 16384), "fmap_base", 1),
            "channel_max": left.pop("fmap_max", 512),
            "num_fp16_res": left.pop("num_fp16_res", 0),
            "conv_clamp": left.pop("conv_clamp", None),
            # progressive growing has an output at every resolution and shows the last alone
            "architecture": "orig" if revised else left.pop("architecture", "skip"),
            "resample_filter": taps_of(taps),
            "use_noise": left.pop("use_noise", True),
            "activation": left.pop("nonlinearity", "lrelu"),
        },
    }
    if left:
        raise InputError(f"its argument {sorted(left)[0]!r:.80} is not known here")
    if revised and _lod(variables) != 0:
        raise InputError("it was saved in the middle of progressive growing")
    if config["c_dim"] and "mapping/LabelConcat/weight" in variables:
        raise InputError("its condition enters as in the release of 2019, which is not read")
    return as_json(config, "generator")


def _lod(variables: _Variables) -> float:
    """How many of the last resolutions have not yet come in; it stands at the top."""
    return float(variables.load("lod", 0, np.asarray)()) if "lod" in variables else 0.0


def _tensors(config: Mapping[str, Any], variables: _Variables) -> dict[str, Load]:
    synthesis = config["synthesis_kwargs"]
    sizes = resolutions(config["img_resolution"])
    tensors = {"mapping.w_avg": variables.load("dlatent_avg", 1, np.asarray)}
    layers = {f"fc{n}": f"Dense{n}" for n in range(config["mapping_kwargs"]["num_layers"])}
    if config["c_dim"]:
        layers["embed"] = "LabelEmbed"
    for ours, theirs in layers.items():
        tensors |= _dense(f"mapping.{ours}", f"mapping/{theirs}", variables)
    tensors["synthesis.b4.const"] = variables.load("synthesis/4x4/Const/const", 4, lambda a: a[0])
    for ours, theirs, number, up in _convolutions(sizes):
        tensors |= _modulated(ours, theirs, variables, up)
        tensors[f"{ours}.bias"] = variables.load(f"{theirs}/bias", 1, np.asarray)
        if synthesis["use_noise"]:
            strength = variables.load(f"{theirs}/noise_strength", 0, np.asarray)
            noise = variables.load(f"synthesis/noise{number}", 4, lambda a: a[0, 0])
            tensors |= {f"{ours}.noise_strength": strength, f"{ours}.noise_const": noise}
    for ours, theirs in _colours(sizes, synthesis["architecture"], variables):
        tensors |= _modulated(ours, theirs, variables)
        tensors[f"{ours}.bias"] = variables.load(f"{theirs}/bias", 1, np.asarray)
    if synthesis["architecture"] == "resnet":
        for r in sizes[1:]:
            name = f"synthesis/{r}x{r}/Skip/weight"
            tensors[f"synthesis.b{r}.skip.weight"] = variables.load(name, 4, _flipped)
    return tensors


def _convolutions(sizes: Sequence[int]) -> Iterator[tuple[str, str, int, bool]]:
    """Our name, TensorFlow's, the number of its noise, whether it up-samples."""
    yield "synthesis.b4.conv1", "synthesis/4x4/Conv", 0, False
    for n, r in enumerate(sizes[1:]):
        yield f"synthesis.b{r}.conv0", f"synthesis/{r}x{r}/Conv0_up", 2 * n + 1, True
        yield f"synthesis.b{r}.conv1", f"synthesis/{r}x{r}/Conv1", 2 * n + 2, False


def _colours(
    sizes: Sequence[int], architecture: str, variables: _Variables
) -> Iterator[tuple[str, str]]:
    for r in sizes:
        if r == sizes[-1] and "synthesis/ToRGB_lod0/weight" in variables:
            yield f"synthesis.b{r}.torgb", "synthesis/ToRGB_lod0"
        elif r == sizes[-1] or architecture == "skip":
            yield f"synthesis.b{r}.torgb", f"synthesis/{r}x{r}/ToRGB"


def _dense(ours: str, theirs: str, variables: _Variables) -> dict[str, Load]:
    return {
        f"{ours}.weight": variables.load(f"{theirs}/weight", 2, np.transpose),
        f"{ours}.bias": variables.load(f"{theirs}/bias", 1, np.asarray),
    }


def _modulated(ours: str, theirs: str, variables: _Variables, up: bool = False) -> dict[str, Load]:
    return {
        f"{ours}.weight": variables.load(f"{theirs}/weight", 4, _flipped if up else _turned),
        f"{ours}.affine.weight": variables.load(f"{theirs}/mod_weight", 2, np.transpose),
        f"{ours}.affine.bias": variables.load(f"{theirs}/mod_bias", 1, lambda a: a + np.float32(1)),
    }


def _turned(weight: NDArray) -> NDArray:
    """(height, width, inputs, outputs) -> (outputs, inputs, height, width)."""
    return weight.transpose(3, 2, 0, 1)


def _flipped(weight: NDArray) -> NDArray:
    return _turned(weight[::-1, ::-1])
