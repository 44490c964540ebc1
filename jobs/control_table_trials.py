"""The spaces of one generator tried on the running Ray: actors edit, render and measure codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.cluster import plain_errors
from jobs.control_data import ControlSettings
from jobs.control_table_tasks import IDENTITY, Edited, Method, Prober, Seen, Space, Work
from jobs.progress import Progress
from mining.evaluation.control_table import Row, Trial, control_losses, summarise
from mining.evaluation.control_table_edits import EditConfig
from mining.methods.embedding import EmbeddingConfig
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import PRESETS, RegressorConfig
from schemas.errors import RunError
from schemas.settings import EngineSettings
from storage.manifest import Manifest

CHUNK = 16  # test codes of one call to a worker; results do not depend on the number of workers


@dataclass(frozen=True)
class TableSettings:
    """What is tried, and how."""

    spaces: tuple[str, ...] = ("z", "w", "w+")
    codes: int = 1000  # test codes
    seed: int = 0  # of the test codes, the edits and the bootstrap
    landmarks: str = "dlib_landmarks"
    method: Method = "analytic"
    steps: int = 8  # of an edit
    unasked: float = 1.0  # its weight of the codes that are to stay; 1: as of those that change
    embedding: EmbeddingConfig | None = (
        None  # edits hold identity by one of these; None: they don't
    )
    resamples: int = 1000  # behind the intervals
    edits: EditConfig = field(default_factory=EditConfig)
    nrsfm: NrsfmConfig = field(default_factory=NrsfmConfig)
    regressor: RegressorConfig = PRESETS["default"]

    def of_space(self, space: str) -> ControlSettings:
        """How one space is fitted."""
        return ControlSettings(space, self.landmarks, self.nrsfm, self.regressor, self.embedding)


def measured_rows(
    manifests: Sequence[Manifest],
    spaces: Sequence[tuple[Space, ...]],
    settings: TableSettings,
    engine: EngineSettings,
) -> tuple[list[Row], str]:
    """The table's rows, and how identity was measured; on the running Ray.

    Args:
        manifests: of the datasets; `spaces` are the rows that each gives.

    Raises:
        RunError: a worker failed.
    """
    each = settings.edits.singles + 1
    images = sum(settings.codes * (1 + each * len(some)) for some in spaces)
    rows: list[Row] = []
    identity = "not measured: no extractor describes faces"
    with Progress("try", images, "images") as progress:
        for number, (manifest, some) in enumerate(zip(manifests, spaces, strict=True)):
            trials, distance = _tried(manifest, some, settings, engine, progress)
            for label, project, trial in trials:
                losses = control_losses(project, trial, distance or "euclidean")
                # spaces that were tried on the same images are resampled alike
                rows.append(summarise(label, losses, settings.resamples, settings.seed + number))
            if distance:
                identity = IDENTITY[distance]
    return rows, identity


def _tried(
    manifest: Manifest,
    spaces: tuple[Space, ...],
    settings: TableSettings,
    engine: EngineSettings,
    progress: Progress,
) -> tuple[list[tuple[str, Any, Trial]], Any]:
    """Every space's trial on the test codes of one dataset."""
    import ray

    gpus = max(engine.generator.gpus, engine.extractor.gpus)
    remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=4, max_task_retries=4)(Prober)
    parts = [
        slice(first, min(first + CHUNK, settings.codes))
        for first in range(0, settings.codes, CHUNK)
    ]
    count = max(1, min(engine.workers, len(parts)))
    probers = [
        remote.remote(dict(manifest.content), settings.landmarks, gpus) for _ in range(count)
    ]
    try:
        with plain_errors("control table"):
            latents: Any = ray.get(probers[0].draw.remote(settings.codes, settings.seed))
            held = settings.embedding is not None
            work = Work(latents, spaces, settings.method, settings.steps, settings.unasked, held)
            done = _all_parts(probers, parts, work, progress)
            distance = ray.get(probers[0].distance.remote())
    finally:
        for prober in probers:
            ray.kill(prober)
    base: list[Seen] = done[-1]
    return [
        (space.label, space.control.shape.project, _trial(space, base, done[number]))
        for number, space in enumerate(spaces)
    ], distance


def _all_parts(
    probers: list[Any], parts: Sequence[slice], work: Work, progress: Progress
) -> dict[int, list[Any]]:
    """Number of the space (-1 for the unedited images) -> what came of each part, in order."""
    import ray
    from ray.util import ActorPool

    stored, pool = ray.put(work), ActorPool(probers)
    each = len(work.spaces[0].edits) // len(work.latents.w_plus)
    done: dict[int, list[Any]] = {k: [None] * len(parts) for k in range(-1, len(work.spaces))}
    for index, part in enumerate(parts):
        for number in done:
            pool.submit(_begin, (number, index, part, stored))
    while pool.has_next():
        number, index, found = pool.get_next_unordered()
        done[number][index] = found
        seen = found if number < 0 else found.seen
        lost = int((~np.isfinite(seen.landmarks).all(axis=(1, 2))).sum())
        rows = parts[index].stop - parts[index].start
        progress.advance(rows if number < 0 else rows * each, {"no face": lost} if lost else {})
    if any(found is None for some in done.values() for found in some):
        raise RunError("control table: some parts came back without a result; run it again.")
    return done


def _begin(prober: Any, given: tuple[int, int, slice, Any]) -> Any:
    """One part at one worker; the numbers come back with it."""
    number, index, part, work = given
    return prober.part.remote(number, index, part, work)


def _trial(space: Space, base: Sequence[Seen], parts: Sequence[Edited]) -> Trial:
    """The parts of one space as a whole."""
    return Trial(
        edits=space.edits,
        codes=np.concatenate([part.codes for part in parts]),
        reached=np.concatenate([part.reached for part in parts]),
        landmarks=np.concatenate([part.landmarks for part in base]),
        edited_landmarks=np.concatenate([part.seen.landmarks for part in parts]),
        descriptors=np.concatenate([part.descriptors for part in base]),
        edited_descriptors=np.concatenate([part.seen.descriptors for part in parts]),
        walked=np.concatenate([part.walked for part in parts]),
    )
