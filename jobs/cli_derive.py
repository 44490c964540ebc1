"""`lode dataset filter` and `extend`: a dataset made of another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli_head import (
    ColumnsOption,
    SampleOption,
    SeedOption,
    UrlArgument,
    WhereOption,
    check_seed,
    names_of,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    from schemas.settings import EngineSettings
    from storage.dataset import Dataset

OutOption = Annotated[
    str,
    typer.Option(
        metavar="URL", help="Folder or URL of the new dataset: empty, or begun by this command."
    ),
]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
WHO = "lode dataset extend"


def filter_rows(
    url: UrlArgument,
    out: OutOption,
    where: WhereOption = "",
    columns: ColumnsOption = "",
    sample: SampleOption = None,
    seed: SeedOption = None,
) -> None:
    """Make a dataset of some rows and columns of another.

    Samples keep their ids and indices. Ids, indices and what each extractor's status was are kept
    whatever the columns. Run it again to go on where it was stopped.
    """
    from jobs.filter_dataset import filter_dataset

    check_seed(sample, seed)
    say(filter_dataset(url, out, where or None, names_of(columns), sample, seed or 0))


def extend(
    context: typer.Context,
    url: UrlArgument,
    out: OutOption,
    images: Annotated[
        str, typer.Option(metavar="auto|thumbnails|render|none", help="What is measured.")
    ] = "auto",
) -> None:
    """Make a dataset with more extractors' columns, without sampling again.

    The extractors come as --extractors.NAME '{OPTION: VALUE}' or --extractors.NAME.OPTION VALUE, or
    under extractors: in --config FILE; --engine.KEY VALUE and --offline are as for `lode generate`.
    Images are made again from the stored latents where an extractor reads them, or with --images
    thumbnails are those that are stored; --generator.options.checkpoint FILE says where a
    checkpoint lies that was moved. Run it again to go on where it was stopped.
    """
    from jobs import extend_dataset

    extractors, generator, engine = settings_of(context.args)
    say(extend_dataset.extend(url, extractors, out, engine, images, generator))


def settings_of(
    words: Sequence[str],
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], EngineSettings]:
    """The extractors to add, options of the generator, and the engine, among the arguments.

    Raises:
        InputError: another setting came, which the dataset has already, or a value does not fit.
    """
    from jobs.generate_dataset import DEMO
    from schemas.arguments import split_options
    from schemas.config import load_settings

    told, rest = split_options(words, "extractors")
    generator, rest = split_options(rest, "generator.options")
    for word in rest:
        if word.startswith("--") and not word.startswith(("--engine.", "--config", "--offline")):
            raise InputError(
                f"{WHO}: {word} came; expected --extractors.NAME, --engine.KEY, --config, "
                "--images, --out, --offline or, for a moved checkpoint, --generator.options.KEY: "
                "all else is in the dataset's manifest."
            )
    engine = load_settings(rest, WHO, "", DEMO).engine
    both = {**_in_file(rest), **told}
    chosen = {name: options for name, options in both.items() if options is not None}
    for name, options in chosen.items():
        if not isinstance(options, dict):
            raise InputError(
                f"{WHO}: --extractors.{name} {options!r} came; expected its options, such as {{}}."
            )
    return chosen, generator, engine


def _in_file(words: Sequence[str]) -> dict[str, Any]:
    """The extractors in the settings file that the arguments name, if they do."""
    from schemas.plain_yaml import read_yaml

    path = ""
    for word, after in pairwise([*words, ""]):
        if word == "--config" or word.startswith("--config="):
            path = word.partition("=")[2] or after
    if not path:
        return {}
    stored = read_yaml(path)
    others = [key for key in stored if key not in ("extractors", "engine")]
    if others:
        raise InputError(
            f"{WHO}: {path} sets {', '.join(others)}; expected extractors and engine alone: all "
            "else is in the dataset's manifest."
        )
    return dict(stored.get("extractors", {}))


def say(dataset: Dataset) -> None:
    """What was made, of what."""
    from storage.derived import parent_id

    parent = parent_id(dataset.manifest)
    typer.echo(f"dataset   {dataset.url}  ({dataset.rows:,} rows, id {dataset.dataset_id})")
    typer.echo(f"parent    {parent}")
    for extractor, counts in dataset.statuses().items():
        shown = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        typer.echo(f"          {extractor}: {shown}")


def told_step(step: dict[str, Any]) -> str:
    """One step between a dataset and the one that was sampled, in one line."""
    said = [step["parent"] + (f" at {step['url']}" if step["url"] else ""), step["kind"]]
    shown = ("where", "columns", "sample", "seed", "extractors", "images", "image_size")
    for key in shown:
        value = step.get(key)
        if value is not None:
            text = ", ".join(value) if isinstance(value, list) else value
            said.append(f"{key.replace('_', ' ')} {text}")
    return "; ".join(said)
