"""`lode condition` on a finished run of a small generator: what it says is then measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from jobs.cli import main as lode
from storage.catalog import Catalog
from tests.jobs.conftest import TINY


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The --out of a run with ridge alone."""
    folder = tmp_path_factory.mktemp("condition")
    mining = {**TINY["mining"], "methods": {"ridge": {}}, "stability": {"enabled": False}}
    settings = {**TINY, "mining": mining, "out": str(folder / "out")}
    (folder / "ridge.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as ended:
        lode(["mine", "--config", str(folder / "ridge.yaml")])
    assert not ended.value.code
    return settings["out"]


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
    assert said["measured"]["effect"] == pytest.approx(said["expected"]["effect"], rel=0.15)
    assert said["measured"]["leak"] < said["expected"]["leak"] + 0.1
    card = Catalog(f"{finished}/catalog").get(said["direction"])
    assert card.effect_relative == pytest.approx(said["measured"]["effect"], rel=1e-4)
    assert card.evidence["identities"] == 12
    parents = json.loads(card.provenance.settings)["parents"]
    ridge = {each.direction_id for each in Catalog(f"{finished}/catalog").cards(method="ridge")}
    assert ridge < set(parents) and len(parents) == len(ridge) + 1  # and itself before refining
    assert "measured leak" in Path(said["files"]["html"]).read_text()


def test_rows_alone_are_measured_before_anything_is_said_of_them(finished, condition):
    said, told = condition(
        "--change", "smile", "--hold", "yaw", "--layers", "0-1", "--rescore", "--no-publish"
    )
    assert "no card knows what they do" in told
    document = json.loads(Path(said["files"]["json"]).read_text())
    assert document["asked"]["layers"] == [0, 1]
    assert document["candidates"] >= 2
