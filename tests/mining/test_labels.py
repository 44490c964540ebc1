"""Labels: expressions over a dataset's columns that are mined as attributes."""

from __future__ import annotations

import numpy as np
import pytest

from mining.labels import attribute_values, check_labels, make_labels, with_labels
from schemas.errors import InputError
from tests.jobs.planted_dataset import Made, write_dataset

ROWS = 700


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    rng = np.random.default_rng(5)
    width, height = rng.uniform(1, 2, ROWS), rng.uniform(1, 2, ROWS)
    points = rng.uniform(0, 1, (ROWS, 68, 2))
    seen = rng.uniform(size=ROWS) > 0.1
    face = {"width": width, "height": height, "landmarks": points, "yaw": 90 * (points[:, 0, 0])}
    mood = {"joy": rng.uniform(0, 1, ROWS)}
    made = {"face": Made(face, seen), "mood": Made(mood)}
    folder = tmp_path_factory.mktemp("labels") / "dataset"
    return write_dataset(folder, made, ROWS), {**face, **mood}, seen


def test_values_are_those_of_the_columns_and_unknown_where_a_face_was_missed(planted):
    dataset, columns, seen = planted
    labels = make_labels(
        {
            "wide": "width / height > 1.2",
            "tilt": {"is": "face_landmarks[36, 1] - face_landmarks[45, 1]", "unit": "image"},
            "merry": "joy > 0.5 and face_status = 'ok'",
        }
    )
    check_labels(labels, dataset.manifest)
    found = attribute_values(dataset, ["wide", "tilt", "merry", "joy"], labels)
    one = {name: np.asarray(value, np.float32).astype(float) for name, value in columns.items()}
    wide = np.where(seen, one["width"] / one["height"] > 1.2, np.nan)
    np.testing.assert_array_equal(found["wide"], wide)
    tilt = one["landmarks"][:, 36, 1] - one["landmarks"][:, 45, 1]
    np.testing.assert_array_equal(found["tilt"], np.where(seen, tilt, np.nan))
    np.testing.assert_array_equal(found["merry"], (one["joy"] > 0.5) & seen)
    np.testing.assert_array_equal(found["joy"], one["joy"])
    fields = with_labels(dataset.manifest, labels)
    assert fields["tilt"].unit == "image" and fields["wide"].text == labels["wide"].expression.text


def test_a_file_names_labels_and_settings_go_before_it(tmp_path):
    file = tmp_path / "labels.yaml"
    file.write_text("wide: width > 1\ntall: {is: height > 1, text: taller than one}\n")
    labels = make_labels({"wide": "width > 2"}, str(file))
    assert set(labels) == {"wide", "tall"} and labels["tall"].text == "taller than one"
    assert "2" in labels["wide"].expression.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"Wide": "width > 1"}, "lower-case"),
        ({"wide": "width >"}, "label 'wide'"),
        ({"wide": "widht > 1"}, "did you mean 'width'"),
        ({"wide": {"expr": "width"}}, "with at least `is`"),
        ({"wide": {"is": "width", "units": "1"}}, "expected an expression"),
        ({"yaw": "width > 1"}, "measures that already"),
        ({"wide": "face_landmarks"}, "no single number"),
        ({"wide": "face_status"}, "no single number"),
        ({"wide": "width > 'a'"}, "label 'wide'"),
        ({"wide": "face_landmarks[68, 0]"}, "label 'wide'"),
        ({"wide": "__import__('os').getcwd()"}, "label 'wide'"),
    ],
)
def test_what_cannot_be_computed_is_told_before_any_row_is_read(planted, settings, said):
    with pytest.raises(InputError, match=said):
        check_labels(make_labels(settings), planted[0].manifest)


def test_a_label_may_not_read_what_is_not_there_on_disk(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        make_labels({}, str(tmp_path / "none.yaml"))
