"""Cards become Arrow rows and come back unchanged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from schemas.directions import Artefact, Calibration, Provenance, Response
from schemas.errors import InputError
from storage.card_table import SCHEMA, to_cards, to_table
from tests.storage.any_cards import NOW, any_card, plain
from tests.storage.sample_cards import sample_card

NONE = np.zeros(0, np.float32)
ARTEFACT = Artefact("matrix", "a" * 64, 8)
CURVE = Calibration(0.5, -1.0, 2.0, (-1.0, 0.0, 2.0), (-1.0, 0.0, 1.0), 0.9, 0.1)


@settings(max_examples=150, deadline=None)
@given(card=any_card())
def test_any_card_survives_the_round_trip(card):
    (back,) = to_cards(to_table([card], "p", NOW))
    assert plain(back) == plain(replace(card, publication_id="p"))
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


def test_a_calibration_without_a_curve_is_null_in_the_columns_of_one():
    card = sample_card(calibration=Calibration(0.5, -1.0, 2.0))
    table = to_table([card, replace(sample_card(1), calibration=CURVE)], "p", NOW)
    for name in ("values", "steps", "monotonic", "error"):
        assert table[f"calibration_{name}"][0].as_py() is None
        assert table[f"calibration_{name}"].type in (pa.float64(), pa.list_(pa.float64()))
    first, second = to_cards(table)
    assert first.calibration == card.calibration and second.calibration == CURVE


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
        ({"calibration": Calibration(math.nan, -1.0, 1.0)}, "expected finite numbers"),
        ({"calibration": Calibration(1.0, 0.5, 1.0)}, "low <= 0 <= high"),
        ({"calibration": Calibration(0.0, -1.0, 1.0)}, "step != 0"),
        ({"calibration": replace(CURVE, steps=(0.0, 1.0))}, "3 values at 2 steps; expected as"),
        ({"calibration": replace(CURVE, values=(0.0,) * 65, steps=(0.0,) * 65)}, "at most 64"),
        ({"calibration": replace(CURVE, steps=(1.0, 0.0, -1.0))}, "the steps ascending"),
        ({"calibration": replace(CURVE, steps=(-1.0, 0.0, 0.0))}, "the steps ascending"),
        ({"calibration": replace(CURVE, values=(-1.0, 0.0, math.nan))}, "expected finite"),
        ({"calibration": replace(CURVE, values=(-1.0, 0.5, 2.0))}, "0 at step 0"),
        ({"calibration": replace(CURVE, values=(1.0, 0.0, -2.0))}, "going the way of `step`"),
        ({"calibration": replace(CURVE, monotonic=1.5)}, "monotonic is 1.5; expected 0 to 1"),
        ({"calibration": replace(CURVE, error=-0.1)}, "error is -0.1; expected"),
        ({"artefact": ARTEFACT}, r"shape \(8,\) beside an artefact; expected \(0,\)"),
        ({"vector": NONE}, r"shape \(0,\) and norm 0"),
        ({"vector": NONE, "artefact": replace(ARTEFACT, sha256="A" * 64)}, "a SHA-256 of 64"),
        ({"vector": NONE, "artefact": replace(ARTEFACT, kind="song")}, "the kinds matrix, "),
        ({"vector": NONE, "artefact": replace(ARTEFACT, bytes=0)}, "and its bytes"),
        ({"attribute": "a" * 1001}, "attribute has 1,001 characters; at most 1,000"),
        ({"notes": "a" * 1_000_001}, "notes has 1,000,001 characters"),
        ({"source": "\ud800"}, "source holds .* half a character"),
        ({"evidence": {"\udfff": 1.0}}, "evidence holds .* half a character"),
        ({"responses": (Response("a", "1", 1, 1, 1, 1),) * 10_001}, "10,001 responses"),
        ({"layers": (0,) * 10_001}, "more than 10,000 packages or layers"),
    ],
)
def test_a_misleading_card_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        to_table([sample_card(**changes)], "p", NOW)


def test_the_publication_and_its_time_are_set_on_every_row():
    card = replace(sample_card(), publication_id="of the past")
    (back,) = to_cards(to_table([card], "new", NOW))
    assert (back.publication_id, back.provenance.created_at) == ("new", NOW)
