"""`lode control table`: fit, try and measure every space on Ray, and write the table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from jobs.cluster import plain_errors, ray_session
from jobs.control_data import check_dataset
from jobs.control_table_tasks import Space, fit_shape, fit_space
from jobs.control_table_trials import TableSettings, measured_rows
from jobs.placement import check_placement, mining_needs
from jobs.progress import Progress
from mining.evaluation.control_table_edits import draw_edits
from mining.evaluation.control_table_orderings import orderings
from mining.evaluation.control_table_text import Table, as_csv, as_json, as_markdown
from mining.generators.registry import GENERATORS
from mining.methods.control import ControlModel
from mining.methods.control_file import control_bytes, load_control
from schemas.errors import ConflictError, InputError
from schemas.registry import load, unknown
from schemas.settings import EngineSettings
from storage.dataset import Dataset
from storage.files import Store, absolute
from storage.manifest import Manifest

TIED, APART = "w+ (tied rows)", "w+ (independent rows)"
FILES = ("table.json", "table.md", "table.csv")


@dataclass(frozen=True)
class Source:
    """A dataset and the rows of the table that it gives."""

    dataset: Dataset
    rows: tuple[tuple[str, str], ...]  # (space, label)

    @property
    def manifest(self) -> Manifest:
        """The dataset's."""
        return self.dataset.manifest


def make_table(
    datasets: Sequence[str],
    target: Store,
    settings: TableSettings,
    engine: EngineSettings,
    controls: Sequence[ControlModel] = (),
    fitted: str | None = None,
) -> Table:
    """Fit a control model for every space, edit fresh codes with it, measure them, write it all.

    The shape model R is fitted once, to the first dataset's landmarks, so that codes, and with
    them edits and losses, mean the same in all spaces; codes of another dataset's landmarks come
    from equation (11).

    Args:
        datasets: one sampled in w gives z, w, tied w+ and s; one sampled in w+ independent w+.
        target: where table.json, table.md, table.csv and controls/ are written.
        controls: control models of spaces that are not to be fitted.
        fitted: the folder of an earlier table, whose control models are taken where it has them.

    Raises:
        InputError: a space is in none of the datasets, datasets do not go together, a control
            model is of another generator, or nothing can be written at the target.
        ConflictError: a table is there already.
        RunError: a worker failed.
    """
    there = [name for name in FILES if target.exists(name)]
    if there:
        raise ConflictError(
            f"table: {target.url} holds {', '.join(there)} already; choose another --out. Nothing "
            "was changed."
        )
    sources = plan([Dataset(absolute(url)) for url in datasets], settings)
    given = _earlier(sources, fitted) | _named(sources, controls)
    _check_controls(sources, given, settings)
    for source in sources:  # before the minutes that a fit takes
        for space, label in source.rows:
            if label not in given:
                check_dataset(source.dataset, settings.of_space(space))
    target.check_writable()
    with ray_session(engine):
        check_placement(mining_needs(engine)[1:], engine)  # probers need what evaluation does
        used = _fitted(sources, settings, given)
        for label, control in used.items():  # at once: what comes next may take an hour
            target.replace(file_of(label), control_bytes(control))
        spaces = _with_edits(sources, used, settings)
        manifests = [source.manifest for source in sources]
        rows, identity = measured_rows(manifests, spaces, settings, engine)
    facts = _facts(sources, used, identity, settings)
    table = Table(tuple(rows), tuple(orderings(rows)), facts)
    _write(target, table)
    return table


