"""Derived datasets in an object store: made, checked and made again as on a disk."""

from __future__ import annotations

import pytest

from jobs.filter_dataset import filter_dataset
from jobs.repair_dataset import repair
from schemas.settings import EngineSettings
from storage.files import Store
from storage.verify import verify
from tests.storage.points_dataset import GEOMETRY, column_bytes, extended, sampled

pytest.importorskip("s3fs")


def test_a_bucket_gives_what_a_disk_does(bucket, tmp_path):
    few = {"samples": 20, "shard_size": 8}
    there = sampled(f"{bucket}/sampled", **few)
    here = sampled(tmp_path / "sampled", **few)
    kept = filter_dataset(there.url, f"{bucket}/kept", where="points_yaw > 0", sample=9)
    made = extended(f"{bucket}/made", kept, GEOMETRY)
    same = filter_dataset(here.url, str(tmp_path / "kept"), where="points_yaw > 0", sample=9)
    assert kept.dataset_id == same.dataset_id
    expected = column_bytes(extended(tmp_path / "made", same, GEOMETRY))
    assert column_bytes(made) == expected
    Store(kept.url).remove(kept.manifest.shard_file(0))
    assert verify(kept.url).broken == [0]
    assert not repair(kept.url, EngineSettings()).after.problems  # type: ignore[call-arg]
    assert column_bytes(kept) == column_bytes(same)
