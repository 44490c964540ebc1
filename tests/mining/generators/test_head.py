"""The head generator keeps the protocol, is deterministic to the byte, and knows its truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mining.generators.base import Generator, KnownTruth
from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.generators.head.camera import pose_matrix
from mining.generators.registry import make_generator
from schemas.errors import InputError


@pytest.fixture(scope="module")
def head() -> HeadGenerator:
    return HeadGenerator(resolution=128, supersampling=1.0)


def faces(head: HeadGenerator, count: int, psi: float = 1.0, seed: int = 3) -> np.ndarray:
    z = head.sample_z(count, np.random.default_rng(seed))
    return head.broadcast(head.map(z, psi))


def set_value(head: HeadGenerator, w_plus: np.ndarray, **values: float) -> np.ndarray:
    for name, value in values.items():
        w_plus = head.w_plus_with(w_plus, name, value)
    return w_plus


def test_fits_both_protocols():
    head = make_generator("head")
    assert isinstance(head, Generator)
    assert isinstance(head, KnownTruth)
    assert (head.resolution, head.num_ws, head.w_dim) == (256, len(head.layer_names), 512)


def test_shapes_and_types(head):
    w_plus = faces(head, 2)
    images, truth = head.synthesize_with_truth(w_plus)
    assert w_plus.shape == (2, head.num_ws, 512) and w_plus.dtype == np.float32
    assert images.shape == (2, 128, 128, 3) and images.dtype == np.uint8
    assert truth.parameters.shape == (2, len(table.NAMES))
    assert truth.landmarks_2d.shape == (2, 68, 2) and truth.landmarks_3d.shape == (2, 68, 3)
    assert all(
        a.dtype == np.float32
        for a in (truth.parameters, truth.landmarks_2d, truth.landmarks_3d, head.mean_w())
    )


def test_has_the_promised_parameters():
    identity = [p for p in table.PARAMETERS if p.layer == "identity"]
    assert len(identity) >= 20
    wanted = "smile mouth_open eye_closed brow_raise frown pucker gaze_x gaze_y yaw pitch roll"
    wanted += " skin_tone hair_dark hair_length age wrinkles grey beard glasses make_up"
    assert set(wanted.split()) <= set(table.NAMES)
    assert {p.layer for p in table.PARAMETERS} == set(table.LAYERS)


def test_true_directions_are_orthonormal(head):
    directions = head.truth().directions.astype(np.float64)
    assert np.abs(directions @ directions.T - np.eye(len(directions))).max() < 1e-6


def test_a_step_along_a_true_direction_moves_one_parameter_only(head):
    w_plus = faces(head, 3)
    before = head.parameters(w_plus)
    truth = head.truth()
    for k, name in enumerate(truth.names):
        after = head.parameters(w_plus + truth.direction(name))
        assert (after[:, k] > before[:, k]).all(), name
        others = np.delete((after - before) / (table.HIGH - table.LOW), k, axis=1)
        assert np.abs(others).max() < 1e-5, name


def test_a_parameter_is_read_from_its_own_row_of_w_plus(head):
    w_plus = faces(head, 1)
    truth = head.truth()
    for name in ("yaw", "jaw_width", "smile", "hair_dark", "grey", "clothing"):
        k = truth.names.index(name)
        step = np.zeros_like(w_plus)
        step[:, truth.layers[k]] = truth.direction(name)
        assert head.parameters(w_plus + step)[0, k] > head.parameters(w_plus)[0, k]
        elsewhere = np.broadcast_to(truth.direction(name), w_plus.shape) - step
        assert head.parameters(w_plus + elsewhere)[0, k] == pytest.approx(
            head.parameters(w_plus)[0, k], abs=1e-4
        )


def test_w_plus_with_sets_the_value_that_it_was_given(head):
    w_plus = set_value(head, faces(head, 2), yaw=17.5, smile=0.6)
    values = head.parameters(w_plus)
    assert values[:, table.NAMES.index("yaw")] == pytest.approx(17.5, abs=1e-3)
    assert values[:, table.NAMES.index("smile")] == pytest.approx(0.6, abs=1e-4)


def test_values_stay_in_their_ranges(head):
    values = head.parameters(faces(head, 200))
    assert (values >= table.LOW.astype(np.float32)).all()
    assert (values <= table.HIGH.astype(np.float32)).all()
    yaw = values[:, table.NAMES.index("yaw")]
    assert yaw.min() < -20 and yaw.max() > 20


@pytest.mark.parametrize("entanglement", [0.0, 0.3, 0.8])
def test_entanglement_correlates_the_logits_through_the_mapping(entanglement):
    head = HeadGenerator(entanglement=entanglement)
    logits = head._mapping.logits(faces(head, 2000))
    found = np.corrcoef(logits.T)
    wanted = table.entangling_matrix(entanglement)
    wanted = wanted @ wanted.T
    # The correction is exact on its own 4,096 latents; 2,000 new ones leave a deviation of 0.027,
    # and the largest of 2,278 pairs lies some four deviations out.
    assert np.sqrt(((found - wanted) ** 2).mean()) < 0.04
    assert np.abs(found - wanted).max() < 0.15
    assert found[table.NAMES.index("age"), table.NAMES.index("grey")] == pytest.approx(
        entanglement, abs=0.06
    )
    assert logits.std(0) == pytest.approx(1.0, abs=0.08)


def test_w_is_centred_and_truncation_pulls_to_its_mean(head):
    z = head.sample_z(2000, np.random.default_rng(0))
    w = head.map(z)
    assert np.abs(w.mean(0) - head.mean_w()).max() < 0.2  # 2,000 draws of deviation up to 1.6
    assert np.allclose(head.map(z[:3], psi=0.5), 0.5 * w[:3])
    assert not head.map(z[:3], psi=0.0).any()


def test_the_same_input_gives_the_same_bytes(head):
    w_plus = faces(head, 3)
    again = HeadGenerator(resolution=128, supersampling=1.0)
    assert (faces(again, 3) == w_plus).all()
    assert (again.synthesize(w_plus) == head.synthesize(w_plus)).all()


def test_batch_size_and_thread_count_change_no_byte(head):
    z = head.sample_z(4, np.random.default_rng(9))
    together = head.synthesize(head.broadcast(head.map(z)))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        for k in range(4):
            alone = head.synthesize(head.broadcast(head.map(z[k : k + 1])))
            assert (alone[0] == together[k]).all()
    finally:
        cv2.setNumThreads(threads)


def test_another_seed_or_setting_is_another_generator(head):
    settings = [{}, {"seed": 1}, {"entanglement": 0.0}, {"resolution": 64}, {"supersampling": 2.0}]
    prints = {HeadGenerator(**s).fingerprint() for s in settings}
    assert len(prints) == len(settings)
    assert all(len(p) == 64 for p in prints)
    z = head.sample_z(1, np.random.default_rng(0))
    assert not np.allclose(head.map(z), HeadGenerator(seed=1).map(z), atol=0.1)


@pytest.mark.parametrize("resolution", [64, 200, 1024])
def test_landmarks_do_not_depend_on_the_resolution(head, resolution):
    w_plus = faces(head, 1, psi=0.5)
    other = HeadGenerator(resolution=resolution, supersampling=1.0)
    image, truth = other.synthesize_with_truth(w_plus)
    assert image.shape == (1, resolution, resolution, 3)
    wanted = head.synthesize_with_truth(w_plus)[1].landmarks_2d
    assert np.abs(truth.landmarks_2d - wanted).max() < 0.012  # jaw points slide by mesh steps


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("resolution", 32),
        ("resolution", 2048),
        ("seed", -1),
        ("entanglement", -0.1),
        ("entanglement", 0.95),
        ("supersampling", 0.5),
        ("supersampling", 4.0),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, value):
    with pytest.raises(InputError, match=f"head: {setting} {value} is outside"):
        HeadGenerator(**{setting: value})


def test_wrong_shapes_and_names_are_refused(head):
    with pytest.raises(InputError, match=r"z has shape \(2, 100\); expected \(N, 512\)"):
        head.map(np.zeros((2, 100), np.float32))
    with pytest.raises(InputError, match="w has shape"):
        head.broadcast(np.zeros(512, np.float32))
    with pytest.raises(InputError, match="w_plus has shape"):
        head.synthesize(np.zeros((1, 3, 512), np.float32))
    with pytest.raises(InputError, match="z holds NaN or infinity"):
        head.map(np.full((1, 512), np.nan, np.float32))
    with pytest.raises(InputError, match="condition of shape"):
        head.synthesize(faces(head, 1), condition=np.zeros((1, 25), np.float32))
    with pytest.raises(InputError, match="no parameter 'nose'"):
        head.w_plus_with(faces(head, 1), "nose", 1.0)


def test_far_edits_still_give_an_image(head):
    w_plus = 20 * faces(head, 2)
    images, truth = head.synthesize_with_truth(w_plus)
    assert images.std() > 10
    assert np.isfinite(truth.landmarks_2d).all()


def test_pose_signs():
    nose, crown = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    assert (pose_matrix(20, 0, 0) @ nose)[0] == pytest.approx(np.sin(np.deg2rad(20)))
    assert (pose_matrix(0, 15, 0) @ nose)[1] == pytest.approx(np.sin(np.deg2rad(15)))
    assert (pose_matrix(0, 0, 8) @ crown)[0] == pytest.approx(np.sin(np.deg2rad(8)))
    turned = pose_matrix(25, -10, 5)
    assert turned @ turned.T == pytest.approx(np.eye(3))


def test_landmarks_follow_pose_and_expression(head):
    calm = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "mouth_open": 0.1, "eye_closed": 0.05}
    base = set_value(head, faces(head, 1, psi=0.5), **calm)

    def points(**values: float) -> np.ndarray:
        return head.synthesize_with_truth(set_value(head, base, **values))[1].landmarks_2d[0]

    still = points()
    assert points(yaw=20.0)[30, 0] > still[30, 0] + 0.03  # the nose's tip goes right
    assert points(pitch=15.0)[30, 1] < still[30, 1] - 0.01  # and up
    leaning = points(roll=8.0)
    assert leaning[27, 0] - leaning[8, 0] > still[27, 0] - still[8, 0] + 0.03
    assert points(mouth_open=0.9)[66, 1] > still[66, 1] + 0.05  # the lower lip sinks
    shut = points(eye_closed=1.0)
    assert abs(shut[37, 1] - shut[41, 1]) < 0.4 * abs(still[37, 1] - still[41, 1])
    assert points(shift_x=8.0)[:, 0].mean() > still[:, 0].mean() + 0.015
    assert (points(smile=0.9)[[48, 54], 1] < still[[48, 54], 1]).all()  # the corners rise


def test_landmarks_lie_on_the_projected_surface(head):
    """2D landmarks are the 3D ones through the camera, jaw apart."""
    from mining.generators.head.camera import Camera

    w_plus = faces(head, 3)
    _, truth = head.synthesize_with_truth(w_plus)
    for n in range(3):
        camera = Camera(table.as_dict(truth.parameters[n]), 128)
        projected = camera.project(truth.landmarks_3d[n].T.astype(np.float64))[:2].T
        assert (projected + 0.5) / 128 == pytest.approx(truth.landmarks_2d[n], abs=2e-3) or (
            np.abs((projected + 0.5) / 128 - truth.landmarks_2d[n])[17:].max() < 1e-4
        )


def test_skin_tone_does_not_leak_into_the_backdrop_or_the_hair(head):
    base = set_value(head, faces(head, 1), yaw=0.0, hair_dark=0.9, beard=0.02)
    light, dark = (head.synthesize(set_value(head, base, skin_tone=t))[0] for t in (0.95, 0.06))
    corner = (slice(0, 20), slice(0, 12))
    assert (light[corner] == dark[corner]).all()
    assert light[50:90, 50:80].mean() > dark[50:90, 50:80].mean() + 40


@pytest.mark.parametrize(
    "name",
    [n for n in table.NAMES if n not in ("hair_parting", "nose_bend", "mouth_tilt", "brow_tilt")],
)
def test_every_parameter_shows_in_the_image(head, name):
    visible = {"glasses": 0.02, "hair_fringe": 0.6, "hair_length": 0.6, "mouth_open": 0.3}
    base = set_value(head, faces(head, 1, psi=0.3), yaw=0.0, **visible)
    p = table.PARAMETERS[table.NAMES.index(name)]
    low, high = (p.low + t * (p.high - p.low) for t in (0.04, 0.96))
    a, b = (head.synthesize(set_value(head, base, **{name: v}))[0].astype(int) for v in (low, high))
    changed = np.abs(a - b).max(axis=2) > 8
    assert changed.sum() >= 12  # pixels of 128 x 128
