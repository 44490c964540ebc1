"""The files of `lode micromotion ablation`: ablation.json, .csv and .html."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from mining.evaluation.micromotion_ablation import Ablation, AblationConfig, Point
from schemas.errors import ConflictError
from storage.dataset import Dataset
from storage.files import Store

TABLE, VERSION = "micromotion_ablation", 1  # what ablation.json says that it is
JSON, CSV, PAGE = "ablation.json", "ablation.csv", "ablation.html"


def document(found: Sequence[Ablation], config: AblationConfig, dataset: Dataset) -> dict[str, Any]:
    """Everything as plain JSON; null for what is no number."""
    about = dataset.manifest.generator
    return _plain(
        {
            "table": TABLE,
            "version": VERSION,
            "dataset_id": dataset.dataset_id,
            "generator": about["name"],
            "generator_fingerprint": about["fingerprint"],
            "config": asdict(config),
            "attributes": [asdict(each) for each in found],
        }
    )


def as_csv(found: Sequence[Ablation]) -> str:
    """A row for each point, the attribute first."""
    text = io.StringIO()
    names = [field.name for field in fields(Point)]
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["attribute", "reference", *names])
    for each in found:
        reference = "truth" if each.known else "own"
        for point in each.points:
            rows.writerow([each.attribute, reference, *(getattr(point, name) for name in names)])
    return text.getvalue()


def check_folder(folder: str) -> None:
    """Refuse a folder whose ablation.json is something else's, before any work.

    Raises:
        ConflictError: it is.
        StorageError: the folder cannot be written.
    """
    store = Store(folder)
    if store.exists(JSON):
        try:
            mine = json.loads(store.read(JSON)).get("table") == TABLE
        except (ValueError, AttributeError):
            mine = False
        if not mine:
            raise ConflictError(
                f"ablation: {store.path(JSON)} is no ablation of ours; move it away, or choose "
                "another --out. Nothing was changed."
            )
    store.check_writable()


def write(
    found: Sequence[Ablation], config: AblationConfig, dataset: Dataset, folder: str
) -> list[str]:
    """Write the three files, those of an earlier ablation replaced; their places."""
    from jobs.report.ablation_page import render_ablation

    store = Store(folder)
    text = json.dumps(document(found, config, dataset), indent=1, allow_nan=False)
    name = dataset.manifest.generator["name"]
    page = render_ablation(found, dataset.dataset_id, name, dataset.url, config)
    for file, data in ((JSON, text), (CSV, as_csv(found)), (PAGE, page)):
        store.replace(file, data.encode())
    return [f"{folder.rstrip('/')}/{file}" for file in (PAGE, JSON, CSV)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
