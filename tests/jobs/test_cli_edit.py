"""`lode edit`: pictures of edited heads, their records, and mistakes that are told in one line."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import typer

from jobs import cli
from jobs.cli_edit import edit_app
from mining.description import describe
from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.generators.head.camera import Camera
from mining.generators.head.model import head_model
from mining.methods.control import fit_control
from mining.methods.control_file import load_control, save_control
from mining.methods.embedding import Embedding
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from schemas.directions import Calibration, Response
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.files import Store
from storage.manifest import claim
from tests.storage.sample_cards import sample_card

EDGE, HEADS, MODES = 96, 300, 6
OPTIONS = {"resolution": EDGE, "supersampling": 1.0}


def true_landmarks(generator, w):
    """(N, 68, 2), without rendering; the jaw is the head's own, not what is seen of it."""
    model, found = head_model(), []
    for row in generator.parameters(generator.broadcast(w)):
        said = table.as_dict(row)
        camera, head = Camera(said, EDGE), model.vertices(said)
        points = model.landmarks(camera.pose(head), said["eye_closed"])
        found.append((camera.project(points)[:2].T + 0.5) / EDGE)
    return np.array(found, np.float64)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run's folder: the manifest of a dataset of heads, a control model and two directions."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    told = {
        "generator": {"name": "head", "options": OPTIONS},
        "extractors": {"dlib": {"upsample": 1}, "geometry": {}},
        "dataset": {"samples": 20, "shard_size": 10},
    }
    manifest = describe(RunSettings.model_validate(told))
    claim(Store(str(folder / "dataset")), manifest)
    generator, about = HeadGenerator(**OPTIONS), manifest.generator
    w = generator.map(generator.sample_z(HEADS, np.random.default_rng(5)))
    control = fit_control(
        w.astype(np.float64),
        true_landmarks(generator, w),
        NrsfmConfig(MODES, sweeps=10),
        RegressorConfig(hidden=(128, 128), epochs=10),
        space="w",
        generator="head",
        fingerprint=about["fingerprint"],
    )
    save_control(control, str(folder / "results" / "control.safetensors"))
    card = sample_card(
        attribute="yaw",
        unit="degrees",
        generator_fingerprint=about["fingerprint"],
        vector=generator.truth().direction("yaw"),
        sigma=1.0,
        calibration=Calibration(0.05, -30, 30),
        responses=(Response("yaw", "degrees", 15.0, 14.0, 16.0, spread=15.0),),
    )
    in_z = replace(card, space="z", attribute="pitch", responses=())
    better = replace(card, calibration=None, truth_cosine=0.99, method="other")
    no_roll = replace(better, attribute="roll", responses=())
    Catalog(str(folder / "catalog")).publish([card, in_z, no_roll])
    Catalog(str(folder / "two")).publish([card, better])
    return str(folder)


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
    status, out, err = lode(*words, "-o", "json")
    assert status == 0, err
    return json.loads(out)


def test_a_strip_shows_every_seed_and_its_record_tells_the_way(run, lode, tmp_path):
    out = tmp_path / "new" / "yaw.png"
    words = ("edit", "--run", run, "--q", "yaw+=15", "--seed", 1, "--seed", 2, "--frames", 4)
    said = told(lode, *words, "--out", out, "--measure")
    picture = cv2.imread(str(out))
    assert picture.shape[1] == 4 * (EDGE + 4) + 4 and picture.shape[0] > 2 * EDGE
    record = json.loads((tmp_path / "new" / "yaw.png.json").read_text())
    assert record["asked"] == "yaw+=15" and record["files"] == ["yaw.png"]
    assert said["out"] == str(out) and len(record["rows"]) == 2
    for row in record["rows"]:
        yaw = [codes["yaw"] for codes in row["codes"]]
        np.testing.assert_allclose(np.diff(yaw), 5, atol=1.5)
        assert yaw[-1] == pytest.approx(row["target"]["yaw"], abs=0.5)
        assert row["asked"] == ["yaw"]
        assert np.shape(row["landmarks"]) == (4, 68, 2)
        seen = row["measured"]["geometry.yaw"]
        assert None in seen or seen[1] > seen[0] + 4  # dlib finds not every head
    first = record["rows"][0]["codes"][0]
    again = told(lode, *words[:-4], "--frames", 2, "--out", tmp_path / "one.png")
    assert again["rows"][0]["codes"][0] == first  # a seed is the same image in every call


