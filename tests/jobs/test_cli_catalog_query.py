"""`lode catalog` beyond single cards: conditions, past states, tags, what changed, how much."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.cli import main
from jobs.cli_catalog import SHOWN
from jobs.cli_catalog_change import TAG_FIELDS
from jobs.cli_catalog_records import FIELDS
from jobs.cli_catalog_tables import WIDTH
from schemas.directions import Calibration
from storage import artefacts
from storage.catalog import Catalog
from storage.differences import NUMBERS
from tests.storage.sample_cards import responses, sample_card

FIRST = sample_card(
    1,
    calibration=Calibration(0.5, -4.0, 6.0),
    **{"leak_low": 0.05, "leak_high": 0.2, "stability": 0.97, "stability_low": 0.9},
)
SECOND = sample_card(2, responses=responses("smile", 2.0, leak=0.4), truth_cosine=0.8)
WIDE = sample_card(3, method="svm", space="w+", shape=(18, 8), source="boundaries/smile.npy")
TWIN = replace(FIRST, method="lda", responses=responses("smile", 1.0, leak=0.02))


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Commit 1: a direction, one in w+, and a regressor; commit 2: its next version and a twin."""
    catalog = Catalog(tmp_path / "catalog")
    kept = artefacts.put(catalog.url, artefacts.pack({"w": FIRST.vector}), "regressor")
    empty = np.zeros(0, np.float32)
    catalog.publish([FIRST, WIDE, replace(FIRST, method="net", artefact=kept, vector=empty)])
    catalog.publish([SECOND, TWIN])
    monkeypatch.setenv("LODE_CATALOG", catalog.url)
    return catalog.url


@pytest.fixture
def lode(url, capsys):
    """Runs `lode catalog`, which succeeds; what it printed."""

    def lode(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["catalog", *words])
        out, err = capsys.readouterr()
        assert (left.value.code, err) == (0, "")
        return out

    return lode


@pytest.fixture
def read(lode):
    """As `lode`, what it printed as JSON."""
    return lambda *words: json.loads(lode(*words, "--output", "json"))


@pytest.fixture
def refused(url, capsys):
    """Runs `lode catalog`, which ends with status 2 and one line; that line."""

    def refused(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["catalog", *words])
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (2, "") and err.count("\n") == 1, err
        return err

    return refused


def methods(rows: list[dict]) -> list[str]:
    return [row["method"] for row in rows]


def test_conditions_orders_and_limits(read):
    assert methods(read("list")) == ["lda", "net", "ridge", "svm"]
    assert methods(read("list", "--where", "|yaw leak| <= 0.15, space = 'w'")) == ["lda", "net"]
    found = ("find", "smile > 0.3 and leak < 0.5", "--order-by", "leak")
    assert methods(read(*found)) == ["svm", "net", "ridge"]  # lda moves 0.25 spreads a step
    assert methods(read(*found, "--descending", "--limit", "1")) == ["ridge"]
    assert methods(read("list", "--limit", "1")) == ["lda"]  # the first of the list's order
    assert read("find", "leak > 7") == []
    assert read("best", "--attribute", "smile", "--where", "leak < 0.05")["method"] == "lda"


def test_a_long_table_says_how_many_more_there_are(tmp_path, lode, read):
    other = Catalog(tmp_path / "other")
    other.publish([sample_card(each, method=f"m{each:03}") for each in range(SHOWN + 23)])
    lines = lode("list", "--catalog", other.url).splitlines()
    assert len(lines) == 1 + SHOWN + 1 and lines[-1].startswith("23 more; --limit")
    assert "m000" in lines[1] and "m099" in lines[SHOWN]
    lines = lode("list", "--catalog", other.url, "--limit", "110").splitlines()
    assert len(lines) == 1 + 110 + 1 and lines[-1].startswith("13 more")
    assert len(read("list", "--catalog", other.url)) == SHOWN + 23


