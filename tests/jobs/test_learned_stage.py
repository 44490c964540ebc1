"""Learned methods in a run: one task each, kept, resumed, published, edited by and reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.cluster import ray_session
from jobs.evaluation_stage import Evaluator
from jobs.learned_cards import PLACE
from jobs.learned_checkpoints import FOLDER, Checkpoints, forget
from jobs.learned_data import read_rows
from jobs.learned_stage import learned_key, told_config
from jobs.learned_task import Training, learn, learn_here
from jobs.mine_directions import RunResult, run
from jobs.mining_data import NO_STYLES, read_data
from jobs.mining_stage import configs_of
from jobs.report.data import ReportData
from mining.editing.apply import apply_card
from mining.editing.learned import open_artefact
from mining.generators.registry import make_generator
from mining.methods.learned import Checkpoint, Learned, LearnedRows
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage import artefacts
from storage.catalog import Catalog
from tests.storage.points_dataset import sampled

pytestmark = pytest.mark.ray
HEADS = "tests.examples.heads"
METHODS = {
    "direction_matrix": {"epochs": 3, "steps": 5, "surrogate": {"epochs": 2, "hidden": [16]}},
    "attribute_flow": {"epochs": 4, "hidden": [16], "embedded": 8},
}
SETTINGS = {
    "generator": {"name": f"{HEADS}:HeadsGenerator"},
    "extractors": {f"{HEADS}:HeadsExtractor": {}},
    "dataset": {"samples": 240, "shard_size": 80, "thumbnail": 0},
    "engine": {"workers": 1, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "smile"],
        "methods": METHODS,
        "landmarks": "heads_landmarks",
        "stability": {"enabled": False},
    },
    "evaluation": {"identities": 3, "steps": [-1.0, 1.0], "bootstrap": 20, "strips": 1},
}
COLUMNS = ("yaw", "pitch", "roll", "smile", "mouth_open", "eye_closed", "brow_raise")


def settings(out: Path | str, dataset: str | None = None, **changed) -> RunSettings:
    parts = {name: {**part, **changed.pop(name, {})} for name, part in SETTINGS.items()}
    return RunSettings.model_validate({**parts, **changed, "out": str(out), "dataset_url": dataset})


@pytest.fixture(scope="module", autouse=True)
def session():
    with ray_session(settings("unused").engine):
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("learned")
    sizes = {"generator": SETTINGS["generator"]["name"], **SETTINGS["dataset"]}
    dataset = sampled(folder / "dataset", SETTINGS["extractors"], **sizes)
    return folder / "out", run(settings(folder / "out", dataset.url))


def test_every_column_and_every_condition_is_a_card(first):
    _, done = first
    assert not done.mined.failures
    names = {(card.method, card.attribute) for card in done.cards}
    expected = {("direction_matrix", name) for name in (*COLUMNS, "frown", "pucker")}
    assert names == expected | {("attribute_flow", "yaw"), ("attribute_flow", "smile")}
    for card in done.cards:
        flow = card.method == "attribute_flow"
        assert card.vector.shape == ((0,) if flow else (20,))
        assert (card.artefact is not None) == flow
        assert card.sigma > 0 and json.loads(card.provenance.settings)["method"]["seed"] == 0
        if card.attribute in COLUMNS:
            assert card.own is not None and card.effect > 0
        assert card.attribute != "yaw" or card.calibration is not None


def test_a_column_has_the_unit_of_what_is_measured(first):
    _, done = first
    cards = {(card.method, card.attribute): card for card in done.cards}
    smile, frown = cards["direction_matrix", "smile"], cards["direction_matrix", "frown"]
    assert smile.unit == "1" and np.isnan(smile.slope)
    assert "standard deviations" in smile.notes
    assert frown.unit == "standard deviations" and frown.slope > 0 and frown.own is None


def test_the_matrix_has_a_card_and_all_files_are_in_the_catalogue_and_the_results(first):
    out, done = first
    (whole,) = done.artefacts
    assert (whole.attribute, whole.method) == ("pose_and_expression", "direction_matrix")
    assert whole.artefact.kind == "matrix" and whole.vector.shape == (0,)
    assert whole.version == 1
    flow = next(card for card in done.cards if card.artefact is not None)
    for method, card in (("direction_matrix", whole), ("attribute_flow", flow)):
        data = artefacts.read(done.catalog_url, card.artefact.sha256)
        assert data == done.mined.learned[method].artefact
        assert data == (out / PLACE.format(method)).read_bytes()
        assert hashlib.sha256(data).hexdigest() == card.artefact.sha256
    published = Catalog(done.catalog_url).cards(all_versions=True)
    ids = {card.direction_id for card in published}
    assert ids == {card.direction_id for card in (*done.cards, whole)}
    assert len(ids) == 9 + 2 + 1


def test_a_flow_was_measured_by_the_edits_of_its_file(first):
    out, done = first
    card = next(card for card in done.cards if card.artefact and card.attribute == "yaw")
    data = artefacts.read(done.catalog_url, card.artefact.sha256)
    learned = open_artefact(data, card.artefact.kind)
    generator = make_generator(f"{HEADS}:HeadsGenerator")
    told = settings(out, done.dataset.url).evaluation
    w_plus = Evaluator(done.dataset.manifest.content, told).bases().w_plus
    ends = [
        apply_card(w_plus, card, generator.fingerprint(), sign * card.sigma, learned=learned)
        for sign in (-1.0, 1.0)
    ]
    change = ((ends[1] - ends[0])[:, 0] @ generator.axes[0]).mean()  # in spreads, as measured
    assert card.effect == pytest.approx(change / (2 * card.sigma), rel=0.1)


def test_a_rerun_learns_nothing_and_changes_nothing(first):
    out, done = first
    before = {method: (out / PLACE.format(method)).read_bytes() for method in METHODS}
    again = run(settings(out, done.dataset.url))
    assert again.kept["made"] == 0
    assert {method: (out / PLACE.format(method)).read_bytes() for method in METHODS} == before
    assert [card.direction_id for card in again.cards] == [card.direction_id for card in done.cards]
    assert {card.version for card in (*again.cards, *again.artefacts)} == {1}
    assert not list((out / FOLDER).glob("*"))


def test_the_report_shows_losses_and_files(first):
    out, done = first
    data = ReportData.load(f"{out}/results")
    names = [curve.name for curve in data.curves]
    assert any("direction matrix" in name for name in names) and "attribute flow" in names
    assert [len(curve.train) for curve in data.curves] == [3, 4]
    files = {file.method: file for file in data.artefacts}
    assert files["direction_matrix"].attributes[:3] == ("yaw", "pitch", "roll")
    assert files["attribute_flow"].path == "results/attribute_flow.safetensors"
    page = (out / "report.html").read_text()
    assert "through a flow" in page and "Files of learned methods" in page


@pytest.mark.slow
def test_another_seed_trains_anew_and_what_refuses_its_rows_fails_alone(first):
    out, done = first
    methods = {
        "direction_matrix": {**METHODS["direction_matrix"], "seed": 7, "parameters": ["yaw"]},
        "attribute_flow": {"epochs": 1, "attributes": ["yaw", "none"]},
    }
    labels = {"none": "yaw / 0 * 0"}
    again = run(settings(out, done.dataset.url, mining={"methods": methods, "labels": labels}))
    assert [card.method for card in again.cards] == ["direction_matrix"]
    assert not {card.direction_id for card in (*done.cards, *done.artefacts)} & {
        card.direction_id for card in (*again.cards, *again.artefacts)
    }
    assert {card.version for card in (*again.cards, *again.artefacts)} == {2}
    assert list(again.mined.failures) == ["attribute_flow"]
    assert "\n" not in again.mined.failures["attribute_flow"]
    assert not (out / PLACE.format("attribute_flow")).exists()  # of the run before


def training(done: RunResult, out: Path) -> tuple[LearnedRows, Training]:
    """What the flow's task was given."""
    mining = settings(out).mining
    config = configs_of(mining)["attribute_flow"]
    data = read_data(done.dataset, mining, NO_STYLES)
    rows = read_rows(done.dataset, data, "attribute_flow", config, mining)
    told = told_config(config, rows)
    key = learned_key("attribute_flow", told, rows, done.dataset.manifest, 0.0)
    about: Mapping = done.dataset.manifest.generator
    return rows, Training("attribute_flow", config, key, str(out), 0.0, about)


