"""Reads the YAML that describes an ONNX model, from a file or a URL; tells what is wrong in it."""

from __future__ import annotations

import difflib
import json
import posixpath
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import yaml
from pydantic import ValidationError

from mining.extractors.models import find_model
from mining.extractors.onnx_description import (
    Bins,
    ColumnPart,
    Crop,
    Description,
    Input,
    Output,
)
from schemas.errors import InputError
from schemas.plain_yaml import parse_yaml
from storage.downloads.refusals import shown

MOST_BYTES = 200_000  # of a description
MOST_DEEP = 20


def read_description(who: str, source: str, sha256: str | None = None) -> Description:
    """The description in a YAML file or behind a URL.

    Args:
        sha256: that the file must have.

    Raises:
        InputError: it cannot be read or fetched, is no description, or a value does not fit.
    """
    found = find_model(who, source, sha256=sha256, most_bytes=MOST_BYTES)
    place = f"description {source}"
    try:
        text = found.path.read_bytes()
    except OSError as error:
        raise InputError(f"{who}: {place} cannot be read: {error.strerror}.") from None
    _refuse_traps(text, place)
    content = parse_yaml(text, place)
    if not isinstance(content, dict):
        raise InputError(f"{place} holds a {type(content).__name__}, not a mapping.")
    try:
        return Description.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(_explain(error, place)) from None


def model_source(description: Description, source: str, who: str) -> str:
    """Where the model lies: what the description says, seen from the description.

    Raises:
        InputError: a URL without a checksum, or a description from elsewhere names a local file.
    """
    if urlsplit(source).scheme == "file":
        source = unquote(urlsplit(source).path)
    model, remote = description.model, "://" in source
    if "://" not in model:
        if not remote:
            try:
                return str(Path(source).expanduser().parent / Path(model).expanduser())
            except RuntimeError as error:  # nobody's home
                raise InputError(f"{who}: model {model[:200]}: {str(error).rstrip('.')}.") from None
        if model.startswith(("/", "~")):
            raise InputError(
                f"{who}: the description at {source} names the local file {model!r}; expected a "
                "URL, or a path relative to the description."
            )
        parts = urlsplit(source)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(parts.path), model))
        model = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    elif remote and model.lower().startswith("file:"):
        raise InputError(f"{who}: the description at {source} names the local file {model!r}.")
    return model


def refuse_unpinned(source: str, sha256: str | None, who: str) -> None:
    """InputError where a model is a URL and nobody says which file it must be."""
    if "://" in source and not source.lower().startswith("file:") and sha256 is None:
        raise InputError(
            f"{who}: the model {shown(source)} is a URL without a checksum; set sha256 to that of "
            "the file."
        )


def _refuse_traps(text: bytes, place: str) -> None:
    """A few nested aliases stand for more values than any memory holds; depth costs its square."""
    depth = 0
    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                said = "aliases are not read here; write the value out"
                raise InputError(f"{place}, line {token.start_mark.line + 1}: {said}.")
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth >= MOST_DEEP:
                line = token.start_mark.line + 1
                raise InputError(
                    f"{place}, line {line}: values lie {depth} deep; no model needs it."
                )
    except yaml.YAMLError:
        return  # the parser says what is wrong with it


def _explain(error: ValidationError, place: str) -> str:
    """One line for the first thing that is wrong, naming the nearest key where one is unknown."""
    found = error.errors()
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    key = ".".join(str(part) for part in first["loc"] if part not in _BRANCHES)
    if first["type"] == "extra_forbidden":
        last = str(first["loc"][-1])
        near = difflib.get_close_matches(last, _KEYS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"{place}: unknown key {key!r}{hint}"
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if first["type"] in ("missing", "value_error"):
        return f"{place}: {key}: {said}." if key else f"{place}: {said}."
    if first["type"] == "json_invalid":
        return f"{place} holds text that is no Unicode."
    came = repr(first["input"])
    return f"{place}: {key} = {came[:100]}: {said}."


_PARTS = (Description, Input, Crop, Output, ColumnPart, Bins)
_KEYS = sorted({key for part in _PARTS for key in part.model_fields})
_BRANCHES = ("Bins", "list[float]")  # how pydantic tells apart what bins may be
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
