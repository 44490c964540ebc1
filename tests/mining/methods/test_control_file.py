"""The control model's file: it comes back as it was, and what is no such file is refused."""

from __future__ import annotations

import dataclasses
import json
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.methods.control import CodeRanges, ControlModel, code_ranges
from mining.methods.control_arrays import NETWORK, SHAPE
from mining.methods.control_facts import _READERS
from mining.methods.control_file import (
    KEY,
    control_bytes,
    control_of,
    load_control,
    save_control,
)
from mining.methods.embedding import Embedding
from mining.methods.regressor import Regressor
from mining.methods.rigid import RigidShape
from mining.methods.shape_model import ShapeModel
from schemas.errors import CorruptDataError, InputError, LodeError
from storage import artefacts

Changes = typing.Any


def network(rng, sizes):
    """Weights, biases, centre, mean and spread of an untrained network."""
    pairs = list(zip(sizes, sizes[1:], strict=False))
    return {
        "weights": tuple(rng.normal(size=(out, into)) for into, out in pairs),
        "biases": tuple(rng.normal(size=out) for _, out in pairs),
        "centre": rng.normal(size=sizes[0]),
        "mean": rng.normal(size=sizes[-1]),
        "spread": rng.uniform(0.1, 2, size=sizes[-1]),
    }


def rigid(rng, points) -> RigidShape | None:
    """Six rigid landmarks, where there are so many."""
    if points < 6:
        return None
    chosen = np.sort(rng.choice(points, 6, replace=False))
    return RigidShape(chosen, rng.normal(size=(3, 6)), np.empty(0), 0, True)


