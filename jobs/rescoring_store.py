"""The folder of `lode rescore`: what is measured stays there, and is not measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.rescoring_plan import Found, Task
from jobs.rescoring_tasks import SPARE, Kept, Part
from schemas.errors import ConflictError, CorruptDataError
from storage.artefacts import MOST_BYTES, arrays, pack, problem
from storage.files import Store

Array = NDArray[np.float64]

SETTINGS = "rescoring.json"


def claim(store: Store, settings: Mapping[str, Any]) -> None:
    """Take the folder for these settings, or go on in one that has them.

    Raises:
        ConflictError: what lies there was measured in another way.
        StorageError: it cannot be written.
    """
    text = json.dumps(settings, indent=1, sort_keys=True)
    store.check_writable()
    if store.create(SETTINGS, text.encode()):
        return
    try:
        there = json.loads(store.read(SETTINGS))
    except ValueError:
        there = {}
    differ = [name for name in settings if not isinstance(there, dict) or name not in there]
    differ = differ or [name for name in settings if there[name] != json.loads(text)[name]]
    if differ:
        raise ConflictError(
            f"rescore: {store.url} holds edits of another {' and '.join(differ)}; expected a new "
            "folder, or the settings that it was begun with. Nothing was changed."
        )


def keep_bases(store: Store, part: Part, kept: Kept) -> None:
    """Store a part's unedited images."""
    content = {"picked": kept.picked, "values": kept.values, "descriptors": kept.descriptors}
    store.replace(_base_name(part), pack(content))


def read_bases(store: Store, part: Part) -> Kept | None:
    """A part's unedited images; None where they are not there whole."""
    found = _read(store, _base_name(part))
    if found is None or set(found) != {"picked", "values", "descriptors"}:
        return None
    kept = Kept(**found)
    return kept if _is_whole(kept, part) else None


def keep_edits(store: Store, task: Task, found: Found) -> None:
    """Store all that was measured along one direction."""
    content = {
        "values": found.values,
        "cosines": found.cosines,
        "planned": np.array([task.edit.step]),
        "step": np.array([found.step]),
    }
    store.replace(_edits_name(task), pack(content))


def read_edits(store: Store, task: Task, shape: tuple[int, int]) -> Found | None:
    """What `keep_edits` stored; None where it is not there whole, or was planned otherwise.

    Args:
        shape: (M, A) as it must be.
    """
    found = _read(store, _edits_name(task))
    if found is None or set(found) != {"values", "cosines", "planned", "step"}:
        return None
    if found["planned"].shape != (1,) or found["step"].shape != (1,):
        return None
    same = float(found["planned"][0]) == task.edit.step and np.isfinite(found["step"][0])
    shapes = (found["values"].shape, found["cosines"].shape)
    if not same or shapes != (shape, shape[:1]) or not _are_floats(*found.values()):
        return None
    return Found(found["values"], found["cosines"], float(found["step"][0]))


def _is_whole(kept: Kept, part: Part) -> bool:
    """Whether these are some of a part's candidates, in their order, and numbers of each."""
    count = len(kept.values)
    return (
        kept.values.ndim == kept.descriptors.ndim == 2
        and kept.picked.shape == (count,) == kept.descriptors.shape[:1]
        and 0 < count <= part.images
        and kept.picked.dtype == np.int64
        and bool((np.diff(kept.picked, prepend=-1) > 0).all())
        and bool(kept.picked[-1] < SPARE * part.images)
        and _are_floats(kept.values, kept.descriptors)
    )


def _are_floats(*arrays: NDArray[Any]) -> bool:
    return all(array.dtype == np.float64 for array in arrays)


def _read(store: Store, name: str) -> dict[str, Any] | None:
    """The arrays of a file; None where there is none, it is damaged, or larger than any is."""
    folder, _, file = name.rpartition("/")
    if not 0 < store.sizes(folder).get(file, 0) <= MOST_BYTES:
        return None
    data = store.read(name)
    try:
        return None if problem(data) else arrays(data)
    except CorruptDataError:
        return None


def _base_name(part: Part) -> str:
    return f"edits/unedited-{part.number:05d}.safetensors"


def _edits_name(task: Task) -> str:
    return f"edits/{task.card.direction_id}-{task.kind}-{task.amount:g}.safetensors"
