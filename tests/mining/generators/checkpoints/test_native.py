"""Our own files: what was written comes back without a copy, and damage is found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.generators.checkpoints import native
from mining.generators.checkpoints.base import Checkpoint
from mining.generators.checkpoints.fingerprint import fingerprint
from schemas.errors import ConflictError, CorruptDataError, InputError, LodeError, StorageError

CONFIG = {"z_dim": 4, "synthesis_kwargs": {"resample_filter": [1, 3, 3, 1], "conv_clamp": None}}
TENSORS = {
    "synthesis.b4.const": torch.arange(48.0).reshape(3, 4, 4),
    "synthesis.b4.conv1.noise_strength": torch.tensor(0.5),
    "mapping.w_avg": torch.linspace(-1, 1, 4),
    "mapping.empty": torch.empty(0, 4),
}


def made(tensors=TENSORS, **changes) -> Checkpoint:
    readers = {name: tensor.numpy for name, tensor in tensors.items()}
    told = {
        "architecture": "stylegan2",
        "config": CONFIG,
        "tensors": tensors,
        "file_format": "rosinality",
        "licence": "unknown",
        "sha256": fingerprint("stylegan2", CONFIG, readers),
        "source": "made",
    }
    return Checkpoint(**(told | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("native") / "made.safetensors"
    native.save(made(), path)
    return path


def test_what_was_written_comes_back(written):
    found = native.read(written)
    assert (found.architecture, found.config, found.licence) == ("stylegan2", CONFIG, "unknown")
    assert (found.file_format, found.source) == ("latentlode", str(written))
    assert found.sha256 == made().sha256
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)
    assert native.read_header(written).file_format == "rosinality"
    assert [path.name for path in written.parent.iterdir()] == [written.name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"licence": "MIT\x1b[2J"}, "its licence is"),
        ({"licence": "x" * 1001}, "its licence is"),
        ({"file_format": "\ud800"}, "its file_format is"),
        ({"config": {"num_layers": 10**9}}, "hold 1000000000, more than a network needs"),
        ({"config": {"taps": [1] * 65}}, "hold list, more"),
        ({"config": {"a\nb": 1}}, r"hold 'a\\nb', more"),
        ({"config": {"a": [[[[1]]]]}}, "hold list, more"),
    ],
)
def test_what_would_flood_a_terminal_or_a_network_is_refused(written, tmp_path, changes, said):
    """In a file of a stranger: our own writer refuses such arguments too."""
    content = written.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    plain = {key: json.dumps(v) if key == "config" else v for key, v in changes.items()}
    header["__metadata__"] |= plain
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises(InputError, match=said) as caught:
        native.read(path)
    assert str(caught.value).isprintable()
    if "config" in changes:
        with pytest.raises(InputError, match=said):
            native.save(made(**changes), tmp_path / "b.safetensors")


def test_tensors_lie_in_the_mapped_file_and_never_change_it(written):
    before = written.read_bytes()
    found = native.read(written).tensors
    places = {name: place for name, (_, place) in native.read_header(written).places.items()}
    first, second = "synthesis.b4.const", "mapping.w_avg"
    apart = found[first].data_ptr() - found[second].data_ptr()
    assert apart == places[first] - places[second]  # views of one mapping, no copies
    found[first].fill_(7)
    assert written.read_bytes() == before
    assert torch.equal(native.read(written).tensors[first], TENSORS[first])


def test_other_programs_read_it(written):
    safetensors = pytest.importorskip("safetensors.torch")
    found = safetensors.load_file(written)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_is_found_or_changes_no_weight(written, tmp_path_factory, data):
    content = bytearray(written.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "made.safetensors"
    path.write_bytes(content)
    try:
        found = native.read(path)
    except LodeError as error:
        assert str(path) in str(error)
        return
    same = all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)
    assert same and found.config == CONFIG and found.architecture == "stylegan2"
    tensor_bytes = 4 * sum(tensor.numel() for tensor in TENSORS.values())
    assert at < len(content) - tensor_bytes  # in the header: the licence, or where it came from


@settings(max_examples=60)
@given(st.data())
def test_a_file_cut_short_or_with_more_behind_is_refused(written, tmp_path_factory, data):
    content = written.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "made.safetensors"
    more = data.draw(st.binary(max_size=9))
    path.write_bytes(content + more if more else content[: data.draw(st.integers(0, 900))])
    if path.read_bytes() != content:
        with pytest.raises((InputError, CorruptDataError)):
            native.read(path, verify=False)


def rewritten(written: Path, path: Path, change) -> Path:
    """The file with its header changed and its tensors as they were."""
    content = written.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return path


def put(*keys_and_value):
    """A change of one value in the header."""
    *keys, last, value = keys_and_value

    def change(header):
        for key in keys:
            header = header[key]
        header[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("__metadata__", "architecture", "biggan"), "architecture 'biggan'; expected one of"),
        (put("__metadata__", "version", "2"), "it is of format"),
        (put("__metadata__", "format", "pt"), "it is of format"),
        (put("__metadata__", "config", "["), "a safetensors file without what a generator needs"),
        (put("__metadata__", "config", '{"z_dim": NaN}'), "without what a generator needs"),
        (put("__metadata__", "config", '{"z_dim": 1e999}'), "without what a generator needs"),
        (put("__metadata__", "config", "[" * 100_000), "without what a generator needs"),
        (put("__metadata__", "config", "[]"), "architecture 'stylegan2'; expected"),
        (lambda header: header.pop("__metadata__"), "without what a generator needs"),
        (put("mapping.w_avg", "dtype", "F16"), "'mapping.w_avg' is not a run of float32"),
        (put("mapping.w_avg", "shape", [4, 1, -1]), "is not a run of float32"),
        (put("mapping.w_avg", "shape", [2**62, 4]), "is not a run of float32"),
        (put("mapping.w_avg", "shape", [3]), "is not a run of float32"),
        (put("mapping.w_avg", "shape", [True, 4]), "is not a run of float32"),
        (put("mapping.w_avg", "data_offsets", [-16, 0]), "is not a run of float32"),
        (put("mapping.w_avg", "data_offsets", [0.0, 16.0]), "is not a run of float32"),
        (put("../../etc/passwd", {"dtype": "F32", "shape": [0]}), "is not a run of float32"),
        (put("synthesis.b4.conv1.noise_strength", "data_offsets", [0, 4]), "overlap or leave gaps"),
        (lambda header: header.pop("mapping.w_avg"), "overlap or leave gaps|it is .* bytes"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(written, tmp_path, change, said):
    path = rewritten(written, tmp_path / "made.safetensors", change)
    with pytest.raises((InputError, CorruptDataError), match=said):
        native.read(path, verify=False)


def test_the_fingerprint_covers_the_arguments(written, tmp_path):
    path = rewritten(
        written, tmp_path / "a.safetensors", put("__metadata__", "config", '{"z_dim":5}')
    )
    assert native.read(path, verify=False).config == {"z_dim": 5}
    with pytest.raises(CorruptDataError, match="not those of its fingerprint"):
        native.read(path)


def test_an_absurd_header_length_takes_no_memory(tmp_path):
    path = tmp_path / "big.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}" * 100)
    with pytest.raises(CorruptDataError, match="its header does not fit into it"):
        native.read(path)


def test_a_file_that_stands_there_is_kept_unless_told_otherwise(written, tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="exists; choose another name or pass --force"):
        native.save(made(), path)
    assert path.read_bytes() == b"mine"
    native.save(made(), path, overwrite=True)
    assert path.read_bytes() == written.read_bytes()
    with pytest.raises(ConflictError, match="is a folder"):
        native.save(made(), tmp_path, overwrite=True)


def test_a_folder_that_does_not_exist_is_said_and_nothing_is_left(tmp_path):
    with pytest.raises(StorageError, match="writing into .*missing: No such file"):
        native.save(made(), tmp_path / "missing" / "out.safetensors")
    assert not list(tmp_path.iterdir())


@given(st.lists(st.integers(0, 5), max_size=4))
def test_any_shape_comes_back(tmp_path_factory, shape):
    tensor = torch.arange(float(math.prod(shape))).reshape(shape)
    path = tmp_path_factory.mktemp("shape") / "a.safetensors"
    checkpoint = made({"mapping.w_avg": tensor})
    native.save(checkpoint, path)
    assert torch.equal(native.read(path).tensors["mapping.w_avg"], tensor)
