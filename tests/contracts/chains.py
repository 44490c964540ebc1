"""Every extractor of the registry behind those that it needs, with models that are made here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mining.extractors.registry import EXTRACTORS

Settings = dict[str, dict[str, Any]]
EXAMPLE = "tests.examples.points:PointsExtractor"


def insightface(folder: Path) -> Settings:
    from tests.mining.extractors import insight_models

    return {"insightface": {"models": str(insight_models.folder(folder / "models"))}}


def mediapipe(folder: Path) -> Settings:
    return {"mediapipe": {"model": str(Path(os.environ["LODE_MODELS"]) / "face_landmarker.task")}}


def onnx_attributes(folder: Path) -> Settings:
    """The mean brightness of the face's box."""
    import onnx

    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    shapes = [info("image", kind, ["n", 3, 16, 16]), info("mean", kind, ["n", 1])]
    axes = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [3], [1, 2, 3])
    nodes = [
        node("ReduceMean", ["image", "axes"], ["all"], keepdims=0),
        node("Unsqueeze", ["all", "one"], ["mean"]),
    ]
    one = onnx.helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])
    graph = onnx.helper.make_graph(nodes, "mean", shapes[:1], shapes[1:], [axes, one])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    made.ir_version = 10
    (folder / "mean.onnx").write_bytes(made.SerializeToString())
    (folder / "mean.yaml").write_text(
        "name: light\n"
        "model: mean.onnx\n"
        "licence: none\n"
        "input: {size: 16}\n"
        "crop: {kind: box, source: dlib, margin: 0.1}\n"
        "outputs: [{columns: [brightness]}]\n"
    )
    return {"dlib": {}, "onnx_attributes": {"description": str(folder / "mean.yaml")}}


def clip_attributes(folder: Path) -> Settings:
    from tests.mining.extractors.test_clip_attributes import saved

    phrases = {"smile": ["a smile", "a frown"]}
    return {"clip_attributes": {"model": str(saved(folder / "clip")), "phrases": phrases}}


def deca(folder: Path) -> Settings:
    from tests.mining.extractors.test_deca import random_weights, write

    weights = write(folder / "deca.safetensors", random_weights())
    return {"dlib": {}, "deca": {"weights": str(weights)}}


CHAINS: dict[str, Callable[[Path], Settings]] = {
    "dlib": lambda folder: {"dlib": {}},
    "geometry": lambda folder: {"dlib": {}, "geometry": {}},
    "shape3d": lambda folder: {"dlib": {}, "shape3d": {}},
    "insightface": insightface,
    "mediapipe": mediapipe,
    "onnx_attributes": onnx_attributes,
    "clip_attributes": clip_attributes,
    "deca": deca,
    EXAMPLE: lambda folder: {EXAMPLE: {}},
}
# of a row, beside its size: how far it may be off in another batch. A network's products round
# in another order there, and a dataset's batches are always the same
ROUNDING = {"light": 1e-6, "insightface": 1e-5, "clip_attributes": 1e-4}


def entries() -> list[Any]:
    """Every entry of the registry, marked with the extra that it needs, and the example."""
    found = []
    for name, (_, extra) in EXTRACTORS.items():
        marks = [pytest.mark.needs(extra)] if extra else []
        found.append(pytest.param(name, marks=[*marks, *files_of(name)]))
    return [*found, EXAMPLE]


def files_of(name: str) -> list[Any]:
    """Marks of those that need a model file which comes with no package."""
    return [pytest.mark.weights("face_landmarker.task")] if name == "mediapipe" else []
