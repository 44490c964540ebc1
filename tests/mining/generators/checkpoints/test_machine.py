"""The reading machine against what Python's and torch's own writers write."""

from __future__ import annotations

import argparse
import io
import pickle
import resource
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.checkpoints.plain import Module, TensorFlowNetwork, TensorRef
from mining.generators.checkpoints.reading import read_plain
from schemas.errors import InputError
from tests.mining.generators.checkpoints import made_files

PROTOCOLS = (2, 3, 4, 5)


def read(tmp_path, content: bytes):
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return read_plain(path)


def saved(tmp_path, value, legacy: bool):
    path = tmp_path / "file.pt"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return read_plain(path)


def agrees(found: TensorRef, truth: torch.Tensor | np.ndarray) -> None:
    """Same dtype, shape and bits."""
    truth = truth.detach() if isinstance(truth, torch.Tensor) else torch.from_numpy(truth)
    assert f"torch.{found.dtype}" == str(truth.dtype)
    values = torch.from_numpy(np.array(found.read()))
    assert values.shape == truth.shape
    assert torch.equal(values, truth.float() if truth.dtype == torch.bfloat16 else truth)


keys = st.none() | st.booleans() | st.integers(-(1 << 31), 1 << 31)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | keys, inner)
    ),
    max_leaves=30,
)


