"""Table 1's losses on planted regressors whose losses are known, its edits, and its orderings."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from mining.editing.analytic import edit_to_codes
from mining.evaluation.control_table import COLUMNS, LOSSES, Trial, control_losses, summarise
from mining.evaluation.control_table_edits import (
    ANGLES,
    JOINT,
    SINGLE,
    EditConfig,
    Edits,
    draw_edits,
)
from mining.evaluation.control_table_orderings import PAPER, orderings
from mining.evaluation.control_table_text import Table, as_csv, as_json, as_markdown
from mining.methods.camera import component_names, image_points
from mining.methods.regressor import Regressor
from schemas.errors import InputError
from tests.mining.methods.planted import Head

POINTS, MODES, DIM, ROWS = 20, 3, 40, 60
NAMES = component_names(MODES)
Q = len(NAMES)


@pytest.fixture
def head(rng) -> Head:
    return Head.made(rng, POINTS, MODES)


@pytest.fixture
def project(head):
    return lambda q: np.stack(image_points(q, head.shape, head.basis, head.modes), axis=2)


def linear(rng, head: Head) -> Regressor:
    """phi(w) = A w + b, of heads as `Head.codes` makes them: relu(Aw) - relu(-Aw) is Aw."""
    codes = head.codes(rng, 500)
    into = np.linalg.qr(rng.normal(size=(DIM, Q)))[0].T
    weights = (np.concatenate([into, -into]), np.concatenate([np.eye(Q), -np.eye(Q)], axis=1))
    centre = rng.normal(size=DIM)
    return Regressor(
        weights=weights,
        biases=(np.zeros(2 * Q), np.zeros(Q)),
        centre=centre,
        radius=DIM**0.5,
        mean=codes.mean(axis=0),
        spread=np.maximum(codes.std(axis=0), 0.01),  # k12 never changes
        train_loss=(),
        held_out_loss=(),
        held_out_landmarks=(),
        best_epoch=0,
    )


def exact(rng, project, codes, edits: Edits, **changes) -> Trial:
    """Every edit lands, every image is what R says, every face moves by 0.3."""
    wanted = codes[edits.rows] + edits.offsets
    face = rng.normal(size=(len(codes), 8))
    moved = face[edits.rows]
    moved[:, 0] += 0.3
    told = {
        "codes": codes,
        "reached": wanted,
        "landmarks": project(codes),
        "edited_landmarks": project(wanted),
        "descriptors": face,
        "edited_descriptors": moved,
        "walked": np.ones(len(edits)),
    }
    return Trial(edits=edits, **{**told, **changes})


def test_a_regressor_that_is_right_and_an_edit_that_lands_lose_nothing(rng, head, project):
    phi = linear(rng, head)
    latents = rng.normal(size=(ROWS, DIM))
    codes, edits = phi.predict(latents), draw_edits(NAMES, ROWS)
    wanted = codes[edits.rows] + edits.offsets
    done = edit_to_codes(phi, latents[edits.rows], wanted, steps=2)
    trial = exact(
        rng,
        project,
        codes,
        edits,
        reached=done.codes[-1],
        edited_landmarks=project(phi.predict(done.latents)),
    )
    row = summarise("w", control_losses(project, trial), resamples=50)
    for name in LOSSES[:4]:
        assert row.sums[name].value < 1e-18
    assert row.sums["L_ID"].value == pytest.approx(0.3)
    still = ((project(wanted) - project(codes)[edits.rows]) ** 2).sum(axis=(1, 2))
    each = [still[np.array(edits.kinds) == kind].mean() for kind in (SINGLE, JOINT)]
    assert row.sums["L_R unedited"].value == pytest.approx(np.mean(each))
    assert row.faces == ROWS and row.edited_faces == row.edits == 2 * ROWS


def test_planted_errors_come_back_as_sums_and_means(rng, project, head):
    codes, edits = head.codes(rng, ROWS), draw_edits(NAMES, ROWS)
    trial = exact(rng, project, codes, edits)
    wanted = trial.reached
    missed = wanted.copy()
    missed[:, 4] += 0.2  # radians of yaw that the edit does not reach
    trial = exact(
        rng,
        project,
        codes,
        edits,
        reached=missed,
        landmarks=project(codes) + 0.01,
        edited_landmarks=project(wanted) - [0.03, 0],
    )
    row = summarise("w", control_losses(project, trial), resamples=50)
    assert row.sums["L_L(w)"].value == pytest.approx(2 * POINTS * 1e-4)
    assert row.means["L_L(w)"].value == pytest.approx(1e-4)
    assert row.sums["L_phi"].value == pytest.approx(0.04)
    assert row.means["L_phi"].value == pytest.approx(0.04 / Q)
    assert row.sums["L_R"].value == pytest.approx(POINTS * 9e-4)
    assert row.sums["L_R centred"].value < 1e-18  # all of it is shift
    assert row.means["L_R"].high == pytest.approx(9e-4 / 2)  # no row differs from another
    assert row.means["L_ID"] == row.sums["L_ID"]
    own = project(missed) - trial.edited_landmarks
    by_hand = (own**2).sum(axis=(1, 2))
    each = [by_hand[np.array(edits.kinds) == kind].mean() for kind in (SINGLE, JOINT)]
    assert row.sums["L_L(w_edit)"].value == pytest.approx(np.mean(each))


def test_the_shift_is_taken_out_of_edited_and_unedited_landmarks(rng, project, head):
    codes, edits = head.codes(rng, ROWS), draw_edits(NAMES, ROWS)
    bend = rng.normal(size=(2 * ROWS, POINTS, 2))
    bend *= (
        0.1 / np.linalg.norm(bend - bend.mean(axis=1, keepdims=True), axis=(1, 2))[:, None, None]
    )
    shifts = rng.normal(size=(ROWS, 1, 2))  # of each head, kept by its edits
    wanted = project(codes[edits.rows] + edits.offsets)
    trial = exact(
        rng,
        project,
        codes,
        edits,
        landmarks=project(codes) + shifts,
        edited_landmarks=wanted + bend + shifts[edits.rows],
    )
    row = summarise("w", control_losses(project, trial), resamples=50)
    assert row.sums["L_R centred"].value == pytest.approx(0.1**2)
    assert row.sums["L_R"].value > 1
    bare = summarise("w", control_losses(project, exact(rng, project, codes, edits)), 50)
    # q_edit keeps t, so that R(q_edit) and R(phi(w)) have one centroid
    for one in (row, bare):
        assert one.sums["L_R centred, unedited"].value == pytest.approx(
            bare.sums["L_R unedited"].value
        )


def test_images_without_a_face_are_counted_and_cost_only_what_needs_one(rng, project, head):
    codes, edits = head.codes(rng, ROWS), draw_edits(NAMES, ROWS)
    trial = exact(rng, project, codes, edits)
    trial.landmarks[3], trial.descriptors[3] = np.nan, np.nan
    trial.edited_landmarks[[20, 21, 40]], trial.edited_descriptors[[20, 21, 40]] = np.nan, np.nan
    losses = control_losses(project, trial)
    row = summarise("w", losses, resamples=50)
    assert (row.latents, row.faces, row.edits, row.edited_faces) == (60, 59, 120, 117)
    known = {name: np.isfinite(losses.values[name]).sum() for name in COLUMNS}
    assert known["L_L(w)"] == 59 and known["L_phi"] == 120
    assert known["L_R"] == known["L_R centred"] == known["L_L(w_edit)"] == 117
    assert known["L_ID"] == 115  # of the edits of latent 3, and of those three
    assert all(np.isfinite(found.value) for found in row.sums.values())


def test_nothing_that_describes_faces_leaves_identity_open(rng, project, head):
    codes, edits = head.codes(rng, ROWS), draw_edits(NAMES, ROWS)
    none = {"descriptors": np.empty((ROWS, 0)), "edited_descriptors": np.empty((2 * ROWS, 0))}
    trial = exact(rng, project, codes, edits, **none)
    row = summarise("w", control_losses(project, trial), resamples=50)
    assert np.isnan(row.sums["L_ID"].value) and row.sums["L_R"].value < 1e-18
    text = as_markdown(Table((row,), (), {}))
    assert "| - |" in text and "nan" not in text.lower()


def test_identity_is_a_euclidean_or_a_cosine_distance(rng, project, head):
    codes, edits = head.codes(rng, 2), draw_edits(NAMES, 2)
    faces = np.array([[2.0, 0.0], [0.0, 3.0]])
    moved = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0], [0.0, -3.0]])
    trial = exact(rng, project, codes, edits, descriptors=faces, edited_descriptors=moved)
    euclidean = control_losses(project, trial).values["L_ID"]
    np.testing.assert_allclose(euclidean, [2**0.5, 0, 2, 6])
    cosine = control_losses(project, trial, "cosine").values["L_ID"]
    np.testing.assert_allclose(cosine, [1 - 0.5**0.5, 0, 0, 2], atol=1e-12)


def test_rows_that_do_not_pair_up_are_refused(rng, project, head):
    codes, edits = head.codes(rng, ROWS), draw_edits(NAMES, ROWS)
    trial = exact(rng, project, codes, edits, walked=np.ones(3))
    with pytest.raises(InputError, match=r"codes \(60, 11\).* 120 edits"):
        control_losses(project, trial)


@pytest.mark.parametrize("singles", [1, 3])
def test_edits_are_of_one_code_or_of_all_in_range_and_equally_often(singles):
    config = EditConfig(angle=0.3, alpha=0.2, singles=singles, seed=4)
    edits = draw_edits(NAMES, 600, config)
    assert len(edits) == 600 * (singles + 1) and edits.rows.max() == 599
    moved = edits.offsets != 0
    angles = [NAMES.index(name) for name in ANGLES]
    alphas = [k for k, name in enumerate(NAMES) if name.startswith("alpha")]
    joint = np.array(edits.kinds) == JOINT
    assert (moved[joint].sum(axis=1) == 3 + MODES).all() and not moved[:, [0, 1, 2, -2, -1]].any()
    for name, row in zip(np.array(edits.names)[~joint], moved[~joint], strict=True):
        assert row.sum() == 1 and row[NAMES.index(name)]
    often = moved[~joint].sum(axis=0)[angles + alphas]
    assert (often == 600 * singles / (3 + MODES)).all()
    for columns, reach in ((angles, 0.3), (alphas, 0.2)):
        amounts = edits.offsets[joint][:, columns].ravel()
        assert np.abs(amounts).max() <= reach
        assert abs(amounts.mean()) < 0.1 * reach  # 600 uniform draws: 4 standard errors
        assert amounts.std() == pytest.approx(reach / 3**0.5, rel=0.06)
    again = draw_edits(NAMES, 600, config)
    np.testing.assert_array_equal(edits.offsets, again.offsets)
    other = draw_edits(NAMES, 600, EditConfig(singles=singles, seed=5))
    assert not np.isclose(edits.offsets[joint], other.offsets[joint]).all(axis=1).any()
    part = edits.of_latents(slice(16, 32))
    assert set(edits.rows[part]) == set(range(16, 32))
    assert part.stop - part.start == 16 * (singles + 1)


def test_alphas_may_be_asked_for_in_spreads():
    spread = np.linspace(0.1, 1.1, Q)
    plain = draw_edits(NAMES, 50, EditConfig(alpha=1.0))
    ranged = draw_edits(NAMES, 50, EditConfig(spreads=2.0), spread)
    alphas = slice(6, 6 + MODES)
    np.testing.assert_allclose(
        ranged.offsets[:, alphas], 2 * spread[alphas] * plain.offsets[:, alphas]
    )
    np.testing.assert_array_equal(ranged.offsets[:, 3:6], plain.offsets[:, 3:6])
    with pytest.raises(InputError, match="without the spread"):
        draw_edits(NAMES, 50, EditConfig(spreads=2.0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"angle": 0.0}, "angle is 0.0"),
        ({"alpha": np.inf}, "alpha is inf"),
        ({"spreads": -1.0}, "spreads is -1.0"),
        ({"singles": 0}, "singles is 0"),
        ({"singles": 7}, "singles 7 came; the codes that are edited are 6"),
    ],
)
def test_edits_that_cannot_be_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        draw_edits(NAMES, 5, EditConfig(**options))


def test_both_kinds_weigh_alike_and_the_interval_is_that_of_the_mean(rng, project, head):
    count = 400
    codes = head.codes(rng, count)
    edits = draw_edits(NAMES, count, EditConfig(singles=4))
    joint = np.array(edits.kinds) == JOINT
    own = rng.exponential(size=count)  # of a latent, shared by its edits
    miss = np.sqrt(np.where(joint, 5.0, 1.0) + own[edits.rows])
    wanted = codes[edits.rows] + edits.offsets
    reached = wanted.copy()
    reached[:, 0] += miss
    losses = control_losses(project, exact(rng, project, codes, edits, reached=reached))
    row = summarise("w", losses, resamples=2000, seed=1)
    found = row.sums["L_phi"]
    assert found.value == pytest.approx(3.0 + own.mean())
    assert row.kinds[JOINT]["L_phi"].value == pytest.approx(5.0 + own.mean())
    half = 1.96 * own.std() / count**0.5
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)
    assert list(row.names) == [*ANGLES, "alpha_0", "alpha_1", "alpha_2"]


def rows_of(rng, project, codes, sizes, seeds, noise):
    """One row a space, whose L_R and L_ID are planted; noise is shared by the latents."""
    edits = draw_edits(NAMES, len(codes))
    wanted = codes[edits.rows] + edits.offsets
    signs = np.resize([1.0, -1.0], (POINTS, 1))  # gaps that are no shift
    rows = []
    for (space, (obeyed, identity)), seed in zip(sizes.items(), seeds, strict=True):
        size = np.sqrt((obeyed + noise[edits.rows]) / (2 * POINTS))
        face = np.zeros((len(codes), 3))
        moved = np.zeros((len(edits), 3))
        moved[:, 0] = identity + noise[edits.rows]
        trial = exact(
            rng,
            project,
            codes,
            edits,
            edited_landmarks=project(wanted) + size[:, None, None] * signs,
            descriptors=face,
            edited_descriptors=moved,
        )
        rows.append(summarise(space, control_losses(project, trial), 400, seed))
    return rows


def test_orderings_are_checked_and_pairs_of_the_same_images_compared(rng, project, head):
    codes = head.codes(rng, 80)
    noise = 0.05 * rng.exponential(size=80)
    sizes = {"z": (0.12, 0.19), "w": (0.11, 0.33), "w+ (tied rows)": (0.18, 0.185)}
    paired = orderings(rows_of(rng, project, codes, sizes, (3, 3, 3), noise))
    assert [(o.loss, o.best, o.holds, o.certain) for o in paired] == [
        ("L_R", "w", True, True),
        ("L_R centred", "w", True, True),
        ("L_ID", "w+ (tied rows)", True, True),
    ]
    gap = paired[0].differences["z"]
    assert gap.value == pytest.approx(0.01) and gap.high - gap.low < 1e-9  # the noise cancels
    apart = orderings(rows_of(rng, project, codes, sizes, (3, 4, 5), noise))
    assert [(o.holds, o.certain) for o in apart] == [(True, False)] * 3
    turned = {"z": (0.10, 0.05), "w": (0.2, 0.33), "w+ (tied rows)": (0.3, 0.185)}
    wrong = orderings(rows_of(rng, project, codes, turned, (3, 3, 3), noise))
    assert [(o.holds, o.certain) for o in wrong] == [(False, True)] * 3


def test_the_papers_own_table_has_the_orderings_that_are_checked():
    for model in ("StyleGAN2", "StyleGAN3"):
        rows = {name.split(", ")[1]: row for name, row in PAPER.items() if name.startswith(model)}
        assert min(rows, key=lambda space: rows[space][LOSSES.index("L_R")]) == "w"
        assert min(rows, key=lambda space: rows[space][LOSSES.index("L_ID")]) == "w+"


def test_the_table_is_told_as_json_csv_and_markdown(rng, project, head):
    codes = head.codes(rng, 30)
    sizes = {"z": (0.3, 0.2), "w": (0.1, 0.4), "w+ (tied rows)": (0.2, 0.1)}
    rows = rows_of(rng, project, codes, sizes, (1, 1, 1), np.zeros(30))
    table = Table(tuple(rows), tuple(orderings(rows)), {"generator": "planted", "none": None})
    told = json.loads(json.dumps(as_json(table), allow_nan=False))
    assert told["rows"][1]["sums"]["L_R"]["value"] == pytest.approx(0.1)
    assert told["rows"][1]["means"]["L_R"]["value"] == pytest.approx(0.1 / (2 * POINTS))
    assert told["paper"][1] == {
        "space": "StyleGAN2, w",
        **dict(zip(LOSSES, PAPER["StyleGAN2, w"], strict=True)),
    }
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    found = [r for r in lines if (r["space"], r["edits"], r["loss"]) == ("w", JOINT, "L_R")]
    assert len(found) == 1 and float(found[0]["sum"]) == pytest.approx(0.1)
    text = as_markdown(table)
    assert "w is best on L_R: true" in text and "w+ (tied rows) is best on L_ID: true" in text
    assert "| w | 0 (0 .. 0) |" in text and "| StyleGAN3, w+ | 0.009 |" in text
