"""Datasets with more columns: the bytes that measuring all at once would have given."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pytest

from jobs.filter_dataset import filter_dataset
from mining.description import describe, describe_extension
from mining.extending import Extender, check_thumbnails, decode, jpeg_size, make_renderer
from mining.extractors.alone import measure_alone
from mining.extractors.base import concatenate
from mining.sampling import IMAGE, Measurer, Renderer
from mining.stored import sources_of
from schemas.errors import CorruptDataError, InputError, RunError
from storage.dataset import Dataset
from storage.exported import origin
from storage.files import Store
from storage.manifest import Manifest
from storage.verify import verify
from tests.storage.points_dataset import (
    BRIGHTNESS,
    EXTRACTOR,
    GEOMETRY,
    SHAPE,
    SOME_BLIND,
    column_bytes,
    extended,
    sampled,
    settings,
)

POSED = "tests.examples.posed:PosedPoints"


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Dataset:
    return sampled(tmp_path_factory.mktemp("sampled") / "dataset")


def test_extended_in_steps_equals_measured_at_once(parent, tmp_path):
    """Two that read stored columns alone, one after the other, and one that reads pixels."""
    one = extended(tmp_path / "one", parent, GEOMETRY)
    two = extended(tmp_path / "two", one, {BRIGHTNESS: {}})
    three = extended(tmp_path / "three", two, SHAPE)
    assert [made.manifest.derived["images"] for made in (one, two, three)] == [
        "none", "render", "none",
    ]  # fmt: skip
    whole = sampled(tmp_path / "whole", {**SOME_BLIND, **GEOMETRY, BRIGHTNESS: {}, **SHAPE})
    found, expected = column_bytes(three), column_bytes(whole)
    names = expected.pop("sample_id")  # they begin with the id of what was sampled
    assert found.pop("sample_id") == column_bytes(parent)["sample_id"] != names
    assert found == expected
    assert not verify(three.url).problems
    assert three.statuses() == whole.statuses()


@pytest.mark.parametrize(
    "told",
    [
        {"space": "w+"},
        {"psi": 0.7, "cutoff": 1},
        {"generator": POSED},
        {"generator": POSED, "space": "w+", "thumbnail": 0},
        {"generator": "tests.examples.posed:StreamingPoints"},
        {"image_size": 24},
    ],
    ids=["w+", "cutoff", "camera", "camera w+ without thumbnails", "streaming", "smaller"],
)
def test_images_come_again_from_whatever_latents_are_stored(tmp_path, told):
    first, more = {BRIGHTNESS: {}}, {EXTRACTOR: {}}
    parent = sampled(tmp_path / "parent", first, **told)
    made = extended(tmp_path / "made", parent, more)
    whole = sampled(tmp_path / "whole", {**first, **more}, **told)
    found, expected = column_bytes(made), column_bytes(whole)
    for columns in (found, expected):
        del columns["sample_id"]
    assert found == expected


def test_heads_extended_equal_heads_measured_at_once(tmp_path):
    """dlib and geometry; then a shape model without images, and a second dlib on new images."""
    again = {"tests.examples.further:DlibAgain": {}}
    told = {"generator": "head", "samples": 3, "shard_size": 2, "thumbnail": 64}
    first = {"dlib": {}, "geometry": {}}
    parent = sampled(tmp_path / "parent", first, **told)
    shaped = extended(tmp_path / "shaped", parent, {"shape3d": {}}, "none")
    both = extended(tmp_path / "both", shaped, again)
    whole = sampled(tmp_path / "whole", {**first, "shape3d": {}, **again}, **told)
    found, expected = column_bytes(both), column_bytes(whole)
    for columns in (found, expected):
        del columns["sample_id"]
    assert found == expected
    assert both.statuses()["again"]["ok"] == 3


def test_a_filtered_dataset_is_extended_by_its_own_rows(parent, tmp_path):
    kept = filter_dataset(parent.url, str(tmp_path / "kept"), where="yaw > 0")
    made = extended(tmp_path / "made", kept, {BRIGHTNESS: {}, **GEOMETRY})
    whole = extended(tmp_path / "whole", parent, {BRIGHTNESS: {}, **GEOMETRY})
    rows = pa.array(kept.read(["index"]).column("index").combine_chunks())
    for name in ("brightness_x", "geometry_yaw", "sample_id"):
        expected = whole.read([name]).column(name).take(rows)
        assert made.read([name]).column(name).to_pylist() == expected.to_pylist()
    assert not verify(made.url).problems


def test_what_is_stored_is_what_was_said(parent):
    """Statuses, reasons and values, rows without a face among them, as the extractor gave them."""
    manifest = describe(settings())
    measurer = Measurer(manifest)
    table = Renderer(manifest)(1)
    said = [measurer.measure(*batch)["points"] for batch in measurer.batches(table)]
    (extractor,) = measurer.extractors
    expected = concatenate(extractor, said)
    (source,) = sources_of(parent.manifest, ["points"])
    found = source.measurement([*parent.tables()][1])
    assert found.status == expected.status and "no_face" in found.status
    assert found.reasons == expected.reasons
    assert found.values.keys() == expected.values.keys()
    for name, values in expected.values.items():
        np.testing.assert_array_equal(found.values[name], values)
        assert found.values[name].dtype == values.dtype
    assert source.columns == extractor.columns


def test_image_by_image_an_extractor_reads_its_own_row(parent):
    """As where an image ends the process: each goes through the extractors alone."""
    manifest = describe_extension(parent.manifest, parent.url, {**GEOMETRY, **SHAPE}, "none")
    measurer = Measurer(manifest)
    told: list[tuple[int, str]] = []
    images, earlier = next(measurer.batches(make_renderer(manifest)(0)))
    alone = measure_alone(
        measurer.extractors, images, {}, lambda row, name: told.append((row, name)), earlier
    )
    together = measurer.measure(images, earlier)
    assert alone.keys() == together.keys() == {"geometry", "shape3d"}
    assert told == [(row, name) for row in range(4) for name in ("geometry", "shape3d")]
    for name, found in together.items():
        assert alone[name].status == found.status
        for column, values in found.values.items():
            np.testing.assert_array_equal(alone[name].values[column], values)


def test_thumbnails_are_measured_as_large_as_they_are(parent, tmp_path):
    made = extended(tmp_path / "made", parent, {BRIGHTNESS: {}}, "thumbnails")
    assert made.manifest.derived["image_size"] == 16
    seen = Measurer(made.manifest).images(Extender(made.manifest)(0))
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                for data in next(parent.tables()).column("thumbnail").to_pylist()]  # fmt: skip
    np.testing.assert_array_equal(seen, np.stack(pictures))
    rendered = extended(tmp_path / "rendered", parent, {BRIGHTNESS: {}}, "render")
    assert made.dataset_id != rendered.dataset_id
    told = [origin(each.manifest)[0].told for each in (made, rendered)]
    assert told == [
        "columns of brightness were added, measured on thumbnails of 16 pixels",
        "columns of brightness were added, measured on images made again from the stored latents",
    ]
    x, _ = made.attribute("brightness_x")
    true, _ = rendered.attribute("brightness_x")
    assert np.abs(x - true).max() < 0.05  # of the image; JPEG and 32 pixels made 16


@pytest.mark.parametrize(
    ("extractors", "images", "said"),
    [
        ({}, "auto", "no extractor came"),
        ({EXTRACTOR: {}}, "auto", "stands in dataset .* already"),
        ({f"{EXTRACTOR}@two": {}}, "auto", "points"),
        ({"geometry": {}}, "auto", "needs dlib before it; came: points, geometry"),
        ({"geomtry": {}}, "auto", "did you mean 'geometry'"),
        ({BRIGHTNESS: {"least": "much"}}, "auto", "option least"),
        ({BRIGHTNESS: {}}, "none", "brightness cannot do without"),
        ({BRIGHTNESS: {}}, "some", "expected auto, thumbnails, render, none"),
        ({"geometry": {"source": "points", "name": "points"}}, "auto", "nobody could tell apart"),
        ({"geometry": {"source": "points", "name": "truth"}}, "auto", "begins columns"),
    ],
)
def test_what_cannot_be_added_is_refused(parent, extractors, images, said):
    with pytest.raises(InputError, match=said):
        describe_extension(parent.manifest, parent.url, extractors, images)


def test_columns_that_are_missing_are_named(parent, tmp_path):
    bare = filter_dataset(parent.url, str(tmp_path / "bare"), columns=["points_yaw"])
    with pytest.raises(InputError, match="geometry.* reads landmarks.* of 'points'"):
        describe_extension(bare.manifest, bare.url, GEOMETRY, "auto")
    with pytest.raises(InputError, match="stores no latents"):
        describe_extension(bare.manifest, bare.url, {BRIGHTNESS: {}}, "auto")
    with pytest.raises(InputError, match="thumbnails came; .* stores none"):
        describe_extension(bare.manifest, bare.url, {BRIGHTNESS: {}}, "thumbnails")


def test_a_condition_that_was_left_out_is_missed_before_any_work(tmp_path):
    parent = sampled(tmp_path / "parent", {BRIGHTNESS: {}}, generator=POSED)
    kept = filter_dataset(parent.url, str(tmp_path / "kept"), columns=["w"])
    manifest = describe_extension(kept.manifest, kept.url, {EXTRACTOR: {}}, "auto")
    with pytest.raises(InputError, match="no column condition"):
        make_renderer(manifest)


def test_images_that_are_not_the_parents_stop_it(parent, tmp_path):
    """Thumbnails that belong to other rows; and a parent's shard that is gone."""
    manifest = describe_extension(parent.manifest, parent.url, {BRIGHTNESS: {}}, "auto")
    table = next(parent.tables())
    turned = table.column("thumbnail").to_pylist()[1:] + table.column("thumbnail").to_pylist()[:1]
    with pytest.raises(RunError, match="make another image than thumbnail"):
        check_thumbnails("here", table, turned)
    check_thumbnails("here", table, table.column("thumbnail").to_pylist())
    extender = Extender(manifest)
    Store(parent.url).move(parent.manifest.receipt_file(4), "receipts/aside")
    try:
        with pytest.raises(CorruptDataError, match="shard 4 is missing.*repair"):
            extender(4)
    finally:
        Store(parent.url).move("receipts/aside", parent.manifest.receipt_file(4))