@given(value=values, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_come_back(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    assert read_plain(path).root == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_training_snapshot_is_read_and_not_run(tmp_path, protocol):
    content, truth = made_files.snapshot(protocol)
    root = read(tmp_path, content).root
    assert "dnnlib" not in sys.modules and "torch_utils" not in sys.modules
    assert list(root) == ["training_set_kwargs", "G", "D", "G_ema", "augment_pipe"]
    found = root["G_ema"]
    assert isinstance(found, Module) and found.class_name == "Generator"
    assert found.init_kwargs == {"z_dim": 4, "w_dim": 4, "mapping_kwargs": {"num_layers": 1}}
    assert dict(found.attributes) == {"training": False, "z_dim": 4}
    tensors = dict(found.tensors())
    assert set(tensors) == set(truth)
    for name in truth:
        agrees(tensors[name], truth[name])
    layer = found.modules["synthesis"].modules["conv"]
    assert (layer.attributes["resolution"], layer.attributes["gain"]) == (16, 1.5)
    agrees(layer.attributes["cutoffs"], np.linspace(0, 1, 3))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_read_from_either_container_of_torch(tmp_path, legacy):
    truth = made_files.generator()[1]
    options = argparse.Namespace(size=256, n_mlp=8)
    averaged = OrderedDict(truth)
    averaged._metadata = OrderedDict(version=1)
    file = saved(tmp_path, {"g_ema": averaged, "args": options, "step": 7}, legacy)
    assert file.kind == ("torch legacy" if legacy else "torch zip")
    assert file.root["args"] == {"size": 256, "n_mlp": 8}
    assert file.root["step"] == 7
    for name in truth:
        agrees(file.root["g_ema"][name], truth[name])


DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")


@pytest.mark.parametrize("legacy", [False, True])
def test_every_kind_of_tensor_is_read(tmp_path, legacy):
    base = torch.arange(-60, 60).reshape(2, 3, 4, 5)
    made = {name: base.to(getattr(torch, name)) for name in DTYPES}
    made |= {
        "bool": base > 0,
        "no dimension": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "turned": base.float().permute(3, 1, 0, 2),
        "part": base.float()[:, 1:, ::2, 1:4],
        "channels last": base.float().contiguous(memory_format=torch.channels_last),
    }
    root = saved(tmp_path, made, legacy).root
    for name, truth in made.items():
        agrees(root[name], truth)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_arrays_are_read(tmp_path, protocol):
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    made = {
        "c": base,
        "fortran": np.asfortranarray(base),
        "half": base.astype(np.float16),
        "bool": base > 3,
        "none": base[:0],
        "single": np.array(2.0),
    }
    root = read(tmp_path, pickle.dumps(made, protocol)).root
    for name, truth in made.items():
        agrees(root[name], truth)
    swapped = read(tmp_path, pickle.dumps(base.astype(">f4"), protocol)).root
    agrees(swapped, base)
    assert swapped.stored == ">f4"


def test_a_snapshot_of_numpy_1_names_its_core_in_the_old_way(tmp_path):
    content = pickle.dumps(np.arange(3.0), 3).replace(b"numpy._core.", b"numpy.core.")
    agrees(read(tmp_path, content).root, np.arange(3.0))


def test_a_tensorflow_snapshot_is_read(tmp_path):
    weight, strength = np.ones((3, 3, 2, 4), np.float32), np.float32(0.25)
    variables = [("4x4/Conv/weight", weight), ("4x4/Conv/noise_strength", strength)]
    synthesis = made_files.Network("G_synthesis", variables, {}, {})
    made = made_files.Network(
        "G", [("lod", np.float32(0))], {"resolution": 16}, {"synthesis": synthesis}
    )
    root = read(tmp_path, made_files.dumped((made, made, made))).root
    assert root[0] is root[2]
    assert isinstance(root[2], TensorFlowNetwork)
    assert (root[2].name, root[2].version, root[2].function) == ("G", 4, "G_main")
    assert root[2].static_kwargs == {"resolution": 16}
    found = root[2].components["synthesis"].variables
    agrees(found["4x4/Conv/weight"], weight)
    agrees(found["4x4/Conv/noise_strength"], np.array(strength))


def test_a_module_without_its_source_is_read(tmp_path):
    decoder = made_files.OSGDecoder()
    found = read(tmp_path, made_files.dumped(decoder)).root
    assert found.class_name == "training.triplane.OSGDecoder"
    tensors = dict(found.tensors())
    assert list(tensors) == list(decoder.state_dict())
    for name, truth in decoder.state_dict().items():
        agrees(tensors[name], truth)


def test_what_is_shared_stays_shared(tmp_path):
    weight = torch.ones(3)
    root = saved(tmp_path, [weight, weight, weight[1:]], legacy=False).root
    assert root[0] is root[1]
    assert root[2].shape == (2,)
    assert root[2].data.offset == root[0].data.offset + 4


def test_only_what_is_asked_for_is_read(tmp_path):
    """An array of 8 GiB that lies in a hole of the file costs nothing but its last number."""
    count = 1 << 31
    dtype = b"cnumpy\ndtype\nX\x02\0\0\0f4\x89\x88\x87R(K\x03X\x01\0\0\0<NNNKaKaK\0tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
    shape = b"\x8a\x05" + count.to_bytes(5, "little") + b"\x85"
    head = b"\x80\x04" + made + b"(K\x01" + shape + dtype + b"\x89"
    head += b"\x8e" + (4 * count).to_bytes(8, "little")
    path = tmp_path / "hole.pkl"
    with path.open("wb") as file:
        file.write(head)
        file.seek(4 * count - 4, 1)
        file.write(np.float32(2.5).tobytes() + b"tb.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    root = read_plain(path).root
    assert (root.shape, root.read()[-1]) == ((count,), 2.5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_an_archive_of_an_older_torch_is_read(tmp_path, monkeypatch):
    """Without an entry for the byte order; with wide sizes, as archives above 4 GiB have them."""
    inside = pickle.dumps([1, "a"], 2)
    for limit in (1 << 31, 4):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/version", b"3\n")
            archive.writestr("archive/data.pkl", inside)
        assert read(tmp_path, file.getvalue()).root == [1, "a"]


def test_a_missing_and_an_empty_file_say_so(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_plain(tmp_path / "none.pkl")
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(InputError, match="empty"):
        read_plain(tmp_path / "empty.pkl")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git LFS"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"name".ljust(257, b"\0") + b"ustar  \0", "tar archive"),
        ((2).to_bytes(8, "little") + b"{}", "safetensors"),
        (b"random bytes", "neither a pickle"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, content)
