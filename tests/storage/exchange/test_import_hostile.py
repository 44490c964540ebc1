"""Files that attack whoever reads them are refused, in every format, and nothing of them runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.exchange.recognise import found_in
from tests.storage.exchange import planted_files as planted
from tests.storage.exchange.refusing import HERE, refused, zipped


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def legacy(pickled: bytes) -> bytes:
    """The three heads of torch's older files, then a pickle."""
    real = planted.torch_legacy(np.ones(4))
    stream = io.BytesIO(real)
    for _ in range(3):
        pickle.load(stream)  # of our own making
    return real[: stream.tell()] + pickled


def npy_with(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 64


def tensor_pickle(kind: str, count: int, offset: int, size: int, stride: int) -> bytes:
    """What torch pickles for a tensor of one dimension, with any claims."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    reference = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu")
    reference += number(count) + b"tQ"
    body = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + number(offset)
    body += number(size) + b"\x85" + number(stride) + b"\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02" + body + b"."


def torch_zip(pickled: bytes, storage: bytes = b"\0" * 64) -> bytes:
    return zipped({"a/data.pkl": pickled, "a/data/0": storage, "a/version": b"3\n"})


# --- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "wrap",
    [lambda data: data, torch_zip, legacy, lambda data: zipped({"a/data.pkl": data})],
    ids=["pkl", "pt", "legacy pt", "bare zip"],
)
def test_a_program_in_a_pickle_never_runs(wrap: Callable[[bytes], bytes], protocol, tmp_path):
    mark = tmp_path / "ran"
    for content in (Payload(mark), {"lat_comp": Payload(mark)}, [Payload(mark)]):
        said = refused(wrap(pickle.dumps(content, protocol)))
        assert "posix.mkdir" in said and "nothing was run" in said
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))  # the attack is a real one
    assert mark.exists()


def test_a_program_in_an_object_array_never_runs(tmp_path):
    mark = tmp_path / "ran"
    sink = io.BytesIO()
    np.save(sink, np.array([Payload(mark)], object), allow_pickle=True)
    for data in (sink.getvalue(), zipped({"direction.npy": sink.getvalue()})):
        assert "never opened" in refused(data)
    assert not mark.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n)R.",
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype.__class__\x93)R.",
        b"\x80\x02(cos\nsystem\nX\x01\0\0\x001o.",
        b"\x80\x02(X\x01\0\0\x001ios\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        b"\x80\x02N(}\x90.",
        b"\x80\x02Pid\n.",
    ],
)
def test_other_ways_to_call_are_refused(opcodes):
    refused(opcodes)
    refused(torch_zip(opcodes))


def test_a_torchscript_archive_is_refused():
    sink = io.BytesIO()
    scripted = zipped({"a/data.pkl": b"\x80\x02}.", "a/constants.pkl": b"\x80\x02)."})
    assert "which is a program" in refused(scripted) and not sink.getvalue()


# --- sizes that are claimed ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(4, 0, 10**15)"])
@pytest.mark.parametrize("code", ["<f8", "|O", "<U8", "|V8", [("a", "<f8")]])
def test_a_npy_header_may_claim_anything(shape, code):
    said = f"{{'descr': {code!r}, 'fortran_order': False, 'shape': {shape}, }}\n"
    refused(npy_with(said))
    refused(zipped({"direction.npy": npy_with(said)}))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-8,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 8)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (8,)}",
        "{'descr': '<f8', 'shape': (8,)}",
        "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (8,)}",
        "(" * 9000,
        "[" * 9000 + "]" * 900,
        "-" * 9000 + "1",
        "\x00",
        "[]",
    ],
)
def test_a_damaged_npy_header_is_refused(header):
    assert "header" in refused(npy_with(header))


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride"),
    [
        (16, 0, 10**12, 1),
        (16, 0, 10**12, 0),  # one number, repeated: torch gives such a tensor out
        (10**12, 0, 10**12, 1),
        (16, 10**12, 4, 1),
        (16, -4, 4, 1),
        (16, 0, 4, 10**12),
        (16, 0, -4, 1),
        (16, 12, 4, 2),
    ],
)
def test_a_tensor_may_claim_anything(count, offset, size, stride):
    pickled = tensor_pickle("FloatStorage", count, offset, size, stride)
    refused(torch_zip(pickled))
    refused(legacy(pickled + b"\x80\x02]X\x01\0\0\x000a." + struct.pack("<q", count) + b"\0" * 64))


def test_the_tensor_of_honest_claims_is_read():
    pickled = tensor_pickle("FloatStorage", 16, 4, 4, 2)
    numbers = np.arange(16, dtype=np.float32)
    keys = b"\x80\x02]X\x01\0\0\x000a."
    old = legacy(pickled + keys + struct.pack("<q", 16) + numbers.tobytes())
    for data in (torch_zip(pickled, numbers.tobytes()), old):
        assert found_in(HERE, data)[0].vector.tolist() == [4, 6, 8, 10]


def test_memory_that_weights_only_would_give_is_refused():
    pickled = b"\x80\x02c__builtin__\nbytearray\n\x8a\x08" + struct.pack("<q", 10**11) + b"\x85R."
    assert "'__builtin__.bytearray'" in refused(torch_zip(pickled))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63 - 1) + b"abc.",
        b"\x80\x02r" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
        b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        b"\x80\x02" + b"(" * 20_000 + b".",
        b"\x80\x02" + b"N0" * 10 + b".",
        b"\x80\x02",
        b"\x80\x02\x85.",
        b"\x80\x02h\x05.",
        b"\x80\x02]]e.",
        b"\x80\x02}Nu.",
    ],
)
def test_a_pickle_may_claim_anything(pickled):
    refused(pickled)
    refused(torch_zip(pickled))
    refused(legacy(pickled))


def test_a_pickle_of_many_opcodes_is_refused():
    assert "more than 500000 opcodes" in refused(b"\x80\x02" + b"N" * 500_010 + b".")


def test_keys_that_take_for_ever_to_hash_are_refused():
    """t = (t, t), a hundred times over, then as the key of a dict."""
    pickled = b"\x80\x02}N" + b"q\x00h\x00\x86" * 100 + b"Ns."
    assert "a key of type tuple" in refused(pickled)


def test_a_text_that_is_copied_many_times_is_refused():
    """A megabyte, of which a hundred thousand calls each make bytes: 100 GB."""
    large = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x01"
    once = b"c_codecs\nencode\nh\x01X\x06\0\0\0latin1\x86R"
    assert "copies more than the file holds" in refused(b"\x80\x02(" + large + once * 9999 + b"l.")


def test_a_list_that_is_copied_many_times_is_refused():
    pairs = b"](" + b"X\x01\0\0\0aN\x86" * 10_000 + b"eq\x01"
    once = b"ccollections\nOrderedDict\nh\x01\x85R"
    said = refused(b"\x80\x02(" + pairs + once * 9999 + b"t.")
    assert "copies more than the file holds" in said


@pytest.mark.parametrize("start", [b"cnumpy\ndtype\n", b"c_codecs\nencode\nX\x01\0\0\0a"])
def test_what_has_no_end_is_never_shown(start):
    """A list in a list 20,000 deep; a tuple that holds one twice that does so again, 40 deep."""
    take = b"\x85R." if b"dtype" in start else b"\x86R."
    deep = b"]" * 20_000 + b"a" * 19_999
    twice = b"N" + b"".join(b"q%ch%c\x86" % (at, at) for at in range(40))
    for argument in (deep, twice):
        refused(b"\x80\x02" + start + argument + take)


def test_a_shape_that_is_nested_deep_is_never_shown():
    for depth in (100, 900, 100_000):
        nested = b"[" * depth + b"]" * depth
        header = b'{"a":{"dtype":"F32","shape":' + nested + b',"data_offsets":[0,64]}}'
        refused(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def test_calls_of_many_arguments_are_refused():
    many = b"(" + b"N" * 1000 + b"tq\x01"
    refused(b"\x80\x02(" + many + b"ccollections\nOrderedDict\nh\x01R" * 9 + b"t.")
    refused(torch_zip(b"\x80\x02(" + many + b"h\x01Q" * 9 + b"t."))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_one_array_under_many_names_is_refused(kind):
    """A megabyte of numbers, named 3,000 times: copied each time it would be gigabytes."""
    row = torch.ones(1, 1 << 18, dtype=kind)
    for old in (True, False):
        sink = io.BytesIO()
        content = {f"a{at}": row for at in range(3000)}
        torch.save(content, sink, _use_new_zipfile_serialization=not old)
        assert "numbers; expected at most 16777216 in all" in refused(sink.getvalue())
    array = row.float().numpy()
    said = refused(pickle.dumps({f"a{at}": array for at in range(3000)}))
    assert "numbers; expected at most 16777216 in all" in said


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
        b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,64]}}',
        b'{"a":{"dtype":"F32","shape":[-16],"data_offsets":[0,64]}}',
        b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[64,0]}}',
        b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[-64,0]}}',
        b'{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}}',
        b'{"a":{"dtype":"PKL","shape":[16],"data_offsets":[0,64]}}',
        b'{"a":{"dtype":"F32","shape":[16]}}',
        b'{"a":[]}',
        b'{"__metadata__":[],"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}',
        b'{"a":' + b"[" * 100_000,
        b"{",
        b"{}",
        b"{\xff}",
    ],
)
def test_a_safetensors_header_may_claim_anything(header):
    refused(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def test_a_long_safetensors_header_is_refused():
    refused(struct.pack("<Q", 2**63) + b"{}" + b"\0" * 64)
    refused(struct.pack("<Q", 2 << 20) + b"{" + b" " * (2 << 20))


@pytest.mark.parametrize("form", planted.WRITERS)
def test_truncated_files_are_refused(form):
    whole = planted.WRITERS[form](np.random.default_rng(0).normal(size=(1, 64)))
    for length in (*range(1, 40), *range(40, len(whole), 97), len(whole) - 1):
        refused(whole[:length])


def test_what_follows_an_array_is_refused():
    for data in (planted.npy(np.ones(4)), planted.torch_legacy(np.ones(4)), pickle.dumps({})):
        refused(data + b"\0" * 8)


def test_a_sparse_or_quantised_tensor_is_refused():
    sparse = torch.sparse_coo_tensor([[0]], [1.0], (10**9,), check_invariants=True)
    sink = io.BytesIO()
    torch.save(sparse, sink)
    assert "_rebuild_sparse_tensor" in refused(sink.getvalue())
