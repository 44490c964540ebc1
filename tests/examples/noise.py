"""A generator of images in which nobody finds a face, with style weights to read."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

DIM, LAYERS, EDGE = 16, 4, 64


class NoiseGenerator:
    """Noise that moves with W: each of four layers adds a texture of its own."""

    name, c_dim, resolution = "noise", 0, EDGE
    z_dim = w_dim = DIM
    num_ws, layer_names = LAYERS, ("a", "b", "c", "d")
    spaces, licence = ("z", "w", "w+"), "Apache-2.0"

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._seed = seed
        self._textures = 12 * rng.standard_normal((LAYERS * DIM, EDGE * EDGE * 3))
        # each layer answers to four numbers of its own, the first of them most
        self._styles = rng.standard_normal((LAYERS, 40, DIM)) * 0.01
        for layer in range(LAYERS):
            self._styles[layer, :, 4 * layer : 4 * layer + 4] *= 100 * np.array([4, 1, 1, 1])

    def fingerprint(self) -> str:
        return hashlib.sha256(f"noise {self._seed}".encode()).hexdigest()

    def mean_w(self) -> NDArray[np.float32]:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        spread = np.linspace(2, 0.5, DIM, dtype=np.float32)  # so that W has wide and narrow axes
        return np.float32(psi) * z * spread

    def broadcast(self, w) -> NDArray[np.float32]:
        return np.repeat(w[:, None], LAYERS, axis=1)

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        rows = w_plus.reshape(len(w_plus), -1).astype(np.float64)
        images = 128 + np.stack([row @ self._textures for row in rows])
        return np.clip(images, 0, 255).astype(np.uint8).reshape(-1, EDGE, EDGE, 3)

    def style_weights(self) -> dict[str, NDArray[np.float32]]:
        pairs = zip(self.layer_names, self._styles, strict=True)
        return {name: style.astype(np.float32) for name, style in pairs}

    def style_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.layer_names)}
