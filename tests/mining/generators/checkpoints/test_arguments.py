"""Arguments from a file become JSON values, or are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.checkpoints.arguments import as_json, named, resolutions, unless, whole
from mining.generators.checkpoints.formats import normalise
from mining.generators.checkpoints.plain import Module, Normalised, TensorFlowNetwork
from mining.generators.checkpoints.reading import read_plain
from schemas.errors import InputError
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
    tensorflow_pickle,
    tensorflow_variables,
    weights,
)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_plain_values_stay_and_tuples_become_lists(value):
    assert as_json(value, "it") == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1: 2}, object(), {"a": {1}}])
def test_what_json_lacks_is_refused(value):
    with pytest.raises(InputError, match="its argument it"):
        as_json([value], "it")


def test_arguments_by_position_get_their_names():
    assert named(("a", "b", "c"), (1, 2), {"c": 3, "d": 4}) == {"a": 1, "b": 2, "c": 3, "d": 4}
    for args, kwargs in [((1, 2, 3, 4), {}), ((1,), {"a": 2})]:
        with pytest.raises(InputError, match="arguments by position"):
            named(("a", "b", "c"), args, kwargs)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 1 << 17])
def test_only_sane_whole_numbers_count(value):
    with pytest.raises(InputError, match="its width is"):
        whole(value, "width")


def test_resolutions_are_powers_of_two():
    assert resolutions(4) == [4] and resolutions(32) == [4, 8, 16, 32]
    for wrong in (0, 2, 12, 33, None):
        with pytest.raises(InputError, match="its resolution is"):
            resolutions(wrong)


def test_what_is_usual_is_left_out():
    assert (unless(None, 16), unless(16, 16), unless(8, 16)) == (None, None, 8)


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> Callable[[str], Module | TensorFlowNetwork]:
    """A StyleGAN2 as PyTorch's or as TensorFlow's release describes it."""
    folder = tmp_path_factory.mktemp("made")
    made = network(**config())
    node = persistent(made, "Generator", {}, FILTER, init_kwargs=config())
    keywords = {"latent_size": 12, "dlatent_size": 16, "resolution": 16, "mapping_layers": 2}
    tensorflow_pickle(folder / "tf.pkl", tensorflow_variables(weights(made)), keywords)
    found = {
        "torch": read_plain(nvidia_pickle(folder / "torch.pkl", node)).root["G_ema"],
        "tensorflow": read_plain(folder / "tf.pkl").root[2],
    }
    return lambda name: found[name]  # a short repr: hypothesis tells its arguments


@given(
    st.sampled_from([*config(), "channel_base", "num_layers", "resample_filter"]),
    VALUES,
    st.sampled_from(["", "mapping_kwargs", "synthesis_kwargs"]),
)
def test_whatever_a_pickle_says_is_taken_or_refused(described, name, value, inside):
    arguments = config()
    (arguments[inside] if inside else arguments)[name] = value
    try:
        assert isinstance(normalise(replace(described("torch"), init_kwargs=arguments)), Normalised)
    except InputError:
        pass


KEYS = "latent_size label_size dlatent_size resolution num_channels mapping_layers label_fmaps"
KEYS += " mapping_fmaps mapping_lrmul fmap_base fmap_max resample_kernel architecture use_noise"
KEYS += " fmap_decay synthesis_func num_fp16_res conv_clamp nonlinearity"


@given(st.sampled_from(KEYS.split()), VALUES)
def test_whatever_a_tensorflow_pickle_says_is_taken_or_refused(described, name, value):
    made = described("tensorflow")
    keywords = {**made.static_kwargs, name: value}
    try:
        assert isinstance(normalise((replace(made, static_kwargs=keywords),)), Normalised)
    except InputError:
        pass