def test_truth_that_is_not_the_images_stops_it(tmp_path):
    told = {"generator": "head", "samples": 2, "shard_size": 2, "thumbnail": 0}
    parent = sampled(tmp_path / "parent", {BRIGHTNESS: {}}, **told)
    other = sampled(tmp_path / "other", {BRIGHTNESS: {}}, **told, psi=0.5)
    manifest = describe_extension(parent.manifest, parent.url, {EXTRACTOR: {}}, "render")
    extender = Extender(manifest)
    assert IMAGE in extender(0).column_names
    mixed = next(parent.tables()).set_column(3, "w", next(other.tables()).column("w"))
    with pytest.raises(RunError, match="another image than truth_parameters"):
        extender._rendered(extender._renderer, 0, mixed, None)  # type: ignore[arg-type]


def test_a_thumbnail_of_another_size_is_never_decoded(parent):
    table = next(parent.tables())
    data = table.column("thumbnail").to_pylist()
    assert jpeg_size(data[0]) == (16, 16)
    assert [jpeg_size(wrong) for wrong in (b"", data[0][:20], b"GIF89a", b"\xff\xd8" * 9)] == [
        None
    ] * 4
    with pytest.raises(CorruptDataError, match="row 0.* no JPEG of 8 x 8"):
        decode(table, 8)
    cut = pa.table({"thumbnail": pa.array([data[0], data[1][:200]])})
    try:
        images = decode(cut, 16)  # libjpeg fills what is missing with grey
    except CorruptDataError as error:
        assert "row 1" in str(error)
    else:
        assert images.shape == (2, 16, 16, 3)


def test_the_generator_of_another_machine_is_refused(parent):
    manifest = describe_extension(parent.manifest, parent.url, {BRIGHTNESS: {}}, "auto")
    content = {**manifest.content, "generator": {**manifest.content["generator"]}}
    content["generator"]["fingerprint"] = "0" * 64
    with pytest.raises(RunError, match="fingerprint"):
        make_renderer(Manifest(content))
