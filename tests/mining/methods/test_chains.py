"""The chain of surrogates on planted people: codes known, seen by a camera, in sequences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mining.methods.chains import make_surrogate_chain
from mining.methods.gcv_ridge import centred_within
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.matrix_config import MatrixConfig
from mining.methods.shape_loss import UNIT, ShapePoints
from mining.shape3d.camera import Pose, project
from mining.shape3d.readers.head import EXPRESSION, read_head
from schemas.errors import InputError
from tests.mining.shape3d.made_models import flame_content, landmark_json, made

NAMES = ("yaw", "pitch", "roll", *EXPRESSION)
K, E, D, EDGE = 9, 8, 24, 8
CONFIG = MatrixConfig(surrogate={"epochs": 12, "hidden": [32]})


@dataclasses.dataclass
class People:
    """200 people of one row and 100 of four: latent = identity, then pose and expression."""

    rows: LearnedRows
    truth: np.ndarray  # (N, 9) yaw ... pucker
    motion: np.ndarray  # (9, D) how a latent moves with one unit of each

    def face(self, rows):
        """Latents on the chain's device."""
        return torch.from_numpy(self.rows.latents[rows])


@pytest.fixture(scope="module")
def people():
    """Identity leaks into the measured smile, and pose into the descriptor."""
    rng = np.random.default_rng(11)
    groups = np.concatenate([np.full(200, -1), np.repeat(np.arange(100), 4)])
    person = np.concatenate([np.arange(200), 200 + np.repeat(np.arange(100), 4)])
    mixing = np.linalg.qr(rng.normal(size=(D, D)))[0]
    own, state = rng.normal(size=(300, D - K))[person], rng.normal(size=(600, K))
    latents = np.concatenate([own, state], axis=1) @ mixing
    truth = state * [12, 6, 5, *[1.0] * 6]
    motion = mixing[D - K :] / np.array([12, 6, 5, *[1.0] * 6])[:, None]
    measured = truth + 0.02 * truth.std(axis=0) * rng.normal(size=truth.shape)
    measured[:, 3] += 1.5 * own[:, 0]
    descriptors = own @ rng.normal(size=(D - K, E)) + 2 * state @ rng.normal(size=(K, E))
    basis = rng.normal(size=(D, 5)) @ rng.normal(size=(5, 3 * EDGE**2)) / 30
    pixels = (latents @ basis).reshape(600, EDGE, EDGE, 3)
    units = ("degrees",) * 3 + ("standard deviations",) * 6
    rows = LearnedRows(
        latents.astype(np.float32),
        "w",
        (D,),
        4,
        codes=ShapeCodes(NAMES, units, measured, own[:, :3]),
        descriptors=descriptors.astype(np.float32),
        pixels=pixels.astype(np.float32),
        sequences=groups,
    )
    return People(rows, truth, motion)


@pytest.fixture(scope="module")
def chain(people):
    return make_surrogate_chain(people.rows, CONFIG)


def test_says_what_it_reads(people, chain):
    assert chain.names == NAMES
    assert chain.units == people.rows.codes.units
    np.testing.assert_array_equal(chain.measured, people.rows.codes.moving)
    assert {f"r2_{name}" for name in NAMES} <= chain.evidence.keys()
    high = ("r2_yaw", "r2_smile", "r2_identity_codes", "r2_descriptor", "r2_pixels", "r2_read_yaw")
    assert min(chain.evidence[name] for name in high) > 0.95


def test_codes_are_as_measured_and_the_reading_is_of_motion_alone(people, chain):
    rows = np.arange(200, 260)
    codes = chain.codes(people.face(rows)).numpy()
    gaps = codes[:, :K] - people.rows.codes.moving[rows]
    assert (np.sqrt((gaps**2).mean(axis=0)) < 0.15 * people.truth.std(axis=0)).all()
    assert np.corrcoef(codes[:, K], people.rows.codes.identity[rows, 0])[0, 1] > 0.98
    spread = people.truth.std(axis=0)
    answered = (chain.reading.weights @ people.motion.T) * spread / spread[:, None]
    np.testing.assert_allclose(answered, np.eye(K), atol=0.06)
    still = people.rows.latents[:200] - people.truth[:200] @ people.motion  # identity alone
    assert chain.reading.read(still)[:, 3].std() < 0.1  # measured, it is 1.5
    read = chain.parameters(people.face(rows)).numpy()
    np.testing.assert_allclose(read, chain.reading.read(people.rows.latents[rows]), atol=1e-3)


