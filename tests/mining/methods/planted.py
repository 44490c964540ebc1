"""Made-up heads of which some landmarks bend: any number of landmarks, modes and rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.camera import image_points
from mining.methods.closed_form import best_mode
from mining.methods.refine import Factors
from mining.methods.shape_model import amplitudes

Array = NDArray[np.float64]

RIGID = 0.6  # share of the landmarks, the first ones, that do not bend


@dataclass(frozen=True)
class Head:
    """A bowl, the nose towards the viewer, and the ways in which it bends."""

    shape: Array  # (3, L), its centroid in the origin
    basis: Array  # (K, L) orthonormal rows, zero on the rigid landmarks
    modes: Array  # (K, 3) unit vectors

    @classmethod
    def made(cls, rng: np.random.Generator, landmarks: int, modes: int) -> Head:
        """A random one."""
        place = rng.normal(size=(2, landmarks))
        place /= np.maximum(1, np.linalg.norm(place, axis=0))
        shape = 0.2 * np.stack([*place, (place**2).sum(axis=0)])
        bending = landmarks - round(RIGID * landmarks)
        basis = np.zeros((modes, landmarks))
        basis[:, -bending:] = rng.normal(size=(modes, bending))
        basis -= basis.mean(axis=1, keepdims=True)
        ways = rng.normal(size=(modes, 3))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        centred = shape - shape.mean(axis=1, keepdims=True)
        return cls(centred, np.linalg.qr(basis.T)[0].T, ways)

    def codes(self, rng: np.random.Generator, rows: int, bend: float = 0.06) -> Array:
        """(rows, 8 + K) q. Every mode goes along with one of the angles, whose motion is what
        the top three singular vectors take in."""
        count = len(self.modes)
        q = np.zeros((rows, 8 + count))
        q[:, 0] = q[:, 2] = 1 + 0.05 * rng.normal(size=rows)
        q[:, 3:6] = rng.normal(size=(rows, 3)) * [0.2, 0.35, 0.15]
        goes_with = np.resize([4, 3, 4, 5], count)
        q[:, 6:-2] = bend * (rng.normal(size=(rows, count)) + 2 * q[:, goes_with])
        q[:, -2:] = 0.5 + 0.05 * rng.normal(size=(rows, 2))
        return q

    def landmarks(self, rng: np.random.Generator, q: Array, noise: float = 3e-4) -> Array:
        """(N, L, 2) R(q) in fractions of the image, with noise."""
        points = np.stack(image_points(q, self.shape, self.basis, self.modes), axis=2)
        return points + noise * rng.normal(size=points.shape)


def centred(landmarks: Array) -> Array:
    """(N, L, 2) -> (N, 2, L) about their centroids."""
    return (landmarks - landmarks.mean(axis=1, keepdims=True)).transpose(0, 2, 1)


def row_space(points: Array, modes: int) -> Array:
    """(3 + K, L) the first rows of V of (N, 2, L) centred landmarks X = U S V'."""
    flat = points.reshape(-1, points.shape[2])
    return np.linalg.eigh(flat.T @ flat)[1].T[::-1][: 3 + modes]


def unfolded(landmarks: Array, modes: int) -> tuple[Array, Factors, float]:
    """Equations (3) to (6): coordinates in those rows, M_0, B_0 and b_k, and what is outside."""
    points = centred(landmarks)
    inside, axes = points @ row_space(points, modes).T, np.eye(3 + modes)
    still = np.zeros((len(points), modes))
    factors = Factors(inside[:, :, :3], axes[:3], axes[3:], np.zeros((modes, 3)), still)
    return inside, factors, float((points**2).sum() - (inside**2).sum())


def closed_form(points: Array, factors: Factors) -> Factors:
    """The same with the best d_k and alpha for orthonormal b_k."""
    bent = (points - factors.cameras @ factors.shape) @ factors.basis.T
    modes = np.stack([best_mode(factors.cameras, y) for y in np.moveaxis(bent, 2, 0)])
    return replace(factors, modes=modes, alpha=amplitudes(factors.cameras, modes, bent))
