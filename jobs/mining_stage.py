"""Mining as Ray tasks: one control model, then one task per method and attribute."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.progress import Progress
from mining.methods.base import Direction
from mining.methods.registry import CONFIGS, CONTROL_METHODS, SCORE_METHODS
from mining.threads import limit_threads
from schemas.errors import InputError, RunError
from schemas.registry import build, fitted_options, load, unknown
from schemas.samples import Field
from schemas.settings import MiningSettings
from storage.dataset import Dataset, attribute_fields
from storage.manifest import Manifest


@dataclass(frozen=True)
class MiningData:
    """What all miners read, in rows of the dataset."""

    latents: NDArray[np.float32]  # (N, D): w, or W+ with its rows laid end to end
    space: str  # "w" or "w+"
    shape: tuple[int, ...]  # of a direction: (w_dim,) or (num_ws, w_dim)
    scores: Mapping[str, NDArray[np.float64]]  # attribute -> (N,), NaN where unmeasured
    fields: Mapping[str, Field]  # attribute -> its column
    landmarks: NDArray[np.float32]  # (N, L, 2), NaN where unmeasured


@dataclass(frozen=True)
class Mined:
    """Everything that mining found."""

    directions: tuple[Direction, ...]
    settings: Mapping[str, str]  # method -> JSON of all its settings
    control: Any | None  # ControlModel, where a method needed one
    failures: Mapping[str, str]  # "method attribute" -> why


def check_mining(mining: MiningSettings, manifest: Manifest) -> None:
    """Refuse what cannot be mined from this dataset, before any work.

    Raises:
        InputError: an attribute, method, option or landmark column is unknown.
    """
    known = attribute_fields(manifest)
    for attribute in mining.attributes:
        if attribute not in known:
            raise unknown("attribute", attribute, known)
    for method, options in mining.methods.items():
        if method not in {**SCORE_METHODS, **CONTROL_METHODS}:
            raise unknown("method", method, {**SCORE_METHODS, **CONTROL_METHODS})
        make_config(method, options, mining.seed)
    columns = {field.name: field for field in manifest.fields}
    if needs_control(mining):
        control_configs(mining)
        if mining.landmarks not in columns:
            raise unknown("landmark column", mining.landmarks, columns)
        if len(columns[mining.landmarks].shape) != 2:
            raise InputError(
                f"mining.landmarks {mining.landmarks!r} has shape "
                f"{columns[mining.landmarks].shape}; expected (L, 2)."
            )


def needs_control(mining: MiningSettings) -> bool:
    """Whether a chosen method needs the shape model and the regressor."""
    return any(method in CONTROL_METHODS for method in mining.methods)


def make_config(name: str, options: Mapping[str, Any], seed: int) -> Any:
    """A method's frozen settings; the run's seed where it takes one and none is given."""
    fields = {field.name for field in dataclasses.fields(load("method", name, CONFIGS))}
    return build("method", name, CONFIGS, _seeded(fields, options, seed))


def control_configs(mining: MiningSettings) -> tuple[Any, Any]:
    """The settings of the shape model and of the regressor; `preset` names a set to start from."""
    from mining.methods.nrsfm import NrsfmConfig
    from mining.methods.regressor import PRESETS, RegressorConfig

    shape = NrsfmConfig(**fitted_options("mining.nrsfm", NrsfmConfig, mining.nrsfm))
    options = dict(mining.regressor)
    preset = options.pop("preset", "default")
    if preset not in PRESETS:
        raise unknown("regressor preset", str(preset), PRESETS)
    fields = {field.name for field in dataclasses.fields(RegressorConfig)}
    seeded = _seeded(fields, options, mining.seed)
    fitted = fitted_options("mining.regressor", RegressorConfig, seeded)
    return shape, dataclasses.replace(PRESETS[preset], **fitted)


def _seeded(fields: set[str], options: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    return {"seed": seed, **options} if "seed" in fields else options


def read_data(dataset: Dataset, mining: MiningSettings) -> MiningData:
    """Read what the miners need from the finished shards."""
    tied = "w_plus" not in {field.name for field in dataset.manifest.fields}
    column = "w" if tied else "w_plus"
    known = dataset.attributes()
    wanted = {name: known[name] for name in mining.attributes}
    names = [column, *(field.name for field in wanted.values())]
    if needs_control(mining):
        names.append(mining.landmarks)
    arrays = dataset.arrays(list(dict.fromkeys(names)))
    latents = arrays[column]
    return MiningData(
        latents.reshape(len(latents), -1),
        "w" if tied else "w+",
        latents.shape[1:],
        {name: arrays[field.name].astype(np.float64) for name, field in wanted.items()},
        wanted,
        arrays.get(mining.landmarks, np.empty((len(latents), 0, 2), np.float32)),
    )


def mine(data: MiningData, mining: MiningSettings) -> Mined:
    """Run every method on every attribute, on the running Ray.

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
    control, control_ref, failures = None, None, {}
    if needs_control(mining):
        control, control_ref, failures = _control(stored, mining)
    jobs = {
        run.remote(stored, method, attribute, config, control_ref): (method, attribute)
        for method, config in configs.items()
        if method in SCORE_METHODS or control_ref is not None
        for attribute in mining.attributes
    }
    found: dict[tuple[str, str], Direction] = {}
    waiting = list(jobs)
    with Progress("mine", len(jobs), "directions") as progress:
        while waiting:
            (ready,), waiting = ray.wait(waiting, num_returns=1)
            method, attribute = jobs[ready]
            try:
                with plain_errors(f"{method} {attribute}"):
                    found[method, attribute] = ray.get(ready)
                progress.advance(1)
            except InputError as error:
                failures[f"{method} {attribute}"] = str(error)
                progress.advance(1, {"failed": 1})
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise RunError(f"mining found no direction. {reasons}")
    ordered = tuple(found[key] for key in jobs.values() if key in found)
    settings = {
        method: _settings_json(method, config, mining) for method, config in configs.items()
    }
    return Mined(ordered, settings, control, failures)


