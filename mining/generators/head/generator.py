"""The head behind the generator protocol, with its truth."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats, TrueFaces, Truth
from mining.generators.head import parameters as table
from mining.generators.head.mapping import DIM, build_mapping
from mining.generators.head.renderer import Rendered, render
from schemas.errors import InputError

MOTION = ("pose", "expression")  # rows of W+ whose parameters change within a sequence
VERSION = "head-1"  # raise it whenever the same settings would give other bytes


class HeadGenerator:
    """A procedural head whose parameters have exactly known directions in W.

    One image is rendered at a time and nothing random is drawn after construction: an image
    depends on its W+ and the settings alone.

    Args:
        resolution: pixels, 64 to 1024.
        seed: of the mapping z -> w and of the directions.
        entanglement: 0 to 0.9, how strongly z -> w correlates related parameters, such as age
            with grey hair; the true directions stay orthonormal.
        supersampling: 1 to 3, samples per pixel along each axis.

    Raises:
        InputError: a setting lies outside its range.
    """

    name = "head"
    z_dim = DIM
    w_dim = DIM
    num_ws = len(table.LAYERS)
    c_dim = 0
    spaces = ("z", "w", "w+")
    layer_names = table.LAYERS
    licence = "Apache-2.0 (part of LatentLode)"

    def __init__(
        self,
        resolution: int = 256,
        seed: int = 0,
        entanglement: float = 0.3,
        supersampling: float = 1.25,
    ) -> None:
        _check_range("resolution", resolution, 64, 1024)
        _check_range("seed", seed, 0, 2**63 - 1)
        _check_range("entanglement", entanglement, 0, 0.9)
        _check_range("supersampling", supersampling, 1, 3)
        self.resolution = int(resolution)
        self.seed = int(seed)
        self.entanglement = float(entanglement)
        self.supersampling = float(supersampling)
        self._mapping = build_mapping(self.seed, self.entanglement)

    def fingerprint(self) -> str:
        """SHA-256 over the version of the code and every setting."""
        settings = {
            "version": VERSION,
            "resolution": self.resolution,
            "seed": self.seed,
            "entanglement": self.entanglement,
            "supersampling": self.supersampling,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def mean_w(self) -> Floats:
        """(512,) zeros: the mapping is centred by construction."""
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> Floats:
        """(count, 512) standard normal."""
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z: Floats, psi: float = 1.0, condition: Floats | None = None) -> Floats:
        """(N, 512) -> (N, 512); psi below 1 pulls towards the mean face."""
        _check_shape("z", z, (DIM,))
        _check_condition(condition)
        return self._mapping.map(z) * np.float32(psi)

    def broadcast(self, w: Floats) -> Floats:
        """(N, 512) -> (N, num_ws, 512)."""
        _check_shape("w", w, (DIM,))
        return np.repeat(np.asarray(w, np.float32)[:, None], self.num_ws, axis=1)

    def synthesize(self, w_plus: Floats, condition: Floats | None = None) -> NDArray[np.uint8]:
        """(N, num_ws, 512) -> (N, resolution, resolution, 3) RGB."""
        _check_condition(condition)
        return self.synthesize_with_truth(w_plus)[0]

    def truth(self) -> Truth:
        """The parameters and their orthonormal directions in W."""
        directions = self._mapping.read_out.astype(np.float32)
        return Truth(table.NAMES, table.UNITS, table.ROWS, directions)

    def parameters(self, w_plus: Floats) -> Floats:
        """(N, num_ws, 512) -> (N, P) values in the units of `truth`."""
        _check_shape("w_plus", w_plus, (self.num_ws, DIM))
        return table.squash(self._mapping.logits(w_plus)).astype(np.float32)

    def synthesize_with_truth(self, w_plus: Floats) -> tuple[NDArray[np.uint8], TrueFaces]:
        """As `synthesize`, with parameters and landmarks of each image."""
        values = self.parameters(w_plus)
        images = np.empty((len(values), self.resolution, self.resolution, 3), np.uint8)
        flat = np.empty((len(values), 68, 2), np.float32)
        solid = np.empty((len(values), 68, 3), np.float32)
        for n, row in enumerate(values):
            face = self._render(row)
            images[n], flat[n], solid[n] = face.image, face.landmarks_2d, face.landmarks_3d
        return images, TrueFaces(values, flat, solid)

    def _render(self, values: Floats) -> Rendered:
        return render(table.as_dict(values), self.resolution, self.supersampling)

    def w_plus_with(self, w_plus: Floats, name: str, value: float) -> Floats:
        """A copy of W+ in which parameter `name` has `value` (in its unit) in every image.

        The row that the parameter is read from moves along its true direction; nothing else does.

        Raises:
            InputError: no such parameter.
        """
        _check_shape("w_plus", w_plus, (self.num_ws, DIM))
        if name not in table.NAMES:
            known = ", ".join(table.NAMES)
            raise InputError(f"head: no parameter {name!r}; expected one of {known}.")
        k = table.NAMES.index(name)
        now = self._mapping.logits(w_plus)[:, k]
        step = (table.unsquash(name, value) - now) * self._mapping.spread[k]
        moved = np.array(w_plus, np.float64)
        moved[:, table.ROWS[k]] += step[:, None] * self._mapping.read_out[k]
        return moved.astype(np.float32)

    def animated(self, w_plus: Floats, motion: Floats) -> Floats:
        """(N, num_ws, 512): the first W+ with every pose and expression parameter of the second.

        In each row of W+ the components along the true directions of those parameters are
        swapped, and nothing else moves.

        Raises:
            InputError: shapes disagree, or a number is not finite.
        """
        for what, rows in (("w_plus", w_plus), ("motion", motion)):
            _check_shape(what, rows, (self.num_ws, DIM))
        if len(w_plus) != len(motion):
            raise InputError(
                f"head: w_plus {np.shape(w_plus)} and motion {np.shape(motion)} do not pair up."
            )
        moving = [k for k, row in enumerate(table.ROWS) if table.LAYERS[row] in MOTION]
        return self._mapping.swapped(w_plus, motion, moving)


def _check_range(setting: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"head: {setting} {value} is outside {low}..{high}.")


def _check_shape(what: str, array: Floats, tail: tuple[int, ...]) -> None:
    shape = np.shape(array)
    if len(shape) != len(tail) + 1 or shape[1:] != tail:
        expected = ", ".join(("N", *map(str, tail)))
        raise InputError(f"head: {what} has shape {shape}; expected ({expected}).")
    if not np.isfinite(array).all():
        raise InputError(f"head: {what} holds NaN or infinity; expected finite numbers.")


def _check_condition(condition: Floats | None) -> None:
    if condition is not None:
        shape = np.shape(condition)
        raise InputError(f"head: a condition of shape {shape} came; expected none (c_dim is 0).")
