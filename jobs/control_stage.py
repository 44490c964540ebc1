"""The control model of a run: the shape model over shards, then the regressor in one Ray task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.factorising import factorise, landmark_parts
from jobs.mining_data import MiningData
from jobs.progress import Progress
from mining.methods.registry import UNSUPERVISED_METHODS, needs_control
from mining.threads import limit_threads
from schemas.errors import InputError
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


def fit_on_ray(
    stored: Any, mining: MiningSettings, dataset: Dataset
) -> tuple[Any, Any, Any, dict[str, str]]:
    """The control model, its reference for tasks, its `ShapeChecks`, or why there is none.

    Args:
        stored: reference to the `MiningData` of the dataset.
    """
    import ray

    configs = control_configs(mining)
    parts = landmark_parts(dataset, mining.landmarks)
    about = dataset.manifest.generator
    facts = {name: about[name] for name in ("fingerprint", "licence")}
    facts["generator"] = about["name"]
    with Progress("control", 1, "models") as progress:
        try:
            with plain_errors("nrsfm and regressor"):
                curve = ray.remote(num_cpus=1)(_choice).remote(stored, mining.seed)
                halves = ray.remote(num_cpus=1)(_halves).remote(stored, configs[0], mining.seed)
                fit = ray.remote(num_cpus=1, num_returns=2)(_fit)
                made: Any = fit.remote(stored, parts, *configs, facts)
                reference, unseen = made
                control = ray.get(reference)
        except InputError as error:
            failed = [method for method in mining.methods if needs_control(method)]
            return None, None, None, {f"{' and '.join(failed)} (control model)": str(error)}
        progress.advance(1)
        with plain_errors("the checks of the shape model"):
            checks = ShapeChecks(ray.get(curve), ray.get(halves), ray.get(unseen))
            return control, reference, checks, {}


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


def unmeasured(what: str, rows: int) -> InputError:
    """The error for a dataset in which nothing was measured."""
    return InputError(
        f"{what} measured on none of {rows:,} images; see the extractors' statuses. "
        f"{' and '.join(UNSUPERVISED_METHODS)} need no measurements."
    )
