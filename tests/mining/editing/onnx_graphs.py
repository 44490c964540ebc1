"""Small ONNX graphs, as files: one for each operator, and a face network in little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

FLOAT = onnx.TensorProto.FLOAT
node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
SIZE = 8


def written(
    folder: Path, nodes, weights=None, opset=17, shape=("N", 3, SIZE, SIZE), **more
) -> Path:
    """A file with one image in and "out" out."""
    arrays = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [info("image", FLOAT, list(shape)), *more.get("inputs", ())],
        [info(name, FLOAT, None) for name in more.get("outputs", ("out",))],
        arrays,
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path = folder / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def single(operator: str, rng: np.random.Generator):
    """name -> (nodes that end in "x", weights, opset) for one operator on the image."""
    stats = {"s": floats(rng, 3), "b": floats(rng, 3), "m": floats(rng, 3)}
    stats["v"] = np.abs(floats(rng, 3)) + 0.5
    flat = 3 * SIZE * SIZE
    pool = {"kernel_shape": [3, 3], "strides": [2, 2]}
    shape = [
        node("Shape", ["image"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axis"], ["first"]),
        node("Concat", ["first", "rest"], ["wanted"], axis=0),
        node("Reshape", ["image", "wanted"], ["x"]),
    ]
    numbers = {"zero": np.array(0, np.int64), "axis": whole(0), "rest": whole(-1)}
    one = {
        "conv": ([node("Conv", ["image", "w", "b"], ["x"], pads=[1, 1, 1, 1])],
                 {"w": floats(rng, 4, 3, 3, 3), "b": floats(rng, 4)}, 17),
        "conv, uneven pads, strides, dilations": (
            [node("Conv", ["image", "w"], ["x"], pads=[0, 1, 1, 2], strides=[2, 1],
                  dilations=[1, 2])], {"w": floats(rng, 4, 3, 3, 3)}, 17),
        "conv, groups": ([node("Conv", ["image", "w"], ["x"], group=3)],
                         {"w": floats(rng, 6, 1, 3, 3)}, 11),
        "batch norm": ([node("BatchNormalization", ["image", *"sbmv"], ["x"], epsilon=2e-5)],
                       stats, 15),
        "prelu": ([node("PRelu", ["image", "slope"], ["x"])],
                  {"slope": floats(rng, 3, 1, 1)}, 17),
        "relu": ([node("Relu", ["image"], ["x"])], {}, 17),
        "sigmoid": ([node("Sigmoid", ["image"], ["x"])], {}, 17),
        "add": ([node("Add", ["image", "w"], ["x"])], {"w": floats(rng, 3, 1, 1)}, 17),
        "sub": ([node("Sub", ["image", "w"], ["x"])], {"w": floats(rng, 1)}, 17),
        "mul": ([node("Mul", ["image", "w"], ["x"])], {"w": floats(rng, 1, 3, 1, 1)}, 17),
        "div": ([node("Div", ["image", "w"], ["x"])],
                {"w": np.array(127.5, np.float32)}, 17),
        "clip": ([node("Clip", ["image", "low", "high"], ["x"])],
                 {"low": np.array(-0.3, np.float32), "high": np.array(0.4, np.float32)}, 17),
        "clip of attributes": ([node("Clip", ["image"], ["x"], min=-0.3, max=0.4)], {}, 9),
        "max pool": ([node("MaxPool", ["image"], ["x"], pads=[1, 1, 1, 1], **pool)], {}, 17),
        "max pool, uneven pads": ([node("MaxPool", ["image"], ["x"], pads=[0, 0, 1, 1], **pool)],
                                  {}, 17),
        "average pool": ([node("AveragePool", ["image"], ["x"], pads=[1, 1, 1, 1], **pool)],
                         {}, 17),
        "average pool, pads counted": (
            [node("AveragePool", ["image"], ["x"], pads=[0, 0, 1, 1], count_include_pad=1,
                  **pool)], {}, 17),
        "global average pool": ([node("GlobalAveragePool", ["image"], ["x"])], {}, 17),
        "flatten and gemm": (
            [node("Flatten", ["image"], ["f"]),
             node("Gemm", ["f", "w", "b"], ["x"], transB=1, alpha=0.5, beta=2.0)],
            {"w": floats(rng, 5, flat) / 10, "b": floats(rng, 5)}, 17),
        "matmul": ([node("Flatten", ["image"], ["f"], axis=1), node("MatMul", ["f", "w"], ["x"])],
                   {"w": floats(rng, flat, 5) / 10}, 17),
        "reshape with 0 and -1": ([node("Reshape", ["image", "to"], ["x"])],
                                  {"to": whole(0, 0, -1)}, 17),
        "reshape by shape": (shape, numbers, 17),
        "transpose": ([node("Transpose", ["image"], ["x"], perm=[0, 2, 3, 1])], {}, 17),
        "identity and dropout": ([node("Identity", ["image"], ["i"]),
                                  node("Dropout", ["i"], ["x", "mask"])], {}, 17),
        "concat": ([node("Concat", ["image", "image"], ["x"], axis=1)], {}, 17),
        "unsqueeze and squeeze": ([node("Unsqueeze", ["image", "axes"], ["u"]),
                                   node("Squeeze", ["u", "last"], ["x"])],
                                  {"axes": whole(1, -1), "last": whole(-1)}, 17),
        "unsqueeze and squeeze of attributes": (
            [node("Unsqueeze", ["image"], ["u"], axes=[1]),
             node("Squeeze", ["u"], ["x"], axes=[1])],
            {}, 11),
        "constants": (
            [node("Constant", [], ["k"], value=onnx.numpy_helper.from_array(floats(rng, 3, 1, 1))),
             node("Constant", [], ["two"], value_float=2.0),
             node("Mul", ["image", "k"], ["y"]), node("Add", ["y", "two"], ["x"])], {}, 17),
        "lp normalization": ([node("Flatten", ["image"], ["f"]),
                              node("LpNormalization", ["f"], ["x"], axis=1)], {}, 17),
    }  # fmt: skip
    return one[operator] if operator else list(one)


def iresnet(folder: Path, rng: np.random.Generator, batch="N", edge: int = 16) -> Path:
    """The blocks of ArcFace's residual networks in little: 16 x 16 pixels to 6 numbers."""
    weights: dict[str, np.ndarray] = {}
    nodes = []

    def norm(source: str, name: str, channels: int) -> str:
        weights[f"{name}s"] = 1 + 0.1 * floats(rng, channels)
        weights[f"{name}b"], weights[f"{name}m"] = floats(rng, channels), floats(rng, channels)
        weights[f"{name}v"] = np.abs(floats(rng, channels)) + 0.5
        inputs = [source, *(f"{name}{key}" for key in "sbmv")]
        nodes.append(node("BatchNormalization", inputs, [name], epsilon=1e-5))
        return name

    def conv(source: str, name: str, into: int, out: int, kernel: int, stride: int) -> str:
        weights[f"{name}w"] = floats(rng, out, into, kernel, kernel) / (into * kernel**2) ** 0.5
        pad = [kernel // 2] * 4
        nodes.append(node("Conv", [source, f"{name}w"], [name], pads=pad, strides=[stride] * 2))
        return name

    def prelu(source: str, name: str, channels: int) -> str:
        weights[f"{name}a"] = 0.25 + 0.05 * floats(rng, channels, 1, 1)
        nodes.append(node("PRelu", [source, f"{name}a"], [name]))
        return name

    x = prelu(norm(conv("image", "c0", 3, 4, 3, 1), "n0", 4), "p0", 4)
    for k, (into, out, stride) in enumerate([(4, 8, 2), (8, 8, 1)]):
        y = conv(norm(x, f"a{k}", into), f"b{k}", into, out, 3, 1)
        y = prelu(norm(y, f"c{k}n", out), f"d{k}", out)
        y = norm(conv(y, f"e{k}", out, out, 3, stride), f"f{k}", out)
        side = x if into == out else norm(conv(x, f"g{k}", into, out, 1, stride), f"h{k}", out)
        nodes.append(node("Add", [y, side], [f"sum{k}"]))
        x = f"sum{k}"
    x = norm(x, "last", 8)
    nodes += [
        node("Dropout", [x], ["dropped"]),
        node("Flatten", ["dropped"], ["flat"]),
        node("Gemm", ["flat", "fw", "fb"], ["row"], transB=1),
    ]
    weights["fw"], weights["fb"] = floats(rng, 6, 8 * (edge // 2) ** 2) / 20, floats(rng, 6)
    weights["ns"], weights["nb"] = np.ones(6, np.float32), floats(rng, 6)
    weights["nm"], weights["nv"] = floats(rng, 6), np.ones(6, np.float32)
    nodes.append(node("BatchNormalization", ["row", "ns", "nb", "nm", "nv"], ["out"]))
    return written(folder, nodes, weights, opset=11, shape=(batch, 3, edge, edge))
