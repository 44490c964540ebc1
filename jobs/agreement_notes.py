"""What to know of a dataset before its backends are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jobs.agreement_columns import CAMERA_SOURCE
from mining.evaluation.quantities import CROPPED
from storage.dataset import Dataset

if TYPE_CHECKING:
    from jobs.agreement import Quantity


def notes_on(
    dataset: Dataset, reference: str, quantities: Sequence[Quantity], kin: Mapping[str, str]
) -> tuple[str, ...]:
    """What to know before the numbers.

    Args:
        reference: "truth", "camera" or "".
        kin: backend -> through whom it sees faces; itself where it looks on its own.
    """
    notes = []
    done, shards = len(dataset.receipts), dataset.manifest.shards
    if done < shards:
        notes.append(f"Only {done:,} of {shards:,} shards are finished.")
    if not quantities:
        notes.append(
            "Nothing to compare: no two backends, and no truth, tell of the same quantity."
        )
    elif all(len(set(one.read) - {reference}) < 2 for one in quantities):
        notes.append(
            "No two backends measure the same quantity, so there is nothing to compare between "
            f"them; they are held against the {reference} alone."
        )
    if reference == CAMERA_SOURCE:
        notes.append(
            "The camera is what was asked of the generator. Faces may be turned otherwise: what "
            "all backends miss alike may be the generator's fault."
        )
    for root in dict.fromkeys(kin.values()):
        readers = [name for name, reads in kin.items() if reads == root and name != root]
        if len(readers) > 1:
            notes.append(_kinship(root, readers))
    return tuple(notes)


def _kinship(root: str, readers: Sequence[str]) -> str:
    cropped = [name for name in readers if name in CROPPED]
    read = [name for name in readers if name not in CROPPED]
    ways = [f"{' and '.join(read)} read the landmarks of {root}"] if read else []
    if cropped:
        ways.append(f"{' and '.join(cropped)} sees faces cropped where {root} finds them")
    return f"{'; '.join(ways)}: they fail together, and that they agree is no independent evidence."
