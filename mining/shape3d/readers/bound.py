"""Reads a file by a process of its own, bound in memory and time, as checkpoints are read:
python -m mining.shape3d.readers.bound.

For formats whose files are programs (pickle) or whose library is written in C (HDF5): a hostile
file takes down that process at most. It takes one JSON line on stdin and answers one on stdout;
the arrays come back in an .npz file.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.isolated import ENVIRONMENT, IsolationConfig
from mining.generators.checkpoints.worker import Task, limit
from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError

COMMAND = (sys.executable, "-P", "-s", "-m", "mining.shape3d.readers.bound")
LIMITS = IsolationConfig()
LONGEST_ERROR = 2000  # characters


def read_bound(
    who: str, path: Path, reader: str, config: IsolationConfig = LIMITS
) -> dict[str, NDArray[Any]]:
    """The arrays that `reader` finds in a file.

    Args:
        reader: "module:function", which takes a Path and returns arrays by name.

    Raises:
        InputError: the file is damaged, hostile or of another kind, or takes too much.
    """
    with tempfile.TemporaryDirectory(prefix="lode-") as folder:
        target = Path(folder) / "arrays.npz"
        task, wall = _task(who, path, target, reader, config)
        _run(who, task, wall)
        return read_npz(who, target)


def _task(
    who: str, path: Path, target: Path, reader: str, config: IsolationConfig
) -> tuple[Task, float]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{who}: {error.strerror}; expected a file.") from None
    if not size:
        raise InputError(f"{who}: the file is empty; get it again.")
    seconds = config.seconds + size / config.bytes_per_second
    memory = config.memory + int((config.memory_factor + 2) * size)  # unpacked, a copy on top
    task = Task(
        str(path.resolve()),
        str(target),
        reader,
        memory,
        max(1, round(seconds)),
        4 * size + (1 << 20),
    )
    return task, config.patience * seconds


def _run(who: str, task: Task, wall: float) -> None:
    """Run the reading process to its end; one that fails becomes an InputError."""
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
        raise InputError(f"{who}: reading it took longer than {wall:.0f} s; stopped.") from None
    if done.returncode == 0:
        error = json.loads(done.stdout)["error"]
    else:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        error = f"its reader ended with status {done.returncode} ({''.join(last)[:200]})"
    if error:
        plain = "".join(letter if letter.isprintable() else "?" for letter in error)
        raise InputError(f"{who}: {plain[:LONGEST_ERROR].rstrip('.')}.")


def work(task: Task) -> str:
    """Read and write under limits; an error's text, or nothing."""
    reader = _function(task.normalise)
    limit(task)
    try:
        arrays = dict(reader(Path(task.path)))
        with Path(task.target).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except InputError as error:
        return str(error)
    except MemoryError:
        return f"it needs more memory than {task.memory >> 20} MiB"
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def _function(place: str) -> Callable[[Path], Mapping[str, NDArray[Any]]]:
    """The parent's choice, never the file's."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    told = json.loads(sys.stdin.readline())
    task = Task(**{field.name: told[field.name] for field in fields(Task)})
    sys.stdout.write(json.dumps({"error": work(task)}) + "\n")


if __name__ == "__main__":
    main()
