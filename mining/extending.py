"""The shards of an extended dataset before they are measured: the parent's rows, and images.

The images are thumbnails, or made again from the stored latents, or none where only other
extractors' columns are read. No latent is drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.fields import is_tied
from mining.generators.base import Generator, Images, TrueFaces
from mining.latents import Latents
from mining.rendering import pack_images
from mining.sampling import IMAGE, Renderer, Watch
from mining.stored import seen_size
from schemas.errors import CorruptDataError, InputError, RunError
from schemas.samples import from_column
from storage.derived import EXTENDED, RENDER, THUMBNAILS, open_parent
from storage.manifest import Manifest
from storage.shards import read_receipt, read_shard

Render = Callable[[int, Watch | None], pa.Table]  # shard -> its rows, for a Measurer
TRUTH = 1e-3  # of the size of a parameter, of the image, or mm: rounding is 1000 times less
LEVELS = 1.0  # of 255, mean over a thumbnail: rounding moves a few pixels by a level or two


def make_renderer(manifest: Manifest) -> Render:
    """What makes the shards of a dataset up to their measuring; loads its generator once.

    Raises:
        InputError: the parent of an extended dataset is not there.
        RunError: the generator is another one on this machine.
    """
    return Extender(manifest) if manifest.derived.get("kind") == EXTENDED else Renderer(manifest)


class Extender:
    """Reads the parent's shards and adds the images that the new extractors see."""

    def __init__(self, manifest: Manifest):
        self._manifest = manifest
        self._store, self._parent = open_parent(manifest)
        self._images = manifest.derived["images"]
        self._renderer = Renderer(manifest) if self._images == RENDER else None
        if self._renderer is not None:
            _check_stored(self._renderer.generator, manifest)

    def __call__(self, shard: int, watch: Watch | None = None) -> pa.Table:
        """The parent's rows, with an image column where images are read.

        Args:
            watch: told the number of each batch before it is rendered.

        Raises:
            CorruptDataError: the parent's shard is damaged or missing.
            RunError: the stored latents make other images than the parent's.
        """
        if not self._store.exists(self._parent.receipt_file(shard)):
            raise CorruptDataError(
                f"{self._store.url}: shard {shard} is missing; make it again with: "
                f"lode dataset repair {self._store.url}"
            )
        receipt = read_receipt(self._store, self._parent, shard)
        table = read_shard(self._store, receipt)
        if self._images == THUMBNAILS:
            images = decode(table, seen_size(self._manifest))
        elif self._renderer is not None:
            images = self._rendered(self._renderer, shard, table, watch)
        else:
            return table
        return table.append_column(IMAGE, pack_images(images))

    def _rendered(
        self, renderer: Renderer, shard: int, table: pa.Table, watch: Watch | None
    ) -> Images:
        latents = stored_latents(renderer.generator, self._manifest, table)
        images, thumbnails, truth = renderer.images(latents, watch)
        where = f"{self._store.url}, shard {shard}"
        if truth is not None:
            check_truth(where, table, truth)
        if thumbnails and "thumbnail" in table.column_names:
            check_thumbnails(where, table, thumbnails)
        return images


def stored_latents(generator: Generator, manifest: Manifest, table: pa.Table) -> Latents:
    """The latents that made a table's images, from its columns; z is not needed, and empty."""
    if is_tied(manifest.settings):
        w_plus = generator.broadcast(from_column(table.column("w")))
    else:
        w_plus = from_column(table.column("w_plus"))
    condition = from_column(table.column("condition")) if generator.c_dim else None
    return Latents(np.empty((len(table), 0), np.float32), w_plus, condition)


def _check_stored(generator: Generator, manifest: Manifest) -> None:
    """InputError where a column is missing that the images are made from."""
    columns = {field.name for field in manifest.fields}
    wanted = ["w" if is_tied(manifest.settings) else "w_plus"]
    wanted += ["condition"] if generator.c_dim else []
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InputError(
            f"dataset {manifest.derived['parents'][0]['dataset_id']} has no column "
            f"{' and '.join(missing)}, which its images are made from; extend the dataset that it "
            "was filtered from, or keep that column."
        )


def decode(table: pa.Table, size: int) -> Images:
    """(N, size, size, 3) of a table's thumbnails.

    Raises:
        CorruptDataError: one is no JPEG of that size.
    """
    images = np.empty((len(table), size, size, 3), np.uint8)
    for row, data in enumerate(table.column("thumbnail").to_pylist()):
        images[row] = _decoded(data, size, row)
    return images


def _decoded(data: bytes, size: int, row: int) -> NDArray[np.uint8]:
    import cv2

    if jpeg_size(data) != (size, size):
        raise CorruptDataError(
            f"row {row}: the thumbnail is no JPEG of {size} x {size} pixels, as the manifest says"
        )
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise CorruptDataError(f"row {row}: the thumbnail cannot be decoded")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG's frame header says, read before anything is allocated.

    Source: ITU-T T.81 (1992), B.1.1.4 and B.2.2.
    """
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sizes = data[place + 5 : place + 9]
            return int.from_bytes(sizes[:2], "big"), int.from_bytes(sizes[2:], "big")
        place += 2 + length
    return None


def check_truth(where: str, table: pa.Table, truth: TrueFaces) -> None:
    """RunError unless the truth about the images is what is stored, within rounding."""
    found = {
        "truth_parameters": truth.parameters,
        "truth_landmarks_2d": truth.landmarks_2d,
        "truth_landmarks_3d": truth.landmarks_3d,
    }
    for name, values in found.items():
        if name in table.column_names:
            stored = from_column(table.column(name))
            off = np.abs(stored - values) > TRUTH * (1 + np.abs(values))
            _check_rows(where, np.asarray(~off.reshape(len(off), -1).any(axis=1)), name)


def check_thumbnails(where: str, table: pa.Table, thumbnails: list[bytes]) -> None:
    """RunError unless the images' thumbnails are those that are stored, within rounding."""
    stored = table.column("thumbnail").to_pylist()
    same = [
        a == b or _close(a, b, k) for k, (a, b) in enumerate(zip(stored, thumbnails, strict=True))
    ]
    _check_rows(where, np.array(same, bool), "thumbnail")


def _close(stored: bytes, made: bytes, row: int) -> bool:
    size = jpeg_size(made)
    if size is None or jpeg_size(stored) != size:
        return False
    one, other = (_decoded(data, size[0], row).astype(np.float32) for data in (stored, made))
    return float(np.abs(one - other).mean()) <= LEVELS


def _check_rows(where: str, same: NDArray[np.bool_], name: str) -> None:
    if not same.all():
        row = int(np.flatnonzero(~same)[0])
        raise RunError(
            f"{where}: the stored latents make another image than {name} of row {row} says "
            f"({int((~same).sum())} of {len(same)} rows); the generator here is not the one that "
            "made the dataset, or its columns were changed. Nothing was written of the shard."
        )
