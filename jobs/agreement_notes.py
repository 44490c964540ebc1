"""What to know of a dataset before its backends are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.agreement_columns import CAMERA_SOURCE
from mining.evaluation.quantities import CROPPED
from mining.extractors.registry import unmarked
from storage.dataset import Dataset
from storage.manifest import Manifest

if TYPE_CHECKING:
    from jobs.agreement import Quantity

HEAD, SHAPE = "head", "shape3d"  # the embedded generator and its shape model; who fits the latter


def notes_on(
    dataset: Dataset, reference: str, quantities: Sequence[Quantity], kin: Mapping[str, str]
) -> tuple[str, ...]:
    """What to know before the numbers.

    Args:
        reference: "truth", "camera" or "".
        kin: backend -> through whom it sees faces; itself where it looks on its own.
    """
    notes = []
    manifest = dataset.manifest
    done, shards = len(dataset.receipts), manifest.shards
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
    cropped = [one["name"] for one in manifest.extractors if unmarked(one["load"]) in CROPPED]
    for root in dict.fromkeys(kin.values()):
        readers = [name for name, reads in kin.items() if reads == root and name != root]
        measures = any({root, name} <= set(one.read) for one in quantities for name in readers)
        if len(readers) + measures > 1:
            notes.append(_kinship(root, readers, cropped, measures))
    favoured = [one["name"] for one in manifest.extractors if _has_heads_own_basis(one, manifest)]
    if favoured:
        fit = f"{' and '.join(favoured)} {_verb('fit', favoured)}"
        notes.append(
            f"{fit} the shapes that the generator {HEAD} makes its faces of, which favours it "
            "here; on faces of other generators it has no such help."
        )
    return tuple(notes)


def _kinship(root: str, readers: Sequence[str], cropped: Sequence[str], measures: bool) -> str:
    """Who depends on one backend, which may measure the same things itself."""
    crops = [name for name in readers if name in cropped]
    read = [name for name in readers if name not in cropped]
    ways = [f"{' and '.join(read)} {_verb('read', read)} the landmarks of {root}"] if read else []
    if crops:
        see = _verb("see", crops)
        ways.append(f"{' and '.join(crops)} {see} faces cropped where {root} finds them")
    too = ", which measures too" if measures else ""
    return (
        f"{'; '.join(ways)}{too}: they fail together, and that they agree is no independent "
        "evidence."
    )


def _verb(verb: str, who: Sequence[str]) -> str:
    return verb if len(who) > 1 else f"{verb}s"


def _has_heads_own_basis(about: Mapping[str, Any], manifest: Manifest) -> bool:
    """Whether it is shape3d with its default model, on images of that model's own faces."""
    own = unmarked(about["load"]) == SHAPE and about["options"].get("model", HEAD) == HEAD
    return own and manifest.generator["name"] == HEAD
