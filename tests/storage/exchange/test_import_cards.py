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

from schemas.errors import InputError, StorageError
from storage.catalog import Catalog
from storage.exchange.drafts import Given, drafts_of
from storage.exchange.importing import import_cards
from tests.storage.exchange import planted_files as planted
from tests.storage.sample_cards import sample_card


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


def unit(seed: int, *shape: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=shape)
    return vector / np.linalg.norm(vector)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five directions in four files of four formats, and two files that are none."""
    root = tmp_path / "theirs"
    put(root / "stylegan_ffhq_age_w_boundary.npy", planted.npy(unit(1, 1, 32)))
    put(root / "e4e" / "smile.pt", planted.torch_zip(2.5 * unit(2, 1, 32)))
    put(root / "micromotion" / "angry" / "d_latent", planted.torch_legacy(unit(3, 1, 4, 32)))
    put(root / "e4e" / "ffhq_pca.pt", planted.torch_zip(planted.pca(2, 32)))
    put(root / "README.md", b"# About")
    put(root / "e4e" / "evil.pt", b"\x80\x02cos\nsystem\nX\x01\0\0\x001\x85R.")
    return root


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


@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_norms_beyond_numbers_are_refused(scale):
    with pytest.raises(InputError, match="its norm is"):
        drafts_of(Path("x.npy"), planted.npy(np.ones((2, 8)) * scale), Given(generator="head"))


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


def test_a_file_without_a_generator_needs_one(catalog, tmp_path, folder):
    path = put(tmp_path / "one" / "smile.npy", planted.npy(unit(2, 1, 32)))
    with pytest.raises(InputError, match=r"smile\.npy: .*name it with --generator"):
        import_cards(catalog, path)
    put(folder / "smile.npy", path.read_bytes())
    done = import_cards(catalog, folder)
    assert any("--generator" in each.reason for each in done.skipped) and len(done.new) == 5


def test_identical_rows_become_one_of_w(catalog, tmp_path):
    row = 3 * unit(5, 16)
    path = put(tmp_path / "x.npy", planted.npy(np.tile(row, (18, 1))))
    done = import_cards(catalog, path, generator="head")
    (card,) = catalog.cards()
    assert card.vector.shape == (16,) and card.space == "w"
    assert card.evidence["norm"] == pytest.approx(3)
    assert "18 rows are all the same" in card.notes and "18 rows" in done.warnings[0][1]


def test_rows_that_differ_are_no_direction_of_w(catalog, tmp_path):
    path = put(tmp_path / "x.npy", planted.npy(unit(5, 18, 16)))
    with pytest.raises(InputError, match="18 rows differ"):
        import_cards(catalog, path, generator="head", space="w")
    with pytest.raises(InputError, match="18 rows; layers up to 18"):
        import_cards(catalog, path, generator="head", layers=(17, 18))


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


def test_one_attribute_is_of_one_direction(catalog, folder):
    with pytest.raises(InputError, match="5 directions came and one attribute"):
        import_cards(catalog, folder, attribute="smile")


def test_a_space_is_one_of_four(catalog, folder):
    with pytest.raises(InputError, match="space 'q'; expected one of z, w, w"):
        import_cards(catalog, folder, space="q")


def test_links_that_lead_out_are_not_followed(catalog, folder, tmp_path):
    outside = put(tmp_path / "outside" / "stylegan_ffhq_pose_boundary.npy", planted.npy(unit(9, 8)))
    (folder / "out.npy").symlink_to(outside)
    (folder / "out").symlink_to(outside.parent)
    (folder / "within.npy").symlink_to(folder / "stylegan_ffhq_age_w_boundary.npy")
    (folder / "broken.npy").symlink_to(folder / "nothing")
    done = import_cards(catalog, folder)
    reasons = {Path(each.file).name: each.reason for each in done.skipped}
    assert "leads out of the folder" in reasons["out.npy"] and "leads out" in reasons["out"]
    assert "cannot be read" in reasons["broken.npy"]
    assert "pose" not in {card.attribute for card in catalog.cards()}


def test_nothing_recognised_is_an_error(catalog, tmp_path):
    put(tmp_path / "in" / "a.txt", b"text")
    with pytest.raises(InputError, match=r"no direction that is recognised \(1 files.*a\.txt"):
        import_cards(catalog, tmp_path / "in")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"\(0 files looked at\)"):
        import_cards(catalog, tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        import_cards(catalog, tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(catalog, tmp_path):
    path = put(tmp_path / "x.npy", planted.npy(unit(1, 8)))
    path.chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        import_cards(catalog, path)


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
