"""The extractor shape3d on landmarks whose pose is known, on heads, and on a photograph."""

from __future__ import annotations

import numpy as np
import pytest

from mining.extractors.base import NO_POSE, NOT_MEASURED, OK, Measurement, measure
from mining.extractors.dlib68 import Dlib68
from mining.extractors.geometry import POSE
from mining.extractors.models import UNKNOWN
from mining.extractors.shape3d import Shape3d, landmarks_of
from mining.generators.head import HeadGenerator
from mining.generators.head.parameters import NAMES
from mining.shape3d.readers.bfm import read_bfm
from mining.shape3d.readers.head import EXPRESSION, read_head
from schemas.errors import InputError
from tests.mining.shape3d import made_models
from tests.mining.shape3d.planted import Planted, planted

IMAGES = np.zeros((4, 8, 8, 3), np.uint8)


class Landmarks:
    """An extractor that says what it was told to."""

    columns, needs, licence = {}, (), ""

    def __init__(self, measurement: Measurement, name: str = "dlib"):
        self.name, self._measurement = name, measurement

    def fingerprint(self) -> str:
        return "0" * 64

    def __call__(self, images, earlier):
        return self._measurement


def faces(rng: np.random.Generator, noise: float = 0.0) -> Planted:
    return planted(rng, read_head().landmarks(), 4, noise=noise)


def run(points: np.ndarray, status=(OK,) * 4, column="landmarks", **options) -> Measurement:
    source = Landmarks(Measurement(status, {column: points.astype(np.float32)}))
    return measure([source, Shape3d(**options)], IMAGES)["shape3d"]  # type: ignore[list-item]


def test_pose_expression_and_their_named_columns(rng):
    truth = faces(rng)
    found = run(truth.points, noise=0.5)
    assert found.status == (OK,) * 4
    for k, name in enumerate(POSE):
        np.testing.assert_allclose(found.values[name], truth.angles[:, k], atol=1.0)
    np.testing.assert_allclose(found.values["scale"], truth.pose.scale, rtol=0.05)
    np.testing.assert_allclose(found.values["position"], truth.pose.position, atol=0.02)
    for k, name in enumerate(EXPRESSION):
        np.testing.assert_array_equal(found.values[name], found.values["expression"][:, k])
    strong = [EXPRESSION.index(name) for name in ("smile", "mouth_open")]
    errors = found.values["expression"] - truth.expression
    assert np.abs(errors[:, strong]).max() < 0.4  # standard deviations
    assert found.values["residual"].max() < 0.01
    assert found.values["identity"].shape == (4, 27)


def test_rows_that_cannot_be_fitted_say_why_and_harm_no_other(rng):
    points = faces(rng).points
    expected = run(points)
    bad = points.copy()
    bad[1], bad[2] = rng.uniform(0, 1, (68, 2)), np.nan
    found = run(bad, (OK, "several_faces", OK, "no_face"))
    assert found.status == (OK, NO_POSE, NO_POSE, NOT_MEASURED)
    for name, column in found.values.items():
        assert np.isnan(column[1:]).all(), name
        np.testing.assert_array_equal(column[0], expected.values[name][0])


def test_the_68_of_a_source_with_more_points_are_read(rng):
    truth = faces(rng)
    more = Measurement(
        (OK,) * 4,
        {"landmarks": rng.uniform(size=(4, 478, 2)), "landmarks_68": truth.points},
    )
    np.testing.assert_array_equal(landmarks_of("mediapipe", more), truth.points)
    source = Landmarks(more, "mediapipe")
    found = measure([source, Shape3d(source="mediapipe")], IMAGES)["shape3d"]  # type: ignore[list-item]
    assert found.status == (OK,) * 4
    with pytest.raises(InputError, match="'mediapipe' has no column landmarks_68 or landmarks"):
        landmarks_of("mediapipe", Measurement((OK,), {"landmarks": np.zeros((1, 478, 2))}))


def test_fewer_components_are_fitted_where_asked(rng):
    found = run(faces(rng).points, identities=5, expressions=2)
    assert found.values["identity"].shape == (4, 5)
    assert found.values["expression"].shape == (4, 2)
    assert {"smile", "mouth_open"} < set(found.values) and "frown" not in found.values


def test_a_shape_model_from_a_file(rng, tmp_path):
    """A face model of 2009, which has no expressions, and landmarks from a file beside it."""
    made = made_models.made(identities=4)
    path = made_models.bfm_mat(tmp_path / "model.mat", made)
    points = made_models.landmark_json(tmp_path / "landmarks.json", made)
    options = {"model": str(path), "model_kind": "bfm", "reader": {"landmarks": str(points)}}
    shape = read_bfm(path, points)
    truth = planted(rng, shape.landmarks(), 4)
    found = run(truth.points, noise=0.1, **options)
    for k, name in enumerate(POSE):
        np.testing.assert_allclose(found.values[name], truth.angles[:, k], atol=1.0)
    np.testing.assert_allclose(found.values["identity"], truth.identity, atol=0.2)
    assert "expression" not in found.values  # there is none
    extractor = Shape3d(**options)
    assert [model.name for model in extractor.models] == ["model.mat", "landmarks.json"]
    assert extractor.licence == extractor.models[0].licence == shape.licence
    assert extractor.models[1].licence == UNKNOWN
    assert extractor.fingerprint() != Shape3d().fingerprint()


