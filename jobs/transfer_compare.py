"""`lode matrix compare`: learned matrices against closed forms, on held-out pairs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.cluster import ray_session
from jobs.editing_run import CONTROL
from jobs.parents import open_whole
from jobs.placement import check_placement, mining_needs
from jobs.transfer_tasks import check_measured
from jobs.transfer_training import (
    Making,
    asked_of,
    check_control,
    check_making,
    make_matrices,
    matrix_config,
    rivals,
)
from jobs.transfer_trials import (
    Method,
    TransferSettings,
    Tried,
    check_methods,
    parameters_of,
    tried,
)
from mining.evaluation.transfer_scores import Kind
from mining.evaluation.transfer_text import Report, as_csv, as_json, as_markdown, verdict
from mining.methods.control_file import load_control
from mining.methods.matrix_config import MatrixConfig
from mining.methods.matrix_file import load_matrix, matrix_of
from mining.stored import latent_column
from schemas.errors import ConflictError, InputError
from schemas.settings import EngineSettings
from storage.dataset import SEQUENCE, Dataset
from storage.files import Store, absolute

MATRIX = "results/direction_matrix.safetensors"  # of a run
WHAT = "transfers"  # that the files are of
SAID = {"euclidean": "Euclidean distance of", "cosine": "1 - cosine of"}


@dataclass(frozen=True)
class Opened:
    """A run's dataset, or a dataset, and what of a run's is compared."""

    dataset: Dataset
    matrix: str | None  # the run's own
    control: str | None  # and its control model


@dataclass(frozen=True)
class Comparing:
    """What is compared, beside how it is tried."""

    kinds: tuple[Kind, ...] = ("cross",)
    rivals: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # of the closed forms' rows
    sequences: str = ""  # of one identity, for the closed form that reads them
    landmarks: str = "dlib_landmarks"
    control: str | None = None  # a control model's file, not the run's own


def open_run(place: str) -> Opened:
    """A run's folder or URL, or a dataset's.

    Raises:
        InputError: there is none, or shards of its dataset are not made yet.
    """
    url = absolute(place).rstrip("/")
    inner = Store(f"{url}/dataset").exists("manifest.json")
    if not inner and not Store(url).exists("manifest.json"):
        state = "holds no dataset" if Store(url).exists() else "does not exist"
        raise InputError(
            f"matrix: {url} {state}; expected the --out of a `lode mine` run, or a dataset."
        )
    dataset = open_whole(f"{url}/dataset" if inner else url)
    run = Store(url if inner else url.removesuffix("/dataset"))
    own = {name: run.path(name) if run.exists(name) else None for name in (MATRIX, CONTROL)}
    return Opened(dataset, own[MATRIX], own[CONTROL])


def compare(
    opened: Opened,
    files: Sequence[str],
    target: Store,
    asked: Comparing,
    settings: TransferSettings,
    engine: EngineSettings,
) -> Report:
    """Try matrices on the same held-out pairs, and write what came of it.

    Args:
        files: the matrices; none: the run's own.
        target: where transfers.json, .md, .csv and .html are written, and the closed forms.

    Raises:
        InputError: matrices, dataset or control model do not go together; nothing was written.
        ConflictError: something else stands there.
        RunError: a worker failed.
    """
    dataset, manifest = opened.dataset, opened.dataset.manifest
    learned = named_matrices(list(files) or ([opened.matrix] if opened.matrix else []))
    check_methods(manifest, learned)
    makings = _makings(opened, learned, asked) if asked.rivals else []
    if not learned and not makings:
        raise InputError("matrix: there is no matrix to try; expected --matrix FILE.")
    check_making(makings, asked.landmarks, manifest)
    names = [*parameters_of(learned), *(n for m in makings for n in asked_of(m.config, manifest))]
    check_measured(manifest, tuple(dict.fromkeys(names)), settings.source)
    check_target(target, WHAT)
    with ray_session(engine):
        check_placement(mining_needs(engine)[1:], engine)

        def keep(label: str, data: bytes) -> None:
            target.replace(file_of(label), data)

        made = make_matrices(dataset, makings, asked.landmarks, engine, keep)
        forms = [Method(label, matrix_of(data, label)) for label, data in made.items()]
        methods = [*learned, *forms]
        found = [tried(manifest, methods, kind, settings, engine) for kind in asked.kinds]
    rows = tuple(row for each in found for row in each.rows)
    told = [
        verdict(each.rows, [m.label for m in learned], [m.label for m in forms]) for each in found
    ]
    report = Report(
        f"Transfers of pose and expression, {manifest.generator['name']}",
        rows,
        facts_of(dataset, found, settings),
        says=tuple(text for text in told if text),
    )
    write(report, target, WHAT)
    return report


def named_matrices(files: Sequence[str]) -> list[Method]:
    """Matrices by their files' names; by place where two files have one name.

    Raises:
        InputError: there is no such file, or it is no matrix.
    """
    names = [file.rpartition("/")[2].removesuffix(".safetensors") for file in files]
    again = {name for name in names if names.count(name) > 1}
    return [
        Method(file if name in again else name.replace("_", " "), load_matrix(file))
        for file, name in zip(files, names, strict=True)
    ]


def facts_of(
    dataset: Dataset, found: Sequence[Tried], settings: TransferSettings
) -> dict[str, Any]:
    """What has to be said beside the numbers."""
    generator, about = dataset.manifest.generator, found[0].about
    apart = {each.rows[0].kind: each.apart for each in found}.get("cross", {})
    strangers = ""
    if "same" in apart:
        strangers = (
            f"{apart['same']:.1%} of pairs of two unedited identities are below the threshold "
            f"too, at a mean cosine of {apart['csim']:.3f}"
        )
    described = about["descriptor"] or "nothing"
    threshold = about["threshold"]
    return {
        "generator": f"{generator['name']} {generator['fingerprint'][:12]}",
        "dataset": dataset.dataset_id,
        "pairs": f"{settings.pairs:,} drawn afresh, seed {settings.seed}",
        "parameters": f"{', '.join(about['measured'].moving)}, measured by {about['shape']}",
        "truth": _truth(about["true"]),
        "identity": f"{SAID[about['distance']]} {described}"
        + ("" if threshold is None else f", one identity below {threshold:g}"),
        "different identities": strangers,
    }


def _truth(names: Any) -> str:
    if names is None:
        return ""
    groups = list(dict.fromkeys(names.groups))
    return f"{', '.join(names.moving)}; others in {', '.join(groups)}: {len(names.still)}"


def check_target(target: Store, what: str) -> None:
    """Refuse a folder that holds something else under the names of our files.

    Raises:
        ConflictError: it does.
        StorageError: it cannot be written.
    """
    name = f"{what}.json"
    if target.exists(name):
        try:
            mine = json.loads(target.read(name)).get("table") == what
        except (ValueError, AttributeError):
            mine = False
        if not mine:
            raise ConflictError(
                f"matrix: {target.path(name)} is none of ours; move it away, or choose another "
                "--out. Nothing was changed."
            )
    target.check_writable()


def write(report: Report, target: Store, what: str) -> None:
    """The report as JSON, Markdown, CSV and HTML; those of an earlier call are replaced."""
    from jobs.report.transfer_page import render_transfers

    document = {"table": what, "version": 1, **as_json(report)}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    parts = {
        "json": text,
        "md": as_markdown(report),
        "csv": as_csv(report),
        "html": render_transfers(report),
    }
    for end, content in parts.items():
        target.replace(f"{what}.{end}", content.encode())


def file_of(label: str) -> str:
    """Where a matrix that was made here lies in the target."""
    plain = "".join(c if c.isalnum() else "_" for c in label.lower())
    return f"matrices/{plain}.safetensors"


def _makings(opened: Opened, learned: Sequence[Method], asked: Comparing) -> list[Making]:
    """The closed forms, of the rows and parameters that the first matrix was trained on."""
    manifest = opened.dataset.manifest
    config = matrix_config(asked.options, 0)
    if learned and not asked.options:
        config = _config_of(learned[0], config)
    if asked.sequences:
        config = dataclasses.replace(config, sequences=asked.sequences)
    columns = {each.name for each in manifest.fields}
    place = asked.control or opened.control
    control = None if place is None else load_control(place)
    if control is not None:
        space = "w" if latent_column(manifest) == "w" else "w+"
        if asked.control or control.space == space:
            check_control(control, manifest, space)
        else:
            control = None  # the run's own is of a space that its dataset's rows are not in
    return rivals(config, bool(config.sequences) or SEQUENCE in columns, control)


def _config_of(method: Method, default: MatrixConfig) -> MatrixConfig:
    """What is read for a matrix, as its file says; the default where it does not say so.

    Not the files and URLs in it: a matrix may come from anyone.
    """
    names = ("source", "parameters", "expressions", "layers", "tail", "extremes", "reach")
    try:
        said = json.loads(method.matrix.settings)
        return dataclasses.replace(default, **{n: said[n] for n in names if n in said})
    except (ValueError, TypeError):
        return default
