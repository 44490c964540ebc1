"""`lode control fit`: a model from a finished dataset, and mistakes that cost no work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from jobs.cli_control import control_app
from jobs.control_data import check_dataset, control_settings, fit_rows, read_rows
from mining.generators.registry import make_generator
from mining.methods.camera import rotation
from mining.methods.control import fit_control
from mining.methods.control_file import load_control
from mining.spaces import latents_in
from schemas.errors import InputError
from schemas.samples import Field, to_column
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit

ROWS, DIM, POINTS, UNSEEN = 220, 8, 24, 20
QUICK = {
    "nrsfm": {"components": 2},
    "regressor": {"hidden": [24], "epochs": 40, "learning_rate": 0.01, "weight_decay": 0.01},
}
WORDS = [
    word
    for part, options in QUICK.items()
    for key, value in options.items()
    for word in ("--set", f"{part}.{key}={value}")
]
# StyleGAN2 of random weights, small enough to give styles in a moment
TINY = {
    "img_resolution": 16,
    "z_dim": DIM,
    "w_dim": DIM,
    "synthesis_kwargs": {"channel_base": 64, "channel_max": 8},
}


def turned(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Landmarks of a solid that the first numbers of w turn, bend and shift."""
    solid = 0.15 * rng.normal(size=(3, POINTS))
    bend = np.outer([0.3, 0.9, 0.3], 0.05 * rng.normal(size=POINTS))
    turns = rotation(w[:, :3] * [0.2, 0.3, 0.1])[:2]
    bent = solid + w[:, 3, None, None] * bend
    points = np.stack([np.stack(row, axis=1) for row in turns], axis=1) @ bent
    points = points + 0.5 + 0.03 * w[:, 4:6, None]
    return points.transpose(0, 2, 1) + 5e-4 * rng.normal(size=(len(w), POINTS, 2))


def write(
    folder: Path, columns: Mapping[str, np.ndarray], num_ws=3, load="head", **settings
) -> str:
    """A finished dataset of these columns; landmarks and descriptors of the first rows are null."""
    rows, random = len(columns["z"]), {"random": TINY} if load == "stylegan2" else {}
    missing = np.arange(rows) < UNSEEN
    nulls = {name: missing for name in columns if name.startswith("face_")}
    fields = [
        Field(name, "float32", values.shape[1:], nullable=name in nulls)
        for name, values in columns.items()
    ]
    told = {"fingerprint": "ab" * 32, "licence": "MIT"}
    generator = {"name": load, "load": load, "options": random, "num_ws": num_ws, **told}
    shards = {"samples": rows, "shard_size": 100, "space": "w", "psi": 1.0, "cutoff": None}
    content = {
        "format": 1,
        "dataset": {**shards, "image_size": 200, **settings},
        "generator": generator,
        "extractors": [{**told, "name": "face", "load": "face", "options": {}}],
        "fields": [field.to_json() for field in [*TOLD, *fields]],
    }
    manifest, store = Manifest(content), Store(str(folder))
    claim(store, manifest)
    arrays = {
        "sample_id": pa.array([""] * rows),
        "index": pa.array(range(rows), pa.int64()),
        "face_status": pa.array(["no_face" if lost else "ok" for lost in missing]),
    }
    for name, values in columns.items():
        arrays[name] = to_column(values.astype(np.float32), nulls.get(name))
    for shard in range(manifest.shards):
        part = manifest.rows(shard)
        commit(store, manifest, shard, pa.table(arrays).slice(part.start, len(part)))
    return str(folder)


TOLD = (Field("sample_id", "string"), Field("index", "int64"), Field("face_status", "string"))


