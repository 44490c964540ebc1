"""A generator of planted faces that a 3-D shape model explains, with truth, and fast.

Its "images" carry 68 landmarks of the head's shape model, posed and seen by its camera, and four
numbers of identity, as 16-bit numbers in their pixels, which the extractor reads back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import NO_FACE, OK, Column, Measurement, check_images
from mining.generators.base import TrueFaces, Truth
from mining.generators.head.camera import pose_matrix
from mining.shape3d.camera import Pose, project
from mining.shape3d.readers.head import read_head

DIM, EDGE = 24, 32
ANGLES = {"yaw": 10.0, "pitch": 6.0, "roll": 5.0}  # degrees per unit of the latent
FACES = ("smile", "mouth_open", "eye_closed", "brow_raise", "frown", "pucker")
PEOPLE = 4
NAMES = (*ANGLES, *FACES, *(f"person_{k}" for k in range(PEOPLE)))
MOVING = len(ANGLES) + len(FACES)
UNITS = np.array([*ANGLES.values(), *[0.7] * len(FACES), *[1.0] * PEOPLE])
SELF = "tests.jobs.puppets"


class PuppetGenerator:
    """A face of the head's shape model; 13 directions of W are read, in two rows of W+."""

    name, c_dim, resolution = "puppets", 0, EDGE
    z_dim = w_dim = DIM
    num_ws, layer_names = 2, ("motion", "identity")
    spaces, licence = ("z", "w", "w+"), "Apache-2.0"

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._seed = seed
        self._rows = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0][: len(NAMES)]
        self._model = read_head().landmarks(PEOPLE, len(FACES))

    def fingerprint(self) -> str:
        return hashlib.sha256(f"puppets {self._seed}".encode()).hexdigest()

    def mean_w(self) -> NDArray[np.float32]:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        return np.float32(psi) * z

    def broadcast(self, w) -> NDArray[np.float32]:
        return np.repeat(w[:, None], 2, axis=1)

    def truth(self) -> Truth:
        layers = (0,) * MOVING + (1,) * PEOPLE
        units = ("degrees",) * 3 + ("1",) * (len(NAMES) - 3)
        return Truth(NAMES, units, layers, self._rows.astype(np.float32))

    def parameters(self, w_plus) -> NDArray[np.float64]:
        """(N, 13) in their units."""
        rows = np.asarray(w_plus, np.float64)
        parts = [rows[:, 0] @ self._rows[:MOVING].T, rows[:, 1] @ self._rows[MOVING:].T]
        return np.concatenate(parts, axis=1) * UNITS

    def animated(self, w_plus, motion) -> NDArray[np.float32]:
        own = self._rows[:MOVING]
        gap = np.asarray(motion, np.float64) - w_plus
        return (w_plus + gap @ own.T @ own).astype(np.float32)

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        return self.synthesize_with_truth(w_plus)[0]

    def synthesize_with_truth(self, w_plus) -> tuple[NDArray[np.uint8], TrueFaces]:
        values = self.parameters(w_plus)
        angles, faces, people = values[:, :3], values[:, 3:MOVING], values[:, MOVING:]
        shapes = self._model.mean + np.tensordot(people, self._model.identity, 1)
        shapes = shapes + np.tensordot(faces, self._model.expression, 1)
        turns = np.stack([pose_matrix(*row) for row in angles])
        count = len(values)
        pose = Pose(turns, np.full(count, 0.0032), np.full((count, 2), 0.5))
        points = np.clip(project(shapes, pose, 4.26), 0, 1)
        told = np.concatenate([points.reshape(count, -1), np.clip(people / 16 + 0.5, 0, 1)], axis=1)
        words = np.round(told * 65535).astype(">u2")
        flat = np.zeros((count, EDGE * EDGE * 3), np.uint8)
        flat[:, : 2 * told.shape[1]] = np.frombuffer(words.tobytes(), np.uint8).reshape(count, -1)
        images = flat.reshape(-1, EDGE, EDGE, 3)
        solid = np.einsum("nab,nlb->nla", turns, shapes)
        return images, TrueFaces(*(a.astype(np.float32) for a in (values, points, solid)))


class PuppetExtractor:
    """Reads the landmarks back, and the numbers of identity as a descriptor."""

    name, needs, licence = "puppet", (), "Apache-2.0"
    columns = {
        "landmarks": Column((68, 2), "fraction of the image", "the 68 points"),
        "descriptor": Column((PEOPLE,), "1", "stands for a face descriptor"),
    }

    def __init__(self, blind_every: int = 0):
        self._blind = blind_every  # every so many images, judged by their content, have no face

    def fingerprint(self) -> str:
        return hashlib.sha256(f"puppet {self._blind}".encode()).hexdigest()

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping) -> Measurement:
        check_images(self.name, images)
        count = 68 * 2 + PEOPLE
        data = np.ascontiguousarray(images.reshape(len(images), -1)[:, : 2 * count])
        told = np.frombuffer(data.tobytes(), ">u2").reshape(-1, count) / 65535
        status = [self._status(row) for row in data]
        values = {
            "landmarks": told[:, : 68 * 2].reshape(-1, 68, 2).astype(np.float32),
            "descriptor": ((told[:, 68 * 2 :] - 0.5) * 16).astype(np.float32),
        }
        blind = np.array([each != OK for each in status], bool)
        for value in values.values():
            value[blind] = np.nan
        return Measurement(tuple(status), values)

    def _status(self, row: NDArray[np.uint8]) -> str:
        return NO_FACE if self._blind and int(row.sum()) % self._blind == 0 else OK
