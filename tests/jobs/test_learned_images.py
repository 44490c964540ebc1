"""`lode mine` with a direction matrix through the images of a StyleGAN2, from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.learned_cards import PLACE
from jobs.mine_directions import run
from mining.methods.matrix_file import load_matrix
from schemas.settings import RunSettings
from tests.mining.methods.scripted import MOVING, SPREAD, TINY, Projection, saved

HEADS = "tests.examples.heads"


def networks(folder: Path) -> dict[str, Any]:
    """Options of the chain: an encoder, an embedding and a perceptual network of random numbers."""
    rng = np.random.default_rng(7)
    made = {
        "encoder": (9, 8, SPREAD[:, None] / 2),
        "identity": (7, 6, 1.0),
        "perceptual": (5, 4, 1.0),
    }
    told: dict[str, Any] = {"shape": {"expressions": MOVING - 3}, "pixels": 4}
    for name, (count, edge, scale) in made.items():
        matrix = rng.normal(size=(count, edge * edge)) * scale
        path = saved(Projection(matrix), folder / f"{name}.pt")
        told[name] = {"file": str(path), "size": edge}
    told["encoder"] |= {"kind": "torchscript", "span": [-1, 1], "crop": "landmarks"}
    return told


@pytest.mark.slow
@pytest.mark.ray
def test_a_matrix_is_mined_through_images_published_and_kept(tmp_path):
    method = {"preset": "paper", "chain": "images", "images": networks(tmp_path)}
    size = {"epochs": 2, "steps": 3, "batch": 4, "pairs": 8}
    told = RunSettings.model_validate(
        {
            "generator": {
                "name": "stylegan2",
                "options": {"random": {**TINY, "seed": 0}, "device": "cpu"},
            },
            # its landmarks are nobody's, and say where the encoder looks
            "extractors": {f"{HEADS}:HeadsExtractor": {}},
            "dataset": {"samples": 80, "shard_size": 40, "thumbnail": 0},
            "engine": {"workers": 1, "object_store_mb": 128},
            "mining": {
                "methods": {"direction_matrix": {**method, **size}},
                "landmarks": "heads_landmarks",
                "stability": {"enabled": False},
            },
            "evaluation": {"identities": 2, "steps": [1.0], "bootstrap": 10, "strips": 0},
            "out": str(tmp_path / "out"),
        }
    )
    done = run(told)
    assert not done.mined.failures
    names = ["yaw", "pitch", "roll", "smile", "mouth_open"]
    assert [card.attribute for card in done.cards] == names
    for card in done.cards:
        assert (card.space, card.vector.shape) == ("w+", (8, 16))
        assert card.sigma > 0 and np.isfinite(card.vector).all()
    matrix = load_matrix(str(tmp_path / "out" / PLACE.format("direction_matrix")))
    assert matrix.names == tuple(names) and "encoder.pt: unknown" in matrix.licence
    assert str(tmp_path) not in matrix.settings
    again = run(told)
    assert again.kept["made"] == 0
    assert [card.direction_id for card in again.cards] == [card.direction_id for card in done.cards]
