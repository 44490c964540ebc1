"""Backends of known quality in a dataset, and readers of what is written about them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from jobs.agreement import Agreement, Quantity
from jobs.cli_agreement import agreement
from schemas.samples import Field
from storage.dataset import Dataset
from tests.jobs.planted_dataset import Made, write_dataset

ROWS = 1200


def plant(folder: Path, rng: np.random.Generator, yaw: NDArray) -> Dataset:
    """Three backends of known quality and known failures, and the truth.

    geometry: 3 degrees low, 4 degrees of noise, fails beyond 30; mediapipe: 1 degree of noise,
    fails on the first 60 rows, its mouth turned round; shape3d: constant smile, no mouth.
    """
    rows, mouth = len(yaw), rng.uniform(0, 1, ROWS)
    points = 0.5 + 0.1 * rng.standard_normal((rows, 68, 2))
    points[:, 36], points[:, 45] = (0.4, 0.5), (0.6, 0.5)
    turned = np.abs(yaw) <= 30
    late = np.arange(rows) >= 60
    degrees = {"yaw": "degrees"}
    extractors = {
        "dlib": Made(
            {"landmarks": points + 0.006, "score": rng.random(rows)}, turned,
            {"landmarks": "fraction of the image"}, licence="research only",
        ),
        "geometry": Made(
            {"yaw": yaw - 3 + rng.normal(0, 4, rows),
             "mouth_open": 30 * mouth + rng.normal(0, 3, rows)},
            turned, {**degrees, "mouth_open": "mm"},
        ),
        "mediapipe": Made(
            {"yaw": yaw + rng.normal(0, 1, rows), "jaw_open": 1 - mouth, "score": rng.random(rows),
             "mouth_smile_left": mouth + 1, "mouth_smile_right": mouth + 3},
            late, degrees,
        ),
        "shape3d": Made(
            {"yaw": yaw + rng.normal(0, 9, rows), "smile": np.zeros(rows)}, None, degrees
        ),
    }  # fmt: skip
    others = {
        "truth_landmarks_2d": (
            Field("truth_landmarks_2d", "float32", (68, 2), "fraction of the image"), points
        )
    }  # fmt: skip
    truth = {"yaw": yaw, "mouth_open": mouth, "beard": rng.random(rows)}
    return write_dataset(folder / "run" / "dataset", extractors, ROWS, truth=truth, others=others)


def quantity(found: Agreement, name: str) -> Quantity:
    return next(one for one in found.quantities if one.name == name)


class Reader(HTMLParser):
    """What a browser would run or fetch, and tags left open."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.handlers += [name for name in values if name.startswith("on")]
        self.fetched += [v for k, v in attrs if k in ("src", "href", "srcset", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


app = typer.Typer()
app.command()(agreement)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])
