"""Edits compared: planted changes, leaks and identities come out, with honest intervals."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from mining.evaluation.edit_scores import Edited, Scores, compare_edits
from mining.evaluation.edit_scores_text import Rescoring, as_csv, as_json, as_markdown
from mining.evaluation.paper_tables import IDENTITY, paper_order
from schemas.errors import InputError

NAMES, UNITS, SPREADS = ("yaw", "smile", "pitch"), ("degrees", "mm", "degrees"), (10.0, 0.5, 5.0)
IMAGES = 400


def edited(rng, method, attribute, changes, identity, noise=0.2, images=IMAGES, **more) -> Edited:
    """Mean changes in spreads and a mean identity, with noise of its own for every image."""
    spreads = np.array(SPREADS)
    made = (np.array(changes) + noise * rng.normal(size=(images, 3))) * spreads
    faces = identity * (1 + noise * rng.normal(size=images))
    told = {"direction_id": f"{attribute} {method}", "name": f"{attribute} · {method}", **more}
    return Edited(
        method=method,
        attribute=attribute,
        step=2.0,
        sigma=1.6,
        changes=made,
        identity=faces,
        **told,
    )


def compared(*some: Edited, seed=0) -> Scores:
    return compare_edits(some, NAMES, UNITS, SPREADS, 300, seed)


def test_planted_changes_leaks_and_identities_come_out(rng):
    scores = compared(
        edited(rng, "svm", "yaw", (1.0, 0.3, -0.4), 0.05),
        edited(rng, "svm", "smile", (0.1, -0.5, 0.9), 0.10),
        edited(rng, "ridge", "yaw", (1.0, 0.1, 0.0), 0.02),
    )
    yaw, smile, _ = scores.rows
    # 400 images with noise 0.2 tell a mean to 0.01; five times that is a chance below 1e-6
    for found, truth in zip(yaw.relative, (1.0, 0.3, -0.4), strict=True):
        assert found.value == pytest.approx(truth, abs=0.05)
        assert found.high - found.low == pytest.approx(4 * 0.01, rel=0.25)
    assert [found.value for found in yaw.raw] == pytest.approx([10, 0.15, -2], abs=0.5)
    assert yaw.leak.value == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 2), rel=0.1)
    assert (yaw.moves_own_most, smile.moves_own_most) == (True, False)
    assert (yaw.moves_most, smile.moves_most) == ("yaw", "pitch")
    assert smile.own.value == pytest.approx(-0.5, abs=0.05)
    assert yaw.identity.value == pytest.approx(0.05, rel=0.05)
    ridge, svm = scores.methods  # the one that keeps identity best first
    assert (ridge.method, svm.method) == ("ridge", "svm")
    assert (svm.diagonality.value, svm.judged, svm.directions) == (0.5, 2, 2)
    assert scores.shared == ("yaw",)  # ridge has no smile, so means over both would not compare
    assert svm.shared_identity == svm.identity["yaw"]
    assert svm.identity["smile"].value == pytest.approx(0.10, rel=0.05)


def test_intervals_cover_planted_means_and_leaks():
    leak, covered = math.sqrt((0.3**2 + 0.4**2) / 2), np.zeros(3)
    for seed in range(60):
        made = edited(np.random.default_rng(seed), "svm", "yaw", (1.0, 0.3, -0.4), 0.05, images=80)
        (row,) = compared(made, seed=seed).rows
        truths = (row.relative[0], 1.0), (row.identity, 0.05), (row.leak, leak)
        covered += [found.low <= truth <= found.high for found, truth in truths]
    assert (covered >= 50).all()  # 95 % of 60 are 57; fewer than 50 have a chance below 1 in 1,000


def test_the_order_of_directions_and_the_draws_of_others_change_nothing(rng):
    some = [
        edited(rng, "svm", "yaw", (1.0, 0.3, -0.4), 0.05),
        edited(rng, "ridge", "smile", (0.1, 0.5, 0.2), 0.1),
    ]
    one, other = compared(*some), compared(*reversed(some))
    assert one.rows == tuple(reversed(other.rows))
    assert compared(some[0]).rows == one.rows[:1]


def test_readings_of_one_quantity_are_no_rivals():
    names, rng = ("mouth_open", "jaw_open"), np.random.default_rng(0)
    changes = np.array([1.0, 2.0]) + 0.1 * rng.normal(size=(50, 2))
    one = Edited("a", "a", "svm", "mouth_open", 1.0, 1.0, changes, np.full(50, 0.1))
    (row,) = compare_edits([one], names, ("1", "1"), (1.0, 1.0)).rows
    assert row.moves_own_most is None  # there is no rival
    (method,) = compare_edits([one], names, ("1", "1"), (1.0, 1.0)).methods
    assert math.isnan(method.diagonality.value) and method.judged == 0


def test_what_is_not_measured_is_left_out_and_one_image_has_no_interval(rng):
    made = edited(rng, "svm", "yaw", (1.0, 0.3, -0.4), 0.05, images=6)
    made.changes[1:, 1] = np.nan
    made.changes[0, 0] = np.nan
    made.identity[:] = np.nan
    (row,) = compare_edits([made], NAMES, UNITS, (10.0, 0.5, math.nan), 50).rows
    assert row.raw[0].value == pytest.approx(made.changes[1:, 0].mean())
    assert math.isfinite(row.raw[1].value) and math.isnan(row.raw[1].low)
    assert math.isnan(row.relative[2].value) and math.isfinite(row.raw[2].value)  # no spread
    assert math.isnan(row.identity.value) and row.measured == 6
    (svm,) = compare_edits([made], NAMES, UNITS, SPREADS).methods
    assert math.isnan(svm.shared_identity.value)


def test_directions_without_an_own_attribute_or_that_do_not_stand_for_their_method(rng):
    scores = compared(
        edited(rng, "pca", "yaw", (1.0, 0.3, -0.4), 0.05),
        edited(rng, "pca", "yaw", (0.5, 0.3, -0.4), 0.5, ranked=False, direction_id="second"),
        edited(rng, "pca", "", (0.5, 0.3, -0.4), 0.5, direction_id="third"),
    )
    (pca,) = scores.methods
    assert pca.directions == 2 and pca.judged == 1
    assert pca.identity["yaw"].value == pytest.approx(0.05, rel=0.1)  # of the ranked one alone
    nameless = scores.rows[2]
    assert nameless.moves_own_most is None and math.isnan(nameless.own.value)


def test_what_was_not_aimed_does_not_narrow_what_methods_are_compared_over(rng):
    scores = compared(
        edited(rng, "svm", "yaw", (1.0, 0.3, -0.4), 0.05),
        edited(rng, "svm", "smile", (0.1, 1.0, 0.2), 0.15),
        edited(rng, "pca", "pitch", (0.1, 0.2, 1.0), 0.02, aimed=False),
        edited(rng, "random", "yaw", (0.1, 0.2, 1.0), 0.02, aimed=False),
    )
    told = {method.method: method.shared_identity.value for method in scores.methods}
    assert scores.shared == ("yaw", "smile") and scores.methods[0].method == "svm"
    assert told["svm"] == pytest.approx(0.1, rel=0.05)
    assert math.isnan(told["pca"]) and math.isnan(told["random"])  # each lacks one of them


def test_methods_with_counterparts_are_ordered_as_in_the_paper_or_not(rng):
    scores = compared(
        edited(rng, "svm", "smile", (0.1, 1.0, 0.2), 0.05),
        edited(rng, "pca", "smile", (0.1, 1.0, 0.2), 0.04),
        edited(rng, "robust_pca", "smile", (0.1, 1.0, 0.2), 0.01),
        edited(rng, "svm", "yaw", (1.0, 0.1, 0.2), 0.05),
        edited(rng, "robust_pca", "yaw", (1.0, 0.1, 0.2), 0.01),
    )
    told = {(o.attribute, o.lower, o.higher): o for o in scores.orderings}
    assert set(told) == {
        ("smile", "svm", "pca"),
        ("mean", "svm", "pca"),
        ("smile", "robust_pca", "svm"),
        ("mean", "robust_pca", "svm"),
        ("smile", "robust_pca", "pca"),
        ("mean", "robust_pca", "pca"),
    }
    kept = told["smile", "robust_pca", "svm"]
    assert kept.holds and kept.share == 1.0 and kept.paper == (0.0047, 0.0515)
    assert told["mean", "robust_pca", "svm"].ours == ("smile", "yaw")
    against = told["smile", "svm", "pca"]
    assert not against.holds and against.share == 0.0  # 400 images tell 0.05 from 0.04


def test_the_papers_orders():
    assert paper_order("smile") == ("micromotion", "InterFaceGAN", "GANSpace")
    assert paper_order("gender") == ("micromotion", "GANSpace", "InterFaceGAN")
    assert paper_order("mean") == ("micromotion", "InterFaceGAN", "GANSpace")
    assert paper_order("age", ("GANSpace",)) == ("GANSpace",)
    assert paper_order("hat") == ()


def test_shapes_that_do_not_fit_are_refused(rng):
    one = edited(rng, "svm", "yaw", (1.0, 0.3, -0.4), 0.05)
    fewer = edited(rng, "ridge", "yaw", (1.0, 0.3, -0.4), 0.05, images=7)
    with pytest.raises(InputError, match=r"\(7, 3\).*came for 3 attributes"):
        compared(one, fewer)
    with pytest.raises(InputError, match="came for 1 attributes"):
        compare_edits([one], ("yaw",), ("degrees",), (10.0,))
    with pytest.raises(InputError, match="of the same images"):
        compared()


@pytest.fixture
def written(rng) -> Rescoring:
    scores = compared(
        edited(rng, "svm", "smile", (0.1, 1.0, 0.2), 0.05),
        edited(rng, "robust_pca", "smile", (0.1, 1.0, 0.2), math.nan),
        edited(rng, "svm", "yaw", (1.0, 0.1, 0.2), 0.05),
    )
    titles = {"step": "Edits of 1 sigma"}
    return Rescoring({"dataset": "d" * 16}, {"step": scores}, titles, {"yaw · pca": "too far"})


def test_json_is_plain_and_whole(written):
    told = json.loads(json.dumps(as_json(written), allow_nan=False))
    one = told["edits"]["step"]["directions"][0]
    assert one["relative"]["smile"]["value"] == pytest.approx(1.0, abs=0.05)
    assert one["sigmas"] == pytest.approx(1.25) and one["identity"]["low"] < 0.05
    assert told["edits"]["step"]["directions"][1]["identity"]["value"] is None
    assert told["paper"]["identity"] == {m: dict(cells) for m, cells in IDENTITY.items()}
    assert told["paper"]["rescoring"][0]["change"] == 0.482
    assert told["skipped"] == {"yaw · pca": "too far"}


def test_csv_has_a_line_for_every_scored_attribute_and_for_the_papers_cells(written):
    rows = list(csv.DictReader(io.StringIO(as_csv(written))))
    ours = [row for row in rows if row["edit"] == "step"]
    assert len(ours) == 3 * (3 + 1) and len(rows) == len(ours) + 12 + 2
    (cell,) = (r for r in ours if r["direction"] == "yaw · svm" and r["scored"] == "yaw")
    assert float(cell["spreads_low"]) < float(cell["spreads"]) < float(cell["spreads_high"])
    assert float(cell["change"]) == pytest.approx(10 * float(cell["spreads"]), rel=1e-4)
    lost = [r for r in ours if r["method"] == "robust_pca" and r["scored"] == "identity"]
    assert [row["change"] for row in lost] == [""]


def test_markdown_shows_a_matrix_for_every_method_and_the_papers_beside(written):
    text = as_markdown(written)
    for part in (
        "## Edits of 1 sigma",
        "svm, change in spreads:",
        "robust_pca, change in spreads:",
        "| micromotion | 0.0047 | 0.0660 | 0.0491 | 0.0279 | 0.0369 |",
        "edited smile: score of smile +0.482",
        "- yaw · pca: too far",
        "compare the order of the methods, not the digits",
    ):
        assert part in text
    assert "nan" not in text.lower().replace("ganspace", "")
