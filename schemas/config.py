"""Reads a run's settings: defaults, then one YAML file, then `--dotted.keys value` arguments.

The environment is no source: a stray DATASET or OUT there must not change a run.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError
from pydantic_settings.sources import InitSettingsSource, PydanticBaseSettingsSource

from schemas.arguments import join_numbers, join_options
from schemas.errors import InputError
from schemas.plain_yaml import read_yaml
from schemas.settings import GeneratorSettings, Options, RunSettings

_HELP = (
    "Each setting comes from the arguments, else from the settings file, else from the default "
    "that is listed here. Where --generator.name is not the file's generator, the file's "
    "generator.options are left out."
)


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit; takes no abbreviations."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

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
    head.add_argument("--offline", action="store_true", help="the same as --engine.offline true")
    known, rest = head.parse_known_args(join_numbers(argv))
    rest += ["--engine.offline=true"] if known.offline else []
    path = known.config or default
    words = [*join_options(rest, option_keys(RunSettings))]
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
