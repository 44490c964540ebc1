"""`lode edit matrix`, and directions of a flow: what is asked for happens to the true heads."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import typer

from jobs import cli
from jobs.cli_edit import edit_app
from jobs.editing_latents import of_seeds
from jobs.editing_run import open_studio
from mining.description import describe
from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.methods.attribute_flow import mine_attribute_flow
from mining.methods.direction_matrix import DirectionMatrix
from mining.methods.flow_config import FlowConfig
from mining.methods.gcv_ridge import fit_ridge
from mining.methods.learned import LearnedRows
from mining.methods.matrix_file import load_matrix, save_matrix
from schemas.directions import Calibration, Response
from schemas.settings import RunSettings
from storage import artefacts
from storage.catalog import Catalog
from storage.files import Store
from storage.manifest import claim
from tests.storage.sample_cards import sample_card

EDGE, HEADS = 96, 2000
OPTIONS = {"resolution": EDGE, "supersampling": 1.0}
NAMES = ("yaw", "pitch", "roll", "smile", "mouth_open")
PLACES = [table.NAMES.index(name) for name in NAMES]


@pytest.fixture(scope="module")
def heads():
    """Latents and all true parameters of heads, none of them rendered."""
    generator = HeadGenerator(**OPTIONS)
    w = generator.map(generator.sample_z(HEADS, np.random.default_rng(5)))
    return w, generator.parameters(generator.broadcast(w)).astype(np.float64)


@pytest.fixture(scope="module")
def run(tmp_path_factory, heads) -> str:
    """A run's folder: a dataset's manifest, a matrix of true parameters, a card of a flow."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    told = {
        "generator": {"name": "head", "options": OPTIONS},
        "extractors": {"dlib": {"upsample": 1}, "geometry": {}},
        "dataset": {"samples": 20, "shard_size": 10},
    }
    manifest = describe(RunSettings.model_validate(told))
    claim(Store(str(folder / "dataset")), manifest)
    facts = {"generator": "head", "fingerprint": manifest.generator["fingerprint"]}
    save_matrix(planted(*heads, facts), str(folder / "results/direction_matrix.safetensors"))
    publish(str(folder / "catalog"), *heads, facts)
    return str(folder)


def planted(w, true, facts) -> DirectionMatrix:
    """What reads the true parameters by ridge, and its pseudo-inverse."""
    p = true[:, PLACES]
    reading = fit_ridge(w, p)
    low, high = np.percentile(p, [0.5, 99.5], axis=0)
    return DirectionMatrix(
        names=NAMES,
        units=("degrees", "degrees", "degrees", "1", "1"),
        vectors=np.linalg.pinv(reading.weights).T,
        reading=reading.weights,
        offset=reading.mean - reading.weights @ reading.centre,
        low=low,
        high=high,
        scale=np.ones(len(NAMES)),
        space="w",
        latent_shape=w.shape[1:],
        num_ws=HeadGenerator(**OPTIONS).num_ws,
        mode="synthetic",
        **facts,
    )


def publish(catalog, w, true, facts) -> None:
    """A card of a flow that knows the true yaw and smile."""
    scores = {name: true[:, table.NAMES.index(name)] for name in ("yaw", "smile")}
    rows = LearnedRows(
        w, "w", w.shape[1:], 6, scores, {"yaw": "degrees", "smile": "1"}, facts=facts
    )
    mined = mine_attribute_flow(rows, FlowConfig(hidden=(32,), epochs=8, batch=64, balance=0.0))
    artefact = artefacts.put(catalog, mined.artefact, mined.kind)
    slope = {each.attribute: each.slope for each in mined.directions}
    card = sample_card(
        attribute="yaw",
        unit="degrees",
        method="attribute_flow",
        generator_fingerprint=facts["fingerprint"],
        vector=np.zeros(0, "f4"),
        artefact=artefact,
        slope=slope["yaw"],
        sigma=1.0,
        calibration=Calibration(1 / slope["yaw"], -20, 20),
        responses=(Response("yaw", "degrees", slope["yaw"], 1.0, 99.0, spread=12.0),),
    )
    whole = replace(card, attribute="pose_and_expression", responses=(), calibration=None)
    whole = replace(whole, artefact=replace(artefact, kind="matrix"), method="direction_matrix")
    Catalog(catalog).publish([card, whole])


@pytest.fixture
def lode(capsys, monkeypatch):
    """The console command: exit status, what it printed, what it complained of."""
    app = typer.Typer()
    app.add_typer(edit_app, name="edit")
    app.command("version")(cli.version)  # with one command alone typer would drop its name
    monkeypatch.setattr(cli, "app", app)

    def lode(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, words)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return lode


def told(lode, *words):
    status, out, err = lode("edit", *words, "-o", "json")
    assert status == 0, err
    return json.loads(out)


