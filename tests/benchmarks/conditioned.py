"""Conditioned directions on heads of `entanglement` 0.6: leak and effect, on fresh heads.

    python -m tests.benchmarks.conditioned --quick
    python -m tests.benchmarks.conditioned
    python -m tests.benchmarks.conditioned --out FOLDER   # keeps the run, and goes on from it

Only what a user has is used: dlib's landmarks and what geometry reads off them, no truth. A run
mines a ridge direction of every attribute; each of FIVE is conditioned to hold the other ones of
SEVEN, re-scored once and conditioned again (`--refine 1`); then it and the unconditioned direction
are tried on the same heads, which nothing before has seen, up to two sigma. A leak is the root
mean square of the held attributes' changes in their population spreads, per unit step. Where the
unconditioned direction leaks no more than a few standard errors, a third of it cannot be told from
none: the note has the error. Beside it what either source of responses alone reaches.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from jobs.conditioning import Asked, TradeOff, card_of_point, refined, solve
from jobs.conditioning_measured import Measurer
from jobs.mine_directions import run
from mining.editing.condition import Wishes
from schemas.directions import DirectionCard
from schemas.settings import RunSettings
from storage.catalog import Catalog
from tests.benchmarks.table import Figure

SEVEN = ("yaw", "pitch", "roll", "mouth_open", "smile", "eye_closed", "brow_raise")
FIVE = ("smile", "mouth_open", "eye_closed", "brow_raise", "yaw")
MORE = (  # mined too: what else the landmarks tell widens the span
    "brow_gap", "mouth_width", "eye_distance", "nose_length", "nose_width", "face_width",
    "jaw_width", "chin_length",
)  # fmt: skip
LEAST_EFFECT, MOST_LEAK = 0.7, 1 / 3
Z95 = 1.96


def settings_of(out: str, quick: bool) -> RunSettings:
    """The run: heads, and a ridge direction of every attribute."""
    return RunSettings.model_validate(
        {
            "out": out,
            "generator": {
                "name": "head",
                "options": {"resolution": 128 if quick else 256, "entanglement": 0.6},
            },
            "extractors": {"dlib": {"upsample": 1 if quick else 0}, "geometry": {}},
            "dataset": {"samples": 300 if quick else 2400, "shard_size": 50},
            "engine": {"workers": 2},
            "mining": {
                "attributes": [*SEVEN, *MORE],
                "methods": {"ridge": {}},
                "stability": {"enabled": False},
            },
            "evaluation": {"identities": 4 if quick else 40, "strips": 0},
        }
    )


def figures(quick: bool, out: str | None = None) -> Iterator[Figure]:
    """The lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _figures(settings_of(out or f"{folder}/run", quick), quick)


def _figures(settings: RunSettings, quick: bool) -> Iterator[Figure]:
    done = run(settings)
    catalog, measurer = Catalog(done.catalog_url), Measurer(done.dataset, settings).on_others()
    found: dict[tuple[str, str], TradeOff] = {}
    for change in FIVE:
        held = tuple(name for name in SEVEN if name != change)
        asked = Asked(change, held, Wishes(LEAST_EFFECT))
        for source in ("images", "dataset", "both"):
            given = replace(asked, source=source)
            found[change, source] = solve(catalog, done.dataset, given)
        found[change, "refined"] = refined(found[change, "both"], done.dataset, measurer)
    judge = _judge(measurer.on_others(), quick)
    for change in FIVE:
        ways = {way: point for (name, way), point in found.items() if name == change}
        yield from compare(ways, judge)


def _judge(measurer: Measurer, quick: bool) -> Measurer:
    """Fresh heads, more of them, and no descriptors."""
    own = measurer.settings.evaluation
    more = own.model_copy(update={"identities": own.identities if quick else 60})
    return replace(measurer, settings=measurer.settings.model_copy(update={"evaluation": more}))


def compare(ways: dict[str, TradeOff], judge: Measurer) -> Iterator[Figure]:
    """One attribute's figures, all directions measured on the same heads."""
    first = ways["refined"]
    change, held = first.asked.change, first.held
    cards = [first.plain, *(card_of_point(found, judge.dataset) for found in ways.values())]
    plain, *made = judge.cards(cards)
    effect, leak, error = told(plain, held)
    for way, card in zip(ways, made, strict=True):
        got, left, unsure = told(card, held)
        note = (
            f"{left:.3f} of {leak:.3f} +- {unsure:.3f}; {left / got * effect / leak:.2f} per effect"
        )
        target = way == "refined"
        yield Figure(
            f"{change}, {way}: leak over the unconditioned one's",
            left / leak,
            most=MOST_LEAK if target else None,
            note=note,
        )
        yield Figure(
            f"{change}, {way}: effect over the unconditioned one's",
            got / effect,
            least=LEAST_EFFECT if target else None,
        )
    point = first.picked
    cost = made[list(ways).index("refined")].identity_cost
    if math.isfinite(cost):
        yield Figure(
            f"{change}: measured identity cost over the expected one",
            cost / point.cost,
            note=f"{cost:.3f} after one sigma",
        )


def told(card: DirectionCard, held: tuple[str, ...]) -> tuple[float, float, float]:
    """Effect, leak and the leak's standard error, per unit step in population spreads."""
    others = [card.response(name) for name in held]
    changes = np.array([each.relative for each in others if each])
    errors = np.array([(each.high - each.low) / (2 * Z95 * each.spread) for each in others if each])
    return (
        abs(card.effect_relative),
        float(np.sqrt(np.mean(changes**2))),
        float(np.sqrt(np.mean(errors**2))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--out", metavar="FOLDER", help="of the run, which is kept there")
    given = parser.parse_args()
    for figure in figures(given.quick, given.out):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