def made(seed=0, points=9, components=2, width=6, hidden=(5, 4), embedding=3) -> ControlModel:
    """A control model of random numbers."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(20, 8 + components))
    shape = ShapeModel(
        rng.normal(size=(3, points)),
        rng.normal(size=(components, points)),
        rng.normal(size=(components, 3)),
        codes,
        objective=float(rng.uniform()),
        relative_residual=float(rng.uniform()),
        rms=float(rng.uniform()),
        rank_share=float(rng.uniform()),
        metric=bool(rng.integers(2)),
        rigid=rigid(rng, points),
    )
    curves = tuple(tuple(rng.uniform(size=4)) for _ in range(3))
    regressor = Regressor(
        **network(rng, (width, *hidden, 8 + components)),
        radius=2.5,
        train_loss=curves[0],
        held_out_loss=curves[1],
        held_out_landmarks=curves[2],
        best_epoch=3,
    )
    about = {"radius": 1.5, "train_loss": (1.0,), "held_out_loss": (2.0,), "best_epoch": 0}
    told = Embedding(**network(rng, (width, 7, embedding)), **about, r2=0.25) if embedding else None
    return ControlModel(
        shape, regressor, "w+", (2, width // 2), "head", "ab" * 32, "MIT", code_ranges(codes), told
    )


def same(found, given) -> None:
    """Every field, to the last bit; the codes of the training rows are not kept."""
    assert type(found) is type(given)
    for field in dataclasses.fields(given):
        first, second = getattr(found, field.name), getattr(given, field.name)
        if (type(given), field.name) == (ShapeModel, "codes"):
            assert first.shape == (0, second.shape[1])
        elif dataclasses.is_dataclass(second):
            same(first, second)
        else:
            np.testing.assert_equal(first, second)


@pytest.fixture(scope="module")
def control() -> ControlModel:
    return made()


@pytest.fixture(scope="module")
def data(control) -> bytes:
    return control_bytes(control)


def test_a_saved_model_comes_back_and_gives_the_same_numbers(control, tmp_path, rng):
    path = str(tmp_path / "results" / "control.safetensors")
    save_control(control, path)
    found = load_control(path)
    same(found, control)
    latents = rng.normal(size=(4, 6))
    np.testing.assert_array_equal(found.landmarks(latents), control.landmarks(latents))
    np.testing.assert_array_equal(
        found.embedding.predict(latents), control.embedding.predict(latents)
    )
    assert [each.name for each in (tmp_path / "results").iterdir()] == ["control.safetensors"]


def test_a_url_takes_and_gives_it(control):
    save_control(control, "memory://results/control.safetensors")
    same(load_control("memory://results/control.safetensors"), control)


def test_a_second_one_replaces_the_first(control, tmp_path):
    path = str(tmp_path / "control.safetensors")
    save_control(made(seed=5), path)
    save_control(control, path)
    same(load_control(path), control)


def test_the_same_model_gives_the_same_bytes(control, data):
    assert control_bytes(control) == data
    assert control_bytes(control_of(data, "it")) == data


def test_other_programs_read_its_metadata(data):
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
    assert about["names"][3:6] == ["pitch", "yaw", "roll"]
    assert (about["space"], about["licence"]) == ("w+", "MIT")
    assert about["regressor"]["held_out_landmarks"][-1] == pytest.approx(
        made().regressor.held_out_landmarks[-1]
    )


@settings(max_examples=25)
@given(
    st.integers(0, 99),
    st.integers(1, 12),
    st.integers(0, 4),
    st.lists(st.integers(1, 6), max_size=3),
    st.integers(0, 4),
)
def test_any_model_comes_back(seed, points, components, hidden, embedding):
    control = made(seed, points, components, 4, tuple(hidden), embedding)
    same(control_of(control_bytes(control), "it"), control)


def test_what_is_not_known_comes_back_as_unknown(control):
    bare = ControlModel(
        dataclasses.replace(control.shape, rms=float("nan")), control.regressor, "z"
    )
    found = control_of(control_bytes(bare), "it")
    assert np.isnan(found.shape.rms)
    assert found.embedding is None and found.ranges is None
    assert (found.latent_shape, found.generator, found.fingerprint) == ((6,), "", "")


@pytest.mark.parametrize("kind", [ShapeModel, Regressor, Embedding, CodeRanges])
def test_every_field_is_written_somewhere(kind):
    arrays = {*NETWORK, *SHAPE, "weights", "biases", "codes", "low", "high", "rigid"}
    for field in dataclasses.fields(kind):
        assert field.name in arrays or field.type in _READERS, f"{field.name}: {field.type}"


def rewritten(data: bytes, arrays: Changes = None, about: Changes = None) -> bytes:
    """The file with other tensors (None takes one away) and other metadata."""
    from safetensors.numpy import save

    length = int.from_bytes(data[:8], "little")
    old = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
    tensors = {**artefacts.arrays(data), **(arrays or {})}
    kept = {name: array for name, array in tensors.items() if array is not None}
    return save(kept, {KEY: json.dumps({**old, **(about or {})})})


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"shape.basis": None}, "shape.basis is missing"),
        ({"shape.basis": np.zeros((2, 8))}, r"mean shape \(3, 9\), basis \(2, 8\)"),
        ({"shape.basis": np.zeros((3, 9))}, r"modes \(2, 3\) do not fit"),
        ({"shape.mean_shape": np.zeros((3, 9), np.float32)}, "float32, expected 2 axes of float64"),
        ({"shape.modes": np.full((2, 3), np.nan)}, "NaN"),
        ({"shape.rigid": None}, "shape.rigid is missing"),
        ({"shape.rigid": np.arange(6.0) + 4}, "rigid landmarks"),
        ({"shape.rigid": np.arange(6.0) + 0.5}, "rigid landmarks"),
        ({"shape.rigid": np.zeros(6)}, "rigid landmarks"),
        ({"shape.rigid": np.arange(5.0), "shape.skull": np.zeros((3, 5))}, "rigid landmarks"),
        ({"shape.skull": np.zeros((3, 7))}, "and their shape"),
        ({"regressor.centre": np.zeros(7)}, "layers of the regressor do not fit"),
        ({"regressor.biases.1": np.zeros(9)}, "layers of the regressor do not fit"),
        ({"regressor.weights.1": None}, "weights.1 is missing"),
        ({"regressor.spread": np.zeros(10)}, "mean and spread of the regressor"),
        ({"regressor.spread": np.ones(9)}, "mean and spread of the regressor"),
        ({"embedding.centre": np.zeros(5), "embedding.weights.0": np.ones((7, 5))}, "a latent"),
        ({"ranges.low": np.zeros(4)}, "not 10 numbers each"),
        ({"more": np.zeros(4)}, "unknown tensors more"),
        (
            {"shape.basis": np.zeros((10**9, 0)), "shape.mean_shape": np.zeros((3, 0))},
            "do not fit",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data, arrays, said):
    with pytest.raises(CorruptDataError, match=said):
        control_of(rewritten(data, arrays), "it")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"space": "v"}, "unknown latent space 'v'"),
        ({"space": None}, "space is 'None'"),
        ({"latent_shape": [5]}, r"latent_shape \(5,\)"),
        ({"latent_shape": [True] * 3}, "expected sizes"),
        ({"latent_shape": [1] * 99}, "expected sizes"),
        ({"generator": "x" * 2000}, "expected a short text"),
        ({"names": ["yaw"]}, "not those of 2 modes"),
        ({"shape": 3}, "its shape is"),
        ({"shape": {}}, "shape.objective is missing"),
        ({"regressor": {"radius": "far"}}, "regressor.radius is 'far', expected float"),
        ({"embedding": None}, "unknown tensors embedding.biases.0"),
        ({"ranges": None}, "unknown tensors ranges"),
    ],
)
def test_facts_that_do_not_fit_are_refused(data, about, said):
    with pytest.raises(CorruptDataError, match=said):
        control_of(rewritten(data, about=about), "it")


def test_a_newer_file_says_so(data):
    with pytest.raises(InputError, match="version '2', expected 1"):
        control_of(rewritten(data, about={"version": 2}), "it")


def test_what_is_something_else_is_the_users_mistake(tmp_path, data):
    other = tmp_path / "other.safetensors"
    other.write_bytes(artefacts.pack({"weight": np.zeros(3)}))
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    for path, said in ((other, "something else"), (picture, "header"), (tmp_path, "no file")):
        with pytest.raises(InputError, match=said):
            load_control(str(path))
    with pytest.raises(InputError, match="no file"):
        load_control(str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match="names no file"):
        load_control("memory://results/")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(data[:-9])
    with pytest.raises(CorruptDataError, match=r"cut\.safetensors.*expected a control model"):
        load_control(str(cut))


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no file"):
        load_control(str(tmp_path / "pipe"))


@settings(max_examples=400)
@given(st.data())
def test_changed_bytes_give_a_model_or_a_clear_error(draws):
    data = bytearray(FUZZED)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, header + 200))
        data[place] = draws.draw(st.integers(0, 255))
    cut = draws.draw(st.sampled_from([0, 0, 0, 1, 8, header]))
    try:
        found = control_of(bytes(data[: len(data) - cut]), "it")
    except LodeError as error:
        assert "it" in str(error)
    else:
        assert found.shape.names[-2:] == ("t_x", "t_y")
        assert found.regressor.weights[-1].shape == (9, 3)


FUZZED = control_bytes(made(3, 5, 1, 4, (3,), 2))