def test_as_it_was(lode, read):
    assert methods(read("list", "--as-of", "1")) == ["net", "ridge", "svm"]
    then = read("history", SECOND.direction_id)[1]["created_at"]  # its commit came after that
    assert methods(read("list", "--as-of", then)) == ["net", "ridge", "svm"]
    assert read("best", "--attribute", "smile", "--method", "ridge", "--as-of", "1")["version"] == 1
    assert read("stats", "--as-of", "1")["versions"] == 3
    lode("tag", "production", FIRST.direction_id)
    assert read("show", "production")["tags"] == ["production"]
    assert read("tags", "--as-of", "1") == []
    assert len(read("nearest", FIRST.direction_id, "--as-of", "1")) == 0


def test_a_record_holds_all_but_the_vector(lode, read):
    shown = read("show", FIRST.direction_id)
    assert set(FIELDS) <= shown.keys()
    assert (shown["calibration_step"], shown["calibration_high"]) == (0.5, 6.0)
    assert (shown["leak_high"], shown["stability"], shown["stability_high"]) == (0.2, 0.97, None)
    (net,) = read("list", "--method", "net")
    assert net["artefact_kind"] == "regressor" and net["shape"] == [0]
    assert net["direction_id"] == read("show", net["direction_id"])["direction_id"]
    (row,) = csv.DictReader(io.StringIO(lode("list", "--method", "svm", "-o", "csv")))
    assert row["source"] == "boundaries/smile.npy" and row["shape"] == "18 8"
    text = lode("show", FIRST.direction_id)
    assert "0.5 steps of norm 1 for 1 mm, holds from -4 to 6 mm" in text
    assert "0.1 (95 %: 0.05 .. 0.2)" in text
    assert "regressor of 96 bytes" in lode("show", net["direction_id"])


def test_history(lode, read):
    rows = read("history", SECOND.direction_id)
    assert [(row["version"], row["commit"], row["direction_id"]) for row in rows] == [
        (1, 1, FIRST.direction_id),
        (2, 2, SECOND.direction_id),
    ]
    lines = lode("history", FIRST.direction_id[:8]).splitlines()
    assert lines[0] == "Versions of smile, w, ridge, head" and len(lines) == 4


def test_diff(lode, read):
    found = read("diff", "1")
    assert (found["before"], found["after"], found["published"]) == (1, 2, 2)
    assert methods(found["added"]) == ["lda"]
    (replaced,) = found["replaced"]
    assert (replaced["old_id"], replaced["direction_id"]) == (
        *(FIRST.direction_id, SECOND.direction_id),
    )
    assert replaced["numbers"]["effect"] == [3.0, 2.0]
    assert replaced["numbers"]["stability"] == [0.97, None]
    assert len(read("diff", "0", "--as-of", "1")["added"]) == 3
    rows = list(csv.DictReader(io.StringIO(lode("diff", "1", "-o", "csv"))))
    assert [row["change"] for row in rows] == ["added", "replaced"]
    assert {f"old_{name}" for name in NUMBERS} < rows[0].keys()
    assert (rows[1]["old_effect"], rows[1]["effect"], rows[1]["old_version"]) == ("3.0", "2.0", "1")
    assert (rows[0]["old_effect"], rows[0]["effect"]) == ("", "1.0")
    text = lode("diff", "1")
    assert "1 > 2" in text and "3 > 2" in text and "0.9 > 0.8" in text
    assert lode("diff", "2") == "Commits 2 to 2: 0 versions published.\n"


def test_nearest(lode, read):
    rows = read("nearest", TWIN.direction_id)
    assert methods(rows) == ["ridge"]
    assert rows[0]["cosine"] == pytest.approx(float(SECOND.vector @ TWIN.vector), abs=1e-6)
    rows = read("nearest", TWIN.direction_id, "--all-versions", "--limit", "1")
    assert rows[0]["cosine"] == pytest.approx(1, abs=1e-6)
    assert lode("nearest", WIDE.direction_id).startswith("No other direction")


