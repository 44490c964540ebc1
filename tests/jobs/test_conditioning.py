"""`lode condition` on attributes that are linear in w: curve, card, page, wrong input."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from jobs.cli import main as lode
from jobs.conditioning import (
    Asked,
    card_of_point,
    measured_leak,
    shares_of,
    solve,
    with_measured,
)
from schemas.directions import DirectionCard, Provenance, Response
from schemas.samples import Field
from storage.catalog import Catalog
from storage.dataset import Dataset
from tests.jobs.planted_dataset import Made, write_dataset

ROWS, DIM = 800, 24
NAMES = ("smile", "mouth_width", "yaw", "age")
SPREADS = {"smile": 2.0, "mouth_width": 3.0, "yaw": 10.0, "age": 0.5}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run: its attributes share a direction, so that each drags the others."""
    rng = np.random.default_rng(5)
    own = np.linalg.qr(rng.normal(size=(DIM, 5)))[0].T
    gradients = 0.8 * own[:-1] + 0.6 * own[-1]
    w = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    columns = {
        name: SPREADS[name] * (w @ gradient + 0.1 * rng.normal(size=ROWS))
        for name, gradient in zip(NAMES, gradients, strict=True)
    }
    units = {"smile": "mm", "mouth_width": "mm", "yaw": "degrees"}
    run = tmp_path_factory.mktemp("condition")
    others = {"w": (Field("w", "float32", (DIM,)), w)}
    data = write_dataset(run / "dataset", {"face": Made(columns, units=units)}, ROWS, others=others)
    cards = [card(data.dataset_id, name, gradients[k], gradients) for k, name in enumerate(NAMES)]
    Catalog(str(run / "catalog")).publish(cards)
    return run, gradients


def card(dataset_id: str, attribute: str, vector, gradients, **changed) -> DirectionCard:
    """A ridge direction whose responses are what they truly are."""
    vector = vector / np.linalg.norm(vector)
    responses = tuple(
        Response(name, "mm", SPREADS[name] * (g @ vector), SPREADS[name] * (g @ vector - 0.01),
                 SPREADS[name] * (g @ vector + 0.01), SPREADS[name])
        for name, g in zip(NAMES, gradients, strict=True)
    )  # fmt: skip
    given = {
        "attribute": attribute, "unit": "mm", "method": "ridge", "space": "w",
        "generator": "planted", "generator_fingerprint": "0" * 64,
        "generator_licence": "Apache-2.0", "vector": vector.astype(np.float32),
        "provenance": Provenance(dataset_id, 0, "{}", "1"), "slope": 1.0, "sigma": 1.0,
        "responses": responses, "identity_cost": 0.15,
    }  # fmt: skip
    return DirectionCard(**(given | changed))


