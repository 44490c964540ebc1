"""Turns a checkpoint into safetensors in a process of its own, bound in memory and time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import mining
from mining.generators.checkpoints.worker import Answer, Task
from schemas.errors import InputError, StorageError

NORMALISE = "mining.generators.checkpoints.formats:normalise"
PROJECT = Path(mining.__file__).resolve().parents[1]
ENVIRONMENT = {  # all of it: no proxy, no token, no thread pools
    "PYTHONPATH": str(PROJECT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
}
LONGEST_ERROR = 6000  # characters; a path may have 4096 of them
COMMAND = (sys.executable, "-P", "-s", "-m", "mining.generators.checkpoints.worker")


@dataclass(frozen=True)
class IsolationConfig:
    """What reading one file may take. The defaults hold for any size of a sound file."""

    memory: int = 768 << 20  # bytes of address space, beside `memory_factor` times the file
    memory_factor: float = 3.0  # the mapped file itself is one of them
    seconds: float = 60.0  # of processor time, beside what the file's size gives:
    bytes_per_second: float = 20e6  # at least read, hashed and written
    patience: float = 5.0  # times these seconds may pass by the clock, on slow disks


@dataclass(frozen=True)
class Extracted:
    """A generator's weights in a file that loads without pickle."""

    path: Path
    sha256: str  # the fingerprint of architecture, config and tensors
    grown: int  # bytes of memory that the reading took, at most


def extract(
    path: Path | str,
    target: Path | str,
    config: IsolationConfig = IsolationConfig(),
    normalise: str = NORMALISE,
) -> Extracted:
    """Read a checkpoint of any kind in a bound process and write its generator to `target`.

    Args:
        path: a pickle or a file of torch, on this machine.
        target: the safetensors file, written under another name first; it replaces what is there.
        normalise: module:function that makes a `Normalised` of the file's plain root.

    Raises:
        InputError: the file is missing, damaged, hostile, of another kind, or takes too much.
        StorageError: the target cannot be written.
    """
    path, target = Path(path), Path(target)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    task, wall = _task(path, part, config, normalise)
    try:
        answer = _answer(task, wall)
        if answer.storage:
            raise StorageError(f"{answer.error}; expected a folder with room that can be written.")
        if answer.error:
            raise InputError(_one_line(answer.error))
        _replace(part, target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return Extracted(target, answer.sha256, answer.grown)


def _task(path: Path, part: Path, config: IsolationConfig, normalise: str) -> tuple[Task, float]:
    """The worker's task, and how many seconds of the clock it has."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"checkpoint {path}: {error.strerror}; expected a file.") from None
    seconds = config.seconds + size / config.bytes_per_second
    task = Task(
        path=str(path.resolve()),
        target=str(part.resolve()),
        normalise=normalise,
        memory=config.memory + int(config.memory_factor * size),
        seconds=max(1, round(seconds)),
        output=2 * size + (1 << 20),  # float16 widened to float32
    )
    return task, config.patience * seconds


def _answer(task: Task, wall: float) -> Answer:
    """Run the worker to its end.

    Raises:
        InputError: it took too long, was killed, or broke down.
    """
    try:
        done = subprocess.run(
            COMMAND,
            input=json.dumps(asdict(task)).encode() + b"\n",
            capture_output=True,
            env=ENVIRONMENT,
            cwd="/",
            timeout=wall,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"checkpoint {task.path}: reading it took longer than {wall:.0f} s and was stopped; "
            "expected a sound file on a disk that answers."
        ) from None
    if done.returncode == 0:
        return Answer(**json.loads(done.stdout))
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    last = _one_line(lines[-1][:200]) if lines else "it said nothing"
    raise InputError(
        f"checkpoint {task.path}: its reader {_ending(done.returncode)} ({last}); "
        f"it had {task.memory >> 20} MiB and {task.seconds} s. Get the file again, or report it "
        "if it comes from a source you trust."
    )


def _one_line(text: str) -> str:
    """An error's text without what a file's names could do to a terminal, and not endless."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_ERROR])
    return plain if len(text) <= LONGEST_ERROR else f"{plain} ..."


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"broke down with exit status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def _replace(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror}; expected a place to write.") from None
