"""Artefacts: written once under their SHA-256, read back whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.directions import Artefact
from schemas.errors import CorruptDataError, InputError, StorageError
from storage import artefacts
from tests.storage.sample_cards import sample_card

ARRAYS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "bias": np.float64([0.5, -2.0]),
    "steps": np.array(7),
    "none": np.zeros((0, 5), np.float16),
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "catalog")


def packed(header: object, data: bytes = b"") -> bytes:
    """A safetensors file as its header says, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_what_is_put_is_read_back(url):
    data = artefacts.pack(ARRAYS)
    kept = artefacts.put(url, data, "regressor")
    assert kept == Artefact("regressor", hashlib.sha256(data).hexdigest(), len(data))
    found = artefacts.open(url, kept.sha256)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    assert artefacts.read(url, kept.sha256) == data
    assert artefacts.kept(url) == {kept.sha256: kept.bytes}


@given(
    st.dictionaries(
        st.text(max_size=10).filter(lambda name: name != "__metadata__"),
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]).flatmap(
            lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_arrays_survive_and_give_the_same_bytes_in_any_order(content):
    data = artefacts.pack(content)
    assert artefacts.problem(data) == ""
    assert data == artefacts.pack(dict(reversed(content.items())))
    found = artefacts.arrays(data)
    assert found.keys() == content.keys()
    for name, array in content.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_packing_leaves_the_arrays_as_they_are():
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    found = artefacts.arrays(artefacts.pack({"a": array}))["a"]
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(array, [[0, 3], [1, 4], [2, 5]])


def test_a_file_is_put_by_its_path(url, tmp_path):
    path = tmp_path / "matrix.safetensors"
    path.write_bytes(artefacts.pack(ARRAYS))
    assert artefacts.put(url, path, "matrix") == artefacts.put(url, path.read_bytes(), "matrix")
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        artefacts.put(url, tmp_path / "nowhere", "matrix")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        artefacts.put(url, tmp_path, "matrix")


def test_the_same_is_written_once_and_many_may_write_it_at_once(url):
    data = artefacts.pack(ARRAYS)
    with ThreadPoolExecutor(8) as pool:
        kept = set(pool.map(lambda _: artefacts.put(url, data, "flow"), range(16)))
    (one,) = kept
    (path,) = Path(url, artefacts.FOLDER).iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    artefacts.put(url, data, "flow")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert path.read_bytes() == data and path.stem == one.sha256


def test_a_damaged_artefact_is_told_and_mended_by_putting_it_again(url):
    data = artefacts.pack(ARRAYS)
    kept = artefacts.put(url, data, "flow")
    path = Path(url, artefacts.FOLDER, f"{kept.sha256}.safetensors")
    for damage in (data[:-1], data[:-1] + b"x", b"", data + b"\0"):
        path.write_bytes(damage)
        with pytest.raises(CorruptDataError, match=f"{path} has {len(damage):,} bytes that do not"):
            artefacts.open(url, kept.sha256)
    artefacts.put(url, data, "flow")
    assert artefacts.read(url, kept.sha256) == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "a header of 0 bytes does not fit into 0"),
        (b"PK\x03\x04" + b"x" * 100, "a header of .* bytes does not fit into 104"),
        ((2**63).to_bytes(8, "little") + b"{}", "a header of 9,223,372,036,854,775,808 bytes"),
        (packed(b"{nothing"), "the header is no JSON"),
        (packed(b"[" * 100_000), "the header is no JSON"),
        (packed(b'{"a": ' + b"1" * 5000 + b"}"), "the header is no JSON"),
        (packed([1]), "the header names no tensor"),
        (packed({}), "the header names no tensor"),
        (packed({"__metadata__": {}}), "the header names no tensor"),
        (packed({"a": 3}), "tensor 'a' does not agree"),
        (packed({"a": {}}), "tensor 'a' does not agree"),
        (packed({"a": tensor("BF16", (4,))}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor(shape=(3,))}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor(shape=(-2,))}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor(shape=(2.0,))}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor(shape=[1] * 40 + [2])}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor(offsets=(8, 16))}, bytes(16)), "tensor 'a' does not agree"),
        (packed({"a": tensor(offsets=(0, 2**70))}, bytes(8)), "tensor 'a' does not agree"),
        (packed({"a": tensor()}, bytes(12)), "the tensors take 8 bytes, the file has 12"),
        (packed({"a": tensor()}, bytes(4)), "the tensors take 8 bytes, the file has 4"),
        (packed({"a": tensor(), "b": tensor()}, bytes(8)), "tensor 'b' does not agree"),
        (packed({"a": tensor(), "__metadata__": 7}, bytes(8)), "safetensors does not read it"),
    ],
)
def test_what_is_no_safetensors_file_is_refused(url, data, says):
    with pytest.raises(InputError, match=f"artefact: {says}"):
        artefacts.put(url, data, "matrix")
    # and where it lies there under its right name, it is refused when it is read
    sha256 = hashlib.sha256(data).hexdigest()
    path = Path(url, artefacts.FOLDER, f"{sha256}.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match=says):
        artefacts.open(url, sha256)


def test_mutated_files_are_refused_or_read(url, rng):
    """Never anything but our own error, whatever byte is wrong."""
    good = artefacts.pack(ARRAYS)
    outcomes = set()
    for _ in range(500):
        data = bytearray(good[: rng.integers(len(good) + 1)] if rng.random() < 0.2 else good)
        for _ in range(rng.integers(1, 4)):
            if data:
                data[rng.integers(len(data))] = rng.integers(256)
        try:
            artefacts.put(url, bytes(data), "matrix")
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_file_beyond_the_bound_is_not_read(url, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(artefacts.MOST_BYTES + 1)  # holds no blocks
    with pytest.raises(InputError, match="has 1,073,741,825 bytes, more than 1,073,741,824"):
        artefacts.put(url, path, "matrix")
    name = "0" * 64
    folder = Path(url, artefacts.FOLDER)
    folder.mkdir(parents=True)
    os.rename(path, folder / f"{name}.safetensors")
    with pytest.raises(CorruptDataError, match="has 1,073,741,825 bytes"):
        artefacts.open(url, name)


def test_wrong_words(url):
    with pytest.raises(InputError, match="unknown kind of artefact 'flows'; did you mean 'flow'"):
        artefacts.put(url, artefacts.pack(ARRAYS), "flows")
    with pytest.raises(InputError, match="expected a SHA-256, 64 hexadecimal digits"):
        artefacts.open(url, "../../etc/passwd")
    with pytest.raises(InputError, match=f"artefact {'0' * 64} is not in {url}"):
        artefacts.open(url, "0" * 64)
    Path(url).write_text("a file")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        artefacts.put(url, artefacts.pack(ARRAYS), "flow")


def test_a_card_is_checked_for_its_artefact(url):
    kept = artefacts.put(url, artefacts.pack(ARRAYS), "flow")
    card = sample_card(1)
    artefacts.check(url, card, replace(card, artefact=kept))
    with pytest.raises(InputError, match=f"{kept.bytes + 1} bytes, which has {kept.bytes} bytes"):
        artefacts.check(url, replace(card, artefact=replace(kept, bytes=kept.bytes + 1)))
    missing = replace(kept, sha256="0" * 64)
    with pytest.raises(InputError, match="card 'smile' by 'ridge' names .* which is not there"):
        artefacts.check(url, card, replace(card, artefact=missing))


def test_artefacts_on_s3(bucket):
    url = f"{bucket}/catalog"
    data = artefacts.pack(ARRAYS)
    kept = artefacts.put(url, data, "matrix")
    assert artefacts.put(url, data, "matrix") == kept
    np.testing.assert_array_equal(artefacts.open(url, kept.sha256)["bias"], ARRAYS["bias"])
    artefacts.check(url, replace(sample_card(1), artefact=kept))
    with pytest.raises(InputError, match="is not in"):
        artefacts.open(url, "0" * 64)
