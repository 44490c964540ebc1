"""The report's section on the shape model: read off a control model, stored, drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from jobs.report.data import ReportData
from jobs.report.page import render_page
from jobs.report.shape_charts import CELL, gallery, outline
from jobs.report.shape_data import ShapeFacts
from jobs.report.shape_facts import READ, shape_facts, thumbnails_of
from jobs.report.shape_page import advice
from jobs.report.shape_plots import error_bars, plot
from mining.evaluation.thumbnails import jpeg
from mining.methods.camera import image_points
from mining.methods.choice import ChoiceConfig, ComponentCurve, choose_components
from mining.methods.control import ControlModel, fit_control
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from schemas.errors import CorruptDataError, InputError
from schemas.samples import Field
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit
from tests.jobs.planted_dataset import Made, write_dataset
from tests.jobs.test_report import Reader, make_data

ROWS = 60
CURVE = ComponentCurve(
    (0, 2, 4), (0.9, 0.99, 0.999), (0.3, 0.1, 0.04), (0.3, 0.08, 0.02),
    (0.02, 0.01, 0.009), (1e-3, 5e-4, 4e-4), 4, 900, 300,
)  # fmt: skip


def planted(rng, points=68, modes=2, rows=ROWS):
    """Latents, and landmarks that follow from them; row 7 is unmeasured."""
    latents = rng.normal(size=(rows, 6))
    place = rng.uniform(-1, 1, size=(2, points))
    shape = 0.2 * np.stack([*place, (place**2).sum(axis=0)])
    shape -= shape.mean(axis=1, keepdims=True)
    basis = rng.normal(size=(modes, points)) / np.sqrt(points)
    basis -= basis.mean(axis=1, keepdims=True)
    q = np.zeros((rows, 8 + modes))
    q[:, 0] = q[:, 2] = 1 + 0.02 * latents[:, 5]
    q[:, 3:6] = latents[:, :3] * [0.1, 0.3, 0.1]
    q[:, 6:-2] = 0.2 * latents[:, 3 : 3 + modes]
    q[:, -2:] = 0.5
    ways = np.eye(3)[:modes]
    landmarks = np.stack(image_points(q, shape, basis, ways), axis=2)
    landmarks += 1e-3 * rng.normal(size=landmarks.shape)
    landmarks[7] = np.nan
    return latents.astype(np.float32), landmarks.astype(np.float32)


def fitted(latents, landmarks, modes=2) -> ControlModel:
    rows = np.isfinite(landmarks).all(axis=(1, 2))
    return fit_control(
        latents[rows].astype(float),
        landmarks[rows].astype(float),
        NrsfmConfig(modes, "mean", sweeps=0),
        RegressorConfig(hidden=(8,), epochs=3, batch=16),
    )


@pytest.fixture(scope="module")
def found() -> tuple[ControlModel, np.ndarray, np.ndarray]:
    latents, landmarks = planted(np.random.default_rng(3))
    return fitted(latents, landmarks), latents, landmarks


def places(path):
    """(P, 2) the points of an SVG path."""
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float).reshape(-1, 2)


def pictures(rows):
    """A JPEG of one grey for each row."""
    return [jpeg(np.full((16, 16, 3), row, np.uint8)) for row in rows]


@pytest.fixture(scope="module")
def facts(found) -> ShapeFacts:
    return shape_facts(*found, pictures, CURVE, 0, rigid=(30, 33), halves=(4.0, 0.5))


def test_the_facts_are_those_of_the_model(found, facts):
    control, latents, landmarks = found
    assert (facts.landmarks, facts.components, facts.rows) == (68, 2, ROWS - 1)
    assert facts.residual == control.shape.relative_residual
    assert facts.halves == (0.5, 4.0) and facts.rigid == (30, 33)
    assert [one.name for one in facts.ranges] == [
        "scale", "aspect", "skew", "pitch", "yaw", "roll",
    ]  # fmt: skip
    yaw = np.degrees(control.shape.codes[:, 4])
    assert facts.ranges[4].middle == pytest.approx(np.median(yaw))
    assert facts.ranges[4].low < facts.ranges[4].middle < facts.ranges[4].high
    # equation (12) is a mean over 2L coordinates, the curve a root mean square per landmark
    mse = control.regressor.held_out_landmarks[-1]
    assert facts.held_out[-1] == pytest.approx(np.sqrt(2 * mse))
    assert sum(facts.errors.predicted) == sum(facts.errors.fitted) == ROWS - 1
    assert facts.errors.fitted_median < facts.errors.predicted_median


def test_samples_go_from_the_best_to_the_worst_predicted(found, facts):
    control, latents, landmarks = found
    errors = [sample.error for sample in facts.samples]
    assert len(errors) == 6 and errors == sorted(errors)
    assert 7 not in {sample.row for sample in facts.samples}  # unmeasured
    for sample in facts.samples:
        np.testing.assert_array_equal(sample.measured, landmarks[sample.row])
        said = control.landmarks(latents[sample.row : sample.row + 1].astype(float))[0]
        np.testing.assert_allclose(sample.predicted, said, atol=1e-6)
        assert sample.jpeg == pictures([sample.row])[0]


def test_rows_that_were_not_trained_on_are_used_alone_where_known(found):
    unseen = np.array([2, 5, 7, 11, 40])
    some = shape_facts(*found, unseen=unseen)
    assert some.unseen and sum(some.errors.predicted) == 4  # row 7 is unmeasured
    assert {sample.row for sample in some.samples} <= {2, 5, 11, 40}
    assert all(sample.jpeg == b"" for sample in some.samples) and some.curve is None


def test_reading_is_bounded_and_seeded(rng, found):
    control, latents, landmarks = found
    many = [np.repeat(part, 30, axis=0) for part in (latents, landmarks)]
    one, two, other = (shape_facts(control, *many, seed=seed) for seed in (1, 1, 2))
    assert sum(one.errors.predicted) == READ
    assert one == two and one.errors != other.errors


def test_a_control_model_without_its_codes_is_enough(found, facts):
    """As it comes from a file."""
    control, latents, landmarks = found
    bare = replace(control, shape=replace(control.shape, codes=control.shape.codes[:0]))
    read = shape_facts(bare, latents, landmarks)
    assert read.rows == facts.rows and read.errors == facts.errors
    assert len(read.spreads) == 2 and len(read.ranges) == 6


def test_one_amplitude_that_ran_away_does_not_rule_the_drawing(rng, found):
    control, latents, landmarks = found
    codes = rng.normal(size=(2000, 10)) * [1, 1, 1, 1, 1, 1, 0.3, 0.05, 1, 1] + 1
    codes[7, 6] = 341.0
    wild = replace(control, shape=replace(control.shape, codes=codes))
    assert shape_facts(wild, latents, landmarks).spreads == pytest.approx((0.3, 0.05), rel=0.1)


def test_texts_stay_texts(facts):
    said = "</style><script>alert(1)</script>{{ 7 * 7 }}"
    ranges = tuple(replace(one, name=said, unit=said) for one in facts.ranges)
    page = render_page(replace(make_data(), shape=replace(facts, space=said, ranges=ranges)))
    assert Reader(page).tags.count("script") == 1 and "{{ 7 * 7 }}" in page


def test_what_does_not_fit_together_is_refused(found):
    control, latents, landmarks = found
    with pytest.raises(InputError, match=r"latents \(59, 6\) and landmarks \(60, 68, 2\)"):
        shape_facts(control, latents[1:], landmarks)
    with pytest.raises(InputError, match="none of the rows holds landmarks"):
        shape_facts(control, latents, np.full_like(landmarks, np.nan))


def test_it_reads_back_to_the_same_page(tmp_path, facts):
    data = replace(make_data(), shape=facts)
    data.save(str(tmp_path))
    read = ReportData.load(str(tmp_path))
    assert read.shape == facts
    page = render_page(read)
    assert page == render_page(data)
    seen = Reader(page)
    assert seen.open == [] and "shape" in seen.ids and seen.images_without_text == 0
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("img") == 20 + len(facts.samples)
    assert all(a.startswith(("#", "data:image/jpeg;base64,")) for a in seen.fetched)
    for said in ("2, suggested 4", "affine: angles are not degrees", "0.5° to 4.0°", "2 of 68"):
        assert said in page.replace("\u202f", " ")
    visible = re.sub(r'data-n="nan"', "", page)
    assert not re.search(r"[\s>]-?(nan|inf)[\s<]", visible)


def test_a_report_without_a_control_model_has_no_such_section(tmp_path, facts):
    replace(make_data(), shape=facts).save(str(tmp_path))
    make_data().save(str(tmp_path))  # over it
    assert not (tmp_path / "shape.parquet").exists()
    read = ReportData.load(str(tmp_path))
    assert read.shape is None
    assert 'id="shape"' not in render_page(read) and "#shape" not in render_page(read)
    document = json.loads((tmp_path / "report.json").read_text())
    del document["shape"]  # as reports were before
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert ReportData.load(str(tmp_path)).shape is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("basis", [[0.0] * 68]),
        ("mean_shape", [[0.0] * 68] * 2),
        ("mean_shape", [[0.0] * 67] * 3),
        ("spreads", [1.0]),
        ("modes", [[1.0, 0.0], [0.0, 1.0]]),
        ("rigid", [68]),
        ("rigid", [-1]),
        ("rows", "many"),
        ("best_epoch", -2),
    ],
)
def test_damage_is_found(tmp_path, facts, name, value):
    replace(make_data(), shape=facts).save(str(tmp_path))
    document = json.loads((tmp_path / "report.json").read_text())
    document["shape"][name] = value
    (tmp_path / "report.json").write_text(json.dumps(document))
    with pytest.raises(CorruptDataError):
        ReportData.load(str(tmp_path))


@pytest.mark.parametrize("points", [20, 68, 468])
def test_any_number_of_landmarks_is_drawn_inside_its_cell(rng, points):
    latents, landmarks = planted(rng, points)
    facts = shape_facts(fitted(latents, landmarks), latents, landmarks)
    facts = replace(facts, spreads=(5.0, 1e-3))  # an amplitude without bound, and a tiny one
    drawn = gallery(facts)
    assert drawn.lines == (points == 68) and len(drawn.modes) == 2
    assert 0 < drawn.modes[0].reach < drawn.modes[1].reach == 2
    for views in (drawn.mean, *(mode.views for mode in drawn.modes)):
        for k, view in enumerate(views):
            for path in (view.mean, view.low, view.high):
                found = places(path)
                assert len(found) in (0, points, 2 * points)
                assert (found >= [k * CELL, 0]).all() and (found <= [(k + 1) * CELL, CELL]).all()
    assert "3-D shape model" in render_page(replace(make_data(), shape=facts))


def test_faces_stand_upright_and_turn_to_the_right():
    """y is down in the data and in the drawing; the nose leads in the profile."""
    solid = np.zeros((3, 68))
    solid[1] = np.linspace(-1, 1, 68)
    solid[2, 30] = -0.7  # towards the viewer
    facts = ShapeFacts(
        tuple(map(tuple, solid.tolist())), (), (), (), True, 0, 0.1, 0.1, 0.01, 1.0, 5
    )
    drawn = gallery(facts)
    assert drawn.modes == ()  # K = 0
    front, _, profile = (places(view.mean) for view in drawn.mean)
    assert places(outline([(i, i) for i in range(68)]))[:, 0].tolist() == list(range(68))
    assert (np.diff(front[:, 1]) >= 0).all() and front[67, 1] > front[0, 1]
    assert profile[:, 0].argmax() == 30
    page = render_page(replace(make_data(), shape=facts))
    assert "0 ways in which it bends" in page


def test_plots_fit_their_box_and_leave_out_what_is_unknown():
    nan = float("nan")
    drawn = plot((0, 2, 4), [("a", (1.0, 0.5, 0.25)), ("b", (nan,) * 3)], (2, 9), logarithmic=True)
    assert drawn is not None and [one.name for one in drawn.series] == ["a"]
    heights = [y for _, y in drawn.series[0].dots]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert drawn.places[0] == drawn.series[0].dots[1][0] and np.isnan(drawn.places[1])
    whole = plot((0, 1), [("a", (1.0, 2.0))], whiskers=(0.1, 0.2))
    assert whole is not None
    for x, above, under in whole.series[0].whiskers:
        assert whole.left < x < whole.right and whole.top <= above < under <= whole.bottom
    assert plot((3,), [("a", (1.0,))]) is None
    assert plot((0, 1), [("a", (nan, nan))]) is None
    assert plot((0, 1, 2), [("a", (0.0, 0.0, 0.0))], logarithmic=True) is None
    assert plot((0, 1, 2), [("a", (2.0, 2.0, 2.0))]) is not None


def test_errors_and_advice_are_told(facts):
    bars = error_bars(facts.errors, 256)
    assert bars is not None and bars.predicted.endswith("z")
    assert all(bars.left <= tick.at <= bars.right + 0.1 for tick in bars.x_ticks)
    assert "still falls at K = 4" in advice(CURVE)
    assert "K = 2 is the least" in advice(replace(CURVE, suggested=2))


def test_a_curve_of_the_choice_is_drawn(found):
    control, latents, landmarks = found
    known = np.isfinite(landmarks).all(axis=(1, 2))
    curve = choose_components(landmarks[known], (0, 1, 2), ChoiceConfig(sweeps=0))
    page = render_page(replace(make_data(), shape=shape_facts(*found, curve=curve)))
    assert f"suggested {curve.suggested}" in page and "rank bound" in page
    assert ">joint<" not in page  # not refined


def test_thumbnails_are_read_by_row_from_the_shards_that_hold_them(tmp_path):
    made = [*pictures(range(8)), b"", b"last"]
    fields = [Field("sample_id", "string"), Field("index", "int64")]
    fields.append(Field("thumbnail", "binary", nullable=True))
    content = {
        "format": 1,
        "dataset": {"samples": 10, "shard_size": 4, "space": "w"},
        "generator": {"name": "made", "options": {}, "fingerprint": "0" * 64, "licence": "CC0-1.0"},
        "extractors": [],
        "fields": [about.to_json() for about in fields],
    }
    manifest, store = Manifest(content), Store(str(tmp_path))
    claim(store, manifest)
    columns = [pa.array([""] * 10), pa.array(range(10), pa.int64())]
    table = pa.table([*columns, pa.array([one or None for one in made], pa.binary())],
                     ["sample_id", "index", "thumbnail"])  # fmt: skip
    for shard in range(3):
        part = manifest.rows(shard)
        commit(store, manifest, shard, table.slice(part.start, len(part)))
    read = thumbnails_of(Dataset(str(tmp_path)))
    assert read is not None
    assert read([9, 0, 8, 4, 3]) == [made[row] for row in (9, 0, 8, 4, 3)]
    (tmp_path / manifest.shard_file(1)).unlink()  # rows 4 to 7, which are not asked for
    assert read([9, 3]) == [made[9], made[3]]


def test_a_dataset_without_thumbnails_gives_none(tmp_path):
    assert thumbnails_of(write_dataset(tmp_path, {"a": Made({"x": np.zeros(3)})}, 3)) is None
