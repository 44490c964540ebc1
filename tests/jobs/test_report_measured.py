"""The report's measurements: curves, matrices method by method, stability, identity."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from jobs.report.data import Picture, ReportData, Strip
from jobs.report.identity_tables import identity_tables
from jobs.report.line_charts import Series, line_chart
from jobs.report.measured_charts import (
    curve_series,
    response_charts,
    stability_charts,
    stability_rows,
)
from jobs.report.multiples import multiples, smiles
from jobs.report.page import render_page
from jobs.report.response_curves import response_curves
from jobs.report.responses import heat_map
from jobs.report.shots import shots
from mining.evaluation.matrix import rescoring_matrix
from mining.evaluation.paper_tables import IDENTITY
from mining.evaluation.rescoring import Rescored, RescoringConfig
from schemas.errors import CorruptDataError
from tests.jobs.measured_report import SIGMA, make_measured, smiling
from tests.jobs.test_report import HOSTILE, NAN, Reader, make_card

MEASURED_SECTIONS = ("responses", "stability", "identity", "multiples", "failures")


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(make_measured()).replace("\u202f", " ")


def rescored(values, steps=(-2.0, 0.0, 2.0)) -> Rescored:
    values = np.asarray(values, float)[:, :, None]
    distances = np.full(values.shape[:2], NAN)
    return Rescored(
        np.array(steps), 2.0, (("geometry", "yaw"),), ("degrees",), values, distances, {}, ()
    )


def test_curves_are_changes_from_the_unedited_image_with_their_interval():
    card = replace(make_card("yaw", "ridge", 1), sigma=2.0)
    found = rescored([[-1.0, 0.0, 3.0], [8.0, 10.0, 15.0], [NAN, 1.0, NAN]])
    (curve,) = response_curves([card], [found], {"yaw": ("geometry", "yaw")}, RescoringConfig())
    assert curve.direction_id == card.direction_id and curve.unit == "degrees"
    assert curve.steps == (-2.0, 0.0, 2.0) and curve.mean == (-1.5, 0.0, 4.0)
    assert (curve.low[0], curve.high[0]) == (-2.0, -1.0)  # draws of both: one or the other
    assert curve.low[1] == curve.high[1] == 0.0 and curve.identities == 3


def test_what_nobody_measured_gives_no_curve():
    card = replace(make_card("yaw", "ridge", 1), responses=())
    bare = rescored([[0.0, 1.0, 2.0]])
    assert response_curves([card], [bare], {"yaw": ("geometry", "yaw")}) == ()
    other = make_card("yaw", "ridge", 1)  # of an attribute that this run does not measure
    assert response_curves([other], [bare], {"roll": ("geometry", "yaw")}) == ()


def test_pictures_carry_their_change_from_the_unedited_one():
    row = (Picture(b"", 3.0), Picture(b"", 5.0), Picture(b"", NAN))
    made = shots(Strip("d", (-1.0, 0.0, 1.0), (row,)))
    assert [shot.change for shot in made[0][:2]] == [-2.0, 0.0] and np.isnan(made[0][2].change)
    ends = shots(Strip("d", (1.0, 2.0), ((Picture(b"", 3.0),) * 2,)))
    assert all(np.isnan(shot.change) for shot in ends[0])  # without an unedited one


def test_every_picture_says_what_was_measured_on_it(page):
    captions = re.findall(r"<figure class=\"shot.*?<figcaption>(.*?)</figcaption>", page, re.S)
    assert len(captions) == 2 * 2 * 5
    assert all("°</b>" in caption for caption in captions)
    edited = [caption for caption in captions if 'class="id"' in caption]
    assert len(edited) == 2 * 2 * 4 and all("id " in caption for caption in edited)
    assert sum("+6.0°" in caption for caption in captions) == 4
    data = make_measured()
    rows = tuple(
        tuple(replace(picture, value=NAN) for picture in row) for row in data.strips[0].rows
    )
    blind = render_page(replace(data, strips=(replace(data.strips[0], rows=rows),)))
    assert blind.count('>not measured</span><span class="id"') == 2 * 4


def test_charts_hold_all_their_points_bands_and_ranges():
    drawn = line_chart(
        [
            Series("a", 0, (-1, 0, 1, 2), (-2, 0, NAN, 8), (-3, 0, 0, 6), (-1, 0, 0, 9), (-1, 9)),
            Series("b", 7, (0, 1), (1, 1), holds=(0, 1)),
            Series("alone", 1, (0,), (1,)),
        ],
        lanes=True,
    )
    assert drawn is not None and [line.name for line in drawn.lines] == ["a", "b"]
    first, second = drawn.lines
    assert len(first.dots) == 3 and len(first.band.split()) == 8 and second.band == ""
    assert (second.colour, second.dashes) == (1, 1)
    places = [tuple(map(float, point.split(","))) for point in first.band.split()]
    assert all(drawn.left <= x <= drawn.right for x, _ in places)
    assert all(drawn.top <= y <= drawn.bottom for _, y in places)
    assert first.holds is not None and first.holds[0] + first.holds[1] <= drawn.right
    assert drawn.bottom < first.lane < second.lane < drawn.floor
    assert drawn.origin == first.dots[1]
    assert line_chart([Series("a", 0, (0, 1), (NAN, 1))]) is None
    flat = line_chart([Series("a", 0, (100, 1000, 10_000), (1, 1, 1))], logarithmic=True, top=1.02)
    assert flat is not None and [tick.label for tick in flat.x_ticks] == [
        "100",
        "1\u202f000",
        "10\u202f000",
    ]
    gaps = [b[0] - a[0] for a, b in zip(flat.lines[0].dots, flat.lines[0].dots[1:], strict=False)]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.2)


def test_one_chart_an_attribute_with_all_its_methods():
    data = make_measured()
    names = rescoring_matrix(data.cards).names
    charts = response_charts(data.cards, names, data.response_curves)
    assert [chart.attribute for chart in charts] == ["yaw", "smile"]
    assert [curve.name for curve in charts[0].curves] == ["yaw · ridge", "yaw · svm"]
    assert charts[0].curves[1].style == charts[1].curves[0].style  # svm is svm everywhere
    assert charts[0].faces == 20 and charts[0].per == "σ"
    assert charts[1].curves[0].holds is None
    calibrated = response_charts(data.cards, names, ())
    assert [len(chart.curves) for chart in calibrated] == [2]  # as far as the cards tell it


def test_the_calibrated_range_is_where_the_curve_reaches_it():
    data = make_measured()
    line = curve_series(data.cards[0], data.response_curves[0], 0)
    assert line.holds == pytest.approx((-1.0, 1.0))  # the flat ends hold from where they begin
    made = data.cards[0].calibration
    assert made is not None
    straight = replace(data.cards[0], calibration=replace(made, values=(), steps=()))
    assert curve_series(straight, data.response_curves[0], 0).holds == pytest.approx((-1.0, 1.0))
    falling = replace(made, step=-made.step, values=made.values[::-1])
    turned = replace(data.cards[0], calibration=falling)
    assert curve_series(turned, data.response_curves[0], 0).holds == pytest.approx((-1.0, 1.0))


def test_every_method_has_its_matrix_on_one_scale():
    cards = (make_card("yaw", "ridge", 1), smiling("ridge", 2), smiling("svm", 3, 0.01))
    aimless = replace(make_card("pc", "pca", 4), slope=NAN, responses=cards[0].responses)
    cards = (*cards, aimless)
    matrix = rescoring_matrix(cards)
    heat = heat_map(cards, matrix)
    found = {one.method: one for one in multiples(cards, matrix, heat)}
    assert list(found) == ["ridge", "svm", "pca"]
    assert [row.label for row in found["ridge"].rows] == ["yaw", "smile"]
    assert (found["ridge"].diagonality, found["ridge"].judged) == (1.0, 2)
    assert (found["svm"].diagonality, found["svm"].judged) == (0.0, 1)  # moves the age more
    assert found["pca"].judged == 0 and found["pca"].rows[0].strongest == 0  # yaw
    own = [[cell.own for cell in row.cells] for row in found["ridge"].rows]
    assert own[0][0] and own[1][1] and sum(map(sum, own)) == 2
    told = smiles(cards)
    assert list(told) == ["ridge", "svm"] and told["ridge"].age is not None


def test_cards_without_stability_are_marked():
    data = make_measured()
    rows = stability_rows(data.cards, rescoring_matrix(data.cards).names, data.stability)
    assert [row.known for row in rows] == [True, True, False, False]
    assert (rows[0].mean, rows[0].low, rows[0].high) == (0.93, 0.9, 0.95)
    assert rows[0].seeds == (0.97, 0.98, 2) and rows[0].bar == (90.0, 5.0, 93.0)
    bare = replace(data.cards[0], stability=NAN, stability_low=NAN, stability_high=NAN)
    (row,) = stability_rows([bare], ["a"], {bare.direction_id: data.stability[bare.direction_id]})
    assert row.mean == pytest.approx(0.93) and (row.low, row.high) == (0.9, 0.95)
    (chart,) = stability_charts(data.cards, ["a", "b", "c", "d"], data.stability)
    assert chart.attribute == "yaw" and len(chart.curves) == 2 and chart.chart is not None
    page = render_page(data)
    assert page.count(">stability not measured<") == 2  # chips of the articles
    assert page.count('title="Stability was not measured"') == 2  # in the catalogue
    assert "<b>2</b> of 4 directions were measured" in page
    alone = render_page(replace(data, cards=data.cards[2:], stability={}))
    assert "Stability was not measured in this run" in alone


def test_identity_stands_beside_the_paper():
    data = make_measured()
    tables = identity_tables(data.cards, data.identity)
    assert tables is not None
    assert tables.columns == ("smile", "yaw") and tables.shared == ("smile",)
    assert [one.method for one in tables.ours] == ["ridge", "robust_pca", "svm"]
    assert tables.ours[1].changes == ((0.02, pytest.approx(0.016), pytest.approx(0.024)), None)
    assert tables.ours[2].mean == pytest.approx((0.03 + 0.012) / 2)
    assert dict((method, row) for method, row, _ in tables.theirs) == {
        method: tuple(cells[name] for name in tables.their_columns)
        for method, cells in IDENTITY.items()
    }
    assert tables.orders == (("smile", ("robust_pca", "svm"), ("micromotion", "InterFaceGAN")),)
    assert identity_tables(data.cards, {}) is None


def test_the_page_shows_it_all(page):
    read = Reader(page)
    assert set(MEASURED_SECTIONS) <= set(read.ids) and len(read.ids) == len(set(read.ids))
    assert read.open == []
    for said in (
        "0.0047", "0.1294", "+0.482", "The paper's embedding and generator are others",
        "a generator without style weights", "holds", "Calibrated (shaded)", "12 rows: too few",
    ):  # fmt: skip
        assert said in page, said
    without = render_page(replace(make_measured(), identity={}, response_curves=()))
    assert 'id="identity"' not in without and 'href="#identity"' not in without


def test_measurements_read_back_to_the_same_page(tmp_path, page):
    data = make_measured()
    data.save(str(tmp_path))
    read = ReportData.load(str(tmp_path))
    assert render_page(read).replace("\u202f", " ") == page
    assert read.response_curves == data.response_curves and read.stability == data.stability
    assert read.identity == data.identity and read.skipped == data.skipped
    document = json.loads((tmp_path / "report.json").read_text())
    for name in ("response_curves", "stability", "identity", "skipped"):
        del document[name]
    (tmp_path / "report.json").write_text(json.dumps(document))  # as versions before wrote it
    assert ReportData.load(str(tmp_path)).response_curves == ()


def test_curves_of_unequal_parts_are_refused(tmp_path):
    data = make_measured()
    short = replace(data.response_curves[0], mean=(0.0,))
    replace(data, response_curves=(short,)).save(str(tmp_path))
    with pytest.raises(CorruptDataError, match="5 steps, but 1 means"):
        ReportData.load(str(tmp_path))
    made = data.cards[0].calibration
    assert made is not None
    card = replace(data.cards[0], calibration=replace(made, values=(1.0,)))
    replace(data, cards=(card,)).save(str(tmp_path))
    with pytest.raises(CorruptDataError, match="calibration"):
        ReportData.load(str(tmp_path))


def test_hostile_names_stay_texts():
    data = make_measured(HOSTILE)
    cards = tuple(replace(card, method=HOSTILE) for card in data.cards)
    curves = tuple(
        replace(curve, direction_id=card.direction_id, unit=HOSTILE)
        for curve, card in zip(data.response_curves, cards, strict=True)
    )
    ids = [card.direction_id for card in cards]
    found = dict(zip(ids, data.stability.values(), strict=False))
    changes = dict(zip(ids, data.identity.values(), strict=True))
    page = render_page(
        replace(data, cards=cards, response_curves=curves, stability=found, identity=changes)
    )
    read = Reader(page)
    assert read.tags.count("script") == 1 and read.handlers == [] and read.open == []
    assert "<script>alert" not in page


def test_steps_are_in_sigma_where_it_is_known():
    data = make_measured()
    line = curve_series(data.cards[0], data.response_curves[0], 0)
    assert line.x == (-2.0, -1.0, 0.0, 1.0, 2.0)
    plain = curve_series(data.cards[0], data.response_curves[0], 0, scaled=False)
    assert plain.x == data.response_curves[0].steps and plain.x[-1] == 2 * SIGMA
