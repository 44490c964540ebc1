"""Rows of a dataset by an expression and a sample: the right ones, whatever the shards."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from storage.dataset import Dataset
from storage.regrouping import Chosen, survey
from storage.selecting import choose, columns_read, select
from tests.jobs.planted_dataset import Made, write_dataset

ROWS = 1000


@pytest.fixture(scope="module")
def planted() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "yaw": rng.normal(0, 10, ROWS).astype(np.float32),
        "pitch": rng.normal(0, 10, ROWS).astype(np.float32),
        "box": rng.random((ROWS, 4)).astype(np.float32),
        "ok": rng.random(ROWS) > 0.2,
    }


def written(folder, planted, shard_size: int) -> Dataset:
    columns = {name: planted[name] for name in ("yaw", "pitch", "box")}
    extractors = {"geometry": Made(columns, planted["ok"])}
    return write_dataset(folder, extractors, ROWS, shard_size=shard_size)


@pytest.fixture(scope="module")
def dataset(planted, tmp_path_factory) -> Dataset:
    return written(tmp_path_factory.mktemp("planted"), planted, 90)


def indices(dataset: Dataset, **asked) -> list[int]:
    tables = select(dataset, columns=["index"], **asked)
    return [row for table in tables for row in table.column("index").to_pylist()]


def test_a_condition_chooses_the_rows_for_which_it_is_true(dataset, planted):
    yaw, pitch, ok = planted["yaw"], planted["pitch"], planted["ok"]
    cases = {
        "yaw > 5": yaw > 5,
        "not (yaw > 5)": ~(yaw > 5),
        "geometry_yaw > 5 and abs(pitch) < 3": (yaw > 5) & (np.abs(pitch) < 3),
        "yaw / pitch > 1": yaw.astype(np.float64) / pitch > 1,
        "geometry_box[2] < 0.25": planted["box"][:, 2] < 0.25,
    }
    for where, true in cases.items():  # what was not measured is neither so nor not so
        assert indices(dataset, where=where) == np.flatnonzero(true & ok).tolist(), where
    assert indices(dataset, where="geometry_status != 'ok'") == np.flatnonzero(~ok).tolist()
    assert indices(dataset) == list(range(ROWS))


def test_tables_hold_the_columns_that_were_asked_for_by_full_names(dataset):
    (first, *_) = select(dataset, "pitch > 0", ["yaw", "index", "geometry_yaw"])
    assert first.column_names == ["geometry_yaw", "index"]
    every = next(select(dataset))
    assert every.column_names == [field.name for field in dataset.manifest.fields]
    assert len(every) == 90


def test_only_what_decides_is_read_to_decide(dataset):
    choice = choose(dataset.manifest, "pitch > 0 or pitch < -5", ["yaw"], None, 0)
    assert columns_read(dataset.manifest, choice) == ("geometry_pitch",)


def test_a_sample_has_as_many_rows_and_hangs_on_no_shard(dataset, planted, tmp_path):
    other = written(tmp_path, planted, 333)
    drawn = indices(dataset, where="yaw > 0", sample=50, seed=4)
    assert len(drawn) == 50 == len(set(drawn))
    assert set(drawn) < set(indices(dataset, where="yaw > 0"))
    assert drawn == sorted(drawn) == indices(other, where="yaw > 0", sample=50, seed=4)
    assert drawn != indices(dataset, where="yaw > 0", sample=50, seed=5)
    assert set(drawn) < set(indices(dataset, where="yaw > 0", sample=51, seed=4))


def test_every_row_has_the_same_chance(dataset):
    """Of 100 draws of a tenth each row is in 10 on average, with a deviation of 3."""
    counts = np.zeros(ROWS)
    for seed in range(100):
        counts[indices(dataset, sample=ROWS // 10, seed=seed)] += 1
    assert counts.sum() == 100 * ROWS // 10
    assert counts.std() == pytest.approx(3, rel=0.15)
    assert abs(counts[: ROWS // 2].mean() - 10) < 4 * 3 / np.sqrt(ROWS)


def test_all_rows_may_be_drawn_and_one_more_may_not(dataset):
    assert indices(dataset, sample=ROWS, seed=1) == list(range(ROWS))
    with pytest.raises(InputError, match="sample 1,001 came; .* has 1,000 rows"):
        select(dataset, sample=ROWS + 1)
    with pytest.raises(InputError, match="has 0 rows with yaw > 1000"):
        select(dataset, "yaw > 1000", sample=1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"where": "yawn > 5"}, "did you mean 'yaw'"),
        ({"where": "yaw + 5"}, "expected a condition"),
        ({"where": "yaw > "}, "--where"),
        ({"where": "yaw > 'wide'"}, "--where"),
        ({"where": ""}, "--where"),
        ({"columns": ["yawn"]}, "unknown column 'yawn'; did you mean 'yaw'"),
        ({"columns": []}, "expected the name of one"),
        ({"sample": 0}, "expected 1 or more"),
        ({"sample": 3, "seed": -1}, "seed -1"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(dataset, asked, said):
    with pytest.raises(InputError, match=said):
        select(dataset, **asked)


@given(st.sampled_from(["yaw > 5", "yaw > 15", "true", "index >= 400 and index < 420"]),
       st.integers(1, 400), st.booleans())  # fmt: skip
def test_regrouped_rows_are_those_chosen_in_order(dataset, where, size, drawn):
    sample = 11 if drawn else None
    choice = choose(dataset.manifest, where, ["index", "yaw"], sample, 2)
    found = survey(dataset, choice)
    expected = pa.concat_tables(select(dataset, where, ["index", "yaw"], sample, 2))
    assert found.rows == len(expected)
    rows = Chosen(dataset, choice, found)
    for first in range(0, found.rows, size):
        stop = min(first + size, found.rows)
        part = rows.rows(first, stop).column("index")
        assert part.to_pylist() == expected.column("index")[first:stop].to_pylist()