def plan(datasets: Sequence[Dataset], settings: TableSettings) -> list[Source]:
    """Which dataset gives which rows of the table.

    Raises:
        InputError: a space is in none of them, or two give the same row.
    """
    first = datasets[0].manifest.generator
    sources, taken = [], set()
    for dataset in datasets:
        about = dataset.manifest.generator
        if about["fingerprint"] != first["fingerprint"]:
            raise InputError(
                f"table: {dataset.url} is of generator {about['name']}, with other settings or "
                f"weights than {first['name']} of {datasets[0].url}; expected one generator."
            )
        if settings.landmarks not in {field.name for field in dataset.manifest.fields}:
            raise unknown(
                "landmark column", settings.landmarks, [f.name for f in dataset.manifest.fields]
            )
        rows = _rows_of(dataset, settings.spaces)
        again = taken & {label for _, label in rows}
        if again:
            raise InputError(
                f"table: {dataset.url} gives {', '.join(sorted(again))}, as a dataset before it "
                "does; expected at most one sampled in w and one sampled in w+."
            )
        taken |= {label for _, label in rows}
        if rows:
            sources.append(Source(dataset, rows))
    found = {space for source in sources for space, _ in source.rows}
    missing = [space for space in settings.spaces if space not in found]
    if missing:
        raise InputError(
            f"table: {', '.join(missing)} came from none of the datasets; a dataset sampled in w "
            f"gives z, w, tied w+ and s where {first['name']} has it; one sampled in w+ "
            "independent w+."
        )
    return sources


