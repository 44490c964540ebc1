"""Which format a file's content is told to be, and what is said of the others."""

from __future__ import annotations

import pytest
import torch

from mining.generators.checkpoints.formats import normalise
from mining.generators.checkpoints.reading import read_plain
from schemas.errors import InputError
from tests.mining.generators.checkpoints.made_files import dumped
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    persistent,
    rosinality_state,
    tensorflow_pickle,
    tensorflow_variables,
    weights,
)

KEYWORDS = {
    **{"latent_size": 16, "dlatent_size": 16, "resolution": 16, "fmap_base": 64, "fmap_max": 24},
    "mapping_layers": 2,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network in every format that can hold it."""
    folder = tmp_path_factory.mktemp("formats")
    arguments = config(z_dim=16)
    made = network(**arguments)
    truth = weights(made)
    generator = persistent(made, "Generator", {}, FILTER, init_kwargs=arguments)
    for name, content in {"snapshot": {"G_ema": generator}, "bare": generator}.items():
        (folder / f"{name}.pkl").write_bytes(dumped(content))
    tensorflow_pickle(folder / "tensorflow.pkl", tensorflow_variables(truth), KEYWORDS)
    state = {"g_ema": rosinality_state(truth), "latent_avg": truth["mapping.w_avg"]}
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    return arguments, truth, folder


@pytest.mark.parametrize("name", ["snapshot.pkl", "bare.pkl", "tensorflow.pkl", "zip.pt", "old.pt"])
def test_every_format_gives_one_network(files, name):
    arguments, truth, folder = files
    found = normalise(read_plain(folder / name).root)
    assert (found.architecture, found.config) == ("stylegan2", arguments)
    for key, tensor in truth.items():
        assert torch.allclose(torch.from_numpy(found.tensors[key]().copy()), tensor, atol=1e-6)
    assert found.tensors.keys() == truth.keys()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {}, "optimizer": {}}, "a dict of 2 entries ('model', 'optimizer')"),
        ({"G_ema": None}, "a dict of 1 entries ('G_ema')"),
        ([1, 2], "a list"),
        ((), "a tuple"),
        ("text", "a str"),
        (None, "a NoneType"),
    ],
)
def test_anything_else_is_refused_and_described(content, said):
    with pytest.raises(InputError) as told:
        normalise(content)
    assert f"it holds {said}; expected the G_ema of an NVIDIA release" in str(told.value)
