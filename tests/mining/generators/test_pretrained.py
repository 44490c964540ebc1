"""From a checkpoint's tensors to a generator, and what does not fit refused."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from mining.generators.checkpoints import Checkpoint
from mining.generators.checkpoints.fingerprint import fingerprint
from mining.generators.checkpoints.native import save
from mining.generators.pretrained import make_network, network_of
from mining.generators.registry import make_generator
from schemas.errors import InputError
from tests.contracts.test_generators import EG3D, STYLEGAN2, STYLEGAN3
from tests.mining.generators.networks.seeded import seeded_tensors, shapes_of

CONFIGS = {"stylegan2": {"c_dim": 0, **STYLEGAN2}, "stylegan3": {"c_dim": 0, **STYLEGAN3}}
CONFIGS["eg3d"] = EG3D


def checkpoint(architecture: str) -> Checkpoint:
    """Weights from a seed, with the filters that follow from the arguments."""
    config = CONFIGS[architecture]
    network = make_network(architecture, config)
    tensors = {**network.state_dict(), **seeded_tensors(shapes_of(network), 3)}
    readers = {name: tensor.numpy for name, tensor in tensors.items()}
    digest = fingerprint(architecture, config, readers)
    return Checkpoint(architecture, config, tensors, "latentlode", "for tests", digest, "memory")


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_file_gives_the_images_of_its_weights(architecture, tmp_path):
    made = checkpoint(architecture)
    path = tmp_path / "weights.safetensors"
    save(made, path)
    generator = make_generator(architecture, checkpoint=str(path))
    assert generator.licence == "for tests"
    network = make_network(architecture, made.config).eval()
    network.load_state_dict(made.tensors)
    rng = np.random.default_rng(0)
    z = generator.sample_z(2, rng)
    condition = generator.sample_condition(2, rng) if generator.c_dim else None
    w_plus = generator.broadcast(generator.map(z, condition=condition))
    with torch.inference_mode():
        there = None if condition is None else torch.from_numpy(condition)
        styles = network.styles(torch.from_numpy(w_plus))
        image = network.render(styles, there).clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    pixels = generator.synthesize(w_plus, condition).astype(float)
    assert np.abs(pixels - (image * 127.5 + 127.5)).max() <= 1
    assert pixels.std() > 5


@pytest.mark.parametrize("architecture", CONFIGS)
def test_nothing_is_left_without_memory(architecture):
    network = network_of(checkpoint(architecture))
    everything = [*network.named_parameters(), *network.named_buffers()]
    assert not [name for name, tensor in everything if tensor.is_meta]
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_same_weights_from_another_place_are_the_same_generator(tmp_path):
    made = checkpoint("stylegan2")
    for name in ("a", "b"):
        save(made, tmp_path / f"{name}.safetensors")
    prints = {
        make_generator("stylegan2", checkpoint=str(tmp_path / f"{n}.safetensors")).fingerprint()
        for n in ("a", "b")
    }
    assert len(prints) == 1


def test_another_architecture_is_refused_with_the_right_name(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(checkpoint("stylegan3"), path)
    with pytest.raises(InputError, match="holds a stylegan3; .*generator.name to stylegan3"):
        make_generator("stylegan2", checkpoint=str(path))


def test_tensors_that_do_not_fit_their_arguments_are_named():
    made = checkpoint("stylegan2")
    missing = dict(made.tensors)
    del missing["mapping.w_avg"]
    more = {**made.tensors, "synthesis.b128.const": torch.zeros(3)}
    other = {**made.tensors, "mapping.w_avg": torch.zeros(3)}
    for tensors, said in (
        (missing, r"'mapping.w_avg' has shape None, its stylegan2 needs \(16,\)"),
        (more, r"'synthesis.b128.const' has shape \(3,\), its stylegan2 needs None"),
        (other, r"'mapping.w_avg' has shape \(3,\), its stylegan2 needs \(16,\)"),
    ):
        with pytest.raises(InputError, match=said):
            network_of(replace(made, tensors=tensors))


@pytest.mark.parametrize(
    "wrong",
    [
        {"img_resolution": 2**60},  # laid out without memory, its tensors are missing
        {"synthesis_kwargs": {"channel_max": 2**50}},
        {"mapping_kwargs": {"num_layers": 10**9}},
        {"img_resolution": "many"},
        {"synthesis_kwargs": {"resample_filter": [[1, 2], [3]]}},
        {"synthesis_kwargs": {"num_fp16_res": 10**12, "channel_max": 1}},
        {"w_dim": -4},
        {"w_dim": True},
        {"c_dim": None},
        {"z_dim": 10**30},
    ],
)
def test_arguments_that_a_file_makes_up_cost_nothing(wrong):
    refuse("stylegan2", wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_layers": 10**9},
        {"margin_size": 10**9},
        {"filter_size": 10**9},
        {"filter_size": 2**12, "use_radial_filters": True},
        {"lrelu_upsampling": 2**40},
        {"num_fp16_res": 10**12, "channel_max": 1},
        {"conv_kernel": 10**30},
    ],
)
def test_filters_that_a_file_makes_up_cost_nothing(wrong):
    refuse("stylegan3", {"synthesis_kwargs": {**CONFIGS["stylegan3"]["synthesis_kwargs"], **wrong}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"rendering_kwargs": {**EG3D["rendering_kwargs"], "superresolution_module": 3}},
        {"sr_kwargs": "none"},
        {"synthesis_kwargs": [1]},
    ],
)
def test_arguments_of_another_kind_are_refused(wrong):
    refuse("eg3d", wrong)


def refuse(architecture, wrong):
    """In one line, and at once."""
    made = checkpoint(architecture)
    began = time.process_time()
    with pytest.raises(InputError) as refused:
        network_of(replace(made, config={**made.config, **wrong}))
    assert "\n" not in str(refused.value)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("motion", [{"rotation": np.nan}, {"translation": [np.inf, 0.0]}])
def test_a_motion_that_is_no_number_is_refused(motion):
    with pytest.raises(InputError, match="expected finite numbers"):
        make_generator("stylegan3", random=STYLEGAN3, **motion)


def test_filters_come_from_the_arguments_and_are_checked_against_the_file():
    made = checkpoint("stylegan3")
    name = next(name for name in made.tensors if name.endswith("up_filter"))
    network = network_of(made)
    assert network.get_buffer(name).data_ptr() != made.tensors[name].data_ptr()
    wrong = {**made.tensors, name: made.tensors[name].flip(0) * 1.1}
    with pytest.raises(InputError, match="is not the one of its arguments"):
        network_of(replace(made, tensors=wrong))
