"""Shared fixtures, and which tests want packages that only an extra brings."""

from __future__ import annotations

import importlib.util

import hypothesis
import numpy as np
import pytest

# no test is timed: machines are shared; and the same examples come in every run
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# extra -> a package that it brings and nothing else here does
EXTRAS = {
    "mediapipe": "mediapipe",
    "insightface": "insightface",
    "onnx": "onnxruntime",
    "clip": "transformers",
    "bfm": "h5py",
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


def extras_of(item: pytest.Item) -> set[str]:
    """The extras of the test's `needs` marks."""
    return {str(extra) for mark in item.iter_markers("needs") for extra in mark.args}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--extra")
    if wanted is None:
        return
    kept = [item for item in items if wanted in extras_of(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    for extra in sorted(extras_of(item)):
        if importlib.util.find_spec(EXTRAS[extra]) is None:
            pytest.skip(f"needs the extra {extra!r}: see `make extras`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if item.config.getoption("--extra") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"  # its environment is there so that the test runs
    return report