def test_the_true_yaw_follows_and_other_parameters_stay(run):
    from jobs.editing import edit_codes
    from jobs.editing_images import Look
    from jobs.editing_latents import of_seeds
    from jobs.editing_run import open_studio
    from mining.editing.request import parse_request

    studio = open_studio(run)
    given = of_seeds(studio.generator, studio.manifest, range(12))
    edited = edit_codes(studio, given, parse_request("yaw+=8"), Look(2, 64))
    generator = studio.generator
    ends = [generator.broadcast(end.astype(np.float32)) for end in edited.ends]
    before, after = (generator.parameters(end) for end in ends)
    place = table.NAMES.index("yaw")
    moved = (after - before)[:, place]
    assert np.median(moved) == pytest.approx(8, abs=4) and (moved > 0).all()
    sample = generator.map(generator.sample_z(500, np.random.default_rng(0)))
    spread = generator.parameters(generator.broadcast(sample)).std(axis=0)
    others = np.delete((after - before) / spread, place, axis=1)
    assert np.sqrt((others**2).mean()) < 0.25


@pytest.mark.parametrize("method", ["analytic", "gradient"])
def test_a_held_identity_moves_less(run, tmp_path, method):
    from jobs.editing import edit_codes
    from jobs.editing_images import Look
    from jobs.editing_latents import of_seeds
    from jobs.editing_run import open_studio
    from mining.editing.request import parse_request

    rng, control = np.random.default_rng(2), load_control(f"{run}/results/control.safetensors")
    turn = control.regressor.pullback(control.regressor.centre[None], np.eye(8 + MODES)[4])[0]
    # a descriptor that changes along with yaw, and along three other directions
    rows = np.stack([turn / np.linalg.norm(turn), *rng.normal(size=(3, 512)) / 512**0.5])
    rows[0] += 0.5 * rows[1]
    zero, centre = np.zeros(4), control.regressor.centre
    identity = Embedding(
        (30 * rows,), (zero,), centre, control.regressor.radius, zero, np.ones(4), (), (), 0, 1.0
    )
    save_control(replace(control, embedding=identity), str(tmp_path / "held.safetensors"))
    studio = open_studio(run, str(tmp_path / "held.safetensors"))
    given = of_seeds(studio.generator, studio.manifest, [1, 2])
    moved = {}
    for hold in (False, True):
        look = Look(2, 64, method, hold)
        first, last = edit_codes(studio, given, parse_request("yaw+=4"), look).ends
        moved[hold] = np.linalg.norm(identity.predict(last) - identity.predict(first), axis=1)
    assert (moved[True] < (0.05 if method == "analytic" else 0.95) * moved[False]).all()


