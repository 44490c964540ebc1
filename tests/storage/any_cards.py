"""Any card that may be published, for hypothesis."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.directions import Artefact, Calibration, DirectionCard, Provenance, Response
from storage import artefacts
from storage.card_checks import SPACES

NOW = datetime(2026, 11, 20, 9, 30, 0, 123456, tzinfo=UTC)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(-1e6, 1e6)
vectors = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=2, max_side=6),
    elements=st.floats(-1, 1, width=32),
)
_INTERVALS = ("leak", "identity_cost", "stability")


@cache
def artefact_data(number: int) -> bytes:
    """A small artefact; another number gives another one."""
    return artefacts.pack({"weight": np.full(3, number, np.float32)})


def artefact(kind: str, number: int) -> Artefact:
    """What a card says of it."""
    data = artefact_data(number)
    return Artefact(kind, hashlib.sha256(data).hexdigest(), len(data))


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """With a curve through 0 that goes the way of `step`, or with none."""
    step, shares = draw(finite.filter(bool)), st.just(math.nan) | st.floats(0, 1)
    steps = sorted(draw(st.sets(finite.filter(bool), max_size=5)) | {0.0})
    moves = draw(st.lists(st.floats(0, 1e6), min_size=len(steps), max_size=len(steps)))
    zero = steps.index(0.0)
    values = [math.copysign(1.0, at) * sum(moves[min(k, zero) : max(k, zero)], 0.0)
              for k, at in enumerate(steps)]  # fmt: skip
    values = [value * math.copysign(1.0, step) if value else 0.0 for value in values]
    ends = (draw(st.floats(-1e6, -0.0)), draw(st.floats(0.0, 1e6)))
    curve = (tuple(values), tuple(steps)) if draw(st.booleans()) else ((), ())
    return Calibration(step, *ends, *curve, draw(shares), draw(shares))


@st.composite
def any_card(draw: st.DrawFn, **changes: Any) -> DirectionCard:
    """A card that `check_card` lets pass."""
    kept = draw(st.none() | st.builds(artefact, st.sampled_from(artefacts.KINDS), st.just(1)))
    vector = draw(vectors.filter(lambda v: np.linalg.norm(v) > 1e-3))
    rows = len(vector) if vector.ndim == 2 else 18
    fields: dict[str, Any] = {
        **{name: draw(words) for name in ("attribute", "unit", "method", "generator")},
        "space": draw(st.sampled_from(SPACES)),
        "generator_fingerprint": draw(words),
        "generator_licence": draw(texts),
        "vector": np.zeros(0, np.float32) if kept else vector / np.linalg.norm(vector),
        "provenance": Provenance(
            draw(words),
            draw(st.integers(-(2**63), 2**63 - 1)),
            draw(words),
            draw(words),
            draw(st.dictionaries(words, words, max_size=2)),
            NOW,
        ),
        "layers": tuple(draw(st.lists(st.integers(0, rows - 1), max_size=3))),
        "slope": draw(numbers),
        "sigma": draw(numbers),
        "responses": tuple(
            draw(st.lists(st.builds(Response, words, words, *[numbers] * 4), max_size=3))
        ),
        **{f"{name}_{end}": draw(numbers) for name in _INTERVALS for end in ("low", "high")},
        "identity_cost": draw(numbers),
        "stability": draw(numbers),
        "calibration": draw(st.none() | calibrations()),
        "artefact": kept,
        "truth_cosine": draw(st.none() | st.floats(-1, 1)),
        "evidence": draw(st.dictionaries(words, numbers, max_size=3)),
        "notes": draw(texts),
        "source": draw(texts),
        "licence": draw(texts),
    }
    return DirectionCard(**(fields | changes))


def plain(card: DirectionCard) -> Any:
    """The card as text that is equal where every bit is, NaN and all."""
    fields = dataclasses.asdict(card)
    fields["vector"] = (card.vector.shape, card.vector.dtype.str, card.vector.tobytes())
    return repr(fields)
