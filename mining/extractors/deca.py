"""DECA's coarse encoder: a face's FLAME shape, expression, turn of the head and of the jaw.

Source: Feng et al. (2021), Learning an Animatable Detailed 3D Face Model from In-the-Wild Images,
doi:10.1145/3450626.3459936; weights: https://github.com/yfeng95/DECA.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    FAILED,
    NO_POSE,
    NOT_MEASURED,
    OK,
    Column,
    Measurement,
    check_images,
)
from mining.extractors.crops import warped
from mining.extractors.deca_weights import CODES, load_encoder
from mining.extractors.geometry import LANDMARKS, POSE, euler_angles
from mining.extractors.models import find_model, licences
from schemas.errors import InputError

VERSION = "2"
LICENCE = "DECA: Max Planck Society, non-commercial scientific research only"
SIZE = 224  # pixels of a crop
ROUND_LANDMARKS = 1.1  # DECA's square around 68 landmarks over their mean extent
BELOW = 0.12  # extents by which DECA's square lies below the middle of a detector's box
AROUND = 8  # pixels beside the square that sampling may read
LEAST = 2.0  # pixels: a smaller face is none
Array = NDArray[np.float64]


class Deca:
    """Encodes each face as FLAME codes; coefficients are in standard deviations of FLAME.

    Angles are those of FLAME's head in the crop's straight view, signs as in geometry.POSE; FLAME's
    zero is its template's, which looks ahead. Bits differ between devices; on a CPU each crop runs
    alone, so batches change nothing, on CUDA batches of another size may differ in the last bits.

    Args:
        weights: deca_model.tar as DECA publishes it, or its tensors as safetensors.
        source: the extractor whose landmarks (or box) say where the face is.
        crop: "landmarks", as DECA crops by 68 points, or "box", as by a detector's box.
        scale: edge of the crop over the face's; DECA uses 1.25.
        device: "auto", "cpu", "cuda" or "cuda:1".
        batch: crops that run together on CUDA.
        sha256: that the weights' file must have.
    """

    name = "deca"

    def __init__(
        self,
        weights: str | Path,
        source: str = "dlib",
        crop: Literal["landmarks", "box"] = "landmarks",
        scale: float = 1.25,
        device: str = "auto",
        batch: int = 32,
        sha256: str | None = None,
    ):
        check_settings(crop, scale, batch)
        who = f"extractor {self.name!r}"
        self._model = find_model(who, weights, sha256=sha256, licence=LICENCE)
        self.models = (self._model,)
        self.licence = licences(self.models)
        self.needs = (source,)
        self.reads = {source: LANDMARKS if crop == "landmarks" else ("box",)}
        from mining.generators.devices import device_model, pick_device

        self._device = pick_device(device)
        self._kind = device_model(self._device)
        self._crop, self._scale = crop, float(scale)
        self._batch = 1 if self._device.type == "cpu" else batch
        self._network = load_encoder(who, self._model).to(self._device)
        self.columns = {
            "shape": Column((100,), "standard deviations", "FLAME's first identity coefficients"),
            "expression": Column(
                (50,), "standard deviations", "FLAME's first expression coefficients"
            ),
            **{name: Column((), "degrees", text) for name, text in POSE.items()},
            "jaw": Column((3,), "degrees", "the jaw's turn: axis times angle, x right, y up"),
            "jaw_open": Column((), "degrees", "the jaw's turn about x; positive opens the mouth"),
            "camera": Column((3,), "1", "scale and shift of the head in the crop of edge 2, y up"),
        }

    fingerprint_tells_all = True

    def fingerprint(self) -> str:
        """SHA-256 over the code version, torch's, the settings, the device's kind, the weights."""
        import torch

        settings = (self.needs, self._crop, self._scale, self._batch, self._kind)
        parts = [VERSION, str(torch.__version__), repr(settings), self._model.sha256]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB. Rows without a face upstream are "not_measured"."""
        check_images(self.name, images)
        source = earlier[self.needs[0]]
        measured = source.measured()
        status = [OK if found else NOT_MEASURED for found in measured]
        values = {
            name: np.full((len(images), *column.shape), np.nan, np.float32)
            for name, column in self.columns.items()
        }
        reasons: dict[int, str] = {}
        rows, crops = [], []
        for row in np.flatnonzero(measured):
            square = self._square(source, int(row), images.shape[1:3])
            if square is None:
                status[row] = NO_POSE
                continue
            rows.append(row)
            crops.append(cropped(images[row], *square))
        for start in range(0, len(rows), self._batch):
            chosen = rows[start : start + self._batch]
            codes = self._encode(np.stack(crops[start : start + self._batch]))
            for row, code in zip(chosen, codes, strict=True):
                if not np.isfinite(code).all():
                    status[row], reasons[int(row)] = FAILED, "the encoder's output is not finite"
                    continue
                for name, value in columns_of(code).items():
                    values[name][row] = value
        return Measurement(tuple(status), values, reasons)

    def _square(
        self, source: Measurement, row: int, shape: tuple[int, ...]
    ) -> tuple[Array, float] | None:
        """Middle and edge of one face's crop in pixels; None where there is no face to crop."""
        height, width = shape
        if self._crop == "landmarks":
            found = [source.values[name] for name in LANDMARKS if name in source.values]
            points = np.asarray(found[0][row] if found else [], np.float64)
            if points.shape != (68, 2):
                raise InputError(
                    f"{self.name}: landmarks {points.shape} of {self.needs[0]!r} came; expected "
                    "(68, 2). Take another source, or crop: box."
                )
            points = points * [width, height] - 0.5  # whole numbers at the middles of pixels
            corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
        else:
            box = np.asarray(source.values["box"][row], np.float64)
            corners = box * [width, height, width, height] - 0.5
        return square(corners, self._crop, self._scale)

    def _encode(self, crops: NDArray[np.uint8]) -> Array:
        """(M, 224, 224, 3) -> (M, 236), in float64."""
        import torch

        from mining.generators.devices import arithmetic

        with torch.inference_mode(), arithmetic("float32"):
            pixels = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).contiguous()
            return self._network(pixels.float() / 255).cpu().double().numpy()


