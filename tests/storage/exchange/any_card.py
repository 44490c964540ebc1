"""Any card that a catalogue can hold, for property tests."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime

import numpy as np
from hypothesis import strategies as st

from schemas.directions import Calibration, DirectionCard, Provenance, Response

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
numbers = st.floats() | st.sampled_from([math.nan, -0.0, 1e-320, 0.1, 1e22])
finite = st.floats(-1e6, 1e6)
curves = st.lists(numbers, max_size=3).map(tuple)
times = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1))
responses = st.builds(Response, names, texts, numbers, numbers, numbers, numbers)
provenances = st.builds(
    Provenance,
    texts,
    st.integers(-(2**63), 2**63 - 1),
    texts,
    texts,
    st.dictionaries(texts, texts, max_size=3),
    st.none() | times,
)


@st.composite
def vectors(draw, rows: int | None = None, width: int = 8) -> np.ndarray:
    """Norm 1, of any shape unless rows are said; 0 rows for one of W."""
    rows = draw(st.sampled_from([0, 1, 3])) if rows is None else rows
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.standard_normal((rows, width) if rows else width)
    return (values / np.linalg.norm(values)).astype(np.float32)


@st.composite
def any_card(draw, space: str | None = None, rows: int | None = None) -> DirectionCard:
    """A card with a vector; every field takes any value of its type."""
    vector = draw(vectors(rows))
    known = {f.name for f in dataclasses.fields(DirectionCard) if f.default is not None}
    measured = [f.name for f in dataclasses.fields(DirectionCard) if isinstance(f.default, float)]
    values = {name: draw(numbers) for name in measured if name in known}
    layers = st.lists(st.integers(0, len(vector) - 1), max_size=3, unique=True)
    return DirectionCard(
        draw(names),
        draw(texts),
        draw(names),
        space or draw(st.sampled_from(["z", "w", "w+", "s"])),
        draw(names),
        draw(names),
        draw(texts),
        vector,
        draw(provenances),
        layers=tuple(draw(layers)) if vector.ndim == 2 else (),
        responses=tuple(draw(st.lists(responses, max_size=3))),
        calibration=draw(
            st.none() | st.builds(Calibration, *[finite] * 3, *[curves] * 2, *[numbers] * 2)
        ),
        truth_cosine=draw(st.none() | finite),
        evidence=draw(st.dictionaries(texts, numbers, max_size=3)),
        notes=draw(texts),
        source=draw(texts),
        licence=draw(texts),
        publication_id=draw(texts),
        version=draw(st.none() | st.integers(1, 9)),
        tags=tuple(draw(st.lists(texts, max_size=2))),
        **values,
    )


def same(one: DirectionCard, other: DirectionCard) -> None:
    """Assert that two cards are the same to the bit; NaN is NaN."""
    np.testing.assert_array_equal(one.vector, other.vector)
    assert one.vector.dtype == other.vector.dtype == np.float32
    assert one.direction_id == other.direction_id
    for field in dataclasses.fields(DirectionCard):
        if field.name != "vector":
            values = (getattr(one, field.name), getattr(other, field.name))
            assert repr(_plain(values[0])) == repr(_plain(values[1])), field.name


def _plain(value):
    """Dataclasses, mappings and times in one spelling, so that repr tells -0.0 and NaN apart."""
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def mutations(data: bytes, count: int, seed: int):
    """`data` with a few bytes changed, cut out, doubled or cut off: count of them, seeded."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 6)):
            at, length = int(rng.integers(len(changed))), int(rng.integers(1, 9))
            kind = rng.integers(5)
            if kind == 0:
                changed[at] = rng.integers(256)
            elif kind == 1:
                changed[at] ^= 1 << int(rng.integers(8))
            elif kind == 2:
                changed[at : at + length] = b""
            elif kind == 3:
                changed[at:at] = changed[at : at + length]
            else:
                changed[at : at + length] = bytes(rng.integers(0, 256, length, np.uint8))
            if not changed:
                break
        yield bytes(changed if rng.random() > 0.05 else changed[: len(changed) // 2])
