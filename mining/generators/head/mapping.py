"""z -> w -> logits: a mapping whose every parameter has an exact direction in W.

A latent z goes through a few layers of rotation, bias and leaky ReLU, as in StyleGAN's mapping
network (Karras et al. 2019, arXiv:1812.04948), and comes out centred but not isotropic. The rows of
the read-out A (P, 512) are orthonormal: logit k is A[k] . w / spread[k], so A[k] is the true
direction of parameter k. Inside the span of A the map is then corrected so that the logits have
unit variance and exactly the covariance L L^T that `entanglement` asks for.

Everything is elementwise arithmetic or a fixed-shape einsum per row: no BLAS, so the bytes depend
neither on the batch size nor on the number of threads. (One small solve at construction uses
LAPACK; its result is rounded to nine digits.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from mining.generators.head.parameters import NAMES, ROWS, entangling_matrix

DIM = 512
DEPTH = 4  # leaky ReLU layers
BLOCK = 64  # latents that go through the layers together
SAMPLES = 4096  # latents that the centre and the covariance are measured on

Doubles = NDArray[np.float64]


def hadamard(x: Doubles) -> Doubles:
    """(N, 512) times the orthonormal Walsh-Hadamard matrix, by butterflies."""
    rows = len(x)
    half = 1
    while half < DIM:
        pairs = x.reshape(rows, -1, 2, half)
        x = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    return x.reshape(rows, DIM) * DIM**-0.5


def orthonormal_rows(matrix: Doubles) -> Doubles:
    """Gram-Schmidt, twice, in a fixed order."""
    rows = matrix.copy()
    for k in range(len(rows)):
        for _ in range(2):
            along = np.einsum("pi,i->p", rows[:k], rows[k])
            rows[k] -= np.einsum("p,pi->i", along, rows[:k])
        rows[k] /= np.sqrt((rows[k] ** 2).sum())
    return rows


class Mapping:
    """The seeded map; read-only after it is built."""

    def __init__(self, seed: int, entanglement: float) -> None:
        rng = np.random.default_rng([seed, 0x4EAD])
        self._signs = rng.choice([-1.0, 1.0], (DEPTH + 1, 2, DIM))
        self._order = np.stack([rng.permutation(DIM) for _ in range(DEPTH + 1)])
        self._bias = 0.3 * rng.standard_normal((DEPTH, DIM))
        # A trained W is not isotropic: its axes here have standard deviations from 0.6 to 1.6.
        self._axes = np.exp(np.linspace(np.log(1.6), np.log(0.6), DIM))[rng.permutation(DIM)]
        self.read_out = orthonormal_rows(rng.standard_normal((len(NAMES), DIM)))  # A
        self.spread = np.exp(rng.uniform(np.log(0.8), np.log(1.25), len(NAMES)))
        self._centre = np.zeros(DIM)
        self._scale = np.ones(DIM)
        self._correct = np.eye(len(NAMES))
        self._measure(rng, entanglement)

    def _measure(self, rng: np.random.Generator, entanglement: float) -> None:
        """Fit the centre, the axes' scale and the correction inside the span of A."""
        layers = self._layers(rng.standard_normal((SAMPLES, DIM)))
        self._centre = layers.mean(0)
        self._scale = self._axes / layers.std(0)
        rough = self._turn((layers - self._centre) * self._scale)
        logits = np.einsum("ni,pi->np", rough, self.read_out)
        covariance = np.einsum("np,nq->pq", logits, logits) / len(logits)
        wanted = self.spread[:, None] * entangling_matrix(entanglement)
        # wanted . whitened: the logits become exactly L times uncorrelated unit numbers.
        correct = np.linalg.solve(np.linalg.cholesky(covariance).T, wanted.T).T
        self._correct = np.round(correct, 9)  # above what LAPACK builds and threads differ by

    def _rotate(self, x: Doubles, layer: int) -> Doubles:
        signs = self._signs[layer]
        return hadamard(hadamard(x * signs[0])[:, self._order[layer]] * signs[1])

    def _turn(self, x: Doubles) -> Doubles:
        return self._rotate(x, DEPTH)

    def _layers(self, z: Doubles) -> Doubles:
        """(N, 512) before centring, in blocks that fit the processor's cache."""
        return np.concatenate([self._block(z[i : i + BLOCK]) for i in range(0, len(z), BLOCK)])

    def _block(self, z: Doubles) -> Doubles:
        x = z / np.sqrt((z * z).mean(1, keepdims=True) + 1e-8)
        for layer in range(DEPTH):
            x = self._rotate(x, layer) + self._bias[layer]
            x = np.where(x > 0, x, 0.2 * x) * 1.4
        return x

    def map(self, z: Floats) -> Floats:
        """(N, 512) z to (N, 512) w, centred on zero."""
        result = np.empty((len(z), DIM), np.float32)
        for first in range(0, len(z), BLOCK):
            layers = self._block(np.asarray(z[first : first + BLOCK], np.float64))
            rough = self._turn((layers - self._centre) * self._scale)
            for row, w in enumerate(rough, first):
                logits = np.einsum("pi,i->p", self.read_out, w)
                moved = np.einsum("pq,q->p", self._correct, logits) - logits
                result[row] = w + np.einsum("p,pi->i", moved, self.read_out)
        return result

    def logits(self, w_plus: Floats) -> Doubles:
        """(N, rows, 512) W+ to (N, P): parameter k reads row ROWS[k]."""
        result = np.empty((len(w_plus), len(NAMES)))
        for n, rows in enumerate(np.asarray(w_plus, np.float64)):
            result[n] = np.einsum("pi,pi->p", self.read_out, rows[list(ROWS)])
        return result / self.spread

    def swapped(self, w_plus: Floats, other: Floats, parameters: Sequence[int]) -> Floats:
        """(N, rows, 512) W+ with these parameters' logits of another; every row is changed alike.

        w + sum over k of A[k] (A[k] . (other - w)): nothing outside the span of the A[k] moves.
        """
        rows = self.read_out[list(parameters)]
        result = np.array(w_plus, np.float64)
        for faces, others in zip(result, np.asarray(other, np.float64), strict=True):
            for w, motion in zip(faces, others, strict=True):
                w += np.einsum("p,pi->i", np.einsum("pi,i->p", rows, motion - w), rows)
        return result.astype(np.float32)


@lru_cache(maxsize=8)
def build_mapping(seed: int, entanglement: float) -> Mapping:
    """The map of these settings, built once per process."""
    return Mapping(seed, entanglement)
