"""Mining as Ray tasks: one control model, then one task per method and attribute.

Methods without scores are one task each: they read latents, weights or the control model, and no
attribute.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.cluster import plain_errors
from jobs.control_stage import control_configs, fit_on_ray, seeded, unmeasured
from jobs.mining_data import MiningData, labels_of, mined_attributes, needs_control
from jobs.progress import Progress
from mining.labels import check_labels, with_labels
from mining.methods.base import Direction
from mining.methods.camera import component_names
from mining.methods.registry import (
    CODE_METHODS,
    CONFIGS,
    CONTROL_METHODS,
    LATENT_METHODS,
    METHODS,
    SCORE_METHODS,
    SUPERVISED_METHODS,
    UNSUPERVISED_METHODS,
    WEIGHT_METHODS,
)
from mining.methods.registry import needs_control as with_control
from mining.stored import latent_column
from mining.threads import limit_threads
from schemas.errors import InputError, RunError
from schemas.registry import build, load, unknown
from schemas.settings import MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest


@dataclass(frozen=True)
class Mined:
    """Everything that mining found."""

    directions: tuple[Direction, ...]
    settings: Mapping[str, str]  # method -> JSON of all its settings
    control: Any | None  # ControlModel, where a method needed one
    failures: Mapping[str, str]  # "method attribute", or "method" alone -> why
    checks: Any | None = None  # ShapeChecks, where there is a control model


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
    fields = {field.name for field in dataclasses.fields(load("method", name, CONFIGS))}
    return build("method", name, CONFIGS, seeded(fields, options, seed))


def mine(data: MiningData, mining: MiningSettings, dataset: Dataset) -> Mined:
    """Run every method, the supervised ones on every attribute, on the running Ray.

    Args:
        data: what was read of the dataset.

    A method that refuses its data fails alone and is listed; a bug stops the run.

    Raises:
        RunError: nothing could be mined.
    """
    import ray

    configs = {
        method: make_config(method, options, mining.seed)
        for method, options in mining.methods.items()
    }
    stored = ray.put(data)
    run = ray.remote(num_cpus=1)(_mine_one)
    control, control_ref, checks, failures = None, None, None, {}
    if needs_control(mining):
        control, control_ref, checks, failures = fit_on_ray(stored, mining, dataset)
    jobs = {
        run.remote(stored, method, attribute, config, control_ref): (method, attribute)
        for method, config in configs.items()
        if not with_control(method) or control_ref is not None
        for attribute in (mining.attributes if method in SUPERVISED_METHODS else [""])
    }
    wanted = {
        job: 1 if attribute else _directions(method, configs[method], control)
        for job, (method, attribute) in jobs.items()
    }
    found: dict[tuple[str, str], list[Direction]] = {}
    waiting = list(jobs)
    with Progress("mine", sum(wanted.values()), "directions") as progress:
        while waiting:
            (ready,), waiting = ray.wait(waiting, num_returns=1)
            name = " ".join(filter(None, jobs[ready]))
            try:
                with plain_errors(name):
                    found[jobs[ready]] = ray.get(ready)
                progress.advance(wanted[ready])
            except InputError as error:
                failures[name] = str(error)
                progress.advance(wanted[ready], {"failed": wanted[ready]})
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise RunError(f"mining found no direction. {reasons}")
    ordered = tuple(made for key in jobs.values() for made in found.get(key, ()))
    settings = {method: settings_json(method, config, mining) for method, config in configs.items()}
    return Mined(ordered, settings, control, failures, checks)


def _directions(method: str, config: Any, control: Any) -> int:
    """How many directions a method without scores is going to find."""
    if method in CODE_METHODS:
        return len(config.codes or control.shape.names)
    return config.components


def _mine_one(
    data: MiningData, method: str, attribute: str, config: Any, control: Any
) -> list[Direction]:
    """What a method finds: one direction of the attribute, or all of its own without one."""
    limit_threads(1)
    if method in CODE_METHODS:
        found = load("method", method, CODE_METHODS)(control, data.latents, config)
        return [_placed(direction, data) for direction in found]
    if method in LATENT_METHODS:
        return load("method", method, LATENT_METHODS)(data.w, config)
    if method in WEIGHT_METHODS:
        return load("method", method, WEIGHT_METHODS)(data.weights, data.rows, config)
    scores = data.scores[attribute]
    rows = np.isfinite(scores)
    if not rows.any():
        raise unmeasured(f"{attribute} was", len(scores))
    pairs = (data.latents[rows].astype(np.float64), scores[rows])
    if method in SCORE_METHODS:
        direction = load("method", method, SCORE_METHODS)(*pairs, config)
    else:
        direction = load("method", method, CONTROL_METHODS)(control, *pairs, config)
    unit = data.fields[attribute].unit
    return [_placed(dataclasses.replace(direction, attribute=attribute, unit=unit), data)]


def _placed(direction: Direction, data: MiningData) -> Direction:
    """A direction of flat latents in the dataset's space."""
    vector = np.asarray(direction.vector, np.float64).reshape(data.shape)
    return dataclasses.replace(direction, space=data.space, vector=vector)


def settings_json(method: str, config: Any, mining: MiningSettings) -> str:
    """JSON of everything that a method was told."""
    settings = {"method": dataclasses.asdict(config)}
    if with_control(method):
        shape, regressor = control_configs(mining)
        settings |= {"shape": dataclasses.asdict(shape), "regressor": dataclasses.asdict(regressor)}
    return json.dumps(settings, sort_keys=True)
