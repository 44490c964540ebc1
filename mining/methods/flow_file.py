"""An attribute flow as one safetensors file: it loads and edits without what trained it.

    save_flow(flow, "attribute_flow.safetensors")
    flow = load_flow("s3://bucket/run/results/attribute_flow.safetensors")

Tensors (K attributes, D numbers of a latent):
    reading.weights (K, D), reading.mean, reading.scale (K,), centre (D,)      float64
    network.*                             float32, by the names and shapes of `flow_network.shapes`
Metadata, one entry whose value is JSON: what `AttributeFlow` holds beside arrays, the settings that
it was trained with among it. Numbers that are NaN are null there.
The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.attribute_flow import AttributeFlow
from mining.methods.flow_config import LOOSEST, SOLVERS, TIGHTEST
from schemas.errors import CorruptDataError, InputError
from storage import artefacts
from storage.model_file import ModelFile

VERSION = 1
KEY = "latentlode_flow"  # of the metadata
WHO = "flow"
EXPECTED = "expected an attribute flow as `lode mine` writes it"
FILE = ModelFile(WHO, KEY, EXPECTED)
ARRAYS = {  # field -> tensor, axes
    "weights": ("reading.weights", 2),
    "mean": ("reading.mean", 1),
    "scale": ("reading.scale", 1),
    "centre": ("centre", 1),
}
NETWORK = "network."
TEXTS = ("space", "solver", "generator", "fingerprint", "licence")
LONGEST = 1000  # characters of a text, attributes of a flow
MOST_ROWS = 10_000  # of W+
MOST_LAYERS = 64


def save_flow(flow: AttributeFlow, path: str) -> None:
    """Write a flow to a path or URL; what stands there is replaced as a whole.

    Raises:
        StorageError: it cannot be written.
    """
    FILE.write(path, flow_bytes(flow))


def load_flow(path: str) -> AttributeFlow:
    """Read a flow from a path or URL.

    Raises:
        InputError: nothing is there, or something else than a flow.
        CorruptDataError: it is one, and damaged.
        StorageError: it cannot be read.
    """
    return flow_of(FILE.read(path), path)


def flow_bytes(flow: AttributeFlow) -> bytes:
    """The file's bytes; the same flow gives the same bytes."""
    from safetensors.numpy import save

    tensors = {name: np.asarray(getattr(flow, part)) for part, (name, _) in ARRAYS.items()}
    tensors = {name: np.ascontiguousarray(array, "<f8") for name, array in tensors.items()}
    for name, array in flow.network.items():
        tensors[NETWORK + name] = np.ascontiguousarray(array, "<f4")
    about: dict[str, Any] = {"version": VERSION}
    for field in dataclasses.fields(flow):
        if field.name not in ARRAYS and field.name != "network":
            about[field.name] = _plain(getattr(flow, field.name))
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    return save(dict(sorted(tensors.items())), {KEY: text})


def flow_of(data: bytes, who: str = "the file") -> AttributeFlow:
    """The flow of a file's bytes; nothing in them is executed.

    Args:
        who: names the file in errors.

    Raises:
        InputError: the bytes are something else than a flow, or a newer one.
        CorruptDataError: they are one, and damaged.
    """
    about = FILE.about(data, who)
    if about.get("version") != VERSION:
        raise InputError(
            f"{WHO}: {who} has version {str(about.get('version'))[:20]!r}, expected {VERSION}; "
            "read it with the LatentLode that wrote it, or mine it again."
        )
    try:
        return _flow(artefacts.arrays(data), about)
    except (CorruptDataError, InputError) as error:
        raise CorruptDataError(
            f"{WHO}: {who} is damaged: {error} Restore it from a copy, or mine it again."
        ) from error


def _flow(arrays: dict[str, NDArray[Any]], about: Mapping[str, Any]) -> AttributeFlow:
    left = dict(arrays)
    found = {part: _taken(left, name, axes) for part, (name, axes) in ARRAYS.items()}
    count, width = found["weights"].shape
    _ask(found["centre"].shape == (width,), f"its centre is not {width} numbers.")
    _ask(found["mean"].shape == found["scale"].shape == (count,), "its reading does not fit.")
    _ask(bool((found["scale"] > 0).all()), "the spread of an attribute is not above 0.")
    network = _network(left, width, count)
    _ask(not left, f"unknown tensors {', '.join(sorted(left))[:200]}.")
    flow = AttributeFlow(
        **found,
        network=network,
        **_words(about, count),
        **_numbers(about, count),
        **_origin(about, width),
        settings=_object(about, "settings"),
        evidence={name: _number(value, name) for name, value in _object(about, "evidence").items()},
    )
    _ask(flow.solver in SOLVERS, f"its solver is {flow.solver[:40]!r}.")
    return flow


