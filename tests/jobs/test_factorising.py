"""The shape model over shards on a real Ray: the result of all rows in memory, however grouped."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.cluster import ray_session
from jobs.factorising import RayParts, factorise, landmark_parts
from mining.methods.fit_parts import fit_parts
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from schemas.errors import CorruptDataError, InputError
from schemas.settings import EngineSettings
from tests.jobs.planted_dataset import Made, write_dataset
from tests.mining.methods.test_parts import span
from tests.mining.methods.test_refine import MODES, planted

ROWS, SHARD = 330, 40  # nine shards, the last of ten rows
JOINT = NrsfmConfig(MODES, "metric", sweeps=15, passes=3, sample=120)
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def started():
    with ray_session(EngineSettings(workers=2, object_store_mb=128)):
        yield


@pytest.fixture(scope="module")
def measured():
    """Landmarks as tables hold them, and which rows have them: none of the third shard."""
    rng = np.random.default_rng(5)
    landmarks = planted(rng, rows=ROWS)[0].astype(np.float32)
    found = rng.uniform(size=ROWS) > 0.05
    found[2 * SHARD : 3 * SHARD] = False
    return landmarks, found


@pytest.fixture
def dataset(measured, tmp_path):
    landmarks, found = measured
    made = {"planted": Made({"landmarks": landmarks}, found)}
    return write_dataset(tmp_path, made, ROWS, shard_size=SHARD)


def assert_same(found, whole, landmarks):
    """A fit to parts is that of all rows at once."""
    codes = np.concatenate(list(found.codes))
    assert found.rows == len(codes) == len(landmarks)
    assert found.model.objective == pytest.approx(whole.objective, rel=1e-8)
    np.testing.assert_allclose(span(found.model.basis), span(whole.basis), atol=1e-8)
    np.testing.assert_allclose(span(found.model.mean_shape), span(whole.mean_shape), atol=1e-8)
    np.testing.assert_allclose(found.model.project(codes), whole.project(whole.codes), atol=1e-7)


@pytest.mark.parametrize(
    ("robust", "groups"),
    [(False, {1: 9, 100: 3, 1000: 1}), (True, {100: 3})],
    ids=["plain", "robust"],
)
def test_shards_however_grouped_are_as_all_rows_in_memory(dataset, measured, robust, groups):
    landmarks, seen = measured
    config = NrsfmConfig(MODES, "metric", sweeps=15, passes=3, sample=120, robust=robust)
    whole = fit_nrsfm(landmarks[seen], config)
    for rows, count in groups.items():
        parts = landmark_parts(dataset, "planted_landmarks", rows)
        assert len(parts) == count
        assert sum(len(part.receipts) for part in parts) == 9
        found = factorise(parts, config)
        assert (found.missing, found.flat) == ((~seen).sum(), 0)
        assert_same(found, whole, landmarks[seen])


def test_parts_that_are_arrays_some_of_them_empty_do_as_well(measured):
    landmarks, seen = measured
    kept = landmarks[seen]
    found = fit_parts(RayParts([kept[:0], kept[:200], kept[:0], kept[200:]]), JOINT)
    assert_same(found, fit_nrsfm(kept, JOINT), kept)
    alone = fit_parts(RayParts([kept[:0], kept]), JOINT)
    assert_same(alone, fit_nrsfm(kept, JOINT), kept)


def test_two_runs_are_equal_to_the_last_bit(measured):
    landmarks, seen = measured
    parts = np.array_split(landmarks[seen], 5)
    one, other = (fit_parts(RayParts(parts), JOINT) for _ in range(2))
    assert one.model.objective == other.model.objective
    np.testing.assert_array_equal(one.model.basis, other.model.basis)
    for part, same in zip(one.codes, other.codes, strict=True):
        np.testing.assert_array_equal(part, same)


def test_what_a_task_refuses_is_one_plain_error(dataset, measured, tmp_path):
    landmarks, _ = measured
    with pytest.raises(InputError, match="parts have 30 and 29 landmarks") as told:
        fit_parts(RayParts([landmarks[:50], landmarks[50:, 1:]]), JOINT)
    assert type(told.value) is InputError
    with pytest.raises(InputError, match=r"\(330, 30\), expected \(N, L, 2\)") as told:
        fit_parts(RayParts([landmarks[..., 0]]), JOINT)
    assert type(told.value) is InputError
    shard = tmp_path / dataset.receipts[4].file
    spoilt = bytearray(shard.read_bytes())
    spoilt[100] ^= 1
    shard.write_bytes(bytes(spoilt))
    with pytest.raises(CorruptDataError, match=shard.name):
        factorise(landmark_parts(dataset, "planted_landmarks", 100), JOINT)
