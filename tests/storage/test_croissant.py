"""croissant.json keeps the rules of the format and tells of the files what they are."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.dataset_export import ExportConfig, export_here, export_to
from tests.storage.croissant_rules import broken, nodes
from tests.storage.odd_dataset import ODD, ROWS, SECRET, truth, write

KINDS = {
    "sc:Float": pa.types.is_floating,
    "sc:Integer": pa.types.is_integer,
    "sc:Text": pa.types.is_string,
    "sc:ImageObject": pa.types.is_binary,
}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    export_here(write(folder))
    return folder


@pytest.fixture(scope="module")
def out(here, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    config = ExportConfig(file_bytes=5_000, creator="The Lab", homepage="https://example.org/d")
    export_to(write(here), str(folder), "points_yaw < 2", None, 9, 4, config)
    return folder


@pytest.fixture(scope="module", params=["here", "out"])
def folder(request) -> Path:
    return request.getfixturevalue(request.param)


def document(folder: Path) -> dict:
    return json.loads((folder / "croissant.json").read_text())


def test_it_keeps_the_rules(folder):
    assert broken(document(folder)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("license"),
        lambda d: d.update(url=""),
        lambda d: d.update(license="research-only"),
        lambda d: d.update(datePublished="last week"),
        lambda d: d["@context"].pop("recordSet"),
        lambda d: d["distribution"][0].pop("sha256"),
        lambda d: d["distribution"].pop(),
        lambda d: d["recordSet"][0]["field"].append(d["recordSet"][0]["field"][0]),
        lambda d: d["recordSet"][0]["field"][2].pop("isArray"),
        lambda d: d["recordSet"][0]["field"][2].update(arrayShape="(8,)"),
        lambda d: d["recordSet"][0]["field"][2].update(dataType="float32"),
        lambda d: d["recordSet"][0]["field"][-1].update({"@id": f"samples/{ODD}"}),
        lambda d: d["recordSet"][0].update(key={"@id": "samples/none"}),
    ],
)
def test_the_rules_find_what_is_wrong(here, spoil):
    spoiled = copy.deepcopy(document(here))
    spoil(spoiled)
    assert broken(spoiled)


def test_files_and_their_checksums_are_those_of_the_folder(folder):
    told = document(folder)
    files = [node for node in nodes(told) if node["@type"] == "cr:FileObject"]
    (together,) = (node for node in nodes(told) if node["@type"] == "cr:FileSet")
    standing = {str(path.relative_to(folder)) for path in (folder / "data").iterdir()}
    assert {file["contentUrl"] for file in files} == standing
    assert {str(p.relative_to(folder)) for g in together["includes"] for p in folder.glob(g)} == (
        standing
    )
    for file in files:
        content = (folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == f"{len(content)} B"


def test_fields_are_the_columns_with_types_shapes_units_and_meanings(folder):
    (records,) = document(folder)["recordSet"]
    schema = pq.read_schema(next((folder / "data").iterdir()))
    assert [field["source"]["extract"]["column"] for field in records["field"]] == schema.names
    for field in records["field"]:
        kind, shape = schema.field(field["name"]).type, []
        while pa.types.is_fixed_size_list(kind):
            shape.append(str(kind.list_size))
            kind = kind.value_type
        assert KINDS[field["dataType"]](kind)
        assert field.get("arrayShape", "") == ",".join(shape)
        about = truth()[field["name"]][0]
        assert about.text in field["description"]
        assert f"unit: {about.unit}" in field["description"] or not about.unit
        assert all(name in field["description"] for name in about.names)


def test_it_says_how_a_part_was_chosen_and_by_whom(here, out):
    whole, part = document(here), document(out)
    assert "9 of the rows with points_yaw < 2, drawn at random with seed 4" in part["description"]
    assert [parent["identifier"] for parent in part["isBasedOn"]] == [whole["identifier"]]
    assert "isBasedOn" not in whole
    assert part["creator"]["name"] == "The Lab" and part["url"] == "https://example.org/d"
    assert whole["creator"]["name"].startswith("not stated")
    assert f"{ROWS} samples" in whole["recordSet"][0]["description"]


def test_known_licences_are_addresses(here):
    assert document(here)["license"] == [
        "https://spdx.org/licenses/Apache-2.0",
        "https://spdx.org/licenses/MIT",
    ]


def test_a_restricted_licence_is_told_in_its_own_words(tmp_path):
    export_here(write(tmp_path, licence="iBUG 300-W, research only"))
    (licence,) = document(tmp_path)["license"]
    assert licence["name"] == "research-only"
    assert "iBUG 300-W, research only" in licence["description"]
    assert broken(document(tmp_path)) == []


def test_no_path_of_the_machine(folder):
    text = (folder / "croissant.json").read_text()
    assert SECRET not in text and str(folder) not in text
