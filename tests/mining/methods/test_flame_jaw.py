"""FLAME's jaw at the landmarks against its skinning of every vertex."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.spatial.transform import Rotation

from mining.methods.flame_jaw import JawShift, read_jaw
from mining.shape3d.model_files import load_model
from schemas.errors import InputError
from tests.mining.shape3d.made_models import (
    flame_content,
    landmark_json,
    made,
    python2_pickle,
)

MODEL = made()
SPLIT, EXPRESSIONS, JOINTS = 4, 3, 5


def skeleton(rng) -> dict[str, np.ndarray]:
    """Skinning with other numbers at every vertex; rows of the joints' regressor sum to 1."""
    count = len(MODEL.mean)
    return {
        "weights": rng.dirichlet(np.ones(JOINTS), size=count),
        "posedirs": rng.normal(scale=1e-3, size=(count, 3, 36)),
        "J_regressor": rng.dirichlet(np.ones(count), size=JOINTS),
    }


@pytest.fixture(params=["npz", "pickle of Python 2"])
def written(request, rng, tmp_path):
    """A FLAME file, its skeleton, and how it is loaded."""
    told = skeleton(rng)
    content = flame_content(MODEL, chumpy=request.param != "npz") | told
    if request.param == "npz":
        path = tmp_path / "flame.npz"
        np.savez(path, **content)
    else:
        path = tmp_path / "flame.pkl"
        content["J_regressor"] = scipy.sparse.csc_matrix(told["J_regressor"])
        path.write_bytes(python2_pickle(content, 2))
    return told, loaded(path, tmp_path)


def loaded(path, folder):
    landmarks = str(landmark_json(folder / "landmarks.json", MODEL))
    return load_model("test", str(path), "flame", None, {"landmarks": landmarks, "split": SPLIT})


def skinned(told, coefficients, degrees) -> np.ndarray:
    """Landmarks in metres by FLAME's own order: shape, correctives, joints, blended turns."""
    moves = np.concatenate([MODEL.components("identity"), MODEL.components("expression")]) / 1e3
    shaped = MODEL.mean / 1e3 + np.tensordot(coefficients, moves, 1)
    turn = Rotation.from_rotvec([np.radians(degrees), 0, 0]).as_matrix()
    features = np.zeros((4, 3, 3))  # of the neck, the jaw, the eyes
    features[1] = turn - np.eye(3)
    posed = shaped + told["posedirs"] @ features.reshape(-1)
    joint = (told["J_regressor"] @ shaped)[2]
    turned = (posed - joint) @ turn.T + joint
    share = told["weights"][:, 2:3]
    return ((1 - share) * posed + share * turned)[MODEL.landmarks]


def test_the_shift_is_that_of_skinning_every_vertex(written, rng):
    told, model = written
    shift = JawShift(read_jaw("test", model, SPLIT, EXPRESSIONS), torch.zeros((), dtype=float))
    sparse = model.shape.landmarks(SPLIT, EXPRESSIONS)
    basis = np.concatenate([sparse.identity, sparse.expression])
    origin = MODEL.mean[MODEL.landmarks].mean(axis=0)
    for degrees in (0.0, 12.0, -3.0, 40.0):
        p = rng.normal(size=SPLIT + EXPRESSIONS)
        parts = torch.from_numpy(p[None])
        found = shift(torch.tensor([degrees], dtype=float), parts[:, :SPLIT], parts[:, SPLIT:])
        at = sparse.mean + np.tensordot(p, basis, 1) + found[0].numpy()
        expected = 1e3 * skinned(told, p, degrees) - origin
        np.testing.assert_allclose(at, expected, atol=1e-9)  # mm
    assert np.abs(found[0].numpy()).max() > 5  # the last turn moves the points far


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"weights": None}, "weights is NoneType"),
        ({"weights": np.zeros((90, 4))}, r"weights has the shape \(90, 4\)"),
        ({"posedirs": np.full((90, 3, 36), np.nan)}, "posedirs holds numbers that are not finite"),
        ({"J_regressor": np.zeros((5, 90))}, "takes 0 of its vertices"),
        ({"J_regressor": np.zeros((5, 91))}, r"J_regressor has the shape \(5, 91\)"),
    ],
)
def test_files_without_a_jaw_are_refused(tmp_path, rng, changed, says):
    content = flame_content(MODEL, chumpy=False) | skeleton(rng) | changed
    path = tmp_path / "flame.npz"
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    with pytest.raises(InputError, match=f"test, flame.npz: .*{says}"):
        read_jaw("test", loaded(path, tmp_path), SPLIT, EXPRESSIONS)


def test_a_sparse_matrix_that_lies_is_refused(tmp_path, rng):
    content = flame_content(MODEL) | skeleton(rng)
    sparse = scipy.sparse.csc_matrix(content["J_regressor"])
    path = tmp_path / "flame.pkl"
    path.write_bytes(python2_pickle(content | {"J_regressor": sparse}, 2))
    model = loaded(path, tmp_path)
    for part, damaged, says in (
        ("indptr", sparse.indptr[:-3], "has 87 columns"),
        ("data", sparse.data[:-1], "as many numbers as they tell"),
        ("indptr", np.where(np.arange(91) == 5, 10**9, sparse.indptr), "is damaged"),
    ):
        lying = sparse.copy()
        setattr(lying, part, damaged)
        path.write_bytes(python2_pickle(content | {"J_regressor": lying}, 2))
        with pytest.raises(InputError, match=says):
            read_jaw("test", model, SPLIT, EXPRESSIONS)