def refused(lode, *words) -> str:
    """The one line that a mistake gets."""
    status, out, err = lode("edit", *words)
    assert status == 2 and not out and err.startswith("error: ") and err.count("\n") == 1
    return err


def true_of(w_plus) -> np.ndarray:
    return HeadGenerator(**OPTIONS).parameters(np.asarray(w_plus, np.float32)).astype(np.float64)


def test_a_strip_shows_several_parameters_change_together(run, lode, tmp_path):
    out = tmp_path / "new" / "a.png"
    words = ("matrix", run, "--change", "yaw+=10, smile-=0.2", "--seed", 1, "--seed", 2)
    said = told(lode, *words, "--frames", 3, "--out", out)
    picture = cv2.imread(str(out))
    assert picture.shape[1] == 3 * (EDGE + 4) + 4 and picture.shape[0] > 2 * EDGE
    record = json.loads((tmp_path / "new" / "a.png.json").read_text())
    assert record["asked"] == "yaw+=10, smile+=-0.2" and record["files"] == ["a.png"]
    assert record["units"]["yaw"] == "degrees" and record["mode"] == "synthetic"
    assert len(said["rows"][0]["parameters"]) == 2
    for row in record["rows"]:
        read = {name: [p[name] for p in row["parameters"]] for name in NAMES}
        np.testing.assert_allclose(np.diff(read["yaw"]), 5, atol=1e-3)
        np.testing.assert_allclose(np.diff(read["smile"]), -0.1, atol=1e-4)
        np.testing.assert_allclose(np.ptp(read["pitch"]), 0, atol=1e-3)
        assert row["changes"][1]["yaw"] == 10 and row["changes"][1]["roll"] == 0


def test_the_true_parameters_follow_and_the_others_stay(run, heads):
    from jobs.editing_images import Look
    from jobs.editing_learned import edit_matrix, matrix_of_run
    from mining.editing.request import parse_request

    studio = open_studio(run)
    given = of_seeds(studio.generator, studio.manifest, range(48))
    request = parse_request("yaw+=6, mouth_open+=0.2")
    edited = edit_matrix(studio, matrix_of_run(studio, None), given, request, Look(2, 32))
    shape = given.w_plus.shape
    before, after = (true_of(end.reshape(shape)) for end in edited.ends)
    moved, spread = after - before, heads[1].std(axis=0)
    # ridge meets the mean slope; single heads answer more in the middle than near the ends
    assert moved[:, PLACES[0]].mean() == pytest.approx(6, abs=0.9)
    assert moved[:, PLACES[4]].mean() == pytest.approx(0.2, abs=0.04)
    others = [k for k in range(len(spread)) if k not in (PLACES[0], PLACES[4]) and spread[k] > 0]
    assert np.mean(np.abs(moved[:, others]) / spread[others]) < 0.05


def test_a_value_is_what_a_parameter_becomes_and_a_range_is_a_sweep(run, lode, tmp_path):
    words = ("matrix", run, "--seed", 1, "--seed", 2, "--frames", 3)
    out = tmp_path / "a.png"
    told(lode, *words, "--change", "yaw=12", "--out", out)
    rows = json.loads((tmp_path / "a.png.json").read_text())["rows"]
    assert [row["parameters"][-1]["yaw"] for row in rows] == pytest.approx([12, 12], abs=1e-3)
    told(lode, *words, "--change", "yaw=-10..10", "--out", out, "--force")
    rows = json.loads((tmp_path / "a.png.json").read_text())["rows"]
    for row in rows:
        assert [p["yaw"] for p in row["parameters"]] == pytest.approx([-10, 0, 10], abs=1e-3)


def test_a_transfer_takes_pose_and_expression_and_shows_whose(run, lode, tmp_path, heads):
    words = ("matrix", run, "--from-seed", 9, "--seed", 1, "--seed", 2, "--frames", 2)
    out = tmp_path / "a.png"
    said = told(lode, *words, "--out", out, "--measure")
    assert cv2.imread(str(out)).shape[1] == 3 * (EDGE + 4) + 4  # the last column is the source
    theirs = said["from_parameters"]
    for row in said["rows"]:
        assert row["parameters"][-1] == pytest.approx(theirs, abs=1e-3)
        first, last, there = row["measured"]["geometry.yaw"]
        assert first is not None and abs(last - there) < abs(first - there)
    said = told(lode, *words, "--parts", "pose,smile", "--out", out, "--force")
    for row in said["rows"]:
        first, last = row["parameters"]
        taken = {name for name in NAMES if last[name] == pytest.approx(theirs[name], abs=1e-3)}
        assert taken == {"yaw", "pitch", "roll", "smile"}
        assert last["mouth_open"] == pytest.approx(first["mouth_open"], abs=1e-4)


