"""Models of real cost and random weights, for the extractors whose own models cannot be had here.

Layers and widths are the published ones, so each costs what the real model costs; what it says of
an image is worth nothing. The stand-in for SCRFD says the same face of every image, so that what
comes after it has work to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mining.extractors.arcface import five_points
from mining.extractors.scrfd import ANCHORS, STRIDES, WIDTHS, anchor_centres
from tests.mining.extractors.insight_models import SCORES, SHIFTS, SIDES, Graph

DETECT = 640  # pixels, the extractor's default
QUIET = 1e-9  # what is left of random outputs beside the face that is told
NEAR = 1.5  # strides from the face's middle within which anchors fire: nine places, as on real ones
SCRFD_GMAC = (12.0, 15.0)  # 9.98 at 640 x 480 (arXiv:2105.04714, table 4), so 13.3 at 640 x 640
ARCFACE_GMAC = (6.0, 6.6)  # ResNet-50 for crops of 112 pixels: 6.3
CLASSIFIER_GMAC = (0.55, 0.58)  # 0.569 (arXiv:1704.04861, table 4)


class Map(NamedTuple):
    """Features in a graph."""

    name: str
    width: int  # channels
    edge: int  # pixels


class Network(Graph):
    """A graph of convolutions that counts its multiplications, per image."""

    def __init__(self, name: str, edge: int, seed: int = 0):
        super().__init__()
        self.macs = 0
        self.input = Map(name, 3, edge)
        self._rng = np.random.default_rng(seed)

    def conv(
        self, x: Map, width: int, kernel: int = 3, stride: int = 1, groups: int = 1, relu=True
    ) -> Map:
        """A convolution with its bias, by default with a ReLU."""
        fan, edge = x.width // groups * kernel**2, -(-x.edge // stride)
        weights = self._rng.standard_normal((width, x.width // groups, kernel, kernel), np.float32)
        self.macs += width * fan * edge**2
        name = self.add(
            "Conv",
            x.name,
            self.constant(weights * np.sqrt(2 / fan)),
            self.constant(np.zeros(width)),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return Map(self.add("Relu", name) if relu else name, width, edge)

    def residual(self, x: Map, width: int, stride: int, last: bool) -> Map:
        """Two 3 x 3 convolutions around which the features are handed on.

        Args:
            last: the second one strides, and not the first.
        """
        y = self.conv(x, width, stride=1 if last else stride)
        y = self.conv(y, width, stride=stride if last else 1, relu=False)
        if stride > 1 or x.width != width:
            x = self.conv(x, width, 1, stride, relu=False)
        return Map(self.add("Relu", self.add("Add", x.name, y.name)), width, y.edge)

    def dense(self, flat: str, inputs: int, outputs: int, name: str) -> None:
        """(N, inputs) -> (N, outputs), an output of the graph."""
        weights = self._rng.standard_normal((inputs, outputs), np.float32) / np.sqrt(inputs)
        self.macs += inputs * outputs
        self.add("MatMul", flat, self.constant(weights), output=name)


def scrfd(face: NDArray[np.float64]) -> tuple[Any, float]:
    """Signature and cost of det_10g.onnx at 640 x 640; finds one face, in the same place always.

    Args:
        face: (68, 2) its landmarks, fractions of the image.

    Returns:
        the model, and its 10^9 multiplications for an image.
    """
    g = Network("input.1", DETECT)
    x = g.conv(g.conv(g.conv(g.input, 28, stride=2), 28), 56)
    pooled = g.add("MaxPool", x.name, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x, levels = Map(pooled, 56, x.edge // 2), []
    for stage, (width, blocks) in enumerate(((56, 3), (88, 4), (88, 2), (224, 3))):
        for block in range(blocks):
            x = g.residual(x, width, 2 if stage and not block else 1, last=False)
        levels += [x] if stage else []
    outputs: dict[str, list] = {}
    for level, features in enumerate(levels):
        neck = g.conv(g.conv(features, 56, 1, relu=False), 56)
        head = g.conv(g.conv(g.conv(neck, 80), 80), 80)
        told = said(face, STRIDES[level])
        for names, width, value in zip((SCORES, SIDES, SHIFTS), WIDTHS, told, strict=True):
            raw = g.conv(head, ANCHORS * width, relu=False)
            turned = g.add("Transpose", raw.name, perm=[0, 2, 3, 1])
            rows = g.add("Reshape", turned, g.ints(-1, width))
            quiet = g.add("Mul", rows, g.constant(QUIET))
            g.add("Add", quiet, g.constant(value), output=names[level])
            outputs[names[level]] = [None, width]
    ordered = {name: outputs[name] for name in (*SCORES, *SIDES, *SHIFTS)}
    return g.model({"input.1": [1, 3, DETECT, DETECT]}, ordered), g.macs / 1e9


def said(face: NDArray[np.float64], stride: int) -> list[NDArray[np.float64]]:
    """(A, 1), (A, 4), (A, 10) of one stride: the face at the anchors next to its middle.

    Only the largest stride speaks of it.
    """
    centres = anchor_centres(DETECT, stride)
    low, high = face.min(axis=0) * DETECT, face.max(axis=0) * DETECT
    points = five_points("stand-in", face[None])[0] * DETECT
    near = np.abs(centres - (low + high) / 2).max(axis=1) <= NEAR * stride
    scores = np.where(near & (stride == STRIDES[-1]), 0.8, 0.0)
    sides = np.column_stack([centres - low, high - centres]) / stride
    shifts = (points - centres[:, None]).reshape(len(centres), -1) / stride
    return [scores[:, None], sides, shifts]


def arcface() -> tuple[Any, float]:
    """Signature and cost of w600k_r50.onnx: ResNet-50 of basic blocks, 112 pixels, 512 numbers."""
    g = Network("input.1", 112)
    x = g.conv(g.input, 64)
    for width, blocks in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for block in range(blocks):
            x = g.residual(x, width, 1 if block else 2, last=True)
    g.dense(g.add("Flatten", x.name, axis=1), x.width * x.edge**2, 512, "683")
    return g.model({"input.1": ["None", 3, 112, 112]}, {"683": [None, 512]}), g.macs / 1e9


def mobilenet(
    edge: int, times: float, outputs: int, name: str = "pixels", result: str = "logits"
) -> tuple[Any, float]:
    """MobileNet: Howard et al. (2017), arXiv:1704.04861, table 1.

    Args:
        edge: pixels of an image.
        times: the widths over those of the paper's largest.
    """
    g = Network(name, edge)
    x = g.conv(g.input, int(32 * times), stride=2)
    steps = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for width, stride in [*steps, (1024, 2), (1024, 1)]:
        x = g.conv(x, x.width, stride=stride, groups=x.width)
        x = g.conv(x, int(width * times), 1)
    mean = g.add("ReduceMean", x.name, axes=[2, 3], keepdims=0)
    g.dense(mean, x.width, outputs, result)
    return g.model({name: ["N", 3, edge, edge]}, {result: [None, outputs]}), g.macs / 1e9


def insightface_folder(folder: Path, face: NDArray[np.float64]) -> Path:
    """The files of buffalo_l that are read by default."""
    folder.mkdir()
    for file, (model, gmac), wanted in (
        ("det_10g", scrfd(face), SCRFD_GMAC),
        ("w600k_r50", arcface(), ARCFACE_GMAC),
        ("genderage", mobilenet(96, 0.25, 3, "data", "fc1"), (0.006, 0.01)),
    ):
        save(folder / f"{file}.onnx", model, gmac, wanted)
    return folder


def classifier(folder: Path, crop: str) -> Path:
    """The description of a classifier of 40 attributes at 224 pixels, as CelebA has them."""
    folder.mkdir()
    save(folder / "classifier.onnx", *mobilenet(224, 1.0, 40), CLASSIFIER_GMAC)
    lines = [
        "name: classifier",
        "model: classifier.onnx",
        "input: {size: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
        f"crop: {crop}",
        f"outputs: [{{activation: sigmoid, columns: [{', '.join(f'a{k}' for k in range(40))}]}}]",
    ]
    (folder / "classifier.yaml").write_text("\n".join(lines))
    return folder / "classifier.yaml"


def save(path: Path, model: Any, gmac: float, wanted: tuple[float, float]) -> None:
    """Write a model that costs what the real one does.

    Raises:
        ValueError: it does not.
    """
    if not wanted[0] <= gmac <= wanted[1]:
        raise ValueError(f"{path.name} costs {gmac:.3g} GMAC; expected {wanted[0]} to {wanted[1]}.")
    path.write_bytes(model.SerializeToString())


def clip_folder(folder: Path) -> Path:
    """CLIP ViT-B/32 with a small text tower, which no image passes through; letters as words."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz."
    words = [*letters, *(f"{each}</w>" for each in letters), "<|startoftext|>", "<|endoftext|>"]
    last = len(words) - 1
    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "vocab_size": len(words), "max_position_embeddings": 77}
    text |= {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    vision |= {"num_attention_heads": 12, "image_size": 224, "patch_size": 32}
    towers = {"text_config": text, "vision_config": vision, "projection_dim": 512}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = CLIPModel(CLIPConfig(**towers)).half().state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


WEIGHTS = "model.safetensors"


def deca_weights(path: Path) -> Path:
    """DECA's encoder: ResNet-50 and its two layers."""
    import torch
    from safetensors.torch import save_file

    from mining.extractors.deca_weights import OUTPUTS
    from mining.extractors.resnet50 import Regressor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(Regressor(OUTPUTS).state_dict(), path)
    return path
