"""What changed between two states."""

from __future__ import annotations

import pytest

from schemas.errors import InputError
from storage.catalog import Catalog
from tests.storage.sample_cards import responses, sample_card


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """Three publications: two lineages; one of them again and a new one; a lineage twice."""
    catalog = Catalog(tmp_path_factory.mktemp("diff") / "catalog")
    catalog.publish([sample_card(1), sample_card(2, method="svm")])
    better = responses("smile", 4.0, leak=0.05)
    catalog.publish(
        [sample_card(1, responses=better, stability=0.8), sample_card(3, space="z")], "again"
    )
    catalog.publish([sample_card(4, method="svm"), sample_card(5, method="svm")])
    return catalog


def test_what_was_added_and_replaced(catalog):
    found = catalog.diff(1)
    assert (found.before, found.after, found.published) == (1, 3, 4)
    assert [card.provenance.seed for card in found.added] == [3]
    ridge, svm = found.replaced
    assert ridge.lineage == ("ab" * 32, "w", "smile", "ridge")
    assert (ridge.old_version, ridge.new_version) == (1, 2)
    assert ridge.old_id == ridge.new_id == sample_card(1).direction_id  # only measured anew
    assert (svm.old_version, svm.new_version) == (1, 3)
    assert svm.new_id == sample_card(5, method="svm").direction_id != svm.old_id


def test_the_numbers_that_changed(catalog):
    ridge, svm = catalog.diff(1).replaced
    assert ridge.changes["effect"] == pytest.approx(1.0)
    assert ridge.changes["leak"] == pytest.approx(-0.05)
    assert ridge.changes.keys() == {"effect", "effect_relative", "leak"}
    assert ridge.numbers["stability"] == (None, 0.8)
    assert "identity_cost" not in ridge.numbers  # never measured
    assert svm.changes == {}


def test_either_order_gives_the_same(catalog):
    past = Catalog(catalog.url, as_of=1)
    assert past.diff(3).replaced == catalog.diff(1).replaced
    assert (past.diff(3).before, past.diff(3).after) == (1, 3)


def test_nothing_between_a_state_and_itself(catalog):
    found = catalog.diff(3)
    assert found.empty and not found.replaced and not len(found.added)
    assert catalog.diff("2999-01-01").empty


def test_all_is_new_since_the_creation(catalog):
    found = catalog.diff(0)
    assert len(found.added) == 3 and not found.replaced and found.published == 6


def test_no_such_state(catalog):
    with pytest.raises(InputError, match="has the commits 0 to 3; 9 came"):
        catalog.diff(9)
    with pytest.raises(InputError, match="expected the number of a commit or a time"):
        catalog.diff("lately")
    with pytest.raises(InputError, match="expected a commit or a time"):
        catalog.diff(None)
