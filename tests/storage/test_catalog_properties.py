"""What holds for any cards: they come back bit by bit, versions have no gaps, filters are plain."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import artefacts
from storage.catalog import Catalog
from tests.storage.any_cards import any_card, artefact_data, plain
from tests.storage.sample_cards import responses, sample_card

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Catalog:
    """One catalogue that grows from example to example."""
    catalog = Catalog(tmp_path_factory.mktemp("any") / "catalog")
    artefacts.put(catalog.url, artefact_data(1), "flow")
    return catalog


@settings(max_examples=40, deadline=None)
@given(cards=st.lists(any_card(), min_size=1, max_size=4, unique_by=lambda c: c.direction_id))
def test_any_cards_come_back_bit_by_bit(shared, cards):
    publication = shared.publish(cards, f"p {next(NUMBERS)}")
    found = shared.publication(publication.publication_id)
    assert len(found) == len(cards)
    for card, back in zip(cards, found, strict=True):
        made = replace(card.provenance, created_at=publication.created_at)
        name = publication.publication_id
        set_ = replace(card, provenance=made, publication_id=name, version=back.version)
        assert plain(back) == plain(set_)
        assert back.direction_id == card.direction_id
    assert plain(shared.get(cards[-1].direction_id)) == plain(found[-1])


LINEAGES = st.tuples(
    st.sampled_from("zw"), st.sampled_from(["smile", "yaw"]), st.sampled_from("ab")
)


@settings(max_examples=15, deadline=None)
@given(publications=st.lists(st.lists(LINEAGES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_versions_are_1_to_n_whatever_the_split(publications):
    seeds = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        catalog, published = Catalog(f"{folder}/catalog"), []
        for lineages in publications:
            cards = [
                sample_card(next(seeds), space=space, attribute=attribute, method=method)
                for space, attribute, method in lineages
            ]
            catalog.publish(cards)
            published += cards
        found = catalog.cards(all_versions=True)
        assert [c.direction_id for c in found] == [c.direction_id for c in published]
        count: Counter = Counter()
        for card in found:
            count[card.lineage] += 1
            assert card.version == count[card.lineage]
        newest = {card.lineage: card.version for card in catalog.cards()}
        assert newest == dict(count)
        for commit in range(1, len(publications) + 1):
            past = Catalog(catalog.url, as_of=commit)
            length = sum(len(lineages) for lineages in publications[:commit])
            ids = [card.direction_id for card in past.cards(all_versions=True)]
            assert ids == [card.direction_id for card in published[:length]]


@pytest.fixture(scope="module")
def various(tmp_path_factory):
    """60 cards of few lineages, in six publications, and the catalogue."""
    rng = np.random.default_rng(0)

    def card(seed: int):
        attribute = str(rng.choice(["smile", "yaw"]))
        return sample_card(
            seed,
            attribute=attribute,
            method=str(rng.choice(["ridge", "svm", "lda"])),
            space=str(rng.choice(["z", "w"])),
            sigma=float(rng.choice([0.5, math.nan])),
            responses=responses(attribute, float(rng.normal()), leak=float(rng.random())),
            truth_cosine=float(rng.random()) if rng.random() < 0.5 else None,
        )

    cards = [card(seed) for seed in range(60)]
    catalog = Catalog(tmp_path_factory.mktemp("various") / "catalog")
    for start in range(0, 60, 10):
        catalog.publish(cards[start : start + 10])
    return catalog, catalog.cards(all_versions=True)


@settings(max_examples=60, deadline=None)
@given(
    attribute=st.none() | st.sampled_from(["smile", "yaw"]),
    method=st.none() | st.sampled_from(["ridge", "svm", "lda"]),
    space=st.none() | st.sampled_from(["z", "W"]),
    all_versions=st.booleans(),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    order=st.sampled_from([None, "leak", "truth", "effect"]),
    descending=st.booleans(),
)
def test_filters_are_what_plain_python_says(
    various, attribute, method, space, all_versions, low, high, order, descending
):
    catalog, cards = various
    newest = {card.lineage: card.version for card in cards}
    expected = [
        card
        for card in cards
        if attribute in (None, card.attribute)
        and method in (None, card.method)
        and (space is None or card.space == space.lower())
        and (all_versions or newest[card.lineage] == card.version)
        and (low < card.leak or (card.truth_cosine is not None and card.truth_cosine <= high))
    ]
    if order is not None:
        expected.sort(key=lambda card: sorting(card, order, descending))
    found = catalog.find(
        f"leak > {low!r} or truth <= {high!r}",
        order,
        descending,
        attribute=attribute,
        method=method,
        space=space,
        all_versions=all_versions,
    )
    assert [c.provenance.seed for c in found] == [c.provenance.seed for c in expected]


def sorting(card, order: str, descending: bool) -> tuple[bool, float]:
    """What was not measured comes last."""
    value = getattr(card, {"truth": "truth_cosine"}.get(order, order))
    known = value is not None and not math.isnan(value)
    return (not known, (-value if descending else value) if known else 0.0)
