"""Files of eos: planted numbers come back, hostile files are refused."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.shape3d.model import DEVIATIONS, FULL
from mining.shape3d.readers.surrey import CHIN, INNER, OUTLINES, VERTICES, published, read_surrey
from schemas.errors import InputError
from tests.mining.shape3d.made_models import (
    against_template,
    landmark_json,
    made,
    model_files,
    sfm_bin,
    sfm_blendshapes,
)

MODEL = made()
CLOSE = 1e-4  # mm: the files hold float32 of some 100 mm


@pytest.fixture
def landmarks(tmp_path) -> Path:
    return landmark_json(tmp_path / "landmarks.json", MODEL)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["none", "blendshapes", "pca"])
def test_every_version_of_eos_is_read(tmp_path, landmarks, version, kind):
    found = read_surrey(sfm_bin(tmp_path / "m.bin", MODEL, version, kind), landmarks=landmarks)
    has = kind if version > 1 else "none"
    mean = MODEL.mean + MODEL.expression_mean if has == "pca" else MODEL.mean
    assert np.allclose(found.mean, MODEL.centred(mean), atol=CLOSE)
    assert np.allclose(found.identity, MODEL.components("identity"), atol=CLOSE)
    wanted = MODEL.components("expression")[: 0 if has == "none" else 3]
    assert np.allclose(found.expression, wanted, atol=CLOSE)
    assert found.expression_names == (MODEL.names if has == "blendshapes" else ())
    assert found.expression_unit == (DEVIATIONS if has == "pca" else FULL)
    assert "non-commercial" in found.licence


def test_blendshapes_may_come_in_a_file_of_their_own(tmp_path, landmarks):
    shapes = sfm_blendshapes(tmp_path / "blendshapes.bin", MODEL)
    path = sfm_bin(tmp_path / "m.bin", MODEL, 1)
    found = read_surrey(path, shapes, landmarks, identities=2, expressions=2)
    assert np.allclose(found.expression, MODEL.components("expression")[:2], atol=CLOSE)
    assert np.allclose(found.identity, MODEL.components("identity")[:2], atol=CLOSE)
    assert found.expression_names == MODEL.names[:2]
    with pytest.raises(InputError, match="it has expressions of its own"):
        read_surrey(sfm_bin(tmp_path / "own.bin", MODEL, 4), shapes, landmarks)
    other = sfm_blendshapes(tmp_path / "other.bin", made(vertices=91))
    with pytest.raises(InputError, match=r"'shape 0' has the shape \(273,\); expected \(270\)"):
        read_surrey(path, other, landmarks)


def test_the_published_landmarks_lie_where_eos_says(rng):
    mean = rng.normal(scale=50, size=(VERTICES, 3))
    corners, weights = published("who", mean)
    points = np.einsum("lcx,lc->lx", mean[corners], weights)
    told = np.array(INNER)
    assert np.allclose(points[17:][told >= 0], mean[told[told >= 0]])
    assert np.allclose(points[8], mean[CHIN])
    for landmark, outline in ((0, OUTLINES[0]), (16, OUTLINES[1])):
        assert np.allclose(points[landmark], mean[outline[0]])
    assert (weights >= 0).all()
    # the inner corners of the mouth lie 0.35 of the way from the outer ones to the lips' inner edge
    for inner, outer, lips in ((60, 48, (61, 67)), (64, 54, (63, 65))):
        way = points[list(lips)].mean(axis=0) - points[outer]
        assert np.allclose(points[inner] - points[outer], 0.35 * way)


def test_the_outline_is_divided_into_equal_lengths():
    """On a straight jaw each landmark is an eighth of it farther."""
    mean = np.zeros((VERTICES, 3))
    for side, outline in zip((-1, 1), OUTLINES, strict=True):
        uneven = np.cumsum(np.arange(len(outline)))
        mean[list(outline), 0] = side * (1 - uneven / uneven[-1]) * 80
    corners, weights = published("who", mean)
    points = np.einsum("lcx,lc->lx", mean[corners], weights)
    assert np.allclose(points[:17, 0], np.linspace(-80, 80, 17), atol=1e-9)


def test_without_a_table_the_landmarks_are_asked_for(tmp_path):
    with pytest.raises(InputError, match="90 vertices, and eos's table is for 3,448.*landmarks"):
        read_surrey(sfm_bin(tmp_path / "m.bin", MODEL))


HEAD = 4 + 8 + 4 * 270  # bytes before the basis's rows and columns
BASIS = HEAD + 8 + 4 * 270 * 4  # ... before the eigenvalues'
TRIANGLES = BASIS + 8 + 4 * 4


@pytest.mark.parametrize(
    ("at", "layout", "value", "says"),
    [
        (0, "<I", 0, "version 0 of a model; expected 1 to 4"),
        (0, "<I", 5, "version 5 of a model"),
        (4, "<i", -1, "a matrix of -1 x 1"),
        (4, "<i", (1 << 31) - 1, "cut short or damaged"),
        (8, "<i", 2, "cut short or damaged|vector has 2 columns"),
        (12, "<f", float("nan"), "the mean holds numbers that are not finite"),
        (HEAD, "<ii", ((1 << 31) - 1, (1 << 31) - 1), "cut short or damaged"),
        (HEAD, "<ii", (135, 8), r"basis has the shape \(135, 8\)"),
        (BASIS + 8, "<f", -1.0, "variance below 0"),
        (TRIANGLES, "<Q", (1 << 64) - 1, "entries at byte .*, where they cannot lie"),
        (TRIANGLES, "<Q", 1 << 40, "entries at byte .*, where they cannot lie"),
    ],
)
def test_lying_files_are_refused(tmp_path, landmarks, at, layout, value, says):
    data = bytearray(sfm_bin(tmp_path / "m.bin", MODEL).read_bytes())
    struct.pack_into(layout, data, at, *(value if isinstance(value, tuple) else (value,)))
    (tmp_path / "lie.bin").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=says):
            read_surrey(tmp_path / "lie.bin", landmarks=landmarks)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_no_end_of_named_landmarks_is_refused(tmp_path, landmarks):
    data = sfm_bin(tmp_path / "m.bin", MODEL).read_bytes()
    one = struct.pack("<?Q", False, 1) + struct.pack("<Q", 4) + b"chin"
    assert data.count(one) == 1
    many = struct.pack("<?Q", False, 5000) + bytes(12 * 5000)
    at = data.index(one)
    (tmp_path / "many.bin").write_bytes(data[:at] + many + data[at + len(one) + 4 :])
    with pytest.raises(InputError, match="5,000 entries at byte"):
        read_surrey(tmp_path / "many.bin", landmarks=landmarks)


def test_files_of_another_length_are_refused(tmp_path, landmarks):
    data = sfm_bin(tmp_path / "m.bin", MODEL).read_bytes()
    path = tmp_path / "other.bin"
    for length in (0, 3, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="other.bin"):
            read_surrey(path, landmarks=landmarks)
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="1 bytes follow its end"):
        read_surrey(path, landmarks=landmarks)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> bytes:
    return sfm_bin(tmp_path_factory.mktemp("sfm") / "m.bin", MODEL).read_bytes()


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_reads_or_is_refused(tmp_path_factory, plain, place, value):
    folder = tmp_path_factory.getbasetemp()
    path, places = folder / "changed.bin", landmark_json(folder / "landmarks.json", MODEL)
    at = int(place * len(plain))
    path.write_bytes(plain[:at] + bytes([value]) + plain[at + 1 :])
    try:
        found = read_surrey(path, landmarks=places)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert found.mean.shape == MODEL.mean.shape and np.isfinite(found.identity).all()


@pytest.mark.weights
def test_the_public_model_is_a_face_in_millimetres():
    """sfm_shape_3448.bin and expression_blendshapes_3448.bin of eos."""
    names = ("sfm_shape_3448.bin", "expression_blendshapes_3448.bin")
    found = read_surrey(*model_files(*names))
    assert found.identity.shape == (63, 3448, 3)
    assert set(found.expression_names) >= {"anger", "happiness", "surprise"}
    scale, apart, angle = against_template(found)
    assert scale == pytest.approx(1, abs=0.08) and apart < 5 and angle < 10
