"""Which rows of W+ a direction should move: from what was measured when each range moved alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats, Generator
from mining.methods.base import check_layers, check_whole
from schemas.errors import InputError

Array = NDArray[np.float64]
Range = tuple[int, int]  # [first, last) of the rows of W+


@dataclass(frozen=True)
class LayerConfig:
    """Settings of `choose_layers`."""

    keep: float = 0.7  # of the largest effect that any range has, the least that is given up to

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise InputError(f"layers: keep is {self.keep}, expected above 0 and at most 1.")


@dataclass(frozen=True)
class LayerChoice:
    """The chosen rows and, for every range that was tried, what it was judged by."""

    layers: Range
    attribute: str
    effects: tuple[float, ...]  # of each range: response of the attribute, in its spreads
    leaks: tuple[float, ...]  # root mean square of the others over the attribute's own; may be inf
    enough: tuple[bool, ...]  # which ranges have the effect that was asked for


def layer_ranges(rows: int, parts: int = 4) -> list[Range]:
    """All rows of W+ first, then `parts` ranges of as equal a length as can be, in order."""
    check_whole("layers", 1, rows=rows, parts=parts)
    ends = [round(k * rows / min(parts, rows)) for k in range(min(parts, rows) + 1)]
    pieces = list(zip(ends[:-1], ends[1:], strict=True))
    return [(0, rows), *(piece for piece in pieces if piece != (0, rows))]


def choose_layers(
    ranges: Sequence[Range],
    responses: Array,
    attributes: Sequence[str],
    attribute: str | None = None,
    config: LayerConfig = LayerConfig(),
) -> LayerChoice:
    """The range that leaks least of those that keep enough of the effect.

    With r_la the response of attribute a when range l moves, in spreads and per the same step:
    effect |r_lo|, leak sqrt(mean_{a != o} r_la^2) / |r_lo|. A range has enough where its effect is
    at least `keep` of the largest; of those the least leak wins, then the fewer rows.

    Args:
        ranges: L of them, the whole among them where that is to be a choice.
        responses: (L, A) per step of the same norm in each row that moves, NaN where unmeasured.
        attribute: what the direction is for; None takes what it moves most over all ranges.

    Raises:
        InputError: shapes disagree, a range is none, or no range moves the attribute.
    """
    responses = np.asarray(responses, np.float64)
    pairs = [check_layers("layers", one) for one in ranges]
    if None in pairs or not pairs or responses.shape != (len(pairs), len(attributes)):
        raise InputError(
            f"layers: {len(pairs)} ranges, responses {responses.shape} and {len(attributes)} "
            "attributes came; expected at least one range, (L, A) and A names."
        )
    sizes = np.where(np.isfinite(responses), np.abs(responses), 0.0)
    own = _own(sizes, attributes, attribute)
    effects = sizes[:, own]
    if not effects.max() > 0:
        raise InputError(
            f"layers: no range moves {attributes[own]}, or it was not measured; choose another "
            "attribute."
        )
    leaks = _leaks(responses, own)
    enough = effects >= config.keep * effects.max()
    length = [last - first for first, last in ranges]
    best = min(np.flatnonzero(enough).tolist(), key=lambda k: (leaks[k], length[k], ranges[k]))
    return LayerChoice(
        (int(ranges[best][0]), int(ranges[best][1])),
        attributes[own],
        tuple(map(float, responses[:, own])),
        tuple(map(float, leaks)),
        tuple(map(bool, enough)),
    )


def image_change(
    generator: Generator,
    w_plus: Floats,
    step: Array,
    ranges: Sequence[Range],
    condition: Floats | None = None,
) -> Array:
    """(L,) mean absolute change of the pixels, 0..255, when a step moves each range of rows alone.

    What to look at where nothing measures: a range whose rows change no pixel cannot matter. It
    says how much changes, not what; for that, measure.

    Args:
        w_plus: (N, num_ws, w_dim) of a few images; each is made once, and once for every range.
        step: (w_dim,), such as sigma times a component.
        condition: (N, c_dim) of conditional generators.

    Raises:
        InputError: a shape does not fit, or a range has rows that W+ has not.
    """
    if w_plus.ndim != 3 or not len(w_plus) or np.shape(step) != w_plus.shape[2:]:
        raise InputError(
            f"layers: W+ {w_plus.shape} and a step {np.shape(step)} came; expected (N, num_ws, D) "
            "and (D,)."
        )
    over = [one for one in ranges if not 0 <= one[0] < one[1] <= w_plus.shape[1]]
    if over:
        raise InputError(f"layers: {over[0]} came; W+ has the rows 0 to {w_plus.shape[1] - 1}.")
    before = generator.synthesize(w_plus, condition).astype(np.int16)
    found = []
    for first, last in ranges:
        moved = w_plus.copy()
        moved[:, first:last] += np.asarray(step, np.float32)
        change = generator.synthesize(moved, condition).astype(np.int16) - before
        found.append(np.abs(change).mean())
    return np.array(found)


def _own(sizes: Array, attributes: Sequence[str], attribute: str | None) -> int:
    if attribute is None:
        return int(sizes.max(axis=0).argmax())
    if attribute not in attributes:
        raise InputError(
            f"layers: attribute {attribute!r} came; measured were {', '.join(attributes)}."
        )
    return list(attributes).index(attribute)


def _leaks(responses: Array, own: int) -> Array:
    """(L,) inf where the attribute itself does not move; 0 where nothing else was measured."""
    others = np.delete(responses, own, axis=1)
    leaks = []
    for rest, effect in zip(others, np.abs(responses[:, own]), strict=True):
        known = rest[np.isfinite(rest)]
        size = math.sqrt(np.mean(known**2)) if len(known) else 0.0
        leaks.append(size / effect if effect > 0 else math.inf)
    return np.array(leaks)
