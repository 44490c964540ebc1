"""Small ONNX models with the signatures of buffalo_l, and pictures of which they know the truth.

A "face" is a disc of four quadrants, whose colours are the person, with five dots in colours that
are used for nothing else. The stand-in for SCRFD finds the dots by their colours, with the real
model's outputs; that for ArcFace reads the colours of the aligned crop; that for gender and age
reads the skin over the nose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mining.extractors.arcface import TEMPLATE

STRIDES = (8, 16, 32)
DOTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])  # RGB
DOT = 0.16  # radius, in distances between the eyes
MIDDLE = TEMPLATE[2]  # the nose is the middle of the box too
EYES = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))
FACE = 1.6 * EYES  # radius
MARGIN = 0.25  # of the five points' extent, which the box adds on each side
SCORES = ["448", "471", "494"]  # the names that det_10g.onnx has
SIDES = ["451", "474", "497"]
SHIFTS = ["454", "477", "500"]


class Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value: NDArray | float, kind=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [name], name=f"{op}_{name}", **attributes)
        )
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values), np.int64)

    def model(self, inputs: dict[str, list], outputs: dict[str, list]) -> onnx.ModelProto:
        def told(entries):
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in entries.items()
            ]

        graph = helper.make_graph(
            self.nodes, "stand-in", told(inputs), told(outputs), self.constants
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 10
        onnx.checker.check_model(made, full_check=True)
        return made


def scrfd(batch: bool = False, size: int | None = None) -> onnx.ModelProto:
    """Finds the dots; the outputs are those of det_10g.onnx.

    Each dot's place around an anchor is the centroid of its colour in a window of eight strides.
    An anchor fires where the nose is within 3/4 of a stride and every dot is as large as the
    distance between the eyes wants it: once and whole in the window.

    Args:
        batch: takes many images and gives outputs of three axes; else one, and of two.
        size: of the images, where only one is taken.
    """
    g = Graph()
    masks = []
    for colour in DOTS:
        wanted = g.constant(((colour - 127.5) / 128).reshape(1, 3, 1, 1))
        away = g.add("Abs", g.add("Sub", "input.1", wanted))
        away = g.add("ReduceSum", away, g.ints(1), keepdims=1)
        masks.append(g.add("Relu", g.add("Sub", g.constant(1), g.add("Mul", away, g.constant(2)))))
    mask = g.add("Concat", *masks, axis=1)
    outputs = {}
    for level, stride in enumerate(STRIDES):
        _level(g, mask, stride, level, batch)
        rows = None if size is None else 2 * (size // stride) ** 2
        first = ["N", rows] if batch else [rows]
        for name, width in ((SCORES, 1), (SIDES, 4), (SHIFTS, 10)):
            outputs[name[level]] = [*first, width]
    ordered = {name: outputs[name] for name in (*SCORES, *SIDES, *SHIFTS)}
    edge = ["H", "W"] if size is None else [size, size]
    return g.model({"input.1": ["N" if batch else 1, 3, *edge]}, ordered)


def _level(g: Graph, mask: str, stride: int, level: int, batch: bool) -> None:
    """Scores, sides and shifts of one stride, all in strides."""
    half = 4 * stride
    ramp = np.arange(-half, half)  # points are counted from the middles of pixels
    window = np.zeros((15, 1, 2 * half, 2 * half))
    window[0::3], window[1::3, 0], window[2::3, 0] = 1, ramp, ramp[:, None]
    sums = g.add(
        "Conv",
        mask,
        g.constant(window),
        group=5,
        strides=[stride] * 2,
        pads=[half, half, half - stride, half - stride],
    )
    area = g.add("Gather", sums, g.ints(*range(0, 15, 3)), axis=1)
    twice = g.add("Gather", area, g.ints(*np.repeat(range(5), 2)), axis=1)
    moments = g.add("Gather", sums, g.ints(*[k for k in range(15) if k % 3]), axis=1)
    shifts = g.add("Div", moments, g.add("Add", twice, g.constant(1e-6)))  # (N, 10, h, w) pixels

    edge = g.constant(0.5)  # from the middle of a pixel to its edges, from which boxes are counted

    def pick(*channels: int) -> str:
        return g.add("Gather", shifts, g.ints(*channels), axis=1)

    eyes = g.add("Sub", pick(2, 3), pick(0, 1))
    eyes = g.add("ReduceSum", g.add("Mul", eyes, eyes), g.ints(1), keepdims=1)
    fill = g.add("Mul", eyes, g.constant(np.pi * DOT**2))
    ratio = g.add("Div", area, g.add("Add", fill, g.constant(1e-6)))
    whole = g.add(
        "And",
        g.add("Greater", ratio, g.constant(0.35)),
        g.add("Less", ratio, g.constant(1.5)),
    )
    # a dot that the window cuts has its centroid near the window's edge
    dot = g.add("Mul", g.add("Sqrt", eyes), g.constant(1.3 * DOT))
    farthest = g.add("ReduceMax", g.add("Abs", shifts), axes=[1], keepdims=1)
    inside = g.add("Less", g.add("Add", farthest, dot), g.constant(half))
    whole = g.add("And", whole, inside)
    whole = g.add("ReduceMin", g.add("Cast", whole, to=TensorProto.FLOAT), axes=[1], keepdims=1)
    nose = g.add("ReduceMax", g.add("Abs", g.add("Add", pick(4, 5), edge)), axes=[1], keepdims=1)
    near = g.add("Sub", g.constant(0.95), g.add("Mul", nose, g.constant(0.6 / stride)))
    score = g.add("Relu", g.add("Mul", near, whole))
    x, y = pick(*range(0, 10, 2)), pick(*range(1, 10, 2))
    low = [g.add("ReduceMin", axis, axes=[1], keepdims=1) for axis in (x, y)]
    high = [g.add("ReduceMax", axis, axes=[1], keepdims=1) for axis in (x, y)]
    more = [
        g.add("Mul", g.add("Sub", b, a), g.constant(MARGIN)) for a, b in zip(low, high, strict=True)
    ]
    sides = [g.add("Sub", g.add("Sub", m, a), edge) for m, a in zip(more, low, strict=True)]
    sides += [g.add("Add", g.add("Add", m, b), edge) for m, b in zip(more, high, strict=True)]
    side = g.add("Concat", *sides, axis=1)
    worse = g.add("Mul", score, g.constant(0.9))  # the second anchor
    _rows(g, g.add("Concat", score, worse, axis=1), 1, SCORES[level], batch)
    for value, width, name in ((side, 4, SIDES[level]), (shifts, 10, SHIFTS[level])):
        value = g.add("Div", value, g.constant(stride))
        _rows(g, g.add("Concat", value, value, axis=1), width, name, batch)


def _rows(g: Graph, value: str, width: int, name: str, batch: bool) -> None:
    """(N, 2 * width, h, w) as rows of `width`, anchor by anchor."""
    turned = g.add("Transpose", value, perm=[0, 2, 3, 1])
    g.add("Reshape", turned, g.ints(0, -1, width) if batch else g.ints(-1, width), output=name)


def arcface(
    width: int = 512, batch: bool = True, gain: float = 1.0, hidden: bool = False
) -> onnx.ModelProto:
    """Embeds the mean colours of an 8 x 8 grid over the middle of the crop."""
    g = Graph()
    seen = g.add("Slice", "input.1", g.ints(16, 16), g.ints(112, 112), g.ints(2, 3))
    seen = g.add("AveragePool", seen, kernel_shape=[12, 12], strides=[12, 12])
    flat = g.add("Flatten", seen, axis=1)
    weights = np.random.default_rng(5).normal(size=(192, width)) * gain
    made = g.add("MatMul", flat, g.constant(weights), output=None if hidden else "683")
    if hidden:  # a width that only a run can tell
        nothing = g.add("Mul", g.add("ReduceSum", "input.1", keepdims=0), g.constant(0))
        end = g.add("Cast", g.add("Add", nothing, g.constant(width)), to=TensorProto.INT64)
        end = g.add("Unsqueeze", end, g.ints(0))
        g.add("Slice", made, g.ints(0), end, g.ints(1), output="683")
    declared = [None, None if hidden else width]
    made = g.model({"input.1": ["None" if batch else 1, 3, 112, 112]}, {"683": declared})
    # as the real model says, whatever the number of crops
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    return made


def genderage() -> onnx.ModelProto:
    """From values of 0..255, as the real one: female green, male blue, and as old as red."""
    g = Graph()
    seen = g.add("Mul", g.add("Sub", "data", g.constant(0)), g.constant(1 / 255))
    # a few pixels of skin between the eyes and the nose
    seen = g.add("Slice", seen, g.ints(32, 45), g.ints(39, 52), g.ints(2, 3))
    mean = g.add("ReduceMean", seen, axes=[2, 3], keepdims=0)
    g.add("MatMul", mean, g.constant([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), output="fc1")
    return g.model({"data": ["None", 3, 96, 96]}, {"fc1": [None, 3]})


def landmarks(count: int, axes: int) -> onnx.ModelProto:
    """Every point on the centroid of the green dot, the left eye's as one looks at it: x, y, 0."""
    g = Graph()
    half = g.add("Mul", g.add("Sub", "data", g.constant(127.5)), g.constant(1 / 128))
    wanted = g.constant(((DOTS[1] - 127.5) / 128).reshape(1, 3, 1, 1))
    away = g.add("ReduceSum", g.add("Abs", g.add("Sub", half, wanted)), g.ints(1), keepdims=1)
    mask = g.add("Relu", g.add("Sub", g.constant(1), g.add("Mul", away, g.constant(2))))
    steps = np.arange(192) / 96 - 1
    window = np.stack([np.ones((192, 192)), np.tile(steps, (192, 1)), np.tile(steps, (192, 1)).T])
    sums = g.add("Conv", mask, g.constant(window[:, None]))
    place = g.add(
        "Div", g.add("Gather", sums, g.ints(1, 2), axis=1), g.add("Gather", sums, g.ints(0), axis=1)
    )
    flat = g.add("Flatten", place, axis=1)
    spread = np.zeros((2, count, axes))
    spread[0, :, 0] = spread[1, :, 1] = 1
    g.add("MatMul", flat, g.constant(spread.reshape(2, -1)), output="fc1")
    return g.model({"data": ["None", 3, 192, 192]}, {"fc1": [None, count * axes]})


