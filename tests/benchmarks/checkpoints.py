"""How long a checkpoint takes to load, as a pickle and as a file of ours, and in how much memory.

    python -m tests.benchmarks.checkpoints
    python -m tests.benchmarks.checkpoints --quick

The pickle is a stand-in of the size of FFHQ's at 1024 pixels: two generators and something of a
discriminator's size, as releases have. Every load runs in a fresh process, with the file in the
system's cache; memory is the kernel's high-water mark beyond what was there before the load, pages
of mapped files counted in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.memory import peak
from tests.benchmarks.table import Figure

ROOT = Path(__file__).parents[2]
MB = 2**20
LARGE = {"img_resolution": 1024, "channel_base": 32768, "channel_max": 512}
SMALL = {"img_resolution": 256, "channel_base": 8192, "channel_max": 256}


def make(folder: Path, size: dict[str, int]) -> tuple[Path, int]:
    """The stand-in's file, and the bytes of its averaged generator's weights."""
    import torch

    from tests.mining.generators.checkpoints import made_networks as made
    from tests.mining.generators.checkpoints.made_files import dumped, module

    arguments = made.config(z_dim=512, w_dim=512, num_layers=8, **size)
    nodes: dict[str, Any] = {}
    for seed, name in enumerate(("G", "G_ema")):
        network = made.network(seed=seed, **arguments)
        node = made.persistent(network, "Generator", {}, made.FILTER, init_kwargs=arguments)
        nodes[name] = node
    weights = sum(tensor.nbytes for tensor in made.weights(network).values())
    nodes["D"] = module("Discriminator", {"weight": torch.zeros(weights // 4)})
    path = folder / "made.pkl"
    path.write_bytes(dumped(nodes))
    return path, weights


def load(path: str) -> dict[str, Any]:
    """Load a file in this process; seconds, MB, and the fingerprint of what was loaded."""
    import torch  # noqa: F401  its start is in neither figure

    from mining.generators.checkpoints import isolated, read_checkpoint

    readers = []
    extract = isolated.extract

    def watched(*args: Any) -> Any:
        done = extract(*args)
        readers.append(done.grown / MB)
        return done

    isolated.extract = watched
    before, start = peak(), time.perf_counter()
    found = read_checkpoint(path)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "grown": peak() - before,
        "reader": max(readers, default=0.0),
        "sha256": found.sha256,
    }


def loaded(path: Path, cache: Path) -> dict[str, Any]:
    """`load` in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.checkpoints", "--load", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LODE_CACHE": str(cache)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"loading failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def figures(quick: bool = False) -> list[Figure]:
    """What table.py prints."""
    from mining.generators.checkpoints import native, read_checkpoint

    rounds = 1 if quick else 7
    with tempfile.TemporaryDirectory(prefix="bench-checkpoints-") as name:
        folder = Path(name)
        path, weights = make(folder, SMALL if quick else LARGE)
        ours = folder / "made.safetensors"
        native.save(read_checkpoint(str(path), cache=str(folder / "first")), ours)
        rows: dict[str, list[dict[str, Any]]] = {"pickle": [], "again": [], "ours": []}
        for n in range(rounds):
            rows["pickle"].append(loaded(path, folder / f"cache{n}"))
            rows["again"].append(loaded(path, folder / f"cache{n}"))
            rows["ours"].append(loaded(ours, folder / f"cache{n}"))
            (folder / f"cache{n}" / "converted").rename(folder / f"old{n}")
            print(
                {kind: round(found[-1]["seconds"], 3) for kind, found in rows.items()}, flush=True
            )
        if len({row["sha256"] for found in rows.values() for row in found}) != 1:
            raise RuntimeError("the loads gave different weights")
        return list(_told(rows, path.stat().st_size / MB, weights / MB))


def _told(rows: dict[str, list[dict[str, Any]]], file: float, weights: float) -> Sequence[Figure]:
    took = {kind: median(row["seconds"] for row in found) for kind, found in rows.items()}
    least, most = (
        limit(
            p["seconds"] / o["seconds"] for p, o in zip(rows["pickle"], rows["ours"], strict=True)
        )
        for limit in (min, max)
    )
    reader = max(row["reader"] for row in rows["pickle"])
    here = max(row["grown"] for row in rows["pickle"])
    note = f"{file:.0f} MB file, {weights:.0f} MB weights"
    return [
        Figure("checkpoint: pickle, first load", took["pickle"], "s", note=note),
        Figure("checkpoint: pickle, second load (converted in the cache)", took["again"], "s"),
        Figure("checkpoint: safetensors of ours, fingerprint checked", took["ours"], "s"),
        Figure(
            "checkpoint: pickle over safetensors",
            took["pickle"] / took["ours"],
            "times",
            least=3,
            note=f"{least:.1f} to {most:.1f}",
        ),
        Figure(
            "checkpoint: the reader's peak over the weights", reader / weights, "times", most=2.5
        ),
        Figure("checkpoint: the loader's peak over the weights", here / weights, "times", most=2.5),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    parser.add_argument("--load", help=argparse.SUPPRESS)  # a file: load it and tell
    args = parser.parse_args(argv)
    if args.load:
        print(json.dumps(load(args.load)))
    else:
        print(*figures(args.quick), sep="\n")


if __name__ == "__main__":
    main()
