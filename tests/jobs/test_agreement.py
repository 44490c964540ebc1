"""Planted backends are told apart, and what is not independent is said."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.agreement import compare_backends
from jobs.report.agreement_page import render_agreement
from schemas.errors import InputError
from schemas.samples import Field
from storage.dataset import Dataset
from tests.jobs.planted_backends import ROWS, plant, quantity, run
from tests.jobs.planted_dataset import Made, write_dataset


@pytest.fixture
def yaw(rng) -> NDArray:
    """Degrees, (ROWS,)."""
    return rng.uniform(-40, 40, ROWS)


@pytest.fixture
def planted(tmp_path, rng, yaw) -> Dataset:
    return plant(tmp_path, rng, yaw)


def test_planted_backends_are_told_apart(planted, yaw):
    found, pictures = compare_backends(planted)
    assert [one.name for one in found.quantities] == ["yaw", "mouth_open", "smile"]
    turn = quantity(found, "yaw")
    assert list(turn.read) == ["truth", "geometry", "mediapipe", "shape3d"]
    assert turn.trust.backends == ("mediapipe",) and turn.trust.basis == "truth"
    pair = next(p for p in turn.comparisons if (p.first, p.second) == ("truth", "geometry"))
    assert pair.bias == pytest.approx(-3, abs=0.6) and pair.spread == pytest.approx(4, rel=0.1)
    assert pair.unit == "degrees" and pair.only_second == 0
    assert pair.only_first == (np.abs(yaw) > 30).sum()
    both = next(p for p in turn.comparisons if (p.first, p.second) == ("geometry", "mediapipe"))
    turned, late = np.abs(yaw) <= 30, np.arange(ROWS) >= 60
    assert (both.rows, both.only_first, both.only_second) == (
        (turned & late).sum(), (turned & ~late).sum(), (late & ~turned).sum(),
    )  # fmt: skip
    assert ("yaw", "geometry", "mediapipe") in pictures and len(pictures) == 6 + 3 + 1


def test_names_that_mean_one_quantity_are_read_together(planted):
    found, _ = compare_backends(planted)
    mouth = quantity(found, "mouth_open")
    assert mouth.read == {
        "truth": "mouth_open", "geometry": "mouth_open", "mediapipe": "jaw_open",
    }  # fmt: skip
    assert mouth.trust.backends == ("mediapipe",)
    assert "its sign turned round" in mouth.trust.reason
    assert mouth.units["geometry"] == "mm" and all(not p.unit for p in mouth.comparisons)
    smile = quantity(found, "smile")
    assert smile.read["mediapipe"] == "mean of mouth_smile_left, mouth_smile_right"
    assert smile.trust.backends == () and smile.trust.basis == "nothing"  # one is constant
    assert not any("score" in one.read.values() for one in found.quantities)


def test_landmarks_and_failures_by_pose(planted, yaw):
    found, _ = compare_backends(planted)
    (marks,) = found.landmarks
    assert (marks.first, marks.second) == ("truth_landmarks_2d", "dlib_landmarks")
    assert marks.rows == (np.abs(yaw) <= 30).sum() and marks.only_second == 0
    assert marks.mean == pytest.approx(0.006 * np.sqrt(2) / 0.2, rel=1e-3)
    assert [part.low for part in found.failures] == [0, 10, 20, 30]
    assert [part.failed["geometry"].value for part in found.failures] == [0, 0, 0, 1]
    assert all(part.failed["shape3d"].value == 0 for part in found.failures)
    statuses = {made.name: made.statuses for made in found.backends}
    assert statuses["mediapipe"] == {"no_face": 60, "ok": ROWS - 60}


def test_without_a_finished_shard_there_is_nothing_to_read(tmp_path):
    made = {"a": Made({"x": np.arange(9.0)})}
    dataset = write_dataset(tmp_path / "dataset", made, 9, made_shards=())
    with pytest.raises(InputError, match="no finished shard yet"):
        compare_backends(dataset)


def test_a_part_of_a_dataset_says_that_it_is_one(tmp_path, rng):
    values = rng.standard_normal(90)
    made = {"a": Made({"x": values}), "b": Made({"x": values})}
    dataset = write_dataset(tmp_path / "d", made, 90, made_shards=(0, 2), shard_size=30)
    found, _ = compare_backends(dataset)
    assert found.rows == 60 and "Only 2 of 3 shards are finished." in found.notes
    assert quantity(found, "x").comparisons[0].rows == 60


def test_one_backend_alone_has_nothing_to_be_compared_with(tmp_path, rng):
    made = {"a": Made({"x": rng.standard_normal(30)})}
    found, pictures = compare_backends(write_dataset(tmp_path / "d", made, 30))
    assert not found.quantities and not pictures
    assert any(note.startswith("Nothing to compare") for note in found.notes)
    assert "Nothing to compare" in render_agreement(found, pictures)
    done = run(tmp_path / "d")
    assert done.exit_code == 0 and "Nothing to compare" in done.stdout


def test_one_backend_alone_is_still_held_against_the_truth(tmp_path, rng):
    x = rng.standard_normal(300)
    made = {"a": Made({"x": x + 0.1 * rng.standard_normal(300)})}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 300, truth={"x": x}))
    assert found.reference == "truth" and quantity(found, "x").trust.backends == ("a",)
    assert any("nothing to compare between them" in note for note in found.notes)


def test_cameras_are_what_poses_are_held_against(tmp_path, rng, yaw):
    noise = rng.standard_normal(ROWS)
    camera = {
        f"camera_{name}": (Field(f"camera_{name}", "float32", (), "degrees"), yaw * sign)
        for name, sign in (("yaw", 1), ("pitch", 0.5), ("roll", 0))
    }
    made = {
        "a": Made({"yaw": yaw + 2 + noise, "smile": yaw}, None, {"yaw": "degrees"}),
        "b": Made({"smile": -yaw}),
    }  # fmt: skip
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, ROWS, others=camera))
    assert found.reference == "camera" and len(found.failures) == 4
    turn = quantity(found, "yaw")
    assert turn.trust.basis == "camera" and turn.comparisons[0].bias == pytest.approx(2, abs=0.2)
    assert quantity(found, "smile").trust.basis == "agreement"
    assert any("asked of the generator" in note for note in found.notes)


def test_the_longest_extractor_owns_a_column(tmp_path, rng):
    """Columns of "a_b" are not those of "a", although they begin with its name."""
    x = rng.standard_normal(40)
    made = {"a": Made({"x": x}), "a_b": Made({"x": -x})}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert [one.name for one in found.quantities] == ["x"]
    assert quantity(found, "x").comparisons[0].pearson.value == pytest.approx(-1)


def test_backends_that_read_the_same_landmarks_are_noted(tmp_path, rng):
    x = rng.standard_normal(40)
    made = {
        "dlib": Made({"score": x}),
        "geometry": Made({"yaw": x}),
        "shape3d": Made({"yaw": x}, options={"source": "dlib"}),
    }
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert any("read the landmarks of dlib" in note for note in found.notes)
    assert "may be wrong together" in quantity(found, "yaw").trust.reason


def test_crops_are_told_from_landmarks(tmp_path, rng):
    """DECA reads the picture itself, but where dlib's landmarks say to crop it."""
    x = rng.standard_normal(40)
    made = {name: Made({"yaw": x + 0.1 * k}) for k, name in enumerate(("geometry", "deca"))}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    (note,) = (note for note in found.notes if "independent" in note)
    assert note.startswith(
        "geometry reads the landmarks of dlib; deca sees faces cropped where dlib"
    )
    assert "may be wrong together" in quantity(found, "yaw").trust.reason
    made["deca"].options = {"source": "mediapipe"}
    found, _ = compare_backends(write_dataset(tmp_path / "e", made, 40))
    assert not any("independent" in note for note in found.notes)
    assert "may be wrong together" not in quantity(found, "yaw").trust.reason


