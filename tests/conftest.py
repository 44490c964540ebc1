"""Shared fixtures."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest

# no test is timed: machines are shared; and the same examples come in every run
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator of random numbers."""
    return np.random.default_rng(20_26)
