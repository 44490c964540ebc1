"""`lode control table`: a small table from end to end, and mistakes that cost no work."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli_control import control_app
from jobs.control_table import plan
from jobs.control_table_tasks import Prober, Space, Work, edit_latents
from jobs.control_table_trials import TableSettings
from mining.description import describe
from mining.evaluation.control_table_edits import draw_edits
from mining.methods.control import fit_control
from mining.methods.control_file import load_control, save_control
from mining.methods.embedding import EmbeddingConfig, train_embedding
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from schemas.errors import InputError
from storage.dataset import Dataset
from tests.examples.points import PointsGenerator
from tests.storage.points_dataset import sampled, settings

QUICK = ["nrsfm.components=4", "regressor.hidden=[64]", "regressor.epochs=8"]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> tuple[str, str]:
    """Of points sampled in w, and with a w for every row; every 7th image or so has no face."""
    folder = tmp_path_factory.mktemp("sampled")
    sizes = {"samples": 300, "shard_size": 50, "batch_size": 50, "thumbnail": 0}
    made = [sampled(folder / name, space=name, **sizes) for name in ("w", "w+")]
    return made[0].url, made[1].url


def run(environment, *words: str) -> subprocess.CompletedProcess:
    """`lode control table` in a process of its own."""
    code = (
        "import sys; from jobs.cli import guarded; from jobs.cli_control import control_app as a; "
        "sys.exit(guarded(lambda w: a(list(w), standalone_mode=False), sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "table", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.ray
def test_a_table_of_all_spaces_and_the_same_one_with_another_number_of_workers(
    datasets, tmp_path, environment
):
    words = [*datasets, "--landmarks", "points_landmarks", "--codes", "40", "-o", "json"]
    fits = [word for option in QUICK for word in ("--set", option)]
    first = run(environment, *words, *fits, "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    spaces = ["z", "w", "w+ (tied rows)", "w+ (independent rows)"]
    assert [row["space"] for row in told["rows"]] == spaces
    for row in told["rows"]:
        assert row["latents"] == 40 and row["edits"] == 80
        assert 20 < row["faces"] < 40 and 40 < row["edited_faces"] < 80
        values = [one["value"] for one in row["sums"].values()]
        assert np.isfinite(values).all() and len(values) == 8
        # 300 images teach the landmarks to far less than the 0.3 that they are apart
        assert row["means"]["L_L(w)"]["value"] < 0.05**2
        assert row["means"]["L_L(w)"]["value"] * 136 == pytest.approx(values[0])
    # here z is w, so that the two are the same table row
    z, w = told["rows"][:2]
    assert z["sums"] == w["sums"]
    assert {o["loss"] for o in told["orderings"]} == {"L_R", "L_R centred", "L_ID"}
    assert "40 drawn afresh, seed 0" in told["facts"]["test codes"]
    assert json.loads((tmp_path / "a" / "table.json").read_text()) == told
    assert "## " not in (tmp_path / "a" / "table.md").read_text()
    lines = list(csv.DictReader((tmp_path / "a" / "table.csv").read_text().splitlines()))
    assert {line["space"] for line in lines} >= {*spaces, "paper, StyleGAN2, w"}
    again = [*words, "--fitted", str(tmp_path / "a"), "--workers", "1"]
    second = run(environment, *again, "--out", str(tmp_path / "b"))
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == told
    taken = [*words[:-2], "--out", str(tmp_path / "a")]
    assert "holds table.json, table.md, table.csv already" in refused(*taken)


@pytest.mark.slow
@pytest.mark.ray
def test_a_table_by_gradient_that_holds_identity_by_embeddings_it_fits(
    datasets, tmp_path, environment
):
    words = [datasets[0], "--landmarks", "points_landmarks", "--codes", "12", "--spaces", "w"]
    words += ["--method", "gradient", "--steps", "20", "--hold-identity", "--unasked", "0.5"]
    for option in (*QUICK, "embedding.hidden=[32]", "embedding.epochs=5"):
        words += ["--set", option]
    done = run(environment, *words, "--out", str(tmp_path / "a"), "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    said = "gradient, 20 steps, codes that are to stay weigh 0.5, identity held by an embedding"
    assert told["facts"]["editing"] == said
    (row,) = told["rows"]
    assert all(np.isfinite(one["value"]) for one in row["sums"].values()) and row["walked"] > 0
    assert load_control(str(tmp_path / "a" / "controls" / "w.safetensors")).embedding is not None


def test_datasets_and_models_that_do_not_go_together(datasets, tmp_path):
    tied, apart = (Dataset(url) for url in datasets)
    chosen = TableSettings(landmarks="points_landmarks")
    (source,) = plan([tied], chosen)
    assert [label for _, label in source.rows] == ["z", "w", "w+ (tied rows)"]
    with pytest.raises(InputError, match="gives w, w. .tied rows., z, as a dataset before"):
        plan([tied, tied], chosen)
    with pytest.raises(InputError, match="z, w came from none of the datasets"):
        plan([apart], chosen)
    with pytest.raises(InputError, match="s came from none"):
        plan([tied], TableSettings(spaces=("s",), landmarks="points_landmarks"))
    with pytest.raises(InputError, match="landmark column 'dlib_landmarks'"):
        plan([tied], TableSettings())
    said = refused(*datasets, "--out", str(tmp_path / "new"), "--fitted", str(tmp_path / "none"))
    assert "landmark column" in said
    words = [datasets[0], "--out", str(tmp_path / "new"), "--landmarks", "points_landmarks"]
    assert "holds none of controls/z.safetensors" in refused(*words, "--fitted", str(tmp_path))
    assert not (tmp_path / "new").exists()


def test_control_models_of_other_latents_or_without_an_embedding_are_refused(
    datasets, tmp_path, control
):
    words = ["--out", str(tmp_path / "new"), "--landmarks", "points_landmarks", "--spaces", "w"]
    file = str(tmp_path / "w.safetensors")
    save_control(control, file)
    said = refused(datasets[0], *words, "--control", file, "--hold-identity")
    assert "of w has no embedding for --hold-identity" in said
    _, *others = control.regressor.weights
    other = replace(control.regressor, centre=np.zeros(5), weights=(np.zeros((32, 5)), *others))
    save_control(replace(control, regressor=other, latent_shape=()), file)
    assert "of latents of 5 numbers; expected" in refused(datasets[0], *words, "--control", file)
    assert not (tmp_path / "new").exists()


def refused(*words: str) -> str:
    """What an InputError says of these arguments."""
    done = CliRunner().invoke(control_app, ["table", *words])
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--spaces", "z,v"], "latent space 'v'"),
        (["--spaces", ","], "--spaces ',' came"),
        (["--method", "magic"], "editing method 'magic'"),
        (["--set", "components=4"], "--set 'components=4' came"),
        (["--set", "nrsfm.compnents=4"], "components"),
        (["--angle", "0"], "angle is 0"),
        (["--spreads", "-1"], "spreads is -1"),
        (["--set", "embedding.epochs=4"], "no embedding is asked for"),
        (["--control", "nowhere.safetensors"], "nowhere.safetensors is no file"),
        ([], "holds no manifest.json"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path, words, said):
    assert said in refused(str(tmp_path), "--out", str(tmp_path / "new"), *words)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def control():
    generator = PointsGenerator()
    w = generator.sample_z(300, np.random.default_rng(0))
    landmarks = generator.landmarks(generator.broadcast(w))
    quick = RegressorConfig(hidden=(32,), epochs=6)
    return fit_control(w.astype(np.float64), landmarks, NrsfmConfig(4, "upgrade", sweeps=0), quick)


def test_the_parts_of_a_worker_are_those_of_the_whole(control):
    manifest = describe(settings())
    prober = Prober(manifest.content, "points_landmarks")
    assert prober.distance() == "euclidean"
    latents = prober.draw(20, seed=3)
    edits = draw_edits(control.shape.names, 20)
    work = Work(latents, (Space("w", control, edits),), "analytic", 4, 1.0)
    whole, base = prober.edit(0, slice(0, 20), work), prober.look(slice(0, 20), work)
    parts = [prober.edit(0, slice(k, k + 10), work) for k in (0, 10)]
    for name in ("codes", "reached", "walked"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-9)
    marks = np.concatenate([part.seen.landmarks for part in parts])
    np.testing.assert_allclose(marks, whole.seen.landmarks, atol=1e-4)
    own = PointsGenerator().landmarks(latents.w_plus)
    seen = np.isfinite(base.landmarks).all(axis=(1, 2))
    np.testing.assert_allclose(base.landmarks[seen], own[seen], atol=1e-4)
    np.testing.assert_allclose(whole.codes, control.regressor.predict(latents.w_plus[:, 0]))
    other = prober.draw(20, seed=4)
    assert not np.isclose(other.z, latents.z).all(axis=1).any()


@pytest.fixture(scope="module")
def asked(control):
    """12 latents with their edits: (start, target, which codes the edit changes)."""
    prober = Prober(describe(settings()).content, "points_landmarks")
    edits = draw_edits(control.shape.names, 12)
    start = prober.draw(12, seed=0).w_plus[:, 0].astype(np.float64)[edits.rows]
    target = control.regressor.predict(start) + edits.offsets
    return start, target, edits.offsets != 0


@pytest.mark.parametrize(("method", "steps"), [("analytic", 8), ("gradient", 100)])
def test_codes_that_are_to_stay_can_be_freed(control, asked, method, steps):
    start, target, mask = asked
    single = mask.sum(axis=1) == 1
    misses = {}
    for unasked in (1.0, 0.0):
        work = Work(None, (), method, steps, unasked)
        edited, reached = edit_latents(control, start, target, mask, work)
        np.testing.assert_allclose(control.regressor.predict(edited), reached)
        misses[unasked] = np.abs((reached - target)[single])[mask[single]]
    assert misses[0.0].mean() < misses[1.0].mean()


def test_gradient_edits_near_the_target_whatever_rows_are_beside_them(control, asked):
    start, target, mask = asked
    work = Work(None, (), "gradient", 100, 1.0)
    edited, reached = edit_latents(control, start, target, mask, work)

    def missed(codes):
        return (((codes - target) / control.regressor.spread) ** 2).mean(axis=1)

    first = missed(control.regressor.predict(start))
    assert (missed(reached) <= first).all() and missed(reached).mean() < first.mean()
    for some in (slice(0, 5), slice(5, 24)):
        alone, _ = edit_latents(control, start[some], target[some], mask[some], work)
        np.testing.assert_allclose(alone, edited[some], atol=1e-9)


@pytest.mark.parametrize(("method", "steps"), [("analytic", 8), ("gradient", 100)])
def test_identity_is_held_where_asked(control, asked, method, steps):
    start, target, mask = asked
    draws = np.random.default_rng(1)
    some = PointsGenerator().sample_z(300, draws).astype(np.float64)
    faces = some @ draws.normal(size=(some.shape[1], 3))
    held = train_embedding(some, faces, EmbeddingConfig(hidden=(32,), epochs=30))
    known = replace(control, embedding=held)
    moved = {}
    for hold in (False, True):
        work = Work(None, (), method, steps, 1.0, hold)
        edited, _ = edit_latents(known, start, target, mask, work)
        moved[hold] = np.linalg.norm(held.predict(edited) - held.predict(start), axis=1).mean()
    assert moved[True] < moved[False]
