"""What learned methods read, and what is told before any work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jobs.learned_checks import check_devices, learned_config
from jobs.learned_codes import read_codes
from jobs.learned_data import EDGE, _joined, check_rows, read_rows, told_rows
from jobs.learned_stage import learned_key, told_config
from jobs.mining_data import NO_STYLES, mined_attributes, read_data
from jobs.mining_stage import check_mining, configs_of
from mining.methods.learned import LearnedRows
from schemas.errors import InputError
from schemas.samples import Field
from schemas.settings import RunSettings
from storage.dataset import Dataset
from tests.jobs.planted_dataset import Made, write_dataset
from tests.storage.points_dataset import sampled

HEADS = "tests.examples.heads"
SETTINGS = {
    "generator": {"name": f"{HEADS}:HeadsGenerator"},
    "extractors": {f"{HEADS}:HeadsExtractor": {}},
    "dataset": {"samples": 24, "shard_size": 12, "thumbnail": 32},
    "engine": {"workers": 1, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "smile"],
        "methods": {"direction_matrix": {}, "attribute_flow": {}},
        "landmarks": "heads_landmarks",
    },
}
SHAPE3D = {f"{HEADS}:HeadsExtractor": {}, "shape3d": {"source": "heads", "identities": 3}}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Dataset]:
    """A dataset with a shape model's codes, one of sequences, one of another generator."""
    columns = {"w": (20,), "sequence": ()}
    others = {
        name: (Field(name, "float32", shape), np.zeros((9, *shape)))
        for name, shape in columns.items()
    }
    other = write_dataset(tmp_path_factory.mktemp("other"), {"heads": Made({})}, 9, others=others)
    sizes = {"generator": f"{HEADS}:HeadsGenerator", **SETTINGS["dataset"]}
    heads = SETTINGS["extractors"]
    folder, length = tmp_path_factory.mktemp("heads"), {"sequences": {"length": 4}}
    made = {
        "plain": sampled(folder / "plain", SHAPE3D, **sizes),
        "sequences": sampled(folder / "sequences", heads, **sizes, **length),
    }
    return {**made, "other": other}


def settings(**changed) -> RunSettings:
    return RunSettings.model_validate({**SETTINGS, "out": "unused", **changed})


def mining(**methods):
    return settings(mining={**SETTINGS["mining"], "methods": methods}).mining


def read(dataset: Dataset, method="direction_matrix", **options) -> LearnedRows:
    told = mining(**{method: options})
    data = read_data(dataset, told, NO_STYLES)
    return read_rows(dataset, data, method, configs_of(told)[method], told)


def test_rows_are_those_of_the_dataset(made):
    dataset = made["plain"]
    rows = read(dataset)
    stored = dataset.arrays(["w", "heads_landmarks", "heads_descriptor"])
    np.testing.assert_array_equal(rows.latents, stored["w"])
    np.testing.assert_array_equal(rows.landmarks, stored["heads_landmarks"])
    np.testing.assert_array_equal(rows.descriptors, stored["heads_descriptor"])
    assert rows.pixels.shape == (24, EDGE, EDGE, 3)
    assert rows.pixels.dtype == np.float32 and -1 <= rows.pixels.min() < rows.pixels.max() <= 1
    assert (rows.space, rows.shape, rows.num_ws) == ("w", (20,), 2)
    assert rows.codes is rows.sequences is rows.inverted is None and not rows.scores
    assert rows.facts["fingerprint"] == dataset.manifest.generator["fingerprint"]
    assert read(dataset, perceptual_weight=0, pixel_weight=0).pixels is None


def test_through_images_landmarks_alone_are_read_where_there_are_any(made):
    plain, other = made["plain"], made["sequences"]
    rows = read(plain, chain="images", sequences=other.url)
    points = [each.arrays(["heads_landmarks"])["heads_landmarks"] for each in (plain, other)]
    np.testing.assert_array_equal(rows.landmarks, np.concatenate(points))
    assert rows.descriptors is rows.pixels is rows.codes is None and len(rows.sequences) == 48
    told = settings(
        mining={
            **SETTINGS["mining"],
            "landmarks": "dlib_landmarks",
            "methods": {"direction_matrix": {"chain": "images"}},
        }
    ).mining
    config, data = configs_of(told)[MATRIX], read_data(plain, told, NO_STYLES)
    assert read_rows(plain, data, MATRIX, config, told).landmarks is None
    check_rows(read_rows(plain, data, MATRIX, config, told), MATRIX, config)


def test_sequences_without_landmarks_leave_those_of_the_dataset(made):
    rows = read(made["plain"], chain="images")
    found = _joined(rows, dataclasses.replace(rows, landmarks=None))
    np.testing.assert_array_equal(found.landmarks[:24], rows.landmarks)
    assert found.landmarks.shape == (48, 68, 2) and np.isnan(found.landmarks[24:]).all()


