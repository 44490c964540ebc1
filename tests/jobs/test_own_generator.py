"""A generator and an extractor of one's own, each one file in a folder of one's own, mined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from storage.catalog import Catalog
from tests.examples.own_gan import OwnGan

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "examples"
ATTRIBUTES = ("x", "y", "size")  # read from the first rows of the GAN's layout, in this order
SETTINGS = {
    "generator": {"name": "own_gan:OwnGan", "options": {"seed": 3}},
    "extractors": {"brightness:Brightness": {}},
    "dataset": {"samples": 200, "thumbnail": 16},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {"attributes": [*ATTRIBUTES], "methods": {"ridge": {}}},
    "evaluation": {"identities": 6, "steps": [-1.0, 1.0], "bootstrap": 50},
}
BARE = """
class Bare:
    name, z_dim, w_dim, resolution, spaces, licence = "bare", 8, 8, 64, ("z",), "MIT"
    fingerprint = mean_w = sample_z = broadcast = synthesize = print

    def __init__(self, seed: int = 0):
        pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The examples as a user has them, a first try, and a dlib that cannot be imported."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("own_gan.py", "brightness.py"):
        (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    (folder / "bare.py").write_text(BARE)
    (folder / "dlib.py").write_text("raise ImportError('nobody measures a face here')\n")
    (folder / "run.yaml").write_text(yaml.safe_dump({**SETTINGS, "out": str(folder / "out")}))
    return folder


def mine(folder: Path, environment, *words: str) -> subprocess.CompletedProcess:
    path = f"{folder}{os.pathsep}{environment['PYTHONPATH']}"
    program = [sys.executable, str(ROOT / "jobs" / "mine_directions.py")]
    return subprocess.run(
        [*program, "--config", str(folder / "run.yaml"), *words],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def catalog(folder, environment) -> Catalog:
    done = mine(folder, environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["rows"], said["directions"], said["failures"]) == (200, 3, {})
    return Catalog(said["catalog"])


def test_mining_finds_the_directions_that_the_gan_reads(catalog):
    truth = OwnGan(seed=3).gan.layout.weight.detach().numpy()
    for attribute, row in zip(ATTRIBUTES, truth, strict=False):
        card = catalog.best(attribute, space="w", by="effect", method="ridge")
        # the rows are unit vectors. With N samples of D numbers and a share u of the attribute's
        # variance that is not linear in w, ridge's cosine is about 1 / sqrt(1 + u (D - 1) / N):
        # 0.9996 for N = 200, D = 16 and u = 0.01, which is more than pixels and edges leave here
        assert float(card.vector @ row) > 0.99  # under 8.2 degrees apart


def test_an_edit_moves_its_own_attribute_and_hardly_another(catalog):
    for attribute in ATTRIBUTES:
        card = catalog.best(attribute, space="w", by="effect", method="ridge")
        moved = {response.attribute: response.relative for response in card.responses}
        assert moved.keys() == set(ATTRIBUTES)
        # w is standard normal, and the attribute all but linear along its own direction
        assert moved.pop(attribute) == pytest.approx(1.0, rel=0.15)
        assert max(map(abs, moved.values())) < 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--generator.options.sed", "1"],
            "has no option 'sed'; did you mean 'seed'? Known: seed.",
        ),
        (
            ["--generator.name", "bare:Bare"],
            "'bare:Bare' lacks num_ws, c_dim, layer_names, map; see",
        ),
        (["--generator.name", "own_gam:OwnGan"], "no module 'own_gam' to import; is its folder on"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(folder, environment, tmp_path, words, said):
    done = mine(folder, environment, *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()
