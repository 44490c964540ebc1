"""Which directions are re-scored and how far they are edited; and what they are tried on."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from jobs.rescoring_choice import choose
from jobs.rescoring_plan import RescoreSettings, labels_in, landing, make_plan
from jobs.rescoring_tasks import Edit, Part, Rescorer
from mining.labels import make_labels
from mining.methods.base import Direction
from schemas.directions import Artefact, Calibration, Provenance, Response
from schemas.errors import InputError
from storage.catalog import Catalog
from tests.examples.points import PointsGenerator
from tests.jobs.planted_directions import planted_card, planted_run

ROWS = PointsGenerator().truth_rows.astype(np.float64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, dataset, cards)."""
    folder = tmp_path_factory.mktemp("planted")
    dataset = planted_run(folder)
    return folder, dataset, list(Catalog(str(folder / "catalog")).cards())


def test_steps_are_of_sigma_and_of_the_own_attributes_spread(run):
    _, dataset, cards = run
    plan = make_plan(dataset, cards, RescoreSettings(step=0.5, by_effect=1.5))
    told = {(task.card.method, task.attribute, task.kind): task.edit.step for task in plan.tasks}
    assert told["ridge", "yaw", "step"] == 0.5
    # the cards' responses are 1 along the truth, 1 / sqrt(1.25) along what is slanted by half
    spread = plan.spreads["yaw"]
    assert 0.5 < spread < 2
    assert told["ridge", "yaw", "effect"] == pytest.approx(1.5 * spread, rel=1e-5)
    assert told["svm", "yaw", "effect"] == pytest.approx(1.5 * spread * math.sqrt(1.25), rel=1e-5)
    # the control moves yaw by 0.01 a step: 100 spreads are beyond all latents
    assert ("random", "yaw", "step") in told and ("random", "yaw", "effect") not in told
    assert "sigma by its measured response" in plan.skipped["yaw · random, at equal effect"]


def test_a_trial_corrects_the_planned_step_within_reason(run):
    _, dataset, cards = run
    task = make_plan(dataset, cards[:1], RescoreSettings(step=None)).tasks[0]
    task = dataclasses.replace(task, edit=Edit(task.edit.direction, -1.5), sigma=1.0)
    assert landing(task, 1.0, 1.25) == pytest.approx(-1.2)
    assert landing(task, -1.0, -0.75) == pytest.approx(-2.0)
    assert landing(task, 1.0, 10.0) == pytest.approx(-0.75)  # half of the plan at least
    assert landing(task, 1.0, 0.3) == pytest.approx(-3.0)  # twice at most
    assert landing(dataclasses.replace(task, sigma=0.5), 1.0, 0.3) == -2.0  # 4 sigma at most
    for says_nothing in (0.0, math.nan, -1.0):
        assert landing(task, 1.0, says_nothing) == -1.5


def test_a_calibration_goes_before_the_response_and_a_negative_response_turns_the_step(run):
    _, dataset, _ = run
    calibrated = planted_card(
        dataset, "ridge", "yaw", ROWS[0], calibration=Calibration(0.5, -3.0, 3.0)
    )
    against = planted_card(dataset, "svm", "yaw", -ROWS[0])
    tasks = make_plan(dataset, [calibrated, against], RescoreSettings(step=None)).tasks
    spread = make_plan(dataset, [against], RescoreSettings()).spreads["yaw"]
    assert [t.edit.step for t in tasks] == pytest.approx([0.5 * spread, -spread], rel=1e-5)


def test_a_measured_curve_is_followed_and_a_spoilt_one_is_told(run):
    _, dataset, _ = run
    spread = make_plan(dataset, [planted_card(dataset, "svm", "yaw", ROWS[0])], RescoreSettings())
    spread = spread.spreads["yaw"]
    # one step gives half a spread, two give two: what it takes for one spread lies between
    values, steps = (0.0, 0.5 * spread, 2 * spread), (0.0, 1.0, 2.0)
    curve = Calibration(9.0, -0.0, 0.1 * spread, values, steps)
    bent = planted_card(dataset, "ridge", "yaw", ROWS[0], calibration=curve)
    task = make_plan(dataset, [bent], RescoreSettings(step=None)).tasks[0]
    assert task.edit.step == pytest.approx(1 + 1 / 3)  # beyond its range, and nothing is warned of
    broken = dataclasses.replace(
        bent, calibration=dataclasses.replace(curve, steps=(0.0, math.nan))
    )
    plan = make_plan(dataset, [bent, dataclasses.replace(broken, method="lda")], RescoreSettings())
    assert "another program" in plan.skipped["yaw · lda, at equal effect"]


def test_what_cannot_be_tried_says_why(run):
    _, dataset, _ = run
    good = planted_card(dataset, "ridge", "yaw", ROWS[0])

    def other(method, **told):
        return dataclasses.replace(good, method=method, **told)

    cards = [
        good,
        other("a", generator_fingerprint="f" * 64),
        other("b", space="z"),
        other("c", vector=np.ones(7, np.float32)),
        other("d", artefact=Artefact("matrix", "0" * 64, 3), vector=np.empty(0, np.float32)),
        other("e", responses=()),
        other("f", artefact=Artefact("flow", "1" * 64, 3), vector=np.empty(0, np.float32)),
    ]
    plan = make_plan(dataset, cards, RescoreSettings())
    assert {task.card.method for task in plan.tasks} == {"ridge", "e"}
    said = " ".join(f"{name}: {why};" for name, why in plan.skipped.items())
    for part in (
        "yaw · a: it is of another generator (points)",
        "yaw · b: it is of space z; expected w or w+",
        "yaw · c: its vector has shape (7,)",
        "yaw · d: it is a matrix, not one vector: its columns are directions",
        "yaw · f: it is a flow, not one vector: its card holds what `lode mine` measured",
        "yaw · e, at equal effect: its card holds no response of its own attribute",
    ):
        assert part in said
    with pytest.raises(InputError, match="none of 1 directions can be tried. yaw · b: it is of sp"):
        make_plan(dataset, [cards[2]], RescoreSettings())


