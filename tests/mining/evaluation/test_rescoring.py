"""Re-scoring recovers slopes that were planted, with a generator and extractors small but real."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from mining.evaluation.rescoring import RescoringConfig, measure_bases, rescore
from mining.evaluation.response import (
    bootstrap_mean,
    identity_cost,
    identity_slopes,
    respond,
)
from mining.evaluation.scalars import scalar_pairs
from mining.extractors.base import NO_FACE, NOT_MEASURED, OK, Column, Extractor, Measurement
from mining.generators.base import Generator
from schemas.errors import InputError

DIM, ROWS, SIDE = 8, 2, 16


class Pixels:
    """A linear generator: coordinate d of row 0 of W+ sets the grey of the d-th pair of columns."""

    name = "pixels"
    z_dim = w_dim = DIM
    num_ws = ROWS
    c_dim = 0
    resolution = SIDE
    spaces = ("w", "w+")
    layer_names = ("a", "b")
    licence = "none"

    def __init__(self) -> None:
        self.rendered = 0

    def fingerprint(self) -> str:
        return "0" * 64

    def mean_w(self) -> np.ndarray:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((count, DIM)).astype(np.float32)

    def map(self, z, psi=1.0, condition=None) -> np.ndarray:
        return psi * z

    def broadcast(self, w) -> np.ndarray:
        return np.repeat(w[:, None], ROWS, axis=1)

    def synthesize(self, w_plus, condition=None) -> np.ndarray:
        self.rendered += len(w_plus)
        grey = np.clip(np.rint(128 + 12 * w_plus[:, 0]), 0, 255).astype(np.uint8)
        lines = np.repeat(grey, SIDE // DIM, axis=1)
        return np.broadcast_to(lines[:, None, :, None], (len(w_plus), SIDE, SIDE, 3)).copy()


class Reader:
    """Reads coordinates back; finds no face where coordinate 7 is above 2."""

    name = "reader"
    columns = MappingProxyType(
        {
            "descriptor": Column((DIM,), "1", "every coordinate"),
            "faces": Column((), "1", "how many faces", "int32"),
        }
    )
    needs = ()
    licence = "none"

    def fingerprint(self) -> str:
        return "1" * 64

    def __call__(self, images, earlier) -> Measurement:
        read = (images[:, 0, :: SIDE // DIM, 0].astype(np.float64) - 128) / 12
        seen = read[:, 7] < 2
        status = tuple(OK if face else NO_FACE for face in seen)
        values = {"descriptor": np.where(seen[:, None], read, np.nan), "faces": seen.astype(int)}
        return Measurement(status, values)


class Angles:
    """Turns coordinates into attributes: yaw = 5 x0 + x1, tilt = -3 x1."""

    name = "angles"
    columns = MappingProxyType(
        {"yaw": Column((), "degrees", "turn"), "tilt": Column((), "degrees", "tilt")}
    )
    needs = ("reader",)
    licence = "none"

    def fingerprint(self) -> str:
        return "2" * 64

    def __call__(self, images, earlier) -> Measurement:
        read = earlier["reader"].values["descriptor"]
        seen = earlier["reader"].measured()
        # rows without a face carry rubbish on purpose: the status alone must keep it out
        yaw = np.where(seen, 5 * read[:, 0] + read[:, 1], 1e6)
        status = tuple(OK if face else NOT_MEASURED for face in seen)
        return Measurement(status, {"yaw": yaw, "tilt": -3 * read[:, 1]})


CONFIG = RescoringConfig(identities=12, batch=5, descriptor=("reader", "descriptor"))
NAMES = {"yaw": ("angles", "yaw"), "tilt": ("angles", "tilt")}
SPREADS = {"yaw": 5.0, "tilt": 3.0}


@pytest.fixture
def world(rng):
    generator, extractors = Pixels(), [Reader(), Angles()]
    w_plus = generator.broadcast(generator.sample_z(12, rng).clip(-1.5, 1.5))
    return generator, extractors, measure_bases(generator, extractors, w_plus, CONFIG)


def axis(number: int) -> np.ndarray:
    return np.eye(DIM)[number]


def test_the_toys_fit_the_protocols():
    assert isinstance(Pixels(), Generator)
    assert isinstance(Reader(), Extractor)
    assert isinstance(Angles(), Extractor)


def test_planted_slopes_are_recovered_in_latent_units_whatever_sigma_is(world):
    generator, extractors, bases = world
    for sigma in (0.5, 2.0):
        found = rescore(generator, extractors, axis(0), sigma, bases, CONFIG)
        yaw, tilt = respond(found, NAMES, SPREADS, CONFIG)
        # a grey level is 1/12 of a unit, so one slope is off by 0.03 at most, their mean less
        assert yaw.per_step == pytest.approx(5.0, abs=0.15)
        assert yaw.low <= yaw.per_step <= yaw.high
        assert (yaw.unit, yaw.relative) == ("degrees", pytest.approx(1.0, abs=0.03))
        assert tilt.per_step == pytest.approx(0.0, abs=1e-12)
    slanted = rescore(generator, extractors, (axis(0) + axis(1)) / np.sqrt(2), 1.0, bases, CONFIG)
    yaw, tilt = respond(slanted, NAMES, SPREADS, CONFIG)
    assert yaw.per_step == pytest.approx(6 / np.sqrt(2), abs=0.1)
    assert tilt.per_step == pytest.approx(-3 / np.sqrt(2), abs=0.1)


def test_the_unedited_images_are_rendered_once_and_stand_at_step_zero(world):
    generator, extractors, bases = world
    assert generator.rendered == 12
    found = rescore(generator, extractors, axis(0), 0.5, bases, CONFIG)
    assert generator.rendered == 12 + 4 * 12
    np.testing.assert_allclose(found.steps, [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert found.values.shape == (12, 5, 2)
    np.testing.assert_array_equal(found.values[:, 2], bases.measured.values)
    np.testing.assert_array_equal(found.distances[:, 2], 0.0)
    assert [len(row) for row in found.thumbnails] == [5, 5]
    assert found.thumbnails[1][2] == bases.thumbnails[1]
    assert all(picture.startswith(b"\xff\xd8") for row in found.thumbnails for picture in row)


def test_the_batch_size_changes_nothing(world):
    generator, extractors, bases = world
    whole = RescoringConfig(identities=12, batch=1000, descriptor=CONFIG.descriptor)
    one = rescore(generator, extractors, axis(1), 0.7, bases, CONFIG)
    other = rescore(generator, extractors, axis(1), 0.7, bases, whole)
    np.testing.assert_array_equal(one.values, other.values)
    assert one.thumbnails == other.thumbnails
    assert one.statuses == other.statuses


def test_layers_and_vectors_of_w_plus_reach_the_images(world):
    generator, extractors, bases = world
    unread = rescore(generator, extractors, axis(0), 1.0, bases, CONFIG, layers=(1,))
    assert respond(unread, NAMES, SPREADS, CONFIG)[0].per_step == 0.0
    vector = np.zeros((ROWS, DIM))
    vector[0, 0] = 1.0
    read = rescore(generator, extractors, vector, 1.0, bases, CONFIG)
    assert respond(read, NAMES, SPREADS, CONFIG)[0].per_step == pytest.approx(5.0, abs=0.15)


def test_an_edit_stands_in_for_the_vector(world):
    generator, extractors, bases = world
    asked = []

    def edit(w_plus, steps):
        asked.append(steps)
        moved = w_plus.copy()
        moved[:, 0, 0] += np.float32(2) * steps.astype(np.float32)
        return moved

    found = rescore(generator, extractors, axis(1), 0.5, bases, CONFIG, edit=edit)
    np.testing.assert_array_equal(asked[0][:4], [-1.0, -0.5, 0.5, 1.0])
    np.testing.assert_allclose(found.steps, [-1.0, -0.5, 0.0, 0.5, 1.0])
    yaw, tilt = respond(found, NAMES, SPREADS, CONFIG)
    assert yaw.per_step == pytest.approx(10.0, abs=0.3) and tilt.per_step == 0.0


def test_lost_faces_are_counted_and_kept_out(world):
    generator, extractors, bases = world
    found = rescore(generator, extractors, axis(7), 4.0, bases, CONFIG)
    lost = found.statuses["reader"][NO_FACE]
    assert 12 <= lost <= 24  # the steps of +1 and +2 sigma, at most
    assert sum(found.statuses["reader"].values()) == 48
    assert found.statuses["angles"][NOT_MEASURED] == lost
    assert np.isnan(found.values).any(axis=2).sum() == lost
    yaw = respond(found, NAMES, SPREADS, CONFIG)[0]
    assert yaw.per_step == pytest.approx(0.0, abs=1e-12)


def test_the_cost_in_identity_is_the_distance_at_one_sigma(world):
    generator, extractors, bases = world
    found = rescore(generator, extractors, axis(2), 1.5, bases, CONFIG)
    assert identity_cost(found) == pytest.approx(1.5, abs=0.05)
    wide = RescoringConfig(
        identities=12, steps=(-0.5, 0.5, 2.0), descriptor=CONFIG.descriptor, thumbnails=0
    )
    between = rescore(generator, extractors, axis(2), 1.5, bases, wide)
    assert identity_cost(between) == pytest.approx(1.5, abs=0.05)  # interpolated on the right
    assert between.thumbnails == ()
    short = RescoringConfig(identities=12, steps=(-0.5, 0.5), descriptor=CONFIG.descriptor)
    assert np.isnan(identity_cost(rescore(generator, extractors, axis(2), 1.5, bases, short)))


def test_cosines_are_those_of_the_descriptors_before_and_after(world):
    generator, extractors, bases = world
    found = rescore(generator, extractors, axis(0), 0.5, bases, CONFIG)
    before = bases.measured.descriptors
    for place, step in enumerate(found.steps):
        after = before + step * axis(0)  # a grey level is 1/12 of a unit
        norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        np.testing.assert_allclose(
            found.cosines[:, place], (before * after).sum(1) / norms, atol=0.03
        )
    np.testing.assert_allclose(found.cosines[:, 2], 1.0, atol=1e-12)


def test_without_descriptors_the_cost_is_unknown(rng):
    generator, extractors = Pixels(), [Reader(), Angles()]
    config = RescoringConfig(identities=3)  # looks for dlib's descriptor, which nobody gives
    w_plus = generator.broadcast(generator.sample_z(3, rng))
    bases = measure_bases(generator, extractors, w_plus, config)
    found = rescore(generator, extractors, axis(0), 1.0, bases, config)
    assert np.isnan(found.distances).all()
    assert np.isnan(identity_cost(found))


def test_only_scalar_floats_are_attributes():
    pairs, units = scalar_pairs([Reader(), Angles()])
    assert pairs == (("angles", "yaw"), ("angles", "tilt"))
    assert units == ("degrees", "degrees")


def test_slopes_need_the_unedited_point_and_half_of_the_others():
    steps = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    values = 3.0 * steps + np.array([[1.0], [2.0], [3.0], [4.0]])
    values[1, 2] = np.nan  # no unedited point
    values[2, [0, 1, 3]] = np.nan  # one edited point of four
    values[3, [0, 1]] = np.nan  # two of four
    np.testing.assert_allclose(identity_slopes(steps, values), [3.0, np.nan, np.nan, 3.0])


def test_intervals_are_seeded_and_cover_the_mean():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        mean, low, high = bootstrap_mean(rng.normal(2.0, 1.0, 20), 300, 0)
        covered += low <= 2.0 <= high
        assert low <= mean <= high
    assert covered >= 176  # percentile intervals of 20 values cover about 92 to 93 %
    values = np.array([1.0, 2.0, np.nan, 5.0])
    assert bootstrap_mean(values, 100, 7) == bootstrap_mean(values, 100, 7)
    assert np.isnan(bootstrap_mean(np.array([np.nan]), 10, 0)).all()
    single = bootstrap_mean(np.array([2.0]), 10, 0)
    assert single[0] == 2.0 and np.isnan(single[1:]).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"identities": 0}, "identities is 0, expected at least 1"),
        ({"steps": ()}, "expected different steps"),
        ({"steps": (0.0, 1.0)}, "none of them 0"),
        ({"steps": (1.0, 1.0)}, "expected different steps"),
        ({"steps": (float("nan"),)}, "not all finite"),
        ({"bootstrap": 0}, "bootstrap is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"thumbnails": -1}, "thumbnails is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        RescoringConfig(**settings)


def test_what_does_not_fit_is_refused(world):
    generator, extractors, bases = world
    with pytest.raises(InputError, match=r"sigma is 0.0"):
        rescore(generator, extractors, axis(0), 0.0, bases, CONFIG)
    with pytest.raises(InputError, match="other extractors"):
        rescore(generator, extractors[:1], axis(0), 1.0, bases, CONFIG)
    with pytest.raises(InputError, match=r"\(3, 8\) came"):
        measure_bases(generator, extractors, np.zeros((3, DIM), np.float32), CONFIG)
    found = rescore(generator, extractors, axis(0), 1.0, bases, CONFIG)
    with pytest.raises(InputError, match="no attribute angles.smile"):
        respond(found, {"smile": ("angles", "smile")}, {}, CONFIG)
    with pytest.raises(InputError, match="spread of 'yaw' is -1.0"):
        respond(found, NAMES, {"yaw": -1.0}, CONFIG)
