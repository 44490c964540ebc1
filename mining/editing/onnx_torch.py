"""ONNX face networks as torch modules, so that gradients pass through them to the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mining.editing.onnx_ops import MOST_NUMBERS, OPERATORS
from mining.extractors.models import find_model
from schemas.errors import InputError, MissingBackendError

MOST_NODES = 10_000
MOST_WHOLE = 1000  # whole numbers in one tensor: they are shapes and axes
OPSETS = range(7, 22)
# what torch and Python raise where a graph asks for what cannot be
MISFITS = (RuntimeError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError)
Values = dict[str, Tensor | None]


@dataclass(frozen=True)
class Node:
    """One operator of the graph."""

    operator: str
    inputs: tuple[str, ...]  # "" for one that is left out
    output: str
    attributes: dict[str, Any]


class OnnxNetwork(nn.Module):
    """A graph of ONNX with one image in and one row of numbers out, differentiable.

    The operators are those of ArcFace's residual networks (`OPERATORS`), for inference. A graph
    that was exported for one image at a time is run so.

    Args:
        nodes: in the order in which they run.
        constants: tensors by name.
        source, output: names of the image and of the result.
        size: (height, width) of the image.

    Raises:
        InputError: an operator does not fit its inputs, all features together have more than
            MOST_NUMBERS an image, or the result is not (N, E).
    """

    def __init__(
        self,
        who: str,
        nodes: tuple[Node, ...],
        constants: dict[str, Tensor],
        source: str,
        output: str,
        size: tuple[int, int],
    ):
        super().__init__()
        self._who, self._nodes, self._source, self._output = who, nodes, source, output
        self.size = size
        self._names = {name: f"weight_{n}" for n, name in enumerate(constants)}
        self._whole = {n: v for n, v in constants.items() if not v.is_floating_point()}
        for name, value in constants.items():
            if value.is_floating_point():
                self.register_buffer(self._names[name], value)
        self._together = self._width(2) is not None
        width = self._width(2) or self._width(1)
        if width is None:
            raise InputError(f"{who}: the result of one image has other than (1, E) numbers.")
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, height, width) float32 -> (N, width)."""
        if images.shape[1:] != (3, *self.size):
            raise InputError(
                f"{self._who}: images {tuple(images.shape)} came, expected (N, 3, "
                f"{self.size[0]}, {self.size[1]})."
            )
        if self._together:
            return self._run(images)
        return torch.cat([self._run(image[None]) for image in images])

    def _width(self, count: int) -> int | None:
        """E, worked out on shapes alone; None where `count` images do not give (count, E)."""
        try:
            result = self._run(torch.empty(count, 3, *self.size, device="meta"))
        except InputError:
            if count == 1:
                raise
            return None
        return result.shape[1] if result.ndim == 2 and len(result) == count else None

    def _run(self, images: Tensor) -> Tensor:
        meta = images.device.type == "meta"
        values: Values = {"": None, self._source: images, **self._whole}
        for name, hidden in self._names.items():
            if name not in self._whole:
                weight = self.get_buffer(hidden)
                values[name] = weight.to("meta") if meta else weight
        made = 0  # numbers; all are kept to the end, so that it is their sum that is bounded
        for node in self._nodes:
            try:
                found = OPERATORS[node.operator](
                    node.attributes, *(values[name] for name in node.inputs)
                )
            except MISFITS as error:
                said = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{self._who}: {node.operator} {node.output!r} does not fit its inputs: {said}."
                ) from None
            made += found.numel()
            whole = not found.is_floating_point()
            count, most = (
                (found.numel(), MOST_WHOLE) if whole else (made, MOST_NUMBERS * len(images))
            )
            if count > most:
                raise InputError(
                    f"{self._who}: {node.operator} {node.output!r} makes {count:,} numbers"
                    f"{'' if whole else ' with all before it'}, expected at most {most:,}."
                )
            values[node.output] = found
        result = values[self._output]
        assert result is not None  # read_onnx made sure that a node writes it
        return result


def read_onnx(path: str | Path, sha256: str | None = None, size: int = 112) -> OnnxNetwork:
    """An ONNX face network as a torch module.

    Nothing but numbers and the names of operators is taken from the file: no code, no library, no
    other file. Before it runs, its features are sized on shapes alone.

    Args:
        path: of the .onnx file.
        sha256: that the file must have; None takes any.
        size: pixels of the image, where the file leaves them open.

    Raises:
        InputError: it is no ONNX model, has weights in other files, more than one input, an
            operator or an opset that is not known here, or shapes that do not fit.
        MissingBackendError: the package onnx is not installed.
        CorruptDataError: it has another checksum.
    """
    who = f"onnx {Path(path).name!r}"
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            f"{who} needs the package {error.name!r}: pip install 'latentlode[onnx]'"
        ) from error
    data = find_model(who, path, sha256=sha256).path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise InputError(f"{who} is no ONNX model.") from None
    graph = model.graph
    _check_graph(who, model)
    arrays = [(tensor.name, tensor) for tensor in graph.initializer]
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant":
            arrays.append((node.output[0], _constant(who, node)))
        else:
            nodes.append(_node(who, node))
    constants = {name: _tensor(who, tensor, len(data)) for name, tensor in arrays}
    source, edges = _source(who, graph, constants, size)
    _check_order(who, nodes, {"", source, *constants}, graph.output[0].name)
    return OnnxNetwork(who, tuple(nodes), constants, source, graph.output[0].name, edges)


