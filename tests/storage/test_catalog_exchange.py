"""The catalogue's own methods for what is imported, exported, tagged and counted."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import ConflictError, InputError
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """Two versions of one lineage, and another lineage."""
    catalog = Catalog(tmp_path / "catalog")
    catalog.publish([sample_card(1), sample_card(2, method="svm")])
    catalog.publish([sample_card(3)])
    return catalog


def test_a_tag_is_taken_where_an_id_is(catalog):
    catalog.tag("production", sample_card(1).direction_id)
    assert catalog.get("production").provenance.seed == 1  # the version, not the newest
    assert catalog.get("production").tags == ("production",)
    assert [card.version for card in catalog.history("production")] == [1, 2]
    assert [card.tags for card in catalog.history("production")] == [("production",), ()]
    catalog.tag("production", sample_card(3).direction_id, expected=sample_card(1).direction_id)
    assert catalog.get("production").version == 2
    svm = sample_card(2, method="svm")
    with pytest.raises(ConflictError, match="production"):
        catalog.tag("production", svm.direction_id, expected="0" * 32)
    assert Catalog(catalog.url, as_of=2).tags()["production"].target is not None
    catalog.untag("production")
    assert catalog.tags() == {}
    with pytest.raises(InputError, match="none is"):
        catalog.get("production")


def test_a_catalogue_in_numbers(catalog):
    stats = catalog.stats()
    assert (stats.versions, stats.lineages, stats.publications) == (3, 2, 2)
    assert Catalog(catalog.url, as_of=1).stats(near=None).versions == 2


def test_what_is_exported_can_be_imported(catalog, tmp_path):
    catalog.export(str(tmp_path / "out"), "npy")
    other = Catalog(tmp_path / "other")
    found = other.import_(tmp_path / "out", generator="head", space="w")
    assert len(found.new) == 2
    vectors = sorted(card.vector.tolist() for card in other.cards())
    expected = sorted(card.vector.tolist() for card in catalog.cards())
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
