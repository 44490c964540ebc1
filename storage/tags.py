"""Tags: names such as "production" that point at one version of a direction and can be moved.

    catalog.tag("production", "3f9a")           # made, or moved to where 3f9a is newest
    catalog.get("production").version           # wherever an id is taken, a tag is too
    catalog.tag("production", "81c0", expected="3f9a")   # refused where another has moved it
    catalog.untag("production")

A move is a compare-and-swap: it is written only as the commit right after the one that was
compared. Of two processes that move one tag at once, one is told that it lost.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from schemas.errors import ConflictError, InputError, StorageError
from schemas.registry import unknown
from storage import delta, tag_table
from storage.tag_table import Tag, Target

if TYPE_CHECKING:
    from storage.catalog import Catalog

NOTHING: Final = "nothing"  # `expected` of a tag that must not be there; no id is spelled so

_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")  # a first "-" would look like an option
_HEX = re.compile(r"[0-9a-fA-F]+")
_EXPECTED = re.compile(rf"(?P<id>[0-9a-f]+)(@(?P<version>[0-9]{{1,9}}))?|{NOTHING}")
_TIDY = 100  # changes, after which their files are joined
_MOST_TRIES = 1000  # each lost to a change of another tag


def check_name(name: str) -> None:
    """Refuse a name that a tag cannot have.

    Raises:
        InputError: it is empty, too long, has other characters, or could be the start of an id.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"tag: the name {name[:120]!r} came; expected 1 to 100 letters, digits, '.', '_' and "
            "'-', the first of them no '-'."
        )
    if _HEX.fullmatch(name):
        raise InputError(
            f"tag: the name {name!r} could be the first digits of an id; expected one with another "
            f"character than 0-9 and a-f, as {'v.' + name!r}."
        )


def looks_like_tag(text: str) -> bool:
    """Whether a text can be a tag's name, which the first digits of an id never are."""
    return bool(_NAME.fullmatch(text)) and not _HEX.fullmatch(text)


def changes(
    url: str, name: str | None = None, as_of: int | datetime | None = None
) -> tuple[Tag, ...]:
    """Every change of every tag, or of one, oldest first; () where there is none.

    Args:
        url: of the catalogue, as `Catalog.url`.
        name: of the tag; None for all.
        as_of: leaves out what was changed after this time, or after a later commit of the
            catalogue than this one.

    Raises:
        InputError: a newer LatentLode wrote the tags.
        StorageError: they cannot be read.
    """
    table = tag_table.open_(url)
    known = tag_table.read(table) if table is not None else ()
    return tuple(tag for tag in known if name in (None, tag.name) and _before(tag, as_of))


def current(url: str, as_of: int | datetime | None = None) -> dict[str, Tag]:
    """The newest change of each tag that is there, by name in order; otherwise as `changes`."""
    return _newest(changes(url, as_of=as_of))


def set_tag(
    catalog: Catalog,
    name: str,
    direction_id: str,
    version: int | None = None,
    expected: str | Target | None = None,
) -> Tag:
    """Let a tag point at a version of a direction; it is made where it is not there.

    Args:
        catalog: opened without `as_of`.
        name: of the tag.
        direction_id: its id, the first digits of it, or another tag.
        version: within the lineage, one that has this id; None for the newest of those.
        expected: where the caller thinks that the tag points: an id, its first digits, either with
            "@version", a `Target`, or NOTHING; None for where it points when this is called.

    Returns:
        The change; where the tag pointed there already, the one that brought it there.

    Raises:
        InputError: the name is refused by `check_name`, or there is no such version.
        ConflictError: the tag points elsewhere than expected; nothing was changed.
        StorageError: it could not be written; nothing was changed.
    """
    check_name(name)
    _check_expected(expected)
    first = current(catalog.url).get(name)
    wanted = expected or (first.target if first else None) or NOTHING
    return _swap(catalog, name, _target(catalog, direction_id, version), wanted)


