"""An edit as files: a strip, an animation, a film or a folder, and the record beside it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from jobs.editing_images import Edited
from mining.editing.gif import encode_gif
from mining.editing.pictures import encode, frames, strip, there_and_back
from mining.editing.video import check_video, encode_mp4
from schemas.errors import InputError
from storage.files import Store, absolute

STRIPS, GIF, MP4 = (".png", ".jpg", ".jpeg"), ".gif", ".mp4"
RECORD = "edit.json"  # in a folder
REST, MOVE = 600, 80  # milliseconds that the ends and the other frames of an animation stand
FRAMES = {"strip": 6, "folder": 6, "gif": 16, "mp4": 25}
WIDEST = {"strip": 256, "gif": 256, "mp4": 512, "folder": 1024}  # pixels of an image, unless asked


@dataclass(frozen=True)
class Target:
    """Where an edit is written."""

    kind: str  # "strip", "gif", "mp4" or "folder"
    store: Store
    name: str  # of the file; "" for a folder
    force: bool

    @property
    def record(self) -> str:
        """The name of the record's file."""
        return f"{self.name}.json" if self.name else RECORD

    @property
    def url(self) -> str:
        """What is written, for people."""
        return self.store.path(self.name) if self.name else self.store.root


def target_of(out: str, force: bool) -> Target:
    """What an --out asks for by its extension.

    Raises:
        InputError: the extension is unknown, something is there already and not to be replaced,
            nothing can be written there, or a film needs a package that is not installed.
    """
    if not out.strip("/ "):
        raise InputError("edit: --out is empty; expected a .png, .jpg, .gif, .mp4 or a folder.")
    folder, _, name = absolute(out).rstrip("/").rpartition("/")
    dot = f".{name.rpartition('.')[2].lower()}" if "." in name.strip(".") else ""
    kinds = {**dict.fromkeys(STRIPS, "strip"), GIF: "gif", MP4: "mp4", "": "folder"}
    if dot not in kinds:
        raise InputError(
            f"edit: --out {out} ends in {dot}; expected .png or .jpg for a strip, .gif, .mp4, or "
            "a folder's name without a dot."
        )
    kind = kinds[dot]
    target = Target(
        kind,
        Store(f"{folder}/{name}" if kind == "folder" else folder or "/"),
        "" if kind == "folder" else name,
        force,
    )
    _check_free(target)
    if kind == "mp4":
        check_video()
    if target.store.exists():
        target.store.check_writable()
    return target


def write(target: Target, edited: Edited, record: dict[str, Any]) -> list[str]:
    """Write the pictures, then the record; the names of the files, the record last.

    Raises:
        InputError: something came to stand there meanwhile, or the picture would be too large.
        StorageError: it cannot be written.
    """
    files = _files(target, edited)
    record = {**record, "files": sorted(files)}
    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False, default=_plain)
    files[target.record] = text.encode()
    for name, data in files.items():
        if target.force:
            target.store.replace(name, data)
        elif not target.store.create(name, data):
            raise _taken(target.store.path(name))
    return [target.store.path(name) for name in files]


def _files(target: Target, edited: Edited) -> dict[str, bytes]:
    images, captions, titles = edited.images, edited.captions, edited.titles
    if target.kind == "strip":
        picture = strip(images, captions, titles)
        dot = ".png" if target.name.lower().endswith(".png") else ".jpg"
        return {target.name: encode(picture, dot)}
    if target.kind == "folder":
        rows, columns = images.shape[:2]
        wide = [len(str(max(1, count - 1))) for count in (rows, columns)]
        return {
            f"{row:0{wide[0]}d}-{column:0{wide[1]}d}.png": encode(images[row, column], ".png")
            for row in range(rows)
            for column in range(columns)
        }
    short = [title.partition(":")[0] for title in titles]
    pictures = there_and_back(frames(images, captions, short))
    last = images.shape[1] - 1
    if target.kind == "gif":
        waits = [REST if place in (0, last) else MOVE for place in range(len(pictures))]
        return {target.name: encode_gif(pictures, waits)}
    repeats = [REST // MOVE if place in (0, last) else 1 for place in range(len(pictures))]
    return {target.name: encode_mp4(pictures.repeat(repeats, axis=0), 1000 / MOVE)}


def _check_free(target: Target) -> None:
    """Refuse to write over what is there, unless that is asked for."""
    if target.kind == "folder":
        found = target.store.names() if target.store.exists() else []
        if target.store.local and target.store.exists() and not target.store.fs.isdir(
            target.store.root
        ):  # fmt: skip
            raise InputError(f"edit: --out {target.url} is a file, expected a folder.")
        if found and not target.force:
            raise _taken(target.url)
        return
    if target.store.local and target.store.fs.isdir(target.url):
        raise InputError(f"edit: --out {target.url} is a folder, expected a file.")
    for name in (target.name, target.record):
        if not target.force and target.store.exists(name):
            raise _taken(target.store.path(name))


def _taken(url: str) -> InputError:
    return InputError(f"edit: {url} is there already; choose another --out, or add --force.")


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy's numbers."""
    number = value.item()
    return number if not isinstance(number, float) or math.isfinite(number) else None
