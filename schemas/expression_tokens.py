"""Cuts the text of an expression into tokens; `schemas.expressions` has the grammar."""

from __future__ import annotations

import re
from typing import NamedTuple

from schemas.errors import InputError
from schemas.expression_tree import KEYWORDS

MOST_CHARACTERS = 10_000
MOST_TOKENS = 4_000
MOST_NAME = 200  # characters in one name
_SHOWN = 60  # characters of a longer text in an error

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<backquoted>`(?:[^`]|``)+`)
  | (?P<mark>\*\*|<=|>=|==|!=|[-+*/<>=()\[\],|])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of the text. A mark is an operator, a bracket or a keyword in small letters."""

    kind: str  # number, name, backquoted, text, mark or end
    value: str  # without quotes
    start: int  # the index of its first character


def mistake(who: str, text: str, start: int, said: str) -> InputError:
    """The error at one character of an expression."""
    place = "its end" if start >= len(text) else f"character {start + 1}"
    shown = text
    if len(text) > _SHOWN:
        first = max(0, min(start - _SHOWN // 2, len(text) - _SHOWN))
        shown = f"...{text[first : first + _SHOWN]}..."
    return InputError(
        f"{who}: {shown!r} at {place}: {said}; "
        "`python -m pydoc schemas.expressions` shows what can be written."
    )


def tokens(text: str, who: str) -> list[Token]:
    """The tokens of a text, with one of the kind "end" behind them.

    Raises:
        InputError: a character or quote that belongs to nothing, or too much of anything.
    """
    _refuse_unreadable(text, who)
    found: list[Token] = []
    start = 0
    while start < len(text):
        match = _TOKEN.match(text, start)
        if match is None:
            raise mistake(who, text, start, _unexpected(text[start]))
        if match.lastgroup != "space":
            found.append(_token(match, who))
        if len(found) > MOST_TOKENS:
            raise mistake(who, text, start, f"more than {MOST_TOKENS:,} words and signs")
        start = match.end()
    return [*found, Token("end", "", len(text))]


def _refuse_unreadable(text: str, who: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"{who}: {type(text).__name__} is no text; expected an expression.")
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"{who}: an expression of {len(text):,} characters; at most {MOST_CHARACTERS:,}."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise mistake(who, text, error.start, "this is no character") from None


def _unexpected(character: str) -> str:
    if character in "'\"`":
        return f"this {character} is not closed, or has nothing in it"
    named = f"{character!r} (U+{ord(character):04X})"
    return f"{named} does not belong here; names with such characters stand in `backquotes`"


def _token(match: re.Match[str], who: str) -> Token:
    kind, value = match.lastgroup or "", match.group()
    if kind in ("text", "backquoted"):
        quote = value[0]
        value = value[1:-1].replace(quote * 2, quote)
    if kind in ("name", "backquoted") and len(value) > MOST_NAME:
        said = f"a name of {len(value):,} characters; at most {MOST_NAME}"
        raise mistake(who, match.string, match.start(), said)
    if kind == "name" and value.lower() in KEYWORDS:
        kind, value = "mark", value.lower()
    return Token(kind, value, match.start())
