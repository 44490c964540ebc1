"""A direction matrix as one safetensors file: it loads and edits without anything else.

    save_matrix(matrix, "matrix.safetensors")
    matrix = load_matrix("s3://bucket/run/results/direction_matrix.safetensors")

Tensors, float64 (K parameters, D numbers of a latent):
    vectors, reading (K, D)            columns of A, rows of C
    offset, low, high, scale (K,)      p = C w + offset; range and scale of the parameters
    bias (D,)                          where the matrix has one
    alone (K, D)                       columns for changes by name, where they differ from A's
Metadata, one entry whose value is JSON: what `DirectionMatrix` holds beside arrays.
The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.control_arrays import take
from mining.methods.control_facts import facts_of, read_facts
from mining.methods.direction_matrix import DirectionMatrix
from mining.methods.learned import Curve
from schemas.errors import CorruptDataError, InputError
from storage import artefacts
from storage.model_file import ModelFile

Array = NDArray[np.float64]

VERSION = 1
KEY = "latentlode_matrix"  # of the metadata
EXPECTED = "expected a direction matrix as `lode mine` writes it"
FILE = ModelFile("matrix", KEY, EXPECTED)
PLAIN = ("offset", "low", "high", "scale")
MOST_PARAMETERS = 1000
MOST_CURVES = 16
MOST_NUMBERS = 1000  # of evidence
LONGEST = 200  # characters of a name


def save_matrix(matrix: DirectionMatrix, path: str) -> None:
    """Write a matrix to a path or URL; what stands there is replaced as a whole.

    Raises:
        StorageError: it cannot be written.
    """
    FILE.write(path, matrix_bytes(matrix))


def load_matrix(path: str) -> DirectionMatrix:
    """Read a matrix from a path or URL.

    Raises:
        InputError: nothing is there, or something else than a direction matrix.
        CorruptDataError: it is one, and damaged.
        StorageError: it cannot be read.
    """
    return matrix_of(FILE.read(path), path)


def matrix_bytes(matrix: DirectionMatrix) -> bytes:
    """The file's bytes; the same matrix gives the same bytes."""
    from safetensors.numpy import save

    about = {
        "version": VERSION,
        "names": list(matrix.names),
        "units": list(matrix.units),
        "facts": facts_of(matrix),
        "evidence": {name: _plain(value) for name, value in sorted(matrix.evidence.items())},
        "curves": [facts_of(curve) for curve in matrix.curves],
    }
    tensors = {name: getattr(matrix, name) for name in ("vectors", "reading", *PLAIN)}
    more = {"bias": matrix.bias, "alone": matrix.alone}
    tensors |= {name: array for name, array in more.items() if array is not None}
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    little = {name: np.ascontiguousarray(tensors[name], "<f8") for name in sorted(tensors)}
    return save(little, {KEY: text})


def matrix_of(data: bytes, who: str) -> DirectionMatrix:
    """The matrix of a file's bytes; nothing in them is executed.

    Args:
        who: names the file in errors.

    Raises:
        InputError: the bytes are something else than a direction matrix, or a newer one.
        CorruptDataError: they are one, and damaged.
    """
    about = FILE.about(data, who)
    if about.get("version") != VERSION:
        raise InputError(
            f"matrix: {who} has version {str(about.get('version'))[:20]!r}, expected {VERSION}; "
            "read it with the LatentLode that wrote it, or mine it again."
        )
    try:
        return _matrix(artefacts.arrays(data), about)
    except (CorruptDataError, InputError) as error:
        raise CorruptDataError(
            f"matrix: {who} is damaged: {error} Restore it from a copy, or mine it again."
        ) from error


def _matrix(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> DirectionMatrix:
    left = dict(arrays)
    wide = {name: take(left, name, 2) for name in ("vectors", "reading")}
    plain = {name: take(left, name, 1) for name in PLAIN}
    more = {name: take(left, name, n) for name, n in (("bias", 1), ("alone", 2)) if name in left}
    if left:
        raise CorruptDataError(f"unknown tensors {', '.join(sorted(left))[:200]}.")
    facts = read_facts(DirectionMatrix, about.get("facts"), "facts")
    shape = facts["latent_shape"]
    if not 1 <= len(shape) <= 2 or math.prod(shape) != wide["vectors"].shape[1]:
        raise CorruptDataError(f"its latent_shape {str(shape)[:40]} does not fit its vectors.")
    return DirectionMatrix(
        names=_texts(about.get("names"), "names"),
        units=_texts(about.get("units"), "units"),
        **wide,
        **plain,
        **more,
        **facts,
        evidence=_evidence(about.get("evidence")),
        curves=_curves(about.get("curves")),
    )


def _texts(value: Any, who: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_PARAMETERS:
        raise CorruptDataError(f"its {who} are {str(value)[:40]!r}, expected some texts.")
    if not all(isinstance(text, str) and 0 < len(text) <= LONGEST for text in value):
        raise CorruptDataError(f"its {who} are no short texts.")
    return tuple(value)


def _evidence(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MOST_NUMBERS:
        raise CorruptDataError("its evidence is no object of numbers.")
    kinds = (int, float, type(None))
    if not all(type(number) in kinds and len(name) <= LONGEST for name, number in value.items()):
        raise CorruptDataError("its evidence holds something else than numbers.")
    return {name: math.nan if number is None else number for name, number in value.items()}


def _curves(value: Any) -> tuple[Curve, ...]:
    if not isinstance(value, list) or len(value) > MOST_CURVES:
        raise CorruptDataError(f"its curves are no list of at most {MOST_CURVES}.")
    return tuple(Curve(**read_facts(Curve, each, "a curve")) for each in value)


def _plain(value: float) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None
