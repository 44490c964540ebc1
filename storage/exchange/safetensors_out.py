"""safetensors files whose bytes depend on their content alone.

The library writes metadata in the order of a hash table that differs from process to process; here
names are sorted. The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 8  # bytes that the header is a multiple of


def safetensors_bytes(
    tensors: Mapping[str, NDArray[np.float32]], about: Mapping[str, str] | None = None
) -> bytes:
    """A whole file: float32 tensors in the order of their names, then the metadata's too."""
    header: dict[str, Any] = {}
    if about:
        header["__metadata__"] = {name: about[name] for name in sorted(about)}
    parts, end = [], 0
    for name in sorted(tensors):
        data = np.ascontiguousarray(tensors[name], "<f4").tobytes()
        place = [end, end + len(data)]
        shape = list(tensors[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": place}
        parts.append(data)
        end += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    text += b" " * (-len(text) % _ALIGNED)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
