"""One pass over the shards: rows in memory, in a file or as sums give the same directions."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.latent_stream import collect
from jobs.mining_stage import make_config
from jobs.quick_direction import FROM_SUMS, STREAMED, gradient, mine_collected, spread_along
from mining.labels import make_labels
from mining.methods.registry import SCORE_METHODS
from schemas.errors import InputError
from schemas.samples import Field
from storage.dataset import Dataset
from tests.jobs.planted_dataset import Made, write_dataset

ROWS, DIM = 2000, 12
ALL = {"split": "all"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Width along the first number of w and height along the first two; some are not measured."""
    rng = np.random.default_rng(5)
    w = 3 + rng.normal(size=(ROWS, DIM)).astype(np.float32)
    width = w[:, 0] + 0.2 * rng.normal(size=ROWS)
    height = w[:, 0] + w[:, 1] + 0.2 * rng.normal(size=ROWS)
    height[rng.uniform(size=ROWS) < 0.1] = np.nan
    face = Made({"width": width, "height": height, "flat": np.ones(ROWS)}, rng.random(ROWS) > 0.05)
    folder = tmp_path_factory.mktemp("stream") / "dataset"
    others = {"w": (Field("w", "float32", (DIM,)), w)}
    return write_dataset(folder, {"face": face}, ROWS, others=others, shard_size=150)


def test_every_score_method_is_streamed():
    assert set(STREAMED) == set(SCORE_METHODS)
    assert set(FROM_SUMS) < set(STREAMED)


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_many_rows_give_what_few_give(dataset, method):
    options = ALL if method == "svm" else {}
    config = make_config(method, options, seed=0)
    few, many = (
        collect(dataset, ["width", "height"], {}, None, method not in FROM_SUMS, few=count)
        for count in (10_000, 400)
    )
    assert few.few and not many.few
    assert (many.rows is None) == (method in FROM_SUMS)
    for name in ("width", "height"):
        one, other = (mine_collected(found, name, method, config) for found in (few, many))
        np.testing.assert_allclose(other.vector, one.vector, atol=1e-6)
        assert other.slope == pytest.approx(one.slope, rel=1e-6)
        assert other.method == one.method == method
        assert set(other.evidence) == set(one.evidence)
        assert other.evidence["rows" if "rows" in one.evidence else "low_rows"] > 0
        np.testing.assert_allclose(gradient(many, name), gradient(few, name), atol=1e-6)
    assert spread_along(many, one.vector) == pytest.approx(spread_along(few, one.vector), rel=1e-5)


def test_only_rows_with_all_attributes_are_read_and_kept_in_order(dataset):
    labels = make_labels({"big": "width > 3"})
    found = collect(dataset, ["big", "height"], labels, "width < 5", keep=True, few=300)
    data = dataset.arrays(["w", "face_width", "face_height"])
    rows = np.isfinite(data["face_height"]) & (data["face_width"] < 5)
    np.testing.assert_array_equal(found.rows, data["w"][rows])
    np.testing.assert_array_equal(found.scores["big"], data["face_width"][rows] > 3)
    assert found.moments["height"].rows == rows.sum() < ROWS
    assert found.moments["height"].score_mean == pytest.approx(data["face_height"][rows].mean())


def test_what_cannot_be_mined_is_said(dataset):
    with pytest.raises(InputError, match="no rows with width > 99"):
        collect(dataset, ["width"], {}, "width > 99", keep=False)
    nothing = make_labels({"never": "height / 0"})
    with pytest.raises(InputError, match="never is known in none of 2,000 rows"):
        collect(dataset, ["never"], nothing, None, keep=False)
    apart = make_labels({"here": "if(width > 3, 1, height / 0)", "there": "if(width > 3, 1/0, 1)"})
    with pytest.raises(InputError, match="none of 2,000 rows has all of here, there"):
        collect(dataset, ["here", "there"], apart, None, keep=False)
    found = collect(dataset, ["flat"], {}, None, keep=False, few=100)
    with pytest.raises(InputError, match="ridge: all .* scores are 1; nothing to learn"):
        mine_collected(found, "flat", "ridge", make_config("ridge", {}, 0))