def folder(path: Path, **replaced: onnx.ModelProto) -> Path:
    """A folder laid out as buffalo_l, of stand-ins."""
    path.mkdir(exist_ok=True)
    made = {
        "det_10g": replaced.get("det_10g") or scrfd(),
        "w600k_r50": replaced.get("w600k_r50") or arcface(),
        "genderage": replaced.get("genderage") or genderage(),
        "2d106det": replaced.get("2d106det") or landmarks(106, 2),
        "1k3d68": replaced.get("1k3d68") or landmarks(1103, 3),
    }
    for name, model in made.items():
        (path / f"{name}.onnx").write_bytes(model.SerializeToString())
    return path


def person(seed: int) -> NDArray[np.int64]:
    """(4, 3) the colours of a person's quadrants, none of them near a dot's."""
    return np.random.default_rng(seed).integers(60, 196, (4, 3))


def placed(centre: tuple[float, float], eyes: float, degrees: float = 0.0) -> NDArray[np.float64]:
    """(2, 3): template -> pixels (from the image's edge) of a face, turned clockwise.

    Args:
        centre: of the nose.
        eyes: the distance between them.
    """
    turn = np.radians(degrees)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * eyes / EYES
    return np.column_stack([linear, np.array(centre) - linear @ MIDDLE])


