"""Some rows of a dataset as a dataset of its own: right, whole, repaired, and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import _lode as lode
from jobs.cli import guarded
from jobs.filter_dataset import filter_dataset
from jobs.repair_dataset import repair
from schemas.errors import ConflictError, CorruptDataError, InputError
from schemas.settings import EngineSettings
from storage.dataset import Dataset
from storage.verify import verify
from tests.jobs.planted_dataset import Made, write_dataset
from tests.storage.points_dataset import GEOMETRY, SOME_BLIND, file_digests, sampled

ENGINE = EngineSettings()


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("sampled") / "dataset"
    return sampled(folder, {**SOME_BLIND, **GEOMETRY})


@pytest.fixture(scope="module")
def before(parent) -> dict[str, str]:
    return file_digests(parent.url)


@pytest.fixture(autouse=True)
def the_parent_stays_as_it_is(parent, before):
    yield
    assert file_digests(parent.url) == before


def test_it_holds_the_rows_that_match_as_they_were(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), where="points_yaw > 0.2")
    whole = parent.read([field.name for field in parent.manifest.fields])
    yaw, _ = parent.attribute("points_yaw")
    expected = whole.filter(yaw > 0.2)
    found = made.read(whole.column_names)
    assert 0 < len(expected) < len(whole) and found.equals(expected)
    assert found.schema.field("points_yaw").metadata == whole.schema.field("points_yaw").metadata
    assert [receipt.rows for receipt in made.receipts.values()][:-1] == [10] * (len(found) // 10)
    assert not verify(made.url).problems
    assert made.manifest.derived["where"] == "points_yaw > 0.2"


def test_rows_without_a_value_are_carried_too(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), where="points_status != 'ok'")
    assert made.statuses()["points"] == {"no_face": made.rows} and made.rows > 2
    table = made.read(["points_landmarks", "points_yaw", "geometry_yaw"])
    assert all(column.null_count == made.rows for column in table.columns)
    assert not verify(made.url).problems


def test_columns_that_are_left_out_take_no_status_with_them(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), columns=["smile", "w"])
    assert [field.name for field in made.manifest.fields] == [
        *("sample_id", "index", "w", "points_status", "points_reason", "points_smile"),
        *("geometry_status", "geometry_reason"),
    ]
    assert made.rows == parent.rows and made.statuses() == parent.statuses()
    assert made.manifest.derived["columns"] == ["w", "points_smile"]
    assert not verify(made.url).problems


def test_filtered_twice_the_line_is_kept_and_the_rows_are_those_of_both(parent, tmp_path):
    one = filter_dataset(parent.url, str(tmp_path / "one"), where="points_yaw > 0")
    two = filter_dataset(one.url, str(tmp_path / "two"), where="points_smile > 0", sample=4, seed=1)
    both = filter_dataset(
        parent.url, str(tmp_path / "both"), where="points_yaw > 0 and points_smile > 0",
        sample=4, seed=1,
    )  # fmt: skip
    names = ["sample_id", "index", "points_smile"]
    assert two.read(names).equals(both.read(names)) and two.rows == 4
    assert two.dataset_id != both.dataset_id and two.manifest.picked == both.manifest.picked


def test_spelled_otherwise_it_is_the_same_dataset(parent, tmp_path):
    one = filter_dataset(parent.url, str(tmp_path / "a"), where="points_yaw>0  AND index<30")
    two = filter_dataset(parent.url, str(tmp_path / "b"), where="points_yaw > 0 and index < 30")
    assert one.dataset_id == two.dataset_id
    assert file_digests(one.url) == file_digests(two.url)


def test_what_is_missing_is_made_again_and_nothing_else(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), where="index < 37")
    expected = file_digests(made.url)
    root = Path(made.url)
    times = {path: path.stat().st_mtime_ns for path in root.glob("data/*")}
    gone = root / made.manifest.shard_file(2)
    (root / made.manifest.receipt_file(2)).unlink()
    (root / made.manifest.receipt_file(0)).unlink()
    gone.unlink()
    filter_dataset(parent.url, made.url, where="index < 37")
    assert file_digests(made.url) == expected
    assert [path for path, was in times.items() if path.stat().st_mtime_ns != was] == [gone]


def test_a_repair_reads_the_parent_again(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), sample=33, seed=5)
    expected = file_digests(made.url)
    (Path(made.url) / made.manifest.shard_file(1)).write_bytes(b"damaged")
    assert verify(made.url).broken == [1]
    done = repair(made.url, ENGINE)
    assert done.made == (1,) and not done.after.problems
    assert file_digests(made.url) == expected


def test_a_repair_says_where_the_parent_is_gone_and_finds_it_elsewhere(parent, tmp_path):
    copy = shutil.copytree(parent.url, tmp_path / "copy")
    made = filter_dataset(str(copy), str(tmp_path / "made"), where="points_yaw > 0")
    moved = copy.rename(tmp_path / "moved")
    broken = Path(made.url) / made.manifest.shard_file(0)
    broken.write_bytes(b"damaged")
    damaged = file_digests(made.url)
    with pytest.raises(InputError, match=f"no longer at {copy}.*--parent"):
        repair(made.url, ENGINE)
    with pytest.raises(InputError, match="is dataset"):
        repair(made.url, ENGINE, parent=made.url)
    assert file_digests(made.url) == damaged
    assert guarded(lode, ["dataset", "repair", made.url, "--parent", str(moved)]) == 0
    assert not verify(made.url).problems


def test_a_damaged_parent_is_named(parent, tmp_path):
    copy = shutil.copytree(parent.url, tmp_path / "copy")
    shard = Path(copy) / parent.manifest.shard_file(3)
    shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    with pytest.raises(CorruptDataError, match=f"lode dataset repair {copy}"):
        filter_dataset(str(copy), str(tmp_path / "made"), where="index > 0")
    assert not (tmp_path / "made").exists()


def test_another_dataset_is_never_written_over(parent, tmp_path):
    made = filter_dataset(parent.url, str(tmp_path / "made"), where="index < 20")
    expected = file_digests(made.url)
    with pytest.raises(ConflictError, match="derived.*choose another --out"):
        filter_dataset(parent.url, made.url, where="index < 30")
    assert file_digests(made.url) == expected
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(ConflictError, match="mine.txt"):
        filter_dataset(parent.url, str(tmp_path / "notes"), where="index < 30")


WRONG = {
    "nothing asked": [],
    "no such column": ["--where", "yawn > 3"],
    "no condition": ["--where", "points_yaw + 1"],
    "no expression": ["--where", "points_yaw >"],
    "Python": ["--where", "__import__('os').system('true')"],
    "SQL": ["--where", "1 = 1; drop table samples"],
    "no row": ["--where", "points_yaw > 1e9"],
    "too large a sample": ["--sample", "1000"],
    "no sample": ["--sample", "0"],
    "a seed for nothing": ["--where", "index > 3", "--seed", "1"],
    "an unknown column": ["--columns", "index,yawn"],
    "an empty column": ["--columns", "index,,w"],
    "no such option": ["--were", "index > 3"],
}


def test_a_column_of_pictures_is_no_unknown_one(parent, tmp_path):
    out = str(tmp_path / "made")
    with pytest.raises(
        InputError, match="--where: 'thumbnail' holds bytes .JPEG, 16 px.; expected"
    ):
        filter_dataset(parent.url, out, where="thumbnail is not null")


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_one_line_and_status_2(parent, tmp_path, capsys, words):
    out = tmp_path / "made"
    assert guarded(lode, ["dataset", "filter", parent.url, "--out", str(out), *words]) == 2
    said = capsys.readouterr().err.splitlines()
    errors = [line for line in said if not line.startswith("{")]
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert not out.exists()


def test_a_parent_that_is_none_or_unfinished_or_the_target_is_refused(parent, tmp_path, capsys):
    half = shutil.copytree(parent.url, tmp_path / "half")
    (half / parent.manifest.receipt_file(1)).unlink()
    inside = f"{parent.url}/filtered"
    out = str(tmp_path / "made")
    for url, place, word in (
        (str(tmp_path / "nowhere"), out, "no manifest.json"),
        (str(half), out, "has 4 of 5 shards"),
        (parent.url, inside, "lies in the dataset"),
        (parent.url, parent.url, "lies in the dataset"),
        (parent.url, "", "--out is empty"),
    ):
        words = ["dataset", "filter", url, "--out", place, "--where", "index > 3"]
        assert guarded(lode, words) == 2
        assert word in capsys.readouterr().err
    assert not Path(out).exists() and not Path(inside).exists()


def test_a_target_that_cannot_be_written_is_refused(parent, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="file"):
        filter_dataset(parent.url, str(tmp_path / "file" / "made"), where="index > 3")


def test_commands_read_a_filtered_dataset_as_any_other(parent, tmp_path, capsys):
    out = str(tmp_path / "made")
    words = ["--where", "points_yaw > 0", "--sample", "9", "--seed", "3"]
    assert guarded(lode, ["dataset", "filter", parent.url, "--out", out, *words]) == 0
    said = capsys.readouterr().out
    assert f"parent    {parent.dataset_id}" in said and "(9 rows, id " in said
    assert guarded(lode, ["dataset", "verify", out]) == 0
    assert guarded(lode, ["dataset", "head", out]) == 0
    capsys.readouterr()
    assert guarded(lode, ["dataset", "info", out]) == 0
    shown = capsys.readouterr().out
    assert "filtered; where points_yaw > 0; sample 9; seed 3" in shown
    assert f"{parent.dataset_id} at {parent.url}" in shown
    assert "rows/s" in shown and "None" not in shown.partition("\nrun ")[2].splitlines()[0]
    assert guarded(lode, ["dataset", "info", out, "-o", "json"]) == 0
    (step,) = json.loads(capsys.readouterr().out)["derived"]
    assert (step["parent"], step["kind"]) == (parent.dataset_id, "filtered")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine", "--dataset_url", "{out}/nowhere"], "no manifest.json"),
        (["mine", "--dataset_url", "{parent}", "--mining.attributes", "[yawn]"], "'yawn'"),
        (["mine", "--dataset_url", "{half}"], "has 4 of 5 shards"),
        (["generate", "--dataset_url", "{parent}"], "names a finished dataset"),
    ],
)
def test_a_dataset_that_cannot_be_mined_is_refused(parent, tmp_path, capsys, words, said):
    half = shutil.copytree(parent.url, tmp_path / "half")
    (half / parent.manifest.receipt_file(1)).unlink()
    out = tmp_path / "out"
    told = [word.format(out=out, parent=parent.url, half=half) for word in words]
    assert guarded(lode, [*told, "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_killed_in_the_middle_and_run_again_it_has_the_same_bytes(tmp_path, environment):
    import numpy as np

    rows = 1200
    values = np.random.default_rng(0).normal(size=(rows, 200)).astype(np.float32)
    planted = {"planted": Made({"values": values, "first": values[:, 0]})}
    write_dataset(tmp_path / "parent", planted, rows, shard_size=10)
    command = [sys.executable, "-m", "jobs.cli", "dataset", "filter", str(tmp_path / "parent")]
    command += ["--where", "first > -1", "--out"]
    out = tmp_path / "killed"
    with subprocess.Popen(
        [*command, str(out)], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as driver:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and driver.poll() is None:
            if (out / "receipts").is_dir() and len(os.listdir(out / "receipts")) > 5:
                break
            time.sleep(0.002)
        driver.send_signal(signal.SIGKILL)
    left = Dataset(str(out))
    assert 0 < left.rows and not left.complete, "the kill came too late or too early"
    left.read(["index"])  # what has a receipt is whole
    whole = filter_dataset(str(tmp_path / "parent"), str(tmp_path / "whole"), where="first > -1")
    filter_dataset(str(tmp_path / "parent"), str(out), where="first > -1")
    assert file_digests(out) == file_digests(whole.url)