def _check_graph(who: str, model: Any) -> None:
    """Refuse what is not one plain graph of a known opset."""
    graph = model.graph
    known = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if len(known) != 1 or known[0] not in OPSETS:
        raise InputError(f"{who} is of opset {known}; expected one of {OPSETS[0]} to {OPSETS[-1]}.")
    if len(graph.node) > MOST_NODES:
        raise InputError(f"{who} has {len(graph.node):,} nodes; at most {MOST_NODES:,} are read.")
    if len(graph.output) != 1:
        raise InputError(f"{who} has {len(graph.output)} outputs; expected one embedding.")
    if graph.sparse_initializer or model.functions:
        raise InputError(f"{who} has sparse tensors or functions of its own; expected neither.")
    unknown = sorted(
        {
            str(node.op_type)  # bytes where it is no text
            for node in graph.node
            if node.op_type not in {*OPERATORS, "Constant"} or node.domain not in ("", "ai.onnx")
        }
    )
    if unknown:
        raise InputError(
            f"{who} uses the operator {', '.join(unknown)}, which is not known here; known are "
            f"{', '.join(OPERATORS)}."
        )


def _constant(who: str, node: Any) -> Any:
    """The tensor of a Constant node."""
    import onnx

    given = {attribute.name: attribute for attribute in node.attribute}
    if "value" in given:
        return given["value"].t
    for name, field, kind in (
        ("value_float", "f", onnx.TensorProto.FLOAT),
        ("value_int", "i", onnx.TensorProto.INT64),
        ("value_floats", "floats", onnx.TensorProto.FLOAT),
        ("value_ints", "ints", onnx.TensorProto.INT64),
    ):
        if name in given:
            value = getattr(given[name], field)
            plain = field in ("f", "i")
            values = [value] if plain else list(value)
            return onnx.helper.make_tensor("", kind, [] if plain else [len(values)], values)
    raise InputError(f"{who}: the Constant {list(node.output)} holds no numbers.")


def _node(who: str, node: Any) -> Node:
    """A node with plain attributes."""
    import onnx

    kinds = onnx.AttributeProto
    plain = (kinds.FLOAT, kinds.INT, kinds.STRING, kinds.FLOATS, kinds.INTS)
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type not in plain:
            raise InputError(f"{who}: {node.op_type} has the attribute {attribute.name!r}.")
        value = onnx.helper.get_attribute_value(attribute)
        attributes[attribute.name] = (
            value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        )
    used = [name for name in node.output[1:] if name]
    if not node.output or not node.output[0] or (used and node.op_type != "Dropout"):
        raise InputError(f"{who}: {node.op_type} has the outputs {list(node.output)}; expected 1.")
    return Node(node.op_type, tuple(node.input), node.output[0], attributes)


def _tensor(who: str, tensor: Any, most_bytes: int) -> Tensor:
    """A stored tensor: float32 of floats, int64 of whole numbers."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(
            f"{who} keeps weights in other files, which are not read; save the model as one file."
        )
    edges = list(tensor.dims)
    if any(edge < 0 for edge in edges) or math.prod(edges) > most_bytes:
        raise InputError(f"{who}: the tensor {tensor.name!r} {edges} is larger than its file.")
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise InputError(f"{who}: the tensor {tensor.name!r} cannot be read: {error}") from None
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype("float32"))
    if array.dtype.kind not in "iu" or array.size > MOST_WHOLE:
        raise InputError(f"{who}: the tensor {tensor.name!r} is {array.dtype} {array.shape}.")
    return torch.from_numpy(array.astype("int64"))


def _source(
    who: str, graph: Any, constants: dict[str, Tensor], size: int
) -> tuple[str, tuple[int, int]]:
    """The name of the image among the inputs, and its height and width."""
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"{who} has {len(inputs)} inputs; expected one image.")
    edges = [edge.dim_value for edge in inputs[0].type.tensor_type.shape.dim]
    if len(edges) != 4 or edges[1] not in (0, 3):
        raise InputError(f"{who} reads {edges}; expected (N, 3, height, width), 0 for open.")
    height, width = edges[2] or size, edges[3] or size
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise InputError(f"{who} reads images of {height} x {width}; expected 1 to 4096 pixels.")
    return inputs[0].name, (height, width)


def _check_order(who: str, nodes: list[Node], known: set[str], output: str) -> None:
    """Each node reads what is there already, and one of them writes the output."""
    for node in nodes:
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise InputError(f"{who}: {node.operator} {node.output!r} reads {missing[0]!r} early.")
        known.add(node.output)
    if output not in {node.output for node in nodes}:
        raise InputError(f"{who}: no node writes the output {output!r}.")
