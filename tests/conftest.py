"""Shared fixtures, and which tests want packages that only an extra brings."""

from __future__ import annotations

import importlib.util

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
}


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator of random numbers."""
    return np.random.default_rng(20_26)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--extra",
        choices=sorted(EXTRAS),
        help="only the tests that need this extra; one that is skipped has failed",
    )


def pytest_configure(config: pytest.Config) -> None:
    missing = lacking(config.getoption("--extra"))
    if missing:
        raise pytest.UsageError(
            f"--extra: {', '.join(missing)} is not installed; see `make extras`"
        )


def lacking(extra: str | None) -> list[str]:
    """The packages of an extra that are not installed."""
    wanted = EXTRAS[extra] if extra else ()
    return [name for name in wanted if importlib.util.find_spec(name) is None]


def extras_of(item: pytest.Item) -> set[str]:
    """The extras of the test's `needs` marks."""
    return {str(extra) for mark in item.iter_markers("needs") for extra in mark.args}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--extra")
    if wanted is None:
        return
    kept = [
        item
        for item in items
        if wanted in (found := extras_of(item)) and not any(map(lacking, found))
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    for extra in sorted(extras_of(item)):
        if lacking(extra):
            pytest.skip(f"needs the extra {extra!r}: see `make extras`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if item.config.getoption("--extra") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"  # its environment is there so that the test runs
    return report
