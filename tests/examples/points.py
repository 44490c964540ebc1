"""A generator of one's own in one file, and an extractor that goes with it.

Its "images" carry 68 landmarks as 16-bit numbers in their pixels, which the extractor reads
back: fast and exact, with a planted truth, for tests of everything around them. Name them in the
settings as `tests.examples.points:PointsGenerator` and `tests.examples.points:PointsExtractor`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import NO_FACE, OK, Column, Measurement, check_images

DIM, EDGE = 24, 32
MODES = ("yaw", "pitch", "smile", "mouth_open")


class PointsGenerator:
    """68 points of a turning, bending shape; W is 24 numbers, of which four are read."""

    name, c_dim, resolution = "points", 0, EDGE
    z_dim = w_dim = DIM
    num_ws, layer_names = 2, ("pose", "shape")
    spaces, licence = ("z", "w", "w+"), "Apache-2.0"

    def __init__(self, seed: int = 0, noise: float = 0.0):
        rng = np.random.default_rng(seed)
        self._settings = (seed, noise)
        self.truth_rows = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0][:4].astype(np.float32)
        self._shape = rng.standard_normal((68, 3)) * [0.16, 0.2, 0.1]
        self._bend = rng.standard_normal((2, 68, 3)) * 0.03

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(("points", self._settings)).encode()).hexdigest()

    def mean_w(self) -> NDArray[np.float32]:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        return np.float32(psi) * z

    def broadcast(self, w) -> NDArray[np.float32]:
        return np.repeat(w[:, None], 2, axis=1)

    def landmarks(self, w_plus) -> NDArray[np.float64]:
        """(N, 68, 2) in [0, 1]."""
        amounts = np.einsum("nrd,kd->nrk", w_plus.astype(np.float64), self.truth_rows)
        yaw, pitch = np.radians(15 * amounts[:, 0, :2]).T
        bent = self._shape + np.einsum("nk,kpc->npc", amounts[:, 1, 2:], self._bend)
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        x = cy[:, None] * bent[..., 0] + sy[:, None] * bent[..., 2]
        z = -sy[:, None] * bent[..., 0] + cy[:, None] * bent[..., 2]
        y = cp[:, None] * bent[..., 1] + sp[:, None] * z
        return np.clip(0.5 + 0.5 * np.stack([x, y], axis=-1), 0, 1)

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        words = np.round(self.landmarks(w_plus) * 65535).astype(">u2")
        flat = np.zeros((len(words), EDGE * EDGE * 3), np.uint8)
        flat[:, : 68 * 4] = np.frombuffer(words.tobytes(), np.uint8).reshape(len(words), -1)
        return flat.reshape(-1, EDGE, EDGE, 3)


class PointsExtractor:
    """Reads the landmarks back, and four attributes that are linear in them."""

    name, needs, licence = "points", (), "Apache-2.0"
    columns = {
        "landmarks": Column((68, 2), "fraction of the image", "the 68 points"),
        "descriptor": Column((4,), "1", "stands for a face descriptor"),
        **{name: Column((), "1", "a planted attribute") for name in MODES},
    }

    def __init__(self, blind_every: int = 0):
        self._blind = blind_every  # every so many images, judged by their content, have no face

    def fingerprint(self) -> str:
        return hashlib.sha256(f"points {self._blind}".encode()).hexdigest()

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping) -> Measurement:
        check_images(self.name, images)
        data = images.reshape(len(images), np.prod(images.shape[1:]))[:, : 68 * 4]
        points = np.frombuffer(np.ascontiguousarray(data).tobytes(), ">u2") / 65535
        points = points.reshape(-1, 68, 2).astype(np.float32)
        generator = PointsGenerator()
        centred = points - points.mean(axis=1, keepdims=True)
        amounts = centred.reshape(len(points), 136) @ _read_out(generator)
        status = [self._status(row) for row in data]
        blind = np.array([s != OK for s in status], bool)
        values: dict[str, NDArray] = {"landmarks": points, "descriptor": amounts.astype("f4")}
        values |= {name: amounts[:, k].astype("f4") for k, name in enumerate(MODES)}
        for value in values.values():
            value[blind] = np.nan
        return Measurement(tuple(status), values)

    def _status(self, row: NDArray[np.uint8]) -> str:
        return NO_FACE if self._blind and int(row.sum()) % self._blind == 0 else OK


def _read_out(generator: PointsGenerator) -> NDArray[np.float64]:
    """(136, 4): least squares from landmarks to the four amounts, on 400 seeded latents."""
    rng = np.random.default_rng(1)
    w = generator.sample_z(400, rng)
    points = generator.landmarks(generator.broadcast(w))
    points = (points - points.mean(axis=1, keepdims=True)).reshape(400, -1)
    return np.linalg.lstsq(points, w @ generator.truth_rows.T, rcond=None)[0]
