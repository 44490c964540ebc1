"""Directions without scores: planted axes of W, planted axes of a generator's weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.base import check_layers, signed
from mining.methods.pca import PcaConfig, mine_pca
from mining.methods.registry import CONFIGS, UNSUPERVISED_METHODS, load_method, make_config
from mining.methods.sefa import SefaConfig, mine_sefa
from schemas.errors import InputError

WIDTH, ROWS = 12, 4000


@pytest.fixture(scope="module")
def axes() -> np.ndarray:
    """(WIDTH, WIDTH) orthonormal columns."""
    return np.linalg.qr(np.random.default_rng(3).normal(size=(WIDTH, WIDTH)))[0]


@pytest.fixture(scope="module")
def latents(axes) -> np.ndarray:
    """Rows that spread 4, 2.8, 2, ... along the axes, around a far centre."""
    rng = np.random.default_rng(4)
    return 7 + (rng.normal(size=(ROWS, WIDTH)) * 4 * 0.7 ** np.arange(WIDTH)) @ axes.T


@pytest.fixture(scope="module")
def styles(axes) -> tuple[dict, dict]:
    """Three layers of channels; each answers to one axis most, and to the next half as much."""
    rng = np.random.default_rng(5)
    weights = {}
    for layer, (channels, strength) in enumerate(((30, 1.0), (50, 20.0), (20, 0.1))):
        amounts = 0.05 * rng.normal(size=(channels, WIDTH))
        amounts[:, layer] += rng.choice([-1.0, 1.0], channels)
        weights[f"layer{layer}"] = (strength * amounts @ axes.T).astype(np.float32)
    return weights, {"layer0": 0, "layer1": 1, "layer2": 3}


def mine(name: str, latents, styles, **settings):
    given = (latents,) if name == "pca" else styles
    return load_method(name)(*given, make_config(name, **settings))


every_method = pytest.mark.parametrize("name", UNSUPERVISED_METHODS)


@every_method
def test_directions_are_orthonormal_named_in_order_and_carry_finite_evidence(name, latents, styles):
    found = mine(name, latents, styles, components=5)
    stem = {"pca": "pc", "sefa": "sefa"}[name]
    assert [direction.attribute for direction in found] == [f"{stem}{k}" for k in range(1, 6)]
    vectors = np.stack([direction.vector for direction in found])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e-10)
    for direction in found:
        assert (direction.method, direction.unit, direction.space) == (name, "1", "w")
        assert np.isnan(direction.slope)
        assert all(np.isfinite(value) for value in direction.evidence.values())
    shares = [direction.evidence["share"] for direction in found]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


@every_method
def test_the_same_input_gives_the_same_bits_and_is_left_alone(name, latents, styles):
    before = latents.copy(), {key: value.copy() for key, value in styles[0].items()}
    one, two = (mine(name, latents, styles) for _ in range(2))
    assert [d.vector.tobytes() for d in one] == [d.vector.tobytes() for d in two]
    np.testing.assert_array_equal(latents, before[0])
    for key, value in styles[0].items():
        np.testing.assert_array_equal(value, before[1][key])


@every_method
def test_the_largest_entry_is_positive(name, latents, styles):
    for direction in mine(name, latents, styles):
        assert direction.vector[np.abs(direction.vector).argmax()] > 0


@every_method
def test_layers_are_the_rows_from_the_first_up_to_the_last(name, latents, styles):
    found = mine(name, latents, styles, components=2, layers=(1, 3))
    assert {direction.layers for direction in found} == {(1, 2)}
    # other rows are another direction: no lineage of the catalogue holds both
    stem = {"pca": "pc", "sefa": "sefa"}[name]
    assert [direction.attribute for direction in found] == [f"{stem}1@1-2", f"{stem}2@1-2"]
    assert mine(name, latents, styles, components=1)[0].layers == ()


@every_method
def test_settings_are_frozen_hashed_and_checked(name):
    config = make_config(name, layers=[0, 8])
    assert config.layers == (0, 8) and hash(config) == hash(make_config(name, layers=(0, 8)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.components = 3
    for wrong in ({"components": 0}, {"layers": (3, 3)}, {"layers": (-1, 2)}, {"layers": (1,)}):
        with pytest.raises(InputError, match=name):
            make_config(name, **wrong)
    assert name in CONFIGS


@every_method
def test_more_directions_than_there_are_numbers_are_refused(name, latents, styles):
    with pytest.raises(InputError, match="components is 13"):
        mine(name, latents, styles, components=13)


def test_pca_finds_the_widest_axes_and_their_variance(latents, axes):
    for k, direction in enumerate(mine_pca(latents, PcaConfig(components=4))):
        assert abs(direction.vector @ axes[:, k]) > 0.995  # under 5.7 degrees apart
        variance = (latents @ direction.vector).var(ddof=1)
        assert direction.evidence["variance"] == pytest.approx(variance)
        assert direction.evidence["variance"] == pytest.approx(16 * 0.49**k, rel=0.1)


def test_pca_does_not_care_for_the_order_of_rows_or_the_centre(latents, rng):
    config = PcaConfig(components=6)
    moved = mine_pca(latents[rng.permutation(ROWS)] - 40, config)
    for one, two in zip(mine_pca(latents, config), moved, strict=True):
        np.testing.assert_allclose(one.vector, two.vector, atol=1e-8)


def test_pca_reads_rows_in_parts_whatever_their_type(axes):
    """More rows than one part holds; float32 far from its centre."""
    rng = np.random.default_rng(6)
    wide = 50 + (rng.normal(size=(20000, WIDTH)) * 0.7 ** np.arange(WIDTH)) @ axes.T
    narrow = wide.astype(np.float32)
    values, vectors = np.linalg.eigh(np.cov(narrow.astype(np.float64), rowvar=False))
    for k, direction in enumerate(mine_pca(narrow, PcaConfig(components=4))):
        assert abs(direction.vector @ vectors[:, -1 - k]) == pytest.approx(1)
        assert direction.evidence["variance"] == pytest.approx(values[-1 - k])


def test_pca_works_where_there_are_fewer_rows_than_numbers(rng):
    few = rng.normal(size=(6, 40))
    found = mine_pca(few, PcaConfig(components=5))
    left = few - few.mean(axis=0)
    for direction in found:
        left = left - np.outer(left @ direction.vector, direction.vector)
    np.testing.assert_allclose(left, 0, atol=1e-10)


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (np.zeros((30, 4)), "do not spread along 2"),
        (np.eye(30)[:, :1] * np.ones(4), "do not spread along 2"),
        (np.ones(5), r"\(5,\) came"),
        (np.full((9, 4), np.nan), "finite"),
        (np.eye(2, 4), "span 1 at most"),
    ],
)
def test_pca_refuses_what_has_no_axes(latents, said):
    with pytest.raises(InputError, match=f"pca: .*{said}"):
        mine_pca(latents, PcaConfig(components=2))


def test_sefa_finds_what_the_styles_answer_to_whatever_their_scale(styles, axes):
    """Layer 1 has weights twenty times as large, yet channels count alike: 50, 30, 20."""
    found = mine_sefa(*styles, SefaConfig(components=3))
    for direction, axis in zip(found, (1, 0, 2), strict=True):
        assert abs(direction.vector @ axes[:, axis]) > 0.99
    values = [direction.evidence["eigenvalue"] for direction in found]
    np.testing.assert_allclose(values, [50, 30, 20], rtol=0.1)
    assert {direction.evidence["channels"] for direction in found} == {100}


def test_sefa_is_the_definition(styles):
    """Each direction is stationary for |A n|, which is the square root of its eigenvalue."""
    stacked = np.concatenate(list(styles[0].values())).astype(np.float64)
    stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
    for direction in mine_sefa(*styles, SefaConfig(components=WIDTH)):
        value = direction.evidence["eigenvalue"]
        np.testing.assert_allclose(
            stacked.T @ (stacked @ direction.vector), value * direction.vector, atol=1e-9
        )
        assert np.linalg.norm(stacked @ direction.vector) ** 2 == pytest.approx(value)


def test_sefa_reads_the_chosen_layers_alone(styles, axes):
    (first,) = mine_sefa(*styles, SefaConfig(components=1, layers=(3, 4)))
    assert abs(first.vector @ axes[:, 2]) > 0.99
    assert (first.layers, first.evidence["channels"]) == ((3,), 20)
    with pytest.raises(InputError, match="no layer reads the rows 4 to 8"):
        mine_sefa(*styles, SefaConfig(layers=(4, 9)))


def test_sefa_refuses_weights_that_do_not_fit(styles):
    weights, rows = styles
    with pytest.raises(InputError, match="do not name the same"):
        mine_sefa(weights, {"layer0": 0})
    with pytest.raises(InputError, match="one D"):
        mine_sefa({**weights, "layer2": np.ones((3, WIDTH + 1))}, rows)
    with pytest.raises(InputError, match="NaN"):
        mine_sefa({**weights, "layer2": np.full((3, WIDTH), np.nan)}, rows)
    with pytest.raises(InputError, match="all zero"):
        mine_sefa({"layer0": np.zeros((3, WIDTH))}, {"layer0": 0})
    with pytest.raises(InputError, match="no layer reads"):
        mine_sefa({}, {})


def test_sefa_gives_no_direction_that_no_style_answers_to():
    """An input of four numbers, as StyleGAN3 has in row 0, answers to four directions."""
    weights = {"input": np.random.default_rng(7).normal(size=(4, WIDTH))}
    assert len(mine_sefa(weights, {"input": 0}, SefaConfig(components=4))) == 4
    with pytest.raises(InputError, match="do not answer to 5 directions; ask for fewer"):
        mine_sefa(weights, {"input": 0}, SefaConfig(components=5))


def test_a_channel_of_zeros_changes_nothing(styles):
    weights, rows = styles
    padded = {**weights, "layer0": np.r_[weights["layer0"], np.zeros((1, WIDTH), np.float32)]}
    for one, two in zip(mine_sefa(weights, rows), mine_sefa(padded, rows), strict=True):
        np.testing.assert_allclose(one.vector, two.vector, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_signs_are_fixed_whatever_they_were(width, count, seed):
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(width, count))
    flipped = axes * rng.choice([-1.0, 1.0], count)
    np.testing.assert_array_equal(signed(axes), signed(flipped))
    np.testing.assert_array_equal(np.abs(signed(axes)), np.abs(axes))


@given(st.lists(st.integers(-2, 6), max_size=4))
def test_layers_are_two_rows_in_order_or_refused(layers):
    if len(layers) == 2 and 0 <= layers[0] < layers[1]:
        assert check_layers("sefa", layers) == tuple(layers)
    else:
        with pytest.raises(InputError, match="expected \\[first, last\\]"):
            check_layers("sefa", layers)
