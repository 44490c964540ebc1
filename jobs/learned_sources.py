"""What a learned method reads beside its dataset: sequences of one identity, inverted latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.parents import open_whole
from mining.stored import latent_column
from schemas.errors import InputError
from schemas.registry import unknown
from storage.dataset import SEQUENCE, Dataset
from storage.manifest import Manifest

MOST_BYTES = 2**30  # of a file of latents

Floats = NDArray[np.float32]


def open_sequences(url: str, manifest: Manifest, landmarks: str = "") -> Dataset:
    """A dataset of sequences that goes with another.

    Args:
        manifest: of the dataset that it goes with.
        landmarks: the column of landmarks that is read, where one is.

    Raises:
        InputError: it holds no sequences, is of another generator, or lacks a column.
    """
    who = "direction_matrix: sequences"
    dataset = open_whole(url)
    columns = {field.name for field in dataset.manifest.fields}
    if SEQUENCE not in columns:
        raise InputError(
            f"{who} {url}: the dataset holds no sequences of one identity; expected one made with "
            "--dataset.sequences.length 4, or another number above 1."
        )
    _check_same(who, url, dataset.manifest, manifest)
    if landmarks and landmarks not in columns:
        raise unknown(f"{who} {url}: landmark column", landmarks, columns)
    return dataset


def _check_same(who: str, url: str, other: Manifest, manifest: Manifest) -> None:
    """InputError unless both datasets are of one generator, in one space."""
    said = [about.generator["fingerprint"] for about in (other, manifest)]
    if said[0] != said[1]:
        raise InputError(
            f"{who} {url}: the dataset is of another generator, {other.generator['name']!r} "
            f"{said[0][:16]}; expected {manifest.generator['name']!r} {said[1][:16]}."
        )
    if latent_column(other) != latent_column(manifest):
        raise InputError(
            f"{who} {url}: the dataset's latents are its {latent_column(other)}; expected "
            f"{latent_column(manifest)}, as of the dataset that is mined."
        )


def read_inverted(url: str, manifest: Manifest) -> Floats:
    """Latents of inverted images (M, D), flat: of an .npy file, or of a dataset.

    Raises:
        InputError: there is nothing there, or latents of another generator or width.
    """
    who = "direction_matrix: inverted"
    about, column = manifest.generator, latent_column(manifest)
    shape = (about["w_dim"],) if column == "w" else (about["num_ws"], about["w_dim"])
    if not url.endswith(".npy"):
        other = open_whole(url)
        _check_same(who, url, other.manifest, manifest)
        found = other.arrays([column])[column]
    else:
        found = _read_array(who, url)
    if found.ndim != 1 + len(shape) or found.shape[1:] != shape or not len(found):
        wanted = ", ".join(map(str, shape))
        raise InputError(f"{who} {url}: {found.shape} came, expected (N, {wanted}), N > 0.")
    return np.ascontiguousarray(found, np.float32).reshape(len(found), -1)


def _read_array(who: str, path: str) -> NDArray[Any]:
    """A finite array of numbers of an .npy file; nothing in it is executed."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{who} {path}: there is no such file.")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{who} {path}: larger than {MOST_BYTES:,} bytes.")
    try:  # checks the header against the file's size before anything is allocated
        found = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{who} {path} is no .npy file of numbers: {said}") from None
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise InputError(f"{who} {path}: {found.dtype} came; expected an array of finite numbers.")
    return np.asarray(found)
