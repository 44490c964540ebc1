"""Each format holds the card's vector to the bit, or at the scale that was asked for."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load

from mining.editing.apply import apply_card
from schemas.directions import Artefact, Calibration, DirectionCard
from schemas.errors import InputError
from storage.exchange.card_json import from_json
from storage.exchange.exporting import Exported, Options, export_cards
from storage.exchange.formats_out import WRITERS
from storage.exchange.layouts import LAYOUTS, laid_out
from tests.storage.exchange.any_card import any_card, same
from tests.storage.sample_cards import sample_card

HERE = "ab" * 32  # the fingerprint of sample cards


def exported(cards, target, form, **options) -> Exported:
    return export_cards(cards, str(target), form, Options(**options))


def read(path: Path) -> np.ndarray:
    """As the tools load it."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    return torch.load(path, map_location="cpu", weights_only=True).numpy()


def the_file(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"*{ending}")
    return found


def data_of(form: str, card: DirectionCard, vector: np.ndarray) -> bytes:
    return WRITERS[form](vector, card, "unit")


@settings(max_examples=60)
@given(any_card())
def test_npy_pt_and_safetensors_hold_the_vector_to_the_bit(card):
    vector = laid_out(card, flat=True)
    still = [row not in card.layers for row in range(len(vector))] if card.layers else []
    expected = card.vector.copy()
    if card.layers:
        expected[still] = 0
    npy = np.load(io.BytesIO(data_of("npy", card, vector)), allow_pickle=False)
    pt = torch.load(io.BytesIO(data_of("pt", card, vector)), weights_only=True).numpy()
    own = load(data_of("safetensors", card, vector))["direction"]
    for found, shape in ((npy, (1, *expected.shape)), (pt, (1, *expected.shape)), (own, own.shape)):
        assert found.dtype == np.float32 and found.shape == shape
        assert found.tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(st.lists(any_card(), min_size=1, max_size=3))
def test_json_holds_cards_to_the_bit(tmp_path_factory, cards):
    folder = tmp_path_factory.mktemp("json")
    assert exported(cards, folder, "json").files == ("cards.json",)
    for one, other in zip(from_json((folder / "cards.json").read_bytes()), cards, strict=True):
        same(one, other)


@settings(max_examples=15)
@given(st.lists(any_card("w", 0), min_size=1, max_size=4), st.integers(0, 99))
def test_ganspace_files_hold_every_vector_to_the_bit(tmp_path_factory, cards, seed):
    cards = [replace(card, generator_fingerprint=HERE) for card in cards]
    folder = tmp_path_factory.mktemp("ganspace")
    mean = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
    exported(cards, folder, "ganspace", mean=mean)
    exported(cards, folder / "pt", "pt", layout="ganspace", mean=mean)
    expected = np.stack([card.vector for card in cards])[:, None]
    with np.load(folder / "components.npz", allow_pickle=False) as found:
        for part in ("act", "lat"):
            assert found[f"{part}_comp"].tobytes() == expected.tobytes()
            assert found[f"{part}_mean"].shape == (1, 8)
            np.testing.assert_array_equal(found[f"{part}_mean"][0], mean)
            assert found[f"{part}_stdev"].shape == (len(cards),)
        assert found["var_ratio"].shape == found["random_stdevs"].shape == (len(cards),)
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
        assert np.isfinite([found["lat_stdev"]]).all()
    pca = torch.load(folder / "pt" / "components.pt", weights_only=True)
    assert pca["comp"].numpy().tobytes() == expected.tobytes()
    assert (pca["mean"].shape, pca["std"].shape) == ((1, 8), (len(cards),))


