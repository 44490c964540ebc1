"""The page of `lode dataset agreement` is whole, safe, and leads to the main report."""

from __future__ import annotations

import html
import re
from datetime import datetime

import pytest
from numpy.typing import NDArray

from jobs.agreement import compare_backends, read_advice, write
from jobs.report.agreement_charts import SHADES
from jobs.report.agreement_page import render_agreement
from jobs.report.data import DatasetFacts, ReportData
from jobs.report.page import render_page
from schemas.errors import CorruptDataError
from storage.dataset import Dataset
from tests.jobs.planted_backends import ROWS, Reader, plant
from tests.jobs.planted_dataset import Made, write_dataset

HOSTILE = "</script><script>alert('x')</script>\"'><img src=x onerror=alert(1)>&{{7*7}}"


@pytest.fixture
def yaw(rng) -> NDArray:
    """Degrees, (ROWS,)."""
    return rng.uniform(-40, 40, ROWS)


@pytest.fixture
def planted(tmp_path, rng, yaw) -> Dataset:
    return plant(tmp_path, rng, yaw)


def test_the_page_is_whole_and_fetches_nothing(planted):
    found, pictures = compare_backends(planted)
    page = render_agreement(found, pictures)
    read = Reader(page)
    assert not read.open and not read.handlers and read.tags.count("script") == 1
    assert len(read.ids) == len(set(read.ids))
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.fetched)
    assert read.tags.count("svg") == len(pictures)
    shown = page[: page.index("<script>")].replace('data-n="nan"', "")
    assert not re.search(r"\bnan\b", shown)
    assert page == render_agreement(*compare_backends(planted))
    for one in found.quantities:
        assert one.name in page


def test_one_is_no_plural_and_plots_are_told_for_any_background(tmp_path, rng):
    x = rng.standard_normal(50)
    made = {"a": Made({"x": x + 0.1 * rng.standard_normal(50)})}
    dataset = write_dataset(tmp_path / "d", made, 50, truth={"x": x})
    page = render_agreement(*compare_backends(dataset))
    for one in ("backend", "quantity compared"):
        assert f"<dt>{one}</dt><dd>1</dd>" in page
    assert "darker" not in page and "fuller colour holds more" in page
    assert "truth of some quantities" in page and '<h3>x <span class="chip">a</span></h3>' in page
    assert min(SHADES) >= 0.3  # a square of one image is seen on white and on black


def test_names_from_a_dataset_cannot_become_script(tmp_path, rng):
    values = rng.standard_normal(50)
    hostile = {HOSTILE: values}
    extractors = {
        name: Made(hostile, licence=HOSTILE, units={HOSTILE: HOSTILE}) for name in ("a", HOSTILE)
    }
    read = Reader(
        render_agreement(*compare_backends(write_dataset(tmp_path / "d", extractors, 50)))
    )
    assert read.tags.count("script") == 1 and "img" not in read.tags and not read.handlers


def test_the_main_report_tells_whom_to_trust(planted, tmp_path):
    """Where an agreement of the same dataset lies beside it; else the section is left out."""
    folder = str(tmp_path / "results")
    assert read_advice(folder, planted.dataset_id) == ()
    found, pictures = compare_backends(planted)
    write(found, render_agreement(found, pictures), folder)
    advice = read_advice(folder, planted.dataset_id)
    assert [one.quantity for one in advice] == ["yaw", "mouth_open", "smile"]
    assert advice[0].backends == ("mediapipe",)
    assert read_advice(folder, "0" * 16) == ()
    facts = DatasetFacts("d", "place", 0, {}, "head", "00", 256, {}, ())
    data = ReportData("Run", datetime(2026, 1, 1), "{}", "0", facts)
    read = Reader(render_page(data, advice))
    assert "agreement" in read.ids and not read.open
    assert "results/agreement.html" in read.fetched  # a link, beside the report
    inner = [link for link in read.fetched if link != "results/agreement.html"]
    assert all(link[1:] in read.ids for link in inner)
    assert advice[0].reason in html.unescape(render_page(data, advice))
    assert "agreement" not in Reader(render_page(data)).ids
    stored = (tmp_path / "results" / "agreement.json").read_text()
    damaged = stored.replace('"basis"', '"bases"')
    (tmp_path / "results" / "agreement.json").write_text(damaged)
    with pytest.raises(CorruptDataError, match="is damaged"):
        read_advice(folder, planted.dataset_id)
