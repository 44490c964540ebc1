"""The moments of W as Ray tasks: each maps the samples of one part, and no image is rendered.

Parts are added in their order, whoever made them and when: the sums do not depend on the workers.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jobs.cluster import check_stop, plain_errors, ray_session
from jobs.placement import Need, check_placement, hide_gpus
from jobs.progress import Progress
from mining.generators.base import Generator
from mining.generators.registry import make_generator
from mining.mapped import Draw, in_halves, moments_of_part
from mining.methods.moments import Moments
from mining.threads import limit_threads
from schemas.errors import RunError
from schemas.settings import EngineSettings

AHEAD = 2  # parts for each worker, whose sums may wait to be added
POLL = 1.0  # seconds between two looks whether a stop was asked for


@dataclass(frozen=True)
class Mapper:
    """How a worker loads the generator, and which one it has to be."""

    load: str  # a name of mining/generators/registry.py, or "module:Class"
    fingerprint: str
    options: Mapping[str, Any] = field(default_factory=dict)


def latent_moments(mapper: Mapper, draw: Draw, engine: EngineSettings) -> tuple[Moments, ...]:
    """The moments of all samples in halves, on `engine.workers` workers.

    Memory does not grow with the samples.

    Returns:
        As `mining.mapped.in_halves`; `whole` adds them.

    Raises:
        InputError: no node has what a worker asks for, or the generator draws no conditions.
        RunError: the generator is another one there, or a worker failed.
    """
    need = Need("map", "engine.generator", (), 1, engine.workers, 1.0, engine.generator.gpus)
    with ray_session(engine), plain_errors("map"):
        check_placement([need], engine)
        with Progress("map", draw.samples, "latents") as progress:
            return in_halves(_told(_parts(mapper, draw, need), progress))


def _told(parts: Iterator[Moments], progress: Progress) -> Iterator[Moments]:
    for part in parts:
        yield part
        progress.advance(part.rows)


def _parts(mapper: Mapper, draw: Draw, need: Need) -> Iterator[Moments]:
    """In order; few more tasks than there are workers are on their way."""
    import ray

    remote: Any = ray.remote(num_cpus=need.cpus, num_gpus=need.gpus)(_mapped_part)
    loading = (mapper.load, json.dumps(dict(mapper.options)), mapper.fingerprint)
    waiting: deque[Any] = deque()
    for part in draw.parts:
        if len(waiting) >= AHEAD * need.most:
            yield _answer(waiting.popleft())
        waiting.append(remote.remote(loading, draw, part, need.gpus))
    while waiting:
        yield _answer(waiting.popleft())


def _answer(task: Any) -> Moments:
    import ray

    while not ray.wait([task], timeout=POLL)[0]:
        check_stop()
    return ray.get(task)


def _mapped_part(loading: tuple[str, str, str], draw: Draw, part: int, gpus: float) -> Moments:
    if not gpus:
        hide_gpus()
    limit_threads(1)
    return moments_of_part(_generator(*loading), draw, part)


@lru_cache(maxsize=1)
def _generator(load: str, options: str, fingerprint: str) -> Generator:
    """Loaded once in each worker's process."""
    generator = make_generator(load, **json.loads(options))
    if generator.fingerprint() != fingerprint:
        raise RunError(
            f"map: generator {load!r} has fingerprint {generator.fingerprint()[:12]} in a worker, "
            f"expected {fingerprint[:12]}: install the same versions and files on every node."
        )
    return generator
