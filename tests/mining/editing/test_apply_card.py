"""A card moves only what it was mined from, in the unit asked for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mining.editing.apply import apply_card, apply_direction
from schemas.directions import Artefact, Calibration, DirectionCard
from schemas.errors import InputError
from tests.storage.sample_cards import sample_card

HERE = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def w_plus(rng) -> np.ndarray:
    return rng.standard_normal((4, 3, 8)).astype(np.float32)


def calibrated(**changes) -> DirectionCard:
    return sample_card(calibration=Calibration(-0.25, low=-2.0, high=4.0), **changes)


@pytest.mark.parametrize("shape", [(8,), (3, 8)])
@pytest.mark.parametrize("layers", [(), (0, 2)])
def test_a_card_moves_as_its_vector_does(w_plus, shape, layers):
    card = sample_card(shape=shape, space="w" if len(shape) == 1 else "w+", layers=layers)
    moved = apply_card(w_plus, card, HERE, 1.5)
    np.testing.assert_array_equal(moved, apply_direction(w_plus, card.vector, 1.5, layers))
    assert not np.array_equal(moved, w_plus)


@pytest.mark.parametrize(("unit", "norms"), [("norm", 2.0), ("sigma", 1.0), ("attribute", -0.5)])
def test_a_step_counts_norms_natural_steps_or_units_of_the_attribute(w_plus, unit, norms):
    card = calibrated(sigma=0.5)
    moved = apply_card(w_plus, card, HERE, 2.0, unit)
    np.testing.assert_allclose(
        moved - w_plus, norms * np.broadcast_to(card.vector, moved.shape), atol=1e-6
    )


def test_every_latent_can_have_its_own_change(w_plus):
    card = calibrated()
    moved = apply_card(w_plus, card, HERE, np.arange(4.0), "attribute")
    along = (moved - w_plus) @ card.vector
    np.testing.assert_allclose(along, -0.25 * np.arange(4)[:, None] * np.ones(3), atol=1e-6)


def test_a_card_of_another_generator_is_refused_unless_it_is_to_be_tried(w_plus):
    card = sample_card()
    with pytest.raises(InputError, match=f"{HERE[:16]}.*{OTHER[:16]}.*another_generator=True"):
        apply_card(w_plus, card, OTHER, 1.0)
    with pytest.warns(UserWarning, match="may change something else"):
        moved = apply_card(w_plus, card, OTHER, 1.0, another_generator=True)
    np.testing.assert_array_equal(moved, apply_card(w_plus, card, HERE, 1.0))


def test_an_imported_card_without_a_checkpoint_fits_no_generator(w_plus):
    with pytest.raises(InputError, match="name:stylegan"):
        apply_card(w_plus, sample_card(generator_fingerprint="name:stylegan"), HERE, 1.0)


def test_the_flag_alone_warns_of_nothing(w_plus):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_card(w_plus, sample_card(), HERE, 1.0, another_generator=True)


@pytest.mark.parametrize("change", [4.5, -2.5, np.array([0, 0, 0, 5.0])])
def test_a_change_beyond_the_calibration_is_made_with_a_warning(w_plus, change):
    with pytest.warns(UserWarning, match="from -2 to 4"):
        apply_card(w_plus, calibrated(), HERE, change, "attribute")


def test_a_change_at_the_ends_of_the_calibration_warns_of_nothing(w_plus):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_card(w_plus, calibrated(), HERE, np.array([-2.0, 0, 1, 4]), "attribute")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"space": "z"}, "generator.map"),
        ({"space": "s"}, "inside the generator"),
        (
            {"artefact": Artefact("regressor", "0" * 64, 5), "vector": np.zeros(0, "f4")},
            "regressor",
        ),
        ({"shape": (2, 8), "space": "w+"}, "do not fit"),
    ],
)
def test_what_cannot_be_added_to_w_plus_is_refused_with_what_to_do(w_plus, changes, hint):
    with pytest.raises(InputError, match=hint):
        apply_card(w_plus, sample_card(**changes), HERE, 1.0)


@pytest.mark.parametrize("unit", ["sigma", "attribute"])
def test_a_unit_that_was_not_measured_is_refused(w_plus, unit):
    with pytest.raises(InputError, match="was not measured"):
        apply_card(w_plus, sample_card(sigma=float("nan")), HERE, 1.0, unit)


def test_an_unknown_unit_is_refused(w_plus):
    with pytest.raises(InputError, match="did you mean 'sigma'"):
        apply_card(w_plus, sample_card(), HERE, 1.0, "sigmas")
