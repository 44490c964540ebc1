"""The paper's tables beside ours: orderings, verdicts, and how they are written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from mining.evaluation.transfer_scores import Names, Side, Told, Trial, score
from mining.evaluation.transfer_tables import (
    FULL,
    MIXED,
    NO_IDENTITY,
    NO_INNER,
    PAIRED,
    PAPER,
    best_of,
    gap_between,
    orderings,
)
from mining.evaluation.transfer_text import Report, as_csv, as_json, as_markdown, beside, verdict

PAIRS = 120
NAMES = Names(("yaw", "pitch", "roll", "smile"), ("nose",))


@pytest.fixture
def faces(rng):
    """(sources, targets) of random pose, expression and identity."""

    def some():
        told = Told(rng.normal(size=(PAIRS, 4)) * [20, 10, 5, 1], rng.normal(size=(PAIRS, 1)))
        points = rng.uniform(0.3, 0.7, size=(PAIRS, 68, 2))
        return Side(told, points, rng.normal(size=(PAIRS, 8)) + 2, told, points)

    return some(), some()


def made(faces, label, kind, pose, exp, unlike, reading="latents", noise=0.0):
    """A row whose errors of pose and expression, and whose faces, are off by so much."""
    source, target = faces
    off = np.array([pose, pose, pose, exp]) * (1 + noise * source.measured.moving[:, :1] / 20)
    told = Told(target.measured.moving + off, source.measured.still)
    likeness = source if kind == "cross" else target
    descriptors = likeness.descriptors * (1 + unlike * np.arange(8))
    side = Side(told, target.landmarks, descriptors, told, target.landmarks)
    trial = Trial(kind, source, target, NAMES, NAMES)
    return score(label, reading, trial, side, resamples=100)


def as_in_the_paper(faces, noise=0.0):
    """Rows in the paper's order, and not in its figures."""
    return [
        made(faces, FULL, "cross", 1.0, 0.2, 0.1, noise=noise),
        made(faces, NO_IDENTITY, "cross", 1.1, 0.2, 0.5, noise=noise),
        made(faces, NO_INNER, "cross", 1.2, 0.4, 0.1, noise=noise),
        made(faces, FULL, "self", 1.0, 0.3, 0.5, noise=noise),
        made(faces, MIXED, "self", 0.8, 0.3, 0.3, noise=noise),
        made(faces, PAIRED, "self", 0.5, 0.1, 0.1, noise=noise),
    ]


def test_the_papers_tables_are_those_that_it_prints():
    two, three, four = PAPER
    assert two.rows[FULL] == three.rows[FULL] == {"csim": 0.52, "pose": 2.4, "exp": 1.4}
    assert two.rows[NO_IDENTITY] == {"csim": 0.42, "pose": 2.5, "exp": 1.4}
    assert three.rows[NO_INNER] == {"csim": 0.52, "pose": 2.6, "exp": 1.8}
    assert [row["csim_target"] for row in four.rows.values()] == [0.60, 0.63, 0.66]
    assert [row["pose"] for row in four.rows.values()] == [1.7, 1.6, 1.1]
    assert [row["exp"] for row in four.rows.values()] == [1.1, 1.1, 0.8]


def test_rows_in_the_papers_order_hold_all_its_orderings(faces):
    found = orderings(as_in_the_paper(faces))
    assert all(each.holds and each.certain for each in found)
    asked = {(each.table, each.figure, each.better, each.worse) for each in found}
    assert (2, "csim", FULL, NO_IDENTITY) in asked and (2, "pose", FULL, NO_IDENTITY) in asked
    assert not any(table == 2 and figure == "exp" for table, figure, *_ in asked)  # a tie there
    assert not any(table == 3 and figure == "csim" for table, figure, *_ in asked)
    assert (4, "exp", PAIRED, MIXED) in asked and (4, "exp", MIXED, FULL) not in asked
    assert {each.view for each in found if each.figure == "csim"} == {"measured"}
    assert {each.view for each in found if each.figure == "pose"} == {"measured", "true"}


def test_orderings_that_do_not_hold_or_may_be_chance(faces):
    full = made(faces, FULL, "cross", 1.0, 0.2, 0.5)
    turned = made(faces, NO_IDENTITY, "cross", 0.5, 0.2, 0.1)
    found = {(o.figure, o.view): o for o in orderings([full, turned])}
    assert not found["pose", "true"].holds and found["pose", "true"].certain
    assert found["pose", "true"].gap.value == pytest.approx(-0.5)
    assert not found["csim", "measured"].holds
    near = [
        made(faces, FULL, "cross", 1.0, 0.2, 0.1, noise=5),
        made(faces, NO_IDENTITY, "cross", 1.0, 0.2, 0.1, noise=-5),
    ]
    found = {(o.figure, o.view): o for o in orderings(near)}
    assert not found["pose", "true"].certain


