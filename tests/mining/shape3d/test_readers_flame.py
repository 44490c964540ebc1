"""FLAME: pickles of Python 2 and of chumpy come back as numbers, and run nothing."""

from __future__ import annotations

import os
import pickle
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mining.shape3d.readers.bound import read_bound
from mining.shape3d.readers.flame import read_flame
from mining.shape3d.readers.flame_pickle import model_arrays
from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError
from tests.mining.shape3d.made_models import (
    against_template,
    embedding,
    flame_content,
    flame_npz,
    landmark_json,
    made,
    model_files,
    python2_pickle,
)

MODEL = made()
EMBEDDING = embedding(MODEL)
SPLIT = 4  # identities of the made model
CLOSE = 1e-9  # mm: the files hold float64


def pickled(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def landmarks(tmp_path) -> Path:
    return landmark_json(tmp_path / "landmarks.json", MODEL)


def is_the_model(found) -> None:
    assert np.allclose(found.mean, MODEL.centred(), atol=CLOSE)
    assert np.allclose(found.identity, MODEL.components("identity"), atol=CLOSE)
    assert np.allclose(found.expression, MODEL.components("expression"), atol=CLOSE)


@pytest.mark.parametrize("chumpy", [True, False])
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_of_python_2_are_read(tmp_path, landmarks, protocol, chumpy):
    data = python2_pickle(flame_content(MODEL, chumpy), protocol)
    assert (b"chumpy" in data) == chumpy and b"scipy.sparse.csc\ncsc_matrix" in data
    assert (data[:2] == b"\x80\x02") == (protocol == 2)
    is_the_model(read_flame(pickled(tmp_path / "model.pkl", data), landmarks, split=SPLIT))
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_python_3_are_read(tmp_path, landmarks, protocol):
    data = pickle.dumps(flame_content(MODEL, chumpy=False), protocol)
    is_the_model(read_flame(pickled(tmp_path / "model.pkl", data), landmarks, split=SPLIT))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files_are_the_same_model(tmp_path, landmarks, save):
    content = flame_content(MODEL, chumpy=False)
    content.pop("J_regressor")
    save(tmp_path / "model.npz", **content)
    found = read_flame(tmp_path / "model.npz", landmarks, split=SPLIT)
    is_the_model(found)
    data = python2_pickle(flame_content(MODEL), 2)
    other = read_flame(pickled(tmp_path / "model.pkl", data), landmarks, split=SPLIT)
    assert found.sha256 == other.sha256


def test_fewer_components_are_the_first_of_either_kind(tmp_path, landmarks):
    path = flame_npz(tmp_path / "model.npz", MODEL)
    found = read_flame(path, landmarks, split=SPLIT, identities=2, expressions=1)
    assert np.allclose(found.identity, MODEL.components("identity")[:2], atol=CLOSE)
    assert np.allclose(found.expression, MODEL.components("expression")[:1], atol=CLOSE)
    with pytest.raises(InputError, match="4 of expressions came; the file has 3"):
        read_flame(path, landmarks, split=SPLIT, expressions=4)
    with pytest.raises(InputError, match="split 300 came and shapedirs has 7 columns"):
        read_flame(path, landmarks)


def test_decas_embedding_gives_all_68(tmp_path):
    """landmark_embedding.npy: a pickled dict in an array of objects, torch's tensors inside."""
    e = EMBEDDING
    content = {
        "static_lmk_faces_idx": e.inner,
        "static_lmk_bary_coords": np.asfortranarray(e.inner_weights),
        "dynamic_lmk_faces_idx": torch.from_numpy(e.outline),
        "dynamic_lmk_bary_coords": torch.from_numpy(e.outline_weights).float(),
        "full_lmk_faces_idx": np.concatenate([e.outline[0], e.inner])[None],
        "full_lmk_bary_coords": np.concatenate([e.outline_weights[0], e.inner_weights])[None],
    }
    path = tmp_path / "landmark_embedding.npy"
    np.save(path, np.array(content, object), allow_pickle=True)
    model = flame_npz(tmp_path / "model.npz", MODEL)
    wanted = e.points(MODEL)
    found = read_flame(model, path, split=SPLIT)
    assert np.allclose(found.landmarks().mean, wanted - wanted.mean(axis=0), atol=1e-9)
    for name in ("full_lmk_faces_idx", "full_lmk_bary_coords"):
        del content[name]
    np.save(path, np.array(content, object), allow_pickle=True)
    found = read_flame(model, path, split=SPLIT)  # the first row of the moving outline
    assert np.allclose(found.landmarks().mean, wanted - wanted.mean(axis=0), atol=1e-4)


@pytest.fixture
def static(tmp_path) -> Path:
    """flame_static_embedding.pkl, in protocol 0 as it is published."""
    told = {
        "lmk_face_idx": EMBEDDING.inner.astype(np.uint32),
        "lmk_b_coords": EMBEDDING.inner_weights,
    }
    return pickled(tmp_path / "flame_static_embedding.pkl", python2_pickle(told, 0))


def test_51_landmarks_and_an_outline_make_68(tmp_path, static):
    told = {"lmk_face_idx": EMBEDDING.outline, "lmk_b_coords": EMBEDDING.outline_weights}
    outline = tmp_path / "flame_dynamic_embedding.npy"
    np.save(outline, np.array(told, object), allow_pickle=True)
    model = flame_npz(tmp_path / "model.npz", MODEL)
    found = read_flame(model, static, outline, split=SPLIT)
    wanted = EMBEDDING.points(MODEL)
    assert np.allclose(found.landmarks().mean, wanted - wanted.mean(axis=0), atol=1e-9)
    with pytest.raises(InputError, match="51 landmarks came and none of the outline"):
        read_flame(model, static, split=SPLIT)
    with pytest.raises(InputError, match=r"outline faces has the shape \(51,\)"):
        read_flame(model, static, static, split=SPLIT)


def test_landmarks_are_asked_for(tmp_path, static):
    model = flame_npz(tmp_path / "model.npz", MODEL)
    with pytest.raises(InputError, match="tells no landmarks"):
        read_flame(model, split=SPLIT)
    with pytest.raises(InputError, match="there is no such file"):
        read_flame(model, tmp_path / "none.npy", split=SPLIT)
    small = flame_npz(tmp_path / "small.npz", MODEL, f=MODEL.triangles[:9])
    told = {"full_lmk_faces_idx": np.arange(68)[None], "full_lmk_bary_coords": np.ones((1, 68, 3))}
    np.savez(tmp_path / "embedding.npz", **told)
    with pytest.raises(InputError, match="none of its 9 triangles"):
        read_flame(small, tmp_path / "embedding.npz", split=SPLIT)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v_template": MODEL.mean[:, :2]}, r"v_template has the shape \(90, 2\)"),
        ({"v_template": MODEL.mean * np.nan}, "not finite"),
        ({"shapedirs": np.zeros((89, 3, 7))}, r"shapedirs has the shape \(89, 3, 7\)"),
        ({"shapedirs": np.zeros((90, 3, 2000))}, "at most 1024 columns"),
        ({"v_template": MODEL.mean.astype("U9")}, "holds <U9; expected plain numbers"),
        ({"v_template": MODEL.mean + 0j}, "holds complex128"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, landmarks, changed, says):
    path = flame_npz(tmp_path / "model.npz", MODEL, **changed)
    with pytest.raises(InputError, match=says):
        read_flame(path, landmarks, split=SPLIT)


class Runs:
    """What a hostile pickle would run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["v_template", "weights", "unknown"])
def test_nothing_in_a_pickle_is_run(tmp_path, where, protocol):
    target = tmp_path / "made by the pickle"
    content = flame_content(MODEL, chumpy=False) | {where: Runs(target)}
    path = pickled(tmp_path / "model.pkl", pickle.dumps(content, protocol))
    with pytest.raises(InputError, match="it asks for 'posix.mkdir'.*nothing was run"):
        model_arrays(path)
    assert not target.exists()


@pytest.mark.parametrize("data", [b"cos\nsystem\n(S'echo'\ntR.", b""])
def test_what_the_reading_process_refuses_is_told_in_one_line(tmp_path, landmarks, data):
    path = pickled(tmp_path / "model.pkl", data)
    with pytest.raises(InputError, match="shape model 'flame', model.pkl: [^\n]*$"):
        read_flame(path, landmarks)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch /tmp/x'\ntR.",
        b"(S'touch /tmp/x'\nios\nsystem\n.",
        b"\x80\x02cbuiltins\neval\nU\x011\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
        b"cchumpy.reordering\nSelect\n)R.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02]q\x00.",
        b"I1\n.",
        b"(dp0\nS'v_template'\np1\n.",
        b"(dS'v_template'\nI" + b"9" * 5000 + b"\ns.",
        b"(dS'v_template'\nS'no end\n",
        b"(dS'v_template'\nS'a'\ns.",
        b"(dS'v_template'\nS'\\q'\ns.",
        b"g7\n.",
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        b"\x80\x02T\xff\xff\xff\xffabc.",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (9,)}",
    ],
)
def test_hostile_and_damaged_pickles_are_refused(tmp_path, data):
    with pytest.raises(InputError):
        model_arrays(pickled(tmp_path / "model.pkl", data))


def test_an_array_that_promises_more_than_it_holds_is_refused(tmp_path, landmarks):
    data = python2_pickle({"v_template": np.zeros((90, 3)), "f": MODEL.triangles}, 2)
    lie = data.replace(b"K\x5aK\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86")
    assert lie != data
    with pytest.raises(InputError, match="does not pair up with its 2160 bytes"):
        read_flame(pickled(tmp_path / "model.pkl", lie), landmarks)


def test_a_crash_of_the_reader_is_an_error(tmp_path):
    path = pickled(tmp_path / "model.pkl", b"anything")
    with pytest.raises(InputError, match="who: its reader ended with status"):
        read_bound("who", path, "mining.shape3d.readers.flame_pickle:nothing")


@pytest.fixture(scope="module")
def plain_pickle() -> bytes:
    small = made(vertices=70, identities=1, expressions=1)
    content = flame_content(small)
    return python2_pickle({key: content[key] for key in ("v_template", "shapedirs", "f")}, 2)


@given(at=st.integers(0, 700), value=st.integers(0, 255), cut=st.integers(0, 100))
def test_a_changed_byte_reads_or_is_refused(tmp_path_factory, plain_pickle, at, value, cut):
    path = tmp_path_factory.getbasetemp() / "changed.pkl"
    changed = plain_pickle[:at] + bytes([value]) + plain_pickle[at + 1 : len(plain_pickle) - cut]
    path.write_bytes(changed)
    try:
        found = model_arrays(path)
    except InputError:
        return
    assert sum(array.nbytes for array in found.values()) <= len(changed)


# npz files


def test_pickled_members_of_an_npz_are_refused(tmp_path, landmarks):
    target = tmp_path / "made by the pickle"
    changed = np.array([Runs(target)], object)
    path = flame_npz(tmp_path / "model.npz", MODEL, v_template=changed)
    with pytest.raises(InputError, match="'v_template' holds object"):
        read_flame(path, landmarks, split=SPLIT)
    assert not target.exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, v_template=np.zeros(9_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="72,000,128 bytes, and the file has"):
            read_npz("who", path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    ("kind", "shape", "says"),
    [
        ("<f8", "(1000000000, 1000000000)", "does not pair up with its 8 bytes"),
        ("<f8", "(-1,)", "is no array"),
        ("<f8", "(True,)", "is no array"),
        ("|O", "(1,)", "holds object"),
        ("|V8", "(1,)", "expected plain numbers"),
        ("<M8[s]", "(1,)", "expected plain numbers"),
        ("<f8", "__import__('os')", "is no array"),
        ("<f8", "(" * 500, "is no array"),
    ],
)
def test_lying_members_are_refused(tmp_path, kind, shape, says):
    header = HEADER.format(kind, shape).encode()
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("v_template.npy", member)
    with pytest.raises(InputError, match=says):
        read_npz("who", tmp_path / "lie.npz")


def test_damaged_npz_files_are_refused(tmp_path):
    path = flame_npz(tmp_path / "model.npz", MODEL)
    data = path.read_bytes()
    at = data.index(b"\x93NUMPY") + 200
    changes = (data[:-40], data[:4] + bytes(60), data[:at] + b"\xff" + data[at + 1 :], b"PK\3\4")
    for changed in changes:
        path.write_bytes(changed)
        with pytest.raises(InputError, match="who: "):
            read_npz("who", path)


@pytest.mark.weights
def test_the_published_model_is_a_face_in_millimetres():
    found = read_flame(*model_files("generic_model.pkl", "landmark_embedding.npy"))
    assert found.identity.shape == (300, 5023, 3) and found.expression.shape == (100, 5023, 3)
    scale, apart, angle = against_template(found)
    assert scale == pytest.approx(1, abs=0.12) and apart < 6 and angle < 15
