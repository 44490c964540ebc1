"""Lazy imports by name: a registry is a plain dict of "module:attribute" and the extra it needs."""

from __future__ import annotations

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.errors import InputError, MissingBackendError

Registry = Mapping[str, tuple[str, str]]


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones, naming the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")


def load(kind: str, name: str, registry: Registry) -> Any:
    """Import and return the registry entry `name`, or what "module:attribute" names.

    Raises:
        InputError: no entry has this name, or a "module:attribute" of one's own does not exist.
        MissingBackendError: the entry's module needs a package that is not installed.
    """
    if name not in registry and ":" not in name:
        raise unknown(kind, name, registry)
    target, extra = registry.get(name, (name, ""))
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        # a missing module of our own is a bug, not a missing extra
        if error.name and error.name.partition(".")[0] in {"mining", "jobs", "schemas", "storage"}:
            raise
        if name not in registry:
            raise InputError(f"{kind} {name!r}: no module {error.name!r} to import.") from error
        wanted = f"latentlode[{extra}]" if extra else "latentlode"
        raise MissingBackendError(
            f"{kind} {name!r} needs the package {error.name!r}: pip install '{wanted}'"
        ) from error
    if found is None:
        raise InputError(f"{kind} {name!r}: module {module} has no {attribute!r}.")
    return found


def build(kind: str, name: str, registry: Registry, options: Mapping[str, Any]) -> Any:
    """Load the registry entry `name` and call it with its options.

    Raises:
        InputError: no entry has this name, it takes no such option, or a value does not fit.
        MissingBackendError: a package that it needs is not installed.
    """
    make = load(kind, name, registry)
    return make(**fitted_options(f"{kind} {name!r}", make, options))


def fitted_options(
    who: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options as the callable's annotations want them: lists become tuples, and so on.

    Raises:
        InputError: the callable takes no such option, or a value does not fit its annotation.
    """
    from pydantic import TypeAdapter, ValidationError

    body = make.__init__ if inspect.isclass(make) else make
    hints = typing.get_type_hints(body)
    known = [name for name in inspect.signature(make).parameters if name != "self"]
    fitted: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            listed = ", ".join(known) or "none"
            raise InputError(f"{who} has no option {option!r}{hint} Known: {listed}.")
        try:
            fitted[option] = TypeAdapter(hints.get(option, Any)).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise InputError(f"{who}, option {option} = {value!r}: {message.lower()}.") from None
    return fitted
