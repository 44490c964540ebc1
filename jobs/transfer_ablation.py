"""`lode matrix ablation`: the paper's Tables 2 to 4, from training to measured transfers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.cluster import ray_session
from jobs.inverting import invert
from jobs.parents import open_whole
from jobs.placement import check_placement, mining_needs
from jobs.transfer_compare import check_target, facts_of, file_of, named_matrices, write
from jobs.transfer_tasks import check_measured
from jobs.transfer_training import (
    LEARNED,
    Making,
    asked_of,
    check_making,
    make_matrices,
    matrix_config,
)
from jobs.transfer_trials import Method, TransferSettings, Tried, check_methods, tried
from mining.evaluation.transfer_scores import Row
from mining.evaluation.transfer_tables import (
    FULL,
    MIXED,
    NO_IDENTITY,
    NO_INNER,
    PAIRED,
    PAPER,
    orderings,
)
from mining.evaluation.transfer_text import Report
from mining.generators.base import Animated
from mining.generators.registry import GENERATORS
from mining.methods.matrix_config import MatrixConfig
from mining.methods.matrix_file import matrix_of
from schemas.errors import InputError
from schemas.registry import load
from schemas.settings import EngineSettings
from storage.dataset import SEQUENCE, Dataset
from storage.files import Store, absolute
from storage.manifest import Manifest

WHAT = "ablation"  # that the files are of
INVERTED = "inverted.npy"
CROSS, OWN = (FULL, NO_IDENTITY, NO_INNER), (FULL, MIXED, PAIRED)  # of Tables 2 and 3, and of 4


@dataclass(frozen=True)
class Ablating:
    """What is trained, beside how it is tried."""

    sequences: str = ""  # a dataset of sequences of one identity; "": the dataset itself has some
    inverted: str = ""  # latents of inverted images; "": the sequences' images are inverted here
    landmarks: str = "dlib_landmarks"
    options: Mapping[str, Any] = field(default_factory=dict)  # of direction_matrix
    seed: int = 0
    fitted: str | None = None  # the folder of an earlier ablation, whose matrices are taken


def ablate(
    url: str, target: Store, asked: Ablating, settings: TransferSettings, engine: EngineSettings
) -> Report:
    """Train with and without parts of the losses and kinds of pairs, try all, write the tables.

    Tables 2 and 3 are of pairs of two identities, as the paper's; Table 4 is of pairs of one,
    where the generator can animate a face, else of two.

    Raises:
        InputError: the dataset lacks what a training reads; nothing was written.
        ConflictError: something else stands in the target.
        RunError: a worker failed.
    """
    dataset = open_whole(url)
    manifest = dataset.manifest
    config = matrix_config(asked.options, asked.seed)
    sequences = _sequences(dataset, asked)
    own = _animates(manifest)
    earlier = _earlier(asked.fitted)
    check_methods(manifest, list(earlier.values()))
    inverted = absolute(asked.inverted) if asked.inverted else target.path(INVERTED)
    makings = [m for m in _makings(config, sequences, inverted) if m.label not in earlier]
    check_making(
        [each for each in makings if asked.inverted or not each.config.inverted],
        asked.landmarks,
        manifest,
    )
    check_measured(manifest, asked_of(config, manifest), settings.source)
    check_target(target, WHAT)
    if not asked.inverted and any(each.config.inverted for each in makings):
        _invert(sequences or dataset.url, dataset, target)
    with ray_session(engine):
        check_placement(mining_needs(engine)[1:], engine)

        def keep(label: str, data: bytes) -> None:
            target.replace(file_of(label), data)

        made = make_matrices(dataset, makings, asked.landmarks, engine, keep)
        fresh = {label: Method(label, matrix_of(data, label)) for label, data in made.items()}
        methods = {**earlier, **fresh}
        found = [
            tried(manifest, [methods[n] for n in names], kind, settings, engine)
            for names, kind in _trials(own)
        ]
    rows = _relabelled(found, own)
    facts = {**facts_of(dataset, found, settings), **_facts(config, asked, sequences, own)}
    facts["the paper's tables"] = f"beside them, parameters read from {settings.readings[0]}"
    report = Report(
        f"Ablations of the direction matrix, {manifest.generator['name']}",
        rows,
        facts,
        tuple(orderings(read_from(rows, settings.readings[0]))),
        PAPER,
    )
    write(report, target, WHAT)
    return report


def read_from(rows: Sequence[Row], reading: str) -> list[Row]:
    """The rows whose matrices were told the parameters in one way."""
    return [row for row in rows if row.reading == reading]


def _trials(own: bool) -> list[tuple[tuple[str, ...], Any]]:
    """(trainings, kind of pairs) that are tried."""
    if own:
        return [(CROSS, "cross"), (OWN, "self")]
    return [(tuple(dict.fromkeys([*CROSS, *OWN])), "cross")]


def _relabelled(found: Sequence[Tried], own: bool) -> tuple[Row, ...]:
    """All rows; without pairs of one identity, those of two stand in Table 4 too."""
    rows = tuple(row for each in found for row in each.rows)
    if own:
        return rows
    stand_in = [dataclasses.replace(row, kind="self") for row in rows if row.label in OWN]
    return (*rows, *stand_in)


def _makings(config: MatrixConfig, sequences: str, inverted: str) -> list[Making]:
    """The five trainings, alike but for what they are to show."""
    plain = dataclasses.replace(config, training="synthetic", sequences="", inverted="")
    mixed = dataclasses.replace(plain, training="mixed", inverted=inverted)
    paired = dataclasses.replace(plain, training="paired", sequences=sequences)
    if config.start != "ridge":  # else pairs start from their own closed form
        paired = dataclasses.replace(paired, inverted=inverted)
    return [
        Making(FULL, LEARNED, plain),
        Making(
            NO_IDENTITY,
            LEARNED,
            dataclasses.replace(plain, identity_weight=0.0, perceptual_weight=0.0),
        ),
        Making(NO_INNER, LEARNED, dataclasses.replace(plain, eye_weight=0.0, mouth_weight=0.0)),
        Making(MIXED, LEARNED, mixed),
        Making(PAIRED, LEARNED, paired, paired=True),
    ]


def _sequences(dataset: Dataset, asked: Ablating) -> str:
    """The URL of the sequences; "" where the dataset holds them itself."""
    if asked.sequences:
        return absolute(asked.sequences)
    if SEQUENCE in {each.name for each in dataset.manifest.fields}:
        return ""
    raise InputError(
        f"matrix ablation: dataset {dataset.dataset_id} holds no sequences of one identity; "
        "expected --sequences URL, a dataset made with --dataset.sequences.length 4."
    )


def _animates(manifest: Manifest) -> bool:
    """Whether the generator gives a face the motion of another."""
    kind = load("generator", manifest.generator["load"], GENERATORS)
    return isinstance(kind, type) and issubclass(kind, Animated)


def _earlier(folder: str | None) -> dict[str, Method]:
    """Label -> the matrix that an earlier ablation left in its folder."""
    if folder is None:
        return {}
    store = Store(absolute(folder))
    labels = dict.fromkeys([*CROSS, *OWN])
    there = [label for label in labels if store.exists(file_of(label))]
    if not there:
        raise InputError(
            f"matrix ablation: {store.url} holds none of {', '.join(map(file_of, labels))}; "
            "expected the --out of an earlier ablation."
        )
    read = named_matrices([store.path(file_of(label)) for label in there])
    return {label: Method(label, each.matrix) for label, each in zip(there, read, strict=True)}


def _invert(images: str, teacher: Dataset, target: Store) -> None:
    """Latents of the sequences' images, by an encoder fitted to the dataset."""
    if absolute(images).rstrip("/") == teacher.url.rstrip("/"):
        raise InputError(
            "matrix ablation: the dataset's own images cannot be inverted by what they taught; "
            "expected --inverted FILE.npy (`lode dataset invert`), or --sequences of another "
            "dataset."
        )
    invert(images, teacher.url, target.path(INVERTED), force=True)


def _facts(config: MatrixConfig, asked: Ablating, sequences: str, own: bool) -> dict[str, Any]:
    stages = f"{config.epochs} epochs of {config.steps} steps of {config.batch} pairs"
    return {
        "training": f"chain {config.chain}, start {config.start}, {stages}, paired "
        f"{config.paired_epochs} epochs, seed {config.seed}",
        "options": ", ".join(f"{k} {v}" for k, v in sorted(asked.options.items())),
        "inverted images": asked.inverted
        or "the sequences' images, by a regression fitted to the dataset",
        "sequences": sequences or "the dataset's own",
        "Table 4": "" if own else "on pairs of two identities: no generator to animate one",
    }
