"""Lazy registries: unknown names, missing packages and unfit options."""

from __future__ import annotations

import pytest

from schemas.errors import InputError, MissingBackendError
from schemas.registry import build, load

REGISTRY = {
    "here": ("mining.methods.ridge:RidgeConfig", ""),
    "absent": ("tests_need_no_such_package:Thing", "video"),
}


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="unknown method 'heer'; did you mean 'here'"):
        load("method", "heer", REGISTRY)


def test_a_missing_package_names_the_extra():
    with pytest.raises(MissingBackendError, match=r"pip install 'latentlode\[video\]'"):
        load("method", "absent", REGISTRY)


def test_an_entry_of_ones_own_is_named_by_module_and_attribute():
    found = load("generator", "tests.examples.points:PointsGenerator", REGISTRY)
    assert found.name == "points"


@pytest.mark.parametrize("name", ["no_such_module:Thing", "tests.examples.points:Nothing"])
def test_an_own_entry_that_does_not_exist_is_an_input_error(name):
    with pytest.raises(InputError, match="no module|has no"):
        load("generator", name, REGISTRY)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"penlty": 1}, "no option 'penlty'; did you mean 'penalty'"),
        ({"penalty": "much"}, "option penalty = 'much'"),
        ({"penalty": -1}, "above 0"),
    ],
)
def test_unfit_options_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        build("method", "here", REGISTRY, options)
