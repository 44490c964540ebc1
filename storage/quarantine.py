"""Shards that could not be made, each with its reason, beside the dataset's other files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from schemas.errors import StorageError
from storage.files import Store
from storage.manifest import Manifest

FOLDER = "quarantine"


def quarantine(store: Store, manifest: Manifest, shard: int, reason: str) -> None:
    """Note that a shard could not be made; a later run tries it again."""
    content = {"dataset_id": manifest.dataset_id, "shard": shard, "reason": reason}
    store.replace(_name(shard), json.dumps(content, sort_keys=True, indent=1).encode())


def release(store: Store, shard: int) -> None:
    """Forget the note: the shard is made."""
    store.remove(_name(shard))


def quarantined(store: Store, manifest: Manifest) -> dict[int, str]:
    """Shard -> reason of every shard that could not be made and is not made since."""
    made = {name.partition(".")[0] for name in store.names("receipts")}
    found: dict[int, str] = {}
    for name in store.names(FOLDER):
        stem, _, ending = name.partition(".")
        if ending == "json" and stem.isdigit() and stem not in made:
            note = _read(store, name)
            if note.get("dataset_id") == manifest.dataset_id:
                found[int(stem)] = str(note.get("reason", ""))
    return found


def _name(shard: int) -> str:
    return f"{FOLDER}/{shard:05d}.json"


def _read(store: Store, name: str) -> Mapping[str, object]:
    try:
        note = json.loads(store.read(f"{FOLDER}/{name}"))
    except (ValueError, StorageError):  # cut off, or released by another run
        return {}
    return note if isinstance(note, dict) else {}
