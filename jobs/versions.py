"""What made the numbers: the versions of this code and of the packages behind it."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from mining.extractors.registry import unmarked

if TYPE_CHECKING:
    from storage.manifest import Manifest

RECORDED = ("numpy", "scipy", "torch", "dlib-bin", "opencv-contrib-python-headless", "pyarrow")
MEASURING = {  # extractor -> the packages beside those that compute what it measures
    "mediapipe": ("mediapipe",),
    "insightface": ("onnxruntime",),
    "onnx_attributes": ("onnxruntime",),
    "clip_attributes": ("transformers",),
}


def code_version() -> str:
    """The installed version of LatentLode."""
    try:
        return metadata.version("latentlode")
    except metadata.PackageNotFoundError:
        return "not installed"


def package_versions(manifest: Manifest | None = None) -> dict[str, str]:
    """Versions of what decides the numbers, as far as it is installed.

    Args:
        manifest: of the dataset that they come from; what its extractors run on is told too.
    """
    kinds = [] if manifest is None else [unmarked(one["load"]) for one in manifest.extractors]
    used = [name for kind in kinds for name in MEASURING.get(kind, ())]
    found = {"python": platform.python_version()}
    for name in dict.fromkeys([*RECORDED, *used]):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
