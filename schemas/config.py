"""Reads a run's settings: defaults, then one YAML file, then `--dotted.keys value` arguments.

The environment is no source: a stray DATASET or OUT there must not change a run.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError
from pydantic_settings.sources import InitSettingsSource, PydanticBaseSettingsSource

from schemas.errors import InputError
from schemas.registry import missing_client
from schemas.remote import is_remote
from schemas.settings import GeneratorSettings, Options, RunSettings

MOST_BYTES = 1_000_000  # of a settings file
_HELP = (
    "Each setting comes from the arguments, else from the settings file, else from the default "
    "that is listed here. Where --generator.name is not the file's generator, the file's "
    "generator.options are left out."
)


class _Loader(yaml.SafeLoader):
    """Plain YAML, less two traps.

    2024-01-01 is a string: JSON, which manifests are, knows no dates. A key that stands twice in
    one mapping is refused, where PyYAML would drop the first.
    """

    yaml_implicit_resolvers = {
        first: [(tag, shape) for tag, shape in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    # not when it is constructed: `<<` has put the keys of others into it by then
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        plain = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in plain:
            before = lines.get((key.tag, key.value))
            if before is not None:
                said = f"the key {key.value!r} stands twice, first in line {before}; keep one"
                raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
            lines[key.tag, key.value] = key.start_mark.line + 1
        return node


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}; see --help.")


def load_settings(argv: Sequence[str], prog: str, about: str, default: str) -> RunSettings:
    """Settings from `--config FILE|URL` (else `default`) with overrides from `argv`.

    Where `argv` names another generator than the file, the file's generator.options, which were
    meant for its own, are left out; those in `argv` stay.

    Args:
        argv: arguments after the program's name, such as ["--dataset.samples", "5000"].
        prog: the program's name, for `--help`.
        about: what the program does, for `--help`.
        default: the settings file to read where none is given.

    Raises:
        InputError: the file cannot be read, a key is unknown, or a value does not fit.
    """
    head = _Parser(prog=prog, description=about, add_help=False)
    head.add_argument("--config", metavar="FILE|URL", help=f"settings file (default: {default})")
    known, rest = head.parse_known_args(_join_numbers(argv))
    path = known.config or default
    words = [*_join_options(rest, option_keys(RunSettings))]
    _refuse_unknown(words, prog)
    root = _Parser(prog=prog, description=f"{about.strip()} {_HELP}", parents=[head])
    return _build(read_yaml(path), words, root, path)


def _build(
    stored: Mapping[str, Any], words: list[str], root: argparse.ArgumentParser, path: str
) -> RunSettings:
    class Sources(RunSettings, BaseSettings):
        """The command line, then the file; never the environment."""

        @model_validator(mode="before")
        @classmethod
        def drop_nulls(cls, merged: dict[str, Any]) -> dict[str, Any]:
            return _without_nulls(RunSettings, merged)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            line = CliSettingsSource(
                settings_cls,
                root_parser=root,
                cli_parse_args=words,
                cli_exit_on_error=False,
            )
            return line, InitSettingsSource(settings_cls, _for_generator(stored, line()))

    _refuse_nulls(stored, path)
    try:
        return RunSettings.model_validate(Sources().model_dump())
    except ValidationError as error:
        raise InputError(_explain(error, path)) from None
    except (SettingsError, argparse.ArgumentError) as error:
        raise InputError(f"arguments: {error}") from None


def _for_generator(stored: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The file's settings, without generator.options where the arguments name another one."""
    before, now = stored.get("generator"), told.get("generator")
    if not isinstance(before, Mapping) or not isinstance(now, Mapping) or "name" not in now:
        return dict(stored)
    if now["name"] == before.get("name", GeneratorSettings().name):
        return dict(stored)
    kept = {key: value for key, value in before.items() if key != "options"}
    return {**stored, "generator": kept}


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file or URL of at most 1 MB."""
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)  # type: ignore[union-attr]
    except ImportError as error:
        raise missing_client(f"settings file {path}", error) from None
    except Exception as error:
        if not (isinstance(error, OSError | ValueError) or is_remote(error)):
            raise
        raise InputError(f"settings file {path} cannot be read: {_one_line(error)}") from None
    if len(text) > MOST_BYTES:
        raise InputError(f"settings file {path} is larger than {MOST_BYTES:,} bytes.")
    stored = _parsed(text, f"settings file {path}")
    if stored is None:
        return {}
    if not isinstance(stored, dict):
        raise InputError(f"settings file {path} holds a {type(stored).__name__}, not a mapping.")
    for key in stored:
        if not isinstance(key, str):
            raise InputError(f"settings file {path}: the key {key!r} is no string.")
    return stored


def _parsed(text: str | bytes, who: str) -> Any:
    """The plain value that YAML text stands for; InputError where JSON could not hold it."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{who} is not YAML: {_place(error)}.") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # beside its own errors, PyYAML lets those of unfit tags through, as in `!!bool maybe`
        raise InputError(f"{who} is not YAML: {_one_line(error)}") from None
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{who} holds what JSON does not know: {_one_line(error)}") from None
    return value


