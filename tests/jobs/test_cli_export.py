"""`lode catalog export`, called as a person would."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from jobs.cli_export import export
from schemas.directions import Calibration
from schemas.errors import InputError
from storage import artefacts
from storage.catalog import Catalog
from storage.exchange.bundle import read_bundle
from tests.jobs.test_report import make_data
from tests.storage.exchange.any_card import same
from tests.storage.sample_cards import responses, sample_card


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Two versions of a smile, a calibrated yaw in W+, and a matrix."""
    monkeypatch.delenv("LODE_CATALOG", raising=False)
    monkeypatch.chdir(tmp_path)
    catalog = Catalog(tmp_path / "catalog")
    yaw = sample_card(
        2,
        (3, 8),
        attribute="yaw",
        space="w+",
        calibration=Calibration(0.5, -3, 3),
        responses=responses("yaw", 9.0, 0.1)[:1],
    )
    catalog.publish([sample_card(1), yaw])
    matrix = artefacts.put(catalog.url, artefacts.pack({"A": np.ones(3, "f4")}), "matrix")
    vector = np.zeros(0, np.float32)
    catalog.publish([sample_card(4), sample_card(attribute="pose", vector=vector, artefact=matrix)])
    return catalog


def run(catalog: Catalog, *arguments: str) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(export)
    return CliRunner().invoke(app, [*arguments, "--catalog", catalog.url])


def good(catalog: Catalog, *arguments: str) -> str:
    result = run(catalog, *arguments)
    assert result.exit_code == 0, result.exception or result.output
    return result.stdout


def refused(catalog: Catalog, said: str, *arguments: str) -> None:
    result = run(catalog, *arguments)
    assert isinstance(result.exception, InputError), result.output
    assert said in str(result.exception)


def test_an_attribute_becomes_a_file_that_loads(catalog, tmp_path):
    said = good(catalog, "--attribute", "smile", "--format", "npy", "--out", "out")
    card = catalog.cards("smile")[0]
    (path,) = (tmp_path / "out").glob("*.npy")
    assert str(path) in said and "1 direction exported" in said
    assert "licence: generator head: Apache-2.0" in said
    np.testing.assert_array_equal(np.load(path), card.vector[None])


def test_ids_and_tags_choose_and_come_once(catalog, tmp_path):
    newest = catalog.cards("smile")[0]
    catalog.tag("production", newest.direction_id)
    yaw = catalog.cards("yaw")[0]
    names = (newest.direction_id[:8], "production", yaw.direction_id)
    good(catalog, *names, "--format", "safetensors", "--out", "out")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 2


def test_where_and_as_of_choose(catalog, tmp_path):
    good(catalog, "--where", "|yaw| > 1", "--format", "json", "--out", "yaw.json")
    attributes = json.loads((tmp_path / "yaw.json").read_bytes())["cards"]
    assert [card["attribute"] for card in attributes] == ["yaw"]
    first = catalog.history(catalog.cards("smile")[0].direction_id)[0]
    commit = Catalog(catalog.url).table().to_pylist()[0]["commit"]
    good(
        catalog,
        "--attribute",
        "smile",
        "--as-of",
        str(commit),
        "--format",
        "json",
        "--out",
        "old.json",
    )
    found = json.loads((tmp_path / "old.json").read_bytes())["cards"]
    assert [card["direction_id"] for card in found] == [first.direction_id]


def test_scale_rows_and_layout_reach_the_file(catalog, tmp_path):
    options = ("--scale", "calibration", "--rows", "3", "--layout", "e4e", "--format", "pt")
    good(catalog, "--attribute", "yaw", *options, "--out", "yaw.pt")
    found = torch.load(tmp_path / "yaw.pt", weights_only=True).numpy()
    np.testing.assert_array_equal(found, catalog.cards("yaw")[0].vector[None] * np.float32(0.5))


def test_a_mean_reaches_ganspace(catalog, tmp_path):
    np.save("mean.npy", np.arange(8.0))
    good(
        catalog,
        "--attribute",
        "smile",
        "--format",
        "ganspace",
        "--mean",
        "mean.npy",
        "--out",
        "g.npz",
    )
    with np.load(tmp_path / "g.npz") as found:
        np.testing.assert_array_equal(found["lat_mean"], np.arange(8, dtype="f4")[None])


def test_all_of_a_catalogue_comes_back_from_a_bundle(catalog, tmp_path):
    good(catalog, "--all-versions", "--format", "bundle", "--out", "all.zip")
    cards, held = read_bundle(tmp_path / "all.zip")
    published = list(catalog.cards(all_versions=True))
    assert len(cards) == len(published) == 4 and len(held) == 1
    for card in published:
        same(card, next(c for c in cards if c.direction_id == card.direction_id))


def test_the_pictures_of_a_run_go_into_its_bundle(catalog, tmp_path):
    data = make_data()
    first = data.cards[0]
    card = replace(first, vector=first.vector / np.linalg.norm(first.vector), layers=())
    strip = replace(data.strips[0], direction_id=card.direction_id)
    replace(data, cards=(card,), strips=(strip,)).save(str(tmp_path / "run" / "results"))
    catalog.publish([card])
    good(catalog, "--format", "bundle", "--out", "all.zip", "--run", "run")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("pictures/")]
        assert len(names) == sum(map(len, strip.rows)) == 10
        assert archive.read(f"pictures/{card.direction_id}/1_0.jpg") == strip.rows[1][0].jpeg
        assert archive.read("README.md").decode().count("](pictures/") == 10


def test_a_run_that_fits_no_direction_or_format_is_refused(catalog, tmp_path):
    make_data().save(str(tmp_path / "run" / "results"))
    refused(catalog, "shows none", "--format", "bundle", "--out", "b.zip", "--run", "run")
    refused(catalog, "part of a bundle", "--format", "npy", "--out", "b", "--run", "run")
    refused(catalog, "no finished report", "--format", "bundle", "--out", "b", "--run", "else")


def test_json_tells_what_was_written(catalog, tmp_path):
    told = json.loads(
        good(catalog, "--attribute", "smile", "--format", "pt", "--out", "out", "-o", "json")
    )
    assert told["directions"] == 1 and told["url"] == str(tmp_path / "out")
    assert sorted(told["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("expected one of the two", ("production", "--attribute", "smile")),
        ("no direction", ("--attribute", "smile", "--space", "w+")),
        ("matrix", ("--attribute", "pose")),
        ("cannot be read", ("--mean", "none.npy")),
        ("no .npy file", ("--mean", "whole.npy")),
        ("cannot be read", ("--mean", "pickled.npy")),
        ("lies in w+", ("--attribute", "yaw", "--layout", "interfacegan")),
    ],
)
def test_mistakes_are_told_before_anything_is_written(catalog, tmp_path, said, arguments):
    np.save("whole.npy", np.arange(8))
    np.save("pickled.npy", np.array([{}]), allow_pickle=True)
    refused(catalog, said, *arguments, "--format", "npy", "--out", "out")
    assert not (tmp_path / "out").exists()


def test_a_second_export_needs_force(catalog):
    arguments = ("--attribute", "smile", "--format", "npy", "--out", "out")
    good(catalog, *arguments)
    refused(catalog, "--force", *arguments)
    good(catalog, *arguments, "--force")
