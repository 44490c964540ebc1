"""Makes files that would run a command, or take all memory, in a reader that trusts them."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import subprocess
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from tests.mining.generators.checkpoints import made_files

MEGABYTE = 1 << 20


class Calls:
    """Pickled as a call of a function, with a state to set afterwards where one is given."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def text(value: str) -> bytes:
    """The opcode that pushes a text."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def count(value: int) -> bytes:
    """The opcode that pushes an integer."""
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def bare(body: bytes) -> bytes:
    """A pickle of protocol 4 without frames."""
    return b"\x80\x04" + body + b"."


def commands(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Files that would make `marker`, each with what the refusal says."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    listed = "not on the list"
    system = Calls(os.system, command)
    built = bare(b"ccollections\nOrderedDict\n}" + text("__setstate__") + b"cos\nsystem\nsb")
    return {
        "os.system": (pickle.dumps(system), listed),
        "os.system, protocol 2": (pickle.dumps(system, 2), listed),
        "os.system, protocol 0": (pickle.dumps(system, 0), "neither a pickle"),
        "posix by its text": (bare(b"cposix\nsystem\n" + text(command) + b"\x85R"), listed),
        "eval": (pickle.dumps(Calls(eval, code)), listed),
        "exec": (pickle.dumps(Calls(exec, code)), listed),
        "eval of Python 2": (bare(b"c__builtin__\neval\n" + text(code) + b"\x85R"), listed),
        "subprocess": (pickle.dumps(Calls(subprocess.Popen, ["touch", str(marker)])), listed),
        "torch.load": (pickle.dumps(Calls(torch.load, str(marker))), listed),
        "numpy.load": (pickle.dumps(Calls(np.load, str(marker))), listed),
        "a call inside a call": (pickle.dumps(Calls(OrderedDict, [("a", system)])), listed),
        "a call in a state": (pickle.dumps(Calls(OrderedDict, state={"a": system})), listed),
        "a call beside weights": (made_files.dumped([made_files.generator()[0], system]), listed),
        "getattr": (pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")), listed),
        "code object": (bare(b"ctypes\nFunctionType\n)R"), listed),
        "a dotted name": (
            bare(text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93"),
            listed,
        ),
        "a name below a layer": (bare(b"ctorch.nn.modules.module\nos.system\n"), listed),
        "a state on a name": (built, listed),
        "a state on a class": (bare(b"ccollections\nOrderedDict\n}b"), "gives a state is a Name"),
        "a layer that is called": (
            bare(b"ctorch.nn.modules.os\nsystem\n" + text(command) + b"\x85R"),
            "has no state",
        ),
        "STACK_GLOBAL of numbers": (bare(b"K\x01K\x02\x93"), "module's name is a int"),
        "STACK_GLOBAL of a call": (
            bare(b"ccollections\nOrderedDict\n)R" + text("system") + b"\x93"),
            "module's name is a Call",
        ),
        "a call of a text": (bare(text("os.system") + text(command) + b"\x85R"), "calls is a str"),
        "INST": (bare(b"(" + text(command) + b"ios\nsystem\n"), "INST"),
        "OBJ": (bare(b"(cos\nsystem\n" + text(command) + b"o"), listed),
        "OBJ of an allowed name": (bare(b"(ccollections\nOrderedDict\no"), "OBJ"),
        "EXT1": (bare(b"\x82\x01"), "EXT1"),
        "NEWOBJ_EX": (bare(b"ccollections\nOrderedDict\n)}\x92"), "NEWOBJ_EX"),
        "a persistent id": (bare(b"Psomething\n"), "PERSID"),
        "a persistent id from the stack": (bare(text("x") + b"Q"), "outside the pickle"),
        "in a torch file": (_zip({"data.pkl": pickle.dumps(system, 2)}), listed),
        "in a legacy torch file": (_legacy(system), listed),
        "in a storage": (
            pickle.dumps(Calls(torch.storage._load_from_bytes, _legacy(system))),
            listed,
        ),
    }


def bombs() -> dict[str, tuple[bytes, str]]:
    """Files that would take memory or time without end, each with what the refusal says."""
    laughs = b"(]\x94" + b"".join(b"](" + b"h%c" % n * 9 + b"e\x94" for n in range(60)) + b"t"
    zeros = torch.zeros(4)
    return {
        "BINBYTES8": (bare(b"\x8e" + (1 << 62).to_bytes(8, "little")), "cut short"),
        "BINUNICODE8": (bare(b"\x8d" + (1 << 62).to_bytes(8, "little")), "cut short"),
        "LONG4": (bare(b"\x8b" + (1 << 30).to_bytes(4, "little")), "integer of 1073741824"),
        "LONG4 below zero": (bare(b"\x8b" + b"\xff" * 4), "integer of -1"),
        "FRAME": (bare(b"\x95" + (1 << 62).to_bytes(8, "little")), "cut short"),
        "a long text": (
            bare(b"X" + (17 * MEGABYTE).to_bytes(4, "little") + bytes(17 * MEGABYTE)),
            "more than",
        ),
        "laughs": (bare(laughs), "written out"),
        "laughs in a key": (bare(b"}" + laughs + b"Ns"), "a tuple is a key"),
        "a state that many share": (_shared(), "written out"),
        "laughs as a shape": (_rebuilt(b"K\x00", laughs, b"K\x01\x85"), "written out"),
        "nested lists": (bare(b"]" * 5000 + b"a" * 4999), "deeper than"),
        "nested tuples": (bare(b"N" + b"\x85" * 5000), "deeper than"),
        "nested marks": (bare(b"(" * 5000), "deeper than"),
        "a list in itself": (bare(b"]\x94h\x00a"), "contains itself"),
        "a dict in itself": (bare(b"}\x94Nh\x00s"), "contains itself"),
        "many opcodes": (bare(b"N" * 1_000_001), "opcodes"),
        "a stride of 0": (_pt(zeros[:1].expand(1 << 40)), "does not fit"),
        "a shape without end": (_rebuilt(b"K\x00", count(1 << 40) + b"\x85", b"K\x01\x85"), "fit"),
        "a shape below zero": (
            _rebuilt(b"K\x00", count(-1) + b"\x85", b"K\x01\x85"),
            "not a count",
        ),
        "a stride below zero": (
            _rebuilt(b"K\x00", b"K\x02\x85", count(-1) + b"\x85"),
            "not a count",
        ),
        "an offset outside": (_rebuilt(b"K\x04", b"K\x01\x85", b"K\x01\x85"), "does not fit"),
        "an offset below zero": (_rebuilt(count(-4), b"K\x01\x85", b"K\x01\x85"), "not a count"),
        "more strides than sizes": (_rebuilt(b"K\x00", b"K\x01\x85", b"K\x01K\x01\x86"), "stride"),
        "nothing of an endless shape": (
            _rebuilt(b"K\x00", b"K\x00" + count(1 << 47) * 2 + b"\x87", b"K\x01K\x01K\x01\x87"),
            "any file",
        ),
        "keys that hash alike": (
            bare(b"}" + b"(" + count((1 << 61) - 1) + b"N" + count((1 << 62) - 2) + b"Nu"),
            "small number",
        ),
        "objects": (pickle.dumps(np.array([{}, None], object)), "type 'O8' in"),
        "texts": (pickle.dumps(np.array(["a"])), "type 'U1' in"),
        "records": (pickle.dumps(np.zeros(1, "f4,i4")), "fields"),
        "more than its bytes": (
            pickle.dumps(np.zeros(5)).replace(b"K\x05\x85", b"K\xff\x85"),
            "does not pair up",
        ),
    }


def containers() -> dict[str, tuple[bytes, str]]:
    """Containers that are not as torch writes them, each with what the refusal says."""
    good = {"data.pkl": pickle.dumps([1], 2)}
    sound = pickle.dumps([1])
    return {
        "compressed": (_zip({**good, "data/0": bytes(MEGABYTE)}, zipfile.ZIP_DEFLATED), "compress"),
        "above": (_zip({**good, "../../outside": b"x"}), "a name that"),
        "absolute": (_zip({"data.pkl": good["data.pkl"]}, folder="/root"), "a name that"),
        "backslash": (_zip({**good, "data\\0": b"x"}), "a name that"),
        "twice": (_zip(good | {"data.pkm": b""}).replace(b"data.pkm", b"data.pkl"), "two entries"),
        "two folders": (_zip({**good, "x": b""}).replace(b"archive/x", b"brchive/x"), "folders"),
        "no pickle": (_zip({"data/0": b"x"}), "without data.pkl"),
        "a program": (_zip({**good, "constants.pkl": b""}), "TorchScript"),
        "big-endian": (_zip({**good, "byteorder": b"big"}), "byte order"),
        "more behind": (_zip({"data.pkl": good["data.pkl"] + b"x"}), "goes on after"),
        "another name inside": (_zip(good).replace(b"archive/", b"brchive/", 1), "another name"),
        "an entry outside": (_zip(good).replace(b"\0\0archive", b"\0\x7farchive"), "cut short"),
        "no directory": (_zip(good)[:-30], "no directory"),
        "a storage that is missing": (_pt(torch.zeros(4)).replace(b"data/0", b"data/1"), "data/0"),
        "two pickles": (sound + sound, "goes on after"),
        "legacy with more behind": (_legacy(torch.zeros(2)) + b"x", "goes on after"),
        "legacy cut short": (_legacy(torch.zeros(2))[:-1], "cut short"),
        "protocol 9": (b"\x80\x09.", "protocol 9"),
        "nothing": (b"\x80\x04", "cut short"),
        "no value": (b"\x80\x04.", "other than one value"),
        "two values": (bare(b"NN"), "other than one value"),
        "an empty stack": (bare(b"0"), "opcode 0x30"),
        "an append to nothing": (bare(b"Na"), "empty stack"),
        "no mark": (bare(b"t"), "never set"),
        "an unknown memo": (bare(b"h\x07"), "never kept"),
        "text that is none": (bare(b"\x8c\x01\xff"), "not UTF-8"),
        "a lone key": (bare(b"}(Nu"), "without entries"),
        "a name without end": (bare(b"c" + b"x" * 1000), "longer than"),
        "a name that is a value": (bare(b"ccollections\nOrderedDict\n"), "stands where"),
        "a storage inside a storage": (_inside(), "is not one"),
    }


def _zip(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED, folder: str = "archive"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(f"{folder}/{name}", content)
    return file.getvalue()


def _pt(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _legacy(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _storage() -> bytes:
    """The bytes of a storage of 4 numbers, as they lie inside a plain pickle."""
    inside = pickletools.genops(pickle.dumps(torch.zeros(4)))
    return next(found for _, found, _ in inside if isinstance(found, bytes) and len(found) > 64)


def _rebuilt(offset: bytes, shape: bytes, strides: bytes) -> bytes:
    """A tensor in that storage, its place and shape given as opcodes."""
    data = _storage()
    storage = b"ctorch.storage\n_load_from_bytes\nB" + len(data).to_bytes(4, "little") + data
    rest = b"\x89ccollections\nOrderedDict\n)RtR"
    return bare(
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"\x85R"
        + offset
        + shape
        + strides
        + rest
    )


def _shared() -> bytes:
    """One dict of many entries, as the state of many objects."""
    called = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    hidden = b"ctorch\ndevice\n(" + text("cpu") + called + b"q\x00tR"  # its 2nd is not looked at
    entries = text("a") + b"q\x01N" + b"h\x01N" * 10_000
    meta = text("type") + text("class") + text("class_name") + text("X") + text("state")
    meta = b"}q\x02(" + meta + b"}(" + entries + b"uu"
    return bare(b"(" + hidden + meta + b"h\x00h\x02\x85R" * 1_000 + b"t")


def _inside() -> bytes:
    """A storage that is a torch file whose object is again a storage in a byte string."""
    again = Calls(torch.storage._load_from_bytes, _storage())
    return pickle.dumps(Calls(torch.storage._load_from_bytes, _legacy(again)))
