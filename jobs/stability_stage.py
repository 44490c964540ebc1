"""Stability as Ray tasks: each method and attribute is mined again, of parts of the rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.control_stage import control_configs
from jobs.mining_data import MiningData
from jobs.mining_keys import MiningKeys, control_digest
from jobs.progress import Progress
from jobs.results_cache import CACHED, ResultsCache
from jobs.stability_task import fitted_again, mined_again, mined_behind
from jobs.tasks import FAILED, finished
from mining.evaluation.stability import Rows, Stability, StabilityConfig, parts_of
from mining.methods.base import Direction
from mining.methods.registry import CONTROL_METHODS, DRAWN, SCORE_METHODS
from mining.methods.row_parts import usable_rows
from schemas.settings import MiningSettings
from storage.manifest import Manifest

if TYPE_CHECKING:
    from jobs.mining_stage import Mined

KINDS = {"Stability": Stability}
Name = tuple[str, str]  # method, attribute


def measure(
    mined: Mined,
    configs: Mapping[str, Any],
    data: MiningData,
    mining: MiningSettings,
    manifest: Manifest,
    cache: ResultsCache | None = None,
) -> dict[Name, Stability]:
    """The stability of every supervised direction, on the running Ray.

    Of those behind the control model only where the settings ask for it: with the same model
    they would look steadier than they are, and to fit it again takes long. What is drawn (`DRAWN`)
    is left out: it would come out as steady as nothing that was learnt.

    Args:
        configs: method -> its settings.
        cache: what earlier runs measured.

    Returns:
        (method, attribute) -> stability, without a number but with its reason where the rows are
        too few, or the method broke.
    """
    import ray

    cache, plan = cache or ResultsCache(), plan_of(mining)
    steady = {(made.method, made.attribute): made for made in _measurable(mined, mining)}
    if not steady:
        return {}
    keys, behind = MiningKeys(data, manifest, control_digest(mined.control)), _behind(mining)
    wanted = {
        name: keys.stability(made, configs[name[0]], plan, behind if _is_behind(made) else None)
        for name, made in steady.items()
    }
    stored = functools.cache(lambda: ray.put(data))
    with Progress("stability", len(wanted), "directions") as progress:
        kept = {name: cache.get(key, KINDS, _is_stability) for name, key in wanted.items()}
        found = {name: told for name, told in kept.items() if told is not None}
        if found:
            progress.advance(len(found), {CACHED: len(found)})
        missing = [made for name, made in steady.items() if name not in found]
        for name, told in _on_ray(missing, configs, plan, data, stored, mining):
            if isinstance(told, FAILED):  # the card says that nothing was measured, this why
                found[name] = Stability((), reason=str(told))
                progress.advance(1, {"failed": 1})
                continue
            found[name] = told
            cache.put(wanted[name], told)
            progress.advance(1)
    return {name: found[name] for name in wanted if name in found}


def plan_of(mining: MiningSettings) -> StabilityConfig:
    """What is mined again."""
    told = mining.stability
    return StabilityConfig(told.halves, tuple(told.sizes), told.seeds, mining.seed)


def _measurable(mined: Mined, mining: MiningSettings) -> list[Direction]:
    if not mining.stability.enabled:
        return []
    methods = {*SCORE_METHODS, *(CONTROL_METHODS if mining.stability.control else ())} - DRAWN
    return [made for made in mined.directions if made.method in methods]


def _is_behind(direction: Direction) -> bool:
    return direction.method in CONTROL_METHODS


def _behind(mining: MiningSettings) -> Any:
    """What the control model is fitted with, as plain JSON; None where it is not fitted again."""
    if not mining.stability.control:
        return None
    return [dataclasses.asdict(config) for config in control_configs(mining)]


def _is_stability(found: Any) -> bool:
    """Whether a kept value is cosines and what they are of."""
    if not isinstance(found, Stability):
        return False
    cosines = (*found.halves, *found.seeds, *(cosine for _, cosine in found.sizes))
    return isinstance(found.reason, str) and all(isinstance(value, float) for value in cosines)


def _on_ray(
    directions: Sequence[Direction],
    configs: Mapping[str, Any],
    plan: StabilityConfig,
    data: MiningData,
    stored: Callable[[], Any],
    mining: MiningSettings,
) -> Iterator[tuple[Name, Any]]:
    """Each direction's name with its stability, or why there is none, as tasks finish."""
    import ray

    if not directions:
        return
    again: Any = ray.remote(num_cpus=1)(mined_again)
    behind: Any = ray.remote(num_cpus=1)(mined_behind)
    refitted = any(map(_is_behind, directions))
    usable, models = _models(plan, data, stored, mining) if refitted else (None, [])
    jobs: dict[Any, Name] = {}
    for made in directions:
        told = (made, configs[made.method], plan)
        if _is_behind(made):
            job = behind.remote(stored(), *told, usable, *models)
        else:
            job = again.remote(stored(), *told)
        jobs[job] = (made.method, made.attribute)
    yield from finished(jobs)


def _models(
    plan: StabilityConfig, data: MiningData, stored: Callable[[], Any], mining: MiningSettings
) -> tuple[Rows, list[Any]]:
    """The rows whose landmarks are measured, and references to models of each part of them."""
    import ray

    fit: Any = ray.remote(num_cpus=1)(fitted_again)
    usable = np.flatnonzero(usable_rows(data.landmarks))
    latents = data.latents[usable].astype(np.float64)
    parts = parts_of(latents, np.zeros(len(usable)), plan) if len(usable) > 3 else []
    configs = control_configs(mining)
    return usable, [fit.remote(stored(), usable[part], *configs) for part in parts]
