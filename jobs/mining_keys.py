"""The names under which mined results are kept: everything that decides them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from jobs.mining_data import MiningData
from jobs.results_cache import computed_by, digest, key_of
from mining.methods.base import Direction
from mining.methods.registry import METHODS, SUPERVISED_METHODS, WEIGHT_METHODS, needs_control
from storage.manifest import Manifest

TASK, CONTROL, STABILITY = "jobs.mining_task", "jobs.control_stage", "jobs.stability_task"


class MiningKeys:
    """Names results by the numbers that were read, not by where they lay.

    Args:
        control: digest of the control model, where there is one.
    """

    def __init__(self, data: MiningData, manifest: Manifest, control: str = ""):
        self._data, self._manifest, self._control = data, manifest, control

    def direction(self, method: str, attribute: str, config: Any) -> str:
        """Of what one method finds for one attribute."""
        return key_of("directions", *self._parts(method, attribute, config, TASK))

    def stability(self, direction: Direction, config: Any, plan: Any, control: Any = None) -> str:
        """Of how one direction holds under other rows and seeds.

        Args:
            control: settings of the control model that is fitted again, where one is.
        """
        parts = self._parts(direction.method, direction.attribute, config, STABILITY)
        again = None if control is None else [control, digest(self._data.landmarks)]
        told = [digest(direction.vector), dataclasses.asdict(plan), again]
        return key_of("stability", *parts, *told)

    def control(self, settings: Any) -> str:
        """Of the control model and of what was checked about it.

        Args:
            settings: everything that it is fitted with, as plain JSON.
        """
        read = [self._latents, digest(self._data.landmarks)]
        shards = self._manifest.dataset_id  # sums go shard by shard
        return key_of("control", settings, read, shards, computed_by(self._manifest, [CONTROL]))

    def _parts(self, method: str, attribute: str, config: Any, task: str) -> list[Any]:
        module = METHODS[method][0]
        return [
            [module, attribute, dataclasses.asdict(config)],
            self._read(method, attribute),
            computed_by(self._manifest, [module.partition(":")[0], task]),
        ]

    def _read(self, method: str, attribute: str) -> list[Any]:
        """Digests of what a method reads."""
        data = self._data
        if method in WEIGHT_METHODS:
            return [{name: digest(part) for name, part in data.weights.items()}, dict(data.rows)]
        read = [self._latents, self._control if needs_control(method) else ""]
        if method not in SUPERVISED_METHODS:
            return read
        return [*read, digest(data.scores[attribute]), data.fields[attribute].unit]

    @functools.cached_property
    def _latents(self) -> list[Any]:
        data = self._data
        return [digest(data.latents), data.space, list(data.shape)]


def control_digest(control: Any) -> str:
    """SHA-256 of a control model as its file has it, codes included; "" for none."""
    if control is None:
        return ""
    from mining.methods.control_file import control_bytes

    stored = np.frombuffer(control_bytes(control), np.uint8)
    return key_of("control model", digest(stored), digest(control.shape.codes))
