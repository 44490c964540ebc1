"""The arrays of a statismo or scalismo file (HDF5), read without following it elsewhere.

Layout: https://github.com/statismo/statismo/wiki/Statismo-file-format, and what scalismo-faces
adds: groups `shape` and `expression`, each with `model`; `metadata/landmarks/json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.readers.checks import check_room
from schemas.errors import InputError, MissingBackendError

NUMBERS = tuple(
    f"{part}/model/{name}"
    for part in ("shape", "expression")
    for name in ("mean", "pcaBasis", "pcaVariance")
)
TEXT = "metadata/landmarks/json"
FILTERS = {1, 2, 3}  # HDF5's own deflate, shuffle, checksum; others are loaded as plug-ins
LONGEST_TEXT = 1 << 20  # bytes

h5py: Any
try:  # here, as only the process that reads such a file imports this, before it is bound
    import h5py
except ModuleNotFoundError:
    h5py = None


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What a face model needs of the file; texts as their bytes.

    Raises:
        InputError: it is damaged, leads to other files, or holds something other than numbers.
    """
    if h5py is None:
        raise MissingBackendError("it is HDF5, which needs: pip install 'latentlode[bfm]'")
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            found = {}
            for place in NUMBERS:
                dataset = _dataset(file, place)
                if dataset is not None:
                    found[place] = _numbers(dataset, place, size)
            text = _dataset(file, TEXT)
            if text is not None:
                found[TEXT] = _text(text, size)
            return found
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        said = " ".join(str(error).split())[:200]
        raise InputError(f"it is no sound HDF5 file: {said}") from None


def _dataset(file: Any, place: str) -> Any:
    """What lies at a place, reached by hard links alone; None where nothing does."""
    here = file
    for part in place.split("/"):
        if not isinstance(here, h5py.Group):
            raise InputError(f"{place} lies in something other than a group")
        try:
            link = here.get(part, getlink=True)
        except KeyError:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{place} is a link to elsewhere ({type(link).__name__})")
        here = here[part]
    if not isinstance(here, h5py.Dataset):
        raise InputError(f"{place} is no array")
    if here.external or here.is_virtual:
        raise InputError(f"the numbers of {place} lie in another file")
    plist = here.id.get_create_plist()
    if {plist.get_filter(k)[0] for k in range(plist.get_nfilters())} - FILTERS:
        raise InputError(f"{place} is packed by a plug-in of HDF5")
    return here


def _numbers(dataset: Any, place: str, size: int) -> NDArray[Any]:
    kind = dataset.dtype
    if kind.kind not in "fiu" or dataset.shape is None or not 1 <= dataset.ndim <= 2:
        raise InputError(f"{place} is of type {kind} and shape {dataset.shape}, not numbers")
    check_room("the file", place, dataset.shape, kind.itemsize, size)
    found = np.asarray(dataset[()])
    flat = found.ndim == 2 and found.shape[1] == 1 and not place.endswith("pcaBasis")
    return found[:, 0] if flat else found


def _text(dataset: Any, size: int) -> NDArray[np.uint8]:
    """A text's bytes, whether it is stored as text or as numbers."""
    if dataset.shape is None or dataset.size > LONGEST_TEXT or dataset.dtype.kind not in "OSiu":
        raise InputError(f"{TEXT} is no text")
    check_room("the file", TEXT, dataset.shape, max(dataset.dtype.itemsize, 1), size)
    value = np.asarray(dataset[()])
    if value.dtype.kind in "iu":
        return value.astype(np.uint8).ravel()
    first = value.ravel()[0] if value.size == 1 else b""
    data = first.encode() if isinstance(first, str) else first
    if not isinstance(data, bytes):
        raise InputError(f"{TEXT} is no text")
    return np.frombuffer(data, np.uint8)
