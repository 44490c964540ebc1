"""Mining as Ray tasks: one control model, then one task per method and attribute.

Methods without scores are one task each: they read latents, weights or the control model, and no
attribute.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.control_stage import control_configs, control_model, seeded
from jobs.learned_checks import check_learned, learned_config
from jobs.learned_stage import learn_all
from jobs.mining_data import MiningData, labels_of, mined_attributes, needs_control
from jobs.mining_keys import MiningKeys, control_digest
from jobs.mining_task import mine_one
from jobs.progress import Progress
from jobs.results_cache import CACHED, ResultsCache
from jobs.tasks import FAILED, finished
from mining.evaluation.stability import Stability
from mining.labels import check_labels, with_labels
from mining.methods.base import Direction
from mining.methods.camera import component_names
from mining.methods.learned import Learned
from mining.methods.registry import (
    CODE_METHODS,
    CONFIGS,
    LEARNED_METHODS,
    METHODS,
    SUPERVISED_METHODS,
    UNSUPERVISED_METHODS,
)
from mining.methods.registry import needs_control as with_control
from mining.stored import latent_column
from schemas.errors import InputError, RunError
from schemas.registry import build, load, unknown
from schemas.settings import EngineSettings, MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest

Name = tuple[str, str]  # method, attribute; "" for what reads none
KINDS = {"Direction": Direction}


@dataclass(frozen=True)
class Mined:
    """Everything that mining found."""

    directions: tuple[Direction, ...]
    settings: Mapping[str, str]  # method -> JSON of all its settings
    control: Any | None  # ControlModel, where a method needed one
    failures: Mapping[str, str]  # "method attribute", or "method" alone -> why
    checks: Any | None = None  # ShapeChecks, where there is a control model
    skipped: Mapping[str, str] = field(default_factory=dict)  # method that cannot be run -> why
    stability: Mapping[Name, Stability] = field(default_factory=dict)  # of what was mined again
    learned: Mapping[str, Learned] = field(default_factory=dict)  # learned method -> what it found


def check_mining(mining: MiningSettings, manifest: Manifest) -> None:
    """Refuse what cannot be mined from this dataset, before any work.

    Raises:
        InputError: an attribute, method, option or landmark column is unknown, or a method asks
            for more than the generator has.
    """
    latent_column(manifest)
    labels = labels_of(mining)
    check_labels(labels, manifest)
    known = with_labels(manifest, labels)
    for attribute in mined_attributes(mining):
        if attribute not in known:
            raise _unknown_attribute(attribute, known, mining)
    for method, options in mining.methods.items():
        if method not in METHODS:
            raise unknown("method", method, METHODS)
        config = make_config(method, options, mining.seed)
        if method in UNSUPERVISED_METHODS:
            _check_unsupervised(method, config, manifest)
        if method in CODE_METHODS:
            _check_codes(config, mining)
        if method in LEARNED_METHODS:
            check_learned(method, config, mining, manifest)
    columns = {field.name: field for field in manifest.fields}
    if needs_control(mining):
        control_configs(mining)
        if mining.landmarks not in columns:
            raise unknown("landmark column", mining.landmarks, columns)
        shape = columns[mining.landmarks].shape
        if len(shape) != 2 or shape[1] != 2:
            raise InputError(
                f"mining.landmarks {mining.landmarks!r} has shape {shape}; expected (L, 2)."
            )


def _unknown_attribute(
    attribute: str, known: Mapping[str, Any], mining: MiningSettings
) -> InputError:
    """The error for what no extractor measures, and whether anybody asked for it."""
    error = unknown("attribute", attribute, known)
    if mining.attributes != MiningSettings.model_fields["attributes"].default:
        return error
    return InputError(
        f"{error} It stands in the default of mining.attributes: name there what the extractors "
        "measure, or add one that measures it."
    )


def _check_unsupervised(method: str, config: Any, manifest: Manifest) -> None:
    """Refuse rows of W+ and more components than the generator has."""
    about = manifest.generator
    last = config.layers[1] if config.layers else 0
    if last > about["num_ws"]:
        raise InputError(
            f"{method}: layers {list(config.layers)} came; {about['name']} has {about['num_ws']} "
            "rows of W+."
        )
    if config.components > about["w_dim"]:
        raise InputError(
            f"{method}: components is {config.components}; W has {about['w_dim']} numbers."
        )


def _check_codes(config: Any, mining: MiningSettings) -> None:
    """Refuse codes that the shape model will not have."""
    shape, _ = control_configs(mining)
    names = component_names(shape.components)
    for code in config.codes:
        if code not in names:
            raise unknown("code", code, names)


def make_config(name: str, options: Mapping[str, Any], seed: int) -> Any:
    """A method's frozen settings; the run's seed where it takes one and none is given."""
    if name in LEARNED_METHODS:
        return learned_config(name, options, seed)
    fields = {field.name for field in dataclasses.fields(load("method", name, CONFIGS))}
    return build("method", name, CONFIGS, seeded(fields, options, seed))


def configs_of(mining: MiningSettings) -> dict[str, Any]:
    """Method -> its frozen settings."""
    methods = mining.methods.items()
    return {method: make_config(method, options, mining.seed) for method, options in methods}


def mine(
    data: MiningData,
    mining: MiningSettings,
    dataset: Dataset,
    cache: ResultsCache | None = None,
    engine: EngineSettings | None = None,
    out: str | None = None,
) -> Mined:
    """Run every method, the supervised ones on every attribute, on the running Ray.

    Args:
        data: what was read of the dataset.
        cache: what earlier runs found; without one everything is mined.
        engine: says which GPUs learned methods get; none without it.
        out: the run's folder, where learned methods keep what they need to go on; None keeps none.

    What refuses its data, or breaks, fails alone and is listed.

    Raises:
        RunError: nothing could be mined.
    """
    import ray

    cache, configs = cache or ResultsCache(), configs_of(mining)
    stored = functools.cache(lambda: ray.put(data))  # where every result is kept, nothing is sent
    control, checks, failures = None, None, {}
    if needs_control(mining):
        control, checks, failures = control_model(data, stored, mining, dataset, cache)
    keys = MiningKeys(data, dataset.manifest, control_digest(control))
    wanted = {
        (method, attribute): keys.direction(method, attribute, config)
        for method, config in configs.items()
        if method not in LEARNED_METHODS and (not with_control(method) or control is not None)
        for attribute in (mining.attributes if method in SUPERVISED_METHODS else [""])
    }
    found, lost = _found(wanted, configs, control, data, stored, cache)
    engine = engine or EngineSettings.model_validate({})
    learned = learn_all(dataset, data, mining, configs, engine, cache, out)
    failures = {**failures, **lost, **learned.failures}
    if not found and not learned.found:
        reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise RunError(f"mining found no direction. {reasons}")
    ordered = [made for name in wanted for made in found.get(name, ())]
    ordered += [made for each in learned.found.values() for made in each.directions]
    plain = {name: config for name, config in configs.items() if name not in LEARNED_METHODS}
    settings = {method: settings_json(method, config, mining) for method, config in plain.items()}
    settings |= learned.settings
    return Mined(tuple(ordered), settings, control, failures, checks, learned=learned.found)


def _found(
    wanted: Mapping[Name, str],
    configs: Mapping[str, Any],
    control: Any,
    data: MiningData,
    stored: Callable[[], Any],
    cache: ResultsCache,
) -> tuple[dict[Name, tuple[Direction, ...]], dict[str, str]]:
    """The directions of each method and attribute, kept ones where there are, and the failures.

    Args:
        wanted: method and attribute -> the key of the result.
    """
    if not wanted:
        return {}, {}
    failures: dict[str, str] = {}
    kept = {name: cache.get(key, KINDS, _fits(name, data)) for name, key in wanted.items()}
    found = {name: made for name, made in kept.items() if made is not None}
    counts = {name: _directions(*name, configs[name[0]], control) for name in wanted}
    with Progress("mine", sum(counts.values()), "directions") as progress:
        for name in found:
            progress.advance(counts[name], {CACHED: counts[name]})
        missing = [name for name in wanted if name not in found]
        for name, made in _on_ray(missing, configs, control, stored):
            if isinstance(made, FAILED):
                failures[" ".join(filter(None, name))] = str(made)
                progress.advance(counts[name], {"failed": counts[name]})
                continue
            found[name] = made
            cache.put(wanted[name], made)
            progress.advance(counts[name])
    return found, failures


def _on_ray(
    names: Sequence[Name], configs: Mapping[str, Any], control: Any, stored: Callable[[], Any]
) -> Iterator[tuple[Name, Any]]:
    """Each method and attribute with its directions, or why there are none, as tasks finish."""
    import ray

    if not names:
        return
    run = ray.remote(num_cpus=1)(mine_one)
    given = None if control is None else ray.put(control)
    jobs = {
        run.remote(stored(), method, attribute, configs[method], given): (method, attribute)
        for method, attribute in names
    }
    yield from finished(jobs)


def _fits(name: Name, data: MiningData) -> Callable[[Any], bool]:
    """Whether a kept value is directions of this method and attribute, in this dataset's space."""
    shapes = (data.shape, data.shape[-1:])

    def fits(found: Any) -> bool:
        return isinstance(found, tuple) and all(
            isinstance(made, Direction)
            and made.vector.shape in shapes
            and bool(np.isfinite(made.vector).all())
            and made.method == name[0]
            and (made.attribute == name[1] or not name[1])
            and _plain(made)
            for made in found
        )

    return fits


def _plain(made: Direction) -> bool:
    """Whether a direction's own fields are of the types that a card takes."""
    texts = (made.attribute, made.unit, made.space, *made.evidence)
    numbers = (made.slope, *made.evidence.values())
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, float | int) for number in numbers)
        and all(type(row) is int for row in made.layers)
    )


def _directions(method: str, attribute: str, config: Any, control: Any) -> int:
    """How many directions a task is going to find."""
    if attribute:
        return 1
    if method in CODE_METHODS:
        return len(config.codes or control.shape.names)
    return config.components


def settings_json(method: str, config: Any, mining: MiningSettings) -> str:
    """JSON of everything that a method was told."""
    settings = {"method": dataclasses.asdict(config)}
    if with_control(method):
        shape, regressor = control_configs(mining)
        settings |= {"shape": dataclasses.asdict(shape), "regressor": dataclasses.asdict(regressor)}
    return json.dumps(settings, sort_keys=True)
