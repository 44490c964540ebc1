"""`lode matrix`: comparisons and ablations from end to end, and mistakes that cost no work."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli_matrix import matrix_app, options_of
from jobs.transfer_compare import open_run
from jobs.transfer_tasks import Looker, check_measured
from jobs.transfer_training import LEARNED, Making, make_matrix, matrix_config, rivals
from jobs.transfer_trials import Method, blanked, check_methods, reenacted
from mining.evaluation.transfer_scores import Trial, score
from mining.methods.matrix_file import load_matrix, matrix_of, save_matrix
from schemas.errors import InputError
from storage.dataset import Dataset
from tests.jobs.puppets import ANGLES, FACES, SELF
from tests.storage.points_dataset import sampled

NAMES = (*ANGLES, *FACES)
LANDMARKS = "puppet_landmarks"
EXTRACTOR = {f"{SELF}:PuppetExtractor": {"blind_every": 9}}
QUICK = [
    "epochs=2",
    "paired_epochs=2",
    "steps=5",
    "batch=16",
    "surrogate={epochs: 3, hidden: [16]}",
]
SETS = [word for option in QUICK for word in ("--set", option)]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> tuple[str, str]:
    """Faces of their own, and 40 sequences of 4 frames; every 9th image or so has no face."""
    folder = tmp_path_factory.mktemp("puppets")
    told = {"generator": f"{SELF}:PuppetGenerator", "thumbnail": 0, "batch_size": 40}
    heads = sampled(folder / "heads", EXTRACTOR, samples=300, shard_size=100, **told)
    more = {"samples": 160, "shard_size": 80, "seed": 3, "sequences": {"length": 4}}
    return heads.url, sampled(folder / "sequences", EXTRACTOR, **more, **told).url


@pytest.fixture(scope="module")
def matrix(datasets, tmp_path_factory) -> str:
    """The closed form of the sequences, as a file."""
    config = matrix_config({"sequences": datasets[1]}, 0)
    within = rivals(config, sequences=True)[-1]
    file = str(tmp_path_factory.mktemp("matrix") / "within.safetensors")
    save_matrix(matrix_of(make_matrix(datasets[0], within, LANDMARKS), "within"), file)
    return file


@pytest.fixture(scope="module")
def looker(datasets) -> Looker:
    return Looker(dict(Dataset(datasets[0]).manifest.content), NAMES)


def run(environment, *words: str) -> subprocess.CompletedProcess:
    """`lode matrix` in a process of its own."""
    code = (
        "import sys; from jobs.cli import guarded; from jobs.cli_matrix import matrix_app as a; "
        "sys.exit(guarded(lambda w: a(list(w), standalone_mode=False), sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_worker_measures_parts_as_the_whole_and_knows_the_ideal(looker):
    drawn = looker.draw(30, seed=1, own=False)
    whole = looker.look(drawn.source)
    number, index, part = looker.part(3, 1, drawn.source[10:20], None)
    assert (number, index) == (3, 1)
    for name in ("landmarks", "descriptors", "true_landmarks"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[10:20])
    np.testing.assert_allclose(part.measured.moving, whole.measured.moving[10:20], atol=1e-4)
    seen = np.isfinite(whole.landmarks).all(axis=(1, 2))
    assert 20 < seen.sum() < 30
    assert np.isfinite(whole.measured.moving).all(axis=1).sum() == seen.sum()
    # the shape model that was added reads the planted angles
    np.testing.assert_allclose(
        whole.measured.moving[seen, :3], whole.true.moving[seen, :3], atol=2.0
    )
    target, ideal = looker.look(drawn.target), looker.look(drawn.ideal)
    np.testing.assert_allclose(ideal.true.moving, target.true.moving, atol=1e-4)
    np.testing.assert_allclose(ideal.true.still, whole.true.still, atol=1e-5)
    other = looker.draw(30, seed=2, own=False)
    assert not np.isclose(other.source, drawn.source).all(axis=(1, 2)).any()


def test_targets_of_the_sources_own_identity(looker):
    own = looker.draw(20, seed=1, own=True)
    assert own.ideal is None
    sides = [looker.look(rows) for rows in (own.source, own.target)]
    np.testing.assert_allclose(sides[0].true.still, sides[1].true.still, atol=1e-5)
    assert np.abs(sides[0].true.moving - sides[1].true.moving).mean() > 0.5


def test_both_readings_of_a_matrix_land(looker, matrix):
    drawn, about = looker.draw(60, seed=0, own=False), looker.about()
    sides = [looker.look(rows) for rows in (drawn.source, drawn.target)]
    trial = Trial("cross", *sides, about["measured"], about["true"])
    found = load_matrix(matrix)
    rows = {}
    for reading in ("latents", "images"):
        w_plus, known = reenacted(found, reading, drawn, trial)
        side = blanked(looker.look(w_plus), known)
        rows[reading] = score("within", reading, trial, side, resamples=20).views["true"]
        lost = ~np.isfinite(sides[0].landmarks + sides[1].landmarks).all(axis=(1, 2))
        assert known.all() if reading == "latents" else (known == ~lost).all()
        assert np.isnan(side.true.moving[~known]).all()
    # 40 sequences teach the motion well; what one image tells is as good as its landmarks
    for reading, degrees in (("latents", 1.5), ("images", 2.0)):
        assert rows[reading]["pose"].value < degrees
        assert rows[reading]["expression"].value > 0.85
        assert rows[reading]["moved"].value < 0.2


@pytest.mark.slow
@pytest.mark.ray
def test_a_comparison_and_the_same_one_with_another_number_of_workers(
    datasets, matrix, tmp_path, environment
):
    words = ["compare", datasets[0], "--matrix", matrix, "--sequences", datasets[1], "--self"]
    words += ["--landmarks", LANDMARKS, "--pairs", "40", "-o", "json", *SETS]
    first = run(environment, *words, "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    methods = {(row["method"], row["parameters_read_from"], row["pairs"]) for row in told["rows"]}
    forms = {
        "ridge inverted",
        "regression",
        "mean Jacobian of the surrogate",
        "ridge within sequences",
    }
    expected = {
        (name, reading, kind)
        for name in {"within", *forms}
        for reading in ("latents", "images")
        for kind in ("cross", "self")
    }
    plain = {("unedited", "", "cross"), ("unedited", "", "self"), ("ideal", "", "cross")}
    assert methods == expected | plain
    rows = {(r["method"], r["parameters_read_from"], r["pairs"]): r for r in told["rows"]}
    ideal, still = rows["ideal", "", "cross"], rows["unedited", "", "cross"]
    assert ideal["true"]["pose"]["value"] < 1e-3 and ideal["true"]["moved"]["value"] < 1e-3
    assert still["true"]["moved"]["value"] == 0 and still["true"]["pose"]["value"] > 4
    # the file is the closed form that is fitted again
    same = [rows[name, "latents", "cross"]["true"] for name in ("within", "ridge within sequences")]
    assert same[0] == same[1]
    assert "level with" in told["says"][0]
    assert told["facts"]["identity"].startswith("Euclidean distance of puppet_descriptor")
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {f"transfers.{end}" for end in ("json", "md", "csv", "html")} | {"matrices"}
    written = json.loads((tmp_path / "a" / "transfers.json").read_text())
    assert written.pop("table") == "transfers" and written.pop("version") == 1 and written == told
    lines = list(csv.DictReader((tmp_path / "a" / "transfers.csv").read_text().splitlines()))
    assert {line["method"] for line in lines} == {name for name, *_ in methods}
    page = (tmp_path / "a" / "transfers.html").read_text()
    assert page.count("<svg") >= 20 and "ridge within sequences" in page and "nan" not in page
    second = run(environment, *words, "--workers", "1", "--out", str(tmp_path / "b"))
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == told


@pytest.mark.slow
@pytest.mark.ray
def test_an_ablation_and_its_matrices_used_again(datasets, tmp_path, environment):
    words = ["ablation", datasets[0], "--sequences", datasets[1], "--landmarks", LANDMARKS]
    words += ["--pairs", "30", "-o", "json"]
    first = run(environment, *words, *SETS, "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    tried = [(row["method"], row["pairs"]) for row in told["rows"] if row["parameters_read_from"]]
    cross = ["synthetic", "without identity + perceptual", "without eye + mouth"]
    assert tried == [
        *((name, "cross") for name in cross),
        *((name, "self") for name in ("synthetic", "mixed", "paired")),
    ]
    assert {each["table"] for each in told["orderings"]} == {2, 3, 4}
    assert [table["number"] for table in told["paper"]] == [2, 3, 4]
    folder = tmp_path / "a"
    names = {path.stem for path in (folder / "matrices").iterdir()}
    assert {"synthetic", "mixed", "paired"} < names and len(names) == 5
    modes = {name: load_matrix(str(folder / "matrices" / f"{name}.safetensors")) for name in names}
    assert {name: modes[name].mode for name in ("synthetic", "mixed", "paired")} == {
        name: name for name in ("synthetic", "mixed", "paired")
    }
    said = json.loads(modes["without_identity___perceptual"].settings)
    assert said["identity_weight"] == said["perceptual_weight"] == 0 and said["eye_weight"] == 1
    assert (folder / "inverted.npy").exists()
    assert "Table 4: what it is trained on" in (folder / "ablation.html").read_text()
    again = run(environment, *words, "--fitted", str(folder), "--out", str(tmp_path / "b"))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rows"] == told["rows"]
    assert not (tmp_path / "b" / "matrices").exists()


def refused(*words: str) -> str:
    """What an InputError says of these arguments."""
    done = CliRunner().invoke(matrix_app, [*words])
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--read", "minds"], "reading of parameters 'minds'"),
        (["--read", ","], "--read ',' came"),
        (["--set", "epochs"], "--set 'epochs' came"),
        (["--set", "epoch=3"], "epoch"),
        (["--matrix", "nowhere.safetensors"], "nowhere.safetensors is no file"),
        (["--source", "deca"], "extractor 'deca'"),
        (["--landmarks", "dlib_landmarks"], "landmark column 'dlib_landmarks'"),
        (["--no-rivals"], "no matrix to try"),
    ],
)
def test_mistakes_of_a_comparison_are_told_before_any_work(datasets, tmp_path, words, said):
    given = ["compare", datasets[0], "--out", str(tmp_path / "new"), "--landmarks", LANDMARKS]
    if "--source" in words:
        given += ["--matrix", save_small(tmp_path)]
    assert said in refused(*given, *words)
    assert not (tmp_path / "new").exists()


def save_small(folder) -> str:
    """A matrix of the puppets that turns a head and does nothing else."""
    from mining.methods.direction_matrix import DirectionMatrix

    one, ones = np.eye(1, 24), np.ones(1)
    parts = {"vectors": one, "reading": one, "offset": ones, "low": -ones, "high": ones}
    place = {"space": "w", "latent_shape": (24,), "num_ws": 2}
    matrix = DirectionMatrix(("yaw",), ("degrees",), **parts, scale=ones, **place)
    save_matrix(matrix, str(folder / "small.safetensors"))
    return str(folder / "small.safetensors")


def test_what_does_not_go_together_is_refused(datasets, matrix, tmp_path):
    manifest, found = Dataset(datasets[0]).manifest, load_matrix(matrix)
    other = Method("other", replace(found, fingerprint="0" * 64, generator="another"))
    with pytest.raises(InputError, match="other is of another generator"):
        check_methods(manifest, [other])
    with pytest.raises(InputError, match="two matrices have one name: a, a"):
        check_methods(manifest, [Method("a", found), Method("a", found)])
    with pytest.raises(InputError, match="measures all of yaw, laughter"):
        check_measured(manifest, ("yaw", "laughter"))
    with pytest.raises(InputError, match="holds no dataset"):
        open_run(str(tmp_path))
    out = ["--out", str(tmp_path / "new"), "--landmarks", LANDMARKS]
    assert "holds no sequences of one identity" in refused("ablation", datasets[0], *out)
    folder = ["--sequences", datasets[1], "--fitted", str(tmp_path)]
    assert "holds none of matrices/synthetic" in refused("ablation", datasets[0], *out, *folder)
    words = ["ablation", datasets[1], *out]
    assert "own images cannot be inverted" in refused(*words)


def test_a_run_stands_for_its_dataset_and_its_matrix(datasets, matrix, tmp_path):
    (tmp_path / "run" / "results").mkdir(parents=True)
    shutil.copytree(datasets[0], tmp_path / "run" / "dataset")
    shutil.copy(matrix, tmp_path / "run" / "results" / "direction_matrix.safetensors")
    for place in ("run", "run/dataset"):
        opened = open_run(str(tmp_path / place))
        assert opened.dataset.rows == 300 and opened.control is None
        assert opened.matrix is not None and opened.matrix.endswith("direction_matrix.safetensors")
    assert open_run(datasets[0]).matrix is None


def test_options_are_read_as_yaml():
    found = options_of(["epochs=3", "layers=[0, 2]", "surrogate={epochs: 2}"])
    assert found == {"epochs": 3, "layers": [0, 2], "surrogate": {"epochs": 2}}
    config = matrix_config(found | {"preset": "paper"}, seed=4)
    assert (config.epochs, config.layers, config.identity_weight, config.seed) == (3, (0, 2), 10, 4)


def test_a_training_of_random_pairs_reads_no_sequences(datasets):
    """Though the dataset is one of sequences; what pairs teach is seen apart from it."""
    config = matrix_config({**options_of(QUICK), "training": "synthetic"}, 0)
    made = make_matrix(datasets[1], Making("synthetic", LEARNED, config), LANDMARKS)
    matrix = matrix_of(made, "synthetic")
    assert matrix.mode == "synthetic" and matrix.names == NAMES
