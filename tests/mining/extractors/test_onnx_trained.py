"""A network that is trained here finds what the heads of the generator wear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import torch

from mining.extractors.base import (
    OK,
    Measurement,
)
from mining.extractors.crops import similarity, warped
from mining.extractors.onnx_attributes import OnnxAttributes
from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from tests.mining.extractors.onnx_models import model, node, written

pytestmark = pytest.mark.needs("onnx")

WEARS = ("glasses", "beard")
# a true parameter from .. to; the head draws glasses from 0.3 on, whole from 0.5 on
PRESENT = {"glasses": (0.6, 1.0), "beard": (0.6, 1.0)}
ABSENT = {"glasses": (0.0, 0.2), "beard": (0.0, 0.1)}
EYES_NOSE_MOUTH_CHIN = [[*range(36, 42)], [*range(42, 48)], 30, 48, 54, 8]
PLACES = [[9.5, 8.5], [21.5, 8.5], [15.5, 15.0], [11.5, 20.5], [19.5, 20.5], [15.5, 28.5]]


@dataclass(frozen=True)
class Heads:
    """Heads of 64 pixels, whether each wears glasses and a beard, and its true landmarks."""

    images: np.ndarray
    labels: np.ndarray  # (N, 2)
    landmarks: np.ndarray  # (N, 68, 2)

    def before(self, rows: slice = slice(None)) -> dict[str, Measurement]:
        """What an extractor of landmarks would say."""
        points = self.landmarks[rows]
        return {"dlib": Measurement((OK,) * len(points), {"landmarks": points})}

    def aligned(self) -> np.ndarray:
        """(N, 3, 32, 32) in -1..1: what the network is trained on."""
        groups = [np.ravel(group) for group in EYES_NOSE_MOUTH_CHIN]
        landmarks = self.landmarks.astype(np.float64)
        points = np.stack([landmarks[:, group].mean(axis=1) for group in groups], axis=1)
        matrices = similarity(points * 64 - 0.5, np.array(PLACES))
        pairs = zip(self.images, matrices, strict=True)
        crops = np.stack([warped(image, matrix, (32, 32)) for image, matrix in pairs])
        return crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def drawn(count: int, seed: int) -> Heads:
    head, rng = HeadGenerator(resolution=64, supersampling=1.0), np.random.default_rng(seed)
    w_plus = head.broadcast(head.map(head.sample_z(count, rng), psi=0.7))
    labels = rng.random((count, 2)) < 0.5
    for row, worn in enumerate(labels):
        for name, present in zip(WEARS, worn, strict=True):
            value = rng.uniform(*(PRESENT if present else ABSENT)[name])
            w_plus[row : row + 1] = head.w_plus_with(w_plus[row : row + 1], name, value)
    images, truth = head.synthesize_with_truth(w_plus)
    for k, name in enumerate(WEARS):
        values = truth.parameters[:, table.NAMES.index(name)]
        assert (values[labels[:, k]] > PRESENT[name][0] - 1e-3).all()
        assert (values[~labels[:, k]] < ABSENT[name][1] + 1e-3).all()
    return Heads(images, labels, truth.landmarks_2d)


def trained(heads: Heads) -> torch.nn.Sequential:
    """A small convolutional network; some 5 s on one core."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(16, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(32 * 8 * 8, 2),
        )
        pixels, wanted = torch.tensor(heads.aligned()), torch.tensor(heads.labels).float()
        pixels, wanted = torch.cat([pixels, pixels.flip(3)]), wanted.repeat(2, 1)
        epochs, batch = 14, 64
        optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.05)
        steps = epochs * -(-len(pixels) // batch)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(pixels)).split(batch):
                made = net(pixels[rows])
                loss = torch.nn.functional.binary_cross_entropy_with_logits(made, wanted[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
    return net.eval()


def exported(net: torch.nn.Sequential) -> bytes:
    """The same network as ONNX."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    nodes = [
        node("Conv", ["pixels", "0.weight", "0.bias"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["c", "3.weight", "3.bias"], ["d"], pads=[1] * 4),
        node("Relu", ["d"], ["e"]),
        node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["f"], ["g"]),
        node("Gemm", ["g", "8.weight", "8.bias"], ["logits"], transB=1),
    ]
    return model(nodes, ["N", 3, 32, 32], {"logits": ["N", 2]}, weights)


@pytest.fixture(scope="module")
def heads() -> Heads:
    return drawn(200, seed=2)


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    return trained(drawn(500, seed=1))


@pytest.fixture
def wears(tmp_path, network) -> str:
    """The description of the trained network."""
    (tmp_path / "wears.onnx").write_bytes(exported(network))
    crop = {"kind": "points", "source": "dlib", "points": EYES_NOSE_MOUTH_CHIN, "template": PLACES}
    return written(
        tmp_path,
        name="wears",
        licence="CC0-1.0",
        model="wears.onnx",
        input={"size": 32, "range": [-1, 1]},
        crop=crop,
        outputs=[{"activation": "sigmoid", "columns": list(WEARS)}],
    )


def test_a_trained_network_finds_glasses_and_beards_of_new_heads(wears, heads):
    found = OnnxAttributes(wears)(heads.images, heads.before())
    assert set(found.status) == {OK}
    for k, name in enumerate(WEARS):
        right = (found.values[name] > 0.5) == heads.labels[:, k]
        assert right.mean() >= 0.95, name


def test_it_computes_what_torch_does(wears, heads, network):
    with torch.no_grad():
        wanted = torch.sigmoid(network(torch.tensor(heads.aligned())).double()).numpy()
    found = OnnxAttributes(wears)(heads.images, heads.before()).values
    assert np.stack([found[name] for name in WEARS], axis=1) == pytest.approx(wanted, abs=2e-5)


def test_the_same_batches_give_the_same_bytes_and_others_nearly(wears, heads):
    extractor, rows = OnnxAttributes(wears), [slice(k, k + 1) for k in range(24)]
    whole = extractor(heads.images[:24], heads.before(slice(24))).values
    again = OnnxAttributes(wears)(heads.images[:24], heads.before(slice(24))).values
    alone = [extractor(heads.images[row], heads.before(row)).values for row in rows]
    for name in WEARS:
        assert (whole[name] == again[name]).all()
        single = np.concatenate([each[name] for each in alone])
        assert single == pytest.approx(whole[name], abs=1e-5)
