"""The process that reads a checkpoint under limits: python -m mining.generators.checkpoints.worker.

It takes one JSON line on stdin (a Task) and answers one on stdout (an Answer).
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mining.generators.checkpoints.plain import Normalised
from mining.generators.checkpoints.reading import read_plain
from mining.generators.checkpoints.safetensors_writer import write
from schemas.errors import InputError


@dataclass(frozen=True)
class Task:
    """What the worker is asked to do, and what it may take."""

    path: str
    target: str  # of the safetensors file
    normalise: str  # module:function that makes a Normalised of the file's root
    memory: int  # bytes of address space
    seconds: int  # of processor time
    output: int  # bytes of the target


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    error: str = ""  # empty when the target is written
    storage: bool = False  # whether the error is about writing the target
    sha256: str = ""  # the fingerprint
    grown: int = 0  # bytes of memory, at most, beyond what was there before the file was opened


def work(task: Task) -> Answer:
    """Read, normalise and write, under limits that a hostile file cannot lift."""
    normalise = _function(task.normalise)
    before = peak_bytes()
    limit(task)
    try:
        sha256 = _converted(task, normalise)
    except InputError as error:
        return Answer(str(error))
    except MemoryError:
        return Answer(f"checkpoint {task.path}: it needs more memory than {task.memory >> 20} MiB.")
    except OSError as error:
        return Answer(f"{task.target}: {error.strerror}", storage=True)
    return Answer(sha256=sha256, grown=peak_bytes() - before)


def _converted(task: Task, normalise: Callable[[Any], Normalised]) -> str:
    root = read_plain(task.path).root
    try:
        return write(Path(task.target), normalise(root), task.output)
    except InputError as error:  # which does not know the file
        raise InputError(f"checkpoint {task.path}: {error}.") from None


def limit(task: Task) -> None:
    """Bind this process: memory, time, files, no core dump, no further process.

    macOS does not bind the address space; what the reader itself counts holds there too.
    """
    bounds = {
        resource.RLIMIT_CPU: task.seconds,
        resource.RLIMIT_FSIZE: task.output + (1 << 20),  # the header on top
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform != "darwin":
        bounds[resource.RLIMIT_AS] = task.memory
    for kind, most in bounds.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def peak_bytes() -> int:
    """The most memory that this process has held, pages of mapped files counted in.

    Linux's `ru_maxrss` begins with what the parent held at the fork, so the kernel's own count of
    this process is asked first.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _function(place: str) -> Callable[[Any], Normalised]:
    """The parent's choice, never the file's."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    told = json.loads(sys.stdin.readline())
    answer = work(Task(**{field.name: told[field.name] for field in fields(Task)}))
    sys.stdout.write(json.dumps(asdict(answer)) + "\n")


if __name__ == "__main__":
    main()
