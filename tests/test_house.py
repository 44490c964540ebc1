"""The house rules that a reader cannot see break."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("schemas", "storage", "mining", "jobs")  # each imports only from those before it
SOURCES = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way_and_only_jobs_know_ray(path):
    layer = path.relative_to(ROOT).parts[0]
    later = set(LAYERS[LAYERS.index(layer) + 1 :])
    assert not imported(path) & later
    if layer != "jobs":
        assert "ray" not in imported(path)


def test_every_folder_of_code_says_what_lives_in_it():
    folders = {path.parent for path in SOURCES if path.name == "__init__.py"}
    silent = [str(f.relative_to(ROOT)) for f in folders if not (f / "README.md").is_file()]
    assert not silent
