"""The attribute flow's file: it comes back as it was, and what is no such file is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from mining.methods.attribute_flow import AttributeFlow
from mining.methods.flow_file import KEY, flow_bytes, flow_of, load_flow, save_flow
from mining.methods.flow_network import first_weights
from schemas.errors import CorruptDataError, InputError, LodeError
from storage import artefacts

Changes = typing.Any


def made(seed=0, width=6, space="w", shape=(6,)) -> AttributeFlow:
    """A flow of random numbers."""
    rng = np.random.default_rng(seed)
    weights = first_weights(width, 2, (5, 4), 3, seed)
    network = {name: array.numpy() for name, array in weights.items()}
    network["layer.2.weight"] = 0.1 * rng.normal(size=(width, 4)).astype(np.float32)
    return AttributeFlow(
        names=("smile", "yaw"),
        units=("1", "degrees"),
        slopes=(0.5, float("nan")),
        layers=((1, 2), ()),
        weights=rng.normal(size=(2, width)),
        mean=rng.normal(size=2),
        scale=rng.uniform(1, 2, size=2),
        centre=rng.normal(size=width),
        spread=1.5,
        network=network,
        space=space,
        latent_shape=shape,
        generator="head",
        fingerprint="ab" * 32,
        licence="MIT",
        settings={"epochs": 3, "hidden": [5, 4]},
        evidence={"miss": 0.02, "leak": 0.1},
    )


def same(found: AttributeFlow, given_: AttributeFlow) -> None:
    """Every field, to the last bit."""
    for field in dataclasses.fields(given_):
        np.testing.assert_equal(getattr(found, field.name), getattr(given_, field.name))


@pytest.fixture(scope="module")
def data() -> bytes:
    return flow_bytes(made())


@pytest.mark.parametrize(
    "case", [made(), made(width=12, space="w+", shape=(3, 4))], ids=["w", "w+"]
)
def test_a_saved_flow_comes_back_and_edits_as_it_did(case, tmp_path, rng):
    path = str(tmp_path / "results" / "attribute_flow.safetensors")
    save_flow(case, path)
    found = load_flow(path)
    same(found, case)
    w_plus = rng.normal(size=(4, 3, case.latent_shape[-1])).astype(np.float32)
    np.testing.assert_array_equal(
        found.edited(w_plus, "smile", 0.3), case.edited(w_plus, "smile", 0.3)
    )


def test_the_same_flow_gives_the_same_bytes(data):
    assert flow_bytes(made()) == data == flow_bytes(flow_of(data))


def test_a_flow_loads_without_what_trains_it(data, tmp_path):
    """In a process of its own, where the training's modules never come in."""
    path = tmp_path / "flow.safetensors"
    path.write_bytes(data)
    code = (
        "import sys; from mining.methods.flow_file import load_flow; "
        f"flow = load_flow({str(path)!r}); assert flow.names == ('smile', 'yaw'); "
        "assert 'mining.methods.flow_training' not in sys.modules; "
        "assert 'torchdiffeq' not in sys.modules; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_an_artefact_of_a_catalogue_holds_it(data, tmp_path):
    url = f"file://{tmp_path}"
    artefact = artefacts.put(url, data, "flow")
    same(flow_of(artefacts.read(url, artefact.sha256)), made())


def again(data: bytes, about: Changes = None, arrays: Changes = None) -> bytes:
    """The file with other metadata and tensors; None takes one out."""
    length = int.from_bytes(data[:8], "little")
    stored = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
    tensors = artefacts.arrays(data) | (arrays or {})
    words = stored | (about or {})
    return save(
        {name: array for name, array in tensors.items() if array is not None},
        {KEY: json.dumps({name: value for name, value in words.items() if value != "gone"})},
    )


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"names": ["smile"]}, "names are no list of 2"),
        ({"names": ["smile", "smile"]}, "have one name"),
        ({"names": ["smile", 3]}, "names are no short texts"),
        ({"names": ["smile", "y" * 2000]}, "names are no short texts"),
        ({"units": "gone"}, "units are no list"),
        ({"slopes": [1.0, "2"]}, "slope is no number"),
        ({"slopes": [1.0, 1e308]}, "slope is no number"),
        ({"layers": [[2, 1], []]}, "no ascending rows"),
        ({"layers": [[0, 10**9], []]}, "no ascending rows"),
        ({"layers": [[True], []]}, "no ascending rows"),
        ({"space": "z"}, "not 6 numbers|no list of 0"),
        ({"space": None}, "space is no short text"),
        ({"latent_shape": [7]}, "not 6 numbers"),
        ({"latent_shape": [2, 3]}, "no list of 1"),
        ({"latent_shape": [6.0]}, "not 6 numbers"),
        ({"spread": 0}, "spread is 0"),
        ({"spread": None}, "spread is nan"),
        ({"tolerance": 1e-30}, "tolerance is 1e-30"),
        ({"solver": "euler"}, "solver is 'euler'"),
        ({"fingerprint": 7}, "fingerprint is no short text"),
        ({"settings": []}, "settings are no object"),
        ({"evidence": {"miss": "x"}}, "miss is no number"),
    ],
)
def test_metadata_that_cannot_be_are_refused(data, about, said):
    with pytest.raises(CorruptDataError, match=f"damaged: .*({said})"):
        flow_of(again(data, about), "flow.safetensors")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"centre": None}, "'centre' is missing"),
        ({"centre": np.zeros(5)}, "centre is not 6 numbers"),
        ({"centre": np.zeros(6, np.float32)}, "expected finite numbers"),
        ({"reading.weights": np.full((2, 6), np.nan)}, "expected finite numbers"),
        ({"reading.weights": np.zeros((3, 6))}, "reading does not fit"),
        ({"reading.scale": np.zeros(2)}, "not above 0"),
        ({"network.layer.0.weight": None}, "do not fit latents of 6"),
        ({"network.layer.1.weight": np.zeros((4, 6), np.float32)}, "do not fit latents of 6"),
        ({"network.layer.1.gate": None}, "do not fit latents of 6"),
        ({"network.layer.9.gate": np.zeros((1, 1), np.float32)}, "do not fit latents of 6"),
        ({"network.embed.0.bias": np.full(3, np.inf, np.float32)}, "expected finite numbers"),
        ({"network.more": np.zeros(2, np.float32)}, "do not fit latents of 6"),
        ({"more": np.zeros(2)}, "unknown tensors more"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(data, arrays, said):
    with pytest.raises(CorruptDataError, match=f"damaged: .*{said}"):
        flow_of(again(data, arrays=arrays), "flow.safetensors")


def test_other_files_are_refused_by_name(data, tmp_path):
    with pytest.raises(InputError, match="is no file; expected an attribute flow"):
        load_flow(str(tmp_path / "missing.safetensors"))
    with pytest.raises(InputError, match="of something else; expected an attribute flow"):
        flow_of(save({"a": np.zeros(3)}), "a.safetensors")
    with pytest.raises(InputError, match="no JSON|does not fit"):
        flow_of(b"\x80\x04\x95pickled things of other people", "a.pkl")
    with pytest.raises(InputError, match="has version '2', expected 1"):
        flow_of(again(data, {"version": 2}), "a.safetensors")
    with pytest.raises(InputError, match="is no file"):
        load_flow(str(tmp_path) + "/")


@given(st.data())
@settings(max_examples=60)
def test_damaged_bytes_never_do_more_than_raise_our_errors(data, draw):
    spoilt = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        spoilt[draw.draw(st.integers(0, len(spoilt) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(spoilt)))
    try:
        found = flow_of(bytes(spoilt[:cut] if draw.draw(st.booleans()) else spoilt))
    except LodeError:
        return
    assert found.weights.shape == (2, 6) and np.isfinite(found.weights).all()


def test_wild_weights_end_in_one_error(data, rng):
    """A network that no solver can follow stops after a bounded number of steps."""
    wild = {"network.layer.2.weight": np.full((6, 4), 1e30, np.float32)}
    flow = flow_of(again(data, arrays=wild))
    with pytest.raises(LodeError, match="cannot follow|not finite"):
        flow.edited(rng.normal(size=(2, 3, 6)).astype(np.float32), "yaw", 1.0)
