"""Lazy imports by name: a registry is a plain dict of "module:attribute" and the extra it needs."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.errors import InputError, LodeError, MissingBackendError

Registry = Mapping[str, tuple[str, str]]


MOST_LISTED = 20  # names in one message; of more, the FEW_LISTED nearest
FEW_LISTED = 8


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones, naming the nearest."""
    names = sorted(known)
    if not names:
        return InputError(f"unknown {kind} {name!r}; there is none yet.")
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    more = ""
    if len(names) > MOST_LISTED:
        more = f" and {len(names) - FEW_LISTED:,} more"
        names = difflib.get_close_matches(name, names, n=FEW_LISTED, cutoff=0.0)
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}{more}.")


def load(kind: str, name: str, registry: Registry) -> Any:
    """Import and return the registry entry `name`, or what "module:attribute" names.

    Raises:
        InputError: no entry has this name, or a "module:attribute" of one's own does not exist.
        MissingBackendError: the entry's module needs a package that is not installed.
    """
    if name not in registry and ":" not in name:
        raise unknown(kind, name, registry)
    target, _ = registry.get(name, (name, ""))
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise InputError(f"{kind} {name!r}: expected 'package.module:Attribute'.")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if name not in registry and _lies_on(error.name, module):
            raise InputError(
                f"{kind} {name!r}: no module {error.name!r} to import; is its folder on PYTHONPATH?"
            ) from error
        if _is_ours(error):  # a bug, not a missing extra
            raise
        raise _missing(kind, name, registry, error) from error
    except Exception as error:
        if name in registry:  # a bug of ours
            raise
        raise InputError(f"{kind} {name!r} cannot be imported: {_cause(error)}") from error
    if found is None:
        raise InputError(f"{kind} {name!r}: module {module} has no {attribute!r}.")
    if not callable(found):
        what = type(found).__name__
        raise InputError(f"{kind} {name!r} is a {what}; expected a class or a function.")
    return found


def is_own(name: str) -> bool:
    """Whether a name is the "module:attribute" of somebody's own."""
    return ":" in name


def _cause(error: Exception) -> str:
    """The exception's class and text, and the last line of code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def _lies_on(missing: str | None, module: str) -> bool:
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _is_ours(error: ModuleNotFoundError) -> bool:
    package = (error.name or "").partition(".")[0]
    return package in {"mining", "jobs", "schemas", "storage"}


def _missing(
    kind: str, name: str, registry: Registry, error: ModuleNotFoundError
) -> MissingBackendError:
    """The error for a package that is not there, and the extra that brings it."""
    extra = registry[name][1] if name in registry else None
    wanted = f"latentlode[{extra}]" if extra else "latentlode"
    advice = "install it" if extra is None else f"pip install '{wanted}'"
    package = error.name or str(error)
    return MissingBackendError(f"{kind} {name!r} needs the package {package!r}: {advice}")


def missing_client(what: str, error: ImportError) -> MissingBackendError:
    """The error for a URL whose protocol fsspec knows, but whose package is not installed."""
    said = " ".join(str(error).split())  # "Install s3fs to access S3"
    if "s3fs" in said:
        said = "it needs the package 's3fs': pip install 'latentlode[s3]'"
    return MissingBackendError(f"{what} cannot be opened: {said}")


def build(kind: str, name: str, registry: Registry, options: Mapping[str, Any]) -> Any:
    """Load the registry entry `name` and call it with its options.

    Raises:
        InputError: no entry has this name, it takes no such option, one that it needs is
            missing, or a value does not fit.
        MissingBackendError: a package that it needs is not installed.
    """
    who = f"{kind} {name!r}"
    make = load(kind, name, registry)
    fitted = fitted_options(who, make, options)
    for option, needed in _parameters(who, make).items():
        if needed and option not in fitted:
            raise InputError(f"{who} needs the option {option!r}, which is not set.")
    try:
        return make(**fitted)
    except ModuleNotFoundError as error:  # heavy packages are imported on first use
        if _is_ours(error):
            raise
        raise _missing(kind, name, registry, error) from error
    except LodeError:
        raise
    except Exception as error:
        if name in registry:  # a bug of ours
            raise
        raise InputError(f"{who} cannot be made: {_cause(error)}") from error


def _first(error: Any) -> str:
    """The first thing that pydantic found, with the place below the option where it is."""
    found = error.errors()[0]
    place = ".".join(str(part) for part in found["loc"])
    message = found["msg"].removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    return f"{place}: {message}." if place else f"{message}."


def check_protocol(kind: str, name: str, made: Any, protocol: type, where: str) -> None:
    """Refuse an object that lacks what its protocol asks for, or has no fingerprint.

    Raises:
        InputError: names what is missing, and the file that says what it is.
    """
    asked = [*protocol.__annotations__, *(n for n in vars(protocol) if not n.startswith("_"))]
    missing = [attribute for attribute in asked if not hasattr(made, attribute)]
    candidate: object = made
    if "__call__" in vars(protocol) and not callable(candidate):
        missing.append("__call__")
    if missing:
        raise InputError(f"{kind} {name!r} lacks {', '.join(missing)}; see {where}.")
    try:
        said = made.fingerprint()
    except Exception as error:
        if isinstance(error, LodeError) or not is_own(name):
            raise
        raise InputError(f"{kind} {name!r} has no fingerprint: {_cause(error)}") from error
    if not isinstance(said, str) or not re.fullmatch("[0-9a-f]{64}", said):
        raise InputError(
            f"{kind} {name!r} has the fingerprint {said!r}; expected 64 hexadecimal digits, a "
            f"SHA-256 of what decides its results; see {where}."
        )


def _parameters(who: str, make: Callable[..., Any]) -> dict[str, bool]:
    """The options that a callable takes, by name: whether it cannot do without."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some that are written in C
        raise InputError(f"{who} does not say which options it takes.") from None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in parameters):
        raise InputError(f"{who} has an option without a name; expected named ones only.")
    return {p.name: p.default is p.empty for p in parameters if p.kind in named}


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
    known = list(_parameters(who, make))
    kinds = {parameter.kind for parameter in inspect.signature(make).parameters.values()}
    any_goes = inspect.Parameter.VAR_KEYWORD in kinds
    fitted: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known and not any_goes:
            near = difflib.get_close_matches(str(option), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            listed = ", ".join(known) or "none"
            raise InputError(f"{who} has no option {option!r}{hint} Known: {listed}.")
        try:
            fitted[option] = TypeAdapter(hints.get(option, Any)).validate_python(value)
        except ValidationError as error:
            said = f"{who}, option {option} = {value!r}: {_first(error)}"
            if type(value) in (int, float, bool) and error.errors()[0]["type"] == "string_type":
                said += " YAML takes it for a number: put it in two pairs of quotes, \"'...'\"."
            raise InputError(said) from None
    return fitted
