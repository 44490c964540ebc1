"""The watched process, without Ray: whatever ends it, the same bytes or a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.isolation import supervisor as module
from jobs.isolation.messages import COMMIT, MEASURE, RENDER, START, At, Plan, Setup
from jobs.isolation.supervisor import Supervisor, learn
from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.errors import CorruptDataError, InputError, LostWorkerError, RunError, StorageError
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import Receipt, commit, read_shard
from tests.examples.faulty import ABORTS, HANGS, RAISES, SMALL, sums

FAULTY = "tests.examples.faulty"
ALL = (RENDER, MEASURE, COMMIT)
ROOT = Path(__file__).parents[3]


def every(values: np.ndarray, kind: int, among: range) -> tuple[int, int]:
    """A number by which one single image of these sums is struck, and which one it is."""
    for number in range(5, 10**6):
        struck = np.flatnonzero(values % number == kind)
        if len(struck) == 1 and struck[0] in among:
            return number, int(struck[0])
    raise AssertionError("there is no such number")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """(36,) sums of the images, by which they are struck."""
    manifest = describe(settings())
    render, measure = Renderer(manifest), Measurer(manifest)
    return np.concatenate([sums(measure.images(render(k))) for k in range(manifest.shards)])


def settings(generator: dict | None = None, **extractor) -> RunSettings:
    """Three shards of twelve images in batches of five."""
    return RunSettings.model_validate(
        {
            "generator": {"name": f"{FAULTY}:FaultyGenerator", "options": generator or {}},
            "extractors": {f"{FAULTY}:FaultyExtractor": extractor},
            "dataset": {"samples": 36, "shard_size": 12, "batch_size": 5, "thumbnail": 16},
        }
    )


@pytest.fixture
def armed(tmp_path) -> Path:
    """The file that says what strikes."""
    return tmp_path / "armed"


@pytest.fixture
def supervised(tmp_path):
    """Makes supervisors of a dataset in tmp_path/dataset; none leaves a process."""
    made: list[Supervisor] = []

    def make(manifest: Manifest, **changes) -> Supervisor:
        url = str(tmp_path / "dataset")
        claim(Store(url), manifest)
        setup = replace(Setup(manifest.content, url, ALL, timeout=60.0), **changes)
        made.append(Supervisor(setup))
        return made[-1]

    yield make
    pids = [supervisor.pid for supervisor in made]
    for supervisor in made:
        supervisor.close()
    for pid in pids:
        until(lambda pid=pid: pid is None or gone(pid))


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look every few milliseconds until it is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended with all its threads, collected or not."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len([*(process / "task").iterdir()]) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def undisturbed(tmp_path: Path, manifest: Manifest, shard: int) -> Receipt:
    """The receipt of a shard that nothing happened to; it holds the hash of its bytes."""
    render, measure = Renderer(manifest), Measurer(manifest)
    return commit(Store(str(tmp_path / "undisturbed")), manifest, shard, measure(render(shard)))


def column(tmp_path: Path, receipt: Receipt | None, name: str) -> list:
    assert receipt is not None
    return read_shard(Store(str(tmp_path / "dataset")), receipt).column(name).to_pylist()


def test_an_idle_process_that_is_killed_is_replaced_without_a_word(tmp_path, supervised):
    manifest = describe(settings())
    watched = supervised(manifest)
    assert watched.pid is None
    first = watched.run(0)
    pid = watched.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    second = watched.run(1)
    assert first.receipt == undisturbed(tmp_path, manifest, 0)
    assert second.receipt == undisturbed(tmp_path, manifest, 1)
    assert second.deaths == ()
    assert set(second.seconds) == set(ALL)
    assert watched.pid != pid


def test_a_kill_in_the_middle_of_a_batch_leaves_the_same_bytes(tmp_path, supervised, values, armed):
    log = tmp_path / "log"
    number, _ = every(values, HANGS, range(5, 10))  # in the second batch
    manifest = describe(settings(hangs=number, log=str(log), armed=str(armed)))
    armed.write_text("hangs")
    watched = supervised(manifest)

    def kill() -> None:
        until(lambda: log.exists() and len(log.read_text().split()) == 2)
        armed.unlink()
        os.kill(watched.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = watched.run(0)
    killer.join()
    assert done.deaths == ("shard 0: the process was ended by SIGKILL (measure, batch 1)",)
    assert log.read_text().split() == ["5", "5", "5", "2"]  # the first batch only once
    armed.unlink(missing_ok=True)
    assert done.receipt == undisturbed(tmp_path, manifest, 0)


def test_one_image_that_crashes_and_one_that_hangs_cost_their_rows_alone(
    tmp_path, supervised, values, armed
):
    aborts, crashed = every(values, ABORTS, range(12))
    hangs, hung = every(values, HANGS, range(12))
    manifest = describe(settings(aborts=aborts, hangs=hangs, armed=str(armed)))
    expected = undisturbed(tmp_path, manifest, 0)
    armed.write_text("aborts hangs")
    done = supervised(manifest, timeout=2.5).run(0)
    reasons = {crashed: "the process was ended by SIGABRT", hung: "no answer in 2.5 s"}
    statuses = {crashed: "crashed", hung: "timeout"}
    assert len(reasons) == 2
    assert column(tmp_path, done.receipt, "points_status") == [
        statuses.get(row, "ok") for row in range(12)
    ]
    assert column(tmp_path, done.receipt, "points_reason") == [reasons.get(r) for r in range(12)]
    truth = read_shard(Store(str(tmp_path / "undisturbed")), expected)
    assert column(tmp_path, done.receipt, "points_yaw") == [
        None if row in reasons else yaw
        for row, yaw in enumerate(truth.column("points_yaw").to_pylist())
    ]
    assert len(done.deaths) <= 6 + 2, done.deaths  # two to spare, where the machine is slow


def test_a_shard_full_of_crashing_images_is_given_up(supervised, monkeypatch):
    monkeypatch.setattr(Setup, "most_spared", lambda *_: 2)  # of ten or more: each takes a process
    done = supervised(describe(settings(aborts=1))).run(0)
    assert done.receipt is None
    assert done.failure == (
        "more than 2 images end the process, the last one: the process was ended by SIGABRT"
    )
    assert len(done.deaths) == 2 + 3  # the batch twice, then image by image


def test_how_many_crashing_images_a_shard_may_have():
    setup = Setup({}, "", ALL, max_failed=0.05)
    assert [setup.most_spared(rows) for rows in (1, 100, 200, 1000)] == [10, 10, 20, 100]


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("raises", RAISES, "ArithmeticError: these latents are odd"),
        ("aborts", ABORTS, "the process was ended by SIGABRT"),
        ("hangs", HANGS, "no answer in 2 s"),
    ],
)
def test_a_generator_that_never_succeeds_gives_its_shard_up(supervised, values, word, kind, said):
    number, _ = every(values, kind, range(12, 24))
    timeout = 2.0 if word == "hangs" else 60.0
    watched = supervised(describe(settings({word: number})), attempts=2, timeout=timeout)
    spoilt = watched.run(1)
    assert spoilt.receipt is None
    assert spoilt.failure.startswith(f"{said} (render") and spoilt.failure.endswith(", 2 times)")
    assert len(spoilt.deaths) == 2
    assert spoilt.deaths[0].startswith("shard 1: ")
    assert watched.run(0).receipt is not None


def test_split_stages_pass_the_images_on_and_give_the_same_bytes(tmp_path, supervised):
    manifest = describe(settings())
    renders = supervised(manifest, stages=(RENDER,))
    measures = supervised(manifest, stages=(MEASURE, COMMIT))
    rendered = renders.run(2)
    assert rendered.receipt is None and not rendered.failure
    done = measures.run(2, rendered.images)
    assert done.receipt == undisturbed(tmp_path, manifest, 2)
    assert [*rendered.seconds, *done.seconds] == [RENDER, MEASURE, COMMIT]
    again = renders.run(2)  # now another run has made it
    assert (again.receipt, again.images, again.seconds) == (done.receipt, None, {})


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("unloadable", InputError, "cannot be made: OSError: the model file is cut off"),
        ("unreadable", InputError, "has no fingerprint: OSError: the model file is gone"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_its_reason(supervised, armed, word, kind, said):
    manifest = describe(settings(armed=str(armed)))
    armed.write_text(word)
    watched = supervised(manifest)
    with pytest.raises(kind, match=said):
        watched.start()
    assert watched.pid is None
    armed.unlink()
    watched.start()


def test_a_hang_while_loading_is_tried_again_and_then_told(supervised, armed, monkeypatch):
    monkeypatch.setattr(module, "LOADING", 0.5)
    manifest = describe(settings(armed=str(armed)))
    armed.write_text("loading")
    watched = supervised(manifest)
    with pytest.raises(LostWorkerError, match=r"no answer in 0\.5 s while .* loaded"):
        watched.start()
    assert watched.pid is None


@pytest.mark.parametrize("part", ["generator", "extractor"])
def test_another_version_is_refused(supervised, part):
    content = dict(describe(settings()).content)
    about = {"fingerprint": "0" * 64}
    if part == "generator":
        content["generator"] = {**content["generator"], **about}
    else:
        content["extractors"] = [{**content["extractors"][0], **about}]
    watched = supervised(Manifest(content))
    with pytest.raises(RunError, match=f"{part} 'points' on this machine has fingerprint"):
        watched.start()
    assert watched.pid is None


def test_errors_that_concern_every_shard_keep_their_class(tmp_path, supervised, armed):
    manifest = describe(settings(armed=str(armed)))
    armed.write_text("full")
    watched = supervised(manifest)
    with pytest.raises(StorageError, match="writing .*train-00000-of-00003.parquet"):
        watched.run(0)
    assert not list((tmp_path / "dataset").glob("data/*"))
    watched.close()  # the limit of SMALL bytes ends with the process
    armed.unlink()
    done = watched.run(0)
    assert done.receipt is not None and done.receipt.bytes > SMALL
    assert done.receipt == undisturbed(tmp_path, manifest, 0)
    (tmp_path / "dataset" / manifest.receipt_file(1)).write_text("{")
    with pytest.raises(CorruptDataError, match="is not a receipt"):
        watched.run(1)


def test_close_leaves_no_process_and_may_be_called_twice(supervised):
    watched = supervised(describe(settings()))
    watched.start()
    pid = watched.pid
    assert not gone(pid)
    watched.close()
    watched.close()
    assert gone(pid) and watched.pid is None


WATCHER = """
import sys
from jobs.isolation.messages import Setup
from jobs.isolation.supervisor import Supervisor
from storage.files import Store
from storage.manifest import load
watched = Supervisor(Setup(load(Store(sys.argv[1])).content, sys.argv[1], sys.argv[2:]))
watched.start()
print(watched.pid, flush=True)
watched.run(0)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["", "hangs"], ids=["idle", "busy"])
def test_the_process_ends_with_its_watcher(tmp_path, supervised, kind):
    log = tmp_path / "log"
    manifest = describe(settings(log=str(log), **({kind: 1} if kind else {})))
    supervised(manifest)
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(tmp_path / "dataset"), *ALL],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with watcher:
        pid = int(watcher.stdout.readline())
        calls = 1 if kind else 3
        until(lambda: log.exists() and len(log.read_text().split()) == calls)
        assert not gone(pid)
        watcher.kill()
    until(lambda: gone(pid), seconds=10)