@dataclass(frozen=True)
class Planted:
    url: str
    w: np.ndarray
    landmarks: np.ndarray


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Planted:
    """A dataset of z and w whose landmarks and descriptors hang on w."""
    rng = np.random.default_rng(8)
    w = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    points = turned(w, rng).astype(np.float32)
    columns = {
        "z": 2 * w,
        "w": w,
        "face_landmarks": points,
        "face_descriptor": np.tanh(w @ rng.normal(size=(DIM, 5))),
        "face_score": w[:, 0],
    }
    url = write(tmp_path_factory.mktemp("control") / "dataset", columns)
    return Planted(url, w, points)


def fit(url: str, *words: str):
    return CliRunner().invoke(
        control_app, ["fit", url, "--landmarks", "face_landmarks", *WORDS, *words]
    )


def test_the_file_holds_what_the_library_would_fit(planted, tmp_path):
    out = tmp_path / "control.safetensors"
    ran = fit(planted.url, "--out", str(out), "-o", "json")
    assert ran.exit_code == 0, ran.output
    found = load_control(str(out))
    settings = control_settings("w", "face_landmarks", QUICK)
    direct = fit_control(
        planted.w[UNSEEN:].astype(np.float64),
        planted.landmarks[UNSEEN:].astype(np.float64),
        settings.nrsfm,
        settings.regressor,
    )
    codes = found.regressor.predict(planted.w)
    np.testing.assert_allclose(codes, direct.regressor.predict(planted.w), atol=1e-7)
    assert (found.generator, found.fingerprint, found.licence) == ("head", "ab" * 32, "MIT")
    assert (found.space, found.latent_shape) == ("w", (DIM,))
    assert found.ranges is not None and found.ranges.rows == ROWS - UNSEEN
    said = json.loads(ran.stdout)
    assert (said["rows"], said["skipped"], said["modes"]) == (ROWS - UNSEEN, UNSEEN, 2)
    assert said["file"] == str(out) and said["embedding_r2"] is None
    gaps = found.landmarks(planted.w[UNSEEN:]) - planted.landmarks[UNSEEN:]
    seen = 200 * np.sqrt((gaps**2).sum(axis=2).mean())  # of all rows, four fifths trained on
    assert 0.5 * seen < said["landmarks_px"] < 2 * seen
    assert said["shape_px"] == pytest.approx(200 * found.shape.rms, rel=1e-5)
    assert said["residual"] < 0.1


def test_a_table_tells_the_same(planted, tmp_path):
    ran = fit(planted.url, "--out", str(tmp_path / "c.safetensors"))
    assert ran.exit_code == 0, ran.output
    lines = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())
    assert lines["skipped"] == str(UNSEEN) and lines["landmarks"] == str(POINTS)
    assert "embedding_r2" not in lines


def test_the_embedding_comes_along_where_asked(planted, tmp_path):
    out = tmp_path / "c.safetensors"
    words = ("--embedding", "--set", "embedding.hidden=[24]", "--set", "embedding.epochs=5")
    ran = fit(planted.url, "--out", str(out), *words, "-o", "json")
    assert ran.exit_code == 0, ran.output
    embedding = load_control(str(out)).embedding
    assert embedding is not None and embedding.predict(planted.w).shape == (ROWS, 5)
    assert json.loads(ran.stdout)["embedding_r2"] == pytest.approx(embedding.r2, rel=1e-5)