def test_the_source_may_be_a_file_with_one_latent(run, lode, tmp_path):
    studio = open_studio(run)
    given = of_seeds(studio.generator, studio.manifest, [9, 10])
    np.save(tmp_path / "one.npy", given.w_plus[0, 0])
    np.save(tmp_path / "two.npy", given.w_plus[:, 0])
    words = ("matrix", run, "--seed", 1, "--frames", 2, "--out", tmp_path / "a.png", "--force")
    by_file = told(lode, *words, "--from-latent", tmp_path / "one.npy")
    by_seed = told(lode, *words, "--from-seed", 9)
    assert by_file["from_parameters"] == by_seed["from_parameters"]
    assert by_file["rows"] == by_seed["rows"]
    assert "holds 2 latents, expected one" in refused(
        lode, *words, "--from-latent", tmp_path / "two.npy"
    )


def test_a_matrix_loads_alone_from_any_file(run, lode, tmp_path):
    matrix = load_matrix(f"{run}/results/direction_matrix.safetensors")
    doubled = replace(matrix, vectors=2 * matrix.vectors)
    save_matrix(doubled, str(tmp_path / "m.safetensors"))
    words = ("matrix", run, "--seed", 1, "--frames", 2, "--change", "yaw+=5")
    said = told(lode, *words, "--matrix", tmp_path / "m.safetensors", "--out", tmp_path / "a.png")
    first, last = said["rows"][0]["parameters"]
    assert last["yaw"] - first["yaw"] == pytest.approx(10, abs=1e-3)