@pytest.mark.parametrize("method", ["analytic", "gradient"])
def test_several_codes_together_land_by_both_methods(run, lode, tmp_path, method):
    q = "yaw=5, roll-=2, alpha_1+=0.5s, t_x+=0.01"
    words = ("--seed", 3, "--out", tmp_path / "x.jpg", "--method", method)
    (row,) = told(lode, "edit", "--run", run, "--q", q, *words)["rows"]
    last, target = row["codes"][-1], row["target"]
    control = load_control(f"{run}/results/control.safetensors")
    spread = dict(zip(control.shape.names, control.regressor.spread, strict=True))
    for code in row["asked"]:
        unit = np.degrees(spread[code]) if code in ("yaw", "roll") else spread[code]
        assert abs(last[code] - target[code]) < 0.3 * unit, code
    assert (tmp_path / "x.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_direction_by_its_attribute_in_its_own_unit(run, lode, tmp_path):
    out = tmp_path / "yaw.gif"
    words = ("--direction", "yaw", "--to=-10,10", "--unit", "attribute", "--frames", 5)
    said = told(lode, "edit", "--run", run, *words, "--seed", 4, "--seed", 5, "--out", out)
    assert said["steps"] == [-10, -5, 0, 5, 10] and said["predicted_attribute"] == "yaw"
    # 0.05 norms a degree by the calibration, 15 degrees a norm by the response
    np.testing.assert_allclose(said["predicted_change"], np.array(said["steps"]) * 0.05 * 15)
    done, film = cv2.imdecodeanimation(np.frombuffer(out.read_bytes(), np.uint8))
    assert done and len(film.frames) == 8  # there and back
    assert not np.array_equal(film.frames[0], film.frames[4])


SEEDS = (0, 1, 2, 4)


def by(lode, run, amount, out, *words):
    """`lode edit RUN --attribute yaw --by ...` of SEEDS: its record, and what it complained of."""
    seeds = [word for seed in SEEDS for word in ("--seed", seed)]
    ask = ("edit", run, "--attribute", "yaw", f"--by={amount}", *seeds, "--frames", 3)
    status, said, err = lode(*ask, "--out", out, "-o", "json", *words)
    assert status == 0, err
    return json.loads(said), err


def test_an_attribute_moves_by_so_many_degrees(run, lode, tmp_path):
    said, err = by(lode, run, "10deg", tmp_path / "x.png", "--measure")
    assert (said["attribute"], said["unit"], said["rounds"]) == ("yaw", "degrees", 8) and not err
    assert said["asked"] == [0, 5, 10]
    seen = [row for row in said["rows"] if row["landed"][1] is not None]
    assert len(seen) >= 2  # dlib finds not every head
    for row in seen:
        first, last = row["measured"]["geometry.yaw"]
        assert row["landed"] == pytest.approx([0, last - first], abs=1e-3)
        assert row["steps"][1] == pytest.approx(row["steps"][2] / 2)
    # the planted calibration is a third too short or so, and nobody is told to trust it
    alone = np.mean([abs(row["landed_at_first"][1] - 10) for row in seen])
    landed = np.mean([abs(row["landed"][1] - 10) for row in seen])
    assert landed <= 1.5 and landed < alone


def test_without_rounds_the_calibration_alone_is_followed(run, lode, tmp_path):
    said, _ = by(lode, run, "-0.5..1s", tmp_path / "x.png", "--rounds", 0)
    assert said["asked"] == [-7.5, 3.75, 15]  # of a spread of 15 degrees
    for row in said["rows"]:
        assert row["steps"] == pytest.approx([0.05 * asked for asked in said["asked"]])
        assert row["landed"] == [None, None]


def test_beyond_its_range_an_edit_is_made_with_a_warning(run, lode, tmp_path):
    said, err = by(lode, run, "-10..35deg", tmp_path / "x.png", "--rounds", 0)
    assert (tmp_path / "x.png").exists()
    assert re.search("^warning: .*change of -10 to 35 degrees .* from -30 to 30; beyond", err)
    assert err.count("\n") == 1 and any("seen to hold" in note for note in said["notes"])


def test_the_best_direction_that_has_a_calibration_is_taken(run, lode, tmp_path):
    catalog = ("--catalog", f"{run}/two", "--rounds", 0)
    assert by(lode, run, "3deg", tmp_path / "x.png", *catalog)[0]["method"] == "ridge"
    words = ("--run", run, *catalog[:2], "--direction", "yaw", "--seed", 1, "--frames", 2)
    assert told(lode, "edit", *words, "--out", tmp_path / "y.png")["method"] == "other"


def test_without_its_extractors_an_edit_says_that_it_was_not_measured(
    run, lode, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.delitem(sys.modules, "mining.extractors.dlib68", raising=False)
    said, _ = by(lode, run, "3deg", tmp_path / "x.png")
    assert any("not measured" in note for note in said["notes"])
    assert all(row["landed"] == [None, None] for row in said["rows"])


def test_a_folder_holds_the_single_frames(run, lode, tmp_path):
    out = tmp_path / "frames"
    words = ("edit", "--run", run, "--q", "pitch=4", "--seed", 7, "--frames", 3, "--size", 48)
    told(lode, *words, "--out", out)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["0-0.png", "0-1.png", "0-2.png", "edit.json"]
    assert cv2.imread(str(out / "0-1.png")).shape == (48, 48, 3)
    status, _, err = lode(*words, "--out", out)
    assert status == 2 and "is there already" in err and "--force" in err
    assert lode(*words, "--out", out, "--force")[0] == 0


def test_a_film_is_written(run, lode, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / "yaw.mp4"
    told(lode, "edit", "--run", run, "--q", "yaw=5", "--seed", 1, "--frames", 4, "--out", out)
    reader, count = cv2.VideoCapture(str(out)), 0
    while reader.read()[0]:
        count += 1
    assert count == 2 * 7 + 4  # the two ends stand for seven frames each


@pytest.mark.parametrize("codes", ["regressor", "landmarks"])
def test_transfer_copies_the_pose_of_another_seed(run, lode, tmp_path, codes):
    out = tmp_path / "both.png"
    words = ("transfer", "--run", run, "--from", 8, "--to", 1, "--to", 2, "--parts", "pose")
    said = told(lode, "edit", *words, "--frames", 3, "--codes", codes, "--out", out)
    assert cv2.imread(str(out)).shape[1] == 4 * (EDGE + 4) + 4  # the source is the last column
    source = said["from_codes"]
    for row in said["rows"]:
        for angle in ("yaw", "pitch", "roll"):
            assert row["target"][angle] == source[angle]
            assert row["codes"][-1][angle] == pytest.approx(source[angle], abs=3)
        assert row["target"]["alpha_0"] == row["codes"][0]["alpha_0"]


def test_transfer_copies_the_pose_of_a_photo(run, lode, tmp_path):
    generator = HeadGenerator(256)
    w = generator.map(generator.sample_z(1, np.random.default_rng(8)))
    face = generator.synthesize(generator.broadcast(w))[0]
    photo = np.full((300, 360, 3), 128, np.uint8)
    photo[22:278, 52:308] = face[..., ::-1]
    cv2.imwrite(str(tmp_path / "photo.jpg"), photo)
    words = ("--from-image", tmp_path / "photo.jpg", "--to", 1, "--parts", "pose", "--frames", 2)
    said = told(lode, "edit", "transfer", "--run", run, *words, "--out", tmp_path / "x.png")
    true = dict(zip(table.NAMES, generator.parameters(generator.broadcast(w))[0], strict=True))
    assert (said["from"], said["codes_from"]) == ("photo.jpg", "landmarks")
    (row,) = said["rows"]
    for angle in ("yaw", "pitch", "roll"):
        assert row["target"][angle] == said["from_codes"][angle]
    assert said["from_codes"]["roll"] == pytest.approx(true["roll"], abs=5)
    assert cv2.imread(str(tmp_path / "x.png")).shape[1] == 3 * (EDGE + 4) + 4


def test_latents_of_a_file_are_edited_as_seeds_are(run, lode, tmp_path):
    generator = HeadGenerator(**OPTIONS)
    w = generator.map(generator.sample_z(2, np.random.default_rng(1)))
    rows = {}
    for name, latents in {"w": w, "wp": generator.broadcast(w), "one": w[0]}.items():
        np.save(tmp_path / f"{name}.npy", latents)
        words = ("--latent", tmp_path / f"{name}.npy", "--q", "yaw=4", "--frames", 2)
        said = told(lode, "edit", "--run", run, *words, "--out", tmp_path / f"{name}.png")
        rows[name] = [row["codes"] for row in said["rows"]]
    assert rows["w"] == rows["wp"] and rows["one"] == rows["w"][:1]


def mistakes(tmp_path):
    """Words -> what is said of them."""
    q, seed, out = ("--q", "yaw=3"), ("--seed", "1"), ("--out", str(tmp_path / "x.png"))
    np.save(tmp_path / "nan.npy", np.full(512, np.nan))
    np.save(tmp_path / "wide.npy", np.zeros((2, 7)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    untied = np.random.default_rng(0).normal(size=(1, len(table.LAYERS), 512))
    np.save(tmp_path / "untied.npy", untied)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "taken.gif").write_text("mine")

    def file(name):
        return (*q, "--latent", str(tmp_path / name), *out)

    return {
        (*seed, *out): "neither --q nor --direction nor --attribute",
        (*q, "--attribute", "yaw", *seed, *out): "both --q and --attribute",
        ("--direction", "yaw", "--attribute", "yaw", *seed, *out): "--direction and --attribute",
        ("--attribute", "yaw", *seed, *out): "--attribute came without --by",
        (*q, "--by", "3deg", *seed, *out): "--by belongs to --attribute or --direction",
        ("--direction", "yaw", "--rounds", "2", *seed, *out): "--rounds belongs to --by",
        ("--attribute", "yaw", "--by", "9deg", "--to", "2", *seed, *out): "beside --by",
        ("--attribute", "yaw", "--by", "far", *seed, *out): "'far' cannot be read; expected such",
        ("--attribute", "yaw", "--by", "9mm", *seed, *out): "counted in degrees .deg.; expected",
        ("--attribute", "yaw", "--by", "0", *seed, *out): "asks for no change",
        ("--attribute", "yawn", "--by", "9", *seed, *out): "attribute 'yawn'; did you mean 'yaw'",
        ("--attribute", "roll", "--by", "9deg", *seed, *out): "has no calibration for 'roll'",
        ("--attribute", "yaw", "--by", "9deg", *seed): "no --out FILE",
        ("--attribute", "yaw", "--by", "9deg", "--hold", "identity", *seed, *out): "belong to --q",
        (*q, "--direction", "yaw", *seed, *out): "both --q and --direction",
        (*q, *out): "neither --seed nor --latent",
        (*q, *seed): "no --out FILE",
        (*q, *seed, "--out", str(tmp_path / "x.bmp")): "ends in .bmp",
        (*q, *seed, "--out", str(tmp_path / "taken.gif")): "is there already",
        (*q, *seed, "--out", str(tmp_path)): "is there already",
        ("--q", "yav=3", *seed, *out): "unknown code 'yav'; did you mean 'yaw'",
        ("--q", f"alpha_{MODES}=3", *seed, *out): f"unknown code 'alpha_{MODES}'",
        ("--q", "yaw=179", *seed, *out): "spreads from the mean",
        ("--q", "yaw to 3", *seed, *out): "cannot be read; expected such as",
        (*q, "--seed", "-1", *out): "seed -1 came",
        (*q, *seed, *out, "--to", "3"): "belong to --direction",
        (*q, *seed, *out, "--hold", "identity"): "holds no embedding",
        (*q, *seed, *out, "--size", "97"): "makes images of 96 pixels",
        (*q, *seed, *out, "--frames", "300"): "expected 2 to 240",
        (*q, *seed, *out, "--control", str(tmp_path / "none.safetensors")): "does not exist",
        (*q, *seed, *out, "--control", str(tmp_path / "text.npy")): "control: ",
        ("--direction", "yawn", *seed, *out): "unknown direction, tag or attribute 'yawn'",
        ("--direction", "pitch", *seed, *out): "no direction of W or W\\+ for 'pitch'",
        ("--direction", "yaw", "--to", "far", *seed, *out): "--to 'far' came",
        ("--direction", "yaw", "--method", "gradient", *seed, *out): "belong to --q",
        file("none.npy"): "is no file",
        file("nan.npy"): "not finite",
        file("wide.npy"): r"holds \(2, 7\); expected",
        file("objects.npy"): "no .npy file of numbers|holds object",
        file("text.npy"): "no .npy file of numbers",
        file("untied.npy"): "rows of W\\+ in the file differ",
    }


def test_every_mistake_is_one_line_and_nothing_is_written(run, lode, tmp_path):
    cases = mistakes(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    for words, expected in cases.items():
        status, out, err = lode("edit", "--run", run, *words)
        assert (status, out) == (2, ""), (words, err)
        assert err.startswith("error: ") and err.count("\n") == 1, (words, err)
        assert re.search(expected, err), (words, err)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "taken.gif").read_text() == "mine"


def test_a_run_or_a_control_model_of_something_else_is_refused(run, lode, tmp_path):
    words = ("--q", "yaw=3", "--seed", 1, "--out", tmp_path / "x.png")
    for place, expected in ((tmp_path / "none", "does not exist"), (tmp_path, "holds no dataset")):
        status, _, err = lode("edit", "--run", place, *words)
        assert status == 2 and expected in err
    control = load_control(f"{run}/results/control.safetensors")
    other = tmp_path / "other.safetensors"
    save_control(replace(control, fingerprint="cd" * 32), str(other))
    status, _, err = lode("edit", "--run", run, *words, "--control", other)
    assert status == 2 and "of generator head (cdcdcdcdcdcdcdcd)" in err
    assert lode("edit", "--run", run, *words, "--control", other, "--another-generator")[0] == 0


def test_transfer_tells_its_mistakes(run, lode, tmp_path):
    out = ("--out", tmp_path / "x.png")
    for words, expected in {
        ("--from", 1, "--to", 2, "--parts", "poses"): "unknown part 'poses'",
        ("--from", 1): "no --to SEED",
        ("--to", 1): "neither --from SEED nor --from-image",
        ("--from", 1, "--from-image", "x.png", "--to", 2): "both --from and --from-image",
        ("--from-image", "x.png", "--to", 2, "--codes", "regressor"): "a photo has no latent",
        ("--from-image", tmp_path / "none.png", "--to", 2): "is no file",
        ("--from", 1, "--to", 2, "--parts", ","): "no parts came",
    }.items():
        status, _, err = lode("edit", "transfer", "--run", run, *words, *out)
        assert status == 2 and expected in err, err


def test_the_table_is_short_and_says_what_moved(run, lode, tmp_path):
    words = ("--q", "yaw=3", "--seed", 1, "--out", tmp_path / "x.png", "--frames", 2)
    status, out, err = lode("edit", "--run", run, *words)
    lines = out.splitlines()
    assert status == 0 and err == ""
    assert lines[0].split() == ["out", str(tmp_path / "x.png")]
    assert lines[2].startswith("seed 1: yaw ") and "of the rest most, in spreads" in lines[2]


def test_a_film_without_its_package_is_refused_before_anything_is_loaded(
    lode, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    words = ("--run", "nowhere", "--q", "yaw=3", "--seed", 1, "--out", tmp_path / "x.mp4")
    status, _, err = lode("edit", *words)
    assert status == 2 and "pip install 'latentlode[video]'" in err
