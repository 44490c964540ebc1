"""One contract for every learned method: mine(rows, config, start, keep) -> Learned."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mining.editing.learned import open_artefact
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.registry import LEARNED_METHODS, load_method, make_config
from schemas.errors import InputError

WIDTH = 16
BRIEF = {
    "direction_matrix": {"epochs": 3, "steps": 4, "surrogate": {"epochs": 2, "hidden": (16,)}},
    "attribute_flow": {"epochs": 3, "hidden": (16,), "embedded": 8, "batch": 64},
}
MOTION = (
    *("yaw", "pitch", "roll"),
    *("smile", "mouth_open", "eye_closed", "brow_raise", "frown", "pucker"),
)
every_learned_method = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.needs(extra)] if extra else [])
        for name, (_, extra) in LEARNED_METHODS.items()
    ],
)


@pytest.fixture(scope="module")
def people() -> LearnedRows:
    """Heads whose pose and expression are nine numbers of the latent, and identity three."""
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(300, WIDTH)).astype(np.float32)
    moving = latents[:, :9] * np.array([12, 6, 5, *[1.0] * 6])
    units = ("degrees",) * 3 + ("standard deviations",) * 6
    codes = ShapeCodes(MOTION, units, moving, latents[:, 9:12].astype(np.float64))
    scores = {"yaw": moving[:, 0], "smile": moving[:, 3]}
    facts = {"generator": "planted", "fingerprint": "ab" * 32, "licence": "MIT"}
    told = {"scores": scores, "units": {"yaw": "degrees", "smile": "1"}, "facts": facts}
    return LearnedRows(latents, "w", (WIDTH,), 2, codes=codes, **told)


class Taught(dict):
    """Name -> what a method learned, and its checkpoints; each is taught when it is asked for."""

    def __init__(self, rows: LearnedRows):
        self._rows = rows

    def __missing__(self, name: str) -> tuple:
        kept: list = []
        self[name] = learn(name, self._rows, None, kept.append), kept
        return self[name]


@pytest.fixture(scope="module")
def learned(people) -> Taught:
    return Taught(people)


def learn(name: str, rows: LearnedRows, *more):
    return load_method(name)(rows, make_config(name, **BRIEF[name]), *more)


def shuffled(rows: LearnedRows, order) -> LearnedRows:
    codes = dataclasses.replace(
        rows.codes, moving=rows.codes.moving[order], identity=rows.codes.identity[order]
    )
    scores = {name: values[order] for name, values in rows.scores.items()}
    return dataclasses.replace(rows, latents=rows.latents[order], codes=codes, scores=scores)


@every_learned_method
def test_learned_directions_are_named_units_with_a_slope(name, learned):
    made, _ = learned[name]
    assert len({direction.attribute for direction in made.directions}) == len(made.directions) > 1
    for direction in made.directions:
        assert (direction.method, direction.space) == (name, "w")
        assert direction.vector.shape == (WIDTH,) and direction.unit
        assert np.linalg.norm(direction.vector) == pytest.approx(1, abs=1e-9)
        assert direction.slope > 0
        assert all(math.isfinite(value) for value in direction.evidence.values())
    assert made.kind in ("matrix", "flow")
    assert all(math.isfinite(value) for value in made.evidence.values())


@every_learned_method
def test_an_artefact_edits_alone_towards_its_directions(name, people, learned):
    made, _ = learned[name]
    opened = open_artefact(made.artefact, made.kind)
    w_plus = np.repeat(people.latents[:20, None], 2, axis=1)
    for direction in made.directions:
        moved = opened.edit(w_plus, direction.attribute, 1.0)
        mean = (moved - w_plus)[:, 0].mean(axis=0)
        assert mean @ direction.vector > 0.5 * np.linalg.norm(mean)
        np.testing.assert_array_equal(opened.edit(w_plus, direction.attribute, 0.0), w_plus)
        if direction.artefact:
            assert direction.artefact == opened.sha256


@every_learned_method
def test_the_same_rows_teach_the_same_bytes_and_stay_as_they_are(name, people, learned):
    before = people.latents.copy(), people.codes.moving.copy()
    assert learn(name, people).artefact == learned[name][0].artefact
    np.testing.assert_array_equal(people.latents, before[0])
    np.testing.assert_array_equal(people.codes.moving, before[1])


@every_learned_method
def test_the_order_of_rows_teaches_nothing(name, people, learned, rng):
    second = learn(name, shuffled(people, rng.permutation(len(people))))
    for one, other in zip(learned[name][0].directions, second.directions, strict=True):
        np.testing.assert_allclose(other.vector, one.vector, atol=1e-4)
        assert other.slope == pytest.approx(one.slope, rel=1e-3)


@every_learned_method
def test_a_training_goes_on_from_any_epoch_to_the_same_bytes(name, people, learned):
    made, kept = learned[name]
    assert [each.epoch for each in kept] == list(range(1, kept[-1].epochs + 1))
    for checkpoint in kept:
        more: list = []
        again = learn(name, people, checkpoint, more.append)
        assert again.artefact == made.artefact
        assert again.curves == made.curves
        assert [each.epoch for each in more] == [e.epoch for e in kept[checkpoint.epoch :]]


@every_learned_method
def test_losses_are_told_for_every_epoch(name, learned):
    made, kept = learned[name]
    assert made.curves
    for curve in made.curves:
        assert curve.title and curve.loss
        assert len(curve.training) == len(curve.held_out)
        assert np.isfinite(curve.training).all() and np.isfinite(curve.held_out).all()
    assert sum(len(curve.training) for curve in made.curves) == kept[-1].epochs


@every_learned_method
def test_rows_that_teach_nothing_are_refused(name, people):
    blind = np.full_like(people.codes.moving, np.nan)
    nothing = {
        "codes": dataclasses.replace(people.codes, moving=blind),
        "scores": {key: np.full(len(people), np.nan) for key in people.scores},
    }
    for rows in (
        dataclasses.replace(people, **nothing),
        dataclasses.replace(people, latents=np.full_like(people.latents, np.inf)),
        shuffled(people, np.arange(3)),
    ):
        with pytest.raises(InputError, match="row|NaN"):
            learn(name, rows)


@every_learned_method
def test_settings_of_learned_methods_are_frozen(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config(name).epochs = 3
