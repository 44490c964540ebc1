"""Which rows of W+ a direction moves: planted rows of a generator, measured; ties; wrong input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.head import HeadGenerator
from mining.methods.layer_choice import LayerConfig, choose_layers, image_change, layer_ranges
from schemas.errors import InputError
from tests.examples.noise import NoiseGenerator
from tests.examples.points import MODES, PointsExtractor, PointsGenerator


@given(st.integers(1, 40), st.integers(1, 9))
def test_ranges_cover_all_rows_once(rows, parts):
    whole, *pieces = layer_ranges(rows, parts)
    assert whole == (0, rows)
    covered = [row for first, last in pieces or [whole] for row in range(first, last)]
    assert covered == list(range(rows))
    lengths = [last - first for first, last in pieces] or [rows]
    assert max(lengths) - min(lengths) <= 1


def test_the_row_that_an_attribute_is_read_from_is_chosen():
    """The points turn by row 0 and bend by row 1; the direction is a mixture of both."""
    generator, extractor = PointsGenerator(), PointsExtractor()
    yaw, _, smile, _ = generator.truth_rows
    ranges = layer_ranges(2, 2)
    for first, last, row in ((yaw, smile, 0), (smile, yaw, 1)):
        direction = (first + 0.7 * last) / math.hypot(1, 0.7)
        responses = measured(generator, extractor, direction, ranges)
        choice = choose_layers(ranges, responses, MODES, "yaw" if row == 0 else "smile")
        assert choice.layers == (row, row + 1)
        whole, own = choice.leaks[0], choice.leaks[row + 1]
        assert own < 0.5 * whole
        assert choice.enough[0] and choice.enough[row + 1] and not choice.enough[2 - row]


def measured(generator, extractor, direction, ranges) -> np.ndarray:
    """(L, A) slopes of the attributes, in their spreads, over 40 seeded images."""
    rng = np.random.default_rng(8)
    base = generator.broadcast(generator.map(generator.sample_z(40, rng)))

    def values(w_plus):
        found = extractor(generator.synthesize(w_plus), {}).values
        return np.stack([found[name] for name in MODES], axis=1)

    before = values(base)
    rows = []
    for first, last in ranges:
        moved = base.copy()
        moved[:, first:last] += 0.2 * direction.astype(np.float32)
        rows.append((values(moved) - before).mean(axis=0) / before.std(axis=0))
    return np.array(rows)


def test_the_leanest_of_those_with_enough_effect_wins():
    ranges = [(0, 4), (0, 2), (2, 4)]
    responses = np.array([[1.0, 0.5], [0.8, 0.1], [0.2, 0.0]])
    assert choose_layers(ranges, responses, ("yaw", "age")).layers == (0, 2)
    loose = choose_layers(ranges, responses, ("yaw", "age"), "yaw", LayerConfig(keep=0.1))
    assert loose.layers == (2, 4) and loose.leaks == pytest.approx((0.5, 0.125, 0.0))
    strict = choose_layers(ranges, responses, ("yaw", "age"), "yaw", LayerConfig(keep=1.0))
    assert strict.layers == (0, 4) and strict.enough == (True, False, False)
    equal = choose_layers(ranges, np.array([[1.0, 0.0]] * 3), ("yaw", "age"))
    assert equal.layers == (0, 2)  # the fewer rows, and of those the first


def test_what_was_not_measured_counts_for_nothing():
    responses = np.array([[1.0, math.nan], [math.nan, 3.0]])
    choice = choose_layers([(0, 1), (1, 2)], responses, ("yaw", "age"), "yaw")
    assert choice.layers == (0, 1) and choice.leaks == (0.0, math.inf)
    with pytest.raises(InputError, match="no range moves yaw"):
        choose_layers([(0, 1)], np.array([[math.nan, 1.0]]), ("yaw", "age"), "yaw")


def test_pixels_tell_which_rows_matter():
    """A row of the noise generator adds a texture of its own; a step of 0 changes nothing."""
    generator = NoiseGenerator()
    w_plus = generator.broadcast(np.zeros((2, 16), np.float32))
    step = np.full(16, 0.05)
    whole, *rows = image_change(generator, w_plus, step, layer_ranges(4, 4))
    assert 0 < max(rows) < whole
    assert image_change(generator, w_plus, 0 * step, [(0, 4)]) == 0


def test_a_truth_of_the_head_changes_pixels_by_its_own_row_alone():
    generator = HeadGenerator(64)
    truth = generator.truth()
    row = truth.layers[truth.names.index("yaw")]
    w_plus = generator.broadcast(generator.mean_w()[None])
    ranges = [(k, k + 1) for k in range(generator.num_ws)]
    found = image_change(generator, w_plus, truth.direction("yaw"), ranges)
    assert found[row] > 1 and np.delete(found, row).max() == 0


def test_wrong_input_is_named():
    ones = np.ones((1, 2))
    with pytest.raises(InputError, match="keep is 0"):
        LayerConfig(keep=0)
    with pytest.raises(InputError, match="1 ranges, responses"):
        choose_layers([(0, 1)], np.ones((2, 2)), ("yaw", "age"))
    with pytest.raises(InputError, match=r"layers \[2, 1\] came"):
        choose_layers([(2, 1)], ones, ("yaw", "age"))
    with pytest.raises(InputError, match="attribute 'nose' came"):
        choose_layers([(0, 1)], ones, ("yaw", "age"), "nose")
    with pytest.raises(InputError, match="rows 0 to 3"):
        image_change(NoiseGenerator(), np.zeros((1, 4, 16), np.float32), np.ones(16), [(3, 5)])
    with pytest.raises(InputError, match=r"step \(3,\)"):
        image_change(NoiseGenerator(), np.zeros((1, 4, 16), np.float32), np.ones(3), [(0, 1)])
