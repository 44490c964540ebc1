"""Which columns are read as one quantity."""

from __future__ import annotations

from mining.evaluation.quantities import QUANTITIES, meanings, readings, said


def test_one_name_is_one_quantity_and_other_names_are_translated():
    found = readings(
        {
            "truth": ["yaw", "mouth_open", "gaze_x"],
            "geometry": ["yaw", "mouth_open", "score"],
            "mediapipe": [
                *("yaw", "jaw_open", "eye_blink_left", "score", "eye_look_out_left"),
                *("eye_look_in_right", "eye_look_in_left", "eye_look_out_right"),
            ],
        }
    )
    assert found["yaw"] == {name: ("yaw",) for name in ("truth", "geometry", "mediapipe")}
    assert found["mouth_open"]["mediapipe"] == ("jaw_open",)
    assert "eye_closed" not in found  # one eye is not both
    assert "score" not in found  # how sure each is of itself
    assert said(found["gaze_x"]["mediapipe"]) == (
        "mean of eye_look_out_left, eye_look_in_right, -eye_look_in_left, -eye_look_out_right"
    )


def test_a_backends_own_name_goes_before_a_translation():
    found = readings({"both": ["jaw_open", "mouth_open"]})
    assert found["mouth_open"]["both"] == ("mouth_open",)
    assert found["jaw_open"]["both"] == ("jaw_open",)  # and is still there under its own


def test_every_quantity_is_first_read_by_its_own_name():
    assert all(ways[0] == (name,) for name, ways in QUANTITIES.items())


def test_attributes_that_tell_of_one_quantity_share_a_meaning():
    names = ["mouth_open", "jaw_open", "shape3d_mouth_open", "smile", "mouth_smile_left"]
    names += ["pitch", "mesh3d_pitch", "translation_y", "yaw", "score", "dlib_score", "mouth_width"]
    told = meanings(names)
    same = {(a, b) for a in names for b in names if a < b and told[a] & told[b]}
    assert same == {
        ("jaw_open", "mouth_open"),
        ("jaw_open", "shape3d_mouth_open"),
        ("mouth_open", "shape3d_mouth_open"),
        ("mouth_smile_left", "smile"),
        ("mesh3d_pitch", "pitch"),
        ("mesh3d_pitch", "translation_y"),
        ("pitch", "translation_y"),
    }
