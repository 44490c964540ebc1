"""`lode condition` on a finished run of a small generator: what it says is then measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from jobs.cli import main as lode
from jobs.cluster import ray_session
from schemas.settings import EngineSettings
from storage.catalog import Catalog
from tests.jobs.conftest import TINY

pytestmark = [pytest.mark.ray, pytest.mark.slow]  # a run and five measurements


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The --out of a run with ridge alone; one Ray for it and for all that follows."""
    folder = tmp_path_factory.mktemp("condition")
    mining = {**TINY["mining"], "methods": {"ridge": {}}, "stability": {"enabled": False}}
    settings = {**TINY, "mining": mining, "out": str(folder / "out")}
    (folder / "ridge.yaml").write_text(yaml.safe_dump(settings))
    with ray_session(EngineSettings.model_validate(TINY["engine"])):
        with pytest.raises(SystemExit) as ended:
            lode(["mine", "--config", str(folder / "ridge.yaml")])
        assert not ended.value.code
        yield settings["out"]


@pytest.fixture
def condition(finished, capsys):
    def condition(*words: str) -> tuple[dict, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["condition", finished, *words, "-o", "json"])
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return json.loads(said.out), said.err

    return condition


def test_expected_and_measured_stand_side_by_side(finished, condition):
    said, _ = condition(
        "--change", "smile", "--hold", "yaw", "--hold", "pitch", "--refine", "1", "--measure",
        "--identities", "12",
    )  # fmt: skip
    measured = said["measured"]
    assert measured["effect"] == pytest.approx(said["expected"]["effect"], rel=0.15)
    assert measured["leak"] < said["expected"]["leak"] + 0.1
    assert 0 <= measured["leak_without_noise"] <= min(measured["leak"], measured["leak_at_most"])
    card = Catalog(f"{finished}/catalog").get(said["direction"])
    assert card.effect_relative == pytest.approx(measured["effect"], rel=1e-4)
    assert card.evidence["identities"] == 12
    assert "measured leak" in Path(said["files"]["html"]).read_text()
    parents = json.loads(card.provenance.settings)["parents"]
    _sum_to(card, parents, Catalog(f"{finished}/catalog"))


def test_rows_alone_are_measured_before_anything_is_said_of_them(finished, condition):
    said, told = condition(
        "--change", "smile", "--hold", "yaw", "--layers", "0-1", "--rescore", "--refine", "1",
        "--measure", "--out", f"{finished}/rows",
    )  # fmt: skip
    assert "no card knows what they do" in told
    document = json.loads(Path(said["files"]["json"]).read_text())
    assert document["asked"]["layers"] == [0, 1]
    assert document["candidates"] >= 3  # the point that was tried among them
    assert said["measured"]["effect"] == pytest.approx(said["expected"]["effect"], rel=0.15)
    assert said["measured"]["leak"] < 0.1
    card = Catalog(f"{finished}/catalog").get(said["direction"])
    assert card.layers == (0, 1)
    _sum_to(card, document["asked"]["parents"], Catalog(f"{finished}/catalog"))


def _sum_to(card, parents, catalog):
    """A direction is the sum of the catalogue's that it names, by their shares."""
    whole = sum(share * catalog.get(key).vector.astype(float) for key, share in parents.items())
    assert card.vector == pytest.approx(whole, abs=1e-4)
