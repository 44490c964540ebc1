"""Which generator a word names: a run's, one of the registry, or a checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.description import as_generator
from jobs.latent_moments import Mapper
from mining.generators.base import Generator
from mining.generators.registry import GENERATORS, make_generator
from mining.latents import check_conditional
from schemas.errors import InputError
from schemas.registry import is_own
from schemas.settings import EngineSettings
from storage.dataset import Dataset
from storage.files import Store, absolute

WHO = "lode ganspace"


@dataclass(frozen=True)
class Source:
    """The generator whose W is sampled, and the dataset of the run that named it."""

    mapper: Mapper
    name: str
    licence: str
    num_ws: int
    w_dim: int
    dataset: Dataset | None = None

    def psi(self, layers: tuple[int, int] | None) -> float:
        """The truncation of a run's dataset on rows [first, last) of W+; 1 without a run."""
        if self.dataset is None:
            return 1.0
        settings = self.dataset.manifest.settings
        cutoff = settings["cutoff"]
        untouched = cutoff is not None and layers is not None and layers[0] >= cutoff
        return 1.0 if untouched else float(settings["psi"])


def open_source(name: str, options: Mapping[str, Any], engine: EngineSettings) -> Source:
    """The generator that a word names: of a run or a dataset, of the registry, or a checkpoint.

    Args:
        name: a run's or a dataset's folder or URL; a name of the registry or "module:Class"; or a
            checkpoint's file, URL or public name.
        options: of the generator; a run has its own.

    Raises:
        InputError: it is none of them, or the generator cannot be loaded with these options.
    """
    registered = name in GENERATORS or (is_own(name) and "://" not in name)
    dataset = None if registered else _dataset(name)
    if dataset is not None:
        if options:
            raise InputError(
                f"{WHO}: --set {next(iter(options))} came with {name}, which says itself how its "
                "generator is loaded; leave --set away, or name the generator."
            )
        about = dataset.manifest.generator
        found = as_generator(engine, _described, about["load"], dict(about["options"]))
        if found.mapper.fingerprint != about["fingerprint"]:
            raise InputError(
                f"{WHO}: the generator of {name} is {about['name']} "
                f"({about['fingerprint'][:16]}), the one here has fingerprint "
                f"{found.mapper.fingerprint[:16]}: other versions or weights, or another device."
            )
        return replace(found, dataset=dataset)
    if registered:
        return as_generator(engine, _described, name, dict(options))
    return as_generator(engine, _checkpoint, name, dict(options))


def _dataset(name: str) -> Dataset | None:
    """The dataset of a run's or a dataset's folder or URL; None where there is none."""
    url = absolute(name).rstrip("/")
    if Path(url).is_file():
        return None
    for place in (f"{url}/dataset", url):
        if Store(place).exists("manifest.json"):
            return Dataset(place)
    return None


def _described(load: str, options: dict[str, Any]) -> Source:
    return _source(make_generator(load, **options), load, options)


def _checkpoint(name: str, options: dict[str, Any]) -> Source:
    """Of a checkpoint, whose architecture is the generator's name."""
    from mining.generators.checkpoints.known import KNOWN
    from mining.generators.checkpoints.loading import read_checkpoint

    if name not in KNOWN and "://" not in name and not Path(name).is_file():
        raise InputError(
            f"{WHO}: {name!r} is no run or dataset, no generator ({', '.join(GENERATORS)}, or "
            "module:Class) and no checkpoint's file, URL or public name. Runs are named by their "
            "--out."
        )
    place = str(Path(name).resolve()) if Path(name).is_file() else name
    found = read_checkpoint(place, sha256=options.get("sha256"))
    return _described(found.architecture, {"checkpoint": place, **options})


def _source(generator: Generator, load: str, options: Mapping[str, Any]) -> Source:
    check_conditional(generator)
    mapper = Mapper(load, generator.fingerprint(), options)
    return Source(mapper, generator.name, generator.licence, generator.num_ws, generator.w_dim)