def _rows_of(dataset: Dataset, spaces: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(space, label) of what a dataset gives."""
    if dataset.manifest.settings["space"] == "w+":
        return (("w+", APART),) if "w+" in spaces else ()
    kind = load("generator", dataset.manifest.generator["load"], GENERATORS)
    # a function that loads checkpoints tells later, when it has loaded one
    styled = hasattr(kind, "synthesize_styles") or not isinstance(kind, type)
    return tuple((s, TIED if s == "w+" else s) for s in spaces if s != "s" or styled)


def _named(sources: Sequence[Source], controls: Sequence[ControlModel]) -> dict[str, ControlModel]:
    """Label -> control model; InputError where a model's space is not that of exactly one row."""
    found: dict[str, ControlModel] = {}
    for control in controls:
        rows = [label for source in sources for s, label in source.rows if s == control.space]
        if len(rows) != 1 or rows[0] in found:
            raise InputError(
                f"table: a control model of space {control.space} came, of which the datasets give "
                f"{len(rows)} rows; expected one model and one row: name the dataset that it is "
                f"of, and --spaces with {control.space}."
            )
        found[rows[0]] = control
    return found


def _earlier(sources: Sequence[Source], folder: str | None) -> dict[str, ControlModel]:
    """Label -> the control model that an earlier table left in its folder."""
    if folder is None:
        return {}
    labels = [label for source in sources for _, label in source.rows]
    store = Store(absolute(folder))
    there = {label: store.path(file_of(label)) for label in labels if store.exists(file_of(label))}
    if not there:
        raise InputError(
            f"table: {store.url} holds none of {', '.join(map(file_of, labels))}; expected the "
            "--out of an earlier table."
        )
    return {label: load_control(path) for label, path in there.items()}


def _check_controls(
    sources: Sequence[Source], controls: Mapping[str, ControlModel], settings: TableSettings
) -> None:
    """Refuse models of another generator or other landmarks, or without what edits hold."""
    about = sources[0].manifest.generator
    points = sources[0].dataset.field(settings.landmarks).shape[0]
    for label, control in controls.items():
        who = f"table: the control model of {label}"
        if control.fingerprint and control.fingerprint != about["fingerprint"]:
            raise InputError(
                f"{who} is of another generator ({control.generator}) than the datasets "
                f"({about['name']})."
            )
        wide = {"w": (about["w_dim"],), "w+": (about["num_ws"], about["w_dim"])}
        if control.space in wide and len(control.regressor.centre) != prod(wide[control.space]):
            raise InputError(
                f"{who} is of latents of {len(control.regressor.centre)} numbers; expected "
                f"{prod(wide[control.space])}, as {about['name']} has."
            )
        if control.shape.mean_shape.shape[1] != points:
            raise InputError(
                f"{who} is of {control.shape.mean_shape.shape[1]} landmarks, {settings.landmarks} "
                f"has {points}; name its column with --landmarks."
            )
        if settings.embedding is not None and control.embedding is None:
            raise InputError(
                f"{who} has no embedding for --hold-identity; make it with `lode control fit "
                "--embedding`, or have it fitted here."
            )


def _fitted(
    sources: Sequence[Source], settings: TableSettings, given: Mapping[str, ControlModel]
) -> dict[str, ControlModel]:
    """Label -> control model; one Ray task for the shape model, then one for each space."""
    import ray

    jobs = [(s, space, label) for s in sources for space, label in s.rows if label not in given]
    found = dict(given)
    if not jobs:
        return found
    first = sources[0]
    with plain_errors("control models"), Progress("fit", len(jobs) + 1, "models") as progress:
        # what is fitted shares its shape model with what is given, where there is such
        shape: Any = next((ray.put(control.shape) for control in given.values()), None)
        own = shape is None
        if own:
            asked = settings.of_space(first.rows[0][0])
            shape = ray.remote(num_cpus=1)(fit_shape).remote(first.dataset.url, asked)
            ray.wait([shape])
        progress.advance(1)
        fit: Any = ray.remote(num_cpus=1)(fit_space)
        running = {
            fit.remote(
                source.dataset.url, settings.of_space(space), shape, own and source is first
            ): label
            for source, space, label in jobs
        }
        waiting = list(running)
        while waiting:
            (ready,), waiting = ray.wait(waiting)
            found[running[ready]] = ray.get(ready)
            progress.advance(1)
    return found


def _with_edits(
    sources: Sequence[Source], fitted: Mapping[str, ControlModel], settings: TableSettings
) -> list[tuple[Space, ...]]:
    """The spaces of each source; those with the same codes get the same edits."""
    spreads: dict[tuple[str, ...], Any] = {}
    told = []
    for source in sources:
        spaces = []
        for _, label in source.rows:
            control = fitted[label]
            names = control.shape.names
            spread = spreads.setdefault(names, control.regressor.spread)
            edits = draw_edits(names, settings.codes, settings.edits, spread)
            spaces.append(Space(label, control, edits))
        told.append(tuple(spaces))
    return told


def _facts(
    sources: Sequence[Source],
    fitted: Mapping[str, ControlModel],
    identity: str,
    settings: TableSettings,
) -> dict[str, Any]:
    """What has to be said beside the numbers."""
    manifest = sources[0].manifest
    shapes = {
        f"K = {c.shape.components}, residual {c.shape.relative_residual:.4f}"
        for c in fitted.values()
    }
    held = settings.embedding is not None
    return {
        "generator": f"{manifest.generator['name']} {manifest.generator['fingerprint'][:12]}",
        "datasets": ", ".join(s.dataset.dataset_id for s in sources),
        "training images": ", ".join(f"{s.dataset.rows:,}" for s in sources),
        "landmarks": settings.landmarks,
        "test codes": f"{settings.codes:,} drawn afresh, seed {settings.seed}",
        "edits": str(settings.edits),
        "editing": f"{settings.method}, {settings.steps} steps, codes that are to stay weigh "
        f"{settings.unasked:g}, identity {'held by an embedding' if held else 'not held'}",
        "shape model": "; ".join(sorted(shapes)),
        "identity": identity,
    }


def file_of(label: str) -> str:
    """Where a row's control model lies in the table's folder."""
    return f"controls/{re.sub(r'[^a-z+]+', '_', label).strip('_')}.safetensors"


def _write(store: Store, table: Table) -> None:
    text = json.dumps(as_json(table), indent=1, ensure_ascii=False, allow_nan=False)
    made = dict(zip(FILES, (text, as_markdown(table), as_csv(table)), strict=True))
    for name, content in made.items():
        store.replace(name, content.encode())
