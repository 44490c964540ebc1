"""The README.md of a bundle: what each card says and shows, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from schemas.directions import DirectionCard
from storage.exchange.licences import licence_lines

if TYPE_CHECKING:
    from storage.exchange.bundle import Pictures

_INTRO = """# {count} from a LatentLode catalogue

`lode catalog import` restores these cards exactly: ids, vectors, measurements and artefacts.
`cards.json` holds everything but the vectors, which lie in `vectors.safetensors` under their ids.
"""


def picture_name(direction_id: str, row: int, column: int) -> str:
    """Where a picture lies in the bundle."""
    return f"pictures/{direction_id}/{row}_{column}.jpg"


def page(cards: Sequence[DirectionCard], pictures: Mapping[str, Pictures]) -> str:
    """The whole page: licences, a table of all cards, then a section for each."""
    count = "1 direction" if len(cards) == 1 else f"{len(cards)} directions"
    parts = [_INTRO.format(count=count), "## Licences\n"]
    parts += [f"- {_safe(line)}" for line in licence_lines(cards)]
    parts += ["\n## Directions\n", *_overview(cards)]
    seen: set[str] = set()
    for card in cards:
        parts += _section(card)
        if card.direction_id in pictures and card.direction_id not in seen:
            parts += _pictures(card, pictures[card.direction_id])
            seen.add(card.direction_id)
    return "\n".join(parts) + "\n"


def _overview(cards: Sequence[DirectionCard]) -> list[str]:
    head = ("direction", "attribute", "space", "method", "generator", "version")
    head += ("cosine to truth", "effect", "leak", "identity cost")
    rows = [
        (
            f"`{card.direction_id[:10]}`",
            *map(_safe, (card.attribute, card.space, card.method, card.generator)),
            str(card.version or "-"),
            _number(card.truth_cosine),
            f"{_number(card.effect)} {_unit(card)}".strip(),
            _number(card.leak),
            _number(card.identity_cost),
        )
        for card in cards
    ]
    return _table(head, rows)


def _section(card: DirectionCard) -> list[str]:
    """A heading, the facts and the responses of one card."""
    made, calibration = card.provenance, card.calibration
    facts = [
        ("direction", f"`{card.direction_id}`"),
        ("shape", " x ".join(map(str, card.vector.shape))),
        ("layers", " ".join(map(str, card.layers)) or "all"),
        ("sigma, one natural step", _number(card.sigma)),
        ("stability", _number(card.stability)),
        ("generator's fingerprint", _safe(card.generator_fingerprint)),
        ("dataset", f"{_safe(made.dataset_id)}, seed {made.seed}"),
        ("settings", _safe(made.settings)),
    ]
    if calibration:
        step = f"{_number(calibration.step)} per {_safe(card.unit)}"
        where = f"{_number(calibration.low)} to {_number(calibration.high)}"
        facts.append(("calibration", f"{step}, seen to hold from {where}"))
    if card.artefact:
        facts.append((card.artefact.kind, f"`artefacts/{card.artefact.sha256}.safetensors`"))
    facts += [(name, _safe(getattr(card, name))) for name in ("source", "licence", "notes")]
    title = f"\n### {_safe(card.attribute)}, {_safe(card.method)}, {_safe(card.space)}\n"
    lines = [title, *_table(("", ""), [fact for fact in facts if fact[1]])]
    if card.responses:
        rows = [
            (_safe(r.attribute), f"{_number(r.per_step)} {_safe(r.unit)}", _number(r.relative))
            for r in card.responses
        ]
        lines += ["", *_table(("one step of norm 1 moves", "by", "in spreads"), rows)]
    return lines


def _pictures(card: DirectionCard, strip: Pictures) -> list[str]:
    head = [f"{step:+.3g} sigma" if step else "unedited" for step in strip.steps]
    rows = [
        [
            f"![{label}]({picture_name(card.direction_id, row, column)})"
            for column, label in enumerate(head)
        ]
        for row in range(len(strip.rows))
    ]
    return ["", *_table(head, rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [" | ".join(cells) for cells in (head, ["---"] * len(head), *rows)]
    return [f"| {line} |" for line in lines]


def _unit(card: DirectionCard) -> str:
    return "" if card.unit == "1" else _safe(card.unit)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3g}"


def _safe(text: str) -> str:
    """Text of a card as Markdown shows it: no markup, no new cells or lines."""
    plain = " ".join(text.split())
    return "".join(f"\\{mark}" if mark in "\\`*_[]<>|#!&" else mark for mark in plain)
