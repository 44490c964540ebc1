"""Reads exported folders with libraries that start processes; pickles what it found to stdout.

python read_apart.py datasets|ray FOLDER ...
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any


def by_ray(folders: list[str]) -> dict[str, Any]:
    """Folder -> column -> cells; and rows and numbers by the first card's other examples."""
    import numpy as np
    import ray

    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        told = examples(folders[0])
        made = [told["Ray Data"][0], *(ray.data.read_parquet(f"{f}/data") for f in folders[1:])]
        found = {folder: cells(samples) for folder, samples in zip(folders, made, strict=True)}
    finally:
        ray.shutdown()
    sizes = {
        title: (len(samples), None if numbers is None else np.asarray(numbers, np.float32))
        for title, (samples, numbers) in told.items()
        if title != "Ray Data"
    }
    return found | {"examples": sizes}


def cells(samples: Any) -> dict[str, list[Any]]:
    """Column -> cells of a Ray dataset."""
    rows = samples.take_all()
    return {name: [row[name] for row in rows] for name in rows[0]}


def examples(folder: str) -> dict[str, Any]:
    """Title -> `samples`, and `numbers` or None, of each block of Python in the card."""
    os.chdir(folder)
    blocks = re.findall(r"### (.+?)\n\n```python\n(.+?)```", Path("README.md").read_text(), re.S)
    told = {}
    for title, code in blocks:
        names: dict[str, Any] = {}
        exec(code, names)
        told[title] = names["samples"], names.get("numbers")
    return told


def by_datasets(folders: list[str]) -> dict[str, Any]:
    """Folder -> cells, pictures as they are stored, and what the library knows of the columns."""
    from datasets import Image, load_dataset

    found = {}
    for folder in folders:
        samples = load_dataset(folder, split="train")
        stored = samples.cast_column("thumbnail", Image(decode=False))
        cells = {name: list(stored[name]) for name in stored.column_names}
        picture = samples[0]["thumbnail"]
        landmarks = samples.with_format("numpy")["points_landmarks"][:]
        found[folder] = {
            "cells": {**cells, "thumbnail": [cell["bytes"] for cell in cells["thumbnail"]]},
            "features": {name: repr(feature) for name, feature in samples.features.items()},
            "picture": (picture.format, picture.size),
            "landmarks": (landmarks.shape, str(landmarks.dtype)),
        }
    return found


if __name__ == "__main__":
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print
    pickle.dump({"ray": by_ray, "datasets": by_datasets}[sys.argv[1]](sys.argv[2:]), stdout)
    stdout.close()