def _control(stored: Any, mining: MiningSettings) -> tuple[Any, Any, dict[str, str]]:
    """The control model, its reference for the tasks, and why there is none."""
    import ray

    nrsfm, regressor = control_configs(mining)
    with Progress("control", 1, "models") as progress:
        try:
            with plain_errors("nrsfm and regressor"):
                reference = ray.remote(num_cpus=1)(_fit_control).remote(stored, nrsfm, regressor)
                control = ray.get(reference)
        except InputError as error:
            failed = [method for method in mining.methods if method in CONTROL_METHODS]
            return None, None, {f"{' and '.join(failed)} (control model)": str(error)}
        progress.advance(1)
    return control, reference, {}


def _fit_control(data: MiningData, nrsfm: Any, regressor: Any) -> Any:
    from mining.methods.control import fit_control

    limit_threads(1)
    rows = np.isfinite(data.landmarks).all(axis=(1, 2))
    latents, landmarks = (np.asarray(x[rows], np.float64) for x in (data.latents, data.landmarks))
    return fit_control(latents, landmarks, nrsfm, regressor)


def _mine_one(
    data: MiningData, method: str, attribute: str, config: Any, control: Any
) -> Direction:
    limit_threads(1)
    scores = data.scores[attribute]
    rows = np.isfinite(scores)
    pairs = (data.latents[rows].astype(np.float64), scores[rows])
    if method in SCORE_METHODS:
        direction = load("method", method, SCORE_METHODS)(*pairs, config)
    else:
        direction = load("method", method, CONTROL_METHODS)(control, *pairs, config)
    return dataclasses.replace(
        direction,
        attribute=attribute,
        unit=data.fields[attribute].unit,
        space=data.space,
        vector=np.asarray(direction.vector, np.float64).reshape(data.shape),
    )


def _settings_json(method: str, config: Any, mining: MiningSettings) -> str:
    settings = {"method": dataclasses.asdict(config)}
    if method in CONTROL_METHODS:
        shape, regressor = control_configs(mining)
        settings |= {"shape": dataclasses.asdict(shape), "regressor": dataclasses.asdict(regressor)}
    return json.dumps(settings, sort_keys=True)
