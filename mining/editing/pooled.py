"""Responses of directions from two sources at once: re-scored images, and the dataset itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import principal_axes
from mining.methods.ridge import fit_ridge
from schemas.errors import InputError

Array = NDArray[np.float64]
VAGUE = 10.0  # standard deviation of a gradient that nothing is known of, over the responses
SUREST = 0.01  # error over the responses, at least: attributes are not linear


@dataclass(frozen=True)
class Pooled:
    """Responses, and how far they may be off."""

    responses: Array  # (K, A) per unit step in population spreads
    doubts: Array  # (A, K, K) covariance of each attribute's K responses


def measured_alone(vectors: Array, responses: Array, errors: Array) -> Pooled:
    """Responses as re-scored, with errors that know nothing of each other.

    An attribute has one gradient, so directions that depend on each other have responses that do:
    those of (K, D) vectors are V g, of a g of which nothing is known but its size, VAGUE times what
    the responses are. Independent directions keep theirs; of dependent ones the surer one counts
    more. Errors below SUREST of the responses, and unknown ones, count as that much.
    """
    pooled = Pooled(
        np.array(responses, np.float64),
        np.zeros((responses.shape[1], len(responses), len(responses))),
    )
    gram = vectors @ vectors.T
    for column, own in enumerate(pooled.responses.T.copy()):
        size = float((own**2).mean())
        error = np.where(np.isfinite(errors[:, column]), errors[:, column], 0.0)
        error = np.maximum(error, SUREST * np.sqrt(size))
        if size:
            prior = VAGUE**2 * size * gram
            pooled.responses[:, column], pooled.doubts[column] = _update(
                np.zeros_like(own), prior, own, error
            )
        else:
            pooled.doubts[column] = np.diag(error**2)
    return pooled


def pooled_responses(
    vectors: Array, responses: Array, errors: Array, latents: Array, scores: Array
) -> Pooled:
    """Each response as both sources together say it, weighed by how sure they are.

    The dataset says V g for the gradient g of an attribute, by ridge with penalty lambda, and is
    unsure by P = s^2 V (X'X + lambda I)^-1 V', with s^2 the variance that the fit leaves. Re-scored
    images say r, unsure by the standard errors E over identities. Both are Gaussian, so
    V g + P (P + E^2)^-1 (r - V g). Few re-scored identities tell each response of its own to about
    0.03 spreads, thousands of rows tell all of them together; where one direction was mined from
    the same rows, P knows it.
    Source: the linear Gaussian model, Bishop (2006), equation (2.116).

    Args:
        vectors: (K, D) norm 1.
        responses, errors: (K, A) per unit step in population spreads; an error that is NaN leaves
            the dataset alone to tell.
        latents: (N, D). scores: (N, A) in population spreads; a column of NaN keeps its responses
            as `measured_alone`, and rows where another is NaN are left out.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(vectors, responses, errors, latents, scores)
    pooled = measured_alone(vectors, responses, errors)
    told = np.isfinite(scores).sum(axis=0) > 2
    rows = np.isfinite(scores[:, told]).all(axis=1)
    if not told.any() or rows.sum() < 3:
        return pooled
    latents = np.asarray(latents[rows], np.float64)
    energy, axes = principal_axes(latents - latents.mean(axis=0))
    seen = vectors @ axes  # (K, R)
    outside = vectors @ vectors.T - seen @ seen.T  # of what the latents do not span
    for column in np.flatnonzero(told):
        y = np.asarray(scores[rows, column], np.float64)
        if np.ptp(y) == 0:
            continue
        fit = fit_ridge(latents, y)
        left = max(1 - fit.r2_gcv, 1e-6) * float(y.var())
        unsure = left * ((seen / (energy + fit.penalty)) @ seen.T + outside / fit.penalty)
        pooled.responses[:, column], pooled.doubts[column] = _update(
            vectors @ fit.weights, unsure, responses[:, column], errors[:, column]
        )
    return pooled


def _update(told: Array, unsure: Array, measured: Array, error: Array) -> tuple[Array, Array]:
    """A Gaussian (K,) with covariance (K, K) after independent measurements: mean, covariance."""
    known = np.isfinite(error) & np.isfinite(measured)
    if not known.any():
        return told, unsure
    seen = unsure[np.ix_(known, known)] + np.diag(error[known] ** 2)
    gain = unsure[:, known] @ np.linalg.pinv(seen, hermitian=True)
    return told + gain @ (measured[known] - told[known]), unsure - gain @ unsure[known]


def _check(vectors: Array, responses: Array, errors: Array, latents: Array, scores: Array) -> None:
    fits = vectors.ndim == 2 and latents.ndim == 2 and vectors.shape[1] == latents.shape[1]
    wanted = (len(vectors), scores.shape[1] if scores.ndim == 2 else -1)
    if not fits or not responses.shape == errors.shape == wanted or len(scores) != len(latents):
        raise InputError(
            f"pooled: directions {vectors.shape}, responses {responses.shape}, errors "
            f"{errors.shape}, latents {latents.shape} and scores {scores.shape} came; expected "
            "(K, D), (K, A) twice, (N, D) and (N, A)."
        )
