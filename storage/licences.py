"""Which licence identifier the licences of all that made a dataset come to.

The generators, extractors and models tell their licence in words, several parted by ";". An
identifier is taken where the words hold one and no restriction beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

OTHER = "other"
RESEARCH, UNSTATED = "research-only", "not-stated"

# SPDX identifiers, https://spdx.org/licenses/; in lower case they are Hugging Face's,
# https://huggingface.co/docs/hub/repositories-licenses
KNOWN = (
    *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "Zlib", "Unlicense"),
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0"),
    *("CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
    *("GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0", "MPL-2.0", "ECL-2.0", "AFL-3.0"),
)
_SPDX = {name.lower(): name for name in KNOWN}
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9]")
_RESTRICTED = re.compile(r"non-?\s?commercial|research|evaluation|\bNC\b", re.IGNORECASE)
_NONE_OF_ITS_OWN = re.compile(r"^(none\b|of the )", re.IGNORECASE)  # random weights; labels


@dataclass(frozen=True)
class Licence:
    """What the licences come to."""

    identifiers: tuple[str, ...]  # SPDX, sorted; () where one is restricted or not known
    name: str | None  # RESEARCH or UNSTATED where there are no identifiers

    @property
    def hugging_face(self) -> dict[str, str | list[str]]:
        """The keys of a dataset card's header."""
        if self.name is not None:
            return {"license": OTHER, "license_name": self.name}
        ids = [identifier.lower() for identifier in self.identifiers]
        return {"license": ids[0] if len(ids) == 1 else ids}


def judged(texts: Iterable[str]) -> Licence:
    """What licences in words come to: identifiers where every one is known, else a name.

    A restriction to research or non-commercial use decides over all others.
    """
    found: set[str] = set()
    name: str | None = None
    for clause in (part.strip() for text in texts for part in str(text).split(";")):
        if not clause or _NONE_OF_ITS_OWN.match(clause):
            continue
        identifiers, rest = _identifiers(clause)
        if _RESTRICTED.search(rest):
            name = RESEARCH
        elif not identifiers:
            name = name or UNSTATED
        found |= identifiers
    if name is None and not found:
        name = UNSTATED
    return Licence(() if name else tuple(sorted(found)), name)


def _identifiers(clause: str) -> tuple[set[str], str]:
    """The identifiers in a clause, and the clause without them."""
    words = {word for word in _WORD.findall(clause) if word.lower() in _SPDX}
    rest = clause
    for word in words:
        rest = rest.replace(word, " ")
    return {_SPDX[word.lower()] for word in words}, rest
