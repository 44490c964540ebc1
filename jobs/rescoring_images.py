"""The images of `lode rescore`, made and measured by actors on the running Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.progress import Progress
from jobs.rescoring_plan import EFFECT, Found, Plan, RescoreSettings, landing
from jobs.rescoring_store import keep_bases, keep_edits, read_bases, read_edits
from jobs.rescoring_tasks import Edit, Kept, Part, Rescorer
from mining.evaluation.rescoring import Bases, Measured
from schemas.errors import RunError
from schemas.settings import EngineSettings
from storage.files import Store

Array = NDArray[np.float64]
Pair = tuple[Array, Array]  # (n, A) what is measured after an edit, (n,) cosines

TRIAL = 0.25  # of the images, but no more than a part: to land edits of equal effect
CHUNK = 50  # images of one call to a worker; results do not depend on the number of workers


class Measuring:
    """All images that are still to be made, on the running Ray."""

    def __init__(
        self, plan: Plan, store: Store, settings: RescoreSettings, engine: EngineSettings
    ) -> None:
        self._plan, self._store, self._settings = plan, store, settings
        self._gpus = max(engine.generator.gpus, engine.extractor.gpus)
        self._workers = engine.workers
        starts = range(0, settings.edits, CHUNK)
        self._parts = [
            Part(k, min(CHUNK, settings.edits - start)) for k, start in enumerate(starts)
        ]
        self._trial = min(max(round(TRIAL * settings.edits), 2), self._parts[0].images)

    def run(self) -> tuple[list[Bases], list[Found]]:
        """The unedited images part by part, and values and cosines of every task's edits.

        Raises:
            RunError: a worker failed.
        """
        kept = [read_bases(self._store, part) for part in self._parts]
        lacking = sum(
            part.images for part, one in zip(self._parts, kept, strict=True) if one is None
        )
        done = self._finished(kept)
        todo = [k for k, found in enumerate(done) if found is None]
        tried = sum(self._plan.tasks[k].kind == EFFECT for k in todo) * self._trial
        total = lacking + len(todo) * self._settings.edits + tried
        actors = self._actors()
        try:
            with plain_errors("re-scoring"), Progress("rescore", total, "images") as progress:
                bases = self._bases(actors, kept, progress)
                self._check_attributes(bases[0])
                edits = self._landed(actors, bases[0], todo, progress)
                for index, found in self._edits(actors, bases, edits, progress):
                    done[index] = found
        finally:
            self._end(actors)
        return bases, [found for found in done if found is not None]

    def _finished(self, kept: Sequence[Kept | None]) -> list[Found | None]:
        """What earlier calls measured of each task."""
        known = [one for one in kept if one is not None]
        if len(known) < len(kept):
            return [None] * len(self._plan.tasks)
        shape = (sum(len(one.picked) for one in known), known[0].values.shape[1])
        return [read_edits(self._store, task, shape) for task in self._plan.tasks]

    def _actors(self) -> list[Any]:
        import ray

        remote: Any = ray.remote(
            num_cpus=1, num_gpus=self._gpus, max_restarts=4, max_task_retries=4
        )(Rescorer)
        content, labels = dict(self._plan.dataset.manifest.content), self._plan.labels
        count = min(self._workers, len(self._parts) * len(self._plan.tasks))
        return [
            remote.remote(content, self._settings.seed, self._gpus, labels) for _ in range(count)
        ]

    def _end(self, actors: Sequence[Any]) -> None:
        import ray

        for actor in actors:
            ray.kill(actor)

    def _bases(
        self, actors: Sequence[Any], kept: Sequence[Kept | None], progress: Progress
    ) -> list[Bases]:
        from ray.util import ActorPool

        pool = ActorPool(list(actors))
        for part, one in zip(self._parts, kept, strict=True):
            pool.submit(lambda actor, given: actor.bases.remote(*given), (part, one))
        found = []
        for part, one in zip(self._parts, kept, strict=True):
            measured, bases = pool.get_next()
            found.append(bases)
            if one is None:
                keep_bases(self._store, part, measured)
                progress.advance(part.images)
        return found

    def _landed(
        self, actors: Sequence[Any], bases: Bases, todo: Sequence[int], progress: Progress
    ) -> dict[int, Edit]:
        """Index of a task -> its edit; those of equal effect corrected by a trial."""
        import ray
        from ray.util import ActorPool

        edits = {index: self._plan.tasks[index].edit for index in todo}
        some = first_of(bases, self._trial)
        stored, pool = ray.put(some), ActorPool(list(actors))
        for index in todo:
            if self._plan.tasks[index].kind == EFFECT:
                pool.submit(_begin, (index, 0, stored, edits[index]))
        while pool.has_next():
            index, _, (values, _) = pool.get_next_unordered()
            task = self._plan.tasks[index]
            place = bases.pairs.index(self._plan.pairs[task.attribute])
            moved = values[:, place] - some.measured.values[:, place]
            mean = float(moved[np.isfinite(moved)].mean()) if np.isfinite(moved).any() else 0.0
            asked = task.amount * self._plan.spreads[task.attribute]
            edits[index] = Edit(task.edit.direction, landing(task, asked, mean))
            progress.advance(self._trial)
        return edits

    def _edits(
        self,
        actors: Sequence[Any],
        bases: Sequence[Bases],
        edits: Mapping[int, Edit],
        progress: Progress,
    ) -> Iterator[tuple[int, Found]]:
        """Index of a task and what it measured, as they are finished and kept."""
        import ray
        from ray.util import ActorPool

        stored = [ray.put(some) for some in bases]
        pool = ActorPool(list(actors))
        waiting: dict[int, list[Pair | None]] = {k: [None] * len(bases) for k in edits}
        for index, edit in edits.items():
            for number, some in enumerate(stored):
                pool.submit(_begin, (index, number, some, edit))
        while pool.has_next():
            index, number, measured = pool.get_next_unordered()
            waiting[index][number] = measured
            progress.advance(self._parts[number].images, _lost(measured[0]))
            parts = [part for part in waiting[index] if part is not None]
            if len(parts) == len(bases):
                del waiting[index]
                values, cosines = (np.concatenate(column) for column in zip(*parts, strict=True))
                found = Found(values, cosines, edits[index].step)
                keep_edits(self._store, self._plan.tasks[index], found)
                yield index, found
        if waiting:
            raise RunError("re-scoring: some edits came back without a result; run it again.")

    def _check_attributes(self, bases: Bases) -> None:
        lacking = [name for name, pair in self._plan.pairs.items() if pair not in bases.pairs]
        if lacking:
            raise RunError(
                f"re-scoring: {', '.join(lacking)} of the dataset are not measured here; are the "
                "extractors those that it was made with?"
            )


def first_of(bases: Bases, count: int) -> Bases:
    """The first of these images."""
    condition = None if bases.condition is None else bases.condition[:count]
    values, descriptors = bases.measured.values[:count], bases.measured.descriptors[:count]
    measured = Measured(values, descriptors, {})
    return Bases(bases.w_plus[:count], condition, bases.pairs, bases.units, measured, ())


def _begin(actor: Any, given: tuple[int, int, Any, Edit]) -> Any:
    return actor.edit.remote(*given)


def _lost(values: Array) -> Mapping[str, int]:
    """A note of the edited images on which nothing could be measured."""
    lost = int((~np.isfinite(values).any(axis=1)).sum())
    return {"no face": lost} if lost else {}
