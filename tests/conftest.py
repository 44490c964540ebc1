"""Shared fixtures, and which tests want packages that only an extra brings."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# no test is timed: machines are shared; and the same examples come in every run
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# extra -> the packages without which its tests are skipped
EXTRAS = {
    "mediapipe": ("mediapipe",),
    "insightface": ("insightface", "onnxruntime", "onnx"),
    "onnx": ("onnxruntime", "onnx"),
    "clip": ("transformers",),
    "bfm": ("h5py",),
    "video": ("imageio_ffmpeg",),
    "flow": ("torchdiffeq",),
}


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator of random numbers."""
    return np.random.default_rng(20_26)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--extra",
        metavar="NAME[+NAME]",
        help="only the tests that need these extras; one that is skipped has failed",
    )


def pytest_configure(config: pytest.Config) -> None:
    extras = chosen(config)
    unknown = extras - EXTRAS.keys()
    if unknown:
        raise pytest.UsageError(f"--extra: {', '.join(sorted(unknown))} is none of {[*EXTRAS]}")
    missing = [name for extra in sorted(extras) for name in lacking(extra)]
    if missing:
        raise pytest.UsageError(
            f"--extra: {', '.join(missing)} is not installed; see `make extras`"
        )


def chosen(config: pytest.Config) -> set[str]:
    """The extras that --extra names."""
    return set(filter(None, (config.getoption("--extra") or "").split("+")))


def lacking(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def extras_of(item: pytest.Item) -> set[str]:
    """The extras of the test's `needs` marks."""
    return {str(extra) for mark in item.iter_markers("needs") for extra in mark.args}


def files_missing(item: pytest.Item) -> list[str]:
    """The model files of the test's `weights` marks that are not in $LODE_MODELS."""
    folder = os.environ.get("LODE_MODELS")
    names = [str(name) for mark in item.iter_markers("weights") for name in mark.args]
    return [name for name in names if not folder or not (Path(folder) / name).exists()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = chosen(config)
    if not wanted:
        return
    kept = [
        item
        for item in items
        if wanted <= extras_of(item)
        and not any(map(lacking, extras_of(item)))
        and not files_missing(item)
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    for extra in sorted(extras_of(item)):
        if lacking(extra):
            pytest.skip(f"needs the extra {extra!r}: see `make extras`")
    if missing := files_missing(item):
        pytest.skip(f"needs $LODE_MODELS/{missing[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if chosen(item.config) and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"  # its environment is there so that the test runs
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    if report.skipped and isinstance(collector, pytest.Module):
        text = collector.path.read_text()
        if any(f'needs("{extra}")' in text for extra in chosen(collector.config)):
            report.outcome = "failed"  # as one of its tests
    return report