def test_the_shapes_that_the_tools_read(tmp_path):
    card = sample_card(shape=(512,))
    exported([card], tmp_path / "ifg", "npy", layout="interfacegan")
    exported([card], tmp_path / "sg3", "npy", layout="stylegan3-editing")
    exported([card], tmp_path / "e4e", "pt", layout="e4e")
    exported([card], tmp_path / "tied", "pt", layout="e4e", rows=18)
    for folder, ending, shape in (
        ("ifg", ".npy", (1, 512)),
        ("sg3", ".npy", (1, 512)),
        ("e4e", ".pt", (1, 512)),
        ("tied", ".pt", (1, 18, 512)),
    ):
        found = read(the_file(tmp_path / folder, ending))
        assert (found.shape, found.dtype) == (shape, np.float32)
        assert (found.reshape(-1, 512) == card.vector).all()


@pytest.mark.parametrize("form", ["npy", "pt"])
@pytest.mark.parametrize("layers", [(), (0, 2)])
@pytest.mark.parametrize("shape", [(8,), (3, 8)])
@pytest.mark.parametrize(
    ("scale", "unit"), [("unit", "norm"), ("sigma", "sigma"), ("calibration", "attribute")]
)
def test_adding_the_file_to_latents_is_applying_the_card(
    tmp_path, rng, form, layers, shape, scale, unit
):
    """What e4e, PTI and stylegan3-editing do: latents (N, num_ws, D) + factor * file."""
    card = sample_card(shape=shape, layers=layers, calibration=Calibration(-0.4, -9, 9))
    exported([card], tmp_path, form, rows=3, scale=scale)
    w_plus = rng.standard_normal((2, 3, 8)).astype(np.float32)
    added = w_plus + 1.5 * read(the_file(tmp_path, f".{form}"))
    np.testing.assert_allclose(added, apply_card(w_plus, card, HERE, 1.5, unit), atol=1e-6)


def test_walking_ganspace_components_is_applying_the_card(tmp_path, rng):
    """GANSpace adds sigma * stdev * component to the rows from start to end."""
    cards = [sample_card(seed, layers=(0, 1)) for seed in range(2)]
    assert any("rows" in note for note in exported(cards, tmp_path, "ganspace").notes)
    w_plus = rng.standard_normal((2, 3, 8)).astype(np.float32)
    with np.load(tmp_path / "components.npz", allow_pickle=False) as found:
        moved = w_plus.copy()
        moved[:, 0:2] += 2.0 * found["lat_stdev"][1] * found["lat_comp"][1]
    np.testing.assert_allclose(moved, apply_card(w_plus, cards[1], HERE, 2.0, "sigma"), atol=1e-6)


@pytest.mark.parametrize(("scale", "step"), [("unit", 1.0), ("sigma", 0.5), ("calibration", -0.3)])
def test_a_scale_multiplies_in_float64(scale, step):
    card = sample_card(sigma=0.5, calibration=Calibration(-0.3, -1, 1))
    expected = (card.vector.astype(np.float64) * step).astype(np.float32)
    np.testing.assert_array_equal(laid_out(card, scale), expected)


def test_layers_of_one_row_need_rows_but_for_safetensors(tmp_path):
    card = sample_card(layers=(1,))
    with pytest.raises(InputError, match="--rows"):
        exported([card], tmp_path, "npy")
    exported([card], tmp_path, "safetensors")
    with safe_open(the_file(tmp_path, ".safetensors"), "np") as found:
        about = found.metadata()
        assert found.get_tensor("direction").shape == (8,)
    assert (about["layers"], about["attribute"], about["scale"]) == ("1", "smile", "unit")
    assert (about["generator_licence"], about["direction_id"]) == ("Apache-2.0", card.direction_id)


