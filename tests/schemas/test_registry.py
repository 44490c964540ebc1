"""Lazy registries: unknown names, missing packages and unfit options."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest

from schemas.errors import InputError, MissingBackendError
from schemas.registry import build, fitted_options, load, missing_client, unknown

REGISTRY = {
    "here": ("mining.methods.ridge:RidgeConfig", ""),
    "absent": ("tests_need_no_such_package:Thing", "video"),
}


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="unknown method 'heer'; did you mean 'here'"):
        load("method", "heer", REGISTRY)


def test_of_many_names_the_nearest_are_listed_and_the_others_counted():
    names = [f"column_{k}" for k in range(170)]
    said = str(unknown("attribute", "column_17x", names))
    assert said.startswith("unknown attribute 'column_17x'; did you mean 'column_17'? Known: ")
    listed = said.partition("Known: ")[2].removesuffix(" and 162 more.").split(", ")
    assert len(listed) == 8 and listed[0] == "column_17" and set(listed) <= set(names)
    few = str(unknown("attribute", "yaw", [f"a{k}" for k in range(20)]))
    assert few.count("a") > 20 and "more" not in few


def test_a_number_for_a_text_says_how_to_write_it():
    with pytest.raises(InputError, match="checksum = 0: .*two pairs of quotes, \"'...'\""):
        fitted_options("it", _takes_text, {"checksum": 0})
    assert fitted_options("it", _takes_text, {"checksum": "0000"}) == {"checksum": "0000"}


def _takes_text(checksum: str | None = None) -> None: ...


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("class Own:\n    def __init__(self):\n        open('/nowhere/x')", "cannot be made: File"),
    ],
)
def test_a_broken_module_of_ones_own_is_told_in_one_line(tmp_path, monkeypatch, code, said):
    (tmp_path / "own_module_of_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_module_of_a_test", raising=False)
    with pytest.raises(InputError, match=said) as caught:
        build("generator", "own_module_of_a_test:Own", REGISTRY, {})
    assert "own_module_of_a_test.py" in str(caught.value)
    assert "\n" not in str(caught.value)


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
    ("name", "said"),
    [
        (":x", "expected 'package.module:Attribute'"),
        (".foo:x", "expected 'package.module:Attribute'"),
        ("foo.:x", "expected 'package.module:Attribute'"),
        ("os:", "expected 'package.module:Attribute'"),
        ("os:path", "generator 'os:path' is a module; expected a class or a function"),
        ("os.nothing:x", "no module 'os.nothing'"),
        ("mining.nothing:x", "no module 'mining.nothing'"),
        ("builtins:dict", "does not say which options it takes"),
    ],
)
def test_a_name_of_ones_own_that_names_nothing_usable(name, said):
    with pytest.raises(InputError, match=re.escape(said)):
        build("generator", name, REGISTRY, {})


class Demanding:
    def __init__(self, path: str, *, size: int, depth: int = 3):
        self.values = (path, size, depth)


class Backed:
    """Imports on first use a package that nobody has, or a module of ours that is not there."""

    def __init__(self, package: str = "no_such_backend.part"):
        __import__(package)


class Open:
    def __init__(self, first: int = 1, **others):
        self.values = (first, others)


@pytest.fixture
def own(monkeypatch):
    """A module of one's own by name, and a registry that lists its class under an extra."""
    module = SimpleNamespace(Demanding=Demanding, Backed=Backed, Open=Open)
    monkeypatch.setitem(sys.modules, "module_of_ones_own", module)
    return {"backed": ("module_of_ones_own:Backed", "video")}


def test_a_required_option_that_is_missing_is_named(own):
    name = "module_of_ones_own:Demanding"
    with pytest.raises(InputError, match=f"generator '{name}' needs the option 'path'"):
        build("generator", name, own, {"size": 4})
    with pytest.raises(InputError, match="needs the option 'size'"):
        build("generator", name, own, {"path": "x"})
    made = build("generator", name, own, {"path": "x", "size": "4"})
    assert made.values == ("x", 4, 3)


def test_a_class_that_takes_any_option_gets_them(own):
    made = build("generator", "module_of_ones_own:Open", own, {"first": 2, "more": [1]})
    assert made.values == (2, {"more": [1]})


def test_a_package_missing_on_first_use_names_the_extra(own):
    said = "generator 'backed' needs the package 'no_such_backend': pip install 'latentlode[video]'"
    with pytest.raises(MissingBackendError, match=re.escape(said)):
        build("generator", "backed", own, {})
    with pytest.raises(MissingBackendError, match="'no_such_backend': install it"):
        build("generator", "module_of_ones_own:Backed", own, {})


def test_a_missing_client_names_the_extra_or_what_fsspec_says():
    ours = missing_client("storage: s3://b", ImportError("Install s3fs to access S3"))
    assert str(ours).endswith("needs the package 's3fs': pip install 'latentlode[s3]'")
    other = missing_client("storage: gs://b", ImportError("Please install gcsfs"))
    assert str(other) == "storage: gs://b cannot be opened: Please install gcsfs"


def test_a_missing_module_of_ours_stays_a_bug(own):
    with pytest.raises(ModuleNotFoundError) as caught:
        build("generator", "backed", own, {"package": "mining.no_such_module"})
    assert not isinstance(caught.value, InputError)


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


def test_where_nothing_is_known_no_empty_list_is_shown():
    assert str(unknown("tag", "production", [])) == "unknown tag 'production'; there is none yet."