def test_a_missing_sigma_is_the_datasets_and_a_label_is_measured_as_it_was(run):
    _, dataset, _ = run
    card = planted_card(
        dataset,
        "ridge",
        "wide",
        ROWS[2],
        per_step=math.nan,
        sigma=math.nan,
        provenance=Provenance(dataset.dataset_id, 0, '{"label": "smile + 2 * yaw"}', "0.1.0"),
    )
    plan = make_plan(dataset, [card], RescoreSettings(by_effect=None))
    (task,) = plan.tasks
    assert task.sigma == pytest.approx(1.0, abs=0.3)  # of 60 normal numbers
    assert task.attribute == "wide" and plan.pairs["wide"] == ("label", "wide")
    assert plan.labels["wide"].expression.text == "smile + 2 * yaw"
    others = planted_card(dataset, "ridge", "yaw", ROWS[0])
    known = labels_in([card, others])
    assert set(make_plan(dataset, [others], RescoreSettings(), known).labels) == {"wide"}
    strange = make_labels({"tall": "height > 3"})  # of a dataset with other columns
    assert not make_plan(dataset, [others], RescoreSettings(), strange).labels


def test_of_directions_mined_for_nothing_the_strongest_stands_for_an_attribute(run):
    _, dataset, _ = run
    made = [
        planted_card(
            dataset, "pca", "pca_0", ROWS[k], math.nan, slope=math.nan, sigma=sigma,
            responses=(Response("yaw", "1", 0.5, 0.4, 0.6, 1.0),),
            provenance=Provenance(dataset.dataset_id, k, "{}", "0.1.0"),
        )
        for k, sigma in ((0, 1.0), (1, 2.0))
    ]  # fmt: skip
    made[0] = dataclasses.replace(made[0], attribute="pca_1")
    plan = make_plan(dataset, made, RescoreSettings(by_effect=None))
    assert [(t.attribute, t.ranked) for t in plan.tasks] == [("yaw", False), ("yaw", True)]
    assert choose(made, ["yaw"], []) == made and choose(made, ["pca_1"], []) == made[:1]


def test_names_that_no_direction_has_are_told(run):
    _, _, cards = run
    assert len(choose(cards, [], [])) == 5
    assert [card.method for card in choose(cards, ["smile"], ["svm"])] == ["svm"]
    with pytest.raises(InputError, match="attribute 'smil'.*smile"):
        choose(cards, ["smil"], [])
    with pytest.raises(InputError, match="method 'rigde'.*ridge"):
        choose(cards, [], ["rigde"])
    with pytest.raises(InputError, match="no direction is of smile and by random"):
        choose(cards, ["smile"], ["random"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"edits": 1}, "edits is 1, expected at least 2"),
        ({"step": 0.0}, "step is 0.0"),
        ({"by_effect": 9.0}, "by_effect is 9.0, expected not 0 and within 4"),
        ({"step": math.nan}, "step is nan"),
        ({"step": None, "by_effect": None}, "neither a step nor an effect"),
    ],
)
def test_settings_out_of_range_are_refused(told, said):
    with pytest.raises(InputError, match=said):
        RescoreSettings(**told)


def test_images_hang_on_seed_and_part_alone_and_those_without_a_face_are_passed_over(run):
    _, dataset, _ = run
    one, other = (Rescorer(dataset.manifest.content, 1) for _ in range(2))
    kept, bases = one.bases(Part(0, 40))
    again, _ = other.bases(Part(0, 40))
    np.testing.assert_array_equal(kept.picked, again.picked)
    np.testing.assert_array_equal(kept.values, again.values)
    assert len(kept.picked) == 40 and kept.picked.max() > 39  # some had no face
    assert np.isfinite(kept.values).all() and bases.seen.all()
    _, restored = other.bases(Part(0, 40), kept)  # nothing is rendered, the latents are the same
    np.testing.assert_array_equal(restored.w_plus, bases.w_plus)
    assert not np.array_equal(one.bases(Part(1, 40))[1].w_plus, bases.w_plus)
    reseeded = Rescorer(dataset.manifest.content, 2).bases(Part(0, 40))[1]
    assert not np.array_equal(reseeded.w_plus, bases.w_plus)


def test_an_edit_goes_as_far_as_it_says_and_to_the_side_that_it_says(run):
    _, dataset, _ = run
    worker = Rescorer(dataset.manifest.content, 1)
    kept, bases = worker.bases(Part(0, 12))
    direction = Direction("ridge", ROWS[0], 1.0)
    for step in (0.7, -0.7):
        index, number, (values, cosines) = worker.edit(4, 0, bases, Edit(direction, step))
        assert (index, number) == (4, 0) and cosines.shape == (12,)
        place = bases.pairs.index(("points", "yaw"))
        told = np.nanmean(values[:, place] - kept.values[:, place])
        assert told == pytest.approx(step, rel=0.25)  # a linear read-out of a turn