def square(corners: Array, crop: str, scale: float) -> tuple[Array, float] | None:
    """DECA's square around a face: its middle and its edge, whole pixels.

    With e the mean of width and height: around landmarks, the edge is 1.1 e s about their middle;
    around a box, e s about a point 0.12 e below it. Source: `bbox2point` in DECA's
    decalib/datasets/datasets.py.

    Args:
        corners: left, top, right, bottom in pixels.
        scale: s.
    """
    extent = float(corners[2:].sum() - corners[:2].sum()) / 2
    if not np.isfinite(corners).all() or not extent >= LEAST:
        return None
    middle = (corners[:2] + corners[2:]) / 2
    if crop == "landmarks":
        return middle, float(int(ROUND_LANDMARKS * extent * scale))
    return middle + [0.0, BELOW * extent], float(int(extent * scale))


def cropped(image: NDArray[np.uint8], middle: Array, edge: float) -> NDArray[np.uint8]:
    """(224, 224, 3): the square, its corners on the middles of the crop's outer pixels.

    A face of more than 448 pixels is averaged down before it is sampled, which DECA leaves out.
    """
    first = np.maximum(np.floor(middle - edge / 2) - AROUND, 0)
    last = np.minimum(np.ceil(middle + edge / 2) + AROUND, image.shape[1::-1])
    if (last <= first).any():
        return np.zeros((SIZE, SIZE, 3), np.uint8)
    (left, top), (right, bottom) = first.astype(int), last.astype(int)
    scale = (SIZE - 1) / edge
    matrix = np.column_stack([scale * np.eye(2), -scale * (middle - first - edge / 2)])
    return warped(image[top:bottom, left:right], matrix, (SIZE, SIZE))


def columns_of(code: Array) -> dict[str, Any]:
    """One face's 236 outputs as columns."""
    ends = np.cumsum(list(CODES.values()))
    part = dict(zip(CODES, np.split(code, ends[:-1]), strict=True))
    jaw = np.degrees(part["pose"][3:])
    return {
        "shape": part["shape"],
        "expression": part["expression"],
        **dict(zip(POSE, euler_angles(rotation(part["pose"][:3])), strict=True)),
        "jaw": jaw,
        "jaw_open": jaw[0],
        "camera": part["camera"],
    }


def rotation(turn: Array) -> Array:
    """(3,) axis times angle in radians -> (3, 3): R = I + sin(a) K + (1 - cos(a)) K K.

    Source: Rodrigues' formula, as FLAME uses it.
    """
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = turn / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def check_settings(crop: str, scale: float, batch: int) -> None:
    """Raise InputError unless they are in range."""
    if crop not in ("landmarks", "box"):
        raise InputError(f"deca: crop {crop!r} came; expected landmarks or box.")
    if not 0.5 <= scale <= 4:
        raise InputError(f"deca: scale {scale!r} came; expected 0.5 to 4 (DECA uses 1.25).")
    if type(batch) is not int or not 1 <= batch <= 1024:
        raise InputError(f"deca: batch {batch!r} came; expected 1 to 1024 crops.")
