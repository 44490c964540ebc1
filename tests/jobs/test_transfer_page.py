"""The page of transfers: what it says, and that it is safe to open."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.report.transfer_page import render_transfers
from mining.evaluation.transfer_scores import Names, Row, Side, Told, Trial, score
from mining.evaluation.transfer_tables import FULL, MIXED, NO_IDENTITY, NO_INNER, PAIRED, PAPER
from mining.evaluation.transfer_tables import orderings as orderings_of
from mining.evaluation.transfer_text import Report
from tests.jobs import headless

PAIRS = 60
NAMES = Names(("yaw", "pitch", "roll", "smile"), ("nose", "hair"), ("identity", "colour"))
LONGEST = "mean Jacobian of the surrogate"


def report(seed: int = 0, title: str = "Ablations", say: str = "It wins.") -> Report:
    """Rows of every training, of a closed form with a long name, and of nothing edited."""
    rng = np.random.default_rng(seed)
    told = [Told(rng.normal(size=(PAIRS, 4)), rng.normal(size=(PAIRS, 2))) for _ in range(2)]
    points = rng.uniform(0.3, 0.7, size=(2, PAIRS, 68, 2))
    faces = rng.normal(size=(PAIRS, 8)) + 3
    sides = [Side(t, p, faces, t, p) for t, p in zip(told, points, strict=True)]

    def row(label: str, kind, off: float, reading: str = "latents") -> Row:
        found = Told(told[1].moving + off, told[0].still + off / 10)
        near = Side(
            found, points[1] + off / 100, faces * (1 + off * np.arange(8)), found, points[1]
        )
        trial = Trial(kind, *sides, NAMES, NAMES)
        return score(label, reading, trial, near, resamples=30)

    rows = [row("unedited", "cross", 9.0, ""), row(LONGEST, "cross", 4.0, "images")]
    rows += [row(FULL, "cross", 1.0), row(NO_IDENTITY, "cross", 2.0), row(NO_INNER, "cross", 3.0)]
    rows += [row(FULL, "self", 3.0), row(MIXED, "self", 2.0), row(PAIRED, "self", 1.0)]
    facts = {"generator": "puppets <b>", "none": ""}
    return Report(title, tuple(rows), facts, tuple(orderings_of(rows)), PAPER, (say,))


def test_the_page_shows_every_row_and_escapes_all_text():
    page = render_transfers(report(title="<script>alert(1)</script>", say="a < b"))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page and "a &lt; b" in page
    assert "puppets &lt;b&gt;" in page and "<dt>none</dt>" not in page
    for text in (FULL, NO_IDENTITY, MIXED, PAIRED, f"{LONGEST}, by images", "unedited"):
        assert text in page
    assert page.count('<section id="t') == 3 and "Table 4: what it is trained on" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http://" not in page and "https://" not in page and "nan" not in page
    assert page == render_transfers(report(title="<script>alert(1)</script>", say="a < b"))


def test_dots_lie_in_the_order_of_their_figures_and_tell_whether_bars_are_met():
    page = render_transfers(report())
    pose = page.split("<b>Pose (degrees)</b>")[1].split("</figure>")[0]
    places = [float(part.split('"')[0]) for part in pose.split('cx="')[1:]]
    names = [part.split("<")[0] for part in pose.split("<title>")[1:]]
    by_name = {n.split(":")[0]: x for n, x in zip(names, places, strict=True)}
    first = [by_name[f"{name}, by latents"] for name in (FULL, NO_IDENTITY, NO_INNER)]
    assert first == sorted(first) and len(set(first)) == 3
    assert by_name["unedited"] == max(places) and "bar ≤ 3" in pose
    assert pose.count('class="met"') == 3 and pose.count('class="unmet"') == 2


@pytest.mark.skipif(headless.browser() is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("width", [1400, 420])
def test_a_browser_shows_it_whole_and_asks_for_nothing(tmp_path, width):
    page = render_transfers(report()).replace(
        "default-src 'none'; img-src data:;",
        "default-src 'none'; script-src 'unsafe-inline'; img-src data:;",
    )
    page = page.replace("</body>", f"{headless.PROBE}</body>")
    seen = headless.visit(str(headless.browser()), page, tmp_path, width=width)
    assert not seen.requests or all(url.startswith("file:") for url in seen.requests)
    found = seen.probe
    assert found["svgs"] >= 14 and not found["emptySvgs"] and not found["outside"]
    assert found["pageWidth"] <= found["width"] + 1
