"""The dataset card: a header that loads, licences that restrict, and nothing that breaks it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.samples import Field
from storage.dataset_card import card, feature, head, size_category
from storage.dataset_export import export_here, export_to
from storage.exported import Exported, ExportedFile
from storage.licences import RESEARCH, UNSTATED, judged
from storage.manifest import Manifest
from tests.storage.odd_dataset import ODD, SECRET, columns, manifest, truth, write


def exported(made: Manifest | None = None, **changed) -> Exported:
    files = (ExportedFile("data/train-00000-of-00001.parquet", 25, 1000, "0" * 64),)
    fields = tuple(field for field, _ in columns().values())
    about = Exported(made or manifest(), fields, files, {"points": {"ok": 25}}, 0, "2026-03-01")
    return replace(about, **changed)


def header(text: str) -> dict:
    """The YAML between the first two lines of dashes, as huggingface_hub finds it."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.S)
    assert found is not None
    return yaml.safe_load(found[1])


def test_the_header_is_that_of_hugging_face():
    told = header(card(exported()))
    assert told == head(exported())
    assert told["license"] == ["apache-2.0", "mit"]
    assert told["size_categories"] == ["n<1K"]
    (config,) = told["configs"]
    assert config["data_files"] == [{"split": "train", "path": ["data/train-*.parquet"]}]
    assert told["dataset_info"]["splits"][0]["num_examples"] == 25
    features = {each["name"]: each for each in told["dataset_info"]["features"]}
    assert list(features) == list(truth())
    assert features["thumbnail"] == {"name": "thumbnail", "dtype": "image"}
    assert features["w"] == {"name": "w", "list": "float32", "length": 8}


def test_datasets_reads_the_features_back():
    """Of every type and number of dimensions."""
    datasets = pytest.importorskip("datasets")
    kinds = [("float32", ()), ("int64", (3,)), ("int32", (2, 3)), ("float32", (2, 3, 4, 5, 6))]
    fields = [Field(f"{dtype}_{len(shape)}", dtype, shape) for dtype, shape in kinds]
    deep = Field("deep", "float32", (1, 2, 3, 1, 2, 3))
    texts = Field("texts", "string", (2, 3))
    made = datasets.Features._from_yaml_list([feature(f) for f in (*fields, deep, texts)])
    assert [repr(made[field.name]) for field in (*fields, texts)] == [
        "Value('float32')",
        "List(Value('int64'), length=3)",
        "Array2D(shape=(2, 3), dtype='int32')",
        "Array5D(shape=(2, 3, 4, 5, 6), dtype='float32')",
        "List(List(Value('string'), length=3), length=2)",
    ]
    assert repr(made["deep"]).count("List(") == 6  # more dimensions than its arrays have


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        *((0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K")),
        *((10**12 - 1, "100B<n<1T"), (10**12, "n>1T")),
    ],
)
def test_size_categories(rows, category):
    assert size_category(rows) == category


@pytest.mark.parametrize(
    ("texts", "identifiers", "name"),
    [
        (["Apache-2.0 (part of LatentLode)"], ("Apache-2.0",), None),
        (["mediapipe: Apache-2.0; x.task: MIT"], ("Apache-2.0", "MIT"), None),
        (["weights: CC-BY-NC-4.0"], ("CC-BY-NC-4.0",), None),
        (["none: random weights", "MIT"], ("MIT",), None),
        (["of the extractors that it reads", "mit"], ("MIT",), None),
        (["dlib: BSL-1.0; model: iBUG 300-W, research only; net: CC0-1.0"], (), RESEARCH),
        (["FLAME: non-commercial research only (2023 Open: CC-BY-4.0)"], (), RESEARCH),
        (["Nvidia Source Code License-NC"], (), RESEARCH),
        (["unknown (the file holds code that NVIDIA licenses for non-commercial use)"], (),
         RESEARCH),
        (["MIT", "unknown"], (), UNSTATED),
        (["unknown", "research or evaluation only"], (), RESEARCH),
        (["PERMITTED", "SUBMIT-2"], (), UNSTATED),
        (["none: random weights"], (), UNSTATED),
        ([], (), UNSTATED),
    ],
)  # fmt: skip
def test_licences_come_to_identifiers_or_a_name(texts, identifiers, name):
    found = judged(texts)
    assert found.identifiers == identifiers and found.name == name
    assert judged(texts[::-1]) == found


def test_a_restricted_part_makes_the_licence_other():
    told = head(exported(manifest("model: research only")))
    assert told["license"] == "other" and told["license_name"] == "research-only"


def test_every_column_is_told_with_its_unit():
    text = card(exported())
    assert "| `points_landmarks` | float32 | 68 x 2 | fraction | x, y | yes |" in text
    assert "| `points_yaw` | float32 |  | degrees | positive: right | yes |" in text
    assert "Entries of `truth`, in order: `yaw`, `smile`." in text
    assert "| `points` | `ok` | 25 |" in text
    assert "| model file | `points.onnx` | `" + "1" * 64 in text


def test_texts_of_others_do_not_break_its_tables():
    text = card(exported(manifest("evil | <script>alert(1)</script>\n# title\n---")))
    (row,) = (line for line in text.splitlines() if line.startswith("| generator |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5 and "\\<script\\>" in row
    (odd,) = (line for line in text.splitlines() if "an \\<odd\\>" in line)
    assert len(re.findall(r"(?<!\\)\|", odd)) == 7


@given(name=st.text(min_size=1), unit=st.text(), meaning=st.text())
def test_any_name_goes_through_the_header(name, unit, meaning):
    about = exported(fields=(Field(name, "float32", (2,), unit, meaning),))
    text = card(about)
    assert header(text) == head(about)
    after = text.split("## Columns\n\n", 1)[1].split("\n\n", 1)[0].splitlines()
    assert len(after) == 3
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 7 for line in after)


def test_no_path_of_the_machine(tmp_path):
    export_here(write(tmp_path / "here"))
    export_to(write(tmp_path / "here"), str(tmp_path / "out"), columns=["sample_id", ODD])
    for folder in ("here", "out"):
        text = (tmp_path / folder / "README.md").read_text()
        assert SECRET not in text and str(tmp_path) not in text