def test_a_renamed_backend_still_reads_through_another(tmp_path, rng):
    x = rng.standard_normal(40)
    mesh = Made({"yaw": x}, options={"name": "mesh3d", "source": "mediapipe"}, load="shape3d@mesh")
    made = {"mediapipe": Made({"yaw": x + 0.1 * rng.standard_normal(40)}), "mesh3d": mesh}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert "All read mediapipe, so they may be wrong together" in (
        quantity(found, "yaw").trust.reason
    )
    (note,) = (note for note in found.notes if "independent" in note)
    assert note.startswith("mesh3d reads the landmarks of mediapipe, which measures too: they fail")


def test_one_reader_beside_a_backend_without_its_quantities_needs_no_note(tmp_path, rng):
    x = rng.standard_normal(40)
    made = {"dlib": Made({"score": x}), "geometry": Made({"yaw": x}), "other": Made({"yaw": x})}
    found, _ = compare_backends(write_dataset(tmp_path / "d", made, 40))
    assert not any("independent" in note for note in found.notes)


@pytest.mark.parametrize(
    ("generator", "options", "told"),
    [("head", {}, True), ("head", {"model": "bfm.h5"}, False), ("stylegan2", {}, False)],
)
def test_the_embedded_basis_is_told_on_its_own_faces(tmp_path, rng, generator, options, told):
    x = rng.standard_normal(40)
    made = {"a": Made({"yaw": x}), "mine": Made({"yaw": x}, options=options, load="shape3d@m")}
    dataset = write_dataset(tmp_path / "d", made, 40, generator=generator)
    notes = compare_backends(dataset)[0].notes
    assert any(note.startswith("mine fits the shapes") for note in notes) is told
