"""A generator that works a batch ahead, watched: what falls is made again, to the same bytes."""

from __future__ import annotations

import pytest

from jobs.isolation.messages import COMMIT, MEASURE, RENDER, Setup
from jobs.isolation.supervisor import Supervisor
from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import claim
from storage.shards import commit


@pytest.mark.parametrize("batch", [0, 2])
def test_a_shard_whose_stream_falls_is_made_again(tmp_path, batch):
    armed = tmp_path / "armed"
    manifest = describe(
        RunSettings.model_validate(
            {
                "generator": {
                    "name": "tests.examples.posed:StreamingPoints",
                    "options": {"armed": str(armed)},
                },
                "extractors": {"tests.examples.points:PointsExtractor": {}},
                "dataset": {"samples": 12, "shard_size": 12, "batch_size": 5, "thumbnail": 16},
            }
        )
    )
    expected = commit(
        Store(str(tmp_path / "undisturbed")),
        manifest,
        0,
        Measurer(manifest)(Renderer(manifest)(0)),
    )
    url = str(tmp_path / "dataset")
    claim(Store(url), manifest)
    supervisor = Supervisor(Setup(manifest.content, url, (RENDER, MEASURE, COMMIT), timeout=60.0))
    armed.write_text(str(batch))
    try:
        outcome = supervisor.run(0)
    finally:
        supervisor.close()
    assert outcome.receipt == expected
    (death,) = outcome.deaths
    assert "SIGABRT" in death and death.endswith(f"({RENDER})")
    assert not armed.exists()
