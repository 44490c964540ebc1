"""Heads of the embedded shape model, as landmarks in pixels: what learned methods learn from.

As `tests.examples.points`, with landmarks that a shape model can be fitted to, and with the motion
of one face given to another. Name them in the settings as `tests.examples.heads:HeadsGenerator`
and `tests.examples.heads:HeadsExtractor`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import Column, Measurement, check_images
from mining.shape3d.camera import Pose, project
from mining.shape3d.readers.head import read_head

DIM, EDGE = 20, 32
DEGREES = (12.0, 6.0, 5.0)  # standard deviations of yaw, pitch, roll
MOVING, STILL = 9, 3  # pose and six expressions; the first coefficients of identity
NAMES = ("yaw", "pitch", "roll", "smile", "mouth_open", "eye_closed", "brow_raise")


class HeadsGenerator:
    """W is 20 numbers: turned, nine move the face, three are whose it is, and eight do nothing."""

    name, c_dim, resolution = "heads", 0, EDGE
    z_dim = w_dim = DIM
    num_ws, layer_names = 2, ("one", "other")
    spaces, licence = ("z", "w", "w+"), "Apache-2.0"

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._seed = seed
        self.axes = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
        self._model = read_head().landmarks(STILL)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"heads {self._seed}".encode()).hexdigest()

    def mean_w(self) -> NDArray[np.float32]:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        return np.float32(psi) * z

    def broadcast(self, w) -> NDArray[np.float32]:
        return np.repeat(w[:, None], 2, axis=1)

    def animated(self, w_plus, motion) -> NDArray[np.float32]:
        moving = self.axes[:MOVING]
        return w_plus + (motion - w_plus) @ moving.T @ moving

    def landmarks(self, w_plus) -> NDArray[np.float64]:
        """(N, 68, 2) in fractions of the image."""
        from torch import from_numpy

        from mining.methods.shape_loss import rotations

        codes = w_plus[:, 0].astype(np.float64) @ self.axes.T
        moving, still = codes[:, :MOVING], codes[:, MOVING : MOVING + STILL]
        shapes = self._model.mean + np.tensordot(still, self._model.identity, 1)
        shapes = shapes + np.tensordot(moving[:, 3:], self._model.expression, 1)
        turned = rotations(from_numpy(moving[:, :3] * DEGREES)).numpy()
        count = len(codes)
        pose = Pose(turned, np.full(count, 0.003), np.full((count, 2), 0.5))
        return np.clip(project(shapes, pose, 4.26), 0, 1)

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        words = np.round(self.landmarks(w_plus) * 65535).astype(">u2")
        flat = np.zeros((len(words), EDGE * EDGE * 3), np.uint8)
        flat[:, : 68 * 4] = np.frombuffer(words.tobytes(), np.uint8).reshape(len(words), -1)
        return flat.reshape(-1, EDGE, EDGE, 3)


class HeadsExtractor:
    """Reads the landmarks back, and pose and expression that are linear in them."""

    name, needs, licence = "heads", (), "Apache-2.0"
    columns = {
        "landmarks": Column((68, 2), "fraction of the image", "the 68 points"),
        "descriptor": Column((4,), "1", "stands for a face descriptor"),
        **{name: Column((), "1", "of the planted codes, in spreads") for name in NAMES},
    }

    def __init__(self):
        generator, rng = HeadsGenerator(), np.random.default_rng(1)
        w = generator.sample_z(400, rng)
        points = generator.landmarks(generator.broadcast(w)).reshape(400, -1)
        self._mean = points.mean(axis=0)
        codes = w @ generator.axes.T
        self._read = np.linalg.lstsq(points - self._mean, codes, rcond=None)[0]

    def fingerprint(self) -> str:
        return hashlib.sha256(b"heads").hexdigest()

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping) -> Measurement:
        check_images(self.name, images)
        data = images.reshape(len(images), np.prod(images.shape[1:]))[:, : 68 * 4]
        points = np.frombuffer(np.ascontiguousarray(data).tobytes(), ">u2") / 65535
        codes = ((points.reshape(-1, 136) - self._mean) @ self._read).astype(np.float32)
        values: dict[str, NDArray] = {
            "landmarks": points.reshape(-1, 68, 2).astype(np.float32),
            "descriptor": codes[:, MOVING : MOVING + 4],
        }
        values |= {name: codes[:, k].copy() for k, name in enumerate(NAMES)}
        return Measurement(("ok",) * len(images), values)
