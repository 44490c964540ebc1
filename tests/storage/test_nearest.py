"""The nearest directions, against a plain product over all vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schemas.directions import Artefact
from schemas.errors import CorruptDataError, InputError
from storage.catalog import Catalog
from storage.vectors import Vectors
from tests.storage.sample_cards import sample_card

TURN = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1], [-1, 0, 0]], np.float32)


def turned(index: int, **changes):
    """One of five cards whose cosines to the first are 1, 0.8, 0.6, 0 and -1."""
    return sample_card(index, vector=TURN[index], method=f"m{index}", **changes)


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """The five, and what must never be compared with them."""
    catalog = Catalog(tmp_path / "catalog")
    catalog.publish([turned(index) for index in range(3)])
    catalog.publish([turned(3), turned(4)])
    catalog.publish(
        [
            turned(0, space="z"),
            turned(1, generator="other", generator_fingerprint="cd" * 32),
            sample_card(9, vector=np.stack([TURN[0], TURN[0]]) / math.sqrt(2), space="w+"),
        ],
        "others",
    )
    return catalog


def told(found) -> list[tuple[int, float]]:
    return [(card.provenance.seed, round(cosine, 5)) for card, cosine in found]


def test_the_nearest_to_a_card(catalog):
    assert told(catalog.nearest(turned(0))) == [(1, 0.8), (2, 0.6), (3, 0.0), (4, -1.0)]
    assert told(catalog.nearest(turned(0), k=2)) == [(1, 0.8), (2, 0.6)]
    assert told(catalog.nearest(turned(0), k=2, absolute=True)) == [(4, -1.0), (1, 0.8)]
    same = catalog.nearest(turned(0).direction_id[:12], k=1)
    assert told(same) == [(1, 0.8)]
    np.testing.assert_array_equal(same[0][0].vector, TURN[1])


def test_the_nearest_to_a_vector(catalog):
    found = catalog.nearest(TURN[0] * 7, space="W", fingerprint="head")  # any length
    assert told(found) == [(0, 1.0), (1, 0.8), (2, 0.6), (3, 0.0), (4, -1.0)]
    assert told(catalog.nearest([1, 0, 0], fingerprint="cdcdcdcd")) == [(1, 0.8)]
    assert told(catalog.nearest([[1, 0, 0], [1, 0, 0]])) == [(9, 1.0)]  # the only shape like it


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"to": TURN[0]}, "fits 3 of the catalogue's; expected one. Name one of: abab"),
        ({"to": TURN[0], "space": "s"}, "fits 0 .* It has: "),
        ({"to": np.ones(5)}, r"shape \(5,\) .* fits 0"),
        ({"to": np.zeros(3), "space": "z"}, "norm 0"),
        ({"to": [1, math.nan, 0], "space": "z"}, "norm nan"),
        ({"to": ["a"]}, "a card, an id or an array"),
        ({"to": TURN[0], "k": 0}, "k 0"),
        ({"to": "ffffffffff"}, "none is"),
        ({"to": "no-such"}, "none is"),
    ],
)
def test_what_cannot_be_compared(catalog, asked, says):
    with pytest.raises(InputError, match=says):
        catalog.nearest(**asked)


def test_artefacts_stand_aside(catalog, tmp_path):
    from storage import artefacts

    data = artefacts.pack({"weight": np.eye(3, dtype=np.float32)})
    artefact = artefacts.put(catalog.url, data, "matrix")
    card = sample_card(50, vector=np.zeros(0, np.float32), artefact=artefact, method="net")
    catalog.publish([card])
    assert catalog.get(card.direction_id).artefact == artefact
    assert len(catalog.nearest(turned(0))) == 4
    with pytest.raises(InputError, match="is an artefact and no vector"):
        catalog.nearest(card)
    missing = Artefact("matrix", "0" * 64, 7)
    with pytest.raises(InputError, match="is not there; write it with"):
        catalog.publish([sample_card(51, vector=np.zeros(0, np.float32), artefact=missing)])


def test_only_the_newest_versions_unless_told(catalog):
    catalog.publish([sample_card(60, vector=TURN[3], method="m1")])  # replaces what was nearest
    assert told(catalog.nearest(turned(0), k=1)) == [(2, 0.6)]
    assert told(catalog.nearest(turned(0), k=1, all_versions=True)) == [(1, 0.8)]
    assert told(Catalog(catalog.url, as_of=2).nearest(turned(0), k=1)) == [(1, 0.8)]


def test_a_card_that_was_not_published(catalog):
    new = sample_card(70, vector=np.array([0, 1, 0], np.float32))
    assert told(catalog.nearest(new, k=2)) == [(2, 0.8), (1, 0.6)]
    stranger = sample_card(71, vector=TURN[0], generator_fingerprint="ef" * 32)
    assert catalog.nearest(stranger) == []


def test_many_against_a_plain_product(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    cards = [sample_card(i, vector=v, space="w+", method=f"m{i}") for i, v in enumerate(vectors)]
    asked = rng.normal(size=(4, 6))
    for start, end in ((0, 200), (200, 299), (299, 300)):  # what is kept grows with each
        catalog.publish(cards[start:end])
        cosines = np.tensordot(vectors[:end], asked / np.linalg.norm(asked), 2)
        best = np.argsort(-cosines)[:20]
        found = catalog.nearest(asked, k=20)
        assert [card.provenance.seed for card, _ in found] == best.tolist()
        np.testing.assert_allclose([c for _, c in found], cosines[best], atol=1e-6)


def test_vectors_are_read_once(catalog, monkeypatch):
    catalog.nearest(turned(0))
    monkeypatch.setattr(Vectors, "_filled", lambda *args: pytest.fail("read again"))
    assert len(catalog.nearest(turned(0))) == 4


def test_vectors_that_do_not_have_their_shape(tmp_path):
    from deltalake import DeltaTable

    catalog = Catalog(tmp_path / "catalog")
    catalog.publish([sample_card(1)])
    table = DeltaTable(catalog.url)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.update({"shape": "make_array(arrow_cast(9, 'Int32'))"})
    with pytest.raises(CorruptDataError, match=r"8 numbers and the shape \[9\]"):
        catalog.cards()[0]
    with pytest.raises(CorruptDataError, match="do not have the 9 numbers"):
        catalog.nearest(np.ones(9))


def test_near_duplicates_are_pointed_out(catalog):
    near = np.array([0.999, 0.0447, 0], np.float32)
    card = sample_card(80, vector=near / np.linalg.norm(near), method="new")
    far = sample_card(81, vector=np.array([0, 1, 0], np.float32), method="far")
    published = catalog.publish([card, far])
    assert {pair[1] for pair in published.duplicates or ()} == {
        turned(0).direction_id,
        turned(4).direction_id,  # the other way round
    }
    assert {pair[0] for pair in published.duplicates or ()} == {card.direction_id}
    again = catalog.publish([turned(0)], "measured again", near=0.9999)  # is not its own duplicate
    assert [pair[1] for pair in again.duplicates or ()] == [turned(4).direction_id]
    assert catalog.publish([turned(2)], "unasked", near=None).duplicates is None
