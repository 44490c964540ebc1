"""Write directions as files that other tools read, with their licences beside them.

    from storage.exchange.exporting import Options, export_cards

    export_cards(catalog.cards("smile"), "out", "npy", Options("interfacegan"))
    options = Options("e4e", scale="sigma", rows=18)
    export_cards(catalog.cards(space="w"), "s3://bucket/out", "pt", options)

Everything is checked and made in memory first: a mistake is told before the first byte is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schemas.directions import Artefact, DirectionCard
from schemas.errors import ConflictError, InputError
from storage.exchange import formats_out
from storage.exchange.layouts import check_layout, laid_out
from storage.exchange.licences import LICENCES, licence_lines, licences_json
from storage.exchange.notes_out import README, Made, notes_of, readme

if TYPE_CHECKING:
    from storage.exchange.bundle import Pictures
    from storage.files import Store

SINGLE = {  # formats of one file for all cards -> its ending, its name in a folder
    "json": (".json", "cards.json"),
    "bundle": (".zip", "cards.zip"),
    "ganspace": (".npz", "components.npz"),
}
_ID_DIGITS = 8
_LONGEST = 60  # characters of an attribute or method in a file name


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    url: str  # the folder
    files: tuple[str, ...]  # names in it
    notes: tuple[str, ...]  # what whoever uses the files should know
    licences: tuple[str, ...]  # one line for each generator and source


@dataclass(frozen=True)
class Options:
    """How vectors are laid out; the same for all cards of an export."""

    layout: str | None = None  # of storage.exchange.layouts.LAYOUTS; None checks for no tool
    scale: str = "unit"  # "unit", "sigma" (one natural step) or "calibration" (one unit)
    rows: int | None = None  # of W+ that a vector of W is repeated to
    mean: NDArray[np.float32] | None = None  # (D,), of W, for GANSpace's files


def export_cards(
    cards: Sequence[DirectionCard],
    target: str,
    form: str,
    options: Options | None = None,
    *,
    force: bool = False,
    artefact: Callable[[Artefact], bytes] | None = None,
    pictures: Sequence[Pictures] = (),
) -> Exported:
    """Write cards in one format, with README.txt and licences.json beside them.

    Args:
        target: a folder or URL; a file's name where one file is written (json, bundle, ganspace,
            or a single card).
        form: one of storage.exchange.layouts.FORMATS.
        force: write over files of the same names.
        artefact: the bytes of an artefact; needed for a bundle of cards that have one.
        pictures: for a bundle.

    Raises:
        InputError: there are no cards, an option is unknown or does not fit a card, or a file of
            that name is there already. Nothing was written.
        StorageError: the target cannot be written.
    """
    from storage.files import Store, absolute

    options = options or Options()
    if not cards:
        raise InputError("export: no cards came; choose at least one direction.")
    check_layout(cards, form, options.layout, options.scale)
    together = form in SINGLE or options.layout == "ganspace"
    folder, named = _place(target, form, len(cards), together)
    made = _made(cards, form, named, options, artefact, pictures)
    contents, notes = {file.name: file.data for file in made}, []
    if form not in ("json", "bundle"):
        notes = notes_of(cards, form, options.layout, options.mean is not None)
        beside = f"{named}." if named else ""
        text = readme(made, form, options.layout, options.scale, notes)
        about = {f"{beside}{LICENCES}": _licences(made)}
        contents = about | {f"{beside}{README}": text.encode(errors="replace")} | contents
    store = Store(absolute(folder))
    _write(store, contents, force)
    return Exported(store.url, tuple(contents), tuple(notes), tuple(licence_lines(cards)))


def file_names(cards: Sequence[DirectionCard], ending: str) -> list[str]:
    """<attribute>_<method>_<space>_<first 8 digits of the id><ending>, each once.

    Versions that share their vector get _v<version>; ids that start alike are written whole.

    Raises:
        InputError: a card came twice.
    """
    for digits, versions in ((_ID_DIGITS, False), (_ID_DIGITS, True), (32, True)):
        names = [
            f"{_plain(card.attribute)}_{_plain(card.method)}_{card.space}_"
            f"{card.direction_id[:digits]}"
            f"{f'_v{card.version}' if versions and card.version else ''}{ending}"
            for card in cards
        ]
        if len({name.casefold() for name in names}) == len(names):
            return names
    raise InputError("export: the same version of a direction came twice; name each once.")


def _made(
    cards: Sequence[DirectionCard],
    form: str,
    named: str,
    options: Options,
    artefact: Callable[[Artefact], bytes] | None,
    pictures: Sequence[Pictures],
) -> list[Made]:
    """The files of an export, in memory."""
    name = named or SINGLE.get(form, ("", ""))[1]
    if form in ("json", "bundle") and (
        options.scale != "unit" or options.rows is not None or options.mean is not None
    ):
        raise InputError(f"export: {form} holds whole cards; leave --scale, --rows and --mean out.")
    if form == "json":
        from storage.exchange.card_json import to_json

        return [Made(name, to_json(cards), tuple(cards))]
    if form == "bundle":
        from storage.exchange.bundle import write_bundle

        held = {item.sha256: item for item in (card.artefact for card in cards) if item}
        found = {key: artefact(item) for key, item in held.items()} if artefact else {}
        return [Made(name, write_bundle(cards, found, pictures), tuple(cards))]
    if options.layout == "ganspace" or form == "ganspace":
        return [_components(cards, form, name or "components.pt", options)]
    if options.mean is not None:
        raise InputError("export: a mean is part of GANSpace's files only; leave --mean out.")
    return _each(cards, form, [name] if name else file_names(cards, f".{form}"), options)


def _components(cards: Sequence[DirectionCard], form: str, name: str, options: Options) -> Made:
    """All cards as the components of one file."""
    if options.rows is not None:
        raise InputError("export: GANSpace takes rows at each edit; leave --rows out.")
    write = formats_out.ganspace_pt if form == "pt" else formats_out.ganspace_npz
    data = write(cards, options.mean)
    return Made(name, data, tuple(cards), (len(cards), 1, *cards[0].vector.shape))


def _each(
    cards: Sequence[DirectionCard], form: str, names: Sequence[str], options: Options
) -> list[Made]:
    """A file for each card."""
    write, flat = formats_out.WRITERS[form], form == "safetensors"
    vectors = [laid_out(card, options.scale, options.rows, flat) for card in cards]
    _check_interfacegan(names, vectors, options.layout)
    return [
        Made(
            name,
            write(vector, card, options.scale),
            (card,),
            vector.shape if flat else (1, *vector.shape),
        )
        for name, vector, card in zip(names, vectors, cards, strict=True)
    ]


def _check_interfacegan(
    names: Sequence[str], vectors: Sequence[NDArray[np.float32]], layout: str | None
) -> None:
    wide = [name for name, vector in zip(names, vectors, strict=True) if vector.ndim > 1]
    if layout == "interfacegan" and wide:
        raise InputError(
            f"export: {wide[0]} would have rows of W+, InterFaceGAN takes (1, D) only; leave "
            "--rows out and choose --space w, or use --layout stylegan3-editing."
        )


def _place(target: str, form: str, count: int, together: bool) -> tuple[str, str]:
    """The folder, and the file's name where one is given; "" where none is."""
    ending = SINGLE[form][0] if form in SINGLE else f".{form}"
    target = target.rstrip("/") or "/"
    named = target.lower().endswith(ending) and not Path(target).is_dir()
    if named and (together or count == 1):
        folder, slash, name = target.rpartition("/")
        return (folder or slash or "."), name
    if named or ("://" not in target and Path(target).is_file()):
        expected = f"a folder, or a name that ends in {ending}" if together else "a folder"
        raise InputError(
            f"export: {form} of {count} cards cannot go to {target}; expected {expected}."
        )
    return target, ""


