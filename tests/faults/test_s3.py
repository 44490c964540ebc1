"""A dataset on an object store that loses requests and answers: the same bytes at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.config import load_settings
from storage.files import Store
from storage.manifest import claim
from storage.shards import commit
from tests.faults.flaky_s3 import (
    client_environment,
    faults,
    flaky,
    make_bucket,
    moto,
    names,
    objects,
)
from tests.faults.runs import PROGRAM, Run, running, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
pytest.importorskip("s3fs")
POINTS = "tests.examples.points"
SETTINGS = {
    "generator": {"name": f"{POINTS}:PointsGenerator"},
    "extractors": {f"{POINTS}:PointsExtractor": {"blind_every": 23}},
    "dataset": {"samples": 240, "shard_size": 20, "thumbnail": 16},
    "engine": {"workers": 2, "object_store_mb": 128},
}
SHARE = 0.2  # of the requests, so that some fault in every phase is sure to be hit
IN_A_ROW = 2  # fewer than any client gives up at: no run of this test fails by bad luck
Started = Callable[..., Run]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The endpoint of a server that loses nothing."""
    with moto() as endpoint:
        yield endpoint


@pytest.fixture
def tiny(tmp_path) -> str:
    """The path of the settings."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return str(path)


@pytest.fixture
def start_at(tiny, tmp_path, environment) -> Started:
    """Starts `generate_dataset.py` into a bucket."""

    def start_at(endpoint: str, bucket: str, *words: str) -> Run:
        log = tmp_path / f"{len(list(tmp_path.glob('*.run')))}.run"
        command = [*PROGRAM, tiny, "--out", f"s3://{bucket}", *words]
        return Run(command, {**environment, **client_environment(endpoint)}, log)

    return start_at


def plain_digests(settings: str, folder: Path, *words: str) -> dict[str, str]:
    """Name -> SHA-256 of what a plain loop makes in a local folder: no Ray, no processes, no S3."""
    loaded = load_settings(["--config", settings, *words], "test", "", settings)
    manifest, store = describe(loaded), Store(str(folder / "dataset"))
    claim(store, manifest)
    render, measure = Renderer(manifest), Measurer(manifest)
    for shard in range(manifest.shards):
        commit(store, manifest, shard, measure(render(shard)))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def digests(server: str, bucket: str) -> dict[str, str]:
    """The same of a bucket, past the proxy and without the records of runs."""
    return {
        name: hashlib.sha256(data).hexdigest()
        for name, data in objects(server, bucket).items()
        if not name.startswith("dataset/runs/")
    }


def receipts(server: str, bucket: str) -> int:
    """How many shards are finished."""
    return sum(name.startswith("dataset/receipts/") for name in names(server, bucket))


@pytest.mark.faults
def test_an_object_store_that_loses_requests_and_answers_gets_the_same_bytes(
    tiny, start_at, tmp_path, server
):
    make_bucket(server, "flaky")
    log = tmp_path / "faults.log"
    with flaky(server, log, SHARE, in_a_row=IN_A_ROW) as endpoint:
        for _ in range(2):  # the second finds everything made
            with running(start_at(endpoint, "flaky")) as run:
                assert run.end() == 0, run.said
    injected = faults(log)
    assert len(set(injected) - {"passed"}) >= 4
    assert injected.total() - injected["passed"] >= 10
    assert digests(server, "flaky") == plain_digests(tiny, tmp_path / "plain")


@pytest.mark.slow
def test_a_driver_killed_while_requests_are_lost_and_run_again_gives_the_same_bytes(
    tiny, start_at, tmp_path, server
):
    make_bucket(server, "killed")
    many = ("--dataset.samples", "500")  # 25 shards, so that there is a middle
    log = tmp_path / "faults.log"
    with flaky(server, log, SHARE, seed=1, in_a_row=IN_A_ROW) as endpoint:
        with running(start_at(endpoint, "killed", *many, "--engine.workers", "1")) as run:
            assert until(lambda: run.over or receipts(server, "killed")), run.said
            run.kill_driver()
            before = faults(log)
            assert 0 < receipts(server, "killed") < 25, "the kill came too late or too early"
        with running(start_at(endpoint, "killed", *many)) as run:
            assert run.end() == 0, run.said
    assert before.total() - before["passed"] > 0
    assert faults(log).total() - faults(log)["passed"] >= 10
    assert digests(server, "killed") == plain_digests(tiny, tmp_path / "plain", *many)
