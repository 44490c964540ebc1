"""The trade-off of a conditioned direction for people: a table, a page, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from jobs.conditioning import TradeOff, measured_leak, settings_of
from jobs.report.trade_off_page import render_trade_off
from mining.editing.condition import Conditioned
from schemas.directions import DirectionCard
from storage.files import Store

STEM = "trade_off"
ROWS = 10  # of the printed table


def rows_of(found: TradeOff) -> list[dict[str, float | bool | None]]:
    """Every point of the curve: effect and leak in population spreads, cost as a distance."""
    return [
        {
            "effect": _number(abs(point.effect)),
            "effect_kept": _number(abs(point.effect) / found.strongest),
            "leak": _number(point.leak),
            "sigma": _number(point.sigma),
            "identity_cost": _number(point.cost),
            "identity_cost_by": _number(point.cost_of(found.asked.wishes.by)),
            "picked": point is found.picked,
            **{
                f"held_{name}": _number(value)
                for name, value in zip(found.held, point.held, strict=True)
            },
        }
        for point in found.curve
    ]


def document(found: TradeOff, measured: DirectionCard | None) -> dict[str, Any]:
    """Everything that there is to tell, as JSON takes it."""
    return {
        "asked": settings_of(found),
        "plain": {
            "direction": found.plain.direction_id,
            "method": found.plain.method,
            "effect": _number(found.plain_effect),
            "leak": _number(found.plain_leak),
        },
        "curve": rows_of(found),
        "candidates": len(found.candidates.cards),
        "left_out": found.candidates.left_out,
        **compared(found, measured),
    }


def compared(found: TradeOff, measured: DirectionCard | None) -> dict[str, Any]:
    """What is expected of the picked direction, and what was measured along it, if it was."""
    point = found.picked
    told = {
        "expected": {
            "effect": _number(abs(point.effect)),
            "effect_kept": _number(abs(point.effect) / found.strongest),
            "leak": _number(point.leak),
            "leak_of_plain": _number(point.leak / found.plain_leak if found.plain_leak else 0),
            "identity_cost": _number(point.cost),
        }
    }
    if measured is not None:
        effect, leak = abs(measured.effect_relative), measured_leak(measured, found.held)
        told["measured"] = {
            "effect": _number(effect),
            "leak": _number(_over(leak.raw, effect)),
            "leak_without_noise": _number(_over(leak.size, effect)),
            "leak_at_most": _number(_over(leak.most, effect)),
            "identity_cost": _number(measured.identity_cost),
        }
    return told


def table(found: TradeOff) -> str:
    """Ten points between the ends of the curve, and the one that was picked."""
    wishes = found.asked.wishes
    cost = f"cost for {wishes.by:g}"
    lines = [f"  {'effect':>8} {'kept':>6} {'leak':>8} {'cost at σ':>10} {cost:>10}"]
    for point in some(found):
        values = (
            f"{abs(point.effect):8.3f} {abs(point.effect) / found.strongest:6.0%} {point.leak:8.3f}"
        )
        costs = f"{_text(point.cost):>10} {_text(point.cost_of(wishes.by)):>10}"
        lines.append(f"{'>' if point is found.picked else ' '} {values} {costs}")
    plain = f"{found.plain_effect:8.3f} {'':>6} {found.plain_leak:8.3f}"
    lines.append(f"  {plain} {'':>10} {'':>10}   unconditioned: {found.plain.method}")
    return "\n".join(lines)


def some(found: TradeOff) -> list[Conditioned]:
    """Points about evenly apart in effect, the picked one among them."""
    kept, most = [], max(abs(point.effect) for point in found.curve)
    last = math.inf
    least = min(abs(point.effect) for point in found.curve)
    for point in found.curve:
        effect = abs(point.effect)
        if point is found.picked or last - effect >= max(most - least, 1e-9 * most) / ROWS:
            kept.append(point)
            last = effect
    return kept


def write(found: TradeOff, measured: DirectionCard | None, folder: str) -> dict[str, str]:
    """Write page, JSON and CSV of this trade-off; their places. Those of an earlier one go.

    Raises:
        StorageError: the folder cannot be written.
    """
    store = Store(folder)
    text = json.dumps(document(found, measured), indent=1, allow_nan=False, ensure_ascii=False)
    rows = rows_of(found)
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    store.replace(f"{STEM}.json", text.encode())
    store.replace(f"{STEM}.csv", sheet.getvalue().encode())
    store.replace(f"{STEM}.html", render_trade_off(found, measured).encode())
    return {kind: f"{folder}/{STEM}.{kind}" for kind in ("html", "json", "csv")}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _over(leak: float, effect: float) -> float:
    return leak / effect if effect else math.nan


def _text(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