def _write(store: Store, contents: Mapping[str, bytes], force: bool) -> None:
    """All files, after a look whether one of them is there."""
    there = sorted(set(contents) & set(store.names()))
    if there and not force:
        raise InputError(
            f"export: {store.url} holds {', '.join(there[:3])}{' ...' if len(there) > 3 else ''} "
            "already; nothing was written. Choose another --out, or --force to write over them."
        )
    store.check_writable()
    for name, data in contents.items():
        if force:
            store.replace(name, data)
        elif not store.create(name, data):
            raise ConflictError(
                f"export: {store.url}/{name} appeared while the others were written; it was left "
                "as it is. Choose another --out."
            )


def _licences(made: Sequence[Made]) -> bytes:
    """licences.json, from which the files can be imported again."""
    digests = {file.name: hashlib.sha256(file.data).hexdigest() for file in made}
    cards = _by_file(made)
    return licences_json(cards, {key: digests[key.partition("#")[0]] for key in cards})


def _by_file(made: Sequence[Made]) -> dict[str, DirectionCard]:
    """One entry per file, or per component of a file."""
    return {
        f"{file.name}#{index}" if len(file.cards) > 1 else file.name: card
        for file in made
        for index, card in enumerate(file.cards)
    }


def _plain(text: str) -> str:
    """Text as a part of a file name on every system."""
    return re.sub(r"[^A-Za-z0-9_+.-]+", "-", text)[:_LONGEST].strip("-._") or "direction"
