"""Reads a run's settings: defaults, then one YAML file, then `--dotted.keys value` arguments."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError
from pydantic_settings.sources import InitSettingsSource, PydanticBaseSettingsSource

from schemas.errors import InputError
from schemas.settings import RunSettings

MOST_BYTES = 1_000_000  # of a settings file


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}; see --help.")


def load_settings(argv: Sequence[str], prog: str, about: str, default: str) -> RunSettings:
    """Settings from `--config FILE|URL` (else `default`) with overrides from `argv`.

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
    known, rest = head.parse_known_args(list(argv))
    path = known.config or default
    words = [*_join_options(rest, option_keys(RunSettings))]
    _refuse_unknown(words, prog)
    root = _Parser(prog=prog, description=about, parents=[head])
    return _build(read_yaml(path), words, root, path)


def _build(
    stored: Mapping[str, Any], words: list[str], root: argparse.ArgumentParser, path: str
) -> RunSettings:
    class Sources(RunSettings):
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
            return line, InitSettingsSource(settings_cls, dict(stored))

    try:
        return RunSettings.model_validate(Sources().model_dump())
    except ValidationError as error:
        raise InputError(_explain(error, path)) from None
    except (SettingsError, argparse.ArgumentError) as error:
        raise InputError(f"arguments: {error}") from None


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file or URL of at most 1 MB."""
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)  # type: ignore[union-attr]
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"settings file {path} cannot be read: {error}") from None
    if len(text) > MOST_BYTES:
        raise InputError(f"settings file {path} is larger than {MOST_BYTES:,} bytes.")
    try:
        stored = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"settings file {path} is not YAML: {_one_line(error)}") from None
    if stored is None:
        return {}
    if not isinstance(stored, dict):
        raise InputError(f"settings file {path} holds a {type(stored).__name__}, not a mapping.")
    return stored


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


def _join_options(words: Sequence[str], mappings: Iterable[str]) -> list[str]:
    """Turn `--mapping.key.sub value` into `--mapping '{"key": {"sub": value}}'`."""
    result: list[str] = []
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
        inner: Any = yaml.safe_load(value)
        for part in reversed(key[len(owner) + 1 :].split(".")):
            inner = {part: inner}
        result += [f"--{owner}", json.dumps(inner)]
    return result


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
    return f"setting {key} = {first['input']!r}: {first['msg'].lower()}{more}."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