def test_points_are_those_of_the_shape_model(people, chain):
    codes = torch.cat([torch.from_numpy(people.truth[:9]), torch.ones(9, 3)], dim=1).float()
    points = ShapePoints(read_head().landmarks())(codes[:, :K], codes[:, K:])
    np.testing.assert_allclose(chain.points(codes).numpy(), points.numpy(), atol=1e-6)


def test_embeddings_hold_still_where_a_person_moves(people, chain):
    own = np.flatnonzero(people.rows.sequences >= 0)
    groups = people.rows.sequences[own]
    found = chain.identity(people.face(own)).numpy().astype(np.float64)
    moved = centred_within(found, groups).var()
    before = centred_within(people.rows.descriptors[own].astype(np.float64), groups).var()
    assert moved < 0.02 * before
    assert found.var() > 20 * moved  # and people still differ


def test_without_pairs_nothing_is_known_of_what_holds_still(people):
    alone = make_surrogate_chain(people.rows, dataclasses.replace(CONFIG, training="synthetic"))
    still = people.rows.latents[:200] - people.truth[:200] @ people.motion
    assert alone.reading.read(still)[:, 3].std() > 1  # the leak is read
    own = np.flatnonzero(people.rows.sequences >= 0)
    found = alone.identity(people.face(own)).numpy().astype(np.float64)
    measured = people.rows.descriptors[own]
    assert np.sqrt(((found - measured) ** 2).mean()) < 0.2 * measured.std()


def test_small_images_and_their_contrasts(people, chain):
    images = chain.pixels(people.face(np.arange(50)))
    assert images.shape == (50, 3, EDGE, EDGE)
    wanted = people.rows.pixels[:50].transpose(0, 3, 1, 2)
    assert np.sqrt(((images.numpy() - wanted) ** 2).mean()) < 0.15 * wanted.std()
    predicted = chain.parts.pixels.predict(people.rows.latents[:50])
    np.testing.assert_allclose(images.numpy(), predicted.transpose(0, 3, 1, 2), atol=1e-4)
    assert chain.features(people.face(np.arange(5))).shape[0] == 5


def test_rows_without_an_image_are_left_out(people):
    holed = people.rows.pixels.copy()
    holed[5] = np.nan
    rows = dataclasses.replace(people.rows, pixels=holed, descriptors=None)
    chain = make_surrogate_chain(rows, CONFIG)
    assert chain.evidence["r2_pixels"] > 0.9 and chain.identity(people.face([5])) is None
    assert torch.isfinite(chain.pixels(people.face([5]))).all()
    none = dataclasses.replace(rows, pixels=np.full_like(holed, np.nan))
    assert make_surrogate_chain(none, CONFIG).pixels(people.face([5])) is None


def test_everything_has_a_gradient(people, chain):
    latents = people.face(np.arange(6)).requires_grad_()
    looks = (
        chain.points(chain.codes(latents)),
        *(look(latents) for look in (chain.identity, chain.features, chain.pixels)),
    )
    for seen in looks:
        (slope,) = torch.autograd.grad(seen.square().sum(), latents)
        assert torch.isfinite(slope).all() and (slope.abs().sum(dim=1) > 0).all()


def test_the_same_rows_give_the_same_chain(people, chain):
    again = make_surrogate_chain(people.rows, CONFIG)
    for one, other in zip(
        (chain.parts.codes, chain.parts.descriptor, chain.parts.pixels.amounts),
        (again.parts.codes, again.parts.descriptor, again.parts.pixels.amounts),
        strict=True,
    ):
        assert all(
            np.array_equal(one.arrays()[name], other.arrays()[name]) for name in one.arrays()
        )


@pytest.fixture(scope="module")
def seen(people):
    """The same people as 68 landmarks; every tenth has no face."""
    codes = torch.from_numpy(people.truth)
    identity = torch.from_numpy(0.5 * people.rows.codes.identity)
    shapes = ShapePoints(read_head().landmarks(), dtype=torch.float64)(codes, identity).numpy()
    still = Pose(np.tile(np.eye(3), (600, 1, 1)), np.full(600, 0.004), np.full((600, 2), 0.5))
    landmarks = project(shapes * UNIT, still, 4.26)
    landmarks[::10] = np.nan
    return LearnedRows(people.rows.latents, "w", (D,), 4, landmarks=landmarks.astype(np.float32))