def test_a_flow_reads_the_attributes_that_it_is_conditioned_on(made):
    rows = read(made["plain"], "attribute_flow")
    assert list(rows.scores) == ["yaw", "smile"] and rows.landmarks is None
    assert rows.units == {"yaw": "1", "smile": "1"}
    own = mining(ridge={}, attribute_flow={"attributes": ["pitch"]})
    assert mined_attributes(own) == ["yaw", "smile", "pitch"]
    assert mined_attributes(mining(attribute_flow={"attributes": ["pitch"]})) == ["pitch"]
    assert list(read(made["plain"], "attribute_flow", attributes=["pitch"]).scores) == ["pitch"]


def test_codes_are_those_of_an_extractor(made):
    codes = read(made["plain"], source="shape3d").codes
    assert codes.names[:3] == ("yaw", "pitch", "roll")
    assert codes.names[3:] == ("smile", "mouth_open", "eye_closed", "brow_raise", "frown", "pucker")
    assert codes.units == ("degrees",) * 3 + ("standard deviations",) * 6
    stored = made["plain"].arrays(["shape3d_yaw", "shape3d_pucker", "shape3d_identity"])
    np.testing.assert_allclose(codes.moving[:, 0], stored["shape3d_yaw"])
    np.testing.assert_allclose(codes.moving[:, 8], stored["shape3d_pucker"])
    np.testing.assert_allclose(codes.identity, stored["shape3d_identity"])
    with pytest.raises(InputError, match="'heads' measures no yaw, pitch, roll and coefficients"):
        read_codes(made["plain"], "heads")


def test_rows_of_sequences_come_after_those_of_the_dataset(made):
    plain, other = made["plain"], made["sequences"]
    rows = read(plain, sequences=other.url)
    latents = np.concatenate([plain.arrays(["w"])["w"], other.arrays(["w"])["w"]])
    np.testing.assert_array_equal(rows.latents, latents)
    assert len(rows.landmarks) == len(rows.descriptors) == len(rows.pixels) == 48
    np.testing.assert_array_equal(rows.sequences[:24], -1)
    np.testing.assert_array_equal(rows.sequences[24:], np.repeat(np.arange(6), 4))
    assert rows.facts["sequences"] == other.dataset_id
    twice = read(other, sequences=other.url)
    np.testing.assert_array_equal(twice.sequences, np.repeat(np.arange(12), 4))
    np.testing.assert_array_equal(read(other).sequences, np.repeat(np.arange(6), 4))


def test_inverted_latents_come_from_a_file_or_a_dataset(made, tmp_path, rng):
    path, latents = tmp_path / "inverted.npy", rng.normal(size=(7, 20))
    np.save(path, latents)
    found = read(made["plain"], inverted=str(path)).inverted
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, latents, rtol=1e-6)
    found = read(made["plain"], inverted=made["sequences"].url).inverted
    np.testing.assert_array_equal(found, made["sequences"].arrays(["w"])["w"])


def test_what_was_measured_nowhere_is_refused_with_a_count(made):
    rows = read(made["plain"])
    config = learned_config("direction_matrix", {}, 0)
    blind = dataclasses.replace(rows, landmarks=np.full_like(rows.landmarks, np.nan))
    with pytest.raises(InputError, match="measured on none of 24 images"):
        check_rows(blind, "direction_matrix", config)
    check_rows(rows, "direction_matrix", config)


