"""Npz files of others: whatever they hold, arrays come out or one InputError."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError

HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


def member(kind: str, shape: str, data: bytes = b"") -> bytes:
    header = HEADER.format(kind, shape).encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def archive(path: Path, data: bytes, packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as made:
        made.writestr("v.npy", data)
    return path


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("<f8", f"(0, {10**30})"),
        ("<f8", "(0, 10000000000, 10000000000)"),
        ("<f8", "(0, 2147483648, 2147483648, 2147483648)"),
        ("<f8", str((1,) * 70)),
        ("<f8", "(0,) * 3"),
        ("<U0", "(3,)"),
        ("f8,f8", "(0,)"),
        ("9999999999999999999f8", "(0,)"),
    ],
)
def test_shapes_that_no_array_has_are_refused(tmp_path, kind, shape):
    path = archive(tmp_path / "lie.npz", member(kind, shape))
    with pytest.raises(InputError, match="^who: [^\n]{1,400}$"):
        read_npz("who", path)


def test_an_empty_array_is_one(tmp_path):
    found = read_npz("who", archive(tmp_path / "empty.npz", member("<f8", "(0, 3)")))
    assert found["v"].shape == (0, 3)


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_packings_are_refused(tmp_path, packing):
    path = archive(tmp_path / "packed.npz", member("<f8", "(1,)", bytes(8)), packing)
    with pytest.raises(InputError, match="packed as NumPy packs no .npz file"):
        read_npz("who", path)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "name.npz"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("é.npy", member("<f8", "(1,)", bytes(8)))
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(InputError, match="who: it is no sound .npz file"):
        read_npz("who", path)


@pytest.fixture(scope="module")
def plain() -> list[bytes]:
    """Small archives, packed and not."""
    found = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, v=np.arange(12.0).reshape(4, 3), f=np.zeros((3, 0, 2), np.int32))
        found.append(buffer.getvalue())
    return found


@settings(max_examples=400)
@given(
    which=st.integers(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.just(0), st.integers(0, 60)),
)
def test_a_changed_file_reads_or_is_refused(tmp_path_factory, plain, which, changes, cut):
    data = bytearray(plain[which])
    for place, value in changes:
        data[int(place * len(data))] = value
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(data[: len(data) - cut])
    try:
        found = read_npz("who", path)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        return
    assert sum(array.nbytes for array in found.values()) <= 16 * len(data) + (1 << 20)
