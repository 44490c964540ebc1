"""ONNX models that read square crops: (N, 3, E, E) -> (N, W), all crops in one run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.models import Model
from mining.extractors.onnx_session import Provider, open_session
from schemas.errors import InputError, RunError

Array = NDArray[np.float64]


class CropNet:
    """A model over crops.

    Args:
        who: the extractor, as messages name it.
        edge: pixels of a crop.
        width: numbers for each crop.
        half_range: crops go in as (value - 127.5) / half_range, unless the model does that itself.

    Raises:
        InputError: the file is no ONNX model, or one of other inputs and outputs.
    """

    def __init__(
        self, who: str, model: Model, edge: int, width: int, half_range: float, provider: Provider
    ):
        self._who, self._file, self._width = who, model.name, width
        self._session = open_session(who, model, provider)
        self._batches = check_signature(who, model, self._session, edge, width)
        self._input = self._session.get_inputs()[0].name
        own = normalises_itself(model)
        self._middle, self._half = (0.0, 1.0) if own else (127.5, half_range)

    def __call__(self, crops: NDArray[np.uint8]) -> Array:
        """crops: (N, E, E, 3) RGB. (N, W) as the model says it."""
        if not len(crops):
            return np.empty((0, self._width))
        blob = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
        blob -= self._middle
        blob *= 1 / self._half
        step = len(blob) if self._batches else 1
        parts = [self._run(blob[k : k + step]) for k in range(0, len(blob), step)]
        return np.concatenate(parts).astype(np.float64)

    def _run(self, blob: NDArray[np.float32]) -> NDArray:
        found = self._session.run(None, {self._input: blob})[0]
        if found.shape != (len(blob), self._width):
            raise RunError(
                f"{self._who}: {self._file} returned {found.shape} for {len(blob)} crops; "
                f"expected {(len(blob), self._width)}."
            )
        return found


def check_signature(who: str, model: Model, session: Any, edge: int, width: int) -> bool:
    """Whether a model takes many crops at once.

    Raises:
        InputError: it takes or gives something else.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = list(inputs[0].shape or []) if inputs else []
    given = list(outputs[0].shape or []) if outputs else []
    takes = len(inputs) == 1 and inputs[0].type == "tensor(float)" and shape[1:] == [3, edge, edge]
    gives = len(outputs) == 1 and len(given) == 2
    if not takes or not gives or (isinstance(given[1], int) and given[1] != width):
        told = " and ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs[:3])
        said = " and ".join(f"{entry.name} {entry.shape}" for entry in outputs[:3])
        raise InputError(
            f"{who}: {model.path} takes {told or 'nothing'} and gives {said or 'nothing'}; "
            f"expected one float input (N, 3, {edge}, {edge}) and one output (N, {width})."
        )
    return not isinstance(shape[0], int)


def normalises_itself(model: Model) -> bool:
    """Whether a graph begins with a subtraction and a multiplication of its own.

    So do the models that InsightFace trained with MXNet, which take values of 0..255; its package
    looks at the names of the first nodes too, since nothing else in the file tells.
    """
    import onnx

    nodes = onnx.load_model_from_string(model.path.read_bytes()).graph.node[:8]
    names = [node.name for node in nodes]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return subtracts and multiplies or "bn_data" in names[:3]
