"""The report: one page that fetches nothing, escapes everything and can be made again."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from jobs.report import numbers
from jobs.report.data import (
    AttributeSummary,
    DatasetFacts,
    LossCurve,
    Picture,
    ReportData,
    Stage,
    Strip,
    strip_of,
    summarise,
)
from jobs.report.figures import chart
from jobs.report.page import render_page
from jobs.report.responses import bars, heat_map
from mining.evaluation.matrix import rescoring_matrix
from mining.evaluation.rescoring import Rescored
from mining.evaluation.thumbnails import jpeg
from schemas.directions import DirectionCard, Provenance, Response
from schemas.errors import CorruptDataError, InputError, StorageError

NAN = float("nan")
HOSTILE = "</script><script>alert('x')</script>\"'><img src=x onerror=alert(1)> & {{ 7 * 7 }}"
SECTIONS = ("directions", "rescoring", "truth", "catalogue", "losses", "dataset", "licences", "run")


def make_card(attribute: str, method: str, seed: int, cosine: float | None = 0.9) -> DirectionCard:
    draws = np.random.default_rng(seed)
    responses = tuple(
        Response(name, unit, value, value - 0.2, value + 0.2, spread)
        for name, unit, value, spread in (
            (attribute, "degrees", 6.0, 4.0),
            ("roll", "degrees", -0.1, 3.0),
            ("gap", "mm", NAN, NAN),
        )
    )
    made = Provenance("data-1", 7, '{"penalty": 1}', "0.1.0", {"numpy": "2"}, datetime(2026, 1, 2))
    return DirectionCard(
        attribute, "degrees", method, "w", "head", "ab" * 32, "Apache-2.0",
        draws.standard_normal(8).astype(np.float32), made, layers=(1, 2), slope=5.5, sigma=1.25,
        responses=responses, identity_cost=0.31, truth_cosine=cosine, evidence={"r2": NAN},
        notes="held out", publication_id="p1", version=2,
    )  # fmt: skip


def make_data(name: str = "yaw") -> ReportData:
    draws = np.random.default_rng(0)
    cards = (make_card(name, "ridge", 1), make_card(name, "svm", 2), make_card("roll", "pca", 3))
    steps = (-2.0, -1.0, 0.0, 1.0, 2.0)
    strips = tuple(
        Strip(
            card.direction_id,
            steps,
            tuple(
                tuple(
                    Picture(
                        jpeg(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)),
                        6.0 * step,
                        NAN if step == 2 else abs(step) / 4,
                    )
                    for step in steps
                )
                for _ in range(2)
            ),
        )
        for card in cards[:2]
    )
    dataset = DatasetFacts(
        "data-1", "s3://bucket/faces", 1200, {"no_face": 12, name: 1}, "head", "ab" * 32, 256,
        {"dlib 68-point model": "research only (iBUG 300-W)", name: "CC0-1.0"},
        (summarise(name, "degrees", draws.normal(0, 4, 500), "the turn"),
         AttributeSummary("gap", "mm", "", 0, NAN, NAN, NAN, NAN)),
    )  # fmt: skip
    return ReportData(
        f"A run of {name}", datetime(2026, 3, 4, 5, 6, tzinfo=UTC), '{"rows": 1200}', "0.1.0",
        dataset, cards, strips, (LossCurve(name, "loss", (1.0, 0.5, 0.3), (1.1, 0.6, 0.7)),),
        (Stage("generate", 80.0, "1,200 images"), Stage("mine", 4.0)), {"numpy": "2.4"},
    )  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would fetch, the sections, and tags left open."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.images_without_text = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.handlers += [name for name in values if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            if values.get(name) is not None:
                self.fetched.append(values[name])
        if tag == "img" and not values.get("alt"):
            self.images_without_text += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(make_data())


def test_the_page_fetches_nothing(page):
    read = Reader(page)
    assert read.open == []
    outside = [a for a in read.fetched if not a.startswith(("#", "data:image/jpeg;base64,"))]
    assert outside == []
    assert "link" not in read.tags and "iframe" not in read.tags
    assert "@import" not in page and "url(" not in page
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", page)
    assert "default-src 'none'" in page
    assert {a[1:] for a in read.fetched if a.startswith("#")} <= set(read.ids)


def test_every_section_is_there(page):
    read = Reader(page)
    assert set(SECTIONS) <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert read.tags.count("img") == 2 * 2 * 5
    assert read.images_without_text == 0
    for said in ("12.0°", "unedited", "+2σ", "research only (iBUG 300-W)", "1 min 20", "no_face"):
        assert said in page.replace("\u202f", " ")


def test_what_could_not_be_mined_is_said(page, tmp_path):
    assert "Not mined" not in page
    data = replace(make_data(), failures={"svm yaw": "too few rows <b>"})
    data.save(str(tmp_path))
    said = render_page(ReportData.load(str(tmp_path)))
    assert "Not mined" in said and "svm yaw" in said and "too few rows &lt;b&gt;" in said


def test_hostile_texts_stay_texts():
    data = make_data(HOSTILE)
    data = replace(
        data,
        settings=HOSTILE,
        code_version=HOSTILE,
        packages={HOSTILE: HOSTILE},
        failures={HOSTILE: HOSTILE},
        stages=(Stage(HOSTILE, 1.0, HOSTILE),),
        dataset=replace(data.dataset, dataset_id=HOSTILE, url=HOSTILE, generator=HOSTILE),
        cards=tuple(replace(card, method=HOSTILE, notes=HOSTILE) for card in data.cards),
    )
    page = render_page(data)
    read = Reader(page)
    assert read.tags.count("script") == 1
    assert read.handlers == []
    assert read.tags.count("img") == 0  # the renamed cards have other ids, so no strips
    assert "<script>alert" not in page and "onerror=alert(1)>" not in page.replace("&gt;", "")
    assert "{{ 7 * 7 }}" in page  # values are not templates


def test_a_report_reads_back_to_the_same_page(tmp_path, page):
    data = make_data()
    data.save(str(tmp_path / "report"))
    read = ReportData.load(str(tmp_path / "report"))
    assert render_page(read) == page
    assert read.strips[0].rows[0][0].jpeg == data.strips[0].rows[0][0].jpeg
    assert [card.direction_id for card in read.cards] == [c.direction_id for c in data.cards]
    assert read.cards[0].provenance == data.cards[0].provenance
    assert np.isnan(read.cards[0].evidence["r2"]) and read.cards[0].layers == (1, 2)
    data.save(str(tmp_path / "report"))  # again, over itself
    assert sorted(p.name for p in (tmp_path / "report").iterdir() if p.is_file()) == [
        "report.json", "strips.parquet", "vectors.parquet",
    ]  # fmt: skip


def test_reports_live_under_any_fsspec_url(page):
    make_data().save("memory://runs/one/report")
    assert render_page(ReportData.load("memory://runs/one/report")) == page


def test_damage_is_found(tmp_path):
    folder = str(tmp_path)
    with pytest.raises(InputError, match="no finished report"):
        ReportData.load(folder)
    data = make_data()
    data.save(folder)
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"version": 1,', '"version": 9,', 1))
    with pytest.raises(InputError, match="version 9"):
        ReportData.load(folder)
    (tmp_path / "report.json").write_text(text.replace('"ridge"', '"rigde"', 1))
    with pytest.raises(CorruptDataError, match="not the one published"):
        ReportData.load(folder)
    (tmp_path / "report.json").write_text(text.replace('"rows": 1200,', '"rows": "many",', 1))
    with pytest.raises(CorruptDataError, match="rows"):
        ReportData.load(folder)
    (tmp_path / "report.json").write_text(text[:-40])
    with pytest.raises(CorruptDataError, match="cannot be read"):
        ReportData.load(folder)
    (tmp_path / "report.json").write_text(text)
    (tmp_path / "strips.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(CorruptDataError, match="cannot be read"):
        ReportData.load(folder)
    (tmp_path / "strips.parquet").unlink()
    with pytest.raises(StorageError, match="strips.parquet"):
        ReportData.load(folder)


def test_a_target_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="not a folder"):
        make_data().save(str(tmp_path / "file" / "report"))


def test_a_run_without_results_still_has_a_page():
    empty = DatasetFacts("d", "place", 0, {}, "head", "00", 256, {}, ())
    page = render_page(ReportData("Empty", datetime(2026, 1, 1), "not json", "0", empty))
    read = Reader(page)
    assert set(SECTIONS) - {"truth"} <= set(read.ids)
    assert "published no direction" in page and "not json" in page


def test_unknown_numbers_are_dashes_not_nan():
    card = make_card("yaw", "ridge", 1, cosine=None)
    blank = replace(card, sigma=NAN, identity_cost=NAN, responses=(), version=None)
    page = render_page(replace(make_data(), cards=(blank,), strips=()))
    visible = re.sub(r'data-n="nan"', "", page)
    assert not re.search(r">\s*-?nan|nan\s*<", visible)
    assert "No pictures were kept" in page


def test_a_full_report_stays_small():
    """28 directions x 2 identities x 5 steps of 128 px photographs-like pictures: under 5 MB."""
    y, x = np.mgrid[:128, :128]
    draws = np.random.default_rng(0)
    wave = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], -1) * 60
    face = np.clip(128 + wave + draws.normal(0, 8, (128, 128, 3)), 0, 255).astype(np.uint8)
    picture = Picture(jpeg(face), 1.0, 0.1)
    data = make_data()
    cards = tuple(make_card("yaw", f"m{k}", k) for k in range(28))
    strips = tuple(
        Strip(card.direction_id, (-2.0, -1.0, 0.0, 1.0, 2.0), ((picture,) * 5,) * 2)
        for card in cards
    )
    assert len(render_page(replace(data, cards=cards, strips=strips)).encode()) < 5_000_000


def test_the_heat_map_has_a_diagonal_and_the_right_signs():
    cards = (make_card("yaw", "ridge", 1), make_card("roll", "pca", 3), make_card("yaw", "svm", 2))
    cards = (cards[0], replace(cards[1], responses=cards[0].responses), cards[2])
    heat = heat_map(cards, rescoring_matrix(cards))
    assert [name for name, _ in heat.columns] == ["yaw", "roll", "gap"]
    assert [index for index, _ in heat.rows] == [0, 2, 1]
    own = [[cell.own for cell in cells] for _, cells in heat.rows]
    assert own == [[True, False, False], [True, False, False], [False, True, False]]
    first = heat.rows[0][1]
    assert first[0].texts == ("1.88", "1.50", "6.00")  # 6 / 4 * 1.25 spreads
    assert first[0].per_sigma > 0 > first[1].per_sigma
    assert first[2].texts == ("–", "–", "–") and not first[2].certain
    assert first[0].certain and not first[1].certain  # -0.3 .. 0.1 holds 0


def test_attributes_without_a_spread_are_told_and_not_coloured():
    card = make_card("yaw", "ridge", 1)
    flat = Response("nose_sneer_left", "1", 3e-6, 1e-6, 4e-6, NAN)
    data = replace(make_data(), cards=(replace(card, responses=(*card.responses, flat)),))
    said = "without a number in spreads, for they hardly vary over the dataset: nose_sneer_left."
    assert said in render_page(data)
    assert "hardly vary" not in render_page(make_data())
    heat = heat_map(data.cards, rescoring_matrix(data.cards))
    cell = heat.rows[0][1][[name for name, _ in heat.columns].index("nose_sneer_left")]
    assert cell.texts[:2] == ("–", "–") and cell.per_sigma == 0


def test_bars_put_the_own_attribute_first_and_fit_the_track():
    found = bars(make_card("yaw", "ridge", 1))
    assert [bar.attribute for bar in found] == ["yaw", "roll"]
    assert found[0].own and found[0].positive and found[0].text == "+1.88"
    for bar in found:
        assert 0 <= bar.left and bar.left + bar.width <= 100
        assert 0 <= bar.low <= bar.high <= 100


def test_loss_curves_fit_their_box():
    drawn = chart(LossCurve("fit", "loss", (1.0, 0.1, 0.01), (1.2, NAN, 0.05)))
    assert drawn is not None
    points = [tuple(map(float, p.split(","))) for p in drawn.train.split()]
    assert len(points) == 3 and len(drawn.held_out.split()) == 2
    assert points[0][0] == drawn.left and points[-1][0] == drawn.right
    assert points[0][1] < points[1][1] < points[2][1]
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.2)
    assert drawn.best_text == "0.0500 at epoch 3"
    assert all(drawn.top <= tick.at <= drawn.bottom for tick in drawn.y_ticks)
    assert len(drawn.y_ticks) >= 3 and drawn.x_ticks[-1].label == "3"
    assert chart(LossCurve("short", "loss", (1.0,))) is None
    below = chart(LossCurve("signed", "loss", (1.0, -1.0)))
    assert below is not None and len(below.y_ticks) >= 3
    assert chart(LossCurve("flat", "loss", (2.0, 2.0))) is not None


def test_summaries_leave_out_what_is_unmeasured():
    found = summarise("yaw", "degrees", [1.0, 3.0, NAN], "turn", bins=4)
    assert (found.count, found.mean, found.spread) == (2, 2.0, 1.0)
    assert (found.low, found.high, sum(found.counts), len(found.edges)) == (1.0, 3.0, 0, 5)
    constant = summarise("yaw", "degrees", [2.0, 2.0])
    assert sum(constant.counts) == 2
    assert summarise("yaw", "degrees", [NAN]).count == 0


def test_strips_come_from_rescoring():
    card = make_card("yaw", "ridge", 1)
    rescored = Rescored(
        np.array([-2.5, 0.0, 2.5]), 1.25, (("geometry", "yaw"),), ("degrees",),
        np.arange(9.0).reshape(3, 3, 1), np.full((3, 3), 0.5), {}, ((b"a", b"b", b"c"),),
    )  # fmt: skip
    strip = strip_of(card, rescored, ("geometry", "yaw"))
    assert strip.steps == (-2.0, 0.0, 2.0) and strip.direction_id == card.direction_id
    assert strip.rows == (
        (Picture(b"a", 0.0, 0.5), Picture(b"b", 1.0, 0.5), Picture(b"c", 2.0, 0.5)),
    )
    assert np.isnan(strip_of(card, rescored, None).rows[0][0].value)
    with pytest.raises(InputError, match="no attribute geometry.smile"):
        strip_of(card, rescored, ("geometry", "smile"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.number(12.345), "12.3"),
        (numbers.number(-0.012345), "−0.0123"),
        (numbers.number(123456.0), "123 456"),
        (numbers.number(1.5e-7), "1.50e−07"),
        (numbers.number(0.0), "0"),
        (numbers.number(NAN), "–"),
        (numbers.number(None), "–"),
        (numbers.fixed(-0.001), "0.00"),
        (numbers.fixed(2.0, 1, sign=True), "+2.0"),
        (numbers.percent(0.985), "98.5 %"),
        (numbers.reading(-12.34, "degrees"), "−12.3°"),
        (numbers.reading(0.5, "mm"), "0.50 mm"),
        (numbers.reading(0.5, "1"), "0.50"),
        (numbers.reading(NAN, "mm"), "–"),
        (numbers.interval((-9.84, 14.26), "degrees"), "−9.8 to 14.3"),
        (numbers.interval((NAN, 1.0), "mm"), "–"),
        (numbers.mark(0.00003), "3e−05"),
        (numbers.mark(0.5), "0.5"),
        (numbers.sigmas(-2.0), "−2σ"),
        (numbers.sigmas(0.5000000001), "+0.5σ"),
        (numbers.duration(4.25), "4.2 s"),
        (numbers.duration(80), "1 min 20 s"),
        (numbers.duration(7500), "2 h 5 min"),
    ],
)
def test_numbers_are_written_for_people(written, expected):
    assert written.replace("\u202f", " ") == expected