@pytest.fixture
def run(world, capsys, tmp_path):
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["condition", str(world[0]), "--out", str(tmp_path / "out"), *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_direction_holds_what_was_asked_for(world, run, tmp_path):
    status, out, err = run("--change", "smile", "--hold", "yaw", "--hold", "age", "-o", "json")
    assert status == 0, err
    said = json.loads(out)
    folder, gradients = world
    found = Catalog(str(folder / "catalog")).get(said["direction"])
    vector = found.vector.astype(float)
    effect, leaks = gradients[0] @ vector, gradients[2:] @ vector
    plain = gradients[0] / np.linalg.norm(gradients[0])
    assert effect >= 0.7 * (gradients[0] @ plain)
    assert np.sqrt((leaks**2).mean()) / effect < 0.05  # 0.36 unconditioned
    assert said["expected"]["effect"] == pytest.approx(effect, rel=0.02)
    settings = json.loads(found.provenance.settings)
    assert (found.method, settings["change"], settings["hold"]) == (
        "conditioned", "smile", ["yaw", "age"],
    )  # fmt: skip
    every = Catalog(str(folder / "catalog")).cards(method="ridge")
    assert set(settings["parents"]) == {card.direction_id for card in every}
    assert found.sigma == pytest.approx(1, rel=0.1)
    assert found.unit == "mm" and found.slope == pytest.approx(2 * effect, rel=0.02)
    again = run("--change", "smile", "--hold", "yaw", "--hold", "age", "-o", "json")
    assert json.loads(again[1]) == said  # and what was conditioned is no candidate


def test_the_curve_is_written_for_people_and_programs(run, tmp_path):
    status, out, err = run("--change", "yaw", "--hold", "all", "--no-publish")
    assert status == 0, err
    assert "unconditioned: ridge" in out and "\n>" in out
    document = json.loads((tmp_path / "out" / "trade_off.json").read_text())
    assert document["asked"]["hold"] == ["smile", "mouth_width", "age"]
    rows = list(csv.DictReader((tmp_path / "out" / "trade_off.csv").read_text().splitlines()))
    assert len(rows) == len(document["curve"]) and sum(row["picked"] == "True" for row in rows) == 1
    effects = [row["effect"] for row in document["curve"]]
    assert effects == sorted(effects, reverse=True)


def test_the_page_asks_nothing_of_anyone(run, tmp_path):
    assert run("--change", "smile", "--hold", "yaw", "--leak", "0.1", "--no-publish")[0] == 0
    page = (tmp_path / "out" / "trade_off.html").read_text()
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!#)|url\(|@import|<script", page)
    assert page.count("<svg") == 2 and page.count('class="spot picked"') >= 2
    assert 'class="limit"' in page


def test_an_identity_budget_is_kept(run):
    words = ("--change", "smile", "--hold", "yaw", "--least-effect", "0.1", "--no-publish")
    free = json.loads(run(*words, "-o", "json")[1])["expected"]
    assert free["identity_cost"] == pytest.approx(0.15, rel=0.15)  # as each of its parents
    status, _, err = run(*words, "--identity-budget", "0.3", "--by", "5")
    assert status == 2 and "budget of 0.3 is too small for a change of 5 spreads" in err
    cheap = json.loads(run(*words, "--identity-budget", "0.3", "--by", "0.5", "-o", "json")[1])
    strongest = free["effect"] / free["effect_kept"]  # of all curves, whatever pays for it
    assert cheap["expected"]["effect"] / cheap["expected"]["effect_kept"] == pytest.approx(
        strongest, rel=1e-4
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--change", "smyle", "--hold", "yaw"), "unknown attribute 'smyle'; did you mean 'smile'"),
        (("--change", "smile", "--hold", "jaw"), "unknown attribute 'jaw'; did you mean 'yaw'"),
        (("--change", "smile", "--hold", "smile"), "to be changed and held at once"),
        (("--change", "smile"), "Missing option '--hold'"),
        (("--change", "smile", "--hold", "yaw", "--leak", "0"), "leak is 0"),
        (("--change", "smile", "--hold", "yaw", "--least-effect", "2"), "least_effect is 2"),
        (("--change", "smile", "--hold", "yaw", "--layers", "3-1"), "expected rows such as 0-3"),
        (("--change", "smile", "--hold", "yaw", "--layers", "0-1"), "add --rescore"),
        (("--change", "smile", "--hold", "yaw", "--rescore"), "--layers names, which is missing"),
        (("--change", "smile", "--hold", "yaw", "--measure"), "has no results/report.json"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(run, tmp_path, words, said):
    status, out, err = run(*words)
    assert status == 2 and said in err and err.count("\n") == 1, err
    assert not out and not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["both", "images"])
def test_what_was_refined_names_directions_of_the_catalogue(world, source):
    folder, gradients = world
    catalog, dataset = Catalog(str(folder / "catalog")), Dataset(str(folder / "dataset"))
    vague = card(dataset.dataset_id, "age", gradients[3], gradients, responses=(), method="svm")
    Catalog(str(folder / "more")).publish([*catalog.cards(method="ridge"), vague])
    found = solve(
        Catalog(str(folder / "more")), dataset, Asked("smile", ("yaw", "age"), source=source)
    )
    tried = card_of_point(found, dataset)
    measured = card("", "smile", tried.vector.astype(float), gradients, method="conditioned",
                    provenance=tried.provenance)  # fmt: skip
    off = tuple(replace(r, per_step=r.per_step + 0.02 * r.spread) for r in measured.responses)
    measured = replace(measured, responses=off)  # as on other heads
    again = with_measured(found, dataset, [measured])
    assert len(again.candidates.cards) == 5 and again.candidates.left_out == 1
    assert again.plain.method == "ridge"
    effect = gradients[0] @ again.picked.vector
    assert again.picked.effect == pytest.approx(effect, rel=0.05)
    shares = shares_of(again)
    every = {each.direction_id: each for each in catalog.cards(method="ridge")}
    assert set(shares) == set(every)  # not the one that was measured: it is in no catalogue
    whole = sum(share * every[key].vector.astype(float) for key, share in shares.items())
    np.testing.assert_allclose(whole, again.picked.vector, atol=1e-5)


def test_a_measured_leak_knows_its_noise(world):
    _, gradients = world
    made = card("", "smile", gradients[0], gradients)
    found = measured_leak(made, ("yaw", "age"))
    true = gradients[2:] @ gradients[0]
    assert found.raw == pytest.approx(np.sqrt((true**2).mean()))
    assert found.raw**2 - found.square == pytest.approx((0.01 / 1.96) ** 2)
    assert np.isnan(measured_leak(made, ("jaw",)).raw)


def test_directions_without_responses_are_no_help(world, run, tmp_path):
    folder, gradients = world
    vague = [
        card("0" * 16, name, gradients[k], gradients, responses=()) for k, name in enumerate(NAMES)
    ]
    Catalog(str(tmp_path / "vague")).publish(vague)
    words = ("--change", "smile", "--hold", "yaw", "--catalog", str(tmp_path / "vague"))
    status, _, err = run(*words)
    assert status == 2 and "unknown attribute 'smile'; there is none yet" in err
    one = card("0" * 16, "smile", gradients[0], gradients)
    Catalog(str(tmp_path / "vague")).publish([one])
    status, _, err = run(*words)
    assert status == 2 and "1 of 4 directions have measured responses of smile, yaw" in err