@pytest.mark.parametrize(
    ("card", "form", "options", "said"),
    [
        (sample_card(), "npz", {}, "unknown format"),
        (sample_card(), "npy", {"scale": "sigmas"}, "did you mean 'sigma'"),
        (sample_card(), "npy", {"layout": "e4"}, "did you mean 'e4e'"),
        (sample_card(), "pt", {"layout": "interfacegan"}, "does not read pt.*--format npy"),
        (sample_card(), "npy", {"layout": "ganspace"}, "does not read npy"),
        (sample_card(space="z"), "pt", {"layout": "e4e"}, "lies in z"),
        (sample_card(space="s"), "npy", {"layout": "stylegan3-editing"}, "lies in s"),
        (sample_card(space="z"), "ganspace", {}, "lies in z"),
        (sample_card(space="z"), "npy", {"rows": 18}, "lies in z"),
        (sample_card(shape=(3, 8), space="w+"), "npy", {"layout": "interfacegan"}, "lies in w\\+"),
        (sample_card(shape=(3, 8)), "npy", {"layout": "interfacegan"}, "rows of W"),
        (sample_card(shape=(3, 8)), "ganspace", {}, "do not fit"),
        (sample_card(shape=(3, 8)), "pt", {"rows": 18}, "has 3 rows"),
        (sample_card(layers=(20,)), "pt", {"rows": 18}, "0 to 17"),
        (sample_card(), "pt", {"rows": 0}, "1 to"),
        (sample_card(), "npy", {"layout": "interfacegan", "scale": "sigma"}, "norm 1"),
        (sample_card(), "npy", {"layout": "interfacegan", "rows": 3}, "rows of W"),
        (sample_card(), "ganspace", {"rows": 3}, "leave --rows out"),
        (sample_card(), "npy", {"mean": np.zeros(8)}, "leave --mean out"),
        (sample_card(), "pt", {"layout": "ganspace"}, "--mean"),
        (sample_card(), "json", {"layout": "e4e"}, "does not read json"),
        (sample_card(), "json", {"scale": "sigma"}, "whole cards"),
        (sample_card(), "bundle", {"rows": 18}, "whole cards"),
        (sample_card(), "ganspace", {"mean": np.zeros(9)}, "expected \\(8,\\)"),
        (sample_card(), "npy", {"scale": "calibration"}, "not measured"),
        (sample_card(sigma=math.nan), "npy", {"scale": "sigma"}, "not measured"),
        (sample_card(sigma=1e300), "npy", {"scale": "sigma"}, "beyond what float32"),
        (sample_card(sigma=1e-300), "npy", {"scale": "sigma"}, "beyond what float32"),
    ],
)
def test_what_a_tool_would_misread_is_refused_before_anything_is_written(
    tmp_path, card, form, options, said
):
    with pytest.raises(InputError, match=said):
        exported([sample_card(9), card], tmp_path / "out", form, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["npy", "pt", "safetensors", "ganspace"])
def test_an_artefact_goes_into_a_bundle_only(tmp_path, form):
    card = sample_card(vector=np.zeros(0, "f4"), artefact=Artefact("flow", "0" * 64, 3))
    with pytest.raises(InputError, match="flow|do not fit"):
        exported([card], tmp_path, form)


def test_two_generators_do_not_share_a_file_of_components(tmp_path):
    cards = [sample_card(), sample_card(1, generator_fingerprint="cd" * 32)]
    with pytest.raises(InputError, match="2 generators"):
        exported(cards, tmp_path, "ganspace")


def test_a_missing_mean_is_pointed_out(tmp_path):
    notes = exported([sample_card()], tmp_path, "ganspace").notes
    assert any("--mean" in note for note in notes)
    assert "--mean" in (tmp_path / "README.txt").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_readme_says_where_a_file_goes_and_whose_it_is(tmp_path, layout):
    card = sample_card(source="github.com/a/b", licence="MIT")
    options = {"mean": np.zeros(8)} if layout == "ganspace" else {}
    form = LAYOUTS[layout].formats[-1]
    made = exported([card], tmp_path, form, layout=layout, **options)
    text = (tmp_path / "README.txt").read_text()
    assert LAYOUTS[layout].place in text and card.direction_id in text
    assert "generator head: Apache-2.0" in text and "github.com/a/b: MIT" in text
    assert made.licences == ("generator head: Apache-2.0", "directions from github.com/a/b: MIT")
    found = json.loads((tmp_path / "licences.json").read_text())["files"]
    (about,) = found.values()
    assert about["direction_id"] == card.direction_id and about["licence"] == "MIT"
