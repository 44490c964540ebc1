"""What beside the settings decides a dataset's bytes: the libraries and the machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from schemas.errors import RunError

# what renders, measures, draws thumbnails and writes Parquet; backends with libraries of their
# own, as dlib is, have those in their fingerprints
LIBRARIES = ("numpy", "scipy", "opencv-contrib-python-headless", "pyarrow")


@cache
def made_with() -> Mapping[str, str]:
    """Library -> version on this machine, and its architecture."""
    return {"machine": platform.machine(), **{name: _version(name) for name in LIBRARIES}}


def check_made_with(expected: Mapping[str, str]) -> None:
    """Raise RunError where this machine would make other bytes than the manifest's."""
    here = made_with()
    other = [name for name in expected if here.get(name) != expected[name]]
    if other:
        told = ", ".join(f"{name} {here.get(name)}, not {expected[name]}" for name in other)
        raise RunError(
            f"this machine has {told}: the dataset's manifest asks for the same versions on every "
            "node; install them, or make a new dataset."
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
