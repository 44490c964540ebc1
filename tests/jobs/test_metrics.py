"""What Prometheus reads from a Ray on which datasets were made."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from storage.dataset import Dataset
from tests.jobs.conftest import write_tiny
from tests.jobs.head_node import Head, get, head_node, until

pytestmark = pytest.mark.ray
PROGRAM = Path(__file__).parents[2] / "jobs" / "generate_dataset.py"
LINE = re.compile(r"^(ray_lode_\w+)\{(.*)\} (\S+)$", re.M)


@pytest.fixture(scope="module")
def head(tmp_path_factory, environment):
    with head_node(tmp_path_factory.mktemp("head"), environment, "--num-cpus=3") as head:
        yield head


@pytest.fixture(scope="module", params=[("fused", "1"), ("split", "2")], ids=lambda p: p[0])
def made(request, head, tmp_path_factory) -> tuple[Dataset, dict]:
    """A dataset, and the record of the run that made it."""
    out = tmp_path_factory.mktemp("run")
    stages, seed = request.param  # a dataset each
    words = ["--config", write_tiny(out), "--out", str(out)]
    words += ["--engine.stages", stages, "--dataset.seed", seed]
    command = [sys.executable, str(PROGRAM), *words]
    done = subprocess.run(command, env=head.joining, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (record,) = (out / "dataset" / "runs").iterdir()
    return Dataset(str(out / "dataset")), json.loads(record.read_text())


def figures(head: Head, dataset_id: str) -> Counter:
    """(name, label of ours) -> value, summed over drivers, as a query for one dataset would."""
    found = Counter()
    for name, labels, value in LINE.findall(get(f"{head.metrics}/metrics")):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if told["dataset"] == dataset_id:
            found[name, told.get("reason") or told.get("stage", ""), told.get("le", "")] += float(
                value
            )
    return found


def test_the_figures_of_a_finished_run_are_those_of_its_record(head, made):
    dataset, record = made
    for _ in until("the figures", 30):  # the driver hands them over when it leaves
        found = figures(head, dataset.dataset_id)
        if found["ray_lode_rows_total", "", ""]:
            break
    assert found["ray_lode_rows_total", "", ""] == dataset.rows == 240
    blind = dataset.statuses()["points"]["no_face"]
    assert found["ray_lode_rejects_total", "points no_face", ""] == blind > 0
    for stage in ("render", "measure", "commit"):
        assert found["ray_lode_shard_seconds_count", stage, ""] == 12
        assert found["ray_lode_shard_seconds_bucket", stage, "+Inf"] == 12
        spent = found["ray_lode_stage_seconds_total", stage, ""]
        assert spent == pytest.approx(record["stage_seconds"][stage], abs=0.02)  # rounded to ms
