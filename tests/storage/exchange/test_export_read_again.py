"""What an export writes, the importer's readers find again, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.exchange.exporting import file_names
from storage.exchange.formats_out import WRITERS, ganspace_npz, ganspace_pt
from storage.exchange.layouts import laid_out
from storage.exchange.recognise import found_in
from tests.storage.exchange.any_card import any_card

HERE = "ab" * 32


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("rows", [0, 3])
@settings(max_examples=20)
@given(st.data())
def test_a_direction_is_found_again(form, rows, data):
    card = data.draw(any_card("w+" if rows else "w", rows))
    card = replace(card, layers=(), generator_fingerprint=HERE)
    (name,) = file_names([card], f".{form}")
    (found,) = found_in(PurePath(name), WRITERS[form](laid_out(card), card, "unit"))
    assert found.vector.astype(np.float32).tobytes() == card.vector.tobytes()
    if form == "safetensors":
        assert (found.space_hint, found.fingerprint_hint) == (
            card.space,
            card.generator_fingerprint,
        )


@pytest.mark.parametrize("write", [ganspace_npz, ganspace_pt])
@settings(max_examples=20)
@given(st.lists(any_card("w", 0), min_size=1, max_size=4))
def test_components_are_found_again(write, cards):
    cards = [replace(card, generator_fingerprint=HERE, sigma=0.5) for card in cards]
    found = found_in(PurePath("components"), write(cards, np.zeros(8, np.float32)))
    vectors = [item.vector.astype(np.float32).tobytes() for item in found]
    assert vectors == [card.vector.tobytes() for card in cards]
    assert {item.sigma for item in found} == {0.5}