def remove_tag(catalog: Catalog, name: str, expected: str | Target | None = None) -> Tag:
    """Remove a tag; as `set_tag`, and an InputError where it is not there."""
    _check_expected(expected)
    known = current(catalog.url)
    if name not in known:
        raise unknown("tag", name, known)
    return _swap(catalog, name, None, expected or known[name].target or NOTHING)


def _target(catalog: Catalog, direction_id: str, version: int | None) -> Target:
    card = catalog.get(direction_id)
    lineage = catalog.history(card.direction_id)
    versions = [c.version for c in lineage if c.direction_id == card.direction_id]
    wanted = card.version if version is None else version
    if wanted is None or wanted not in versions:
        raise InputError(
            f"tag: {wanted} is no version of direction {card.direction_id}, which is version "
            f"{', '.join(map(str, versions))} of its lineage; `lode catalog history` shows all."
        )
    return Target(card.direction_id, wanted)


def _swap(catalog: Catalog, name: str, target: Target | None, wanted: str | Target) -> Tag:
    """Compare and append; again while only other tags were changed in between."""
    if catalog.as_of is not None:
        raise InputError(f"tag: {catalog.url} was opened as of {catalog.as_of}; open it without.")
    table = tag_table.open_or_create(catalog.url)
    for _ in range(_MOST_TRIES):
        newest = _newest(tag_table.read(table)).get(name)
        now = newest.target if newest else None
        if not _fits(now, wanted):
            raise ConflictError(_lost(catalog.url, name, newest, wanted))
        if newest is not None and now == target:
            return newest
        number = table.version() + 1
        at = _commit(catalog.url)
        tag = Tag(name, target, now, datetime.now(UTC), at, number, uuid.uuid4().hex)
        failed = tag_table.append(table, tag)
        table = tag_table.open_or_create(catalog.url)
        if failed is None or tag.change in {known.change for known in tag_table.read(table)}:
            if number % _TIDY == 0:
                tag_table.tidy(table)
            return tag
        if table.version() < number:  # nobody came first, so it is not that
            raise StorageError(
                f"tag: {catalog.url} did not take the change of {name!r}: "
                f"{delta.one_line(failed)} Nothing was changed; run it again."
            ) from failed
    raise StorageError(
        f"tag: {catalog.url} did not take the change of {name!r}: others changed tags "
        f"{_MOST_TRIES} times meanwhile. Nothing was changed; run it again."
    )


def _commit(url: str) -> int:
    table = delta.open_table(url)
    return 0 if table is None else table.version()


def _newest(known: Iterable[Tag]) -> dict[str, Tag]:
    last = {tag.name: tag for tag in known}  # the oldest come first
    return {name: last[name] for name in sorted(last) if last[name].target is not None}


def _before(tag: Tag, as_of: int | datetime | None) -> bool:
    if isinstance(as_of, datetime):
        return tag.moved_at <= as_of
    return as_of is None or tag.commit <= as_of


def _check_expected(expected: str | Target | None) -> None:
    if isinstance(expected, str) and not _EXPECTED.fullmatch(expected.lower()):
        raise InputError(
            f"tag: expected {expected!r} came; it is where the tag points now: an id or its first "
            f"digits, with @VERSION or without, or {NOTHING!r}."
        )


def _fits(now: Target | None, wanted: str | Target) -> bool:
    if isinstance(wanted, Target):
        return now == wanted
    found = _EXPECTED.fullmatch(wanted.lower())
    if now is None or found is None or found["id"] is None:
        return now is None and wanted.lower() == NOTHING
    same = now.direction_id.startswith(found["id"])
    return same and found["version"] in (None, str(now.version))


def _lost(url: str, name: str, newest: Tag | None, wanted: str | Target) -> str:
    there = "is not there"
    if newest is not None:
        there = f"points at {newest.target} since {newest.moved_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"tag: {name!r} of {url} {there}; expected {wanted}. Nothing was changed; look at what it "
        "points at now (`lode catalog show`), then run it again with that as expected."
    )
