"""Spreads of a dataset's attributes, and the packages that made its numbers."""

from __future__ import annotations

import math
from importlib import metadata

import numpy as np
import pytest

from jobs.attributes import spreads_of, true_name
from jobs.versions import RECORDED, package_versions
from mining.labels import make_labels
from tests.jobs.planted_dataset import Made, write_dataset


def test_what_hardly_varies_over_the_dataset_has_no_spread(tmp_path, rng):
    flat, yaw = 2e-6 * rng.standard_normal(400), 10 * rng.standard_normal(400)
    made = {
        "geometry": Made({"yaw": yaw}, units={"yaw": "degrees"}),
        "mediapipe": Made({"nose_sneer_left": flat, "jaw_open": 0.1 * rng.standard_normal(400)}),
    }
    labels = make_labels({"turned": "yaw > 0", "never": "yaw > 1000"})
    dataset = write_dataset(tmp_path / "d", made, 400)
    found = spreads_of(dataset, ["yaw", "nose_sneer_left", "jaw_open", *labels], labels)
    assert found["yaw"] == pytest.approx(np.std(yaw.astype(np.float32)), rel=1e-6)
    assert found["jaw_open"] == pytest.approx(0.1, rel=0.1)
    assert found["turned"] == pytest.approx(0.5, rel=0.05)
    assert math.isnan(found["nose_sneer_left"]) and math.isnan(found["never"])


def test_an_attribute_is_held_against_the_parameter_that_it_reads(tmp_path, rng):
    values = rng.standard_normal(9)
    made = {
        "geometry": Made({"yaw": values, "mouth_open": values}),
        "mediapipe": Made({"jaw_open": values, "yaw": values, "female": values}),
        "mesh3d": Made({"mouth_open": values, "mouth_wide": values}, load="shape3d@mesh"),
    }
    manifest = write_dataset(tmp_path / "d", made, 9).manifest
    truth = ("yaw", "mouth_open", "male")
    told = {
        "jaw_open": "mouth_open",
        "mesh3d_mouth_open": "mouth_open",
        "mediapipe_yaw": "yaw",
        "mouth_open": "mouth_open",
        "female": "female",  # the other way round than male: no reading of it by itself
        "mouth_wide": "mouth_wide",
        "no_mouth_open": "no_mouth_open",  # a label
    }
    assert {name: true_name(name, manifest, truth) for name in told} == told


def test_the_packages_of_the_extractors_are_told_with_the_others(tmp_path, rng):
    values = {"yaw": rng.standard_normal(9)}
    loads = {"dlib": "dlib", "mediapipe": "mediapipe", "age": "onnx_attributes@age"}
    made = {name: Made(values, load=load) for name, load in loads.items()}
    plain = write_dataset(tmp_path / "plain", {"dlib": Made(values)}, 9).manifest
    dataset = write_dataset(tmp_path / "d", made, 9).manifest
    assert package_versions(plain) == package_versions()
    more = package_versions(dataset).keys() - package_versions().keys()
    assert more == {name for name in ("mediapipe", "onnxruntime") if _installed(name)}
    assert package_versions().keys() <= {"python", *RECORDED}


def _installed(name: str) -> bool:
    return any(made.metadata["Name"].lower() == name for made in metadata.distributions())