def test_tags_are_made_moved_and_removed(lode, read, refused):
    assert lode("tags").startswith("No tags;")
    assert read("tags") == []
    said = lode("tag", "production", FIRST.direction_id[:9])
    assert said == f"production: {FIRST.direction_id}@1, was nothing\n"
    told = read("tag", "production", SECOND.direction_id, "--expected", FIRST.direction_id[:9])
    assert tuple(told) == TAG_FIELDS
    assert (told["direction_id"], told["previous_version"]) == (SECOND.direction_id, 1)
    lost = refused("tag", "production", FIRST.direction_id, "--expected", FIRST.direction_id)
    assert f"points at {SECOND.direction_id}@2" in lost and "Nothing was changed" in lost
    lode("tag", "staging", "production")
    assert [row["tag"] for row in read("tags")] == ["production", "staging"]
    assert "beta" not in lode("tags") and "staging" in lode("tags")
    (row,) = read("list", "--method", "ridge")
    assert row["tags"] == ["production", "staging"]
    assert "production staging" in lode("list", "--method", "ridge")
    assert lode("untag", "production") == f"production: nothing, was {SECOND.direction_id}@2\n"
    rows = list(csv.DictReader(io.StringIO(lode("tags", "--history", "-o", "csv"))))
    assert [row["tag"] for row in rows] == [*["production"] * 2, "staging", "production"]
    assert rows[3]["direction_id"] == ""
    assert len(read("tags", "production", "--history")) == 3


def test_stats(lode, read):
    found = read("stats")
    assert (found["lineages"], found["versions"], found["publications"]) == (4, 5, 2)
    assert found["methods"] == {"lda": 1, "net": 1, "ridge": 1, "svm": 1}
    assert (found["spaces"], found["attributes"]) == ({"w": 3, "w+": 1}, {"smile": 4})
    assert (found["without_calibration"], found["without_stability"]) == (2, 2)
    assert (found["artefacts"], found["artefact_bytes"]) == (1, 96)
    assert found["duplicates"] == {"limit": 0.995, "count": 0, "pairs": []}
    lode("tag", "production", FIRST.direction_id)
    assert read("stats")["tags"] == {"production": f"{FIRST.direction_id}@1"}
    loose = read("stats", "--near", "0.001")["duplicates"]
    assert loose["count"] == 1 and set(loose["pairs"][0]) == {"direction_id", "other", "cosine"}
    rows = dict(csv.reader(io.StringIO(lode("stats", "-o", "csv"))))
    assert (rows["versions"], rows["methods.svm"], rows["duplicates.count"]) == ("5", "1", "0")
    assert read("stats", "--near", "1")["duplicates"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("history", FIRST.direction_id),
        ("diff", "0"),
        ("diff", "1"),
        ("nearest", TWIN.direction_id),
        ("tags",),
        ("tags", "--history"),
        ("stats", "--near", "0.001"),
        ("show", WIDE.direction_id),
    ],
    ids=" ".join,
)
def test_tables_fit(lode, words):
    lode("tag", "a-tag-with-a-rather-long-name.2026", FIRST.direction_id)
    assert max(map(len, lode(*words).splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("find", "smile >"), "where: 'smile >' at its end: expected"),
        (("find", "smil > 1"), "unknown name 'smil'; did you mean 'smile'"),
        (("find", "leak"), "where: "),
        (("list", "--order-by", "leek"), "unknown name 'leek'; did you mean 'leak'"),
        (("list", "--descending"), "--descending came without --order-by"),
        (("list", "--limit", "0"), "Invalid value for '--limit'"),
        (("list", "--as-of", "7"), "has the commits 0 to 2; 7 came"),
        (("list", "--as-of", "soon"), "as of 'soon': expected the number of a commit or a time"),
        (("list", "--as-of", "2020-01-01"), "expected a later time"),
        (("diff", "soon"), "as of 'soon'"),
        (("diff",), "Missing argument"),
        (("show", "production"), "direction 'production'"),
        (("nearest", "nothing"), "direction 'nothing'"),
        (("tag", "cafe", FIRST.direction_id), "could be the first digits of an id"),
        (("tag", "x", FIRST.direction_id, "--version", "9"), "9 is no version of direction"),
        (("tag", "x", FIRST.direction_id, "--expected", "?"), "expected '?' came"),
        (("untag", "production"), "unknown tag 'production'"),
        (("tags", "production"), "unknown tag 'production'"),
        (("stats", "--near", "2"), "Invalid value for '--near'"),
        (("stats", "--catalog", "nowhere"), "there is no catalogue at"),
        (("tags", "--catalog", "nowhere"), "there is no catalogue at"),
        (("tag", "x", "ab", "--catalog", "nowhere"), "there is no catalogue at"),
    ],
)
def test_what_is_wrong_is_one_line(refused, words, says):
    assert says in refused(*words)
