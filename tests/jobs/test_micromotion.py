"""`lode micromotion`: ablation pages, text and frames end to end, and mistakes in one line."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jobs.cli import main as lode
from jobs.cli_micromotion import counts_of
from jobs.micromotion import TextJob, mine_text
from jobs.micromotion_frames import read_frames
from jobs.micromotion_run import open_run
from jobs.report.ablation_page import render_ablation, saturation
from mining.description import describe
from mining.evaluation.micromotion_ablation import Ablation, AblationConfig, Point
from mining.methods.anchor_motion import MotionConfig
from mining.methods.control import fit_control
from mining.methods.control_file import save_control
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from mining.methods.text_anchors import TextConfig
from mining.sampling import Measurer, Renderer
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import claim
from storage.shards import commit
from tests.examples.points import PointsGenerator
from tests.jobs.conftest import POINTS
from tests.jobs.planted_backends import Reader
from tests.mining.methods.tiny_clip import Brightness

HOSTILE = "</script><script>alert('x')</script>\"'><img src=x onerror=alert(1)>&{{7*7}}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run's folder with a dataset of points and the control model fitted to it."""
    folder = tmp_path_factory.mktemp("micromotion") / "run"
    told = {
        "generator": {"name": f"{POINTS}:PointsGenerator"},
        "extractors": {f"{POINTS}:PointsExtractor": {}},
        "dataset": {"samples": 400, "shard_size": 100, "thumbnail": 16},
    }
    manifest, store = describe(RunSettings.model_validate(told)), Store(str(folder / "dataset"))
    claim(store, manifest)
    render, see = Renderer(manifest), Measurer(manifest)
    for shard in range(manifest.shards):
        commit(store, manifest, shard, see(render(shard)))
    arrays = Dataset(str(folder / "dataset")).arrays(["w", "points_landmarks"])
    control = fit_control(
        arrays["w"].astype(np.float64),
        arrays["points_landmarks"],
        NrsfmConfig(4, sweeps=10),
        RegressorConfig(hidden=(64,), epochs=10),
        space="w",
        generator="points",
        fingerprint=manifest.generator["fingerprint"],
    )
    save_control(control, str(folder / "results" / "control.safetensors"))
    return str(folder)


@pytest.fixture
def said(capsys):
    def said(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["micromotion", *map(str, words)])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return said


def test_an_ablation_writes_its_page_and_numbers(run, said, tmp_path):
    out = tmp_path / "ablation"
    words = ("ablation", run, "--attribute", "yaw", "--attribute", "pitch", "--out", out)
    words += ("--anchors", "1,2,6", "--identities", "1-2", "--repeats", 2)
    status, text, err = said(*words)
    assert status == 0, err
    assert "yaw: cosine to the result of 6 clean anchors" in text and "damaged" in text
    content = json.loads((out / "ablation.json").read_text())
    assert content["table"] == "micromotion_ablation"
    assert [each["attribute"] for each in content["attributes"]] == ["yaw", "pitch"]
    points = content["attributes"][0]["points"]
    assert len(points) == 2 * (3 * 3 + 2 * 2 + 9)
    clean = [p["cosine"] for p in points if p["study"] == "anchors" and not p["damaged"]]
    assert min(clean) > 0.5  # single identities to several: the shape bends
    with (out / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(points) and rows[0]["reference"] == "own"
    read = Reader((out / "ablation.html").read_text())
    assert not read.open and not read.handlers and "script" not in read.tags
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.fetched)
    shown = re.sub(r"<svg.*?</svg>", "", (out / "ablation.html").read_text(), flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown)
    status, _, _ = said(*words)
    assert status == 0  # its own files are replaced
    (out / "ablation.json").write_text("[]")
    status, _, err = said(*words)
    assert status != 0 and "is no ablation of ours" in err and err.count("\n") == 1


def test_a_page_escapes_what_it_is_told():
    point = Point(
        "anchors", 1, 1, "matrix", "robust_pca", "component", False, 0.5, 0.4, 0.6, 0.3, 2, 1.0
    )
    rest = [
        Point("decomposition", 12, 1, "matrix", kind, reading, False, 0.5, 0.4, 0.6, 0.3, 2, 1.0)
        for kind in ("robust_pca", "pca", "none")
        for reading in ("component", "regression", "last_minus_first")
    ]
    found = Ablation(HOSTILE, "1", HOSTILE, False, 0.5, (point, *rest))
    page = render_ablation([found], HOSTILE, HOSTILE, HOSTILE, AblationConfig())
    read = Reader(page)
    assert not read.open and not read.handlers and "script" not in read.tags
    assert "img" not in read.tags and "49" not in re.findall(r"&\{\{.*?\}\}", page)


def test_more_anchors_bring_no_more_from_the_first_that_stays_near():
    def at(anchors, cosine):
        return Point(
            "anchors", anchors, 1, "matrix", "robust_pca", "component", True, cosine,
            cosine, cosine, cosine, 1, 1.0,
        )  # fmt: skip

    points = [at(1, 0.2), at(2, 0.9), at(4, 0.5), at(8, 0.895), at(16, 0.9)]
    assert saturation(points) == 8
    assert saturation([]) is None


