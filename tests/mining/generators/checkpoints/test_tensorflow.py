"""TensorFlow's StyleGAN2: variables that hold planted weights come back under PyTorch's names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mining.generators.checkpoints.formats import normalise
from mining.generators.checkpoints.reading import read_plain
from schemas.errors import InputError
from tests.mining.generators.checkpoints.made_networks import (
    config,
    network,
    tensorflow_pickle,
    tensorflow_variables,
    weights,
)

KEYWORDS = {  # the arguments of `config()` as the release of 2019 names them
    "latent_size": 12,
    "label_size": 0,
    "dlatent_size": 16,
    "resolution": 16,
    "num_channels": 3,
    "fmap_base": 64,
    "fmap_max": 24,
    "mapping_layers": 2,
    "mapping_fmaps": 16,
    "truncation_psi": 0.5,
    "randomize_noise": True,
}


def read(path):
    return normalise(read_plain(path).root)


def same(found, truth) -> bool:
    return found.tensors.keys() == truth.keys() and all(
        np.allclose(found.tensors[name](), truth[name].numpy(), rtol=0, atol=1e-6)
        for name in truth  # one is added to the bias of styles and was taken away in writing
    )


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_planted_weights_come_back(tmp_path, architecture):
    arguments = config(architecture=architecture)
    truth = weights(network(**arguments))
    keywords = {**KEYWORDS, "architecture": architecture}
    found = read(tensorflow_pickle(tmp_path / "gs.pkl", tensorflow_variables(truth), keywords))
    assert (found.architecture, found.file_format) == ("stylegan2", "nvidia-tensorflow")
    assert found.config == arguments
    assert same(found, truth)


def test_the_convolution_behind_an_up_sampling_is_turned_around(tmp_path):
    truth = weights(network(**config()))
    top, mapping, synthesis = tensorflow_variables(truth)
    kernel = np.zeros((3, 3, 24, 16), np.float32)  # height, width, inputs, outputs
    kernel[0, 1, 5, 7] = 1
    variables = dict(synthesis)
    variables |= {"8x8/Conv0_up/weight": kernel, "8x8/Conv1/weight": kernel[:, :, :16]}
    parts = (top, mapping, list(variables.items()))
    found = read(tensorflow_pickle(tmp_path / "gs.pkl", parts, KEYWORDS)).tensors
    up, plain = (found[f"synthesis.b8.conv{n}.weight"]() for n in (0, 1))
    assert np.argwhere(up).tolist() == [[7, 5, 2, 1]]
    assert np.argwhere(plain).tolist() == [[7, 5, 0, 1]]


def test_classes_of_the_release_of_2020(tmp_path):
    arguments = config(c_dim=5, embed_features=9, conv_clamp=256, num_fp16_res=1)
    truth = weights(network(**arguments))
    keywords = {**KEYWORDS, "label_size": 5, "label_fmaps": 9, "conv_clamp": 256, "num_fp16_res": 1}
    found = read(tensorflow_pickle(tmp_path / "gs.pkl", tensorflow_variables(truth), keywords))
    assert found.config == arguments
    assert same(found, truth)


def test_progressive_growing_shows_its_last_colours_alone(tmp_path):
    arguments = config(architecture="orig")
    truth = weights(network(**config()))
    keywords = {**KEYWORDS, "synthesis_func": "G_synthesis_stylegan_revised"}
    parts = tensorflow_variables(truth, revised=True)
    found = read(tensorflow_pickle(tmp_path / "gs.pkl", parts, keywords))
    assert found.config == arguments
    kept = {name for name in truth if ".torgb." not in name or name.startswith("synthesis.b16.")}
    assert same(found, {name: truth[name] for name in kept})


def test_the_network_draws_the_same_image(tmp_path):
    made = network(**config())
    path = tensorflow_pickle(tmp_path / "gs.pkl", tensorflow_variables(weights(made)), KEYWORDS)
    found = read(path)
    again = network(seed=1, **found.config)
    again.load_state_dict({k: torch.from_numpy(v().copy()) for k, v in found.tensors.items()})
    w = made.map(torch.randn(2, 12, generator=torch.Generator().manual_seed(0)))
    images = [net.render(net.styles(w[:, None].repeat(1, net.num_ws, 1))) for net in (made, again)]
    assert torch.allclose(*images, rtol=0, atol=1e-5 * images[0].abs().max().item())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 3}, "format 3, as StyleGAN of 2019"),
        ({"function": "G_style"}, "built by 'G_style'; expected 'G_main'"),
        ({"keywords": {"fmap_decay": 2.0}}, "its argument fmap_decay is 2.0; expected 1.0"),
        ({"keywords": {"synthesis_func": "mine"}}, "its synthesis is 'mine'"),
        ({"keywords": {"attention": True}}, "its argument 'attention' is not known"),
        ({"keywords": {"resample_kernel": None}}, "its filter is None; expected a few numbers"),
        ({"keywords": {"resolution": 48}}, "expected a power of two"),
        ({"keywords": {"mapping_layers": 10**9}}, "number of mapping layers is 1000000000"),
        ({"keywords": {"resolution": 32}}, "no variable synthesis/32x32/Conv0_up/weight"),
        ({"drop": "4x4/Const/const"}, "no variable synthesis/4x4/Const/const"),
        ({"put": ("4x4/Conv/bias", np.zeros((2, 2), np.float32))}, "expected 1 axes"),
        ({"lod": np.float32(2)}, "progressive growing"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, said):
    revised = "lod" in change
    truth = weights(network(**config()))
    top, mapping, synthesis = tensorflow_variables(truth, revised)
    variables = {k: v for k, v in synthesis if k != change.get("drop")}
    variables |= dict([change["put"]]) if "put" in change else {}
    top = [(name, change.get(name, value)) for name, value in top]
    path = tensorflow_pickle(
        tmp_path / "gs.pkl",
        (top, mapping, list(variables.items())),
        {**KEYWORDS, **change.get("keywords", {})},
        change.get("version", 4),
        change.get("function", "G_main"),
    )
    with pytest.raises(InputError, match=said):
        read(path)


def test_the_conditions_of_2019_are_refused(tmp_path):
    top, mapping, synthesis = tensorflow_variables(weights(network(**config())))
    mapping.append(("LabelConcat/weight", np.zeros((5, 12), np.float32)))
    keywords = {**KEYWORDS, "label_size": 5}
    path = tensorflow_pickle(tmp_path / "gs.pkl", (top, mapping, synthesis), keywords)
    with pytest.raises(InputError, match="as in the release of 2019"):
        read(path)
