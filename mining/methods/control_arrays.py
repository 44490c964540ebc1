"""The arrays of a control model by their names in its file, and back with every shape checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.regressor import Regressor
from mining.methods.rigid import LEAST, RigidShape
from mining.methods.shape_model import ShapeModel
from schemas.errors import CorruptDataError

if TYPE_CHECKING:
    from mining.methods.control import ControlModel
    from mining.methods.embedding import Embedding

Array = NDArray[np.float64]
MOST_LAYERS = 64
MOST_COMPONENTS = 10_000  # K, far more than there are landmarks
SHAPE = ("mean_shape", "basis", "modes")
RANGES = ("mean", "spread", "low", "high")
NETWORK = ("centre", "mean", "spread")


def tensors_of(control: ControlModel) -> dict[str, Array]:
    """Name -> float64 array, little-endian and in C order."""
    found = {f"shape.{name}": getattr(control.shape, name) for name in SHAPE}
    if control.shape.rigid is not None:
        found["shape.rigid"] = control.shape.rigid.landmarks
        found["shape.skull"] = control.shape.rigid.shape
    found |= _network("regressor", control.regressor)
    if control.ranges is not None:
        found |= {f"ranges.{name}": getattr(control.ranges, name) for name in RANGES}
    if control.embedding is not None:
        found |= _network("embedding", control.embedding)
    return {name: np.ascontiguousarray(found[name], "<f8") for name in sorted(found)}


def read_shape(left: dict[str, Array], facts: Mapping[str, Any]) -> ShapeModel:
    """The shape model without codes; its arrays are taken out of `left`.

    Raises:
        CorruptDataError: an array is missing, not finite, or of a shape that does not fit.
    """
    mean_shape, basis, modes = (take(left, f"shape.{name}", 2) for name in SHAPE)
    points, components = mean_shape.shape[1], len(basis)
    fits = mean_shape.shape == (3, points) and basis.shape == (components, points)
    if not fits or modes.shape != (components, 3) or points < 1 or components > MOST_COMPONENTS:
        raise CorruptDataError(
            f"mean shape {mean_shape.shape}, basis {basis.shape} and modes {modes.shape} do not "
            "fit; expected (3, L), (K, L) and (K, 3)."
        )
    codes = np.empty((0, 8 + components))
    return ShapeModel(mean_shape, basis, modes, codes, rigid=_rigid(left, points), **facts)


def _rigid(left: dict[str, Array], points: int) -> RigidShape | None:
    """The rigid landmarks, where the file has them; errors as `read_shape`."""
    if "shape.rigid" not in left and "shape.skull" not in left:
        return None
    chosen, skull = take(left, "shape.rigid", 1), take(left, "shape.skull", 2)
    numbers = np.clip(chosen, 0, points - 1).astype(np.intp)
    ascending = len(chosen) >= LEAST and (np.diff(chosen) > 0).all()
    if not ascending or (numbers != chosen).any() or skull.shape != (3, len(chosen)):
        raise CorruptDataError(
            f"rigid landmarks {chosen.shape} and their shape {skull.shape} do not fit; expected "
            f"{LEAST} or more ascending numbers below {points}, and (3, R)."
        )
    return RigidShape(numbers, skull, np.empty(0), 0, True)


def read_ranges(left: dict[str, Array], width: int) -> dict[str, Array]:
    """The arrays of `CodeRanges`; errors as `read_shape`."""
    found = {name: take(left, f"ranges.{name}", 1) for name in RANGES}
    if any(len(array) != width for array in found.values()):
        raise CorruptDataError(f"the ranges of the codes are not {width} numbers each.")
    return found


def read_network(left: dict[str, Array], prefix: str) -> dict[str, Any]:
    """The arrays of a `Regressor` or an `Embedding`; errors as `read_shape`."""
    count = sum(f"{prefix}.weights.{layer}" in left for layer in range(MOST_LAYERS + 1))
    if not 1 <= count <= MOST_LAYERS:
        raise CorruptDataError(f"the {prefix} has {count} layers, expected 1..{MOST_LAYERS}.")
    weights = tuple(take(left, f"{prefix}.weights.{layer}", 2) for layer in range(count))
    biases = tuple(take(left, f"{prefix}.biases.{layer}", 1) for layer in range(count))
    centre, mean, spread = (take(left, f"{prefix}.{name}", 1) for name in NETWORK)
    sizes = [len(centre), *map(len, weights)]
    chained = [weight.shape[1] for weight in weights] == sizes[:-1]
    if not chained or [len(bias) for bias in biases] != sizes[1:] or not all(sizes):
        raise CorruptDataError(f"the layers of the {prefix} do not fit together.")
    if not len(mean) == len(spread) == sizes[-1] or (spread <= 0).any():
        raise CorruptDataError(f"mean and spread of the {prefix} are not those of its outputs.")
    return {"weights": weights, "biases": biases, "centre": centre, "mean": mean, "spread": spread}


def take(left: dict[str, Array], name: str, axes: int) -> Array:
    """One finite float64 array, taken out of `left`."""
    if name not in left:
        raise CorruptDataError(f"tensor {name} is missing.")
    array = left.pop(name)
    if array.dtype != np.float64 or array.ndim != axes:
        raise CorruptDataError(
            f"tensor {name} is {array.shape} {array.dtype}, expected {axes} axes of float64."
        )
    if not np.isfinite(array).all():
        raise CorruptDataError(f"tensor {name} holds NaN or infinity.")
    return array


def _network(prefix: str, network: Regressor | Embedding) -> dict[str, Array]:
    found = {f"{prefix}.{name}": getattr(network, name) for name in NETWORK}
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        found |= {f"{prefix}.weights.{layer}": weight, f"{prefix}.biases.{layer}": bias}
    return found
