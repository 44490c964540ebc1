"""The names under which measurements are kept: everything that decides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.results_cache import computed_by, digest, key_of
from mining.extractors.registry import EXTRACTORS, unmarked
from mining.generators.registry import GENERATORS
from mining.labels import Label
from mining.methods.base import Direction
from schemas.registry import Registry
from schemas.settings import EvaluationSettings
from storage.manifest import Manifest

STAGE = "jobs.evaluation_stage"
ROWS = ("samples", "shard_size")  # settings of a dataset that no held-out identity hangs on


class EvaluationKeys:
    """Names the unedited images' measurements, and those along each direction."""

    def __init__(
        self, manifest: Manifest, settings: EvaluationSettings, labels: Mapping[str, Label]
    ):
        sampled = {name: said for name, said in manifest.settings.items() if name not in ROWS}
        about = [manifest.generator, *manifest.extractors]
        asked = settings.model_dump(exclude={"bootstrap"})  # which is drawn later
        told = sorted((name, made.expression.text, made.unit) for name, made in labels.items())
        modules = [STAGE, module_of(manifest.generator["load"], GENERATORS)]
        modules += [module_of(one["load"], EXTRACTORS) for one in manifest.extractors]
        self._parts = [sampled, [dict(one) for one in about], asked, told]
        self._parts.append(computed_by(manifest, modules))

    @property
    def bases(self) -> str:
        """Of the unedited images."""
        return key_of("bases", *self._parts)

    def rescored(self, direction: Direction, sigma: float) -> str:
        """Of the images edited along one direction, whatever it was mined by or for."""
        moved = [digest(direction.vector), list(direction.layers), sigma]
        if direction.artefact:  # whose file decides the edits, and for each attribute others
            moved += [direction.artefact, direction.attribute]
        return key_of("rescored", *self._parts, moved)


def module_of(name: str, registry: Registry) -> str:
    """The module of what a registry, or a "module:attribute" of one's own, names."""
    plain: Any = unmarked(name)
    target, _ = registry.get(plain, (plain, ""))
    return target.partition(":")[0]
