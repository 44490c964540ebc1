"""`lode dataset invert`: latents of images that were not asked for, as a file others read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from jobs.cli_dataset import dataset_app
from jobs.filter_dataset import filter_dataset
from jobs.inverting import invert
from jobs.learned_sources import read_inverted
from mining.description import describe
from mining.generators.head.parameters import NAMES
from schemas.errors import InputError
from storage.dataset import Dataset
from tests.examples.points import PointsGenerator
from tests.storage.points_dataset import EXTRACTOR, SOME_BLIND, file_digests, make, settings

POINTS = "points_landmarks"


def made(folder, extractors=None, **told) -> Dataset:
    return make(folder, describe(settings(extractors or {EXTRACTOR: {}}, **told)))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Dataset:
    return made(tmp_path_factory.mktemp("teacher") / "dataset", samples=400, shard_size=100)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Dataset:
    return made(tmp_path_factory.mktemp("images") / "dataset", samples=60, seed=5)


def run(*words) -> Result:
    return CliRunner().invoke(dataset_app, ["invert", *map(str, words)])


def test_the_latents_are_those_of_the_images_as_far_as_these_show_them(teacher, images, tmp_path):
    before = file_digests(images.url) | file_digests(teacher.url)
    out = tmp_path / "latents.npy"
    found = invert(images.url, teacher.url, str(out), [POINTS], edge=0)
    stored = np.load(out, allow_pickle=False)
    np.testing.assert_array_equal(stored, found.latents)
    assert stored.shape == (60, 24) and stored.dtype == np.float32
    true = images.arrays(["w"])["w"]
    rows = PointsGenerator().truth_rows
    for along in rows:  # four directions that the landmarks show, all the more of them
        assert np.corrcoef(true @ along, stored @ along)[0, 1] > 0.95
    hidden = np.eye(24) - rows.T @ rows
    assert (stored @ hidden).std() < 0.3 * (stored @ rows.T).std()
    told = json.loads((tmp_path / "latents.npy.json").read_text())
    assert told["features"] == {POINTS: 136} and told["rows"] == told["indices"][-1] + 1 == 60
    assert told["explained_here"] == pytest.approx(4 / 24, abs=0.05)
    assert told["space"] == "w" and told["left_out"] == {"known": 0, "unmeasured": 0}
    assert told["fingerprint"] == images.manifest.generator["fingerprint"]
    assert file_digests(images.url) | file_digests(teacher.url) == before
    np.testing.assert_array_equal(read_inverted(str(out), teacher.manifest), stored)


def test_it_is_the_same_file_every_time(teacher, images, tmp_path):
    files = [tmp_path / name for name in ("one.npy", "two.npy")]
    for file in files:
        done = run(images.url, "--encoder-from", teacher.url, "--out", file)
        assert done.exit_code == 0, done.output
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "136 of points_landmarks, 4 of points_descriptor, 768 of pixels" in done.stdout
    again = run(images.url, "--encoder-from", teacher.url, "--out", files[0])
    assert isinstance(again.exception, InputError) and "is there already" in str(again.exception)
    words = ("--force", "--output", "json", "--edge", 0)
    forced = run(images.url, "--encoder-from", teacher.url, "--out", files[0], *words)
    assert json.loads(forced.stdout)["features"] == {POINTS: 136, "points_descriptor": 4}
    assert files[0].read_bytes() != files[1].read_bytes()


def test_rows_of_w_plus_stay_rows(tmp_path):
    told = {"psi": 0.5, "space": "w+"}
    teacher = made(tmp_path / "teacher", samples=300, shard_size=100, **told)
    images = made(tmp_path / "images", samples=20, seed=5, **told)
    out = tmp_path / "rows.npy"
    found = invert(images.url, teacher.url, str(out), [POINTS], edge=0)
    assert found.latents.shape == (20, 2, 24) and found.facts["space"] == "w+"
    true = images.arrays(["w_plus"])["w_plus"]
    rows = PointsGenerator().truth_rows
    for row, along in ((0, rows[0]), (1, rows[2])):  # the row that each is read from
        r = np.corrcoef(true[:, row] @ along, found.latents[:, row] @ along)[0, 1]
        assert r > 0.9
    assert read_inverted(str(out), teacher.manifest).shape == (20, 48)


def test_faces_that_were_not_measured_or_taught_the_encoder_are_left_out(teacher, tmp_path):
    blind = made(tmp_path / "blind", SOME_BLIND, samples=60, seed=5)
    found = invert(blind.url, teacher.url, str(tmp_path / "a.npy"), [POINTS], edge=0)
    missing = blind.statuses()["points"]["no_face"]
    assert missing > 3 and found.facts["left_out"] == {"known": 0, "unmeasured": missing}
    assert len(found.latents) == 60 - missing
    part = filter_dataset(teacher.url, str(tmp_path / "part"), "index < 350")
    rest = invert(teacher.url, part.url, str(tmp_path / "b.npy"))
    assert rest.facts["left_out"] == {"known": 350, "unmeasured": 0}
    assert rest.facts["indices"] == list(range(350, 400))


def test_the_head_is_told_by_its_parameters(tmp_path):
    told = {"generator": "head", "thumbnail": 16, "batch_size": 50}
    light = {"tests.examples.brightness:Brightness": {}}
    small = {"generator": {"name": "head", "options": {"resolution": 64}}}
    datasets = []
    for name, seed, samples in (("teacher", 0, 150), ("images", 1, 30)):
        asked = settings(light, seed=seed, samples=samples, shard_size=50, **told)
        asked = asked.model_validate({**asked.model_dump(), **small})
        datasets.append(make(tmp_path / name, describe(asked)))
    teacher, images = datasets
    found = invert(images.url, teacher.url, str(tmp_path / "w.npy"))
    assert found.facts["features"] == {"pixels": 768}
    known = found.facts["parameters"]
    assert known["skin_tone"] > 0.6 and known["background_value"] > 0.5
    assert list(known) == list(NAMES)


def test_latents_of_one_image_have_no_share_of_variance(teacher, images, tmp_path):
    one = filter_dataset(images.url, str(tmp_path / "one"), "index == 7")
    found = invert(one.url, teacher.url, str(tmp_path / "w.npy"), [POINTS], edge=0)
    assert found.facts["indices"] == [7] and "explained_here" not in found.facts


def test_an_encoder_to_wide_latents_is_fitted_to_fewer_rows(teacher, images, tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.inverting.MOST_NUMBERS", 24 * 150)  # W of 24 numbers
    found = invert(images.url, teacher.url, str(tmp_path / "w.npy"), [POINTS], edge=0)
    assert found.facts["fitted_to"] == 150
    rest = invert(teacher.url, teacher.url, str(tmp_path / "rest.npy"), [POINTS], edge=0)
    assert rest.facts["left_out"]["known"] == 150  # what taught nothing is held out


def test_facts_of_other_latents_are_not_replaced_unasked(teacher, images, tmp_path):
    (tmp_path / "w.npy.json").write_text("mine")
    with pytest.raises(InputError, match="w.npy.json is there already"):
        invert(images.url, teacher.url, str(tmp_path / "w.npy"), [POINTS], edge=0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    invert(images.url, teacher.url, str(tmp_path / "w.npy"), [POINTS], edge=0, force=True)
    assert json.loads((tmp_path / "w.npy.json").read_text())["rows"] == 60


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "w.txt"], "expected a file that ends in .npy"),
        (["--columns", "points_yaww"], "did you mean"),
        (["--columns", "index"], "holds int64"),
        (["--edge", "32", "--columns", ""], None),
    ],
)
def test_mistakes_are_one_error_before_work(teacher, images, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    line = [images.url, "--encoder-from", teacher.url, "--out", "w.npy", *words]
    done = run(*line)
    if said is None:  # thumbnails of 16 pixels are not enlarged: they are left
        assert done.exit_code == 0 and "pixels" not in done.stdout
        return
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_images_that_taught_the_encoder_are_not_held_out(teacher, tmp_path):
    with pytest.raises(InputError, match="expected another dataset for --encoder-from"):
        invert(teacher.url, teacher.url, str(tmp_path / "w.npy"))


def test_datasets_that_share_nothing_are_refused(teacher, tmp_path):
    light = {"tests.examples.brightness:Brightness": {}}
    other = made(tmp_path / "other", light, samples=20, thumbnail=0)
    with pytest.raises(InputError, match="the datasets share nothing to read"):
        invert(other.url, teacher.url, str(tmp_path / "w.npy"))
    assert not (tmp_path / "w.npy").exists()