def points_at(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """(5, 2) pixels of the dots."""
    return TEMPLATE @ place[:, :2].T + place[:, 2]


def box_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) the box that the stand-in gives."""
    low, high = points.min(axis=0), points.max(axis=0)
    more = MARGIN * (high - low)
    return np.concatenate([low - more, high + more])


def draw(image: NDArray[np.uint8], place: NDArray[np.float64], colours: NDArray) -> None:
    """Paint a face into an image, 4 x 4 samples a pixel."""
    nose = place[:, :2] @ MIDDLE + place[:, 2]
    reach = FACE * np.sqrt(np.linalg.det(place[:, :2])) + 1
    low = np.maximum(np.floor(nose - reach), 0).astype(int)
    high = np.minimum(np.ceil(nose + reach), image.shape[1::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    height, width = part.shape[:2]
    x, y = ((np.arange(4 * edge) + 0.5) / 4 for edge in (width, height))
    seen = np.stack(np.meshgrid(x, y), axis=-1) + low - place[:, 2]
    seen = seen @ np.linalg.inv(place[:, :2]).T
    samples = np.repeat(np.repeat(part.astype(np.float32), 4, axis=0), 4, axis=1)
    away = seen - MIDDLE
    quadrant = 2 * (away[..., 1] > 0) + (away[..., 0] > 0)
    disc = (away**2).sum(axis=-1) < FACE**2
    samples[disc] = np.asarray(colours)[quadrant[disc]]
    for dot, colour in zip(TEMPLATE, DOTS, strict=True):
        samples[((seen - dot) ** 2).sum(axis=-1) < (DOT * EYES) ** 2] = colour
    part[:] = np.rint(samples.reshape(height, 4, width, 4, 3).mean(axis=(1, 3)))


def picture(edge: int = 256, *faces: tuple, shape: tuple[int, int] | None = None) -> NDArray:
    """A grey image with faces, each of (place, colours)."""
    image = np.full((*(shape or (edge, edge)), 3), 110, np.uint8)
    for place, colours in faces:
        draw(image, place, colours)
    return image
