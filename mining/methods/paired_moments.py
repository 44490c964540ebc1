"""Latents and scores as sums over parts: what regression on any number of rows needs of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.moments import Moments
from schemas.errors import InputError

Array = NDArray[np.float64]

BLOCK = 8192  # rows copied beside their scores at a time


@dataclass(frozen=True)
class PairedMoments:
    """Rows, means and centred sums of latents x and of one score y; parts are added with +.

    They are the moments of the rows (x, y), so that a mean far from 0 costs no digits.
    """

    joint: Moments  # of D + 1 columns, the last of them the score

    @classmethod
    def of(cls, latents: NDArray, scores: NDArray) -> PairedMoments:
        """Of latents (N, D) and scores (N,), N >= 1, block by block in float64.

        Raises:
            InputError: the shapes do not pair up, or a value is not finite.
        """
        latents, scores = np.asarray(latents), np.asarray(scores)
        if latents.ndim != 2 or scores.shape != latents.shape[:1] or not len(scores):
            raise InputError(
                f"moments: latents {latents.shape} and scores {scores.shape} do not pair up; "
                "expected (N, D) and (N,) with N >= 1."
            )
        return cls(joint_moments(latents, scores[:, None]))

    def __add__(self, other: PairedMoments) -> PairedMoments:
        return PairedMoments(self.joint + other.joint)

    @property
    def rows(self) -> int:
        """N."""
        return self.joint.rows

    @property
    def latents(self) -> Moments:
        """Those of x alone."""
        return Moments(self.rows, self.mean, self.joint.scatter[:-1, :-1])

    @property
    def mean(self) -> Array:
        """(D,) of x."""
        return self.joint.mean[:-1]

    @property
    def scatter(self) -> Array:
        """(D, D) X'X of centred x."""
        return self.joint.scatter[:-1, :-1]

    @property
    def score_mean(self) -> float:
        """Of y."""
        return float(self.joint.mean[-1])

    @property
    def pull(self) -> Array:
        """(D,) X'y of centred x and y."""
        return self.joint.scatter[:-1, -1]

    @property
    def score_energy(self) -> float:
        """y'y of centred y."""
        return float(self.joint.scatter[-1, -1])


def joint_moments(latents: NDArray, scores: NDArray) -> Moments:
    """Of latents (N, D) beside K scores (N, K), N >= 1: D + K columns, the latents summed once.

    Raises:
        InputError: a value is not finite.
    """
    width = latents.shape[1]
    found = None
    for start in range(0, len(latents), BLOCK):
        part = slice(start, start + BLOCK)
        block = np.empty((len(latents[part]), width + scores.shape[1]))
        block[:, :width], block[:, width:] = latents[part], scores[part]
        made = Moments.of(block)
        found = made if found is None else found + made
    assert found is not None
    return found


def each_paired(joint: Moments, width: int) -> list[PairedMoments]:
    """Those of the latents, `width` columns of `joint_moments`, with each of its scores alone."""
    count = len(joint.mean) - width
    if count == 1:
        return [PairedMoments(joint)]
    places = [np.r_[:width, width + k] for k in range(count)]
    return [
        PairedMoments(Moments(joint.rows, joint.mean[at], joint.scatter[np.ix_(at, at)]))
        for at in places
    ]


def paired_moments_of(parts: Iterable[tuple[NDArray, NDArray]]) -> PairedMoments:
    """The moments of all parts (latents, scores), one in memory at a time.

    Raises:
        InputError: there is no row, or as `PairedMoments.of`.
    """
    found: PairedMoments | None = None
    for latents, scores in parts:
        if len(scores):
            fresh = PairedMoments.of(latents, scores)
            found = fresh if found is None else found + fresh
    if found is None:
        raise InputError("moments: no row came; expected one at least.")
    return found
