"""Small ONNX models and their descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from mining.extractors.onnx_attributes import OnnxAttributes

FLOAT, HALF, BYTE = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "UINT8"))
info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node


def model(nodes, shape, outputs, weights=None, kind=FLOAT) -> bytes:
    """One input, pixels; outputs by name with their shapes."""
    arrays = [onnx.numpy_helper.from_array(v, k) for k, v in (weights or {}).items()]
    made = [info(name, FLOAT, dims) for name, dims in outputs.items()]
    graph = onnx.helper.make_graph(nodes, "g", [info("pixels", kind, shape)], made, arrays)
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def written(folder: Path, **content: Any) -> str:
    """The path of a description."""
    path = folder / f"{content.get('name', 'about')}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def identity(folder, shape=("N", 3, 4, 4), kind=FLOAT, **content):
    """A model that gives back its input, as float32."""
    casts = [node("Cast", ["pixels"], ["out"], to=FLOAT)]
    (folder / "same.onnx").write_bytes(model(casts, list(shape), {"out": list(shape)}, kind=kind))
    count = int(np.prod(shape[1:]))
    content = {
        "name": "same",
        "model": "same.onnx",
        "input": {"size": 4},
        "outputs": [{"columns": [f"n{k}" for k in range(count)]}],
        **content,
    }
    return written(folder, **content)


def seen(path: str, images: np.ndarray, earlier=None) -> np.ndarray:
    """(N, numbers) that the model saw."""
    found = OnnxAttributes(path)(images, earlier or {})
    return np.stack([found.values[name] for name in found.values], axis=1)


LOGITS = np.array([[2.0, -1.0, 0.5, 3.0, 0.0], [800.0, -800.0, 0.0, 1.0, 2.0]])


def fixed(folder, outputs, numbers=LOGITS, **content) -> str:
    """A model whose outputs are the same for whatever it sees: rows of `numbers` in turn."""
    rows = {f"row{k}": row[None].astype(np.float32) for k, row in enumerate(numbers)}
    zero = np.zeros(1, np.float32)
    nodes = [
        node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
        node("Unsqueeze", ["mean", "one"], ["column"]),
        node("Mul", ["column", "zero"], ["nothing"]),
        *(node("Add", ["nothing", name], [f"out{name[3:]}"]) for name in rows),
    ]
    weights = {**rows, "zero": zero, "one": np.array([1], np.int64)}
    made = {f"out{k}": ["N", numbers.shape[1]] for k in range(len(numbers))}
    (folder / "fixed.onnx").write_bytes(model(nodes, ["N", 3, 4, 4], made, weights))
    content = {"name": "fixed", "model": "fixed.onnx", "input": {"size": 4}, **content}
    return written(folder, **content, outputs=outputs)
