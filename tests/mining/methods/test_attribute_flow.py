"""The attribute flow: on planted data its edits are those that theory says."""

from __future__ import annotations

import dataclasses
import hashlib
import sys

import numpy as np
import pytest

from mining.methods import attribute_flow
from mining.methods.attribute_flow import mine_attribute_flow
from mining.methods.flow_config import PRESETS, FlowConfig
from mining.methods.flow_file import flow_of
from mining.methods.flow_rows import flow_rows
from mining.methods.learned import LearnedRows
from schemas.errors import InputError, MissingBackendError
from tests.mining.methods.flow_cases import BRIEF, QUICK, bent, planted, wide

SEED = 20_26


@pytest.fixture(scope="module")
def case():
    return planted(np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def mined(case):
    return mine_attribute_flow(case.rows, QUICK)


@pytest.fixture(scope="module")
def flow(mined):
    return flow_of(mined.artefact)


def latents_of(case, count=200):
    return case.rows.latents[:count].astype(np.float64)


def test_edits_land_on_what_was_asked_and_leave_the_other_attribute(case, flow):
    latents = latents_of(case)
    spread = (case.rows.latents @ case.ways.T).std(axis=0)
    for number, name in enumerate(("yaw", "smile")):
        for steps in (-1.0, 0.5, 1.0):
            moved = flow.changed(latents, name, steps * spread[number]) - latents
            done = moved @ case.ways.T / spread
            assert np.abs(done[:, number] - steps).mean() < 0.08
            np.testing.assert_allclose(done[:, number], steps, atol=0.3)
            assert np.sqrt((done[:, 1 - number] ** 2).mean()) < 0.06


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_goes_from_the_conditional_mean_to_the_nearest_latent(case, mined, balance):
    found = mined  # of QUICK's balance
    if balance != QUICK.balance:
        found = mine_attribute_flow(case.rows, dataclasses.replace(QUICK, balance=balance))
    energy, axes = np.linalg.eigh(case.covariance)
    metric = (axes * energy ** (1 - balance)) @ axes.T
    truth = metric @ case.ways.T @ np.linalg.inv(case.ways @ metric @ case.ways.T)
    for each in found.directions:
        wanted = truth[:, ["yaw", "smile"].index(each.attribute)]
        assert each.vector @ wanted / np.linalg.norm(wanted) > 0.98
        assert each.slope == pytest.approx(1 / np.linalg.norm(wanted), rel=0.1)


def test_an_edit_follows_a_bent_population_where_a_vector_cannot(rng):
    rows = bent(rng)
    config = dataclasses.replace(QUICK, balance=0.0, hidden=(64, 64))
    flow = flow_of(mine_attribute_flow(rows, config).artefact)
    start = np.zeros((2, 4))
    start[:, 0] = -1, 1
    start[:, 1] = 1  # on the parabola
    there = flow.changed(start, "age", np.array([1.0, -1.0]))
    np.testing.assert_allclose(there[:, 0], 0, atol=0.15)
    np.testing.assert_allclose(there[:, 1], 0, atol=0.25)  # both fall, from either side


def test_what_is_reversed_comes_back(case, flow):
    latents = latents_of(case)
    known = flow.read(latents)
    np.testing.assert_allclose(flow.forward(flow.reverse(latents), known), latents, atol=1e-4)
    changed = flow.changed(flow.changed(latents, "yaw", 5.0), "yaw", -5.0)
    np.testing.assert_allclose(changed, latents, atol=0.02)  # the reading is not exact


@pytest.mark.parametrize("tolerance", [1e-12, 1e-9, 1e-3])
def test_the_way_back_is_as_near_as_the_tolerance(case, flow, tolerance):
    exact = dataclasses.replace(flow, tolerance=tolerance)
    latents = latents_of(case, 20)
    again = exact.forward(exact.reverse(latents), exact.read(latents))
    assert np.abs(again - latents).max() < 50 * tolerance


def test_known_attributes_are_taken_for_what_is_read(case, flow):
    latents = latents_of(case, 5)
    known = flow.read(latents)
    own = flow.changed(latents, "yaw", 3.0)
    np.testing.assert_array_equal(flow.changed(latents, "yaw", 3.0, known), own)
    assert np.abs(flow.changed(latents, "yaw", 3.0, known + flow.scale) - own).max() > 1e-3


def test_steps_of_a_direction_are_of_norm_one(case, mined, flow):
    assert [each.attribute for each in mined.directions] == ["smile", "yaw"]
    assert [each.unit for each in mined.directions] == ["1", "degrees"]
    latents = latents_of(case)
    for each, slope in zip(mined.directions, flow.slopes, strict=True):
        assert each.method == "attribute_flow" and each.space == "w"
        assert each.slope == slope
        assert each.artefact == hashlib.sha256(mined.artefact).hexdigest()
        assert np.linalg.norm(each.vector) == pytest.approx(1)
        moved = (flow.changed(latents, each.attribute, slope) - latents).mean(axis=0)
        assert np.linalg.norm(moved) == pytest.approx(1, rel=0.1)
        assert moved @ each.vector == pytest.approx(1, rel=0.1)
        assert each.evidence["miss"] < 0.1 and each.evidence["leak"] < 0.06
        assert each.evidence["reading_r2"] > 0.99
    assert mined.evidence["reversible"] < 1e-3
    assert mined.kind == "flow"
    (curve,) = mined.curves
    assert len(curve.training) == len(curve.held_out) == QUICK.epochs
    assert curve.held_out[-1] < curve.held_out[0]


def test_w_plus_of_a_flow_of_w(case, flow, rng):
    tied = np.repeat(case.rows.latents[:4, None], 3, axis=1)
    change = np.array([4.0, -4.0, 0.0, 1.0])
    found = flow.edited(tied, "yaw", change)
    assert found.dtype == np.float32 and (found == found[:, :1]).all()
    one = flow.changed(tied[:, 0], "yaw", change)
    np.testing.assert_allclose(found[:, 0], one, rtol=1e-6, atol=1e-6)
    apart = rng.normal(size=(4, 3, 8)).astype(np.float32)
    found = flow.edited(apart, "yaw", change)
    for row in range(3):
        each = flow.changed(apart[:, row], "yaw", change)
        np.testing.assert_allclose(found[:, row], each, rtol=1e-6, atol=1e-6)
    assert flow.edited(tied[:0], "yaw", 1.0).shape == (0, 3, 8)


def test_parts_of_the_rows_give_what_all_do(case, flow, monkeypatch):
    latents = latents_of(case, 30)
    whole = flow.changed(latents, "smile", 0.2)
    monkeypatch.setattr(attribute_flow, "PART", 7 * 8)  # seven rows at once
    parts = flow.changed(latents, "smile", 0.2)
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    assert [len(range(30)[part]) for part in attribute_flow.row_slices(30, 8)] == [7, 7, 7, 7, 2]


def test_a_missing_solver_is_named_before_the_work(case, flow, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    for call in (
        lambda: mine_attribute_flow(case.rows, BRIEF),
        lambda: flow.changed(latents_of(case, 2), "yaw", 1.0),
    ):
        with pytest.raises(MissingBackendError, match=r"pip install 'latentlode\[flow\]'"):
            call()


def test_layer_ranges_move_only_their_rows(case):
    config = dataclasses.replace(BRIEF, layers={"smile": (1, 3)})
    mined = mine_attribute_flow(case.rows, config)
    flow = flow_of(mined.artefact)
    tied = np.repeat(case.rows.latents[:4, None], 3, axis=1)
    found = flow.edited(tied, "smile", 0.2)
    np.testing.assert_array_equal(found[:, 0], tied[:, 0])
    assert (found[:, 1:] != tied[:, 1:]).any(axis=2).all()
    assert (flow.edited(tied, "yaw", 5.0) != tied).any(axis=2).all()
    assert {each.attribute: each.layers for each in mined.directions} == {
        "smile": (1, 2),
        "yaw": (),
    }
    with pytest.raises(InputError, match=r"move the rows \[1, 2\] of W\+; the latents have 2"):
        flow.edited(tied[:, :2], "smile", 0.2)


def test_one_flow_over_all_rows_of_w_plus(rng):
    rows, ways = wide(rng)
    mined = mine_attribute_flow(rows, dataclasses.replace(QUICK, layers={"yaw": (0, 1)}))
    flow = flow_of(mined.artefact)
    w_plus = rows.latents[:100].reshape(-1, 2, 6)
    for number, name in enumerate(("yaw", "smile")):
        moved = flow.edited(w_plus, name, 1.0) - w_plus
        done = np.einsum("nrd,krd->nk", moved, ways)
        np.testing.assert_allclose(done[:, number], 1, atol=0.2)
        assert np.abs(done[:, 1 - number]).mean() < 0.1
        if name == "yaw":
            assert (moved[:, 1] == 0).all()
    vectors = {each.attribute: each.vector for each in mined.directions}
    assert vectors["yaw"].shape == (2, 6) and (vectors["yaw"][1] == 0).all()
    cosine = (vectors["yaw"] * ways[0]).sum() / np.linalg.norm(ways[0])
    assert cosine > 0.98


def test_a_reading_of_what_changes_within_sequences(rng):
    """Identity goes with the score between sequences, and not within."""
    people = np.repeat(rng.normal(size=(300, 1)), 4, axis=0)
    latents = rng.normal(size=(1200, 6)) * 0.5
    latents[:, 5:] = people  # still within a sequence
    scores = {"smile": latents[:, 0] + latents[:, 5]}
    sequences = np.repeat(np.arange(300), 4)
    rows = LearnedRows(
        latents.astype(np.float32), "w", (6,), 1, scores, sequences=sequences.astype(np.int64)
    )
    config = dataclasses.replace(BRIEF, reading="within", epochs=2)
    within = flow_of(mine_attribute_flow(rows, config).artefact)
    assert abs(within.weights[0, 5]) < 0.01 < 0.9 < within.weights[0, 0]
    plain = flow_rows(rows, dataclasses.replace(config, reading="ridge")).reading
    assert plain.weights[0, 5] > 0.9
    with pytest.raises(InputError, match="needs a dataset of sequences"):
        mine_attribute_flow(dataclasses.replace(rows, sequences=None), config)


def test_rows_that_are_not_measured_are_left_out(case):
    scores = {name: each.copy() for name, each in case.rows.scores.items()}
    scores["yaw"][::3], scores["smile"][1::3] = np.nan, np.nan
    mined = mine_attribute_flow(dataclasses.replace(case.rows, scores=scores), BRIEF)
    assert mined.evidence["rows"] == 500
    alone = dataclasses.replace(BRIEF, attributes=("yaw",))
    mined = mine_attribute_flow(dataclasses.replace(case.rows, scores=scores), alone)
    assert mined.evidence["rows"] == 1000
    assert [each.attribute for each in mined.directions] == ["yaw"]


def changed(rows, **scores):
    return dataclasses.replace(rows, scores={**rows.scores, **scores})


def test_rows_that_cannot_be_used_are_refused(case):
    rows = case.rows
    nothing = np.full(len(rows), np.nan)
    with pytest.raises(InputError, match="0 of 1500 rows have roll, smile, yaw all measured"):
        mine_attribute_flow(changed(rows, roll=nothing), BRIEF)
    with pytest.raises(InputError, match="roll is the same in all rows"):
        mine_attribute_flow(changed(rows, roll=np.ones(len(rows))), BRIEF)
    with pytest.raises(InputError, match="no scores"):
        mine_attribute_flow(dataclasses.replace(rows, scores={}), BRIEF)
    for wrong in ({"attributes": ("smlie",)}, {"layers": {"smlie": (0, 1)}}):
        with pytest.raises(InputError, match="did you mean 'smile'"):
            mine_attribute_flow(rows, dataclasses.replace(BRIEF, **wrong))
    with pytest.raises(InputError, match="the generator has 3 rows"):
        mine_attribute_flow(rows, dataclasses.replace(BRIEF, layers={"yaw": (2, 4)}))


def test_latents_and_changes_that_do_not_fit_are_refused(case, flow):
    tied = np.repeat(case.rows.latents[:4, None], 3, axis=1)
    with pytest.raises(InputError, match="did you mean 'yaw'"):
        flow.edited(tied, "yawn", 1.0)
    with pytest.raises(InputError, match=r"latents \(4, 3, 7\) came"):
        flow.edited(tied[:, :, :7], "yaw", 1.0)
    with pytest.raises(InputError, match=r"changes \(3,\) came"):
        flow.edited(tied, "yaw", np.ones(3))
    with pytest.raises(InputError, match="NaN or infinity"):
        flow.edited(np.full_like(tied, np.nan), "yaw", 1.0)
    with pytest.raises(InputError, match=r"conditions \(4, 1\) came"):
        flow.edited(tied, "yaw", 1.0, np.ones((4, 1)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective": "matchin"}, "did you mean 'matching'"),
        ({"solver": "rk4"}, "Known: "),
        ({"tolerance": 1e-13}, "expected 1e-12 to 0.1"),
        ({"tolerance": float("nan")}, "expected 1e-12 to 0.1"),
        ({"balance": 1.5}, "expected 0 to 1"),
        ({"denoise": False}, "set balance to 0, or denoise"),
        ({"hidden": ()}, "expected one width or more"),
        ({"hidden": (0,)}, r"hidden\[0\] is 0"),
        ({"held_out": 1.0}, r"inside \(0, 1\)"),
        ({"batch": 0}, "batch is 0"),
        ({"fill": -1}, "fill is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"attributes": ("yaw", "yaw")}, "name one twice"),
        ({"layers": {"yaw": (3, 3)}}, "0 <= first < last"),
        ({"attributes": ("yaw",), "layers": {"smile": (1, 2)}}, "unknown"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        FlowConfig(**settings)


def test_presets():
    assert PRESETS["default"] == FlowConfig()
    paper = PRESETS["styleflow"]
    assert (paper.objective, paper.batch, paper.tolerance) == ("likelihood", 5, 1e-5)
    assert (
        not paper.denoise
        and not paper.fill
        and paper.hidden == (512,) * 4
        and paper.learning_rate == 1e-3
    )
