"""Directions that others made, as cards of a catalogue: all files of a folder in one commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from schemas.directions import DirectionCard
from schemas.errors import InputError, LodeError
from storage.exchange.beside import Beside
from storage.exchange.drafts import BY_NAME, SPACES, Draft, Given, check_start, drafts_of, noted
from storage.exchange.recognise import FORMATS, UNKNOWN
from storage.exchange.source_files import Skipped, files_under, read_bytes, shown_path

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.catalog import Catalog, Publication

MOST_NUMBERS = 1 << 28  # in the vectors and artefacts of one import, which are kept in memory


@dataclass(frozen=True)
class Imported:
    """What an import found, and what of it was published."""

    drafts: tuple[Draft, ...]  # every direction that was found, with its notes
    new: tuple[str, ...]  # the ids among them that the catalogue did not hold
    skipped: tuple[Skipped, ...]  # files that are no directions, damaged or hostile
    publication: Publication | None = None  # None where nothing was new, or in a dry run
    warnings: tuple[tuple[str, str], ...] = ()  # (file, what to know), each once


def import_cards(
    catalog: Catalog,
    path: str | os.PathLike[str],
    *,
    generator: str | None = None,
    fingerprint: str | None = None,
    generator_licence: str | None = None,
    space: str | None = None,
    attribute: str | None = None,
    unit: str | None = None,
    method: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    layers: Sequence[int] = (),
    code_version: str = "unknown",
    dry_run: bool = False,
) -> Imported:
    """Import the directions of a file, or of all files of a folder, in one commit.

    Vectors are scaled to norm 1 and keep their sign; the norm that they had is `evidence["norm"]`,
    so that vector * norm is what stood in the file. What a file and its name say of itself is taken
    from there unless it is given, and before that from the licences.json that an export wrote
    beside it. What was imported before is not published again.

    Args:
        path: what is no direction below a folder is skipped, with the reason.
        fingerprint: of the generator; without one, "name:<generator>", which no generator has.
        attribute: of a single direction.
        dry_run: find and judge, publish nothing.

    Raises:
        InputError: nothing is there or recognised; a single file is refused; an argument is wrong.
        StorageError: a file or the catalogue cannot be read or written.
    """
    given = Given(
        **{
            name: value or ""
            for name, value in {
                "generator": generator,
                "fingerprint": fingerprint,
                "generator_licence": generator_licence,
                "space": space.lower() if space else "",
                "attribute": attribute,
                "unit": unit,
                "method": method,
                "licence": licence,
                "source": source,
            }.items()
        },
        layers=tuple(layers),
        code_version=code_version,
    )
    if given.space and given.space not in SPACES:
        raise InputError(f"import: space {space!r}; expected one of {', '.join(SPACES)}.")
    drafts, skipped = _drafts(path, given)
    _check_given(drafts, given)
    rows = _stored(catalog)
    known = set(rows["direction_id"].to_pylist())
    drafts = _compared(drafts, rows)
    new = tuple(draft.card for draft in drafts if draft.card.direction_id not in known)
    publication = None if dry_run or not new else _published(catalog, drafts, new)
    ids = tuple(card.direction_id for card in new)
    return Imported(tuple(drafts), ids, tuple(skipped), publication, _told(drafts))


def _check_given(drafts: Sequence[Draft], given: Given) -> None:
    """Refuse one attribute for several directions, one fingerprint for several generators."""
    if given.attribute and len(drafts) > 1:
        raise InputError(
            f"import: {len(drafts)} directions came and one attribute, {given.attribute!r}; name a "
            "single file, or leave the attribute out."
        )
    names = sorted({draft.card.generator for draft in drafts if not draft.restored})
    if given.fingerprint and len(names) > 1:
        raise InputError(
            f"import: one fingerprint came for the generators {', '.join(names)}; import the files "
            "of each by themselves, or say by --generator that all are of one."
        )


def _drafts(path: str | os.PathLike[str], given: Given) -> tuple[list[Draft], list[Skipped]]:
    """The directions under a path; what was skipped."""
    files, skipped = files_under(path)
    single, beside, numbers = files == [Path(path)], Beside(), 0
    drafts: dict[str, Draft] = {}
    for file in files:
        if not single and beside.is_about(file):
            continue
        try:
            content = read_bytes(file, check_start)
            made = drafts_of(file, content, given, beside.of(file, content))
        except LodeError as error:
            if single:
                said = str(error).rstrip(".")
                raise type(error)(f"import: {shown_path(file)}: {said}.") from error
            skipped.append(Skipped(shown_path(file), str(error).rstrip(".")))
            continue
        numbers += sum(draft.card.vector.size + len(draft.artefact) // 4 for draft in made)
        if numbers > MOST_NUMBERS:
            raise InputError(
                f"import: {shown_path(path)} holds more than {MOST_NUMBERS:,} numbers in its "
                "directions; import its files in parts."
            )
        for draft in made:
            first = drafts.setdefault(draft.card.direction_id, draft)
            if first is not draft:
                skipped.append(Skipped(shown_path(file), f"it repeats a direction of {first.file}"))
    skipped += beside.skipped
    if not drafts:
        raise _nothing(path, skipped)
    return list(drafts.values()), sorted(skipped, key=lambda each: each.file)


def _nothing(path: str | os.PathLike[str], skipped: Sequence[Skipped]) -> InputError:
    """That no file was recognised; what was nearest to it, for the first few."""
    near = [each for each in skipped if each.reason != UNKNOWN]
    reasons = "; ".join(f"{each.file}: {each.reason}" for each in near[:3])
    more = f"; {len(near) - 3} more alike" if len(near) > 3 else ""
    return InputError(
        f"import: {shown_path(path)} holds no direction that is recognised ({len(skipped)} "
        f"files looked at); expected {FORMATS}. {reasons}{more}".rstrip(". ")
        + "."
    )


def _published(
    catalog: Catalog, drafts: Sequence[Draft], new: Sequence[DirectionCard]
) -> Publication:
    """One commit with the new cards, after the files that they stand for."""
    held = {draft.card.direction_id: draft.artefact for draft in drafts}
    for card in new:
        if card.artefact:
            from storage import artefacts

            artefacts.put(catalog.url, held[card.direction_id], card.artefact.kind)
    return catalog.publish(new)


def _stored(catalog: Catalog) -> pa.Table:
    """What the catalogue holds; no rows where nothing was published yet."""
    from storage.card_table import SCHEMA

    try:
        rows = catalog.table()
    except InputError:  # what else is wrong with the place is said when it is published to
        return SCHEMA.empty_table()
    return rows


def _compared(drafts: Sequence[Draft], rows: pa.Table) -> list[Draft]:
    """The drafts with what they repeat: each other, and what the catalogue holds."""
    from storage.duplicates import of_new

    newest = rows.filter(rows["latest"]) if "latest" in rows.column_names else rows
    files = {draft.card.direction_id: PurePath(draft.file).name for draft in drafts}
    known = set(rows["direction_id"].to_pylist())
    notes: dict[str, list[str]] = {draft.card.direction_id: [] for draft in drafts}
    cards = [draft.card for draft in drafts if draft.card.artefact is None]
    for one, other, cosine in of_new(cards, newest):
        if one not in known:
            where = f"{files[other]} ({other[:10]})" if other in files else f"the card {other[:10]}"
            notes[one].append(f"it is a near-duplicate of {where}: cosine {cosine:.4f}")
    lineages: dict[tuple[str, ...], str] = {}
    for draft in drafts:
        first = lineages.setdefault(draft.card.lineage, draft.file)
        if first != draft.file:
            one = draft.card.direction_id
            notes[one].append(f"it becomes another version of the direction of {first}")
    return [noted(draft, notes[draft.card.direction_id]) for draft in drafts]


def _told(drafts: Sequence[Draft]) -> tuple[tuple[str, str], ...]:
    """(file, what to know), each once for a file; at last what holds for the whole import."""
    said = dict.fromkeys((draft.file, text) for draft in drafts for text in draft.warnings)
    by_name = {
        draft.card.generator
        for draft in drafts
        if draft.card.generator_fingerprint.startswith(BY_NAME)
    }
    general = [
        (
            "",
            f"generator {name} is known by its name only: its cards can be tried on a generator, "
            "but which weights they fit is not known. Give --fingerprint or --checkpoint",
        )
        for name in sorted(by_name)
    ]
    return (*said, *general)
