"""Cards become Arrow rows and come back unchanged."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.directions import DirectionCard, Provenance, Response
from schemas.errors import InputError
from storage.card_table import SCHEMA, SPACES, to_cards, to_table
from tests.storage.sample_cards import sample_card

NOW = datetime(2026, 11, 20, 9, 30, 0, 123456, tzinfo=UTC)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=True)
vectors = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=2, max_side=6),
    elements=st.floats(-1, 1, width=32),
)


@st.composite
def cards(draw: st.DrawFn) -> DirectionCard:
    """Any card that may be published."""
    vector = draw(vectors.filter(lambda v: np.linalg.norm(v) > 1e-3))
    rows = len(vector) if vector.ndim == 2 else 18
    return DirectionCard(
        *(draw(words) for _ in range(3)),
        space=draw(st.sampled_from(SPACES)),
        generator=draw(words),
        generator_fingerprint=draw(words),
        generator_licence=draw(st.text("ab'\"\\ ", max_size=4)),
        vector=vector / np.linalg.norm(vector),
        provenance=Provenance(
            draw(words),
            draw(st.integers(-(2**63), 2**63 - 1)),
            draw(words),
            draw(words),
            draw(st.dictionaries(words, words, max_size=2)),
            NOW,
        ),
        layers=tuple(draw(st.lists(st.integers(0, rows - 1), max_size=3))),
        slope=draw(numbers),
        sigma=draw(numbers),
        responses=tuple(
            draw(st.lists(st.builds(Response, words, words, *[numbers] * 4), max_size=3))
        ),
        identity_cost=draw(numbers),
        truth_cosine=draw(st.none() | st.floats(-1, 1)),
        evidence=draw(st.dictionaries(words, numbers, max_size=3)),
        notes=draw(st.text("a\n'", max_size=4)),
        publication_id="p",
    )


def plain(card: DirectionCard) -> Any:
    """The card as nested tuples that compare equal, NaN and all."""
    fields = dataclasses.asdict(card)
    fields["vector"] = (card.vector.shape, card.vector.dtype.str, card.vector.tobytes())
    return repr(fields)


@settings(max_examples=150, deadline=None)
@given(card=cards())
def test_any_card_survives_the_round_trip(card):
    (back,) = to_cards(to_table([card], "p", NOW))
    assert plain(back) == plain(card)
    assert back.direction_id == card.direction_id


def test_what_was_not_measured_is_null_in_the_table_and_nan_in_the_card():
    card = sample_card(
        slope=math.nan, truth_cosine=None, responses=(), evidence={"r2": math.nan, "folds": 5.0}
    )
    table = to_table([card], "p", NOW)
    for name in ("slope", "effect", "effect_low", "effect_relative", "leak", "truth_cosine"):
        assert table[name].to_pylist() == [None]
    assert table["evidence"].to_pylist()[0][0] == {"name": "r2", "value": None}
    (back,) = to_cards(table)
    assert math.isnan(back.slope) and math.isnan(back.evidence["r2"])
    assert back.truth_cosine is None and back.evidence["folds"] == 5.0


def test_derived_columns_say_what_the_card_says():
    card = sample_card()
    row = to_table([card], "p", NOW).to_pylist()[0]
    for name in ("effect", "effect_low", "effect_high", "effect_relative", "leak"):
        assert row[name] == getattr(card, name)


def test_w_plus_vectors_keep_their_shape():
    card = sample_card(space="w+", shape=(4, 6), layers=(1, 3))
    table = to_table([card], "p", NOW)
    assert table["shape"].to_pylist() == [[4, 6]]
    np.testing.assert_array_equal(to_cards(table)[0].vector, card.vector)


def test_vectors_of_many_rows_do_not_share_memory_with_the_table():
    first, second = to_cards(to_table([sample_card(1), sample_card(2)], "p", NOW))
    first.vector[:] = 0
    np.testing.assert_array_equal(second.vector, sample_card(2).vector)


def test_the_schema_holds_nothing_that_delta_changes():
    assert not any(pa.types.is_fixed_size_list(f.type) or pa.types.is_map(f.type) for f in SCHEMA)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attribute": ""}, "attribute is empty"),
        ({"generator_fingerprint": ""}, "generator_fingerprint is empty"),
        ({"space": "W"}, "space 'W'; expected one of z, w"),
        ({"vector": np.full(4, np.nan, np.float32)}, "norm nan"),
        ({"vector": np.ones(4, np.float32)}, "norm 2; expected"),
        ({"vector": np.float32(1)}, r"shape \(\)"),
        ({"shape": (4, 6), "layers": (4,)}, r"layers \(4,\) are outside 0\.\.3"),
        ({"layers": (-1,)}, r"layers \(-1,\)"),
        ({"provenance": Provenance("d", 2**64, "{}", "v")}, "does not fit 64 bits"),
    ],
)
def test_a_misleading_card_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        to_table([sample_card(**changes)], "p", NOW)


def test_the_publication_and_its_time_are_set_on_every_row():
    card = replace(sample_card(), publication_id="of the past")
    (back,) = to_cards(to_table([card], "new", NOW))
    assert (back.publication_id, back.provenance.created_at) == ("new", NOW)
