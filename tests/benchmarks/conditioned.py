"""Conditioned directions on heads of `entanglement` 0.6: leak and effect, on fresh heads.

    python -m tests.benchmarks.conditioned --quick
    python -m tests.benchmarks.conditioned
    python -m tests.benchmarks.conditioned --out FOLDER   # keeps the run, and goes on from it
    python -m tests.benchmarks.conditioned --dataset URL --identities 32

Only what a user has is used: dlib's landmarks and what geometry reads off them, no truth. A run
mines a ridge direction of every attribute; each of FIVE is conditioned to hold the other ones of
SEVEN, re-scored once and conditioned again (`--refine 1`); then it and the unconditioned direction
are tried on the same heads, which nothing before has seen, up to two sigma. A leak is the root
mean square of the held attributes' changes in their population spreads, per unit step, without
what the noise of so few heads explains of it (`mining.editing.leaks`); the note has it per effect
too, and with the noise. Where the unconditioned direction's own leak is not resolved, being below
two standard errors, a third of it cannot be told from none, and the ratio is judged by nothing.
`--more` tries beside it what either source of responses alone reaches, and both unrefined, and
compares the cost in identity with what was expected; descriptors take most of the time.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jobs.conditioning import (
    Asked,
    TradeOff,
    card_of_point,
    measured_leak,
    solve,
    with_measured,
)
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
REFINED = "refined"
ALONE = ("images", "dataset")  # sources of responses
Ways = dict[str, TradeOff]  # by what each was conditioned with


@dataclass(frozen=True)
class Case:
    """How large the run is."""

    quick: bool = False
    out: str | None = None  # of the run; a temporary folder for None
    dataset: str | None = None  # URL of one that is finished; made for None
    identities: int | None = None  # heads of each measurement
    more: bool = False  # what is not refined, and identity


def settings_of(case: Case, out: str) -> RunSettings:
    """The run: heads, and a ridge direction of every attribute."""
    quick = case.quick
    return RunSettings.model_validate(
        {
            "out": out,
            "dataset_url": case.dataset,
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
            "evaluation": {
                "identities": case.identities or (4 if quick else 40),
                "strips": 0,
                "descriptor": case.more,
            },
        }
    )


def figures(quick: bool = False) -> Iterator[Figure]:
    """The lines of the table."""
    return figures_of(Case(quick))


def figures_of(case: Case) -> Iterator[Figure]:
    """The lines of one case."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(case, case.out or f"{folder}/run")
        done = run(settings)
        measurer = Measurer(done.dataset, settings).on_others()
        found = conditioned(Catalog(done.catalog_url), measurer, case)
        if not case.more:
            found = {change: {REFINED: ways[REFINED]} for change, ways in found.items()}
        yield from judged(found, _judge(measurer.on_others(), case))


def conditioned(catalog: Catalog, measurer: Measurer, case: Case) -> dict[str, Ways]:
    """Every attribute's trade-offs: from the cards alone, and refined by one more measurement."""
    found: dict[str, Ways] = {}
    dataset = measurer.dataset
    for change in FIVE:
        asked = Asked(change, tuple(n for n in SEVEN if n != change), Wishes(LEAST_EFFECT))
        sources = ("both", *ALONE) if case.more else ("both",)
        found[change] = {
            source: solve(catalog, dataset, replace(asked, source=source)) for source in sources
        }
    tried = measurer.cards([card_of_point(ways["both"], dataset) for ways in found.values()])
    for ways, card in zip(found.values(), tried, strict=True):
        ways[REFINED] = with_measured(ways["both"], dataset, [card])
    return found


def _judge(measurer: Measurer, case: Case) -> Measurer:
    """Fresh heads, and more of them."""
    own = measurer.settings.evaluation
    count = case.identities or (own.identities if case.quick else 60)
    more = own.model_copy(update={"identities": count})
    return replace(measurer, settings=measurer.settings.model_copy(update={"evaluation": more}))


def judged(found: dict[str, Ways], judge: Measurer) -> Iterator[Figure]:
    """All figures; every direction is measured on the same heads, which are rendered once."""
    asked = [
        [ways[REFINED].plain, *(card_of_point(way, judge.dataset) for way in ways.values())]
        for ways in found.values()
    ]
    measured = iter(judge.cards([card for cards in asked for card in cards]))
    for cards, (change, ways) in zip(asked, found.items(), strict=True):
        plain, *made = [next(measured) for _ in cards]
        for way, card in zip(ways, made, strict=True):
            yield from compared(f"{change}, {way}", plain, card, ways[way].held, way == REFINED)
        cost, expected = made[list(ways).index(REFINED)].identity_cost, ways[REFINED].picked.cost
        if math.isfinite(cost / expected):
            yield Figure(
                f"{change}: measured identity cost over the expected one",
                cost / expected,
                note=f"{cost:.3f} after one sigma",
            )


def compared(
    what: str, plain: DirectionCard, made: DirectionCard, held: Sequence[str], target: bool
) -> Iterator[Figure]:
    """Leak and effect of one direction over those of the unconditioned one."""
    before, after = measured_leak(plain, held), measured_leak(made, held)
    effect = abs(made.effect_relative) / abs(plain.effect_relative)
    sizes = f"{after.size:.3f} (at most {after.most:.3f}) of {before.size:.3f}"
    if before.resolved:
        ratio = after.size / before.size
        yield Figure(
            f"{what}: leak over the unconditioned one's",
            ratio,
            most=MOST_LEAK if target else None,
            note=f"{sizes}; {ratio / effect:.2f} per effect; with the noise "
            f"{after.raw / before.raw:.2f}",
        )
    else:
        unsure = f"the unconditioned one's is not resolved: at most {before.most:.3f}"
        yield Figure(f"{what}: leak per unit step", after.size, note=f"{sizes}; {unsure}")
    least = LEAST_EFFECT if target else None
    yield Figure(f"{what}: effect over the unconditioned one's", effect, least=least)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--out", metavar="FOLDER", help="of the run, which is kept there")
    parser.add_argument("--dataset", metavar="URL", help="such heads that were made before")
    parser.add_argument("--identities", type=int, help="heads of each measurement")
    parser.add_argument("--more", action="store_true", help="what is not refined, and identity")
    missed = False
    for figure in figures_of(Case(**vars(parser.parse_args()))):
        print(figure, flush=True)
        missed |= figure.met is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
