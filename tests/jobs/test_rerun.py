"""Reruns on a real Ray: what is computed again, and that nothing else changes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from jobs.cluster import ray_session
from jobs.mine_directions import RunResult, _summary, run
from jobs.report.data import ReportData
from jobs.results_cache import FOLDER
from jobs.tasks import finished
from mining.evaluation.stability import Stability
from schemas.errors import InputError, RunError, StorageError
from schemas.settings import RunSettings
from storage.catalog import Catalog

pytestmark = pytest.mark.ray
POINTS = "tests.examples.points"
MINED = {"ridge": {}, "svm": {"share": 0.3}}
METHODS = {**MINED, "random": {}}
STABILITY = {"halves": 2, "sizes": [0.25, 0.5], "seeds": 1}
SETTINGS = {
    "generator": {"name": f"{POINTS}:PointsGenerator"},
    "extractors": {f"{POINTS}:PointsExtractor": {"blind_every": 23}},
    "dataset": {"samples": 120, "shard_size": 40, "thumbnail": 0},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "smile"],
        "methods": METHODS,
        "landmarks": "points_landmarks",
        "nrsfm": {"components": 4},
        "regressor": {"epochs": 4, "hidden": [32]},
        "stability": STABILITY,
    },
    "evaluation": {"identities": 3, "steps": [-1.0, 1.0], "bootstrap": 20, "strips": 1},
}
KEPT = ("vectors.parquet", "strips.parquet")  # report.json says when it was made


def settings(out: Path | str, **changed) -> RunSettings:
    parts = {name: {**part, **changed.pop(name, {})} for name, part in SETTINGS.items()}
    return RunSettings.model_validate({**parts, **changed, "out": str(out)})


@pytest.fixture(scope="module", autouse=True)
def session():
    with ray_session(settings("unused").engine):
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, RunResult, dict[str, bytes]]:
    """The folder, the result and the files of a run with nothing kept from before."""
    out = tmp_path_factory.mktemp("rerun") / "out"
    done = run(settings(out))
    # 2 methods x 2 attributes: directions, their stability, their measurements; the bases; and
    # the control's two directions, which are one vector but for the sign and are measured once a
    # sign
    assert done.kept == {"from_before": 0, "made": 3 * 4 + 1 + 2 + len(drawn(done))}
    return out, done, files(out)


def drawn(done: RunResult) -> set[bytes]:
    """The different vectors of the random control."""
    return {card.vector.tobytes() for card in done.cards if card.method == "random"}


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / "results" / name).read_bytes() for name in KEPT}


def test_a_rerun_computes_nothing_and_gives_the_same_bytes(first):
    out, done, before = first
    again = run(settings(out))
    assert again.kept == {"from_before": done.kept["made"] - 1, "made": 0}  # no need of the bases
    assert files(out) == before
    assert [vars(card) for card in map(plain, again.cards)] == [
        vars(card) for card in map(plain, done.cards)
    ]
    cards = Catalog(done.catalog_url).cards(all_versions=True)
    assert len(cards) == 6 and {card.version for card in cards} == {1}
    assert done.duplicates == again.duplicates == ()  # the control's repeat each other by design


def plain(card):
    """A card whose parts compare with ==."""
    return replace(card, vector=card.vector.tobytes())


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        # one method's two directions, their stability and their measurements
        ({"mining": {"methods": {**METHODS, "svm": {"share": 0.25}}}}, 6),
        # one task that finds two directions, which are measured
        slow({"mining": {"methods": {**METHODS, "pca": {"components": 2}}}}, 3),
        # other plans: the four directions' stability alone
        slow({"mining": {"stability": {"halves": 1, "sizes": []}}}, 4),
        slow({"mining": {"stability": {"enabled": False}}}, 0),
        # intervals are drawn from what was measured
        slow({"evaluation": {"bootstrap": 30}}, 0),
        # what is measured otherwise: four directions and the bases, less the control's
        slow({"mining": {"methods": MINED}, "evaluation": {"steps": [-0.5, 0.5]}}, 5),
    ],
    ids=["option", "method", "plan", "unstable", "bootstrap", "steps"],
)
def test_what_changed_is_computed_and_nothing_else(first, changed, made):
    out, _, _ = first
    assert run(settings(out, **changed)).kept["made"] == made


@pytest.mark.slow
def test_another_attribute_is_mined_alone(first):
    out, done, _ = first
    more = run(settings(out, mining={"attributes": ["yaw", "smile", "pitch"]}))
    # two methods' directions, their stability and measurements; the control's, which may be of a
    # sign that was not measured yet
    assert more.kept["made"] == 6 + 1 + len(drawn(more)) - len(drawn(done))


def test_damaged_and_foreign_entries_are_made_again_by_one_worker_too(first):
    out, done, before = first
    entries = sorted((out / FOLDER).iterdir())
    written = [path.read_bytes() for path in entries]
    for number, path in enumerate(entries):
        data = bytearray(written[number])
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data) if number % 2 else written[number - 1])
    again = run(settings(out, engine={"workers": 1}))
    assert again.kept == done.kept
    assert files(out) == before


@pytest.mark.slow
def test_the_cache_changes_no_byte(first, tmp_path):
    _, done, before = first
    engine = {"workers": 1, "results_cache": False}
    one = run(settings(tmp_path / "one", engine=engine, dataset_url=done.dataset.url))
    assert files(tmp_path / "one") == before
    assert one.kept["from_before"] == 0 and not (tmp_path / "one" / FOLDER).exists()
    assert [vars(plain(card)) for card in one.cards] == [vars(plain(card)) for card in done.cards]


def test_cards_and_the_report_tell_the_stability(first):
    out, done, _ = first
    data = ReportData.load(f"{out}/results")
    control = [card for card in done.cards if card.method == "random"]
    assert len(control) == 2 and not {card.direction_id for card in control} & set(data.stability)
    assert all(math.isnan(card.stability) and card.responses for card in control)
    for card in done.cards:
        if card.method == "random":
            continue
        found = data.stability[card.direction_id]
        assert isinstance(found, Stability) and len(found.halves) == 2
        assert (card.stability, card.stability_low) == (found.mean, found.low)
        assert -1 <= card.stability_low <= card.stability <= card.stability_high <= 1
        assert [rows for rows, _ in found.sizes] == [29, 58][-len(found.sizes) :]
        assert len(found.seeds) == (1 if card.method == "svm" else 0)
    ridge = next(card for card in done.cards if (card.method, card.attribute) == ("ridge", "yaw"))
    assert ridge.stability > 0.9  # the score is all but linear in w


def test_a_run_of_nothing_that_can_be_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="'points' has no style weights"):
        run(settings(tmp_path / "alone", mining={"methods": {"sefa": {}}}))
    assert not (tmp_path / "alone").exists()


@pytest.mark.slow
def test_a_method_that_cannot_be_run_is_skipped_with_its_reason(first, tmp_path):
    _, before, _ = first
    methods = {"pca": {"components": 1}, "sefa": {}}
    more = {"mining": {"methods": methods}, "dataset_url": before.dataset.url}
    done = run(settings(tmp_path / "out", **more))
    assert [card.method for card in done.cards] == ["pca"] and not done.mined.failures
    assert list(done.mined.skipped) == ["sefa"]
    assert "'points' has no style weights" in _summary(done)["skipped"]["sefa"]
    assert list(ReportData.load(f"{tmp_path}/out/results").skipped) == ["sefa"]


def test_a_task_that_refuses_or_breaks_fails_alone_and_a_lost_file_ends_them_all():
    task = ray.remote(num_cpus=1)(ends)
    names = [("fine", "yaw"), ("refuses", ""), ("breaks", "smile")]
    told = dict(finished({task.remote(name): (name, attribute) for name, attribute in names}))
    assert told["fine", "yaw"] == "fine"
    assert isinstance(told["refuses", ""], InputError) and "too few" in str(told["refuses", ""])
    broken = told["breaks", "smile"]
    assert isinstance(broken, RunError) and "breaks smile: ZeroDivisionError" in str(broken)
    with pytest.raises(StorageError, match="disk"):
        list(finished({task.remote("loses"): ("loses", "")}))


def ends(how: str) -> str:
    if how == "refuses":
        raise InputError("too few rows")
    if how == "loses":
        raise StorageError("the disk is full")
    return f"{1 / 0}" if how == "breaks" else how


@pytest.mark.slow
def test_a_kept_control_model_gives_the_same_bytes(tmp_path):
    out, mining = tmp_path / "out", {"attributes": ["yaw"], "methods": {"nrsfm": {}}}
    run(settings(out, mining=mining))
    before = files(out) | {"shape": (out / "results" / "shape.parquet").read_bytes()}
    again = run(settings(out, mining=mining))
    assert again.kept == {"from_before": 3, "made": 0}
    assert before == files(out) | {"shape": (out / "results" / "shape.parquet").read_bytes()}
    more = run(settings(out, mining={**mining, "attributes": ["yaw", "smile"]}))
    assert more.kept == {"from_before": 4, "made": 2}


@pytest.mark.slow
def test_behind_the_control_model_each_part_gets_a_model_of_its_own(first, tmp_path):
    _, before, _ = first
    plan = {"control": True, "halves": 1, "sizes": [0.5], "seeds": 0}
    mining = {"attributes": ["yaw"], "methods": {"nrsfm": {}, "ridge": {}}, "stability": plan}
    given = settings(tmp_path / "out", mining=mining, dataset_url=before.dataset.url)
    done = run(given)
    found = done.mined.stability["nrsfm", "yaw"]
    assert len(found.halves) == len(found.sizes) == 1 and not found.reason
    assert 0.2 < found.mean < 0.9999  # one model for both halves would come out near 1
    assert run(given).kept["made"] == 0
    card = next(card for card in done.cards if card.method == "nrsfm")
    assert card.stability == found.mean
