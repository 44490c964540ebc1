"""The matrix's file: it comes back as it was, alone, and what is no such file is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.methods.control_facts import _READERS
from mining.methods.direction_matrix import DirectionMatrix
from mining.methods.learned import Curve
from mining.methods.matrix_file import KEY, load_matrix, matrix_bytes, matrix_of, save_matrix
from schemas.errors import CorruptDataError, InputError, LodeError
from storage import artefacts
from tests.mining.methods.planted_matrix import made

FULL = {
    "layers": (0, 2),
    "reach": 5.0,
    "bias": np.arange(6.0),
    "alone": np.arange(18.0).reshape(3, 6),
    "mode": "paired",
    "generator": "head",
    "fingerprint": "ab" * 32,
    "licence": "MIT",
    "settings": '{"seed": 0}',
    "evidence": {"r2_yaw": 0.5, "held_out_loss": float("nan")},
    "curves": (Curve("Pairs", "equation (7)", (2.0, 1.0), (2.5, 1.5)),),
}
DATA = matrix_bytes(made(**FULL))


def same(found: DirectionMatrix, given: DirectionMatrix) -> None:
    """Every field, to the last bit."""
    for field in dataclasses.fields(given):
        np.testing.assert_equal(getattr(found, field.name), getattr(given, field.name))


def test_a_saved_matrix_comes_back(tmp_path):
    path = str(tmp_path / "results" / "matrix.safetensors")
    save_matrix(made(seed=5), path)
    save_matrix(made(**FULL), path)
    same(load_matrix(path), made(**FULL))
    assert [each.name for each in (tmp_path / "results").iterdir()] == ["matrix.safetensors"]
    save_matrix(made(), "memory://results/matrix.safetensors")
    same(load_matrix("memory://results/matrix.safetensors"), made())


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 5), st.sampled_from(["w", "w+"]))
def test_any_matrix_comes_back_as_the_same_bytes(seed, columns, width, space):
    matrix = made(seed, columns, width, 3, space)
    data = matrix_bytes(matrix)
    same(matrix_of(data, "it"), matrix)
    assert matrix_bytes(matrix_of(data, "it")) == data


def test_it_edits_alone_and_without_torch(tmp_path):
    path = tmp_path / "matrix.safetensors"
    save_matrix(made(**FULL), str(path))
    program = (
        "import sys, numpy as np\n"
        "from mining.methods.matrix_file import load_matrix\n"
        "matrix = load_matrix(sys.argv[1])\n"
        "print(repr(matrix.moved(np.zeros((1, 4, 6)), {'yaw': 1.0}).tolist()))\n"
        "assert 'torch' not in sys.modules and 'ray' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    expected = made(**FULL).moved(np.zeros((1, 4, 6)), {"yaw": 1.0}).tolist()
    assert done.stdout.strip() == repr(expected)


def test_every_field_is_written_somewhere():
    arrays = {"vectors", "reading", "offset", "low", "high", "scale", "bias", "alone"}
    other = {"names", "units", "evidence", "curves"}
    for field in dataclasses.fields(DirectionMatrix):
        known = field.name in arrays | other or field.type in _READERS
        assert known, f"{field.name}: {field.type}"


def test_other_programs_read_its_metadata():
    length = int.from_bytes(DATA[:8], "little")
    about = json.loads(json.loads(DATA[8 : 8 + length])["__metadata__"][KEY])
    assert (about["names"], about["units"]) == (["yaw", "pitch", "roll"], ["degrees"] * 3)
    assert about["facts"]["generator"] == "head"


def rewritten(arrays=None, about=None) -> bytes:
    """The file with other tensors (None takes one away) and other metadata."""
    from safetensors.numpy import save

    length = int.from_bytes(DATA[:8], "little")
    old = json.loads(json.loads(DATA[8 : 8 + length])["__metadata__"][KEY])
    tensors = {**artefacts.arrays(DATA), **(arrays or {})}
    kept = {name: array for name, array in tensors.items() if array is not None}
    return save(kept, {KEY: json.dumps({**old, **(about or {})})})


def facts(**changed):
    length = int.from_bytes(DATA[:8], "little")
    old = json.loads(json.loads(DATA[8 : 8 + length])["__metadata__"][KEY])["facts"]
    return {"facts": {**old, **changed}}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vectors": None}, "vectors is missing"),
        ({"vectors": np.zeros((3, 5))}, "latent_shape"),
        ({"reading": np.zeros((2, 6))}, "do not fit"),
        ({"vectors": np.full((3, 6), np.nan)}, "NaN"),
        ({"scale": np.zeros(3)}, "scale"),
        ({"low": np.zeros(3, np.float32)}, "float64"),
        ({"bias": np.zeros(5)}, "do not fit"),
        ({"alone": np.zeros((3, 5))}, "do not fit"),
        ({"more": np.zeros(4)}, "unknown tensors more"),
        ({"vectors": np.zeros((10**9, 0))}, "latent_shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, said):
    with pytest.raises(CorruptDataError, match=said):
        matrix_of(rewritten(arrays), "it")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"names": ["yaw"]}, "1 names"),
        ({"names": ["yaw", "yaw", "roll"]}, "names repeat"),
        ({"names": ["x" * 999, "b", "c"]}, "short texts"),
        ({"units": 3}, "units are '3'"),
        ({"facts": 3}, "facts is '3'"),
        ({"facts": {}}, "facts.space is missing"),
        (facts(space="z"), "space 'z'"),
        (facts(latent_shape=[10**9, 10**9]), "latent_shape"),
        (facts(layers=[7]), "layers"),
        (facts(num_ws=-1), "num_ws"),
        (facts(reach=0.0), "scale"),
        ({"evidence": {"a": "b"}}, "something else than numbers"),
        ({"evidence": [1]}, "no object of numbers"),
        ({"curves": [{}] * 99}, "curves"),
        ({"curves": [{"title": 1}]}, "a curve"),
    ],
)
def test_facts_that_do_not_fit_are_refused(about, said):
    with pytest.raises(CorruptDataError, match=said):
        matrix_of(rewritten(about=about), "it")


def test_a_newer_file_says_so():
    with pytest.raises(InputError, match="version '2', expected 1"):
        matrix_of(rewritten(about={"version": 2}), "it")


def test_what_is_something_else_is_the_users_mistake(tmp_path):
    other, picture = tmp_path / "other.safetensors", tmp_path / "picture.png"
    other.write_bytes(artefacts.pack({"weight": np.zeros(3)}))
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    os.mkfifo(tmp_path / "pipe")
    paths = {other: "something else", picture: "header", tmp_path: "no file"}
    for path, said in {**paths, tmp_path / "pipe": "no file"}.items():
        with pytest.raises(InputError, match=said):
            load_matrix(str(path))
    with pytest.raises(InputError, match="names no file"):
        load_matrix("memory://results/")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(DATA[:-9])
    with pytest.raises(CorruptDataError, match=r"cut\.safetensors.*expected a direction matrix"):
        load_matrix(str(cut))


@settings(max_examples=300)
@given(st.data())
def test_changed_bytes_give_a_matrix_or_a_clear_error(draws):
    data = bytearray(DATA)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, len(data) - 1))
        data[place] = draws.draw(st.integers(0, 255))
    cut = draws.draw(st.sampled_from([0, 0, 0, 1, 8, header]))
    try:
        found = matrix_of(bytes(data[: len(data) - cut]), "it")
    except LodeError as error:
        assert "it" in str(error)
    else:
        assert found.delta(np.ones(3)).shape == (6,)
