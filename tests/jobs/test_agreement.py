"""`lode dataset agreement`: planted backends are told apart, and the page and files are whole."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from jobs.agreement import (
    Agreement,
    Quantity,
    compare_backends,
    document,
    read_advice,
    write,
)
from jobs.cli_agreement import agreement, beside
from jobs.report.agreement_page import render_agreement
from jobs.report.data import DatasetFacts, ReportData
from jobs.report.page import render_page
from schemas.errors import ConflictError, CorruptDataError, InputError
from schemas.samples import Field
from storage.dataset import Dataset
from storage.files import Store
from tests.jobs.planted_dataset import Made, write_dataset

HOSTILE = "</script><script>alert('x')</script>\"'><img src=x onerror=alert(1)>&{{7*7}}"
ROWS = 1200


@pytest.fixture
def yaw(rng) -> NDArray:
    """Degrees, (ROWS,)."""
    return rng.uniform(-40, 40, ROWS)


@pytest.fixture
def planted(tmp_path, rng, yaw) -> Dataset:
    """Three backends of known quality and known failures, and the truth.

    geometry: 3 degrees low, 4 degrees of noise, fails beyond 30; mediapipe: 1 degree of noise,
    fails on the first 60 rows, its mouth turned round; shape3d: constant smile, no mouth.
    """
    rows, mouth = len(yaw), rng.uniform(0, 1, ROWS)
    points = 0.5 + 0.1 * rng.standard_normal((rows, 68, 2))
    points[:, 36], points[:, 45] = (0.4, 0.5), (0.6, 0.5)
    turned = np.abs(yaw) <= 30
    late = np.arange(rows) >= 60
    degrees = {"yaw": "degrees"}
    extractors = {
        "dlib": Made(
            {"landmarks": points + 0.006, "score": rng.random(rows)}, turned,
            {"landmarks": "fraction of the image"}, licence="research only",
        ),
        "geometry": Made(
            {"yaw": yaw - 3 + rng.normal(0, 4, rows),
             "mouth_open": 30 * mouth + rng.normal(0, 3, rows)},
            turned, {**degrees, "mouth_open": "mm"},
        ),
        "mediapipe": Made(
            {"yaw": yaw + rng.normal(0, 1, rows), "jaw_open": 1 - mouth, "score": rng.random(rows),
             "mouth_smile_left": mouth + 1, "mouth_smile_right": mouth + 3},
            late, degrees,
        ),
        "shape3d": Made(
            {"yaw": yaw + rng.normal(0, 9, rows), "smile": np.zeros(rows)}, None, degrees
        ),
    }  # fmt: skip
    others = {
        "truth_landmarks_2d": (
            Field("truth_landmarks_2d", "float32", (68, 2), "fraction of the image"), points
        )
    }  # fmt: skip
    truth = {"yaw": yaw, "mouth_open": mouth, "beard": rng.random(rows)}
    return write_dataset(tmp_path / "run" / "dataset", extractors, ROWS, truth=truth, others=others)


def quantity(found: Agreement, name: str) -> Quantity:
    return next(one for one in found.quantities if one.name == name)


def test_planted_backends_are_told_apart(planted, yaw):
    found, pictures = compare_backends(planted)
    assert [one.name for one in found.quantities] == ["yaw", "mouth_open", "smile"]
    turn = quantity(found, "yaw")
    assert list(turn.read) == ["truth", "geometry", "mediapipe", "shape3d"]
    assert turn.trust.backends == ("mediapipe",) and turn.trust.basis == "truth"
    pair = next(p for p in turn.comparisons if (p.first, p.second) == ("truth", "geometry"))
    assert pair.bias == pytest.approx(-3, abs=0.6) and pair.spread == pytest.approx(4, rel=0.1)
    assert pair.unit == "degrees" and pair.only_second == 0
    assert pair.only_first == (np.abs(yaw) > 30).sum()
    both = next(p for p in turn.comparisons if (p.first, p.second) == ("geometry", "mediapipe"))
    turned, late = np.abs(yaw) <= 30, np.arange(ROWS) >= 60
    assert (both.rows, both.only_first, both.only_second) == (
        (turned & late).sum(), (turned & ~late).sum(), (late & ~turned).sum(),
    )  # fmt: skip
    assert ("yaw", "geometry", "mediapipe") in pictures and len(pictures) == 6 + 3 + 1


def test_names_that_mean_one_quantity_are_read_together(planted):
    found, _ = compare_backends(planted)
    mouth = quantity(found, "mouth_open")
    assert mouth.read == {
        "truth": "mouth_open", "geometry": "mouth_open", "mediapipe": "jaw_open",
    }  # fmt: skip
    assert mouth.trust.backends == ("mediapipe",)
    assert "its sign turned round" in mouth.trust.reason
    assert mouth.units["geometry"] == "mm" and all(not p.unit for p in mouth.comparisons)
    smile = quantity(found, "smile")
    assert smile.read["mediapipe"] == "mean of mouth_smile_left, mouth_smile_right"
    assert smile.trust.backends == () and smile.trust.basis == "nothing"  # one is constant
    assert not any("score" in one.read.values() for one in found.quantities)


def test_landmarks_and_failures_by_pose(planted, yaw):
    found, _ = compare_backends(planted)
    (marks,) = found.landmarks
    assert (marks.first, marks.second) == ("truth_landmarks_2d", "dlib_landmarks")
    assert marks.rows == (np.abs(yaw) <= 30).sum() and marks.only_second == 0
    assert marks.mean == pytest.approx(0.006 * np.sqrt(2) / 0.2, rel=1e-3)
    assert [part.low for part in found.failures] == [0, 10, 20, 30]
    assert [part.failed["geometry"].value for part in found.failures] == [0, 0, 0, 1]
    assert all(part.failed["shape3d"].value == 0 for part in found.failures)
    statuses = {made.name: made.statuses for made in found.backends}
    assert statuses["mediapipe"] == {"no_face": 60, "ok": ROWS - 60}


class Reader(HTMLParser):
    """What a browser would run or fetch, and tags left open."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.handlers += [name for name in values if name.startswith("on")]
        self.fetched += [v for k, v in attrs if k in ("src", "href", "srcset", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def test_the_page_is_whole_and_fetches_nothing(planted):
    found, pictures = compare_backends(planted)
    page = render_agreement(found, pictures)
    read = Reader(page)
    assert not read.open and not read.handlers and read.tags.count("script") == 1
    assert len(read.ids) == len(set(read.ids))
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.fetched)
    assert read.tags.count("svg") == len(pictures)
    shown = page[: page.index("<script>")].replace('data-n="nan"', "")
    assert not re.search(r"\bnan\b", shown)
    assert page == render_agreement(*compare_backends(planted))
    for one in found.quantities:
        assert one.name in page


def test_names_from_a_dataset_cannot_become_script(tmp_path, rng):
    values = rng.standard_normal(50)
    hostile = {HOSTILE: values}
    extractors = {
        name: Made(hostile, licence=HOSTILE, units={HOSTILE: HOSTILE}) for name in ("a", HOSTILE)
    }
    read = Reader(
        render_agreement(*compare_backends(write_dataset(tmp_path / "d", extractors, 50)))
    )
    assert read.tags.count("script") == 1 and "img" not in read.tags and not read.handlers


def test_the_main_report_tells_whom_to_trust(planted, tmp_path):
    """Where an agreement of the same dataset lies beside it; else the section is left out."""
    folder = str(tmp_path / "results")
    assert read_advice(folder, planted.dataset_id) == ()
    found, pictures = compare_backends(planted)
    write(found, render_agreement(found, pictures), folder)
    advice = read_advice(folder, planted.dataset_id)
    assert [one.quantity for one in advice] == ["yaw", "mouth_open", "smile"]
    assert advice[0].backends == ("mediapipe",)
    assert read_advice(folder, "0" * 16) == ()
    facts = DatasetFacts("d", "place", 0, {}, "head", "00", 256, {}, ())
    data = ReportData("Run", datetime(2026, 1, 1), "{}", "0", facts)
    read = Reader(render_page(data, advice))
    assert "agreement" in read.ids and not read.open
    assert all(link[1:] in read.ids for link in read.fetched)
    assert advice[0].reason in html.unescape(render_page(data, advice))
    assert "agreement" not in Reader(render_page(data)).ids
    stored = (tmp_path / "results" / "agreement.json").read_text()
    damaged = stored.replace('"basis"', '"bases"')
    (tmp_path / "results" / "agreement.json").write_text(damaged)
    with pytest.raises(CorruptDataError, match="is damaged"):
        read_advice(folder, planted.dataset_id)


app = typer.Typer()
app.command()(agreement)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_prints_and_writes_beside_the_dataset(planted):
    done = run(planted.url)
    assert done.exit_code == 0, done.exception
    results = Path(planted.url).parent / "results"
    assert sorted(path.name for path in results.iterdir()) == ["agreement.html", "agreement.json"]
    assert "mediapipe" in done.stdout and str(results / "agreement.html") in done.stdout
    lines = done.stdout.splitlines()
    assert next(line for line in lines if line.startswith("yaw ")).split()[1] == "mediapipe"
    found, _ = compare_backends(planted)
    stored = json.loads((results / "agreement.json").read_text())
    assert stored == json.loads(json.dumps(document(found)))
    assert stored["quantities"][0]["trust"]["backends"] == ["mediapipe"]
    as_json = run(planted.url, "--output", "json")
    assert json.loads(as_json.stdout) == stored
    before = (results / "agreement.html").read_bytes()
    assert run(planted.url).exit_code == 0  # again, over its own
    assert (results / "agreement.html").read_bytes() == before


def test_files_of_others_are_never_overwritten(planted, tmp_path):
    for name, text in (("agreement.json", '{"mine": 1}'), ("agreement.html", "<p>mine</p>")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(text)
        done = run(planted.url, "--out", folder)
        assert isinstance(done.exception, ConflictError)
        assert "Nothing was changed" in str(done.exception)
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name).read_text() == text
    other = write_dataset(tmp_path / "other", {"a": Made({"x": np.arange(9.0)})}, 9)
    assert run(planted.url, "--out", tmp_path / "out").exit_code == 0
    done = run(other.url, "--out", tmp_path / "out")
    assert isinstance(done.exception, ConflictError) and planted.dataset_id not in str(
        done.exception
    )


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["nothing"], InputError, "holds no manifest.json"),
        (["dataset", "--out", "file/results"], InputError, "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, words, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    write_dataset(tmp_path / "dataset", {"a": Made({"x": np.arange(9.0)})}, 9)
    done = run(*words)
    assert isinstance(done.exception, error) and text in str(done.exception)
    assert "\n" not in str(done.exception)


def test_beside_a_bucket_there_is_nothing():
    assert beside("s3://bucket/run/dataset/") == "s3://bucket/run/results"
    for url in ("s3://bucket", "/dataset"):
        with pytest.raises(InputError, match="--out"):
            beside(url)


def test_datasets_and_results_may_lie_under_any_url(rng):
    values = rng.standard_normal(20)
    url = "memory://agreement/run/dataset"
    write_dataset(url, {"a": Made({"x": values}), "b": Made({"x": -values})}, 20)
    done = run(url)
    assert done.exit_code == 0, done.exception
    assert Store("memory://agreement/run/results").exists("agreement.html")


def test_without_a_finished_shard_there_is_nothing_to_read(tmp_path):
    made = {"a": Made({"x": np.arange(9.0)})}
    dataset = write_dataset(tmp_path / "dataset", made, 9, made_shards=())
    with pytest.raises(InputError, match="no finished shard yet"):
        compare_backends(dataset)


def test_a_part_of_a_dataset_says_that_it_is_one(tmp_path, rng):
    values = rng.standard_normal(90)
    made = {"a": Made({"x": values}), "b": Made({"x": values})}
    dataset = write_dataset(tmp_path / "d", made, 90, made_shards=(0, 2), shard_size=30)
    found, _ = compare_backends(dataset)
    assert found.rows == 60 and "Only 2 of 3 shards are finished." in found.notes
    assert quantity(found, "x").comparisons[0].rows == 60


def test_one_backend_alone_has_nothing_to_be_compared_with(tmp_path, rng):
    made = {"a": Made({"x": rng.standard_normal(30)})}
    found, pictures = compare_backends(write_dataset(tmp_path / "d", made, 30))
    assert not found.quantities and not pictures
    assert any(note.startswith("Nothing to compare") for note in found.notes)
    assert "Nothing to compare" in render_agreement(found, pictures)
    done = run(tmp_path / "d")
    assert done.exit_code == 0 and "Nothing to compare" in done.stdout


def test_one_backend_alone_is_still_held_against_the_truth(tmp_path, rng):
    x = rng.standard_normal(300)
    made = {"a": Made({"x": x + 0.1 * rng.standard_normal(300)})}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 300, truth={"x": x}))
    assert found.reference == "truth" and quantity(found, "x").trust.backends == ("a",)
    assert any("nothing to compare between them" in note for note in found.notes)


