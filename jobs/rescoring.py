"""`lode rescore`: edit held-out images along every direction on Ray, measure, compare, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import ray_session
from jobs.description import as_generator
from jobs.parents import open_whole
from jobs.placement import check_placement, mining_needs
from jobs.rescoring_images import Measuring
from jobs.rescoring_plan import EFFECT, Found, Plan, RescoreSettings, Task, make_plan
from jobs.rescoring_store import claim
from jobs.rescoring_tasks import Rescorer
from jobs.versions import code_version, package_versions
from mining.evaluation.edit_scores import Edited, compare_edits
from mining.evaluation.edit_scores_text import Rescoring, as_csv, as_json, as_markdown
from mining.evaluation.rescoring import Bases
from mining.labels import Label
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.settings import EngineSettings
from storage.catalog import Catalog
from storage.dataset import image_size
from storage.files import Store, absolute

Array = NDArray[np.float64]

TABLES = ("rescore.json", "rescore.csv", "rescore.md")


def rescore_directions(
    dataset_url: str,
    cards: Sequence[DirectionCard],
    target: Store,
    settings: RescoreSettings,
    engine: EngineSettings,
    labels: Mapping[str, Label] | None = None,
) -> Rescoring:
    """Edit the same held-out images along every direction, measure them, and write the tables.

    Image k depends on the seed and k alone, so results do not depend on the number of workers.
    What is measured of a direction is kept under the target; a later call measures only what is
    missing, be it more directions or another kind of edit.

    Args:
        dataset_url: what the directions were mined from; its generator and extractors are used.
        target: takes rescore.json, rescore.csv, rescore.md, and edits/.
        labels: those of the whole catalogue, so that its other directions can be added later; of
            `cards` for None.

    Raises:
        InputError: nothing can be tried, or the generator or a model is not to be found.
        ConflictError: the target holds edits that were made in another way.
        RunError: a worker failed, or the generator is another here.
    """
    plan = make_plan(open_whole(dataset_url), cards, settings, labels)
    manifest = plan.dataset.manifest
    as_generator(engine, _check_loads, manifest.content, settings.seed)
    claim(target, _identity(plan, settings))
    with ray_session(engine):
        check_placement(mining_needs(engine)[1:], engine)
        found = Measuring(plan, target, settings, engine).run()
    result = _compared(plan, settings, *found)
    _write(target, result)
    return result


def open_catalog(
    place: str, catalog: str | None = None, dataset: str | None = None
) -> tuple[str, Catalog]:
    """The dataset's URL and the catalogue of a run, or of a catalogue and a dataset.

    Args:
        place: a run's folder or URL, or a catalogue's; then `dataset` must be named.
        catalog, dataset: where a run's own are not meant.

    Raises:
        InputError: there is no run, or no dataset was named with a catalogue.
    """
    url = absolute(place).rstrip("/")
    store = Store(url)
    if store.exists("_delta_log"):
        if dataset is None:
            raise InputError(
                f"rescore: {url} is a catalogue; expected --dataset too: the dataset whose "
                "generator and extractors edit and measure."
            )
        return absolute(dataset), Catalog(absolute(catalog) if catalog else url)
    if dataset is None and not store.exists("dataset/manifest.json"):
        dataset = _dataset_of(store)
    found = absolute(dataset) if dataset else f"{url}/dataset"
    return found, Catalog(absolute(catalog) if catalog else f"{url}/catalog")


def _dataset_of(run: Store) -> str:
    """The dataset that a run was told to mine."""
    from jobs.report.data import ReportData
    from jobs.report.files import NUMBERS

    if run.exists(f"results/{NUMBERS}"):
        return ReportData.load(f"{run.url}/results").dataset.url
    state = "holds no finished run" if run.exists() else "does not exist"
    raise InputError(
        f"rescore: {run.url} {state}; expected the --out of a `lode mine` run, or a catalogue "
        "with --dataset."
    )


def _check_loads(content: Mapping[str, Any], seed: int) -> None:
    """Load once what the workers will load, so that what is missing is told before any work."""
    Rescorer(content, seed)


def _identity(plan: Plan, settings: RescoreSettings) -> dict[str, Any]:
    """What all edits of one folder have in common."""
    manifest = plan.dataset.manifest
    made = {item["name"]: item["fingerprint"] for item in manifest.extractors}
    return {
        "generator": manifest.generator["fingerprint"],
        "extractors": made,
        "dataset": plan.dataset.dataset_id,
        "image size": image_size(manifest),
        "labels": {name: label.expression.text for name, label in plan.labels.items()},
        "number of edits": settings.edits,
        "seed": settings.seed,
        "version and packages": {"latentlode": code_version(), **package_versions(manifest)},
    }


def _compared(
    plan: Plan, settings: RescoreSettings, bases: Sequence[Bases], done: Sequence[Found]
) -> Rescoring:
    """The tables of what was measured."""
    columns = [bases[0].pairs.index(pair) for pair in plan.pairs.values()]
    before = np.concatenate([some.measured.values for some in bases])[:, columns]
    names = tuple(plan.pairs)
    kinds, titles = {}, {}
    for kind, amount in settings.kinds.items():
        edited = [
            _edited(task, found, found.values[:, columns] - before)
            for task, found in zip(plan.tasks, done, strict=True)
            if task.kind == kind
        ]
        if edited:
            titles[kind] = _title(kind, amount)
            kinds[kind] = compare_edits(
                edited,
                names,
                [plan.units[name] for name in names],
                [plan.spreads.get(name, np.nan) for name in names],
                settings.bootstrap,
                settings.seed,
            )
    return Rescoring(_facts(plan, settings, len(before)), kinds, titles, plan.skipped)


def _edited(task: Task, found: Found, changes: Array) -> Edited:
    return Edited(
        task.card.direction_id,
        task.name,
        task.card.method,
        task.attribute,
        found.step,
        task.sigma,
        changes,
        1.0 - found.cosines,
        task.ranked,
        task.aimed,
    )


def _title(kind: str, amount: float) -> str:
    """What every edit was, in words."""
    if kind == EFFECT:
        return f"At equal effect: edits of {amount:g} population spreads of the own attribute"
    return f"Edits of {amount:g} sigma: standard deviations of the latents along the direction"


def _facts(plan: Plan, settings: RescoreSettings, images: int) -> dict[str, Any]:
    """What has to be said beside the numbers."""
    manifest = plan.dataset.manifest
    return {
        "generator": f"{manifest.generator['name']} {manifest.generator['fingerprint'][:12]}",
        "dataset": plan.dataset.dataset_id,
        "edits": f"{images:,} held-out images, each edited once along every direction",
        "seed": settings.seed,
        "bootstrap": settings.bootstrap,
        "measured by": ", ".join(item["name"] for item in manifest.extractors),
        "without a spread": ", ".join(
            name for name in plan.pairs if not plan.spreads.get(name, np.nan) > 0
        ),
    }


def _write(store: Store, found: Rescoring) -> None:
    text = json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False)
    made = dict(zip(TABLES, (text, as_csv(found), as_markdown(found)), strict=True))
    for name, content in made.items():
        store.replace(name, content.encode())
