"""Results as safetensors files: arrays and bytes as tensors, everything else as JSON beside them.

A file says its key and a SHA-256 of what it holds, so one that is damaged, or another's, is told
from a result. Dataclasses are made only of the kinds that the reader names; nothing is executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import CorruptDataError
from storage import artefacts

KEY = "latentlode_result"  # of the metadata
VERSION = 1
BYTES = "bytes"  # the tensor that holds all byte strings end to end
Kinds = Mapping[str, type]  # the dataclasses that a result may consist of, by name
Arrays = dict[str, NDArray[Any]]


def encode(key: str, value: Any) -> bytes:
    """A file of a value: dataclasses, tuples, mappings, arrays, bytes, numbers and texts."""
    from safetensors.numpy import save

    arrays: Arrays = {}
    texts: list[bytes] = []
    tree = json.dumps(_node(value, arrays, texts))
    arrays[BYTES] = np.frombuffer(b"".join(texts), np.uint8)
    about = {"version": VERSION, "key": key, "sha256": _sum(tree, arrays), "tree": tree}
    return save(arrays, {KEY: json.dumps(about)})


def decode(data: bytes, key: str, kinds: Kinds) -> Any:
    """The value of a file that `encode` wrote under this key; lists come back as tuples.

    Raises:
        CorruptDataError: it is damaged, another's, or holds other dataclasses.
    """
    try:
        if wrong := artefacts.problem(data):
            raise CorruptDataError(f"result: {wrong}.")
        about = _about(data)
        arrays = artefacts.arrays(data)
        if (about["version"], about["key"]) != (VERSION, key):
            raise CorruptDataError(f"result: the file is not that of {key}.")
        if about["sha256"] != _sum(about["tree"], arrays):
            raise CorruptDataError("result: the content is not what was written.")
        return _Reader(arrays, kinds).value(json.loads(about["tree"]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        said = " ".join(str(error).split())[:80]
        raise CorruptDataError(f"result: {type(error).__name__}: {said}.") from error


def _about(data: bytes) -> Mapping[str, str]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])


def _sum(tree: str, arrays: Arrays) -> str:
    """SHA-256 of everything that a file holds."""
    found = hashlib.sha256(tree.encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _node(value: Any, arrays: Arrays, texts: list[bytes]) -> Any:
    """The JSON form; what is no JSON goes to `arrays` and `texts`."""
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(value, order="C")
        return {"array": name}
    if isinstance(value, bytes):
        texts.append(value)
        start = sum(map(len, texts[:-1]))
        return {"bytes": [start, start + len(value)]}
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        content = {f.name: _node(getattr(value, f.name), arrays, texts) for f in fields}
        return {"kind": type(value).__name__, "fields": content}
    if isinstance(value, Mapping):
        return {"map": [[key, _node(item, arrays, texts)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        return {"row": [_node(item, arrays, texts) for item in value]}
    return {"is": value.item() if isinstance(value, np.generic) else value}


class _Reader:
    """Makes the values of a tree. Every byte string is read once, so that none is made twice."""

    def __init__(self, arrays: Arrays, kinds: Kinds):
        self._arrays, self._kinds, self._read = arrays, kinds, 0

    def value(self, node: Any) -> Any:
        if "array" in node:
            return self._arrays[node["array"]]
        if "bytes" in node:
            return self._text(*node["bytes"])
        if "kind" in node:
            fields = {name: self.value(item) for name, item in node["fields"].items()}
            return self._kinds[node["kind"]](**fields)
        if "map" in node:
            return {key: self.value(item) for key, item in node["map"]}
        if "row" in node:
            return tuple(self.value(item) for item in node["row"])
        return node["is"]

    def _text(self, start: int, stop: int) -> bytes:
        if start != self._read or stop < start:
            raise ValueError(f"bytes {start} to {stop} after {self._read}")
        self._read = stop
        return self._arrays[BYTES][start:stop].tobytes()