@pytest.fixture
def film(tmp_path) -> str:
    """A folder of one shape that turns, as images without loss."""
    generator = PointsGenerator()
    w = 0.3 * generator.sample_z(1, np.random.default_rng(8))
    turned = w + np.linspace(-2, 2, 9)[:, None].astype(np.float32) * generator.truth_rows[0]
    folder = tmp_path / "film"
    folder.mkdir()
    for number, image in enumerate(generator.synthesize(generator.broadcast(turned))):
        cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
    return str(folder)


def test_frames_are_mined_published_and_written(run, film, said, tmp_path):
    out, place = tmp_path / "yaw.npy", str(tmp_path / "catalog")
    words = ("frames", run, "--from", film, "--attribute", "yaw")
    status, text, err = said(*words, "--out", out, "--catalog", place, "-o", "json")
    assert status == 0, err
    told, truth = json.loads(text), PointsGenerator().truth_rows[0]
    assert np.load(out, allow_pickle=False) @ truth > 0.95
    assert told["frames"] == 9 and told["left_out"] == 0 and told["slope"] > 0
    assert told["inverter_r2"] > 0.1
    (card,) = Catalog(place).cards()
    assert card.method == "micromotion_frames" and card.attribute == "yaw"
    assert card.vector @ truth > 0.95 and card.direction_id == told["direction"]
    status, _, err = said(*words, "--out", out)
    assert status == 2 and "expected a new file" in err


def test_text_makes_a_card_by_evolution(run):
    config = TextConfig(steps=6, pairs=4, axes=8, batch=11, l2_weight=0.0)
    opened = open_run(run)
    job = TextJob(Brightness(), config, MotionConfig(layers="each"), space="w")
    card = mine_text(opened, "bright", "{} bright", job)
    assert card.method == "micromotion_text" and card.space == "w" and card.slope != card.slope
    assert np.linalg.norm(card.vector) == pytest.approx(1, abs=1e-5)
    assert card.sigma > 0 and "fit_gain" in card.evidence
    again = mine_text(opened, "bright", "{} bright", job)
    assert again.direction_id == card.direction_id  # evolution is seeded
    assert json.loads(card.provenance.settings)["text"]["template"] == "{} bright"
    wide = mine_text(opened, "yaw", "{} x", replace(job, space="w+"))
    assert wide.space == "w+" and wide.vector.shape == (2, 24) and np.isfinite(wide.slope)


def test_a_film_is_thinned_out_evenly(tmp_path):
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 32))
    for shade in np.linspace(0, 250, 60):
        writer.write(np.full((32, 48, 3), shade, np.uint8))
    writer.release()
    frames = read_frames([path], 24, 7)
    assert frames.shape == (7, 24, 24, 3)
    shades = frames[:, 12, 12, 0].astype(float)
    assert (np.diff(shades) > 20).all() and shades[0] < 10
    with pytest.raises(InputError, match="expected 3 to"):
        read_frames([path], 24, 2)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(InputError, match="no film that can be read"):
        read_frames([str(tmp_path / "broken.mp4")], 24, 7)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ablation", "{run}", "--attribute", "yav", "--out", "{tmp}/a"), "did you mean 'yaw'"),
        (("ablation", "{tmp}", "--attribute", "yaw", "--out", "{tmp}/a"), "holds no dataset"),
        (("ablation", "{tmp}/x", "--attribute", "yaw", "--out", "{tmp}/a"), "does not exist"),
        (("ablation", "{run}", "--attribute", "yaw"), "--out"),
        (
            ("ablation", "{run}", "--attribute", "yaw", "--out", "{tmp}/a", "--anchors", "9-1"),
            "such as 1-16",
        ),
        (
            ("ablation", "{run}", "--attribute", "yaw", "--out", "{tmp}/a", "--control", "{tmp}/c"),
            "lode control fit",
        ),
        (("text", "{run}", "--clip", "{tmp}", "--attribute", "smirk"), "--template"),
        (("text", "{run}", "--clip", "{tmp}/no", "--attribute", "smile"), "clip scorer"),
        (
            ("text", "{run}", "--clip", "{tmp}", "--attribute", "a", "--template", "none"),
            "one {}",
        ),
        (("frames", "{run}", "--from", "{tmp}/none.png"), "no file"),
        (("frames", "{run}", "--from", "{tmp}"), "no image or film"),
        (("frames", "{run}", "--from", "{tmp}", "--attribute", "smirk"), "unknown attribute"),
        (("frames", "{run}", "--from", "{tmp}/none.mp4"), "no file"),
    ],
)
def test_a_mistake_is_one_line(run, said, tmp_path, words, told):
    status, out, err = said(*(word.replace("{run}", run).replace("{tmp}", str(tmp_path))
                              for word in words))  # fmt: skip
    assert status == 2 and out == "" and told in err and err.count("\n") == 1


def test_counts_are_ranges_and_lists():
    assert counts_of("--anchors", "1-3,8") == (1, 2, 3, 8)
    for text in ("", "0", "3-1", "a", "1-1000"):
        with pytest.raises(InputError, match="such as 1-16"):
            counts_of("--anchors", text)