def test_codes_are_fitted_to_landmarks(people, seen):
    chain = make_surrogate_chain(seen, CONFIG)
    assert chain.names == NAMES and chain.units[:4] == (*["degrees"] * 3, "standard deviations")
    assert np.isnan(chain.measured[::10]).all() and np.isfinite(chain.measured[1]).all()
    read = chain.codes(people.face(np.arange(600))).numpy()
    for column in (0, 1, 2, 4):  # pose, mouth_open
        assert np.corrcoef(read[:, column], people.truth[:, column])[0, 1] > 0.9
    nothing = (chain.identity, chain.features, chain.pixels)
    assert [look(people.face(np.arange(3))) for look in nothing] == [None, None, None]


def test_fewer_expressions_are_the_first(people, seen):
    few = dataclasses.replace(CONFIG, expressions=2)
    assert make_surrogate_chain(seen, few).names == NAMES[:5]
    assert make_surrogate_chain(people.rows, few).names == NAMES[:5]


def test_a_jaw_is_that_of_the_flame_model(people, rng, tmp_path):
    path = tmp_path / "flame.npz"
    model, joints = made(), 5
    skinning = {
        "weights": rng.dirichlet(np.ones(joints), size=len(model.mean)),
        "posedirs": rng.normal(scale=1e-3, size=(len(model.mean), 3, 36)),
        "J_regressor": rng.dirichlet(np.ones(len(model.mean)), size=joints),
    }
    np.savez(path, **(flame_content(model, chumpy=False) | skinning))
    landmarks = landmark_json(tmp_path / "landmarks.json", model)
    names = ("yaw", "pitch", "roll", "jaw_open", "expression_0", "expression_1")
    units = ("degrees",) * 4 + ("standard deviations",) * 2
    moving = people.truth[:, [0, 1, 2, 0, 4, 5]]
    codes = ShapeCodes(names, units, moving, people.rows.codes.identity[:, :3])
    rows = LearnedRows(people.rows.latents, "w", (D,), 4, codes=codes)
    options = {"landmarks": str(landmarks), "split": 4}
    config = dataclasses.replace(CONFIG, shape_model=str(path), shape_kind="flame", reader=options)
    chain = make_surrogate_chain(rows, config)
    assert chain.names == names
    shut = torch.zeros(1, 9)
    opened = shut.clone()
    opened[0, 3] = 20
    assert (chain.points(opened) - chain.points(shut)).abs().max() > 1e-4
    with pytest.raises(InputError, match="measures a jaw.*'head' has none. Name FLAME's file"):
        make_surrogate_chain(rows, CONFIG)


def test_an_expression_called_jaw_is_no_turn_of_a_jaw(people):
    codes = people.rows.codes
    named = dataclasses.replace(codes, names=(*NAMES[:3], "jaw_open", *NAMES[4:]))
    rows = dataclasses.replace(people.rows, codes=named, pixels=None, descriptors=None)
    assert make_surrogate_chain(rows, CONFIG).names[3] == "jaw_open"


def test_what_cannot_be_learned_from_is_an_error(people):
    rows = people.rows
    nothing = dataclasses.replace(rows, codes=None)
    with pytest.raises(InputError, match="neither pose and expression.*nor 68 landmarks"):
        make_surrogate_chain(nothing, CONFIG)
    blank = dataclasses.replace(nothing, landmarks=np.full((600, 68, 2), np.nan, np.float32))
    with pytest.raises(InputError, match="neither pose and expression"):
        make_surrogate_chain(blank, CONFIG)
    many = dataclasses.replace(rows.codes, identity=np.zeros((600, 99)))
    with pytest.raises(InputError, match="99 coefficients of identity.*Name the model"):
        make_surrogate_chain(dataclasses.replace(rows, codes=many), CONFIG)
    turned = dataclasses.replace(rows.codes, names=("pitch", "yaw", *NAMES[2:]))
    with pytest.raises(InputError, match="first codes are .*'pitch'.*expected .*'yaw'"):
        make_surrogate_chain(dataclasses.replace(rows, codes=turned), CONFIG)
    with pytest.raises(InputError, match="settings 'surrogate' has no option 'layers'"):
        make_surrogate_chain(rows, dataclasses.replace(CONFIG, surrogate={"layers": 3}))
    flat = dataclasses.replace(rows, pixels=np.zeros((600, 4, 8, 3), np.float32))
    with pytest.raises(InputError, match=r"pixels \(600, 4, 8, 3\) came"):
        make_surrogate_chain(flat, CONFIG)
