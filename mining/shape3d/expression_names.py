"""Names of columns for a shape model's expressions, whatever its file calls them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from schemas.errors import InputError

LONGEST = 64  # characters
MOST = 128  # named expressions; ARKit has 52
RESERVED = frozenset({"status", "reason"})
NUMBERED = re.compile(r"(expression|identity|position)_\d+")  # an entry of a vector column
PREFIX = "expression_"


def column_names(who: str, names: Sequence[str], taken: Collection[str]) -> tuple[str, ...]:
    """The names as columns: [a-z0-9_]+, at most 64 characters, all different.

    Capitals become small, every run of other characters one _, and none stays at either end:
    "Mouth Open (L)" is mouth_open_l. One that is taken or reserved gets a prefix: yaw is
    expression_yaw.

    Args:
        taken: columns that are there already.

    Raises:
        InputError: there are more than 128, one has nothing left or is too long, or two are the
            same.
    """
    if len(names) > MOST:
        raise InputError(
            f"{who}: {len(names)} named expressions would be columns; expected at most {MOST}. Fit "
            "fewer: the option expressions."
        )
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        if plain in taken or plain in RESERVED or NUMBERED.fullmatch(plain):
            plain = f"{PREFIX}{plain}"
        if not plain or len(plain) > LONGEST or NUMBERED.fullmatch(plain):
            raise InputError(
                f"{who}: the shape model's expression {name[:80]!r} makes no column; expected "
                f"letters and digits of ASCII, at most {LONGEST}."
            )
        if plain in found:
            raise InputError(
                f"{who}: the shape model's expressions {found[plain][:80]!r} and {name[:80]!r} "
                f"would both be the column {plain!r}."
            )
        found[plain] = name
    return tuple(found)