ROW = At(MEASURE, 1, 2, "points")
KEY = (1, 2, "points")


@pytest.mark.parametrize(
    ("place", "killed", "before", "after"),
    [
        (At(START), False, {}, {"tries": 1}),
        (At(RENDER, 3), False, {"tries": 1}, {"tries": 2}),
        (At(RENDER, 3), True, {"kills": 1}, {"kills": 2}),
        (At(COMMIT), False, {}, {"tries": 1}),
        (At(MEASURE, 1), False, {}, {"suspects": {1}}),
        (At(MEASURE, 1), True, {"suspects": {0}}, {"suspects": {0, 1}}),
        (At(MEASURE, 1), False, {"suspects": {1}}, {"suspects": {1}, "alone": {1}}),
        (ROW, False, {}, {"deaths": {KEY: 1}, "spared": {KEY: ("crashed", "why")}}),
        (ROW, True, {}, {"deaths": {KEY: 1}}),
        (
            ROW,
            True,
            {"deaths": {KEY: 1}},
            {"deaths": {KEY: 2}, "spared": {KEY: ("crashed", "why")}},
        ),
    ],
)
def test_what_a_death_teaches(place, killed, before, after):
    plan = Plan()
    for name, value in before.items():
        getattr(plan, name).update(value) if name not in ("tries", "kills") else setattr(
            plan, name, value
        )
    learn(plan, place, "crashed", "why", killed)
    empty = {
        "tries": 0,
        "kills": 0,
        "done": {},
        "suspects": set(),
        "alone": set(),
        "deaths": {},
        "spared": {},
    }
    assert vars(plan) == empty | after
