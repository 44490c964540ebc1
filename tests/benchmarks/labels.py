"""How long a new attribute's direction takes from a finished dataset: a label, ridge, no images.

    python -m tests.benchmarks.labels --quick
    python -m tests.benchmarks.labels

A dataset of 50,000 rows with what a dataset of faces has: z and w of 512 numbers, 68 landmarks,
20 scalars and a thumbnail of 3 kB, in shards of 50 and of 500 rows. `lode dataset direction` runs
as a program, so imports and start count; the direction has to be the planted one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mining.extractors.base import OK
from schemas.samples import Field, to_column
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit
from tests.benchmarks.table import Figure

ROWS, DIM, SCALARS, THUMBNAIL = 50_000, 512, 20, 3000
ROUNDS = 3
MOST_SECONDS = 5.0
LABEL = "wide = mouth_width / face_width > 0.45"


def figures(quick: bool) -> Iterator[Figure]:
    """The lines of the table."""
    rows = ROWS // 10 if quick else ROWS
    for shard_size in (50, 500):
        with tempfile.TemporaryDirectory() as folder:
            axis = write(f"{folder}/dataset", rows, shard_size)
            seconds, cosines = [], []
            for number in range(1 if quick else ROUNDS):
                out = Path(folder) / f"{number}.npy"
                start = time.perf_counter()
                run(f"{folder}/dataset", str(out))
                seconds.append(time.perf_counter() - start)
                cosines.append(float(np.load(out, allow_pickle=False) @ axis))
            if min(cosines) < 0.9:
                raise SystemExit(f"the direction is not the planted one: cosine {min(cosines):.3f}")
            yield Figure(
                f"a label's direction from {rows:,} rows in shards of {shard_size}",
                float(np.median(seconds)),
                "s",
                most=MOST_SECONDS,
                note=f"cosine to the planted {min(cosines):.3f}, {min(seconds):.1f} to "
                f"{max(seconds):.1f} s with the program's start",
            )


def run(url: str, out: str) -> None:
    words = ["dataset", "direction", url, "--label", LABEL, "--out", out, "-o", "json"]
    command = [sys.executable, "-m", "jobs.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    json.loads(done.stdout)


def write(url: str, rows: int, shard_size: int) -> np.ndarray:
    """The dataset, and the (512,) direction along which mouths are wide."""
    rng = np.random.default_rng(0)
    axis = rng.normal(size=DIM)
    axis /= np.linalg.norm(axis)
    scalars = [f"s{k}" for k in range(SCALARS)]
    shapes = {"z": (DIM,), "w": (DIM,), "face_landmarks": (68, 2)}
    shapes |= {f"face_{name}": () for name in ("mouth_width", "face_width", *scalars)}
    fields = [Field("sample_id", "string"), Field("index", "int64")]
    fields += [Field(name, "float32", shape) for name, shape in shapes.items()]
    fields += [Field("face_status", "string"), Field("thumbnail", "binary")]
    named = {"fingerprint": "0" * 64, "licence": "Apache-2.0", "options": {}}
    content = {
        "format": 1,
        "dataset": {"samples": rows, "shard_size": shard_size, "space": "w"},
        "generator": {"name": "planted", **named},
        "extractors": [{"name": "face", "load": "face", **named}],
        "fields": [field.to_json() for field in fields],
    }
    manifest, store = Manifest(content), Store(url)
    claim(store, manifest)
    for shard in range(manifest.shards):
        part = manifest.rows(shard)
        values = {name: rng.normal(size=(len(part), *shape)) for name, shape in shapes.items()}
        values["face_face_width"] = rng.uniform(1, 1.2, len(part))
        open_ = 0.5 + 0.1 * (values["w"] @ axis) + 0.02 * rng.normal(size=len(part))
        values["face_mouth_width"] = open_ * values["face_face_width"]
        columns = {name: to_column(value.astype(np.float32)) for name, value in values.items()}
        columns |= {
            "sample_id": pa.array(manifest.sample_ids(shard)),
            "index": pa.array(part, pa.int64()),
            "face_status": pa.array([OK] * len(part)),
            "thumbnail": pa.array([rng.bytes(THUMBNAIL) for _ in part]),
        }
        commit(store, manifest, shard, pa.table(columns))
    return axis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    for figure in figures(parser.parse_args().quick):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
