"""A catalogue, and a folder of what others made."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.catalog import Catalog
from tests.storage.exchange import planted_files as planted
from tests.storage.exchange.planted_files import put, unit


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five directions in four files of four formats, and two files that are none."""
    root = tmp_path / "theirs"
    put(root / "stylegan_ffhq_age_w_boundary.npy", planted.npy(unit(1, 1, 32)))
    put(root / "e4e" / "smile.pt", planted.torch_zip(2.5 * unit(2, 1, 32)))
    put(root / "micromotion" / "angry" / "d_latent", planted.torch_legacy(unit(3, 1, 4, 32)))
    put(root / "e4e" / "ffhq_pca.pt", planted.torch_zip(planted.pca(2, 32)))
    put(root / "README.md", b"# About")
    put(root / "e4e" / "evil.pt", b"\x80\x02cos\nsystem\nX\x01\0\0\x001\x85R.")
    return root
