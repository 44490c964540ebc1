"""The whole chain on a real Ray, from settings to catalogue and report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.cli import guarded
from jobs.editing_run import CONTROL
from jobs.generate_dataset import open_complete
from jobs.mine_directions import _write_control, main
from jobs.mining_stage import Mined
from mining.methods.control_file import load_control
from schemas.config import load_settings
from schemas.errors import RunError
from storage.catalog import Catalog
from tests.examples.points import MODES, PointsGenerator

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


def mine(tiny, environment, *words) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs" / "mine_directions.py"), "--config", tiny, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def run(shared_tiny, environment) -> dict:
    done = mine(shared_tiny, environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_run_says_where_everything_lies_and_it_is_there(run):
    assert run["rows"] == 240
    assert run["directions"] == 16
    assert run["failures"] == {}
    cards = Catalog(run["catalog"]).cards()
    assert len(cards) == 16
    assert "re-scoring" in Path(run["report"]).read_text().lower()


def test_it_finds_the_planted_directions(run):
    truth = dict(zip(MODES, PointsGenerator().truth_rows, strict=True))
    cards = Catalog(run["catalog"])
    for attribute, direction in truth.items():
        card = cards.best(attribute, space="w", by="effect", method="ridge")
        assert float(card.vector @ direction) > 0.98  # under 11.5 degrees apart
        own = card.response(attribute)
        # one unit of w is one unit of the attribute, which the image shows to 16 bits
        assert own.low - 0.1 <= 1.0 <= own.high + 0.1


def test_the_control_model_lies_beside_the_results_until_a_run_needs_none(run, tmp_path):
    written = Path(run["report"]).parent / CONTROL
    control = load_control(str(written))
    assert control.shape.components == 4 and control.generator == "points"
    assert (control.space, len(control.fingerprint)) == ("w", 64)
    kept = tmp_path / CONTROL
    kept.parent.mkdir()
    kept.write_bytes(written.read_bytes())
    _write_control(Mined((), {}, None, {}), str(tmp_path))
    assert not kept.exists()
    _write_control(Mined((), {}, control, {}), str(tmp_path))
    np.testing.assert_array_equal(load_control(str(kept)).shape.basis, control.shape.basis)
    assert (Path(run["report"]).parent / "results" / "shape.parquet").exists()


@pytest.mark.slow
def test_a_rerun_publishes_nothing_twice(run, shared_tiny, environment):
    again = mine(shared_tiny, environment)
    assert again.returncode == 0, again.stderr
    catalog = Catalog(run["catalog"])
    assert {card.version for card in catalog.cards(all_versions=True)} == {1}


@pytest.mark.slow
def test_measuring_in_another_way_is_a_new_version(run, shared_tiny, tmp_path, environment):
    before = Catalog(run["catalog"]).best("smile", by="effect", method="ridge")
    words = ("--mining.attributes", "smile", "--evaluation.identities", "9")
    done = mine(shared_tiny, environment, *words, "--catalog", str(tmp_path / "catalog"))
    assert done.returncode == 0, done.stderr
    catalog = Catalog(str(tmp_path / "catalog"))
    again = mine(shared_tiny, environment, *words[:2], "--catalog", str(tmp_path / "catalog"))
    assert again.returncode == 0, again.stderr
    cards = [card for card in catalog.cards(all_versions=True) if card.method == "ridge"]
    assert [card.version for card in cards] == [1, 2]
    assert [card.evidence["identities"] for card in cards] == [9, 6]
    assert cards[0].direction_id == cards[1].direction_id == before.direction_id
    assert cards[0].effect != cards[1].effect == pytest.approx(before.effect)


@pytest.mark.slow
def test_what_is_refused_fails_alone_is_shown_and_sets_the_exit_status(tiny, tmp_path, environment):
    done = mine(tiny, environment, "--mining.nrsfm.components", "400")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["directions"] == 8
    (failure,) = said["failures"]
    assert failure == "nrsfm and robust_pca (control model)"
    assert "Not mined" in Path(said["report"]).read_text()


def test_every_measured_attribute_answers(run):
    card = Catalog(run["catalog"]).best("yaw", by="effect", method="ridge")
    assert {response.attribute for response in card.responses} == set(MODES)
    assert card.evidence["edits"] == 12
    assert 0 < card.evidence["edits_measured"] <= 12
    assert np.isfinite(card.identity_cost)


def test_shards_on_another_nodes_disk_are_missed(run, shared_tiny, environment):
    receipts = Path(run["dataset"]) / "receipts"
    away = receipts.with_name("elsewhere")
    receipts.rename(away)
    receipts.mkdir()
    (receipts / "00000.json").write_bytes((away / "00000.json").read_bytes())
    try:
        with pytest.raises(RunError, match="11 of 12 shards are not to be seen"):
            open_complete(load_settings([], "lode", "", shared_tiny))
    finally:
        (receipts / "00000.json").unlink()
        receipts.rmdir()
        away.rename(receipts)


@pytest.mark.slow
def test_one_and_two_workers_agree(run, tiny, tmp_path, environment):
    out = str(tmp_path / "one")
    done = mine(tiny, environment, "--engine.workers", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    two = {card.lineage: card for card in Catalog(run["catalog"]).cards()}
    one = {card.lineage: card for card in Catalog(f"{out}/catalog").cards()}
    assert one.keys() == two.keys()
    for lineage, card in one.items():
        np.testing.assert_allclose(card.vector, two[lineage].vector, atol=1e-6)
        assert card.responses == pytest.approx(two[lineage].responses) or all(
            a.per_step == pytest.approx(b.per_step, rel=1e-4, abs=1e-6)
            for a, b in zip(card.responses, two[lineage].responses, strict=True)
        )


@pytest.mark.slow
def test_a_corrupt_shard_ends_the_run_with_its_name(tiny, tmp_path, environment):
    assert mine(tiny, environment, "--dataset.samples", "40").returncode == 0
    shard = tmp_path / "out" / "dataset" / "data" / "train-00001-of-00002.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(bytes(data))
    done = mine(tiny, environment, "--dataset.samples", "40")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert shard.name in line and "checksum" in line
    assert shard.read_bytes() == bytes(data)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mining.attributes", "smle"], "unknown attribute 'smle'; did you mean 'smile'"),
        (["--mining.methods.rigde.penalty", "1"], "unknown method 'rigde'; did you mean 'ridge'"),
        (["--mining.methods.svm.share", "0.9"], "share is 0.9"),
        (["--mining.landmarks", "points_yaw"], "expected (L, 2)"),
        (["--mining.regressor.preset", "papr"], "did you mean 'paper'"),
        (["--evaluation.steps", "[0.0, 1.0]"], "none of them 0"),
        (["--generator.name", "hed"], "unknown generator 'hed'; did you mean 'head'"),
        (["--catalog", "/proc/nowhere/catalog"], "cannot be written"),
        (["--catalog", "a#b"], "a#b"),
        (["--catalog", str(ROOT / "schemas")], "but no catalogue"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(tiny, tmp_path, capsys, words, said):
    assert guarded(main, ["--config", tiny, *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