def _network(left: dict[str, NDArray[Any]], width: int, count: int) -> dict[str, NDArray]:
    """The network's arrays, whose shapes fit each other, the latents and the attributes."""
    from mining.methods.flow_network import layers_of, shapes

    names = [name for name in left if name.startswith(NETWORK)]
    axes = {name: left[name].ndim for name in names}
    found = {name.removeprefix(NETWORK): _taken(left, name, axes[name], "f4") for name in names}
    layers = layers_of(found)
    _ask(2 <= layers <= MOST_LAYERS, f"its network has {layers} layers.")
    weights = [found.get(f"layer.{number}.weight", np.empty(0)) for number in range(layers - 1)]
    hidden = tuple(len(weight) for weight in weights)
    embedded = len(found.get("embed.0.weight", ()))
    wanted = shapes(width, count, hidden, embedded)
    fits = {name: array.shape for name, array in found.items()} == wanted
    _ask(fits, f"the arrays of its network do not fit latents of {width} and {count} attributes.")
    return found


def _words(about: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Names, units, space and what the generator says of itself."""
    found: dict[str, Any] = {}
    for name in ("names", "units"):
        found[name] = tuple(_listed(about, name, count))
        _ask(all(map(_is_text, found[name])), f"its {name} are no short texts.")
    _ask(len(set(found["names"])) == count, "two of its attributes have one name.")
    for name in TEXTS:
        _ask(_is_text(about.get(name)), f"its {name} is no short text.")
        found[name] = about[name]
    return found


def _numbers(about: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Slopes, rows of W+, spread and tolerance."""
    slopes, layers = (_listed(about, name, count) for name in ("slopes", "layers"))
    spread, tolerance = (_number(about.get(name), name) for name in ("spread", "tolerance"))
    _ask(0 < spread < math.inf, f"its spread is {spread}.")
    _ask(TIGHTEST <= tolerance <= LOOSEST, f"its tolerance is {tolerance}.")
    return {
        "slopes": tuple(_number(slope, "slope") for slope in slopes),
        "layers": tuple(_rows(rows) for rows in layers),
        "spread": spread,
        "tolerance": tolerance,
    }


def _origin(about: Mapping[str, Any], width: int) -> dict[str, Any]:
    """The shape of a latent, checked against its space and size."""
    axes = {"w": 1, "w+": 2}.get(about["space"], 0)
    shape = _listed(about, "latent_shape", axes)
    right = all(type(size) is int and 0 < size <= width for size in shape)
    _ask(
        right and axes > 0 and math.prod(shape) == width,
        f"latents {str(shape)[:40]} of space {about['space'][:20]!r} are not {width} numbers.",
    )
    return {"latent_shape": tuple(shape)}


def _listed(about: Mapping[str, Any], name: str, count: int) -> list[Any]:
    found = about.get(name)
    if not isinstance(found, list) or len(found) != count:
        raise CorruptDataError(f"its {name} are no list of {count}.")
    return found


def _object(about: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = about.get(name)
    if not isinstance(found, dict) or len(found) > LONGEST:
        raise CorruptDataError(f"its {name} are no object of at most {LONGEST} entries.")
    return found


def _rows(listed: Any) -> tuple[int, ...]:
    """Ascending rows of W+."""
    right = isinstance(listed, list) and len(listed) <= MOST_ROWS
    right = right and all(type(row) is int and 0 <= row < MOST_ROWS for row in listed)
    _ask(right and listed == sorted(set(listed)), "its layers are no ascending rows of W+.")
    return tuple(listed)


def _number(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not abs(value) < 1e300:
        raise CorruptDataError(f"its {name[:40]} is no number.")
    return float(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _taken(left: dict[str, NDArray[Any]], name: str, axes: int, kind: str = "f8") -> NDArray[Any]:
    """An array, taken out of `left`: of that type, not empty and finite."""
    array = left.pop(name, None)
    if array is None:
        raise CorruptDataError(f"tensor {name!r} is missing.")
    right = array.dtype == np.dtype(kind) and array.ndim == axes and array.size
    if not right or not np.isfinite(array).all():
        raise CorruptDataError(
            f"tensor {name[:80]!r} is {array.dtype} {array.shape}; expected finite numbers of "
            f"type {np.dtype(kind)} with {axes} axes."
        )
    return array


def _ask(right: bool, wrong: str) -> None:
    if not right:
        raise CorruptDataError(wrong)


def _plain(value: Any) -> Any:
    """What JSON can hold of a value: tuples as lists, NaN as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
