"""One direction from a finished dataset in this process: read, mine, perhaps publish.

The shards are read once, part by part; see `jobs.latent_stream` for what memory holds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cards import card_of, known_truth, settings_of
from jobs.latent_stream import Collected, collect
from jobs.mining_stage import make_config, settings_json
from mining.editing.conditional import conditional
from mining.labels import Label, check_labels, with_labels
from mining.methods.base import Direction
from mining.methods.lda import lda_of
from mining.methods.logistic import logistic_of
from mining.methods.moments import moments_of
from mining.methods.random_direction import random_of
from mining.methods.registry import SCORE_METHODS
from mining.methods.ridge import fit_ridge, mine_ridge_of, ridge_of
from mining.methods.svm import boundary
from mining.methods.two_classes import cut
from mining.stored import latent_column
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import load, unknown
from schemas.settings import MiningSettings
from storage.catalog import Catalog, Publication
from storage.dataset import Dataset
from storage.files import absolute

Array = NDArray[np.float64]
FROM_SUMS = ("ridge", "random")  # methods that never read the rows again


def mine_quick(
    url: str,
    attribute: str,
    labels: Mapping[str, Label],
    method: str = "ridge",
    options: Mapping[str, Any] | None = None,
    where: str | None = None,
    seed: int = 0,
    hold: Sequence[str] = (),
) -> DirectionCard:
    """The direction of one attribute or label, by a method that reads latents and scores.

    Args:
        url: the dataset's.
        where: an expression over its columns; other rows are left out.
        hold: attributes or labels whose directions, mined by the same method from the same rows,
            are projected out of it. A `threshold` among the options is the attribute's alone.

    Raises:
        InputError: there is no such dataset, attribute, column, method or option; or the rows
            that are left cannot be mined.
        CorruptDataError: a shard is damaged.
    """
    dataset = Dataset(absolute(url))
    manifest = dataset.manifest
    if method not in SCORE_METHODS:
        raise unknown("method", method, SCORE_METHODS)
    config = make_config(method, options or {}, seed)
    check_labels(labels, manifest)
    fields = with_labels(manifest, labels)
    names = [attribute, *hold]
    for name in names:
        if name not in fields:
            raise unknown("attribute", name, fields)
    if len({fields[name] for name in names}) < len(names):
        raise InputError(f"direction: {', '.join(names)} came; expected each attribute once.")
    found = collect(dataset, names, labels, where, keep=method not in FROM_SUMS)
    space = "w" if latent_column(manifest) == "w" else "w+"
    made = [
        dataclasses.replace(
            mine_collected(found, name, method, config if name == attribute else _median(config)),
            attribute=name,
            unit=fields[name].unit,
            space=space,
        )
        for name in names
    ]
    direction = made[0]
    if hold:
        direction = conditional(direction, made[1:], gradient(found, attribute))
    sigma = spread_along(found, direction.vector)
    mining = MiningSettings(seed=seed)  # type: ignore[call-arg]
    told = _with_held(settings_json(method, config, mining), hold, labels)
    settings = settings_of(told, labels.get(attribute), where)
    placed = dataclasses.replace(direction, vector=direction.vector.reshape(found.shape))
    return card_of(dataset, placed, sigma, settings, seed, known_truth(manifest))


def mine_collected(found: Collected, attribute: str, method: str, config: Any) -> Direction:
    """The direction (D,) of what was collected: from all rows where they are few, else from sums
    and from what the file holds.

    Raises:
        InputError: the rows cannot be mined.
    """
    scores = found.scores[attribute]
    if found.moments is None or method not in STREAMED:
        assert found.rows is not None
        mine = load("method", method, SCORE_METHODS)
        return mine(found.rows.astype(np.float64), scores, config)
    _check(method, found, scores)
    made = STREAMED[method](found, attribute, config)
    if method in FROM_SUMS:
        return made
    return dataclasses.replace(made, slope=float(gradient(found, attribute) @ made.vector))


def _ridge(found: Collected, attribute: str, config: Any) -> Direction:
    assert found.moments is not None
    return mine_ridge_of(found.moments[attribute], config)


def _random(found: Collected, attribute: str, config: Any) -> Direction:
    return random_of(gradient(found, attribute), len(found.scores[attribute]), config)


def _svm(found: Collected, attribute: str, config: Any) -> Direction:
    assert found.rows is not None
    return boundary(found.rows, found.scores[attribute], config)


def _logistic(found: Collected, attribute: str, config: Any) -> Direction:
    assert found.rows is not None
    return logistic_of(found.rows, found.scores[attribute], config)


def _lda(found: Collected, attribute: str, config: Any) -> Direction:
    rows, classes = found.rows, cut("lda", found.scores[attribute], config.threshold)
    assert rows is not None
    size = 8192
    starts = range(0, len(rows), size)
    low, high = (
        moments_of(rows[at : at + size][classes[at : at + size] == side] for at in starts)
        for side in (-1, 1)
    )
    return lda_of(low, high, config)


STREAMED: Mapping[str, Callable[[Collected, str, Any], Direction]] = {
    "ridge": _ridge,
    "random": _random,
    "svm": _svm,
    "logistic": _logistic,
    "lda": _lda,
}  # what is not here reads all rows into memory


def gradient(found: Collected, attribute: str) -> Array:
    """(D,) the score's change per unit of each number of the latent: ridge, as for all slopes."""
    if found.moments is not None:
        return ridge_of(found.moments[attribute]).weights
    assert found.rows is not None
    return fit_ridge(found.rows.astype(np.float64), found.scores[attribute]).weights


def spread_along(found: Collected, vector: Array) -> float:
    """Standard deviation of the latents that were read along a direction (D,)."""
    if found.moments is not None:
        moments = next(iter(found.moments.values()))
        return float(np.sqrt(vector @ moments.scatter @ vector / moments.rows))
    assert found.rows is not None
    return float(np.std(found.rows @ vector.astype(np.float32)))


def _check(method: str, found: Collected, scores: Array) -> None:
    """What `check_pairs` refuses, of many rows."""
    if np.ptp(scores) == 0:
        raise InputError(f"{method}: all {len(scores)} scores are {scores[0]:g}; nothing to learn.")
    if not found.moments or not next(iter(found.moments.values())).scatter.any():
        raise InputError(f"{method}: all {len(scores)} latents are equal; nothing to learn from.")


def _median(config: Any) -> Any:
    """A method's settings without a threshold of their own."""
    fields = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(config, threshold=None) if "threshold" in fields else config


def _with_held(settings: str, hold: Sequence[str], labels: Mapping[str, Label]) -> str:
    """The JSON of a method's settings with what is held, and the expressions of held labels."""
    if not hold:
        return settings
    texts = {name: labels[name].expression.text for name in hold if name in labels}
    more = {"hold": list(hold), **({"held_labels": texts} if texts else {})}
    return json.dumps({**json.loads(settings), **more}, sort_keys=True)


def publish_quick(card: DirectionCard, url: str) -> Publication:
    """Publish the card alone."""
    return Catalog(url).publish([card])