def _place(error: yaml.MarkedYAMLError) -> str:
    """The line that PyYAML means, and what it says about it."""
    said, mark, start = error.problem or "", error.problem_mark, error.context_mark
    if r"'\t'" in said:
        said = "a tab stands where YAML wants spaces; put spaces there"
    elif error.context:
        since = f" that begins in line {start.line + 1}" if start else ""
        said = f"{said} {error.context}{since}"
    return " ".join((f"line {mark.line + 1}: {said}" if mark else said).split())


def setting_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a settings model, groups and leaves."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += setting_keys(kind, f"{prefix}{name}.")
    return keys


def option_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted keys whose values are free mappings, such as generator.options."""
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += option_keys(kind, f"{prefix}{name}.")
        elif getattr(kind, "__origin__", None) is dict:
            keys.append(prefix + name)
    return keys


def named_options(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Those of them that hold options by name, such as mining.methods."""
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += named_options(kind, f"{prefix}{name}.")
        elif get_origin(kind) is dict and get_args(kind)[1] == Options:
            keys.append(prefix + name)
    return keys


def _join_numbers(words: Sequence[str]) -> list[str]:
    """Turn `--key -1,1` into `--key=-1,1`, since argparse takes -1,1 for an option."""
    result: list[str] = []
    for word in words:
        before = result[-1] if result else ""
        if re.match(r"-\.?\d", word) and before.startswith("--") and "=" not in before:
            result[-1] = f"{before}={word}"
        else:
            result.append(word)
    return result


def _join_options(words: Sequence[str], mappings: Iterable[str]) -> list[str]:
    """Turn every `--mapping.key.sub value` into one `--mapping '{"key": {"sub": value}}'`."""
    result: list[str] = []
    joined: dict[str, dict[str, Any]] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        owner = next((m for m in mappings if key.startswith(f"{m}.")), None)
        if not word.startswith("--") or owner is None:
            result.append(word)
            continue
        if not equals:
            if not queue:
                raise InputError(f"arguments: {word} needs a value.")
            value = queue.pop(0)
        inner = _parsed(value, f"arguments: --{key} {reprlib.repr(value)}")
        for part in reversed(key[len(owner) + 1 :].split(".")):
            inner = {part: inner}
        joined[owner] = _merged(joined.get(owner, {}), inner)
    return result + [f"--{owner}={json.dumps(options)}" for owner, options in joined.items()]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, the second over the first, at every depth."""
    result = dict(one)
    for key, value in other.items():
        under = result.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = _merged(under, value)
        result[key] = value
    return result


def _without_nulls(model: type[BaseModel], merged: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the entries that were set to null, as `--mining.methods.svm null`."""
    result = dict(merged)
    for name, field in model.model_fields.items():
        kind, value = field.annotation, result.get(name)
        if not isinstance(value, Mapping):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            result[name] = _without_nulls(kind, value)
        elif name in named_options(model):
            result[name] = {key: inner for key, inner in value.items() if inner is not None}
    return result


def _refuse_nulls(stored: Mapping[str, Any], path: str) -> None:
    """In a file, `svm:` with nothing behind it may mean defaults as well as absence."""
    for key in named_options(RunSettings):
        group: Any = stored
        for part in key.split("."):
            group = group.get(part) if isinstance(group, Mapping) else None
        for name, value in group.items() if isinstance(group, Mapping) else ():
            if value is None:
                raise InputError(
                    f"setting {key}.{name} in {path} is null: write {name}: {{}} for the "
                    "defaults, or leave the line out."
                )


def _refuse_unknown(words: Sequence[str], prog: str) -> None:
    known = setting_keys(RunSettings)
    for word in words:
        key = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and key not in {*known, "help"}:
            raise InputError(f"{prog}: unknown setting --{key}{_nearest(key, known)}")


def _nearest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "; see --help for all settings."


def _explain(error: ValidationError, path: str) -> str:
    """One line for the first thing that is wrong, naming the nearest key where one is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key!r} in {path}{_nearest(key, setting_keys(RunSettings))}"
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    ours = first["type"] == "value_error"  # what a validator in schemas.settings said
    said = first["msg"].removeprefix("Value error, ") if ours else first["msg"].lower()
    return f"setting {key} = {first['input']!r}: {said}{more}."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