def test_a_wide_image_and_weak_perspective(rng):
    truth = planted(rng, read_head().landmarks(), 4, focal=None, aspect=0.5)
    source = Landmarks(Measurement((OK,) * 4, {"landmarks": truth.points}))
    wide = np.zeros((4, 8, 16, 3), np.uint8)
    found = measure([source, Shape3d(focal=None, noise=0.5)], wide)["shape3d"]  # type: ignore[list-item]
    for k, name in enumerate(POSE):
        np.testing.assert_allclose(found.values[name], truth.angles[:, k], atol=1.0)


def test_the_fingerprint_tells_what_decides_the_numbers():
    changes = (
        {},
        {"source": "mediapipe"},
        {"identities": 10},
        {"expressions": 3},
        {"focal": 2.0},
        {"focal": None},
        {"regularisation": 2.0},
        {"noise": 1.0},
        {"name": "mesh3d"},
    )
    prints = [Shape3d(**options).fingerprint() for options in changes]
    assert len(set(prints)) == len(changes)
    assert Shape3d(focal=4.26, noise=3).fingerprint() == prints[0]


def test_a_number_out_of_range_is_told_by_the_extractors_name():
    for option, value in (("noise", -1.0), ("regularisation", 0.0), ("focal", 0.1)):
        with pytest.raises(InputError, match=f"^shape3d: {option} {value} came; expected"):
            Shape3d(**{option: value})  # type: ignore[arg-type]


def test_options_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="model 'head' and model_kind 'flame' came"):
        Shape3d(model_kind="flame")
    with pytest.raises(InputError, match="model FILE and a model_kind of bfm, flame, surrey"):
        Shape3d(model="face.h5")
    with pytest.raises(InputError, match="does not exist"):
        Shape3d(model=str(tmp_path / "none.h5"), model_kind="bfm")
    with pytest.raises(InputError, match="expressions -1 came"):
        Shape3d(expressions=-1)
    with pytest.raises(InputError, match="focal 0.0 came"):
        Shape3d(focal=0.0)
    with pytest.raises(InputError, match="no option 'landmarks'"):
        Shape3d(reader={"landmarks": "points.json"})
    with pytest.raises(InputError, match="and no sha256, or model FILE"):
        Shape3d(sha256="0" * 64)
    with pytest.raises(InputError, match="identities 1025 came"):
        Shape3d(identities=1025)
    for name in ("", "Shape", "3d", "a-b", "a" * 65, "a\n"):
        with pytest.raises(InputError, match="expected a letter, then letters"):
            Shape3d(name=name)


def test_two_stand_in_one_dataset(rng):
    truth = faces(rng)
    source = Landmarks(Measurement((OK,) * 4, {"landmarks": truth.points}), "mediapipe")
    first, second = Shape3d(), Shape3d(source="mediapipe", name="mesh3d")
    assert (first.name, second.name) == ("shape3d", "mesh3d")
    assert second.reads == {"mediapipe": ("landmarks_68", "landmarks")}
    assert measure([source, second], IMAGES)["mesh3d"].status == (OK,) * 4  # type: ignore[list-item]


def test_a_fit_that_does_not_settle_is_no_pose_and_says_so(rng):
    """A noise far below the landmarks' own asks for more steps than there are."""
    points = planted(rng, read_head().landmarks(), 200, noise=10.0).points
    measurement = Measurement((OK,) * 200, {"landmarks": points})
    found = Shape3d(noise=0.5)(np.zeros((200, 8, 8, 3), np.uint8), {"dlib": measurement})
    assert found.reasons and set(found.reasons.values()) == {"the fit did not settle in 6 steps"}
    for row in found.reasons:
        assert found.status[row] == NO_POSE and np.isnan(found.values["expression"][row]).all()
    kept = [row for row, status in enumerate(found.status) if status == OK]
    assert kept and not set(kept) & set(found.reasons)


def test_heads_through_dlib():
    generator = HeadGenerator(resolution=256)
    w = generator.map(generator.sample_z(12, np.random.default_rng(8)), psi=0.7)
    images, truth = generator.synthesize_with_truth(generator.broadcast(w))
    found = measure([Dlib68(), Shape3d()], images)["shape3d"]
    kept = found.measured()
    assert kept.sum() >= 10
    for name, least in (("yaw", 0.95), ("roll", 0.95), ("mouth_open", 0.7)):
        true = truth.parameters[kept, NAMES.index(name)]
        assert np.corrcoef(found.values[name][kept], true)[0, 1] > least, name
    assert np.abs(found.values["yaw"] - truth.parameters[:, NAMES.index("yaw")])[kept].mean() < 4


def test_a_real_photograph():
    data = pytest.importorskip("skimage.data")
    found = measure([Dlib68(), Shape3d()], data.astronaut()[None])["shape3d"]
    assert found.status == (OK,)
    assert max(abs(found.values[name][0]) for name in POSE) < 20  # she faces us
    assert found.values["smile"][0] > 0.5  # and smiles, showing her teeth
    assert found.values["residual"][0] < 0.06
