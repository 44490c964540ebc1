"""Mutated files: every one is read or refused with an error of ours, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.exchange.drafts import drafts_of
from tests.storage.exchange import fuzzing

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded as on Linux")
@pytest.mark.parametrize(
    ("count", "seed"), [(2000, 0), pytest.param(50_000, 1, marks=pytest.mark.slow)]
)
def test_mutated_files_are_read_or_refused(count, seed):
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.exchange.fuzzing", str(count), str(seed)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert outcome["others"] == []
    assert outcome["read"] + outcome["refused"] == count
    assert outcome["refused"] > count / 2 and outcome["read"] > count / 50  # both happen


def test_the_seeds_are_valid_and_of_every_format():
    formats = set()
    for name, data in fuzzing.seeds().items():
        for draft in drafts_of(Path(name), data, fuzzing.GIVEN):
            made = draft.card.provenance.settings
            formats.add("restored" if draft.restored else json.loads(made)["format"])
    assert formats == {"npy", "npz", "torch", "pickle", "safetensors", "restored"}


def test_the_same_seed_mutates_alike():
    assert list(fuzzing.files(40, 3)) == list(fuzzing.files(40, 3))
    valid = fuzzing.seeds()
    assert sum(data == valid[name] for name, data in fuzzing.files(200, 3)) < 10
