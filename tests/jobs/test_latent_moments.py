"""Moments of W on a real Ray: the same bytes from one worker, from two, and from a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from jobs.cluster import ray_session
from jobs.latent_moments import Mapper, latent_moments
from mining import mapped
from mining.generators.registry import make_generator
from mining.mapped import Draw, mapped_moments, whole
from schemas.errors import InputError, RunError
from schemas.settings import EngineSettings
from tests.examples.noise import NoiseGenerator

pytestmark = pytest.mark.ray
NOISE = "tests.examples.noise:NoiseGenerator"
DRAW = Draw(5 * mapped.PART + 33, seed=2, psi=0.7)


@pytest.fixture(scope="module", autouse=True)
def started():
    with ray_session(engine(2)):
        yield


def engine(workers: int, **generator: float) -> EngineSettings:
    return EngineSettings.model_validate(
        {"workers": workers, "generator": generator, "object_store_mb": 128}
    )


def mapper(load: str = NOISE, **options) -> Mapper:
    return Mapper(load, make_generator(load, **options).fingerprint(), options)


@pytest.mark.parametrize("asked", [mapper(), mapper("head", resolution=64)], ids=["noise", "head"])
def test_workers_decide_no_byte(asked):
    draw = DRAW if asked.load == NOISE else Draw(mapped.PART + 20, seed=1)
    found = [whole(latent_moments(asked, draw, engine(workers))) for workers in (1, 2)]
    with threadpool_limits(1):
        found.append(mapped_moments(make_generator(asked.load, **asked.options), draw))
    assert {one.rows for one in found} == {draw.samples}
    assert len({one.mean.tobytes() + one.scatter.tobytes() for one in found}) == 1


def test_another_generator_in_a_worker_stops_the_run():
    other = Mapper(NOISE, "0" * 64)
    with pytest.raises(RunError, match="expected 000000000000"):
        latent_moments(other, Draw(20), engine(1))


def test_a_mapping_of_nan_is_the_users_to_mend():
    with pytest.raises(InputError, match="NaN or infinity"):
        latent_moments(mapper("tests.jobs.test_latent_moments:Broken"), Draw(20), engine(1))


def test_what_no_node_has_is_refused():
    with pytest.raises(InputError, match="GPU 1"):
        latent_moments(mapper(), Draw(20), engine(1, gpus=1))


class Broken(NoiseGenerator):
    """Maps to NaN."""

    name = "broken"

    def map(self, z, psi=1.0, condition=None):
        return super().map(z, psi) * np.float32(np.nan)
