"""Names for directions that nobody asked for, by what they were seen to move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from schemas.directions import Response
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Name:
    """What a direction moves most, and how much of all that it moves."""

    attribute: str | None  # None where nothing was measured, or nothing moves for sure
    response: float  # of that attribute, in its spreads; NaN where there is none
    purity: float  # its share of the squared responses, 0..1; NaN where there is none

    def __str__(self) -> str:
        if self.attribute is None:
            return "nothing for sure"
        return f"{self.attribute} ({100 * self.purity:.0f} % of its response)"


def name_components(
    responses: Array,
    attributes: Sequence[str],
    low: Array | None = None,
    high: Array | None = None,
) -> list[Name]:
    """Name K directions by their measured responses to A attributes.

    Of r_a, in units of each attribute's spread over the population, the name is argmax |r_a|, and
    its purity r_a^2 / sum r_b^2: 1 where nothing else moves, 1/A where all move alike. An attribute
    whose interval holds 0 gives no name, but counts among what else moves, so that noise makes a
    direction look less pure, never purer.

    Args:
        responses: (K, A) per one and the same step, NaN where unmeasured.
        low, high: (K, A) ends of the responses' intervals; without them every response counts.

    Raises:
        InputError: shapes disagree.
    """
    responses = np.asarray(responses, np.float64)
    ends = [responses if end is None else np.asarray(end, np.float64) for end in (low, high)]
    shapes = {responses.shape, *(end.shape for end in ends)}
    if responses.ndim != 2 or len(shapes) != 1 or responses.shape[1] != len(attributes):
        raise InputError(
            f"naming: responses {responses.shape}, ends of intervals {ends[0].shape} and "
            f"{ends[1].shape}, and {len(attributes)} attributes came; expected (K, A) and A names."
        )
    known = np.isfinite(responses)
    sure = known & (np.sign(ends[0]) * np.sign(ends[1]) > 0)  # NaN is not sure
    sizes = np.where(known, np.abs(responses), 0.0)
    return [
        _name(row, size, np.flatnonzero(kept), attributes)
        for row, size, kept in zip(responses, sizes, sure, strict=True)
    ]


def name_of(responses: Sequence[Response]) -> Name:
    """The name of a published direction, by the responses on its card and their intervals."""
    rows = [(r.per_step, r.low, r.high) for r in responses]
    spreads = [r.spread if r.spread > 0 else math.nan for r in responses]
    found = np.array(rows, np.float64).reshape(-1, 3).T / np.array(spreads, np.float64)
    names = [response.attribute for response in responses]
    return name_components(found[:1], names, found[1:2], found[2:])[0]


def _name(row: Array, size: Array, sure: NDArray[np.intp], attributes: Sequence[str]) -> Name:
    if not len(sure):
        return Name(None, math.nan, math.nan)
    best = int(sure[size[sure].argmax()])
    relative = size / size.max()  # no overflow, and none to 0
    purity = float(relative[best] ** 2 / (relative**2).sum())
    return Name(attributes[best], float(row[best]), purity)


def associations(along: Array, scores: Array, coverage: float = 0.95) -> tuple[Array, Array, Array]:
    """How scores go along with the coordinates of samples: correlations and their intervals.

    r is the score's change in its spreads for a step of one standard deviation of the coordinate,
    as fitted alone; principal components do not correlate, so that all of them fitted together
    give the same. The intervals hold together for all K A numbers, by Bonferroni:
    tanh(artanh r -+ q / sqrt(n - 3)), q the normal quantile.
    Source: Fisher (1921), Metron 1, 3-32.

    Args:
        along: (N, K) coordinates of the samples.
        scores: (N, A), NaN where unmeasured.

    Returns:
        r, low and high, each (K, A); NaN where fewer than 4 samples are known, or do not spread.

    Raises:
        InputError: shapes disagree.
    """
    along, scores = np.asarray(along, np.float64), np.asarray(scores, np.float64)
    if along.ndim != 2 or scores.ndim != 2 or len(along) != len(scores):
        raise InputError(
            f"naming: coordinates {along.shape} and scores {scores.shape} came; expected (N, K) "
            "and (N, A)."
        )
    found = np.full((along.shape[1], scores.shape[1]), np.nan)
    counts = np.isfinite(scores).sum(axis=0)
    for k in np.flatnonzero(counts > 3):
        kept = np.isfinite(scores[:, k])
        found[:, k] = _correlations(along[kept], scores[kept, k])
    quantile = NormalDist().inv_cdf(1 - (1 - coverage) / 2 / max(found.size, 1))
    centre = np.arctanh(np.clip(found, -1 + 1e-15, 1 - 1e-15))
    half = quantile / np.sqrt(np.maximum(counts - 3, 1))
    return found, np.tanh(centre - half), np.tanh(centre + half)


def _correlations(along: Array, score: Array) -> Array:
    """(K,) of columns (n, K) with one score (n,); NaN where one does not spread."""
    along, score = along - along.mean(axis=0), score - score.mean()
    spread = np.linalg.norm(along, axis=0) * np.linalg.norm(score)
    return np.divide(along.T @ score, spread, out=np.full(len(spread), np.nan), where=spread > 0)
