"""The report in a real browser: whole, readable in light and dark, and asking nobody."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from jobs.report.leaderboard_page import render_leaderboard
from jobs.report.page import render_page
from tests.jobs.headless import NAMES, PROBE, browser, screenshot, visit
from tests.jobs.measured_report import make_measured
from tests.mining.evaluation.test_leaderboard import board

CHROMIUM = browser()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}"
)
NARROW = 500  # pixels; headless windows are no narrower
HEADINGS = (
    "Not mined", "Directions", "Re-scoring matrix", "Response curves", "Stability", "Identity",
    "Against the truth", "Catalogue", "Loss curves", "Dataset", "Licences", "Run",
)  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(make_measured())


def test_a_page_that_asks_or_complains_is_caught(tmp_path):
    outside = '<img src="http://outside.example/x.png"><script>console.error("made up")</script>'
    found = visit(CHROMIUM, f"<!doctype html><body>{outside}</body>", tmp_path)
    assert found.requests == ("http://outside.example/x.png",)
    assert len(found.console) == 1 and "made up" in found.console[0]


def test_the_policy_holds_back_what_a_text_would_load(page, tmp_path):
    planted = page.replace("</main>", '<img src="http://outside.example/x.png"></main>')
    found = visit(CHROMIUM, planted, tmp_path)
    assert found.requests == ()
    assert len(found.console) == 1 and "Content Security Policy" in found.console[0]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", NARROW)])
def test_it_asks_nobody_nothing_is_missing_and_nothing_sticks_out(page, tmp_path, scheme, width):
    found = visit(CHROMIUM, page.replace("</body>", f"{PROBE}</body>"), tmp_path, scheme, width)
    probe = found.probe
    assert found.requests == () and found.console == ()
    assert 'aria-pressed="true"' in found.dom  # its script ran: one attribute is chosen
    assert probe["dark"] == (scheme == "dark") and probe["width"] == width
    assert probe["pageWidth"] <= width
    assert set(HEADINGS) <= set(probe["headings"])
    assert probe["svgs"] >= 12 and probe["emptySvgs"] == [] and probe["outside"] == []
    assert probe["images"] == page.count("<img ") > 0 and probe["brokenImages"] == 0


def test_the_leaderboard_asks_nobody_and_nothing_sticks_out(tmp_path):
    page = render_leaderboard(board(500, 2000, 10_000), {})
    policy = "script-src 'unsafe-inline'; style-src"  # the probe is a script, the page has none
    probed = page.replace("</body>", f"{PROBE}</body>").replace("style-src", policy, 1)
    found = visit(CHROMIUM, probed, tmp_path)
    assert found.requests == () and found.console == ()
    assert found.probe["pageWidth"] <= 1400 and found.probe["outside"] == []
    assert found.probe["svgs"] >= 5 and found.probe["emptySvgs"] == []
    assert {"Methods", "By number of samples", "By attribute"} <= set(found.probe["headings"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_seen_in_light_and_dark(page, tmp_path, scheme):
    picture = screenshot(CHROMIUM, page, tmp_path, scheme, 1400)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (3000, 1400, 3)
    middle = float(np.median(pixels))
    assert middle > 200 if scheme == "light" else middle < 60
    colours = (pixels[::3, ::3].astype(np.int64) @ [1, 256, 65536]).reshape(10, -1)
    assert all(len(np.unique(tenth)) > 30 for tenth in colours)  # none of it is blank


def test_the_palettes_differ_between_the_schemes(page):
    colours = re.findall(r"--c0: (#\w+)", page)
    assert len(set(colours)) == 2
