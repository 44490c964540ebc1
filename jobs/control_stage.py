"""The control model of a run: the shape model over shards, then the regressor in one Ray task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.factorising import factorise, landmark_parts
from jobs.mining_data import MiningData
from jobs.mining_keys import MiningKeys
from jobs.mining_task import unmeasured
from jobs.progress import Progress
from jobs.results_cache import CACHED, ResultsCache
from jobs.tasks import FAILED
from mining.methods.registry import needs_control
from mining.threads import limit_threads
from schemas.errors import InputError, LodeError
from schemas.registry import fitted_options, unknown
from schemas.settings import MiningSettings
from storage.dataset import Dataset


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
    given = seeded(fields, options, mining.seed)
    fitted = fitted_options("mining.regressor", RegressorConfig, given)
    return shape, dataclasses.replace(PRESETS[preset], **fitted)


HALVED = 3000  # rows that are split in halves, at most


@dataclasses.dataclass(frozen=True)
class ShapeChecks:
    """What the report says of how far the shape model can be trusted."""

    curve: Any | None  # ComponentCurve; None where there are too few rows
    halves: tuple[float, ...]  # degrees between the bases of two halves; () where rows are too few
    unseen: NDArray[np.int64]  # rows of the dataset that the regressor held out


def control_model(
    data: MiningData,
    stored: Callable[[], Any],
    mining: MiningSettings,
    dataset: Dataset,
    cache: ResultsCache,
) -> tuple[Any, ShapeChecks | None, dict[str, str]]:
    """The control model and its `ShapeChecks`, or why there is none; kept ones where there are.

    Args:
        stored: gives the reference to `data` in Ray's object store.
    """
    configs = control_configs(mining)
    about = dataset.manifest.generator
    facts = {name: about[name] for name in ("fingerprint", "licence")}
    facts["generator"] = about["name"]
    told = [*map(dataclasses.asdict, configs), facts, mining.seed, HALVED]
    key = MiningKeys(data, dataset.manifest).control(told)
    with Progress("control", 1, "models") as progress:
        kept = _kept(cache, key)
        if kept is not None:
            progress.advance(1, {CACHED: 1})
            return *kept, {}
        parts = landmark_parts(dataset, mining.landmarks)
        try:
            control, checks = _fit_on_ray(stored(), parts, configs, facts, mining.seed)
        except FAILED as error:
            failed = [method for method in mining.methods if needs_control(method)]
            return None, None, {f"{' and '.join(failed)} (control model)": str(error)}
        progress.advance(1)
    _keep(cache, key, control, checks)
    return control, checks, {}


def _fit_on_ray(
    stored: Any, parts: Any, configs: tuple[Any, Any], facts: Mapping[str, str], seed: int
) -> tuple[Any, ShapeChecks]:
    """Fit and check on the running Ray."""
    import ray

    curve = ray.remote(num_cpus=1)(_choice).remote(stored, seed)
    halves = ray.remote(num_cpus=1)(_halves).remote(stored, configs[0], seed)
    fit = ray.remote(num_cpus=1, num_returns=2)(_fit)
    made: Any = fit.remote(stored, parts, *configs, facts)
    with plain_errors("nrsfm and regressor"):
        control, unseen = ray.get(made)
    with plain_errors("the checks of the shape model"):
        return control, ShapeChecks(ray.get(curve), ray.get(halves), unseen)


def _keep(cache: ResultsCache, key: str, control: Any, checks: ShapeChecks) -> None:
    """The control model as its file has it, with the codes that its file leaves behind."""
    from mining.methods.control_file import control_bytes

    content = {"control": control_bytes(control), "codes": control.shape.codes, "checks": checks}
    cache.put(key, content)


def _kept(cache: ResultsCache, key: str) -> tuple[Any, ShapeChecks] | None:
    from mining.methods.choice import ComponentCurve
    from mining.methods.control_file import control_of

    kinds = {"ShapeChecks": ShapeChecks, "ComponentCurve": ComponentCurve}
    found = cache.get(key, kinds, _is_control)
    if found is None:
        return None
    control = control_of(found["control"], "the kept control model")
    shape = dataclasses.replace(control.shape, codes=found["codes"])
    return dataclasses.replace(control, shape=shape), found["checks"]


def _is_control(found: Any) -> bool:
    """Whether a kept value is what `_keep` writes."""
    from mining.methods.control_file import control_of

    if not isinstance(found, dict) or not isinstance(found.get("checks"), ShapeChecks):
        return False
    data, codes = found.get("control"), found.get("codes")
    if not isinstance(data, bytes) or not isinstance(codes, np.ndarray):
        return False
    try:
        return codes.shape[1:] == control_of(data, "").regressor.mean.shape
    except LodeError:
        return False


def _fit(
    data: MiningData, parts: Any, nrsfm: Any, regressor: Any, facts: Mapping[str, str]
) -> tuple[Any, NDArray[np.int64]]:
    """The control model, and the rows of the dataset that its regressor did not train on."""
    from mining.methods.control import fit_control
    from mining.methods.regressor import held_out_rows
    from mining.methods.row_parts import usable_rows

    limit_threads(1)
    rows = usable_rows(data.landmarks)
    if not rows.any():
        raise unmeasured("landmarks were", len(data.landmarks))
    found = factorise(parts, nrsfm)
    codes = np.concatenate(list(found.codes))
    known = np.isfinite(codes).all(axis=1)  # not so where a robust fit leaves too little of a row
    rows[rows] = known
    latents, landmarks, codes = data.latents[rows], data.landmarks[rows], codes[known]
    control = fit_control(
        latents,
        landmarks,
        nrsfm,
        regressor,
        space=data.space,
        latent_shape=data.shape,
        shape=dataclasses.replace(found.model, codes=codes),
        **facts,
    )
    unseen = held_out_rows(latents, codes, landmarks, regressor)
    return control, np.flatnonzero(rows)[unseen]


def _choice(data: MiningData, seed: int) -> Any:
    """How residuals fall with K; None where there are too few rows to say."""
    from mining.methods.choice import ChoiceConfig, choose_components
    from mining.methods.row_parts import usable_rows

    limit_threads(1)
    config, rows = ChoiceConfig(), np.flatnonzero(usable_rows(data.landmarks))
    if len(rows) > config.rows:  # drawn here, so that no copy of all landmarks is made
        rows = np.random.default_rng(seed).choice(rows, config.rows, replace=False)
    try:
        landmarks = np.asarray(data.landmarks[rows], np.float64)
        return choose_components(landmarks, config=config, seed=seed)
    except InputError:
        return None


def _halves(data: MiningData, nrsfm: Any, seed: int) -> tuple[float, ...]:
    """Principal angles between the bases of two halves, in degrees; none where rows are too few."""
    from mining.methods.halves import half_agreement
    from mining.methods.row_parts import usable_rows

    limit_threads(1)
    rows = np.flatnonzero(usable_rows(data.landmarks))
    if len(rows) > HALVED:
        rows = np.random.default_rng(seed).choice(rows, HALVED, replace=False)
    try:
        found = half_agreement(np.asarray(data.landmarks[rows], np.float64), nrsfm, seed)
    except InputError:
        return ()
    return tuple(float(angle) for angle in found.basis)


def seeded(fields: set[str], options: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    """The options, with the run's seed where the settings take one."""
    return {"seed": seed, **options} if "seed" in fields else options
