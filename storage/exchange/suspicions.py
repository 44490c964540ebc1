"""What makes an imported array look like something other than a direction.

Absolute latents. The last layer of StyleGAN's mapping network is a leaky ReLU of slope 0.2, so the
negative numbers of a w are a fifth as large as its positive ones (Wulff & Torralba 2020,
arXiv:2009.06529, undo it to find a Gaussian). In a difference of two of them that cancels. Measured
on rows of 512 numbers, the root mean square of the positive over that of the negative ones: 2.7 for
the mean of w of StyleGAN2-FFHQ (norm 4.1) and 4.4 to 5.9 for w of networks with random weights
(norm 19 to 30), but 0.7 to 1.2 for the rows of norm 0.5 and more of 22 published directions, 1.8 at
most for 80 published components of norm 1, and 0.8 to 1.25 for 2,000 draws of a normal
distribution. A z has norm sqrt(D), give or take 0.7 (chi distribution), where published directions
of Z have norm 1.

Norms. Published directions have norms from 1 (InterFaceGAN, encoder4editing) to 88 (micromotion's
turn of the head). Two random z lie sqrt(2 D) apart; a row longer than that leaves all latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PUBLISHED_NORMS = (1.0, 88.3)
WILD_NORMS = (0.5, 100.0)  # somewhat beyond those
LOPSIDED = 2.0  # of the positive over the negative root mean square, from which on it is a w
# norm of a row that may be one; directions' rows have 1.6 at most but for one
SHORTEST_LATENT = 2.0
FEWEST = 128  # numbers in a row; with fewer, chance makes rows lopsided
Z_SPREAD = 0.1  # relative, around sqrt(D); more than three standard deviations from D = 512 on
SAME_ROWS = 1e-6  # largest difference of two rows, relative to the largest number

Vector = NDArray[np.float64]


def tied(vector: Vector) -> Vector | None:
    """The one row that all rows of a (rows, D) direction repeat; None where they differ."""
    if vector.ndim == 1:
        return None
    apart = np.abs(vector - vector[0]).max()
    return vector[0] if apart <= SAME_ROWS * np.abs(vector).max() else None


def suspicions(vector: Vector, method: str, layers: Sequence[int] = ()) -> list[str]:
    """What to tell about one direction as it stood in its file, before it is scaled.

    Args:
        vector: (D,) or (rows, D).
        method: as the card will name it; boundaries have norm 1.
        layers: rows of W+ that it is meant for; that the others are 0 is no wonder.
    """
    rows = np.atleast_2d(vector)
    norms = np.linalg.norm(rows, axis=1)
    said = [*_latents(rows, norms, vector.ndim), *_norms(rows, norms, method)]
    zero = np.flatnonzero(norms == 0)
    if len(zero) and set(layers) != set(range(len(rows))) - set(zero.tolist()):
        said.append(f"{_rows(zero)} hold only 0 and move nothing")
    return said


def _latents(rows: Vector, norms: Vector, dimensions: int) -> list[str]:
    """Rows that look like an absolute latent."""
    width = rows.shape[1]
    if width < FEWEST:
        return []
    w = np.flatnonzero((lopsidedness(rows) >= LOPSIDED) & (norms >= SHORTEST_LATENT))
    if len(w):
        return [
            f"{_rows(w)} look like absolute latents of W, not like a direction: the positive "
            f"numbers are {lopsidedness(rows)[w].min():.1f} times the negative ones, as after the "
            "mapping network's last layer. Subtract the latent that it starts from"
        ]
    if dimensions == 1 and abs(norms[0] / math.sqrt(width) - 1) <= Z_SPREAD:
        return [
            f"its norm {norms[0]:.4g} is that of an absolute latent of Z (about sqrt({width}) = "
            f"{math.sqrt(width):.3g}), not of a direction"
        ]
    return []


def lopsidedness(rows: Vector) -> Vector:
    """(rows,) root mean square of the positive numbers over that of the negative ones."""
    return _rms(np.maximum(rows, 0), rows > 0) / np.maximum(_rms(rows, rows < 0), 1e-300)


def _rms(rows: Vector, chosen: NDArray[np.bool_]) -> Vector:
    squares = np.where(chosen, np.square(rows), 0).sum(axis=1)
    return np.sqrt(squares / np.maximum(chosen.sum(axis=1), 1))


def _norms(rows: Vector, norms: Vector, method: str) -> list[str]:
    """A norm that no published direction has, a row longer than latents lie apart."""
    whole, farthest = float(np.linalg.norm(rows)), math.sqrt(2 * rows.shape[1])
    said = []
    # with rows of 0, as where some layers are left out, the others alone may be short
    least = WILD_NORMS[0] / math.sqrt(1 if norms.all() else len(rows))
    if not least <= whole <= WILD_NORMS[1]:
        low, high = PUBLISHED_NORMS
        said.append(f"its norm is {whole:.4g}; published directions have {low:g} to {high:g}")
    far = np.flatnonzero(norms > farthest)
    if len(far) and rows.shape[1] >= FEWEST:
        said.append(
            f"{_rows(far)} have norms up to {norms.max():.4g}, more than two random latents lie "
            f"apart (about {farthest:.3g}): one step of the file's length leaves the latents"
        )
    if method.startswith("interfacegan") and abs(whole - 1) > 1e-3:
        said.append(f"a boundary of norm {whole:.4g}; InterFaceGAN's have 1, distances differ")
    return said


def _rows(places: Sequence[int] | NDArray[np.intp]) -> str:
    """The places of rows, in words."""
    names = [str(place) for place in places]
    shown = ", ".join(names[:8]) + (" and others" if len(names) > 8 else "")
    return f"row {shown}" if len(names) == 1 else f"rows {shown}"
