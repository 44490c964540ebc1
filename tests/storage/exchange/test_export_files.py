"""Files of an export: their names, and that none is written over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import InputError, LodeError
from storage.exchange.bundle import read_bundle
from storage.exchange.exporting import export_cards, file_names
from storage.files import Store
from tests.storage.sample_cards import sample_card


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_names_say_attribute_method_space_and_id(tmp_path):
    card = sample_card()
    made = export_cards([card], str(tmp_path), "npy")
    assert set(made.files) == set(listing(tmp_path))
    assert f"smile_ridge_w_{card.direction_id[:8]}.npy" in made.files
    assert {"README.txt", "licences.json"} < set(made.files)


@pytest.mark.parametrize(
    "text", ["../../etc", "a/b", "a\\b", "C:", "..", "x" * 300, "\0\n", "Ä ö", ""]
)
def test_a_name_stays_in_its_folder_whatever_the_attribute(text):
    (name,) = file_names([sample_card(attribute=text, method=text)], ".npy")
    assert Path(name).name == name and not set(name) & set("/\\:\0\n ") and len(name) < 200
    assert name[0] not in ".-"


def test_versions_of_one_vector_get_names_of_their_own():
    card = sample_card(version=1)
    names = file_names([card, replace(card, version=2)], ".npy")
    assert [name[-7:] for name in names] == ["_v1.npy", "_v2.npy"]
    with pytest.raises(InputError, match="twice"):
        file_names([card, card], ".npy")


def test_nothing_is_written_where_one_file_is_there_already(tmp_path):
    cards = [sample_card(seed) for seed in range(3)]
    taken = tmp_path / file_names(cards, ".npy")[2]
    taken.write_text("mine")
    with pytest.raises(InputError, match="already; nothing was written"):
        export_cards(cards, str(tmp_path), "npy")
    assert listing(tmp_path) == {taken.name: b"mine"}
    export_cards(cards, str(tmp_path), "npy", force=True)
    assert len(listing(tmp_path)) == 5 and taken.read_bytes() != b"mine"


def test_a_second_export_into_the_same_folder_needs_force(tmp_path):
    export_cards([sample_card()], str(tmp_path), "npy")
    before = listing(tmp_path)
    with pytest.raises(InputError, match="--force"):
        export_cards([sample_card(1)], str(tmp_path), "npy")
    assert listing(tmp_path) == before


def test_the_same_export_gives_the_same_bytes(tmp_path):
    for form in ("npy", "pt", "safetensors", "ganspace", "json", "bundle"):
        for name in ("one", "two"):
            export_cards([sample_card(), sample_card(1)], str(tmp_path / form / name), form)
        assert listing(tmp_path / form / "one") == listing(tmp_path / form / "two")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("npy", "a.npy"),
        ("pt", "a.pt"),
        ("ganspace", "a.npz"),
        ("json", "a.json"),
        ("bundle", "a.zip"),
    ],
)
def test_a_single_file_can_be_named(tmp_path, form, name):
    assert name in export_cards([sample_card()], str(tmp_path / name), form).files
    about = {f"{name}.README.txt", f"{name}.licences.json"}
    beside = about if form not in ("json", "bundle") else set()
    assert set(listing(tmp_path)) == {name} | beside


@pytest.mark.parametrize(("form", "name"), [("npy", "a.npy"), ("pt", "a.pt"), ("json", "a.zip")])
def test_a_file_cannot_be_the_folder(tmp_path, form, name):
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        export_cards([sample_card(), sample_card(1)], str(tmp_path / name), form)


def test_no_cards_are_no_export(tmp_path):
    with pytest.raises(InputError, match="no cards"):
        export_cards([], str(tmp_path), "npy")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LodeError, match="file/out"):
        export_cards([sample_card()], str(tmp_path / "file" / "out"), "npy")
    assert listing(tmp_path) == {"file": b"mine"}


def test_an_object_store_takes_the_files_too(bucket):
    cards = [sample_card(), sample_card(1)]
    made = export_cards(cards, f"{bucket}/out", "npy")
    assert sorted(made.files) == Store(f"{bucket}/out").names()
    with pytest.raises(InputError, match="already"):
        export_cards(cards, f"{bucket}/out", "npy")
    export_cards(cards, f"{bucket}/cards.zip", "bundle")
    read, _ = read_bundle(Store(bucket).read("cards.zip"))
    assert {card.direction_id for card in read} == {card.direction_id for card in cards}