MATRIX, FLOW = "direction_matrix", "attribute_flow"
ENCODER = {"encoder": {"file": "x.pt", "kind": "torchscript"}}
WRONG = {
    "preset": (MATRIX, {"preset": "papr"}, "did you mean 'paper'"),
    "option": (MATRIX, {"epoch": 3}, "has no option 'epoch'; did you mean 'epochs'"),
    "value": (FLOW, {"epochs": "many"}, "option epochs = 'many'"),
    "range": (FLOW, {"epochs": 0}, "epochs is 0"),
    "parameter": (MATRIX, {"parameters": ["yaw", "grin"]}, "'grin'.*Known: .*smile.*yaw"),
    "source": (MATRIX, {"source": "dlib"}, "unknown extractor 'dlib'"),
    "codes": (MATRIX, {"source": "heads"}, "measures no yaw"),
    "paired": (MATRIX, {"training": "paired"}, "holds no sequences.*option sequences"),
    "mixed": (MATRIX, {"training": "mixed"}, "no latents of inverted images"),
    "no sequences": (MATRIX, {"sequences": "{plain}"}, "holds no sequences of one identity"),
    "another generator": (MATRIX, {"sequences": "{other}"}, "another generator, 'planted'"),
    "nothing": (MATRIX, {"sequences": "{plain}/nothing"}, "no dataset|manifest"),
    "inverted": (MATRIX, {"inverted": "{other}"}, "another generator, 'planted'.*expected 'heads'"),
    "no file": (MATRIX, {"inverted": "{plain}/x.npy"}, "no such file"),
    "shape model": (MATRIX, {"shape_kind": "flame"}, "model_kind 'flame' came"),
    "layers": (MATRIX, {"layers": [2, 3]}, "has 2 rows of W\\+"),
    "images": (MATRIX, {"chain": "images"}, "encoder None came"),
    "networks": (MATRIX, {"chain": "images", "images": ENCODER}, "encoder: x.pt does not exist"),
    "flow's layers": (FLOW, {"layers": {"yaw": [0, 3]}}, "has 2 rows of W\\+"),
    "flow's attribute": (FLOW, {"layers": {"age": [0, 1]}}, "'age'.*Known: smile, yaw"),
    "unmeasured": (FLOW, {"attributes": ["age"]}, "unknown attribute 'age'"),
    "within": (FLOW, {"reading": "within"}, "holds no sequences"),
}


@pytest.mark.parametrize(("method", "options", "said"), WRONG.values(), ids=WRONG)
def test_wrong_settings_are_told_before_any_work(method, options, said, made):
    places = {name: dataset.url for name, dataset in made.items()}
    filled = {
        name: value.format(**places) if isinstance(value, str) else value
        for name, value in options.items()
    }
    with pytest.raises(InputError, match=said) as raised:
        check_mining(mining(**{method: filled}), made["plain"].manifest)
    assert "\n" not in str(raised.value)


def test_landmarks_are_checked_before_any_work(made):
    manifest = made["plain"].manifest
    for column, said in (("dlib_landmarks", "unknown landmark column"), ("w", r"shape \(20,\)")):
        told = {**SETTINGS["mining"], "landmarks": column, "methods": {MATRIX: {}}}
        with pytest.raises(InputError, match=said):
            check_mining(settings(mining=told).mining, manifest)


def test_a_gpu_that_nobody_reserved_is_refused():
    with pytest.raises(InputError, match="--engine.generator.gpus 1"):
        check_devices(mining(attribute_flow={"device": "cuda"}), settings().engine)
    check_devices(mining(attribute_flow={"device": "auto"}), settings().engine)


def test_presets_are_where_options_start():
    paper = learned_config(MATRIX, {"preset": "paper", "epochs": 2}, 5)
    assert (paper.epochs, paper.batch, paper.seed) == (2, 12, 5)
    assert learned_config(FLOW, {"seed": 3}, 5).seed == 3


@pytest.mark.parametrize("name", ["nonsense", "objects", "short", "text", "nan", "width"])
def test_files_of_latents_are_not_trusted(name, made, tmp_path):
    path = tmp_path / "latents.npy"
    good = {"text": np.array(["a"]), "nan": np.full((2, 20), np.nan), "width": np.ones((2, 19))}
    if name in good:
        np.save(path, good[name])
    else:
        np.save(path, np.ones((9, 20)) if name == "short" else np.array([{}]), allow_pickle=True)
        data = path.read_bytes()
        path.write_bytes({"nonsense": b"PK", "short": data[:-99]}.get(name, data))
    with pytest.raises(InputError, match="direction_matrix: inverted"):
        check_mining(mining(direction_matrix={"inverted": str(path)}), made["plain"].manifest)


def key(dataset: Dataset, method=MATRIX, **options) -> str:
    told = mining(**{method: options})
    config, rows = configs_of(told)[method], read(dataset, method, **options)
    return learned_key(method, told_config(config, rows), rows, dataset.manifest, 0.0)


def test_a_key_says_what_was_read_and_not_where_it_lay(made, tmp_path):
    plain, moved = made["plain"], tmp_path / "moved"
    copy(Path(made["sequences"].url), moved)
    first = key(plain, sequences=made["sequences"].url)
    assert key(plain, sequences=str(moved)) == first
    config = learned_config(MATRIX, {"sequences": str(moved)}, 0)
    told = told_config(config, read(plain, sequences=str(moved)))
    assert told["sequences"] == made["sequences"].dataset_id and str(moved) not in str(told)
    others = [key(plain), key(plain, epochs=3), key(plain, FLOW), key(made["sequences"])]
    assert len({first, *others}) == 5
    rows = read(plain)
    changed = dataclasses.replace(rows, pixels=rows.pixels + 1)
    assert told_rows(rows) != told_rows(changed)


def copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
