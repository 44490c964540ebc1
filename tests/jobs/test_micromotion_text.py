"""`lode micromotion text` and `templates` from the command line: a tiny CLIP, a tiny StyleGAN2."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jobs.cli import main as lode
from jobs.micromotion import TextJob, mine_text
from jobs.micromotion_run import open_run
from mining.description import describe
from mining.methods.ridge import fit_ridge
from mining.methods.text_anchors import TextConfig
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.downloads.cache import file_sha256
from storage.files import Store
from storage.manifest import claim
from storage.shards import commit
from tests.mining.editing.onnx_graphs import iresnet
from tests.mining.methods.tiny_clip import Brightness, clip_folder

TINY = {
    "img_resolution": 16,
    "z_dim": 16,
    "w_dim": 16,
    "synthesis_kwargs": {"channel_base": 256, "channel_max": 16},
}
QUICK = ("--steps", 6)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run's folder with a dataset of a random StyleGAN2's images, and where their light lies."""
    folder = tmp_path_factory.mktemp("text") / "run"
    told = {
        "generator": {"name": "stylegan2", "options": {"random": TINY, "device": "cpu"}},
        "extractors": {"tests.examples.brightness:Brightness": {}},
        "dataset": {"samples": 60, "shard_size": 60, "thumbnail": 16},
    }
    manifest, store = describe(RunSettings.model_validate(told)), Store(str(folder / "dataset"))
    claim(store, manifest)
    commit(store, manifest, 0, Measurer(manifest)(Renderer(manifest)(0)))
    return str(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(clip_folder(tmp_path_factory.mktemp("clip")))


@pytest.fixture
def said(capsys):
    def said(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["micromotion", *map(str, words)])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return said


@pytest.mark.needs("clip")
def test_text_is_mined_published_and_written(run, clip, said, tmp_path):
    out, place = tmp_path / "smile.npy", str(tmp_path / "catalog")
    words = ("text", run, "--clip", clip, "--attribute", "smile", *QUICK)
    status, text, err = said(*words, "--out", out, "--catalog", place, "-o", "json")
    assert status == 0, err
    told, vector = json.loads(text), np.load(out, allow_pickle=False)
    assert told["fit_gain"] > 0 and told["slope"] is None and told["space"] == "w+"
    (card,) = Catalog(place).cards()
    assert card.method == "micromotion_text" and card.direction_id == told["direction"]
    np.testing.assert_array_equal(card.vector, vector)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    settings = json.loads(card.provenance.settings)
    assert settings["text"]["template"] == "person with {} smile"
    assert len(settings["scorer"]) == 64 and settings["face"] is None
    status, again, _ = said(*words, "-o", "json")
    assert status == 0 and json.loads(again)["direction"] == told["direction"]


@pytest.mark.needs("clip")
def test_a_face_network_holds_the_face(run, clip, said, tmp_path, rng):
    pytest.importorskip("onnx")
    network, place = iresnet(tmp_path, rng), str(tmp_path / "catalog")
    words = ("text", run, "--clip", clip, "--attribute", "smile", *QUICK, "-o", "json")
    without = json.loads(said(*words)[1])
    words += ("--catalog", place, "--identity", network, "--identity-weight")
    free, held = (json.loads(said(*words, weight)[1]) for weight in (0, 50))
    assert free["fit_gain"] == without["fit_gain"]
    assert held["travelled"] < 0.95 * free["travelled"]  # measured .91
    told = {json.loads(card.provenance.settings)["face"] for card in Catalog(place).cards()}
    assert told == {file_sha256(network)}
    status, _, err = said(*words, 1, "--identity", tmp_path / "none.onnx")
    assert status == 2 and "is no file" in err and err.count("\n") == 1


@pytest.mark.needs("clip")
def test_wordings_are_compared(run, clip, said, tmp_path):
    out = tmp_path / "wordings.json"
    words = ("templates", run, "--clip", clip, "--attribute", "smile", "--steps", 3, "--space", "w")
    words += ("--template", "person with {} smile", "--template", "a {} smiling face")
    status, text, err = said(*words, "--degrees", "sizes", "--degrees", "tens", "--out", out)
    assert status == 0, err
    found = json.loads(out.read_text())
    assert [(each["template"][:6], each["degrees"]) for each in found["wordings"]] == [
        ("person", "sizes"), ("person", "tens"), ("a {} s", "sizes"), ("a {} s", "tens"),
    ]  # fmt: skip
    cosines = np.array([each["cosines"] for each in found["wordings"]])
    np.testing.assert_allclose(cosines, cosines.T)
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    assert (
        np.abs(cosines).max() <= 1 + 1e-5
        and len({each["direction"] for each in found["wordings"]}) == 4
    )
    assert len(text.splitlines()) == 5 and f"{cosines[0, 3]:.3f}" in text.splitlines()[1]
    status, _, err = said(*words, "--degrees", "size")
    assert status == 2 and "did you mean 'sizes'" in err and err.count("\n") == 1


def test_a_slope_counts_steps_of_its_own_space(run):
    """Rows of W+ that all move by v / sqrt(R) move w by v / sqrt(R), not by R times as much."""
    opened = open_run(run)
    card = mine_text(opened, "x", "{} bright", TextJob(Brightness(), TextConfig(steps=6, batch=11)))
    rows = card.vector.astype(np.float64)
    scores = opened.scores("x")
    known = np.isfinite(scores)
    weights = fit_ridge(opened.latents[known], scores[known]).weights
    assert card.slope == pytest.approx(float(weights @ rows.mean(axis=0)), rel=1e-4)
    assert card.slope > 0
    wide = np.tile(opened.latents, (1, len(rows)))
    assert card.sigma == pytest.approx(float(np.std(wide @ rows.ravel())), rel=1e-4)
