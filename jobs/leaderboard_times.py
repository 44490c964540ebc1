"""How long each method takes on one core: mined again, one after the other, in this process."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from jobs.control_stage import control_configs
from jobs.learned_data import read_rows
from jobs.learned_task import Training, learn_here
from jobs.mining_data import MiningData
from jobs.mining_stage import make_config
from jobs.mining_task import mine_one
from jobs.progress import Progress
from mining.methods.registry import LEARNED_METHODS, SUPERVISED_METHODS
from mining.methods.registry import needs_control as with_control
from mining.threads import limit_threads
from schemas.settings import MiningSettings
from storage.dataset import Dataset

Name = tuple[str, str]  # method, attribute
CONTROL = ("control", "")  # the model that several methods share, fitted once for all attributes


def time_methods(
    data: MiningData,
    mining: MiningSettings,
    samples: int,
    mined: Collection[Name],
    dataset: Dataset,
) -> dict[Name, float]:
    """Seconds of each (method, attribute), attribute "" where a method has none.

    The control model is fitted once for all that read it and timed apart, as CONTROL.

    Args:
        mined: what the run found, by method and attribute; what failed there is not tried again.
        dataset: that the data was read of; learned methods read more of it, which is not timed.
    """
    limit_threads(1)
    found: dict[Name, float] = {}
    jobs = timed_jobs(mining, mined)
    with Progress(f"time {samples:,}", len(jobs), "directions") as progress:
        control = None
        if any(with_control(method) for method, _ in jobs):
            found[CONTROL], control = _timed(lambda: _control(data, mining))
        for method, attribute in jobs:
            config = make_config(method, mining.methods[method], mining.seed)
            work = functools.partial(mine_one, data, method, attribute, config, control)
            if method in LEARNED_METHODS:
                rows = read_rows(dataset, data, method, config, mining)
                about = dict(dataset.manifest.generator)
                told = Training(method, config, "", None, 0.0, about)
                work = functools.partial(learn_here, rows, told)
            found[method, attribute], _ = _timed(work)
            progress.advance(1)
    return found


def timed_jobs(mining: MiningSettings, mined: Collection[Name]) -> list[Name]:
    """Method and attribute of what the run found, in the order of the settings."""
    methods = [method for method in mining.methods if any(method == name for name, _ in mined)]
    return [
        (method, attribute)
        for method in methods
        for attribute in (mining.attributes if method in SUPERVISED_METHODS else [""])
        if not attribute or (method, attribute) in mined
    ]


def _control(data: MiningData, mining: MiningSettings) -> Any:
    from mining.methods.control import fit_control
    from mining.methods.row_parts import usable_rows

    rows = usable_rows(data.landmarks)
    shape, regressor = control_configs(mining)
    points = data.landmarks[rows].astype(np.float64)
    return fit_control(data.latents[rows], points, shape, regressor)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made