def test_cameras_are_what_poses_are_held_against(tmp_path, rng, yaw):
    noise = rng.standard_normal(ROWS)
    camera = {
        f"camera_{name}": (Field(f"camera_{name}", "float32", (), "degrees"), yaw * sign)
        for name, sign in (("yaw", 1), ("pitch", 0.5), ("roll", 0))
    }
    made = {
        "a": Made({"yaw": yaw + 2 + noise, "smile": yaw}, None, {"yaw": "degrees"}),
        "b": Made({"smile": -yaw}),
    }  # fmt: skip
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, ROWS, others=camera))
    assert found.reference == "camera" and len(found.failures) == 4
    turn = quantity(found, "yaw")
    assert turn.trust.basis == "camera" and turn.comparisons[0].bias == pytest.approx(2, abs=0.2)
    assert quantity(found, "smile").trust.basis == "agreement"
    assert any("asked of the generator" in note for note in found.notes)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("kind", ["values", "nan", "constant", "no face"])
def test_edges_are_pages_too(tmp_path, rows, kind):
    values = np.arange(float(rows)) if kind in ("values", "no face") else np.full(rows, 7.0)
    values = np.full(rows, np.nan) if kind == "nan" else values
    status = np.zeros(rows, bool) if kind == "no face" else None
    points = np.repeat(np.repeat(values[:, None, None], 68, 1), 2, 2)
    columns = {"yaw": values, "landmarks": points}
    units = {"landmarks": "fraction of the image", "yaw": "degrees"}
    made = {name: Made(columns, status, units) for name in ("a", "b")}
    truth = {"yaw": np.arange(float(rows))}
    dataset = write_dataset(tmp_path / "dataset", made, rows, truth=truth, shard_size=2)
    done = run(dataset.url)
    assert done.exit_code == 0, done.exception
    stored = json.loads((tmp_path / "results" / "agreement.json").read_text())
    measured = 0 if kind in ("nan", "no face") else rows
    assert stored["quantities"][0]["comparisons"][0]["rows"] == measured
    assert not Reader((tmp_path / "results" / "agreement.html").read_text()).open


def test_the_longest_extractor_owns_a_column(tmp_path, rng):
    """Columns of "a_b" are not those of "a", although they begin with its name."""
    x = rng.standard_normal(40)
    made = {"a": Made({"x": x}), "a_b": Made({"x": -x})}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert [one.name for one in found.quantities] == ["x"]
    assert quantity(found, "x").comparisons[0].pearson.value == pytest.approx(-1)


def test_backends_that_read_the_same_landmarks_are_noted(tmp_path, rng):
    x = rng.standard_normal(40)
    made = {
        "dlib": Made({"score": x}),
        "geometry": Made({"yaw": x}),
        "shape3d": Made({"yaw": x}, options={"source": "dlib"}),
    }
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert any("read the landmarks of dlib" in note for note in found.notes)
    assert "may be wrong together" in quantity(found, "yaw").trust.reason
