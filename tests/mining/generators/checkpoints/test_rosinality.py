"""rosinality's `.pt` files: planted weights come back under NVIDIA's names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.generators.checkpoints.formats import normalise
from mining.generators.checkpoints.reading import read_plain
from mining.generators.checkpoints.rosinality import ESTIMATED
from schemas.errors import InputError
from tests.mining.generators.checkpoints.made_networks import (
    config,
    network,
    rosinality_state,
    weights,
)

SQUARE = config(z_dim=16)  # this implementation has one width for z and w


def read(path, content):
    torch.save(content, path)
    return normalise(read_plain(path).root)


def same(found, truth) -> bool:
    return found.tensors.keys() == truth.keys() and all(
        np.array_equal(found.tensors[name](), truth[name].numpy()) for name in truth
    )


@pytest.fixture
def truth():
    return weights(network(**SQUARE))


@pytest.mark.parametrize("shape", [(16,), (1, 16), (6, 16)])
def test_planted_weights_come_back(tmp_path, truth, shape):
    mean = truth["mapping.w_avg"].expand(shape).clone()
    found = read(tmp_path / "g.pt", {"g_ema": rosinality_state(truth), "latent_avg": mean})
    assert (found.architecture, found.file_format) == ("stylegan2", "rosinality")
    assert found.config == SQUARE
    assert same(found, truth)


def test_a_bare_state_dict_gets_an_estimated_mean_and_says_so(tmp_path, truth):
    found = read(tmp_path / "g.pt", rosinality_state(truth))
    assert found.file_format == ESTIMATED == "rosinality, mean of w estimated"
    mean = torch.from_numpy(found.tensors["mapping.w_avg"]())
    z = torch.randn(40_000, 16, generator=torch.Generator().manual_seed(1))
    w = network(**SQUARE).map(z)
    # two means of 10,000 and 40,000 draws: five standard errors of their difference
    assert (mean - w.mean(dim=0)).abs().max() < 5 * (w.std(dim=0) * (1e-4 + 2.5e-5) ** 0.5).max()


@settings(max_examples=25)
@given(
    base=st.sampled_from([32, 64, 96, 128, 200, 1024]),
    most=st.sampled_from([4, 7, 8, 16]),
    resolution=st.sampled_from([8, 16, 32]),
)
def test_channels_are_inferred_from_the_shapes(tmp_path_factory, base, most, resolution):
    arguments = config(
        z_dim=16, channel_base=base, channel_max=most, img_resolution=resolution, num_layers=1
    )
    truth = weights(network(**arguments))
    path = tmp_path_factory.mktemp("made") / "g.pt"
    state = rosinality_state(truth)
    found = read(path, {"g_ema": state, "latent_avg": truth["mapping.w_avg"]})
    shapes = {name: tuple(t.shape) for name, t in network(**found.config).state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in truth.items()}


def test_another_filter_is_found_in_the_file(tmp_path, truth):
    state = rosinality_state(truth)
    taps = torch.tensor([1.0, 2, 1])
    for name in list(state):
        if name.endswith("kernel"):
            state[name] = torch.outer(taps, taps) / 4
    found = read(tmp_path / "g.pt", state)
    assert found.config["synthesis_kwargs"]["resample_filter"] == [0.25, 0.5, 0.25]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra.weight": torch.zeros(2)}, "'extra.weight' is none of a StyleGAN2 generator's"),
        ({"convs.1.conv.weight": None}, "3 convolutions|has 2 mapping layers and 0 convolutions"),
        ({"to_rgbs.0.bias": None}, "no tensor to_rgbs.0.bias"),
        ({"conv1.conv.weight": torch.zeros(24, 24, 3, 3)}, "expected 5 axes"),
        ({"style.2.weight": torch.zeros(16, 16, dtype=torch.int64)}, "no tensor style.2.weight"),
        ({"convs.2.conv.weight": torch.zeros(1, 23, 16, 3, 3)}, "do not follow the rule"),
        ({"convs.0.conv.blur.kernel": torch.eye(4)}, "not the product of a row with itself"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, truth, change, said):
    state = {**rosinality_state(truth), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(InputError, match=said):
        read(tmp_path / "g.pt", {"g_ema": state, "latent_avg": truth["mapping.w_avg"]})


@pytest.mark.parametrize("shape", [(), (0,), (15,), (0, 16)])
def test_a_mean_of_another_width_is_refused(tmp_path, truth, shape):
    with pytest.raises(InputError, match=r"its latent_avg has shape .*; expected \(16,\)"):
        read(tmp_path / "g.pt", {"g_ema": rosinality_state(truth), "latent_avg": torch.ones(shape)})


def test_a_mean_that_differs_from_row_to_row_is_refused(tmp_path, truth):
    mean = torch.arange(32.0).reshape(2, 16)
    with pytest.raises(InputError, match="differs from row to row"):
        read(tmp_path / "g.pt", {"g_ema": rosinality_state(truth), "latent_avg": mean})