def test_beyond_its_range_a_change_is_made_with_a_note(run, lode, tmp_path):
    words = ("matrix", run, "--seed", 1, "--seed", 2, "--frames", 2, "--size", 32)
    words = (*words, "--change", "yaw=75", "--out", tmp_path / "a.png")
    status, out, err = lode("edit", *words)
    assert status == 0 and not err and (tmp_path / "a.png").exists()
    assert "note: seed 1 (and 1 more) is asked for yaw 75.0°; the matrix was learned from" in out
    said = told(lode, *words[:-4], "--change", "yaw+=0.5", "--out", tmp_path / "b.png")
    assert said["notes"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--change", "yow+=5"), "did you mean 'yaw'? The matrix has: yaw (-"),
        (("--change", "glasses+=5"), "smile (-"),
        (("--change", "yaw+=2s"), "expected degrees, written without a unit"),
        (("--change", "yaw+=1e300"), "so large a change"),
        (("--change", "yaw"), "expected such as yaw+=10, yaw=20"),
        (("--change", "yaw+=5, yaw+=6"), "twice"),
        (("--change", "yaw+=5", "--from-seed", 1), "both --change and --from-seed"),
        ((), "none of --change, --from-seed, --from-latent"),
        (("--change", "yaw+=5", "--parts", "pose"), "--parts belongs to"),
        (("--from-seed", 1, "--parts", "posture"), "unknown part or parameter 'posture'"),
        (("--from-seed", 1, "--parts", ","), "no parts came"),
        (("--from-latent", "no.npy"), "no.npy is no file"),
        (("--change", "yaw+=5", "--matrix", "no.safetensors"), "is no file"),
        (("--change", "yaw+=5", "--size", 1000), "never enlarged"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(run, lode, tmp_path, words, message):
    out = tmp_path / "a.png"
    assert message in refused(lode, "matrix", run, *words, "--seed", 1, "--out", out)
    assert not list(tmp_path.iterdir())


def test_a_matrix_that_fits_nothing_here_is_refused(run, lode, tmp_path):
    matrix = load_matrix(f"{run}/results/direction_matrix.safetensors")
    words = ("matrix", run, "--change", "yaw+=5", "--seed", 1, "--out", tmp_path / "a.png")
    file = tmp_path / "m.safetensors"
    save_matrix(replace(matrix, fingerprint="cd" * 32), str(file))
    said = refused(lode, *words, "--matrix", file)
    assert "cdcdcdcdcdcdcdcd" in said and "--another-generator goes on" in said
    status, _, err = lode("edit", *words, "--matrix", file, "--another-generator")
    assert status == 0 and err.startswith("warning: the matrix was mined from head")
    half = {name: getattr(matrix, name)[:, :256] for name in ("vectors", "reading")}
    save_matrix(replace(matrix, latent_shape=(256,), fingerprint="", **half), str(file))
    said = refused(lode, *words, "--force", "--matrix", file)
    assert "(N, 6, 256)" in said and "another generator" in said
    file.write_bytes(file.read_bytes()[:-100])
    status, _, err = lode("edit", *words, "--force", "--matrix", file)
    assert status != 0 and str(file) in err and err.count("\n") == 1
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 10)
    assert "expected a direction matrix" in refused(
        lode, *words, "--force", "--matrix", tmp_path / "noise"
    )


def test_a_run_without_a_matrix_says_how_to_come_by_one(run, lode, tmp_path):
    words = ("--change", "yaw+=5", "--seed", 1, "--out", tmp_path / "a.png")
    assert "is no file" in refused(lode, "matrix", run, *words, "--matrix", tmp_path)
    bare = tmp_path / "bare"
    (bare / "dataset").mkdir(parents=True)
    (bare / "dataset" / "manifest.json").write_bytes(Store(f"{run}/dataset").read("manifest.json"))
    assert "--matrix FILE" in refused(lode, "matrix", bare, *words)
    assert "--run RUN" in refused(lode, "matrix", *words)
    assert "--matrix FILE" in refused(lode, "matrix", *words, "--run", bare)
    said = refused(lode, "transfer", bare, "--from", 1, "--to", 2, *words[-2:])  # RUN first too
    assert "lode control fit" in said


def test_a_run_over_a_dataset_elsewhere_is_edited_as_one_with_its_own(run, lode, tmp_path):
    place, out = tmp_path / "mined", tmp_path / "a.png"
    told_mining = {"dataset_url": f"{run}/dataset", "catalog": f"{run}/catalog"}
    written = json.dumps({"settings": json.dumps(told_mining)}).encode()
    Store(str(place / "results")).replace("report.json", written)
    matrix = Store(f"{run}/results").read("direction_matrix.safetensors")
    Store(str(place / "results")).replace("direction_matrix.safetensors", matrix)
    words = ("--seed", 1, "--frames", 2, "--size", 32, "--out", out, "--force")
    by_matrix = ("--change", "yaw+=5", *words)
    here, there = (told(lode, "matrix", each, *by_matrix) for each in (place, run))
    assert here["rows"] == there["rows"] and here["run"] == str(place)
    assert told(lode, place, "--direction", "yaw", *words)["method"] == "attribute_flow"
    lost = json.dumps({"settings": {**told_mining, "dataset_url": "/gone"}}).encode()
    Store(str(place / "results")).replace("report.json", lost)
    said = refused(lode, "matrix", place, *by_matrix)
    assert "mined from the dataset /gone, which is not there" in said


def test_a_flow_card_edits_along_and_by_an_amount(run, lode, tmp_path):
    words = (run, "--seed", 1, "--seed", 2, "--seed", 3, "--frames", 3)
    said = told(lode, *words, "--direction", "yaw", "--to", "-1,1", "--out", tmp_path / "a.png")
    assert said["method"] == "attribute_flow" and said["predicted_change"][1] == 0
    out = tmp_path / "b.png"
    said = told(lode, *words, "--attribute", "yaw", "--by", "6deg", "--measure", "--out", out)
    assert said["asked"] == [0, 3, 6]
    seen = [row for row in said["rows"] if row["landed"][1] is not None]
    assert len(seen) >= 2  # dlib finds not every head
    for row in seen:
        assert row["landed"][1] == pytest.approx(6, abs=1.5)


def test_a_flow_moves_the_true_attribute_by_its_units(run):
    from jobs.editing import edit_along
    from jobs.editing_images import Look

    studio = open_studio(run)
    given = of_seeds(studio.generator, studio.manifest, range(12))
    edited = edit_along(studio, given, studio.direction("yaw"), (0, 6), "attribute", Look(2, 32))
    before, after = (true_of(end.reshape(given.w_plus.shape)) for end in edited.ends)
    np.testing.assert_array_equal(edited.ends[0].reshape(given.w_plus.shape), given.w_plus)
    assert np.median((after - before)[:, PLACES[0]]) == pytest.approx(6, abs=1.8)


def test_a_matrix_card_and_a_lost_file_say_what_to_do(run, lode, tmp_path):
    words = (run, "--seed", 1, "--out", tmp_path / "a.png")
    said = refused(lode, *words, "--direction", "pose_and_expression")
    assert "lode edit matrix" in said
    catalog = Catalog(f"{run}/catalog")
    store, card = Store(str(tmp_path / "catalog")), catalog.best("yaw")
    Store(catalog.url).fs.put(catalog.url, store.root, recursive=True)
    name = f"_artefacts/{card.artefact.sha256}.safetensors"
    data = store.read(name)
    store.replace(name, data[:-1] + b"?")
    status, _, err = lode("edit", *words, "--catalog", store.root, "--direction", "yaw")
    assert status != 0 and "was damaged" in err and err.count("\n") == 1
    (tmp_path / "catalog" / name).unlink()
    said = refused(lode, *words, "--catalog", store.root, "--direction", "yaw")
    assert card.artefact.sha256 in said and "is not in" in said
