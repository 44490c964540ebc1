"""What made the numbers: the versions of this code and of the packages behind it."""

from __future__ import annotations

import platform
from importlib import metadata

RECORDED = ("numpy", "scipy", "torch", "dlib-bin", "opencv-contrib-python-headless", "pyarrow")


def code_version() -> str:
    """The installed version of LatentLode."""
    try:
        return metadata.version("latentlode")
    except metadata.PackageNotFoundError:
        return "not installed"


def package_versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
