"""From re-scored images to numbers: the response of every attribute and the cost in identity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.rescoring import Pair, Rescored, RescoringConfig
from schemas.directions import Response
from schemas.errors import InputError

INTERVAL = (2.5, 97.5)  # percentiles of a 95 % interval
Array = NDArray[np.float64]


def respond(
    rescored: Rescored,
    attributes: Mapping[str, Pair],
    spreads: Mapping[str, float],
    config: RescoringConfig | None = None,
) -> tuple[Response, ...]:
    """How every attribute answers to one unit step along the direction, with 95 % intervals.

    Per identity i, the least-squares slope through its unedited point:
    b_i = sum_s t_s (x_is - x_i0) / sum_s t_s^2. The response is the mean of b_i; its interval is
    the percentile bootstrap over identities, seeded, so the same input gives the same interval.
    Source: the slope as in `rescore`; Efron (1979), doi:10.1214/aos/1176344552.

    Args:
        attributes: name on the card -> (extractor, column), as in {"yaw": ("geometry", "yaw")}.
        spreads: name -> standard deviation of the attribute over the dataset; NaN where missing.

    Returns:
        One response per attribute, in order. NaN where no identity could be measured; the
        interval is NaN where fewer than two could.

    Raises:
        InputError: an attribute was not measured, or a spread is negative.
    """
    config = config or RescoringConfig()
    responses = []
    for name, (extractor, column) in attributes.items():
        slopes = identity_slopes(rescored.steps, rescored.column(extractor, column))
        spread = float(spreads.get(name, np.nan))
        if spread < 0:
            raise InputError(f"respond: the spread of {name!r} is {spread}, expected 0 or more.")
        mean, low, high = bootstrap_mean(slopes, config.bootstrap, config.seed)
        unit = rescored.units[rescored.pairs.index((extractor, column))]
        responses.append(Response(name, unit, mean, low, high, spread))
    return tuple(responses)


def identity_slopes(steps: Array, values: Array) -> Array:
    """Each identity's least-squares slope through its unedited point.

    Steps that could not be measured are left out. An identity needs its unedited image and at
    least half of the edited ones, else its slope is NaN.

    Args:
        steps: (S+1,), 0 among them, in latent units.
        values: (M, S+1), NaN where unmeasured.

    Returns:
        (M,) the attribute's unit per unit step.
    """
    zero = int(np.flatnonzero(steps == 0)[0])
    edited = np.arange(len(steps)) != zero
    moved = values[:, edited] - values[:, zero : zero + 1]
    usable = np.isfinite(moved)
    at = steps[edited]
    above = np.where(usable, moved, 0.0) @ at
    below = usable @ np.square(at)
    enough = usable.sum(axis=1) * 2 >= edited.sum()
    return np.divide(above, below, out=np.full(len(values), np.nan), where=enough & (below > 0))


def bootstrap_mean(values: Array, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean of the finite values and its 95 % percentile bootstrap interval.

    Args:
        values: (M,).

    Returns:
        (mean, low, high); NaN for all without a finite value, for the interval with only one.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan"), float("nan")
    if len(finite) == 1:
        return float(finite[0]), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(finite), size=(resamples, len(finite)))
    low, high = np.percentile(finite[drawn].mean(axis=1), INTERVAL)
    return float(finite.mean()), float(low), float(high)


def resample_counts(rows: int, resamples: int, seed: int) -> Array:
    """(resamples, rows) how often each row is drawn, as many draws as there are rows.

    Source: Efron (1979), doi:10.1214/aos/1176344552.
    """
    drawn = np.random.default_rng(seed).integers(0, rows, size=(resamples, rows))
    counts = np.zeros((resamples, rows))
    np.add.at(counts, (np.arange(resamples)[:, None], drawn), 1.0)
    return counts


def resampled_means(values: Array, counts: Array) -> Array:
    """(B, A) means of (M, A) values over rows drawn `counts` (B, M) times; NaN are left out."""
    known = np.isfinite(values)
    seen = counts @ known
    sums = counts @ np.where(known, values, 0.0)
    return np.divide(sums, seen, out=np.full(seen.shape, np.nan), where=seen > 0)


def leak_interval(
    rescored: Rescored,
    attributes: Mapping[str, Pair],
    spreads: Mapping[str, float],
    own: str,
    config: RescoringConfig | None = None,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a card's leak, over identities.

    Every draw is of whole identities, so the attributes of one stay together. As on the card,
    leak = root mean square of the others' responses over the own one's, all in spreads.
    Source: Efron (1979), doi:10.1214/aos/1176344552.

    Args:
        attributes, spreads: as `respond` takes them.
        own: the attribute that the direction is for.

    Returns:
        (low, high); NaN where fewer than two identities could be measured.
    """
    config = config or RescoringConfig()
    slopes = np.column_stack(
        [identity_slopes(rescored.steps, rescored.column(*pair)) for pair in attributes.values()]
    )
    spread = np.array([float(spreads.get(name, np.nan)) for name in attributes])
    slopes = np.divide(slopes, spread, out=np.full_like(slopes, np.nan), where=spread > 0)
    mine = np.array([name == own for name in attributes])
    rows = np.isfinite(slopes[:, mine]).all(axis=1)
    if rows.sum() < 2:
        return float("nan"), float("nan")
    slopes = slopes[rows]
    means = resampled_means(slopes, resample_counts(len(slopes), config.bootstrap, config.seed))
    others = means[:, ~mine]
    usable = np.isfinite(others)
    total = np.where(usable, others, 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        leaks = np.sqrt(total.sum(axis=1) / usable.sum(axis=1)) / np.abs(means[:, mine][:, 0])
    leaks = leaks[np.isfinite(leaks)]
    if not len(leaks):
        return float("nan"), float("nan")
    low, high = np.percentile(leaks, INTERVAL)
    return float(low), float(high)


def identity_cost(rescored: Rescored) -> float:
    """Mean distance between the face descriptors before and after a step of one sigma.

    Both signs count alike. Where one sigma is not among the steps, each identity's distance is
    interpolated between its neighbouring steps, with 0 at the unedited image. Identities without
    a face on a side do not count there; NaN where none has one, or no step reaches one sigma.
    dlib's descriptors have norm near 1 and call two faces the same person below 0.6.
    """
    costs = at_one_sigma(rescored, rescored.distances)
    known = costs[np.isfinite(costs)]
    return float(known.mean()) if len(known) else float("nan")


def identity_interval(
    rescored: Rescored, config: RescoringConfig | None = None
) -> tuple[float, float, float]:
    """`identity_cost` and its 95 % percentile bootstrap interval, over identities."""
    config = config or RescoringConfig()
    each = mean_of_sides(at_one_sigma(rescored, rescored.distances))
    _, low, high = bootstrap_mean(each, config.bootstrap, config.seed)
    return identity_cost(rescored), low, high


def mean_of_sides(sides: Array) -> Array:
    """(M,) the mean of (2, M) over the sides that are known; NaN where none is."""
    known = np.isfinite(sides)
    count = known.sum(axis=0)
    total = np.where(known, sides, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def at_one_sigma(rescored: Rescored, changes: Array) -> Array:
    """(2, M) a change after minus and plus one sigma, NaN where it is not known.

    Args:
        changes: (M, S+1) at the steps, 0 at the unedited image; NaN where unmeasured.
    """
    found = np.full((2, len(changes)), np.nan)
    for row, sign in enumerate((-1.0, 1.0)):
        along = rescored.steps * sign
        side = along > 0
        reach = np.append(0.0, along[side]) / rescored.sigma
        order = np.argsort(reach)
        for index, some in enumerate(changes[:, side]):
            padded = np.append(0.0, some)[order]
            known = np.isfinite(padded)
            if reach[order][known].max() >= 1 - 1e-9:
                found[row, index] = np.interp(1.0, reach[order][known], padded[known])
    return found
