"""The plots of `lode dataset agreement` stay in their boxes and say what they leave out."""

from __future__ import annotations

import numpy as np

from jobs.report.agreement_charts import MOST_POINTS, clipped, marks, scatter, window
from mining.evaluation.agreement import Series, compare


def test_plots_hold_every_row_or_say_what_they_leave_out(rng):
    x = rng.normal(0, 10, 5000)
    y = x + rng.normal(0, 1, 5000)
    y[0] = 1e6
    first, second = Series("a", x, "degrees"), Series("b", y, "degrees")
    drawn = scatter(x, y, compare(first, second))
    assert drawn is not None and drawn.rows == drawn.drawn == 5000
    assert 1 <= drawn.outside <= 30  # the outlier and what the percentiles leave
    assert drawn.equal is not None and drawn.fit is not None
    for ends in (drawn.equal, drawn.fit):
        assert (
            drawn.left - 0.1 <= min(ends[0], ends[2]) and max(ends[0], ends[2]) <= drawn.right + 0.1
        )
        assert (
            drawn.top - 0.1 <= min(ends[1], ends[3]) and max(ends[1], ends[3]) <= drawn.bottom + 0.1
        )
    many = np.arange(MOST_POINTS + 5.0)
    drawn = scatter(many, many, compare(Series("a", many), Series("b", many)))
    assert drawn is not None and (drawn.drawn, drawn.rows) == (MOST_POINTS, MOST_POINTS + 5)
    assert scatter(x[:2], y[:2], compare(Series("a", x[:2]), Series("b", y[:2]))) is None


def test_axes_and_lines_fit_their_box():
    assert window(np.full(9, 5.0)) == (2.5, 7.5)
    assert window(np.zeros(9)) == (-0.5, 0.5)
    assert marks(-41, 39) == [-40, -20, 0, 20]
    assert clipped(1, 0, (-1, 1), (-2, 0.5)) == (-1, -1, 0.5, 0.5)
    assert clipped(-2, 0, (-1, 1), (-1, 1)) == (-0.5, 1, 0.5, -1)
    assert clipped(0, 3, (-1, 1), (-1, 1)) is None
    assert clipped(0, 0.5, (-1, 1), (-1, 1)) == (-1, 0.5, 1, 0.5)
