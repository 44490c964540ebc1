"""Pickles of NVIDIA's PyTorch releases: planted arguments and tensors come back."""

from __future__ import annotations

import pytest
import torch

from mining.generators.checkpoints.formats import normalise
from mining.generators.checkpoints.reading import read_plain
from schemas.errors import InputError
from tests.mining.generators.checkpoints.made_files import EasyDict, module
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
    weights,
)

ADA = config(conv_clamp=256, num_fp16_res=2)
SAID = {  # what the layers of StyleGAN2-ADA say of themselves, where the reader looks
    "synthesis.b4": {"use_fp16": False},
    "synthesis.b8": {"use_fp16": True},
    "synthesis.b16": {"use_fp16": True, "architecture": "skip"},
    "synthesis.b16.conv1": {"conv_clamp": 256, "use_noise": True, "activation": "lrelu"},
    "mapping": {"num_layers": 2},
    "mapping.fc0": {"activation": "lrelu", "bias_gain": 0.01},
}
STYLEGAN3 = {
    **{"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 32, "img_channels": 3},
    "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "num_layers": 4, "filter_size": 4},
}
RENDERING = {
    "superresolution_module": "training.superresolution.SuperresolutionHybrid2X",
    "c_gen_conditioning_zero": False,
    "c_scale": 1.0,
    "superresolution_noise_mode": "none",
    "avg_camera_pivot": (0, 0, 0.2),
    "ray_start": 2.25,
    "ray_end": 3.3,
    "depth_resolution": 4,
    "depth_resolution_importance": 4,
    "box_warp": 1,
}


def read(tmp_path, generator):
    return normalise(read_plain(nvidia_pickle(tmp_path / "made.pkl", generator)).root)


def same(found, truth) -> bool:
    return found.tensors.keys() == truth.keys() and all(
        torch.equal(torch.from_numpy(found.tensors[name]().copy()), truth[name]) for name in truth
    )


def test_stylegan2_ada(tmp_path):
    made = network(**ADA)
    kwargs = {
        key: EasyDict(value) if isinstance(value, dict) else value for key, value in ADA.items()
    }
    found = read(tmp_path, persistent(made, "Generator", SAID, FILTER, init_kwargs=kwargs))
    assert (found.architecture, found.file_format) == ("stylegan2", "nvidia-pytorch")
    assert found.config == ADA
    assert same(found, weights(made))
    assert found.licence.startswith("unknown")


def test_what_layers_say_goes_before_arguments_that_are_silent(tmp_path):
    """StyleGAN2 of StyleGAN3's release: flat arguments and other defaults, under one name."""
    made = network(**ADA)
    given = {"channel_base": 128, "channel_max": 24, "fused_modconv_default": "inference_only"}
    args = (12, 0, 16)
    kwargs = {"img_resolution": 16, "img_channels": 3, "mapping_kwargs": {"num_layers": 2}, **given}
    node = persistent(made, "Generator", SAID, FILTER, args, kwargs)
    assert read(tmp_path, node).config == ADA


def test_stylegan3(tmp_path):
    made = network("stylegan3", **STYLEGAN3)
    flat = {**STYLEGAN3, **STYLEGAN3["synthesis_kwargs"]}
    mapping = {**flat.pop("mapping_kwargs"), "w_avg_beta": 0.998}
    flat.pop("synthesis_kwargs")
    kwargs = {**flat, "mapping_kwargs": mapping}
    found = read(tmp_path, persistent(made, "Generator", init_kwargs=kwargs))
    assert (found.architecture, found.config) == ("stylegan3", STYLEGAN3)
    assert same(found, weights(made))


@pytest.mark.parametrize(
    ("third", "axes"),
    [
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], "released"),
        ([[0, 0, 1], [0, 1, 0], [1, 0, 0]], "corrected"),
    ],
)
def test_eg3d(tmp_path, third, axes):
    first = {"z_dim": 512, "c_dim": 25, "w_dim": 512, "img_resolution": 128, "img_channels": 3}
    blocks = {"channel_base": 512, "channel_max": 4}
    made = network(
        "eg3d",
        **first,
        rendering_kwargs=RENDERING,
        mapping_kwargs={"num_layers": 2},
        synthesis_kwargs={**blocks, "num_fp16_res": 0, "conv_clamp": None},
        sr_kwargs={},
    )
    node = persistent(
        made,
        "TriPlaneGenerator",
        {
            "": {"neural_rendering_resolution": 32, "rendering_kwargs": EasyDict(RENDERING)},
            "backbone.synthesis.b4": {"use_fp16": False},
            "backbone.synthesis.b256.conv1": {"conv_clamp": None},
        },
        FILTER,
        init_kwargs={
            **first,
            "mapping_kwargs": {"num_layers": 2},
            "rendering_kwargs": RENDERING,
            **blocks,
        },
    )
    bases = torch.tensor([torch.eye(3).tolist(), [[1, 0, 0], [0, 0, 1], [0, 1, 0]], third])
    node.meta["state"]["_modules"]["renderer"] = module("ImportanceRenderer", plane_axes=bases)
    found = read(tmp_path, node)
    assert found.architecture == "eg3d"
    assert found.config["plane_axes"] == axes
    assert found.config["neural_rendering_resolution"] == 32
    assert found.config["rendering_kwargs"] == {**RENDERING, "avg_camera_pivot": [0, 0, 0.2]}
    assert found.config["synthesis_kwargs"].items() >= {**blocks, "conv_clamp": None}.items()
    assert same(found, weights(made))
    network("eg3d", **found.config)  # its constructor takes every argument


def small(**kwargs):
    made = network(**ADA)
    return persistent(made, "Generator", SAID, FILTER, init_kwargs={**ADA, **kwargs})


def test_an_unknown_architecture_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match="'SongUNet', an architecture that is not known"):
        read(tmp_path, module("SongUNet", {"weight": torch.zeros(2)}))


def test_a_filter_that_its_arguments_do_not_give_is_refused(tmp_path):
    node = persistent(network(**ADA), "Generator", SAID, FILTER.T.roll(1, 0), init_kwargs=ADA)
    with pytest.raises(InputError, match="resample_filter' is not the one of its arguments"):
        read(tmp_path, node)


def test_numbers_that_are_no_floats_are_refused(tmp_path):
    node = small()
    node.meta["state"]["_buffers"]["steps"] = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InputError, match="its tensor 'steps' holds int64; expected floats"):
        read(tmp_path, node)


def test_a_generator_without_a_mean_of_w_is_refused(tmp_path):
    node = small()
    node.meta["state"]["_modules"]["mapping"].meta["state"]["_buffers"].clear()
    with pytest.raises(InputError, match="no mean of w"):
        read(tmp_path, node)


@pytest.mark.parametrize("wrong", [10**12, -1, "large", 1.5, True, 48])
def test_an_absurd_resolution_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="its resolution is"):
        read(tmp_path, small(img_resolution=wrong))


def test_arguments_twice_are_refused(tmp_path):
    node = small()
    node.meta["state"]["_init_args"] = (12,)
    with pytest.raises(InputError, match="with 1 arguments by position"):
        read(tmp_path, node)
