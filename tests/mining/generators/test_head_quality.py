"""dlib reads the procedural head: a small version of tests/benchmarks/head_quality.py.

The bounds leave room for the noise of 80 heads; the benchmark holds the real targets.
"""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.head import HeadGenerator
from mining.generators.head.parameters import NAMES, PARAMETERS
from tests.benchmarks import head_quality as quality

pytestmark = pytest.mark.slow
HEADS = 80


@pytest.fixture(scope="module")
def head() -> HeadGenerator:
    return HeadGenerator()


@pytest.fixture(scope="module")
def reader() -> quality.Dlib:
    return quality.Dlib()


@pytest.fixture(scope="module")
def study(head, reader) -> quality.Study:
    return quality.study(head, reader, HEADS, seed=11)


def values(rows: list[quality.Row]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


def test_faces_are_detected(study):
    assert study.detected.mean() >= 0.93  # 99 % of 4,000


def test_landmarks_agree_with_the_truth(study):
    found = values(quality.landmark_rows(study))
    assert found["NME, mean offset removed"] < 0.05
    assert found["NME, inner 51, mean offset removed"] < 0.036


def test_pose_is_read(study):
    yaw, pitch, roll = (row.value for row in quality.pose_rows(study))
    assert yaw > 0.95 and pitch > 0.75 and roll > 0.93


def test_geometric_scores_follow_the_expressions(study):
    scores = quality.geometric_scores(study.found[study.detected])
    bounds = {"mouth_open": 0.65, "smile": 0.45, "eye_closed": 0.45, "brow_raise": 0.35}
    for name, bound in bounds.items():
        true = study.value(name)[study.detected]
        assert quality.correlation(scores[name], true) > bound, name


@pytest.mark.parametrize("name", ["mouth_open", "smile", "eye_closed", "brow_raise"])
def test_one_expression_varied_is_read_in_order(head, reader, name):
    w_plus = head.broadcast(head.map(head.sample_z(1, np.random.default_rng(2)), psi=0.4))
    w_plus = head.w_plus_with(head.w_plus_with(w_plus, "yaw", 5.0), "glasses", 0.01)
    p = PARAMETERS[NAMES.index(name)]
    steps = np.linspace(p.low + 0.05, p.high - 0.05, 6)
    images = [head.synthesize(head.w_plus_with(w_plus, name, float(v)))[0] for v in steps]
    points = [reader.landmarks(image) for image in images]
    assert all(found is not None for found in points)
    score = quality.geometric_scores(np.stack(points))[name]
    assert quality.correlation(score, steps) > 0.9


def test_a_person_is_told_from_others(head, reader):
    (row, *_) = quality.embedding_rows(head, reader, 14, seed=4, kinds=1)
    assert row.value > 0.85  # 0.93 over 400 people
