"""W as a mapping makes it: parts that hang on nothing but their number, moments of planted axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining import mapped as module
from mining.generators.head import HeadGenerator
from mining.latents import shard_rng
from mining.mapped import Draw, in_halves, mapped, mapped_moments, moments_of_part, whole
from mining.methods.moments import Moments
from mining.methods.pca import PcaConfig, explained, halves_agree, pca_of
from schemas.errors import InputError, RunError
from tests.examples.noise import DIM, NoiseGenerator
from tests.examples.posed import PosedPoints


def test_components_of_a_mapping_are_its_planted_axes():
    """Axis k of the noise generator's W spreads linspace(2, 0.5, 16)[k]."""
    moments = mapped_moments(NoiseGenerator(), Draw(60_000, seed=3))
    spreads = np.linspace(2, 0.5, DIM)
    for k, found in enumerate(pca_of(moments, PcaConfig(components=6))):
        # sampling turns an axis by about s t / (s^2 - t^2) / sqrt(N), 0.04 at the next one
        assert found.vector[k] > 0.99
        assert found.evidence["variance"] == pytest.approx(spreads[k] ** 2, rel=0.03)
        assert found.evidence["rows"] == 60_000
    shares = np.cumsum(spreads**2) / (spreads**2).sum()
    np.testing.assert_allclose(explained(moments), shares, atol=0.01)
    assert explained(moments)[-1] == 1


def test_the_moments_are_those_of_all_samples_at_once():
    draw = Draw(2 * module.PART + 100, seed=5, psi=0.5)
    generator = NoiseGenerator()
    parts = [mapped(generator, draw, part) for part in draw.parts]
    assert [len(part) for part in parts] == [module.PART, module.PART, 100]
    rows = np.concatenate(parts).astype(np.float64)
    found = mapped_moments(generator, draw)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)


def test_halves_share_no_sample_and_agree_where_axes_are_apart():
    draw = Draw(6 * module.PART, seed=9)
    parts = [moments_of_part(NoiseGenerator(), draw, part) for part in draw.parts]
    even, odd = in_halves(parts)
    assert even.rows == odd.rows == 3 * module.PART
    np.testing.assert_allclose(even.mean, np.mean([p.mean for p in parts[::2]], axis=0), atol=1e-12)
    found = halves_agree(even, odd, 4)
    assert found.min() > 0.95 and found.max() <= 1 + 1e-12
    # axes of one width have no order to agree on
    rng = np.random.default_rng(0)
    rounds = [Moments.of(rng.normal(size=(3000, 40))) for _ in range(2)]
    assert halves_agree(*rounds, 10).mean() < 0.5
    assert in_halves(parts[:1]) == (parts[0],) and whole((even,)) is even


@given(few=st.integers(1, 40), many=st.integers(1, 40), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=25)
def test_more_samples_begin_with_the_same_ones(few, many, seed):
    generator = NoiseGenerator()
    few, many = sorted((few, many))
    first = mapped(generator, Draw(many, seed), 0)[:few]
    np.testing.assert_array_equal(mapped(generator, Draw(few, seed), 0), first)


def test_parts_differ_from_one_another_and_from_a_dataset_of_the_same_seed():
    generator, draw = HeadGenerator(64), Draw(3 * module.PART)
    small = Draw(40)
    one = mapped(generator, small, 0)
    assert not np.isin(one[:, 0], mapped(NoiseGenerator(), draw, 1)[:, 0]).any()
    stored = generator.map(generator.sample_z(40, shard_rng(small.seed, 0)))
    assert not np.isin(one[:, 0], stored[:, 0]).any()
    np.testing.assert_array_equal(one, mapped(HeadGenerator(64), small, 0))


def test_the_head_maps_to_the_spread_that_it_is_built_with():
    """Over the span of its read-out the head's W has the covariance of its parameters."""
    generator = HeadGenerator(64, entanglement=0.0)
    found = mapped_moments(generator, Draw(4000, seed=1))
    axes = generator.truth().directions.astype(np.float64)
    spreads = generator._mapping.spread
    along = np.sqrt(np.diag(axes @ found.covariance @ axes.T))
    np.testing.assert_allclose(along, spreads, rtol=0.08)


def test_truncation_pulls_towards_the_mean():
    whole = mapped_moments(NoiseGenerator(), Draw(500))
    cut = mapped_moments(NoiseGenerator(), Draw(500, psi=0.5))
    np.testing.assert_allclose(cut.covariance, 0.25 * whole.covariance, rtol=1e-5)


def test_a_condition_is_drawn_where_the_mapping_takes_one():
    generator = PosedPoints()
    found = mapped(generator, Draw(30), 0)
    rng = shard_rng(0, module.FIRST)
    z, condition = generator.sample_z(30, rng), generator.sample_condition(30, rng)
    np.testing.assert_array_equal(found, generator.map(z, condition=condition))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2.5}, r"samples is 2\.5"),
        ({"samples": 10**10}, "at most 1,000,000,000"),
        ({"psi": 0.0}, "psi is 0"),
        ({"psi": float("nan")}, "psi is nan"),
        ({"psi": 2.5}, "psi of at most 2"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        Draw(**settings)


def test_a_mapping_that_breaks_its_word_is_named():
    class Narrow(NoiseGenerator):
        def map(self, z, psi=1.0, condition=None):
            return super().map(z, psi)[:, :3]

    class Broken(NoiseGenerator):
        def map(self, z, psi=1.0, condition=None):
            return super().map(z, psi) * np.float32(np.nan)

    with pytest.raises(RunError, match=r"shape \(5, 3\); expected \(5, 16\)"):
        mapped(Narrow(), Draw(5), 0)
    with pytest.raises(InputError, match="NaN or infinity"):
        moments_of_part(Broken(), Draw(5), 0)


def test_the_id_tells_samples_apart():
    draws = [Draw(), Draw(seed=1), Draw(samples=10), Draw(psi=0.7)]
    ids = {draw.id_of(word) for draw in draws for word in ("one", "other")}
    assert len(ids) == 8 and Draw().id_of("one") in ids
