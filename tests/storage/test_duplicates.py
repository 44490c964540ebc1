"""Near-duplicates: all of them are found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from schemas.directions import DirectionCard
from storage import artefacts, duplicates
from storage.catalog import Catalog
from storage.duplicates import Duplicate, of_new, within
from tests.storage.sample_cards import sample_card


def rows_of(cards: list[DirectionCard]) -> pa.Table:
    """What `of_new` and `within` read of a catalogue."""
    return pa.table(
        {
            "direction_id": [card.direction_id for card in cards],
            "generator_fingerprint": [card.generator_fingerprint for card in cards],
            "space": [card.space for card in cards],
            "shape": pa.array([list(card.vector.shape) for card in cards], pa.list_(pa.int32())),
            "vector": pa.array(
                [card.vector.ravel() for card in cards], pa.large_list(pa.float32())
            ),
        }
    )


def turned(card: DirectionCard, cosine: float, seed: int, **changes: object) -> DirectionCard:
    """A card whose vector has this cosine to the other's."""
    vector = card.vector.astype(np.float64)
    other = np.random.default_rng(1000 + seed).normal(size=vector.shape)
    other -= vector * np.sum(other * vector)
    other /= np.linalg.norm(other)
    mixed = cosine * vector + np.sqrt(1 - cosine**2) * other
    return replace(card, vector=mixed.astype(np.float32), **changes)


def planted(count: int, width: int, pairs: dict[int, float], seed: int = 0) -> pa.Table:
    """Random directions; number i + 1 has the cosine pairs[i] to number i."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for i, cosine in pairs.items():
        other = vectors[i + 1] - vectors[i] * (vectors[i] @ vectors[i + 1])
        other /= np.linalg.norm(other)
        vectors[i + 1] = cosine * vectors[i] + np.sqrt(1 - cosine**2) * other
    flat = pa.array(vectors.astype(np.float32).ravel())
    return pa.table(
        {
            "direction_id": [f"{i:032x}" for i in range(count)],
            "generator_fingerprint": ["ab" * 32] * count,
            "space": ["w"] * count,
            "shape": pa.array([[width]] * count, pa.list_(pa.int32())),
            "vector": pa.LargeListArray.from_arrays(np.arange(count + 1) * width, flat),
        }
    )


@pytest.mark.parametrize("width", [2, 16, 64, 256, 257, 512])
def test_every_pair_beyond_the_limit_is_found_and_no_other(width):
    """Against every product of two, in float64; wide ones take the first look."""
    pairs = {3: 0.9999, 40: -0.9961, 200: 0.9951, 300: 0.9949, 500: -0.97, 598: 1.0}
    rows = planted(600, width, pairs)
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(600, width)
    cosines = vectors.astype(np.float64) @ vectors.T
    cosines /= np.sqrt(np.outer(np.diag(cosines), np.diag(cosines)))
    lower = np.tril(np.abs(cosines) > 0.995, -1)
    close = np.tril(np.abs(np.abs(cosines) - 0.995) < 1e-5, -1)  # within rounding: either way
    found = within(rows, 0.995, most=10**6)
    said = np.zeros_like(lower)
    for pair in found.pairs:
        i, j = int(pair.direction_id, 16), int(pair.other, 16)
        said[i, j] = True
        assert pair.cosine == pytest.approx(cosines[i, j], abs=1e-5)
    assert ((said == lower) | close).all()
    assert found.count == len(found.pairs) and found.limit == 0.995
    if width > 16:
        assert found.count == 4


def test_blocks_make_no_difference(monkeypatch):
    pairs = {i: 0.996 + 0.0001 * (i % 30) for i in range(0, 1000, 7)}
    rows = planted(1000, 300, pairs)
    whole = within(rows)
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    split = within(rows)
    assert whole.count == split.count == len(pairs)
    named = [(pair.direction_id, pair.other) for pair in whole.pairs]
    assert sorted(named) == sorted((pair.direction_id, pair.other) for pair in split.pairs)
    assert sorted(named) == sorted((f"{i + 1:032x}", f"{i:032x}") for i in pairs)


def test_all_alike_gives_a_count_and_the_nearest():
    rows = planted(1, 512, {})
    same = pa.concat_tables([rows] * 400)
    same = same.set_column(0, "direction_id", pa.array([f"{i:032x}" for i in range(400)]))
    found = within(same, most=50)
    assert found.count == 400 * 399 // 2 and len(found.pairs) == 50
    assert all(pair.cosine == pytest.approx(1, abs=1e-6) for pair in found.pairs)


def test_only_one_generator_space_and_shape_are_compared():
    card = sample_card(1, shape=(8,))
    others = [
        replace(card, generator_fingerprint="cd" * 32),
        replace(card, space="z"),
        replace(card, space="w", vector=card.vector.reshape(2, 4)),
    ]
    assert within(rows_of([card, *others])).count == 0
    assert of_new(others, rows_of([card])) == ()
    twin = replace(card, method="svm", generator="another name of it")
    assert within(rows_of([card, *others, twin])).pairs == (
        Duplicate(twin.direction_id, card.direction_id, pytest.approx(1, abs=1e-6)),
    )


def test_new_cards_are_held_against_those_there_and_those_before_them():
    there = [sample_card(1, shape=(64,)), sample_card(2, shape=(64,))]
    near = turned(there[0], 0.999, 1, method="svm")
    back = turned(there[1], -0.996, 2, method="svm")
    again = turned(near, 0.9999, 3, method="lda")
    far = turned(there[0], 0.99, 4, method="pca")
    found = of_new([near, back, again, far, there[1]], rows_of(there))
    ids = [card.direction_id for card in (*there, near, back, again)]
    assert [(pair.direction_id, pair.other) for pair in found] == [
        (ids[2], ids[0]),  # near, there already
        (ids[3], ids[1]),  # the opposite direction
        (ids[4], ids[2]),  # the one before it, nearer than that there
        (ids[4], ids[0]),
        (ids[1], ids[3]),  # measured again: not itself, but what came before it
    ]
    assert [pair.cosine for pair in found[:3]] == pytest.approx([0.999, -0.996, 0.9999], abs=1e-5)
    assert of_new([far], rows_of(there), limit=0.98)[0].cosine == pytest.approx(0.99, abs=1e-5)
    assert of_new([far], rows_of([])[:0]) == ()


def test_a_catalogue_points_them_out(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    card = sample_card(1, shape=(64,))
    assert catalog.publish([card]).duplicates == ()
    near = turned(card, 0.998, 1, method="svm")
    (pair,) = catalog.publish([near]).duplicates or ()
    assert pair[:2] == (near.direction_id, card.direction_id)
    assert catalog.publish([near]).written is False
    nobody_looked = catalog.publish([turned(card, 0.9999, 2, method="lda")], near=None)
    assert nobody_looked.duplicates is None
    kept = artefacts.put(catalog.url, artefacts.pack({"w": card.vector}), "flow")
    empty = np.zeros(0, np.float32)
    flows = [
        replace(card, method=name, artefact=kept, vector=empty) for name in ("flow", "another flow")
    ]
    assert catalog.publish(flows).duplicates == ()
    found = catalog.stats().duplicates
    assert found is not None and found.count == 3  # of svm, lda and the first
    assert catalog.stats(near=None).duplicates is None
    # what was replaced is compared no more
    catalog.publish([sample_card(2, shape=(64,))])
    found = catalog.stats().duplicates
    assert found is not None and found.count == 1
