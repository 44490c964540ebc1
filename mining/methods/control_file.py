"""A control model as one safetensors file: it loads and runs without the settings it was made by.

    save_control(control, "control.safetensors")
    control = load_control("s3://bucket/run/results/control.safetensors")

Tensors, float64, so that a loaded model gives the same numbers to the last bit (K modes, L
landmarks, D numbers of a latent, Q = 8 + K codes):
    shape.mean_shape (3, L), shape.basis (K, L), shape.modes (K, 3)     B_0, b_k, d_k
    shape.rigid (R,), shape.skull (3, R)     numbers and shape of the rigid landmarks, where used
    ranges.mean, ranges.spread, ranges.low, ranges.high (Q,)            of the training codes
    regressor.weights.0, regressor.biases.0, ...                        (out, in), (out,)
    regressor.centre (D,), regressor.mean (Q,), regressor.spread (Q,)
    embedding.*                                                         as the regressor's, if any
Metadata, one entry whose value is JSON: what `ControlModel`, `ShapeModel` and `Regressor` hold
beside arrays. Numbers that are NaN are null there. The codes of the training rows stay behind.
The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.control import CodeRanges, ControlModel
from mining.methods.control_arrays import read_network, read_ranges, read_shape, tensors_of
from mining.methods.control_facts import facts_of, read_facts
from mining.methods.regressor import Regressor
from mining.methods.shape_model import ShapeModel
from schemas.errors import CorruptDataError, InputError
from storage import artefacts
from storage.model_file import ModelFile

if TYPE_CHECKING:
    from mining.methods.embedding import Embedding

Array = NDArray[np.float64]

VERSION = 1
KEY = "latentlode_control"  # of the metadata
EXPECTED = "expected a control model as `lode control fit` writes it"
FILE = ModelFile("control", KEY, EXPECTED)


def save_control(control: ControlModel, path: str) -> None:
    """Write a control model to a path or URL; what stands there is replaced as a whole.

    Raises:
        StorageError: it cannot be written.
    """
    FILE.write(path, control_bytes(control))


def load_control(path: str) -> ControlModel:
    """Read a control model from a path or URL; `shape.codes` is (0, 8 + K).

    Raises:
        InputError: nothing is there, or something else than a control model.
        CorruptDataError: it is one, and damaged.
        StorageError: it cannot be read.
    """
    return control_of(FILE.read(path), path)


def control_bytes(control: ControlModel) -> bytes:
    """The file's bytes; the same model gives the same bytes."""
    from safetensors.numpy import save

    about = {
        "version": VERSION,
        "names": control.shape.names,
        "space": control.space,
        "latent_shape": control.latent_shape,
        "generator": control.generator,
        "fingerprint": control.fingerprint,
        "licence": control.licence,
        "shape": facts_of(control.shape),
        "regressor": facts_of(control.regressor),
        "ranges": None if control.ranges is None else facts_of(control.ranges),
        "embedding": None if control.embedding is None else facts_of(control.embedding),
    }
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    return save(tensors_of(control), {KEY: text})


def control_of(data: bytes, who: str) -> ControlModel:
    """The control model of a file's bytes; nothing in them is executed.

    Args:
        who: names the file in errors.

    Raises:
        InputError: the bytes are something else than a control model, or a newer one.
        CorruptDataError: they are one, and damaged.
    """
    about = FILE.about(data, who)
    if about.get("version") != VERSION:
        raise InputError(
            f"control: {who} has version {str(about.get('version'))[:20]!r}, expected {VERSION}; "
            "read it with the LatentLode that wrote it, or fit it again."
        )
    try:
        return _control(artefacts.arrays(data), about)
    except (CorruptDataError, InputError) as error:
        raise CorruptDataError(
            f"control: {who} is damaged: {error} Restore it from a copy, or fit it again."
        ) from error


def _control(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> ControlModel:
    left = dict(arrays)
    shape = read_shape(left, read_facts(ShapeModel, about.get("shape"), "shape"))
    regressor = Regressor(
        **read_network(left, "regressor"),
        **read_facts(Regressor, about.get("regressor"), "regressor"),
    )
    if regressor.mean.shape != (8 + shape.components,):
        raise CorruptDataError(
            f"a regressor of {len(regressor.mean)} codes, a shape model of {8 + shape.components}."
        )
    found = ControlModel(
        shape=shape,
        regressor=regressor,
        **_origin(about),
        ranges=_ranges(left, about.get("ranges"), len(regressor.mean)),
        embedding=_embedding(left, about.get("embedding"), len(regressor.centre)),
    )
    if left:
        raise CorruptDataError(f"unknown tensors {', '.join(sorted(left))[:200]}.")
    if about.get("names") != list(shape.names):
        raise CorruptDataError(f"its names are not those of {shape.components} modes.")
    return found


def _ranges(left: dict[str, Array], facts: Any, width: int) -> CodeRanges | None:
    if facts is None:
        return None
    return CodeRanges(**read_ranges(left, width), **read_facts(CodeRanges, facts, "ranges"))


def _embedding(left: dict[str, Array], facts: Any, width: int) -> Embedding | None:
    if facts is None:
        return None
    from mining.methods.embedding import Embedding

    arrays = read_network(left, "embedding")
    if len(arrays["centre"]) != width:
        raise CorruptDataError(
            f"an embedding of {len(arrays['centre'])} numbers a latent, a regressor of {width}."
        )
    return Embedding(**arrays, **read_facts(Embedding, facts, "embedding"))


def _origin(about: Mapping[str, Any]) -> dict[str, Any]:
    """Space, shape, generator and licence."""
    texts = {name: about.get(name) for name in ("space", "generator", "fingerprint", "licence")}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > 1000:
            raise CorruptDataError(f"its {name} is {str(value)[:40]!r}, expected a short text.")
    shape = about.get("latent_shape")
    if not isinstance(shape, list) or not 0 < len(shape) < 5 or not all(map(_is_size, shape)):
        raise CorruptDataError(f"its latent_shape is {str(shape)[:40]}, expected sizes.")
    return {**texts, "latent_shape": tuple(shape)}


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= artefacts.MOST_BYTES
