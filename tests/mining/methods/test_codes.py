"""Directions of codes: against the definition, on regressors whose Jacobian is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mining.methods import codes as subject
from mining.methods.codes import CodesConfig, columns, mine_codes, part_of, pseudo_inverse
from mining.methods.control import ControlModel
from mining.methods.regressor import Regressor
from mining.methods.shape_model import ShapeModel
from schemas.errors import InputError

WIDTH, MODES, POINTS, ROWS = 20, 3, 9, 60
NAMES = ("k11", "k12", "k22", "pitch", "yaw", "roll", "alpha_0", "alpha_1", "alpha_2", "t_x", "t_y")
SPREAD = np.geomspace(1e-3, 0.5, len(NAMES))


def planted(rng, hidden: int = 0, spread=SPREAD) -> ControlModel:
    """A linear regressor, or one that bends at `hidden` units. Of the shape only names are read."""
    shape = ShapeModel(
        rng.normal(size=(3, POINTS)),
        rng.normal(size=(MODES, POINTS)),
        np.eye(3),
        np.empty((0, len(NAMES))),
        objective=0.0,
        relative_residual=0.1,
        rms=0.0,
        rank_share=1.0,
        metric=True,
    )
    if hidden:
        first, bias = rng.normal(size=(hidden, WIDTH)), rng.normal(size=hidden)
    else:
        first, bias = np.eye(WIDTH), np.full(WIDTH, 100.0)  # units that are always on
    weights = (first, rng.normal(size=(len(NAMES), len(first))))
    biases = (bias, rng.normal(size=len(NAMES)))
    regressor = Regressor(
        weights=weights,
        biases=biases,
        centre=np.zeros(WIDTH),
        radius=4.0,
        mean=np.zeros(len(NAMES)),
        spread=np.asarray(spread, np.float64),
        train_loss=(1.0,),
        held_out_loss=(1.0,),
        held_out_landmarks=(1.0,),
        best_epoch=0,
    )
    return ControlModel(shape, regressor)


def found(control, latents, **settings):
    return {x.attribute: x for x in mine_codes(control, latents, CodesConfig(**settings))}


def test_of_a_linear_regressor_a_column_moves_its_code_and_no_other(rng):
    control, latents = planted(rng), rng.normal(size=(ROWS, WIDTH))
    moved = found(control, latents, cutoff=0.0)
    assert tuple(moved) == NAMES == control.shape.names
    jacobian = SPREAD[:, None] * control.regressor.weights[1]
    inverse = np.linalg.pinv(jacobian)
    for place, direction in enumerate(moved.values()):
        column = inverse[:, place]
        np.testing.assert_allclose(direction.vector, column / np.linalg.norm(column), atol=1e-9)
        change = jacobian @ direction.vector
        np.testing.assert_allclose(np.delete(change / SPREAD, place), 0, atol=1e-9)
        said = direction.evidence
        unit = 180 / np.pi if place in (3, 4, 5) else 1.0
        assert said["regressor_slope"] == pytest.approx(change[place] * unit)
        assert said["length"] * said["regressor_slope"] == pytest.approx(1)
        assert said["agreement"] == pytest.approx(1) and said["spread"] < 1e-6
        assert said["reach"] == pytest.approx(1) and said["crosstalk"] < 1e-9
        assert (said["cut"], said["rows"]) == (0, ROWS)


def test_angles_are_in_degrees_and_have_a_slope_the_others_have_none(rng):
    control = planted(rng)
    moved = found(control, rng.normal(size=(400, WIDTH)), hold=[])
    for name, direction in moved.items():
        angle = name in ("pitch", "yaw", "roll")
        assert direction.unit == ("degrees" if angle else "1")
        assert np.isfinite(direction.slope) == angle
        if angle:  # a linear reading's ridge slope is its gradient
            assert direction.slope == pytest.approx(direction.evidence["regressor_slope"], rel=1e-3)


def test_with_nothing_held_a_column_is_the_gradient(rng):
    control, latents = planted(rng, hidden=30), rng.normal(size=(ROWS, WIDTH))
    jacobian = control.regressor.jacobian(latents)
    for place, direction in enumerate(found(control, latents, hold=[]).values()):
        steps = jacobian[:, place] / (jacobian[:, place] ** 2).sum(axis=1, keepdims=True)
        mean = steps.mean(axis=0)
        np.testing.assert_allclose(direction.vector, mean / np.linalg.norm(mean), atol=1e-9)


def test_only_the_held_parts_stay(rng):
    """Of a code that is not held itself: it moves alone among those that are."""
    control, latents = planted(rng), rng.normal(size=(ROWS, WIDTH))
    jacobian = SPREAD[:, None] * control.regressor.weights[1]
    held = [3, 4, 5, 9, 10]
    for place, direction in enumerate(found(control, latents, hold=["pose", "place"]).values()):
        rows = [*held, *([] if place in held else [place])]
        column = np.linalg.pinv(jacobian[rows])[:, rows.index(place)]
        np.testing.assert_allclose(direction.vector, column / np.linalg.norm(column), atol=1e-9)
        assert direction.evidence["crosstalk"] > 0.01  # those that are free go along


def test_mean_agreement_and_spread_are_those_of_the_single_columns(rng, monkeypatch):
    control, latents = planted(rng, hidden=40), rng.normal(size=(ROWS, WIDTH))
    whole = found(control, latents)
    scaled = control.regressor.jacobian(latents) / SPREAD[:, None]
    inverse = np.linalg.pinv(scaled, rcond=0.02).transpose(0, 2, 1)
    sizes = np.linalg.svd(scaled, compute_uv=False)
    cut = (sizes.min(axis=1) < 0.02 * sizes[:, 0]).mean()
    for place, direction in enumerate(whole.values()):
        steps = inverse[:, place]
        mean = steps.mean(axis=0)
        size = np.linalg.norm(mean)
        cosines = steps @ mean / size / np.linalg.norm(steps, axis=1)
        away = np.sqrt(((steps - mean) ** 2).sum(axis=1).mean())
        said = direction.evidence
        np.testing.assert_allclose(direction.vector, mean / size, atol=1e-9)
        assert said["agreement"] == pytest.approx(cosines.mean())
        assert said["spread"] == pytest.approx(away / size)
        assert said["cut"] == cut
    monkeypatch.setattr(subject, "MEMORY", 1)  # one row a part
    for name, direction in found(control, latents).items():
        np.testing.assert_allclose(direction.vector, whole[name].vector, atol=1e-12)
        assert direction.evidence == pytest.approx(whole[name].evidence, rel=1e-9, abs=1e-9)


def test_the_inverse_is_that_of_numpy_and_the_reach_its_share(rng):
    jacobian = rng.normal(size=(30, 6, WIDTH))
    jacobian[:, 5] = jacobian[:, 4] + 1e-3 * rng.normal(size=(30, WIDTH))  # two that go together
    for cutoff, least in ((0.0, 0.999), (0.02, 0.4)):
        steps, reach, cut = pseudo_inverse(jacobian, cutoff)
        expected = np.linalg.pinv(jacobian, rcond=cutoff)
        np.testing.assert_allclose(steps, expected.transpose(0, 2, 1), rtol=1e-6, atol=1e-8)
        share = np.diagonal(jacobian @ expected, axis1=1, axis2=2)
        np.testing.assert_allclose(reach, share, atol=1e-7)
        assert reach.min() > least and cut.all() == cut.any() == bool(cutoff)
    assert reach[:, 4:].max() < 0.6  # each gets half of what was wanted of it alone


def test_a_gradient_of_zero_is_a_step_of_zero():
    steps, reach, cut = pseudo_inverse(np.zeros((2, 3, 4)), 0.02)
    assert not steps.any() and not reach.any() and cut.all()


def test_codes_that_are_not_wanted_are_not_made_but_held(rng):
    jacobian = rng.normal(size=(5, 4, WIDTH))
    whole, _, _ = columns(jacobian, np.arange(4), [0, 1, 2, 3], 0.0)
    some, _, _ = columns(jacobian, np.arange(3), [3], 0.0)
    np.testing.assert_allclose(some[:, 3], whole[:, 3], atol=1e-9)
    assert not some[:, :3].any()
    control, latents = planted(rng), rng.normal(size=(ROWS, WIDTH))
    two, all_of_them = found(control, latents, codes=["t_x", "yaw"]), found(control, latents)
    assert list(two) == ["yaw", "t_x"]  # in the order of q
    for name, direction in two.items():
        np.testing.assert_array_equal(direction.vector, all_of_them[name].vector)


def test_a_constant_code_has_no_direction_and_holds_nothing(rng):
    """k12 of cameras without shear: its row of J is noise that would be held as well."""
    spread = np.where(np.array(NAMES) == "k12", 1e-9, SPREAD)
    control, latents = planted(rng, spread=spread), rng.normal(size=(ROWS, WIDTH))
    moved = found(control, latents, cutoff=0.0)
    assert tuple(moved) == tuple(name for name in NAMES if name != "k12")
    rows = np.delete(SPREAD[:, None] * control.regressor.weights[1], 1, axis=0)
    column = np.linalg.pinv(rows)[:, 3]
    np.testing.assert_allclose(moved["yaw"].vector, column / np.linalg.norm(column), atol=1e-9)
    with pytest.raises(InputError, match="k12 is a constant of this model"):
        found(control, latents, codes=["k12"])


def test_rows_bound_what_is_read_and_their_choice_is_seeded(rng):
    control, latents = planted(rng, hidden=40), rng.normal(size=(300, WIDTH))
    some = found(control, latents, rows=40, hold=[])
    assert {x.evidence["rows"] for x in some.values()} == {40}
    again = found(control, latents[::-1], rows=40, hold=[])
    other = found(control, latents, rows=40, hold=[], seed=1)
    whole = found(control, latents.astype(np.float32), hold=[])
    for name, direction in some.items():
        assert direction.vector.tobytes() == again[name].vector.tobytes()
        assert direction.vector.tobytes() != other[name].vector.tobytes()
        assert direction.vector @ whole[name].vector > 0.9


def test_what_cannot_be_mined_is_told(rng):
    control, latents = planted(rng), rng.normal(size=(ROWS, WIDTH))
    with pytest.raises(InputError, match="unknown code 'alpha_3'; did you mean 'alpha_"):
        found(control, latents, codes=["alpha_3"])
    weights = control.regressor.weights[1].copy()
    weights[4] = 0.0
    dead = dataclasses.replace(control.regressor, weights=(np.eye(WIDTH), weights))
    with pytest.raises(InputError, match="regressor's yaw does not answer to the latents"):
        found(dataclasses.replace(control, regressor=dead), latents)


def test_every_code_is_in_one_part():
    parts = ["camera"] * 3 + ["pose"] * 3 + ["shape"] * 3 + ["place"] * 2
    assert [part_of(name) for name in NAMES] == parts