@pytest.mark.parametrize(("space", "shape"), [("z", (DIM,)), ("w+", (3, DIM))])
def test_z_and_tied_w_plus_are_read_from_the_same_dataset(planted, space, shape):
    settings = control_settings(space, "face_landmarks", QUICK)
    rows = read_rows(Dataset(planted.url), settings)
    assert rows.latent_shape == shape and rows.skipped == UNSEEN
    latents = rows.latents.reshape(-1, *shape)
    if space == "z":
        np.testing.assert_array_equal(latents, 2 * planted.w[UNSEEN:])
    else:
        assert (latents == planted.w[UNSEEN:, None]).all()
    control = fit_rows(rows, settings, Dataset(planted.url).manifest)
    assert (control.space, control.latent_shape) == (space, shape)
    best = control.regressor.best_epoch
    variance = planted.landmarks.var(axis=0).mean()
    assert control.regressor.held_out_landmarks[best] < 0.3 * variance


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    """A dataset of a small StyleGAN2, with rows of W+ drawn apart."""
    rng = np.random.default_rng(4)
    generator = make_generator("stylegan2", random=TINY, device="cpu")
    z = rng.normal(size=(60, generator.num_ws, DIM)).astype(np.float32)
    rows = [generator.map(z[:, row]) for row in range(generator.num_ws)]
    w_plus = np.stack(rows, axis=1)
    columns = {
        "z": z,
        "w": w_plus[:, 0],
        "w_plus": w_plus,
        "face_landmarks": turned(w_plus[:, 0], rng),
    }
    folder = tmp_path_factory.mktemp("styled") / "dataset"
    url = write(folder, columns, generator.num_ws, "stylegan2", space="w+")
    return url, z, w_plus, generator


@pytest.mark.parametrize("space", ["z", "w+", "s"])
def test_rows_drawn_apart_are_read_flat(styled, space):
    url, z, w_plus, generator = styled
    rows = read_rows(Dataset(url), control_settings(space, "face_landmarks", {}))
    expected = latents_in(generator, space, z, w_plus)[UNSEEN:]
    np.testing.assert_allclose(rows.latents, expected, atol=1e-5)
    assert np.prod(rows.latent_shape) == rows.latents.shape[1]


def test_no_single_w_where_rows_are_drawn_apart(styled):
    with pytest.raises(InputError, match=r"sampled in w\+.*Expected --space w\+"):
        check_dataset(Dataset(styled[0]), control_settings("w", "face_landmarks", {}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--space", "v"), "unknown latent space 'v'"),
        (("--landmarks", "face_landmark"), "did you mean 'face_landmarks'"),
        (("--landmarks", "face_descriptor"), r"shape \(5,\); expected \(L, 2\)"),
        (("--set", "nrsfm.component=3"), "component"),
        (("--set", "regressor.preset=fast"), "unknown regressor preset 'fast'"),
        (("--set", "regressor.device=tpu"), "unknown device of the regressor 'tpu'"),
        (("--set", "shape.components=3"), "expected nrsfm.KEY=VALUE"),
        (("--set", "nrsfm.components"), "expected nrsfm.KEY=VALUE"),
        (("--set", "embedding.epochs=3"), "no embedding is asked for"),
        (("--out", ""), "expected such as control.safetensors"),
    ],
)
def test_mistakes_cost_no_work(planted, tmp_path, monkeypatch, words, said):
    monkeypatch.setattr(Dataset, "read", None)  # nothing is read
    ran = fit(planted.url, "--out", str(tmp_path / "c.safetensors"), *words)
    assert isinstance(ran.exception, InputError)
    with pytest.raises(InputError, match=said):
        raise ran.exception
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(planted, tmp_path):
    out = tmp_path / "c.safetensors"
    out.write_bytes(b"mine")
    ran = fit(planted.url, "--out", str(out))
    assert isinstance(ran.exception, InputError) and "is there already" in str(ran.exception)
    assert out.read_bytes() == b"mine"


def test_a_dataset_without_faces_or_descriptors_says_so(planted, tmp_path):
    rng = np.random.default_rng(0)
    columns = {"z": rng.normal(size=(UNSEEN, DIM)), "face_landmarks": np.ones((UNSEEN, POINTS, 2))}
    url = write(tmp_path / "dataset", columns)
    settings = control_settings("z", "face_landmarks", {})
    with pytest.raises(InputError, match="measured on none of 20 images"):
        read_rows(Dataset(url), settings)
    with pytest.raises(InputError, match="no column w"):
        check_dataset(Dataset(url), control_settings("w", "face_landmarks", {}))
    with pytest.raises(InputError, match="no face descriptor"):
        check_dataset(Dataset(url), control_settings("z", "face_landmarks", {}, embedding=True))
