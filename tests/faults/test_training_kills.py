"""Whoever is killed with -9 while a learned method trains: the bytes of an undisturbed training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml

from jobs.learned_cards import PLACE
from jobs.learned_checkpoints import FOLDER, KINDS
from jobs.results_cache import SUFFIX
from jobs.results_codec import decode
from mining.methods.learned import Learned
from schemas.settings import RunSettings
from tests.faults.runs import ROOT, Process, Run, kill, running, until
from tests.faults.train import ALONE, alone
from tests.storage.points_dataset import sampled

PROGRAM = [sys.executable, str(ROOT / "tests" / "faults" / "train.py")]
TRAIN, TRAIN_ALONE = [*PROGRAM, "--config"], [*PROGRAM, ALONE, "--config"]
MINE = [sys.executable, str(ROOT / "jobs" / "mine_directions.py"), "--config"]
TITLE = "ray::learn"  # of a worker that trains
TRIALS = 12
HEADS = "tests.examples.heads"
METHODS = {  # slow enough that there is a middle: a second or two each
    "direction_matrix": {
        "epochs": 20,
        "steps": 20,
        "batch": 16,
        "surrogate": {"epochs": 2, "hidden": [16]},
    },
    "attribute_flow": {"epochs": 30, "batch": 16, "hidden": [16], "embedded": 8},
}
SETTINGS = {
    "generator": {"name": f"{HEADS}:HeadsGenerator"},
    "extractors": {f"{HEADS}:HeadsExtractor": {}},
    "dataset": {"samples": 120, "shard_size": 40, "thumbnail": 0},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "smile"],
        "methods": METHODS,
        "landmarks": "heads_landmarks",
        "stability": {"enabled": False},
    },
    "evaluation": {"identities": 2, "steps": [1.0], "bootstrap": 10, "strips": 0},
}
Starter = Callable[..., Run]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> str:
    """The path of the settings, which name a finished dataset."""
    folder = tmp_path_factory.mktemp("heads")
    sizes = {"generator": SETTINGS["generator"]["name"], **SETTINGS["dataset"]}
    dataset = sampled(folder / "dataset", SETTINGS["extractors"], **sizes)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "dataset_url": dataset.url}))
    return str(path)


@pytest.fixture
def begin(told, environment, tmp_path) -> Starter:
    """Starts a program into a folder, with more words."""

    def begin(out: Path, *words: str, program=TRAIN) -> Run:
        log = tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log"
        return Run([*program, told, "--out", str(out), *words], environment, log)

    return begin


def settings_of(told: str, **changed: str) -> RunSettings:
    return RunSettings.model_validate({**yaml.safe_load(Path(told).read_text()), **changed})


@pytest.fixture(scope="module")
def undisturbed(told) -> dict[str, bytes]:
    """Method -> the bytes of its artefact where nobody was killed, and without Ray."""
    return bytes_of(alone(settings_of(told), ""))


def bytes_of(found: dict[str, Learned]) -> dict[str, bytes]:
    return {method: learned.artefact for method, learned in found.items()}


def artefacts(out: Path) -> dict[str, bytes]:
    return {method: (out / PLACE.format(method)).read_bytes() for method in METHODS}


def epochs(out: Path) -> list[int]:
    """How many epochs are finished of each training that keeps a checkpoint."""
    found = []
    for path in sorted((out / FOLDER).glob(f"*{SUFFIX}")):
        try:
            found.append(decode(path.read_bytes(), path.stem, KINDS).epoch)
        except FileNotFoundError:  # it has ended meanwhile
            continue
    return found


def trainers(run: Run) -> list[Process]:
    return [process for process in run.processes() if process.command.startswith(TITLE)]


def wait_for(out: Path, run: Run, more: int) -> bool:
    """Wait until trainings are so many epochs further; False where the run ends before."""
    wanted = sum(epochs(out)) + more
    until(lambda: sum(epochs(out)) >= wanted or run.over)
    return not run.over


def test_a_killed_training_goes_on_and_changes_no_byte(told, environment, tmp_path):
    """The flow's, without Ray around it: what `make faults` does to both, and at any moment."""
    out, path = tmp_path / "out", tmp_path / "settings.yaml"
    methods = {"attribute_flow": METHODS["attribute_flow"]}
    given = {**yaml.safe_load(Path(told).read_text()), "out": str(out)}
    given["mining"] = {**SETTINGS["mining"], "methods": methods}
    path.write_text(yaml.safe_dump(given))
    with running(Run([*TRAIN_ALONE, str(path)], environment, tmp_path / "log")) as run:
        assert wait_for(out, run, 4), run.said
        run.kill_driver()
    (reached,) = epochs(out)
    assert 4 <= reached < METHODS["attribute_flow"]["epochs"]
    again = bytes_of(alone(settings_of(str(path))))
    assert epochs(out) > [reached]
    assert again == bytes_of(alone(settings_of(str(path)), ""))


@pytest.mark.ray
@pytest.mark.faults
def test_a_killed_worker_and_a_killed_driver_change_no_byte(begin, undisturbed, tmp_path):
    out = tmp_path / "out"
    with running(begin(out)) as run:
        assert wait_for(out, run, 4), run.said
        victims = trainers(run)
        assert victims, run.processes()
        for process in victims:
            kill(process)
        reached = sum(epochs(out))
        assert wait_for(out, run, 4), run.said  # others took over, from there
        run.kill_driver()
        assert sum(epochs(out)) > reached
    with running(begin(out)) as again:
        assert again.end() == 0, again.said
    assert artefacts(out) == undisturbed
    assert epochs(out) == []


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.parametrize("number", range(TRIALS))
def test_trainings_killed_at_any_moment_change_no_byte(number, begin, undisturbed, tmp_path):
    out, rng = tmp_path / "out", np.random.default_rng(number)
    killed = []
    with ExitStack() as stack:
        for _ in range(rng.integers(1, 4)):
            run = stack.enter_context(running(begin(out)))
            if not wait_for(out, run, int(rng.integers(1, 20))):
                break
            victims = trainers(run)
            if victims and number % 2:
                kill(victims[rng.integers(len(victims))])
                killed.append(f"a worker at {epochs(out)}")
                wait_for(out, run, int(rng.integers(1, 10)))
            run.kill_driver()
            killed.append(f"the driver at {epochs(out)}")
        last = stack.enter_context(running(begin(out)))
        assert last.end() == 0, last.said
    print(f"trial {number} killed: {'; '.join(killed)}")  # pytest -rP
    assert killed, "the training was over before anything could be killed"
    assert artefacts(out) == undisturbed


@pytest.mark.ray
@pytest.mark.faults
def test_a_whole_run_goes_on_with_its_training(begin, undisturbed, tmp_path):
    out = tmp_path / "out"
    with running(begin(out, program=MINE)) as run:
        assert wait_for(out, run, 10), run.said
        run.kill_driver()
    with running(begin(out, program=MINE)) as again:
        assert again.end() == 0, again.said
    assert artefacts(out) == undisturbed
    assert (out / "report.html").is_file()


@pytest.mark.ray
@pytest.mark.faults
def test_a_damaged_checkpoint_is_passed_over(begin, undisturbed, tmp_path):
    out = tmp_path / "out"
    with running(begin(out)) as run:
        assert wait_for(out, run, 4), run.said
        run.kill_driver()
        assert until(lambda: not run.workers())
    for path in (out / FOLDER).iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    with running(begin(out)) as again:
        assert again.end() == 0, again.said
    assert artefacts(out) == undisturbed