class Stopped(Exception):
    pass


def test_a_task_goes_on_from_the_checkpoint_that_lies_there(first, tmp_path):
    _, done = first
    rows, told = training(done, tmp_path)
    checkpoints = Checkpoints(str(tmp_path), told.key)

    def keep(checkpoint: Checkpoint) -> None:
        checkpoints.keep(checkpoint)
        if checkpoint.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        learn_here(rows, told, keep=keep)
    reached = checkpoints.last().epoch
    assert reached >= 1
    *epochs, result = learn(rows, told)
    assert [epoch for epoch, _ in epochs] == list(range(reached + 1, 5))
    assert isinstance(result, Learned)
    assert result.artefact == learn_here(rows, told).artefact


def test_a_checkpoint_that_is_damaged_or_anothers_is_no_checkpoint(tmp_path):
    good = Checkpoint(2, 9, {"weights": np.arange(3.0)}, ((0.5, 0.25), (0.25, 0.125)))
    key, other = "a" * 64, "b" * 64
    checkpoints = Checkpoints(str(tmp_path), key)
    assert checkpoints.last() is None
    checkpoints.keep(good)
    found = checkpoints.last()
    assert (found.epoch, found.epochs, found.losses) == (2, 9, good.losses)
    np.testing.assert_array_equal(found.arrays["weights"], good.arrays["weights"])
    path = tmp_path / FOLDER / f"{key}.safetensors"
    data = path.read_bytes()
    (tmp_path / FOLDER / f"{other}.safetensors").write_bytes(data)
    assert Checkpoints(str(tmp_path), other).last() is None
    for damaged in (b"", b"PK", data[:-1], data[:200] + b"x" + data[201:]):
        path.write_bytes(damaged)
        assert checkpoints.last() is None
    Checkpoints(str(tmp_path), key).keep(replace(good, epoch=10))
    assert checkpoints.last() is None  # beyond its end
    (tmp_path / FOLDER / "notes.txt").write_text("mine")
    forget(str(tmp_path))
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["notes.txt"]


def test_without_a_place_nothing_is_kept(tmp_path):
    checkpoints = Checkpoints(None, "a" * 64)
    checkpoints.keep(Checkpoint(1, 2, {}, ()))
    assert checkpoints.last() is None


def test_what_breaks_in_the_thread_ends_the_task(first, tmp_path):
    _, done = first
    rows, told = training(done, tmp_path)
    blind = replace(rows, scores={name: values * np.nan for name, values in rows.scores.items()})
    with pytest.raises(InputError, match="row"):
        list(learn(blind, told))
