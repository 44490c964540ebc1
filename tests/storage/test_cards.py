"""The sequence of cards that a catalogue answers with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from schemas.errors import StorageError
from storage.card_table import SCHEMA
from storage.catalog import Catalog
from storage.lineages import DERIVED
from storage.vectors import Vectors
from tests.storage.sample_cards import sample_card


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """600 cards of two shapes in three publications: more than are read at once."""
    catalog = Catalog(tmp_path_factory.mktemp("cards") / "catalog")
    for first in (0, 200, 400):
        catalog.publish([card(seed) for seed in range(first, first + 200)])
    return catalog


def card(seed: int):
    shape = (8,) if seed % 3 else (4, 6)
    return sample_card(seed, shape, method=f"m{seed}", space="w" if seed % 3 else "w+")


def test_a_sequence_like_any_other(catalog):
    cards = catalog.cards()
    assert isinstance(cards, Sequence) and len(cards) == 600 and cards
    assert cards[0].provenance.seed == 0 and cards[-1].provenance.seed == 599
    assert [c.provenance.seed for c in cards[10:30:10]] == [10, 20]
    assert len(cards[5:5]) == 0 and not cards[5:5] and list(cards[600:]) == []
    assert [c.provenance.seed for c in reversed(cards[:3])] == [2, 1, 0]
    for at in (600, -601):
        with pytest.raises(IndexError):
            cards[at]
    assert repr(cards) == f"<600 cards of {catalog.url}>"


def test_each_card_has_its_own_vector(catalog):
    for seed, found in enumerate(catalog.cards()):
        assert found.provenance.seed == seed
        np.testing.assert_array_equal(found.vector, card(seed).vector)
    cards = catalog.cards()
    np.testing.assert_array_equal(cards[299].vector, card(299).vector)
    cards[299].vector[:] = 0  # spoils nobody else's
    np.testing.assert_array_equal(catalog.cards()[299].vector, card(299).vector)


def test_the_order_of_an_answer_is_kept(catalog):
    found = catalog.find(order_by="seed", descending=True, limit=300)
    assert [c.provenance.seed for c in found] == list(range(599, 299, -1))
    assert found.table()["seed"].to_pylist() == list(range(599, 299, -1))
    rows = found[:10].table(vectors=True)
    assert rows.schema.names == [*SCHEMA.names, *(field.name for field in DERIVED)]
    for seed, vector in zip(range(599, 589, -1), rows["vector"].to_pylist(), strict=True):
        np.testing.assert_array_equal(np.float32(vector), card(seed).vector.ravel())


def test_columns_are_had_without_vectors(catalog, monkeypatch):
    monkeypatch.setattr(Vectors, "_read", lambda *args: pytest.fail("vectors were read"))
    cards = catalog.cards(space="w+")
    assert "vector" not in cards.table().schema.names
    frame = cards.frame()
    assert len(frame) == 200 and frame["latest"].all()
    assert frame["version"].tolist() == [1] * 200


def test_a_card_whose_row_was_deleted_since(tmp_path):
    from deltalake import DeltaTable

    catalog = Catalog(tmp_path / "catalog")
    catalog.publish([sample_card(1)], "one")
    catalog.publish([sample_card(2)], "two")
    cards = catalog.cards(all_versions=True)
    table = DeltaTable(catalog.url)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete("publication_id = 'one'")
    assert len(catalog.cards(all_versions=True)) == 1
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(StorageError):
        cards[0]
