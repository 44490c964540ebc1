"""Files become cards of a catalogue: one commit, each once, with what there is to say of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from storage.catalog import Catalog
from storage.exchange.drafts import Given, drafts_of
from storage.exchange.importing import import_cards
from tests.storage.exchange import planted_files as planted
from tests.storage.exchange.planted_files import put, unit
from tests.storage.sample_cards import sample_card


def test_a_folder_is_one_commit(catalog, folder):
    done = import_cards(catalog, folder)
    assert done.publication is not None and done.publication.written
    assert len(done.new) == len(done.drafts) == 5 == len(catalog.cards())
    assert done.publication.commit == catalog.publish([sample_card()]).commit - 1
    reasons = {Path(each.file).name: each.reason for each in done.skipped}
    assert sorted(reasons) == ["README.md", "evil.pt"]
    assert "no known format" in reasons["README.md"] and "'os.system'" in reasons["evil.pt"]


def test_a_card_says_where_it_comes_from(catalog, folder):
    import_cards(catalog, folder, code_version="9.9")
    (card,) = catalog.cards(attribute="smile")
    assert (card.method, card.space, card.generator) == ("e4e", "w", "stylegan2-tf-ffhq")
    assert card.generator_fingerprint == "name:stylegan2-tf-ffhq"
    assert (card.unit, card.provenance.dataset_id, card.provenance.seed) == ("1", "imported", 0)
    made = json.loads(card.provenance.settings)
    assert made["file"] == "smile.pt" and len(made["sha256"]) == 64 and made["format"] == "torch"
    assert card.provenance.code_version == "9.9" and np.isnan(card.slope)
    (pca,) = catalog.cards(attribute="pca_001")
    assert pca.sigma == planted.pca(2, 32)["std"][1] and "stdev_share" in pca.evidence


def test_the_norm_and_the_sign_are_kept(catalog, tmp_path):
    vector = -37.5 * unit(4, 3, 16)
    import_cards(catalog, put(tmp_path / "x.npy", planted.npy(vector)), generator="head")
    (card,) = catalog.cards()
    assert card.evidence["norm"] == pytest.approx(37.5) and card.space == "w+"
    np.testing.assert_allclose(card.vector * card.evidence["norm"], vector, rtol=1e-6)


@pytest.mark.parametrize("shape", [(512,), (3, 16)])
def test_a_vector_of_norm_one_keeps_its_bits(shape):
    """Divided by its norm again, some of its numbers would be rounded to others."""
    for seed in range(20):
        vector = unit(seed, *shape).astype(np.float32)
        (draft,) = drafts_of(Path("x.npy"), planted.npy(vector), Given(generator="head"))
        assert draft.card.vector.tobytes() == vector.tobytes()
    longer = vector * np.float32(1 + 1e-4)
    (draft,) = drafts_of(Path("x.npy"), planted.npy(longer), Given(generator="head"))
    assert np.linalg.norm(draft.card.vector.astype(float)) == pytest.approx(1, abs=1e-6)


scaled = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=2), elements=st.floats(-1, 1)
).filter(lambda array: np.abs(array).max() > 1e-3)


@given(array=scaled, exponent=st.integers(-24, 24))
@settings(max_examples=200)
def test_every_direction_has_norm_one(array, exponent):
    given_ = Given(generator="head")
    (draft,) = drafts_of(Path("x.npy"), planted.npy(array * 10.0**exponent), given_)
    assert np.linalg.norm(draft.card.vector) == pytest.approx(1, abs=1e-5)
    back = draft.card.vector.astype(float) * draft.card.evidence["norm"]
    wanted = array * 10.0**exponent
    tolerance = 1e-6 * np.linalg.norm(wanted)
    np.testing.assert_allclose(np.broadcast_to(back, wanted.shape), wanted, atol=tolerance)


def test_importing_again_publishes_nothing(catalog, folder):
    first = import_cards(catalog, folder)
    again = import_cards(catalog, folder)
    assert again.publication is None and again.new == () and len(again.drafts) == 5
    import_cards(catalog, folder / "e4e" / "smile.pt")
    put(folder / "new.npy", planted.npy(unit(9, 1, 32)))
    more = import_cards(catalog, folder, generator="stylegan2-tf-ffhq", space="w")
    assert len(more.new) == 2  # the new one, and the boundary for this generator
    versions = [card.version for card in catalog.cards(all_versions=True)]
    assert versions == [1] * 7 and first.publication is not None


def test_a_dry_run_publishes_nothing(catalog, folder):
    done = import_cards(catalog, folder, dry_run=True)
    assert len(done.new) == 5 and done.publication is None
    assert not os.path.exists(catalog.url)


def test_what_is_given_counts(catalog, tmp_path):
    path = put(tmp_path / "e4e" / "smile.pt", planted.torch_zip(unit(2, 1, 32)))
    done = import_cards(
        catalog,
        path,
        generator="mine",
        fingerprint="cd" * 32,
        generator_licence="CC0-1.0",
        space="Z",
        attribute="grin",
        unit="mm",
        method="guess",
        licence="CC-BY-4.0",
        source="https://example.org",
        layers=(1, 2),
    )
    (card,) = catalog.cards()
    lineage = ("cd" * 32, "z", "grin", "guess")
    assert card.lineage == lineage and (card.unit, card.layers) == ("mm", (1, 2))
    assert (card.generator, card.generator_licence) == ("mine", "CC0-1.0")
    assert (card.licence, card.source) == ("CC-BY-4.0", "https://example.org")
    assert [text for _, text in done.warnings] == [
        "what it says of itself names generator stylegan2-tf-ffhq"
    ]


def test_identical_rows_become_one_of_w(catalog, tmp_path):
    row = 3 * unit(5, 16)
    path = put(tmp_path / "x.npy", planted.npy(np.tile(row, (18, 1))))
    done = import_cards(catalog, path, generator="head")
    (card,) = catalog.cards()
    assert card.vector.shape == (16,) and card.space == "w"
    assert card.evidence["norm"] == pytest.approx(3)
    assert "18 rows are all the same" in card.notes and "18 rows" in done.warnings[0][1]


def test_near_duplicates_are_pointed_out(catalog, tmp_path):
    vector = unit(6, 64)
    near = vector + 0.05 * unit(7, 64)
    there = sample_card(vector=vector.astype(np.float32), generator_fingerprint="name:head")
    catalog.publish([there])
    put(tmp_path / "in" / "a.npy", planted.npy(near))
    put(tmp_path / "in" / "b.npy", planted.npy(-5 * near))
    put(tmp_path / "in" / "c.npy", planted.npy(unit(8, 64)))
    done = import_cards(catalog, tmp_path / "in", generator="head", space="w")
    notes = {draft.card.attribute: draft.card.notes for draft in done.drafts}
    assert there.direction_id[:10] in notes["a"] and "cosine 0.99" in notes["a"]
    assert "a.npy" in notes["b"] and "cosine -1.0000" in notes["b"]
    assert notes["c"] == "" and len(done.new) == 3


def test_two_files_of_one_lineage_are_told(catalog, tmp_path):
    put(tmp_path / "in" / "a" / "smile.npy", planted.npy(unit(1, 32)))
    put(tmp_path / "in" / "b" / "smile.npy", planted.npy(unit(2, 32)))
    put(tmp_path / "in" / "c" / "smile.npy", planted.npy(unit(1, 32)))  # the very same file
    done = import_cards(catalog, tmp_path / "in", generator="head", space="w")
    assert [card.version for card in catalog.cards(all_versions=True)] == [1, 2]
    assert "another version of the direction of" in dict(done.warnings)[done.drafts[1].file]
    assert [Path(each.file).parent.name for each in done.skipped] == ["c"]
    assert "repeats a direction of" in done.skipped[0].reason


def test_a_catalogue_in_an_object_store(bucket, folder):
    """One commit there; again nothing; and back from files that lie there."""
    catalog = Catalog(f"{bucket}/catalog")
    done = import_cards(catalog, folder)
    assert len(done.new) == 5 and done.publication is not None and done.publication.commit == 1
    assert import_cards(Catalog(catalog.url), folder).new == ()
    assert {card.direction_id for card in Catalog(catalog.url).cards()} == set(done.new)


def test_names_of_files_hold_no_control_characters_when_told(catalog, tmp_path):
    put(tmp_path / "in" / "a\x1b[31m.npy", planted.npy(unit(1, 8)))
    put(tmp_path / "in" / "b\x1b[31m.txt", b"?")
    done = import_cards(catalog, tmp_path / "in", generator="head")
    told = [
        done.drafts[0].file,
        done.skipped[0].file,
        *(text for pair in done.warnings for text in pair),
    ]
    assert all(text.isprintable() for text in told)


def test_a_bundle_and_a_document_are_restored_as_they_were(tmp_path):
    from storage.exchange.bundle import write_bundle
    from storage.exchange.card_json import to_json

    cards = [sample_card(1, notes="see there", sigma=0.25), sample_card(2, attribute="age")]
    for name, data in (("b.zip", write_bundle(cards)), ("c.json", to_json(cards))):
        path = put(tmp_path / name, data)
        catalog = Catalog(tmp_path / f"{name}-catalog")
        done = import_cards(catalog, path, generator="other")
        assert "restored as they were" in done.warnings[0][1]
        assert {card.direction_id for card in catalog.cards()} == set(done.new)
        for before in cards:
            after = catalog.get(before.direction_id)
            made = replace(after.provenance, created_at=None)
            assert (after.notes, after.generator, made) == (before.notes, "head", before.provenance)
            np.testing.assert_array_equal(after.vector, before.vector)


def real_directions() -> Path | None:
    """The published directions, in a folder beside that of the models."""
    models = os.environ.get("LODE_MODELS")
    found = Path(models).parent / "directions" if models else None
    return found if found and found.is_dir() else None


@pytest.mark.skipif(real_directions() is None, reason="LODE_MODELS has no ../directions beside it")
def test_all_published_directions_are_imported_at_once(catalog):
    root = real_directions()
    assert root is not None
    done = import_cards(catalog, root)
    assert done.skipped == () and len(catalog.cards(all_versions=True)) == len(done.new) == 102
    assert {card.version for card in catalog.cards(all_versions=True)} == {1}
    made = {(card.method.partition("_c_")[0], card.space) for card in catalog.cards()}
    assert made == {
        *(("interfacegan", "z"), ("interfacegan", "w"), ("ganspace", "w")),
        *(("e4e", "w"), ("micromotion", "w+")),
    }
    norms = {card.attribute: card.evidence["norm"] for card in catalog.cards(method="micromotion")}
    known = {"smile": 2.00, "angry": 2.42, "eyesClose": 1.06, "aging": 1.78, "headsTurn": 88.3}
    assert norms == pytest.approx(known, abs=0.05)
    told = {Path(file).parent.name + "/" + Path(file).name: text for file, text in done.warnings}
    assert "18 rows are all the same" in told["encoder4editing/pose.pt"]
    assert "norms up to 59.66" in told["headsTurn/d_latent"]
    assert not [text for text in told.values() if "absolute" in text]
    assert all(card.licence and card.source for card in catalog.cards())
