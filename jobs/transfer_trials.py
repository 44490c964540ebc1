"""Matrices tried on held-out pairs on the running Ray: actors render and measure every image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.progress import Progress
from jobs.transfer_tasks import Drawn, Looker
from mining.evaluation.face_distances import cosines
from mining.evaluation.transfer_scores import Kind, Names, Row, Side, Told, Trial, score
from mining.generators.base import Floats
from mining.methods.direction_matrix import DirectionMatrix
from schemas.errors import InputError, RunError
from schemas.settings import EngineSettings
from storage.manifest import Manifest

Array = NDArray[np.float64]

READINGS = ("latents", "images")  # from what a matrix is told the parameters
UNEDITED, IDEAL = "unedited", "ideal"
CHUNK = 20  # images of one call to a worker; results do not depend on the number of workers


@dataclass(frozen=True)
class TransferSettings:
    """What is tried, and how."""

    pairs: int = 1000
    seed: int = 0  # of the pairs and the intervals
    readings: tuple[str, ...] = READINGS  # some of READINGS
    source: str = ""  # the extractor that measures them; "": the first that does
    resamples: int = 1000  # behind the intervals


@dataclass(frozen=True)
class Method:
    """A matrix by the name that its rows get."""

    label: str
    matrix: DirectionMatrix


@dataclass(frozen=True)
class Tried:
    """The rows of one kind of pairs, and how they were read."""

    rows: tuple[Row, ...]
    about: dict[str, Any]
    apart: dict[str, float]  # of the unedited sources and targets: "same", "csim"


def parameters_of(methods: Sequence[Method]) -> tuple[str, ...]:
    """The parameters of all matrices, each once."""
    return tuple(dict.fromkeys(name for each in methods for name in each.matrix.names))


def image_count(methods: Sequence[Method], settings: TransferSettings, ideal: bool) -> int:
    """How many images are rendered at most."""
    return settings.pairs * (2 + ideal + len(methods) * len(settings.readings))


def check_methods(manifest: Manifest, methods: Sequence[Method]) -> None:
    """InputError where a matrix is of another generator, or two have one label."""
    about = manifest.generator
    for each in methods:
        matrix = each.matrix
        if matrix.fingerprint and matrix.fingerprint != about["fingerprint"]:
            raise InputError(
                f"matrix: {each.label} is of another generator ({matrix.generator} "
                f"{matrix.fingerprint[:16]}) than the dataset ({about['name']} "
                f"{about['fingerprint'][:16]})."
            )
        if (matrix.num_ws, matrix.latent_shape[-1]) != (about["num_ws"], about["w_dim"]):
            raise InputError(
                f"matrix: {each.label} is of {matrix.num_ws} rows of {matrix.latent_shape[-1]}; "
                f"{about['name']} has {about['num_ws']} of {about['w_dim']}."
            )
    labels = [each.label for each in methods]
    if len(set(labels)) < len(labels):
        raise InputError(f"matrix: two matrices have one name: {', '.join(sorted(labels))}.")


def tried(
    manifest: Manifest,
    methods: Sequence[Method],
    kind: Kind,
    settings: TransferSettings,
    engine: EngineSettings,
) -> Tried:
    """Every matrix on the same pairs, with either reading; on the running Ray.

    Beside them two rows that no matrix has made: the sources as they are, and what the generator
    itself gives the sources of the targets' motion, where it can.

    Raises:
        InputError: as `Looker` and `Looker.draw`.
        RunError: a worker failed.
    """
    import ray

    names, gpus = parameters_of(methods), max(engine.generator.gpus, engine.extractor.gpus)
    remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=4, max_task_retries=4)(Looker)
    count = max(1, min(engine.workers, -(-settings.pairs // CHUNK)))
    content = dict(manifest.content)
    actors = [remote.remote(content, names, settings.source, gpus) for _ in range(count)]
    try:
        with plain_errors("transfers"):
            about: dict[str, Any] = ray.get(actors[0].about.remote())
            own = kind == "self"
            drawn: Drawn = ray.get(actors[0].draw.remote(settings.pairs, settings.seed, own))
            total = image_count(methods, settings, drawn.ideal is not None)
            with Progress(f"{kind} pairs", total, "images") as progress:
                rows = _rows(actors, drawn, about, methods, kind, settings, progress)
    finally:
        for actor in actors:
            ray.kill(actor)
    return rows


def _rows(
    actors: Sequence[Any],
    drawn: Drawn,
    about: dict[str, Any],
    methods: Sequence[Method],
    kind: Kind,
    settings: TransferSettings,
    progress: Progress,
) -> Tried:
    bases = [(drawn.source, drawn.condition), (drawn.target, drawn.target_condition)]
    if drawn.ideal is not None:
        bases.append((drawn.ideal, drawn.condition))
    source, target, *more = _looked(actors, iter(bases), len(bases), progress)
    measured = _ranged(about["measured"], methods)
    how = {"distance": about["distance"], "threshold": about["threshold"]}
    ideal = more[0] if more else None
    trial = Trial(kind, source, target, measured, about["true"], ideal, **how)
    asked = [(each, reading) for each in methods for reading in settings.readings]
    known: list[NDArray[np.bool_]] = []

    def moved() -> Iterator[tuple[Floats, Floats | None]]:
        for each, reading in asked:
            w_plus, told = reenacted(each.matrix, reading, drawn, trial)
            known.append(told)
            yield w_plus, drawn.condition

    sides = _looked(actors, moved(), len(asked), progress)
    rows = [score(UNEDITED, "", trial, source, settings.resamples, settings.seed)]
    if ideal is not None:
        rows.append(score(IDEAL, "", trial, ideal, settings.resamples, settings.seed))
    for (each, reading), side, told in zip(asked, sides, known, strict=True):
        seen = blanked(side, told)
        rows.append(score(each.label, reading, trial, seen, settings.resamples, settings.seed))
    return Tried(tuple(rows), about, _apart(trial))


def reenacted(
    matrix: DirectionMatrix, reading: str, drawn: Drawn, trial: Trial
) -> tuple[Floats, NDArray[np.bool_]]:
    """The sources with the targets' parameters, rows of W+, and which pairs' were known.

    Read from latents by the matrix itself, w_r = w_s + A (C w_t - C w_s); or, as the paper does,
    from both images by the extractor, w_r = w_s + A (p_t - p_s).
    """
    if reading == "latents":
        return matrix.transferred(drawn.source, drawn.target), np.ones(len(drawn.source), bool)
    columns = [trial.measured.moving.index(name) for name in matrix.names]
    change = (trial.target.measured.moving - trial.source.measured.moving)[:, columns]
    known = np.asarray(np.isfinite(change).all(axis=1))
    return matrix.moved(drawn.source, np.where(known[:, None], change, 0.0)), known


def blanked(side: Side, known: NDArray[np.bool_]) -> Side:
    """The side with NaN in the rows of pairs whose parameters nobody knew."""
    if known.all():
        return side

    def kept(values: Array) -> Array:
        return np.where(known.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)

    true = side.true and Told(kept(side.true.moving), kept(side.true.still))
    return Side(
        Told(kept(side.measured.moving), kept(side.measured.still)),
        kept(side.landmarks),
        kept(side.descriptors),
        true,
        None if side.true_landmarks is None else kept(side.true_landmarks),
    )


def _ranged(names: Names, methods: Sequence[Method]) -> Names:
    """The names with the unit of the rescaled parameters, of the first matrix that has each."""
    scales = {
        name: scale
        for each in reversed(methods)
        for name, scale in zip(each.matrix.names, each.matrix.scale, strict=True)
    }
    ranges = np.array([scales[name] for name in names.moving])
    return Names(names.moving, names.still, names.groups, ranges)


def _looked(
    actors: Sequence[Any],
    sets: Iterator[tuple[Floats, Floats | None]],
    count: int,
    progress: Progress,
) -> list[Side]:
    """Every set of images measured; a set is taken when its first part is begun."""
    from ray.util import ActorPool

    pool, done = ActorPool(list(actors)), [[] for _ in range(count)]

    def collect() -> None:
        number, index, side = pool.get_next_unordered()
        done[number][index] = side
        lost = int((~np.isfinite(side.landmarks).all(axis=(1, 2))).sum())
        progress.advance(len(side), {"no face": lost} if lost else {})

    for number, (w_plus, condition) in enumerate(sets):
        parts = [slice(at, at + CHUNK) for at in range(0, len(w_plus), CHUNK)]
        done[number] = [None] * len(parts)
        for index, part in enumerate(parts):
            if not pool.has_free():
                collect()
            given = (number, index, w_plus[part], None if condition is None else condition[part])
            pool.submit(lambda actor, given: actor.part.remote(*given), given)
    while pool.has_next():
        collect()
    if any(side is None for parts in done for side in parts):
        raise RunError("transfers: some parts came back without a result; run it again.")
    return [_joined(parts) for parts in done]


def _joined(parts: Sequence[Side]) -> Side:
    """Parts as a whole."""

    def both(pick: Any) -> Any:
        found = [pick(part) for part in parts]
        return None if found[0] is None else np.concatenate(found)

    true = None
    if parts[0].true is not None:
        true = Told(both(lambda p: p.true.moving), both(lambda p: p.true.still))
    return Side(
        Told(both(lambda p: p.measured.moving), both(lambda p: p.measured.still)),
        both(lambda p: p.landmarks),
        both(lambda p: p.descriptors),
        true,
        both(lambda p: p.true_landmarks),
    )


def _apart(trial: Trial) -> dict[str, float]:
    """What descriptors say of the unedited sources and targets, for scale."""
    one, other = trial.source.descriptors, trial.target.descriptors
    alike = cosines(one, other)
    found = {"csim": float(np.nanmean(alike))} if np.isfinite(alike).any() else {}
    if trial.threshold is None or not found:
        return found
    far = np.linalg.norm(one - other, axis=1)
    return {**found, "same": float((far[np.isfinite(far)] < trial.threshold).mean())}
