"""A direction matrix trained through images: a planted one found again, resumed, on StyleGAN2."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from mining.generators.pretrained import stylegan2
from mining.methods.image_chain import make_image_chain
from mining.methods.training import one_torch_thread
from tests.mining.methods.scripted import (
    IDENTITIES,
    MOVING,
    NUM_WS,
    SPREAD,
    TINY,
    W_DIM,
    LinearGenerator,
    Projection,
    network_files,
    options,
    random_latents,
    rows_of,
    saved,
)


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def linear() -> LinearGenerator:
    return LinearGenerator()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return network_files(tmp_path_factory.mktemp("networks"))


def response(chain, start, vectors, change):
    """(K, K + I) how the codes of latents answer one unit of each parameter."""
    with torch.no_grad():
        before, found = chain.codes(start), []
        for vector, unit in zip(vectors, change, strict=True):
            moved = start + torch.from_numpy(unit * vector).float()
            found.append(((chain.codes(moved) - before) / unit).mean(dim=0).numpy())
    return np.array(found)


def trained(linear, files, rows, **more):
    from mining.methods.direction_matrix import mine_direction_matrix
    from mining.methods.matrix_config import MatrixConfig

    settings = {
        "chain": "images",
        "images": options(files),
        "layers": (0, 2),
        "start": "zeros",
        "epochs": 6,
        "steps": 40,
        "batch": 24,
        "learning_rate": 0.05,
        "identity_weight": 0.0,
        "perceptual_weight": 0.0,
        "latent_weight": 0.0,
    }
    config = MatrixConfig(**(settings | more))

    def mine(start=None, keep=None):
        return mine_direction_matrix(rows, config, start, keep, generator=linear)

    return mine


def matrix_of(learned):
    from mining.methods.matrix_file import matrix_of as read

    return read(learned.artefact, "test")


def test_a_planted_encoder_is_recovered_through_images(files, linear):
    """From nothing: each column moves its own code by its unit and no other by much; rows of W+
    that are not to move do not."""
    rows = rows_of(linear, facts={"licence": "as it came"})
    found = trained(linear, files, rows)()
    matrix = matrix_of(found)
    assert matrix.space == "w+" and matrix.names[:3] == ("yaw", "pitch", "roll")
    still = matrix.vectors.reshape(MOVING, NUM_WS, W_DIM)[:, 2:]
    assert not still.any()
    assert matrix.licence.startswith("as it came; encoder.pt: unknown")
    told = json.loads(matrix.settings)["images"]
    assert told["files"]["encoder"]["name"] == "encoder.pt" and "file" not in told["encoder"]
    chain = make_image_chain(linear, rows, options(files))
    answered = response(chain, random_latents(linear, 40), matrix.vectors, SPREAD[:MOVING])
    scaled = answered * SPREAD[:MOVING, None] / SPREAD  # in spreads of the codes
    np.testing.assert_allclose(np.diag(scaled[:, :MOVING]), 1, atol=0.12)
    off = scaled - np.eye(MOVING, MOVING + IDENTITIES)
    assert np.sqrt((off**2).mean()) < 0.05
    curve = found.curves[0]
    assert curve.training[-1] < 0.2 * curve.training[0]
    assert curve.held_out[-1] < 0.5 * curve.held_out[0]


def test_resumed_training_gives_the_same_bytes(files, linear):
    rows = rows_of(linear, 60)
    mine = trained(linear, files, rows, epochs=3, steps=4, batch=6)
    kept = []
    whole = mine(keep=kept.append)
    assert [checkpoint.epoch for checkpoint in kept] == [1, 2, 3]
    for checkpoint in kept[:2]:
        assert mine(start=checkpoint).artefact == whole.artefact


def test_the_paper_trains_through_stylegan2(files, tmp_path):
    """All losses of equation (3), with identity and LPIPS, on random weights: the loss falls."""
    from mining.methods.direction_matrix import mine_direction_matrix
    from mining.methods.matrix_config import PRESETS

    generator, rng = stylegan2(random=TINY), np.random.default_rng(7)
    told = options(files)
    matrix = 0.5 * rng.normal(size=(9, 64)) * SPREAD[:, None]
    told["encoder"]["file"] = str(saved(Projection(matrix), tmp_path / "encoder.pt"))
    told["identity"] = {"file": files["identity"], "size": 6}
    told["perceptual"] = {"file": files["perceptual"], "size": 4}
    config = dataclasses.replace(
        PRESETS["paper"],
        chain="images",
        images=told,
        epochs=4,
        steps=25,
        batch=6,
        learning_rate=3e-3,
        perceptual_weight=1e-4,
        pairs=24,
        identity_weight=0.1,
    )
    found = mine_direction_matrix(rows_of(generator, 40), config, generator=generator)
    curve = found.curves[0]
    assert min(curve.held_out) < 0.95 * curve.held_out[0]
    assert all(np.isfinite(direction.vector).all() for direction in found.directions)
    assert found.directions[0].vector.shape == (8, 16)


@pytest.mark.slow
def test_two_steps_through_deca(tmp_path):
    """The encoder in its real size with random weights, behind FLAME with its jaw."""
    from mining.methods.direction_matrix import mine_direction_matrix
    from mining.methods.matrix_config import MatrixConfig
    from tests.mining.extractors.test_deca import WEIGHTS, write
    from tests.mining.shape3d.made_models import flame_npz, landmark_json, made

    model = made(expressions=12)
    regressor = np.full((5, len(model.mean)), 1 / len(model.mean))

    class Dense:
        def toarray(self):
            return regressor

    flame = flame_npz(tmp_path / "flame.npz", model, J_regressor=Dense())
    landmarks = landmark_json(tmp_path / "landmarks.json", model)
    told = {
        "encoder": {"file": str(write(tmp_path / "deca_model.tar", WEIGHTS))},
        "shape": {
            "file": str(flame),
            "kind": "flame",
            "reader": {"landmarks": str(landmarks), "split": 4},
        },
    }
    generator = stylegan2(random=TINY)
    config = MatrixConfig(
        chain="images",
        images=told,
        layers=(0, 4),
        start="normal",
        epochs=1,
        steps=2,
        batch=2,
        pairs=2,
        held_out=0.3,
    )
    found = mine_direction_matrix(rows_of(generator, 10), config, generator=generator)
    names = [direction.attribute for direction in found.directions]
    assert names == ["yaw", "pitch", "roll", "jaw_open", *(f"expression_{k}" for k in range(12))]
    assert np.isfinite(found.curves[0].training).all()
