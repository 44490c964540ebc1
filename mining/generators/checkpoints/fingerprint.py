"""One fingerprint for a generator, whatever file its weights came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fingerprint(
    architecture: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Callable[[], NDArray[Any]]],
) -> str:
    """64 hex digits: SHA-256 over the architecture, its config and every tensor.

    Args:
        tensors: by name, each read when its turn comes, so that one at a time is in memory.
    """
    return combined(architecture, config, {name: digest(tensors[name]()) for name in tensors})


def digest(values: NDArray[Any]) -> str:
    """A tensor's dtype, shape and the SHA-256 of its numbers, little-endian in C order."""
    plain = little(values)
    number = hashlib.sha256(plain.reshape(-1).view(np.uint8).data).hexdigest()
    return f"{plain.dtype.name} {list(plain.shape)} {number}"


def combined(architecture: str, config: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """The fingerprint from each tensor's digest; the order of names does not matter."""
    told = {"architecture": architecture, "config": config, "tensors": digests}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def little(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, little-endian in C order; a copy only where they are not so already."""
    return np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")
