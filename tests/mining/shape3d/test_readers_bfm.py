"""Basel Face Models: planted numbers come back, hostile files do not get far."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.extractors.face_template import TEMPLATE
from mining.shape3d.readers.bfm import IBUG_2009, VERTICES_2009, read_bfm
from mining.shape3d.readers.mat5 import read_mat5
from schemas.errors import InputError
from tests.mining.shape3d.made_models import (
    against_template,
    bfm_h5,
    bfm_mat,
    landmark_json,
    made,
    model_files,
)

MODEL = made()
CLOSE = 1e-4  # mm: the files hold float32 of some 100 mm


@pytest.fixture
def landmarks(tmp_path) -> Path:
    return landmark_json(tmp_path / "landmarks.json", MODEL)


@pytest.mark.parametrize("packed", [True, False])
def test_2009_comes_in_millimetres_and_deviations(tmp_path, landmarks, packed):
    found = read_bfm(bfm_mat(tmp_path / "model.mat", MODEL, packed), landmarks)
    assert np.allclose(found.mean, MODEL.centred(), atol=CLOSE)
    assert np.allclose(found.identity, MODEL.components("identity"), atol=CLOSE)
    assert found.expression.shape == (0, len(MODEL.mean), 3)
    assert (found.corners[:, 0] == MODEL.landmarks).all()
    assert np.allclose(found.landmarks().mean.mean(axis=0), 0, atol=1e-9)
    assert "non-commercial" in found.licence


@pytest.mark.needs("bfm")
@pytest.mark.parametrize("text", ["utf-8", "int8"])
def test_2019_adds_both_means_and_takes_roots_of_variances(tmp_path, landmarks, text):
    path = bfm_h5(tmp_path / "model.h5", MODEL, text, compression="gzip")
    found = read_bfm(path, landmarks)
    assert np.allclose(found.mean, MODEL.centred(MODEL.mean + MODEL.expression_mean), atol=CLOSE)
    assert np.allclose(found.identity, MODEL.components("identity"), atol=CLOSE)
    assert np.allclose(found.expression, MODEL.components("expression"), atol=CLOSE)


@pytest.mark.needs("bfm")
def test_a_list_may_name_the_landmarks_of_the_file(tmp_path):
    names = [f"point.{k}" for k in range(9)]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps([*names, *MODEL.landmarks[9:].tolist()]))
    found = read_bfm(bfm_h5(tmp_path / "model.h5", MODEL), path)
    assert (found.corners[:, 0] == MODEL.landmarks).all()
    path.write_text(json.dumps(["nowhere", *MODEL.landmarks[1:].tolist()]))
    with pytest.raises(InputError, match="no landmark 'nowhere'.*point.0, point.1"):
        read_bfm(tmp_path / "model.h5", path)


def test_fewer_components_are_the_first_ones(tmp_path, landmarks):
    path = bfm_mat(tmp_path / "model.mat", MODEL)
    whole, part = read_bfm(path, landmarks), read_bfm(path, landmarks, identities=2)
    assert np.array_equal(part.identity, whole.identity[:2])
    assert part.sha256 != whole.sha256
    with pytest.raises(InputError, match="9 of shapePC came; the file has 4"):
        read_bfm(path, landmarks, identities=9)
    with pytest.raises(InputError, match="BFM 2009 has none"):
        read_bfm(path, landmarks, expressions=3)


def test_the_same_numbers_are_the_same_model(tmp_path, landmarks):
    first = read_bfm(bfm_mat(tmp_path / "a.mat", MODEL, True), landmarks)
    second = read_bfm(bfm_mat(tmp_path / "b.mat", MODEL, False), landmarks)
    other = read_bfm(bfm_mat(tmp_path / "c.mat", made(seed=5)), landmarks)
    assert first.sha256 == second.sha256 != other.sha256


def test_2009_has_a_published_table_of_landmarks(tmp_path):
    assert len(set(IBUG_2009)) == 68
    size = made(vertices=VERTICES_2009, identities=1, expressions=1)
    size.mean[np.array(IBUG_2009) - 1] = TEMPLATE
    found = read_bfm(bfm_mat(tmp_path / "full.mat", size))
    assert np.allclose(found.landmarks().mean, TEMPLATE - TEMPLATE.mean(axis=0), atol=CLOSE)


def test_without_a_table_the_landmarks_are_asked_for(tmp_path):
    with pytest.raises(InputError, match="90 vertices.*option landmarks: expected a JSON list"):
        read_bfm(bfm_mat(tmp_path / "model.mat", MODEL))


@pytest.mark.needs("bfm")
def test_the_names_of_an_h5_are_no_68_landmarks(tmp_path):
    with pytest.raises(InputError, match="names 9 landmarks, which are not the 68"):
        read_bfm(bfm_h5(tmp_path / "model.h5", MODEL))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([0] * 67, r"shape \(67,\)"),
        ([*range(67), 90], "none of the 90 vertices"),
        ([*range(67), -1], "none of the 90 vertices"),
        ([*range(67), 1 << 70], "expected"),
        ([*range(67), 0.5], "not whole numbers"),
        ({"corners": [[0, 1, 2]] * 68, "weights": [[0.5, 0.5, 0.5]] * 68}, "do not sum to 1"),
        ({"corners": [[0, 1]] * 68, "weights": [[1, 0, 0]] * 68}, r"shape \(68, 2\)"),
        ({"points": []}, "expected a JSON list"),
        ("all of them", "expected a JSON list"),
    ],
)
def test_odd_landmarks_are_refused(tmp_path, told, says):
    path = tmp_path / "landmarks.json"
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match=says):
        read_bfm(bfm_mat(tmp_path / "model.mat", MODEL), path)


def test_landmarks_may_lie_between_vertices(tmp_path, rng):
    corners, weights = rng.integers(0, 90, (68, 3)), rng.dirichlet([1, 1, 1], 68)
    np.savez(tmp_path / "between.npz", corners=corners, weights=weights)
    found = read_bfm(bfm_mat(tmp_path / "model.mat", MODEL), tmp_path / "between.npz")
    wanted = np.einsum("lcx,lc->lx", MODEL.mean[corners], weights)
    assert np.allclose(found.landmarks().mean, wanted - wanted.mean(axis=0), atol=CLOSE)


NAN = MODEL.mean.reshape(-1, 1) * np.where(np.arange(270) == 8, np.nan, 1)[:, None]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"shapeMU": NAN}, "shapeMU holds numbers that are not finite"),
        ({"shapeMU": np.zeros((271, 1))}, "271 rows; expected 3"),
        ({"shapeMU": np.array([["text", 1]], object)}, "shapeMU is cells"),
        ({"shapeMU": {"field": 1}}, "shapeMU is a struct"),
        ({"shapeMU": "text"}, "shapeMU is text"),
        ({"shapeMU": MODEL.mean.reshape(-1, 1) * 1j}, "shapeMU is complex"),
        ({"shapePC": MODEL.identity[:-3]}, r"shapePC has the shape \(267, 4\)"),
        ({"shapePC": MODEL.identity * 9}, "columns of shapePC are 9 to 9 long"),
        ({"shapeEV": MODEL.identity_sd[:3, None]}, r"shapeEV has the shape \(3, 1\)"),
        ({"shapeEV": -MODEL.identity_sd[:, None]}, "below 0"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_wrong_arrays_are_refused(tmp_path, landmarks, packed, changed, says):
    path = bfm_mat(tmp_path / "model.mat", MODEL, packed, **changed)
    with pytest.raises(InputError, match=says):
        read_bfm(path, landmarks)


def test_a_missing_array_is_named(tmp_path, landmarks):
    import scipy.io

    scipy.io.savemat(tmp_path / "model.mat", {"shapeMU": MODEL.mean.reshape(-1, 1)})
    with pytest.raises(InputError, match="shapePC is NoneType; expected numbers"):
        read_bfm(tmp_path / "model.mat", landmarks)


def refused_in_little_memory(read, says: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=says):
            read()
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, landmarks):
    path = bfm_mat(tmp_path / "bomb.mat", MODEL, shapeMU=np.zeros((9_000_000, 1)))
    assert path.stat().st_size < 1 << 20
    refused_in_little_memory(lambda: read_bfm(path, landmarks), "72,000,000 bytes, and the file")


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def lying_mat(dimensions: tuple[int, int], told: int, packed: bool) -> bytes:
    """An array whose numbers are said to be `told` bytes, with 8 behind it."""
    body = element(6, struct.pack("<II", 7, 0)) + element(5, struct.pack("<ii", *dimensions))
    body += element(1, b"shapeMU") + struct.pack("<II", 7, told) + bytes(8)
    whole = element(14, body)
    if packed:
        data = zlib.compress(whole)
        whole = struct.pack("<II", 15, len(data)) + data
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + whole


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("dimensions", "told", "says"),
    [
        ((1 << 30, 1 << 30), 8, "damaged or hostile"),
        ((-1, -2), 8, "damaged or hostile"),
        ((3, 1), 8, "does not pair up with its 8 bytes"),
        ((2, 1), (1 << 32) - 1, "does not pair up"),
        ((4, 1), 16, "cut short"),
    ],
)
def test_lying_headers_are_refused(tmp_path, landmarks, dimensions, told, packed, says):
    path = tmp_path / "lie.mat"
    path.write_bytes(lying_mat(dimensions, told, packed))
    refused_in_little_memory(lambda: read_bfm(path, landmarks), says)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_files_cut_short_are_refused(tmp_path, landmarks, packed, share):
    data = bfm_mat(tmp_path / "model.mat", MODEL, packed).read_bytes()
    path = tmp_path / "short.mat"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError):
        read_bfm(path, landmarks)


@pytest.fixture(scope="module")
def plain_mat(tmp_path_factory) -> bytes:
    return bfm_mat(tmp_path_factory.mktemp("mat") / "model.mat", MODEL, False).read_bytes()


@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_reads_or_is_refused(tmp_path_factory, plain_mat, at, value):
    path = tmp_path_factory.getbasetemp() / "changed.mat"
    path.write_bytes(plain_mat[:at] + bytes([value]) + plain_mat[at + 1 :])
    try:
        found = read_mat5("who", path, {"shapeMU", "shapePC", "shapeEV"})
    except InputError:
        return
    assert all(array.nbytes <= len(plain_mat) for array in found.values())


# files whose links or storage lead elsewhere, or that promise more than they hold


def changed_h5(path: Path, place: str, how: str) -> Path:
    import h5py

    bfm_h5(path, MODEL)
    other = bfm_h5(path.with_name("other.h5"), MODEL)
    with h5py.File(path, "a") as file:
        shape, kind = file[place].shape, file[place].dtype
        del file[place]
        if how == "soft link":
            file[place] = h5py.SoftLink("/shape/model/noiseVariance")
        elif how == "external link":
            file[place] = h5py.ExternalLink(str(other), place)
        elif how == "external storage":
            raw = path.with_name("raw.bin")
            raw.write_bytes(bytes(int(np.prod(shape)) * kind.itemsize))
            file.create_dataset(place, shape, kind, external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, kind)
            layout[:] = h5py.VirtualSource(str(other), place, shape)
            file.create_virtual_dataset(place, layout)
        elif how == "plug-in":
            file.create_dataset(place, shape, kind, compression="lzf")
        elif how == "promised":
            file.create_dataset(place, (30_000_000, 99), kind, chunks=(1000, 99))
        elif how == "texts":
            file[place] = ["text"] * 3
        elif how == "group":
            file.create_group(place)
        elif how == "not finite":
            file[place] = np.full(shape, np.nan, kind)
        elif how == "scaled":
            file[place] = np.full(shape, 7.0, kind)
    return path


@pytest.mark.needs("bfm")
@pytest.mark.parametrize(
    ("place", "how", "says"),
    [
        ("shape/model/mean", "soft link", "link to elsewhere"),
        ("shape/model/mean", "external link", "link to elsewhere"),
        ("metadata/landmarks/json", "external link", "link to elsewhere"),
        ("shape/model", "external link", "link to elsewhere"),
        ("shape/model/mean", "external storage", "lie in another file"),
        ("shape/model/pcaBasis", "virtual", "lie in another file"),
        ("shape/model/pcaBasis", "plug-in", "packed by a plug-in"),
        ("shape/model/pcaBasis", "promised", "damaged or hostile"),
        ("shape/model/mean", "texts", "not numbers"),
        ("shape/model/mean", "group", "is no array"),
        ("shape/model/pcaVariance", "not finite", "not finite"),
        ("expression/model/pcaBasis", "scaled", "long; expected 1"),
    ],
)
def test_h5_files_that_lead_elsewhere_or_lie_are_refused(tmp_path, landmarks, place, how, says):
    if place == "shape/model":
        import h5py

        path = bfm_h5(tmp_path / "model.h5", MODEL)
        other = bfm_h5(tmp_path / "other.h5", MODEL)
        with h5py.File(path, "a") as file:
            del file[place]
            file[place] = h5py.ExternalLink(str(other), place)
    else:
        path = changed_h5(tmp_path / "model.h5", place, how)
    with pytest.raises(InputError, match=says):
        read_bfm(path, landmarks)


@pytest.mark.needs("bfm")
def test_damaged_h5_files_are_refused(tmp_path, landmarks):
    data = bfm_h5(tmp_path / "model.h5", MODEL).read_bytes()
    path = tmp_path / "damaged.h5"
    for changed in (data[:700], data[: len(data) // 2], data[:8] + bytes(900)):
        path.write_bytes(changed)
        with pytest.raises(InputError, match="damaged.h5"):
            read_bfm(path, landmarks)


def test_other_files_are_refused(tmp_path, landmarks):
    path = tmp_path / "model.mat"
    path.write_bytes(b"<html>log in</html>")
    with pytest.raises(InputError, match="neither .mat .2009. nor .h5"):
        read_bfm(path, landmarks)
    with pytest.raises(InputError, match="none.mat: No such file"):
        read_bfm(tmp_path / "none.mat", landmarks)


@pytest.mark.weights
def test_the_published_model_of_2009_is_a_face_in_millimetres():
    found = read_bfm(*model_files("01_MorphableModel.mat"))
    assert found.identity.shape == (199, VERTICES_2009, 3)
    scale, apart, angle = against_template(found)
    assert scale == pytest.approx(1, abs=0.12) and apart < 6 and angle < 15