def test_of_two_readings_the_first_stands_beside_the_paper(faces):
    rows = as_in_the_paper(faces)
    also = [replace(made(faces, FULL, "cross", 7.0, 2.0, 0.9), reading="images")]
    report = Report("Both", (*rows, *also), {}, (), PAPER)
    pose = rows[0].views["true"]["pose"].value
    (line,) = [x for x in beside(PAPER[0], report.rows).split("\n") if x.startswith(f"| {FULL} ")]
    assert f"| {pose:.3g}" in line and "| 7" not in line
    assert orderings([*rows, *also]) == orderings(rows)


def test_a_training_that_is_not_there_is_left_out(faces):
    assert orderings([made(faces, FULL, "cross", 1, 1, 0)]) == []
    only = [made(faces, FULL, "self", 1, 1, 0), made(faces, PAIRED, "self", 0.5, 0.5, 0)]
    assert {each.table for each in orderings(only)} == {4}


def test_the_verdict_names_the_better_one_unless_it_may_be_chance(faces):
    good = made(faces, "learned", "cross", 0.3, 0.1, 0)
    bad = made(faces, "closed", "cross", 3.0, 0.5, 0)
    assert best_of([bad, good]) is good and best_of([]) is None
    assert gap_between(bad, good).value == pytest.approx((3.0 - 0.3) / 3 / 4, abs=0.02)
    text = verdict([good, bad], ["learned"], ["closed"])
    assert "learned read from latents" in text and "ahead of the best closed form" in text
    assert "behind the best closed form" in verdict([good, bad], ["closed"], ["learned"])
    same = verdict([good, replace(good, label="closed")], ["learned"], ["closed"])
    assert "is level with the best closed form" in same and "score minus its, is 0 (0 .. 0)" in same
    assert verdict([good], ["learned"], []) == ""


def test_json_csv_and_markdown_tell_the_same(faces):
    rows = as_in_the_paper(faces, noise=0.2)
    rows.append(made(faces, "unedited", "cross", 9, 2, 0, reading=""))
    report = Report(
        "Ablations",
        tuple(rows),
        {"pairs": 120, "none": ""},
        tuple(orderings(rows)),
        PAPER,
        ("So.",),
    )
    told = json.loads(json.dumps(as_json(report), allow_nan=False))
    first = told["rows"][0]
    assert (first["method"], first["parameters_read_from"], first["pairs"]) == (
        FULL, "latents", "cross",
    )  # fmt: skip
    pose = rows[0].views["true"]["pose"]
    assert first["true"]["pose"] == {"value": pose.value, "low": pose.low, "high": pose.high}
    assert first["true"]["joint"]["value"] == rows[0].joint["true"].value
    assert first["meets"]["true"]["pose"] is True and told["bars"]["pose"] == 3.0
    assert told["paper"][0]["rows"][FULL]["csim"] == 0.52
    assert all(each["said"].startswith("Table ") for each in told["orderings"])
    lines = list(csv.DictReader(io.StringIO(as_csv(report))))
    (line,) = [
        each
        for each in lines
        if (each["method"], each["pairs"], each["view"], each["figure"])
        == (PAIRED, "self", "true", "pose")
    ]
    assert float(line["value"]) == pytest.approx(rows[5].views["true"]["pose"].value, rel=1e-5)
    assert {each["view"] for each in lines} >= {"measured", "true", "paper, Table 4"}
    text = as_markdown(report)
    assert text.startswith("# Ablations\n") and "So." in text and "nan" not in text
    assert "## Table 2: identity and perceptual losses" in text
    assert f"| {FULL} | 0.52 | 2.4 | 1.4 |" in text and f"| {PAIRED} | 0.66 | 1.1 | 0.8 |" in text
    assert "- pairs: 120" in text and "none:" not in text


def test_figures_that_nobody_has_are_dashes(faces):
    bare = [replace(one, descriptors=np.empty((PAIRS, 0)), true=None) for one in faces]
    trial = Trial("cross", *bare, NAMES, threshold=None)
    row = score(FULL, "latents", trial, bare[0], resamples=20)
    report = Report("Bare", (row,), {}, tuple(orderings([row])), PAPER)
    text = as_markdown(report)
    assert "nan" not in text and "by the generator's truth" not in text
    assert json.loads(json.dumps(as_json(report), allow_nan=False))["rows"][0]["identity"]["csim"]
