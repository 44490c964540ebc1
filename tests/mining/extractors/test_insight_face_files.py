"""Model files that are missing, broken or others than they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from mining.extractors import insight_parts
from mining.extractors.base import measure
from mining.extractors.insight_face import InsightFace
from mining.extractors.insight_parts import PARTS
from schemas.errors import InputError
from tests.mining.extractors import insight_models as models
from tests.mining.extractors.insight_models import person, picture, placed

pytestmark = pytest.mark.needs("insightface")

FACE = (placed((120, 130), 60), person(1))


@pytest.fixture
def folder(tmp_path) -> Path:
    return models.folder(tmp_path / "buffalo_l")


def test_no_folder_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder; expected a local one .* downloaded"):
        InsightFace(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"has no det_10g.onnx \(it has no .onnx file\)"):
        InsightFace(str(tmp_path))
    with pytest.raises(InputError, match="models 'https://example.org/buffalo_l' is no folder"):
        InsightFace("https://example.org/buffalo_l")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_its_file_says_what_to_leave_out(folder, part):
    (folder / PARTS[part].file).unlink()
    with pytest.raises(InputError, match=f"has no {PARTS[part].file} .* leave '{part}' out"):
        InsightFace(str(folder), parts=(part,))
    others = tuple(name for name in PARTS if name != part)
    assert set(InsightFace(str(folder), parts=others).columns) > {"box", "score", "faces"}


@pytest.mark.parametrize("file", ["det_10g.onnx", "w600k_r50.onnx"])
@pytest.mark.parametrize("broken", [b"", b"\x08\x0a", b"not a model" * 100, "half"])
def test_files_that_are_no_models_are_refused(folder, file, broken):
    path = folder / file
    path.write_bytes(path.read_bytes()[:-2000] if broken == "half" else broken)
    with pytest.raises(InputError, match=f"{file} is no ONNX model that runs here"):
        InsightFace(str(folder))


@pytest.mark.parametrize(
    ("file", "other", "said"),
    [
        ("det_10g", "w600k_r50", "1 outputs of widths .* expected an SCRFD with key points"),
        ("w600k_r50", "det_10g", r"expected one float input \(N, 3, 112, 112\) .* \(N, 512\)"),
        ("w600k_r50", "genderage", r"takes data .*96, 96\]"),
        ("genderage", "2d106det", r"expected one float input \(N, 3, 96, 96\) .* \(N, 3\)"),
        ("2d106det", "1k3d68", r"gives fc1 .*3309\]; expected .* \(N, 212\)"),
    ],
)
def test_another_model_under_the_name_is_refused(folder, file, other, said):
    (folder / f"{file}.onnx").write_bytes((folder / f"{other}.onnx").read_bytes())
    with pytest.raises(InputError, match=said):
        InsightFace(str(folder), parts=("embedding", "gender_age", "landmarks_106"))


def test_an_embedding_of_another_width_is_refused(tmp_path):
    path = models.folder(tmp_path / "m", w600k_r50=models.arcface(width=256))
    with pytest.raises(InputError, match=r"gives 683 .*256\]; expected .* \(N, 512\)"):
        InsightFace(str(path))


def test_a_detector_of_another_size_is_refused(tmp_path):
    path = models.folder(tmp_path / "m", det_10g=models.scrfd(size=320))
    with pytest.raises(InputError, match="takes images of 320 x 320 pixels alone; detect_size 640"):
        InsightFace(str(path))
    assert InsightFace(str(path), detect_size=320)(picture(256, FACE)[None], {}).status == ("ok",)


def test_a_model_that_hides_its_width_fails_in_its_row_alone(tmp_path):
    path = models.folder(tmp_path / "m", w600k_r50=models.arcface(width=256, hidden=True))
    seen = np.stack([picture(256, FACE), picture(256)])
    found = measure([InsightFace(str(path), detect_size=320)], seen)["insightface"]
    assert found.status == ("failed", "no_face")
    assert "w600k_r50.onnx returned (1, 256) for 1 crops; expected (1, 512)" in found.reasons[0]


def test_an_embedding_without_length_fails_in_its_row_alone(tmp_path):
    path = models.folder(tmp_path / "m", w600k_r50=models.arcface(gain=0.0))
    seen = np.stack([picture(256), picture(256, FACE)])
    found = measure([InsightFace(str(path), detect_size=320)], seen)["insightface"]
    assert found.status == ("no_face", "failed")
    assert "embedding is zero or not finite" in found.reasons[1]


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_weights_in_other_files_are_not_read(folder, tmp_path, monkeypatch, place):
    """A model may name any file as its weights; neither its folder nor ours is searched."""
    model = models.arcface()
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    for holder in (folder, folder.parent, tmp_path):
        (holder / "weights.bin").write_bytes(weights.raw_data)
    weights.data_location = onnx.TensorProto.EXTERNAL
    told = {"location": place, "offset": "0", "length": str(len(weights.raw_data))}
    weights.ClearField("raw_data")
    for key, value in told.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    (folder / "w600k_r50.onnx").write_bytes(model.SerializeToString())
    for here in (folder, tmp_path):
        monkeypatch.chdir(here)
        with pytest.raises(InputError, match="w600k_r50.onnx keeps weights in other files"):
            InsightFace(str(folder))


def test_the_licence_says_what_is_known_of_the_files(folder, monkeypatch):
    unknown = InsightFace(str(folder), parts=("embedding",))
    assert "w600k_r50.onnx: unknown" in unknown.licence
    assert "non-commercial research only" in unknown.licence
    known = {model.sha256: model.name for model in unknown.models}
    monkeypatch.setattr(insight_parts, "BUFFALO_L", known)
    licence = InsightFace(str(folder), parts=("embedding",)).licence
    assert licence.count("InsightFace buffalo_l, non-commercial research only") == 2
    assert "unknown" not in licence
