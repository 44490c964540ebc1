"""What an export wrote becomes the same cards again, by the licences.json beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.directions import Calibration, DirectionCard
from storage.catalog import Catalog
from storage.exchange.exporting import Options, export_cards
from storage.exchange.importing import Imported, import_cards
from tests.storage.exchange.any_card import mutations
from tests.storage.sample_cards import sample_card

LINEAGE = ("attribute", "unit", "method", "space", "generator", "generator_fingerprint")
SAID = (*LINEAGE, "generator_licence", "licence", "layers", "sigma")


def cards() -> list[DirectionCard]:
    """A boundary of Z with a licence, one of W that moves some layers, one without a sigma."""
    return [
        sample_card(1, (16,), space="z", licence="MIT", source="https://example.org"),
        sample_card(2, (16,), attribute="an age / of\nit", layers=(1, 2), unit="years"),
        sample_card(3, (16,), attribute="yaw", sigma=float("nan"), method="interfacegan"),
    ]


def again(folder: Path, chosen: list[DirectionCard], form: str, options: Options) -> Imported:
    export_cards(chosen, str(folder / "out"), form, options)
    return import_cards(Catalog(folder / "new"), folder / "out")


@pytest.mark.parametrize("form", ["npy", "pt", "safetensors"])
def test_files_become_the_same_directions(tmp_path, form):
    """One of W with layers is repeated to rows, with zeros where it moves nothing."""
    plain, layered = [cards()[0], cards()[2]], cards()[1]
    done = again(tmp_path, plain, form, Options())
    export_cards([layered], str(tmp_path / "rows"), form, Options(rows=4))
    more = import_cards(Catalog(tmp_path / "new"), tmp_path / "rows")
    assert done.skipped == more.skipped == () and done.warnings == more.warnings == ()
    for card in cards():
        found = Catalog(tmp_path / "new").get(card.direction_id)
        assert found.vector.tobytes() == card.vector.tobytes()
        assert found.source == card.source or found.source.endswith(f".{form}")
        assert not found.aimless  # its attribute is what it says
        for name in SAID:
            assert repr(getattr(found, name)) == repr(getattr(card, name)), name
        assert found.provenance.settings == card.provenance.settings
        assert "measurements stayed" in found.notes and found.responses == ()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("form", ["ganspace", "pt"])
def test_components_become_the_same_directions(tmp_path, form, count):
    """A sigma that was not measured is 1 in the file and unknown again."""
    chosen = [replace(card, space="w", layers=()) for card in cards()[::-1][:count]]
    done = again(tmp_path, chosen, form, Options("ganspace", mean=np.zeros(16, np.float32)))
    assert set(done.new) == {card.direction_id for card in chosen} and done.skipped == ()
    assert np.isnan(Catalog(tmp_path / "new").get(chosen[0].direction_id).sigma)


def test_a_catalogue_that_holds_them_takes_none_again(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    catalog.publish(cards())
    export_cards([cards()[0], cards()[2]], str(tmp_path / "out"), "npy")
    done = import_cards(catalog, tmp_path / "out")
    assert done.new == () and len(done.drafts) == 2
    (card,) = (tmp_path / "out").glob("smile*.npy")
    assert import_cards(catalog, card).new == ()  # a single file has it beside it too


def test_a_file_of_a_given_name_has_its_licences_beside_it(tmp_path):
    card = sample_card()
    export_cards([card], str(tmp_path / "grin.npy"), "npy")
    export_cards([sample_card(5)], str(tmp_path), "npy")
    done = import_cards(Catalog(tmp_path / "new"), tmp_path)
    assert set(done.new) == {card.direction_id, sample_card(5).direction_id}
    assert done.skipped == ()


def test_a_scaled_file_is_another_direction_of_the_same_lineage(tmp_path):
    card = replace(cards()[0], sigma=7.5, calibration=Calibration(-2.0, -1, 1))
    for scale, sign in (("sigma", 1), ("calibration", -1)):
        export_cards([card], str(tmp_path / scale), "npy", Options(scale=scale))
        done = import_cards(Catalog(tmp_path / f"{scale}-new"), tmp_path / scale)
        (found,) = [draft.card for draft in done.drafts]
        assert found.lineage == card.lineage and found.direction_id != card.direction_id
        np.testing.assert_allclose(found.vector, sign * card.vector, atol=1e-6)
        assert found.provenance.dataset_id == "imported"


def test_what_is_given_counts_more(tmp_path):
    export_cards([sample_card()], str(tmp_path / "out"), "npy")
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out", method="mine", licence="MIT")
    (found,) = [draft.card for draft in done.drafts]
    assert (found.method, found.licence, found.attribute) == ("mine", "MIT", "smile")
    assert found.direction_id != sample_card().direction_id


def test_it_counts_for_the_very_file_only(tmp_path):
    export_cards([sample_card(1)], str(tmp_path / "out"), "npy")
    (path,) = (tmp_path / "out").glob("*.npy")
    np.save(path, sample_card(2).vector)
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out", generator="other")
    (found,) = [draft.card for draft in done.drafts]
    assert found.generator == "other" and found.provenance.dataset_id == "imported"
    assert found.generator_fingerprint == "name:other"
    assert "is about another" in done.skipped[0].reason


def edited(folder: Path, **changes: object) -> None:
    """licences.json, with the fields of its one entry changed."""
    path = folder / "licences.json"
    document = json.loads(path.read_bytes())
    (entry,) = document["files"].values()
    entry.update(changes)
    path.write_text(json.dumps(document))


def test_an_id_is_not_believed(tmp_path):
    export_cards([sample_card(1)], str(tmp_path / "out"), "npy")
    wanted = sample_card(2).direction_id
    edited(tmp_path / "out", direction_id=wanted)
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out")
    assert done.new and wanted not in done.new


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "x"},
        {"layers": [-1]},
        {"layers": list(range(1000))},
        {"layers": [1.5]},
        {"seed": 2**70},
        {"sigma": "much"},
        {"attribute": 5},
        {"attribute": "\ud800"},
        {"settings": None},
    ],
)
def test_a_wrong_field_is_told_and_nothing_of_it_is_used(tmp_path, changes):
    export_cards([sample_card(1)], str(tmp_path / "out"), "npy")
    edited(tmp_path / "out", **changes)
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out", generator="other")
    assert done.drafts[0].card.generator_fingerprint == "name:other"
    assert Path(done.skipped[0].file).name == "licences.json" and len(done.skipped) == 1


@pytest.mark.parametrize("changes", [{"unit": ""}, {"method": "x" * 2000}, {"layers": [200]}])
def test_a_card_that_cannot_be_published_stops_no_other(tmp_path, changes):
    """An empty unit is said as "1"; a name that is too long or a row that is none is refused."""
    export_cards([sample_card(1, (3, 8), space="w+")], str(tmp_path / "out" / "a"), "npy")
    edited(tmp_path / "out" / "a", **changes)
    export_cards([sample_card(2)], str(tmp_path / "out" / "b"), "npy")
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out")
    assert sample_card(2).direction_id in done.new
    assert len(done.new) + len(done.skipped) == 2


@pytest.mark.parametrize(
    "document",
    [
        b'{"latentlode": "licences", "version": 1, "files": ' + b"[" * 100_000,
        b'{"latentlode": "licences", "version": 1, "files": {"a": ' + b'{"a":' * 100_000,
        b'{"latentlode": "licences", "version": 1, "files": {"": [' + b"0," * 2_100_000 + b"0]}}",
        b'{"latentlode": "licences", "version": 2, "files": {}}',
        b'{"latentlode": "licences", "version": 1, "files": []}',
        b'{"latentlode": "licences", "version": 1',
    ],
)
def test_a_hostile_document_is_told(tmp_path, document):
    export_cards([sample_card(1)], str(tmp_path / "out"), "npy")
    (tmp_path / "out" / "licences.json").write_bytes(document)
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out", generator="other")
    assert len(done.new) == 1 and Path(done.skipped[0].file).name == "licences.json"


def test_a_link_is_not_followed(tmp_path):
    export_cards([sample_card(1)], str(tmp_path / "out"), "npy")
    path = tmp_path / "out" / "licences.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    done = import_cards(Catalog(tmp_path / "new"), tmp_path / "out", generator="other")
    assert done.drafts[0].card.generator == "other"


def test_mutated_documents_do_no_harm(tmp_path):
    card = sample_card(1)
    export_cards([card], str(tmp_path / "out"), "npy")
    path, catalog = tmp_path / "out" / "licences.json", Catalog(tmp_path / "new")
    same = 0
    for data in mutations(path.read_bytes(), 300, seed=4):
        path.write_bytes(data)
        done = import_cards(catalog, tmp_path / "out", generator="head", dry_run=True)
        same += done.new == (card.direction_id,)
        assert len(done.new) == 1
    assert 0 < same < 150  # a licence or a sigma is no part of the id
