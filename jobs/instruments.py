"""What a dataset was made and measured with, opened again to measure more images."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mining.evaluation.scalars import Pair
from mining.extractors.base import Extractor
from mining.extractors.label import Labels
from mining.extractors.registry import EXTRACTORS, make_extractors, unmarked
from mining.generators.base import Generator
from mining.generators.registry import make_generator
from mining.labels import Label
from mining.threads import limit_threads
from schemas.errors import RunError
from schemas.registry import load
from storage.manifest import Manifest
from storage.selecting import row_fields

DESCRIPTOR = "descriptor"  # the column, and the option that turns it on


def open_instruments(
    manifest: Manifest, descriptor: bool, labels: Mapping[str, Label] | None = None
) -> tuple[Generator, list[Extractor], Pair]:
    """What a dataset was made and measured with, and where a face's descriptor is to be found.

    The process's numerical libraries get the dataset's number of threads.

    Args:
        descriptor: measure it too, where an extractor can.
        labels: attributes of the user's own, measured as the extractors' columns are.

    Raises:
        InputError, RunError: as `check_evaluator`.
    """
    about = manifest.generator
    generator = make_generator(about["load"], **about["options"])
    options = {item["load"]: dict(item["options"]) for item in manifest.extractors}
    if descriptor:
        turn_on(options, DESCRIPTOR)
    extractors = make_extractors(options)
    check_same(manifest, generator, extractors, descriptor)
    pair = descriptor_of(extractors)
    if labels:
        extractors.append(Labels(labels, row_fields(manifest), extractors))
    limit_threads(manifest.settings["threads"])
    return generator, extractors, pair


def check_same(
    manifest: Manifest, generator: Generator, extractors: Sequence[Extractor], descriptor: bool
) -> None:
    """Refuse to measure by other means than the dataset was, such as on a GPU instead of a CPU.

    Raises:
        RunError: a fingerprint differs, and not by the descriptor that is turned on here.
    """
    pairs = [(manifest.generator, generator), *zip(manifest.extractors, extractors, strict=True)]
    for about, made in pairs:
        own = DESCRIPTOR in getattr(made, "columns", ()) and descriptor
        if about["fingerprint"] != made.fingerprint() and not own:
            raise RunError(
                f"evaluating: {about['name']!r} would run here in another way than for the "
                "dataset; give its option device a device that both have, such as cpu."
            )


def turn_on(options: dict[str, dict[str, Any]], option: str) -> None:
    """Set an option to true for every extractor that has it."""
    for name in options:
        if option in inspect.signature(load("extractor", unmarked(name), EXTRACTORS)).parameters:
            options[name][option] = True


def descriptor_of(extractors: Sequence[Extractor]) -> Pair:
    """(extractor, column) of the first face descriptor; a pair that names none without one."""
    found = [extractor.name for extractor in extractors if DESCRIPTOR in extractor.columns]
    return (found[0] if found else "", DESCRIPTOR)
