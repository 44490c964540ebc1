"""How numbers and units are written for people."""

from __future__ import annotations

import math

DASH = "–"  # an unknown number
MINUS = "\u2212"  # as wide as a digit and a plus
NARROW = "\u202f"  # a narrow space that does not break, between thousands


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits: 12.3, 0.0123, 12 300; a dash where unknown."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if not -4 <= power <= 8:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return fixed(value, max(0, digits - 1 - power))


def fixed(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """A number with so many decimals, never "-0.00"; a dash where unknown."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{abs(value):,.{decimals}f}".replace(",", NARROW)
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def mark(value: float) -> str:
    """A round number on an axis, without trailing zeros: 0.5, 1e-05, 2000."""
    return f"{value:.4g}".replace("-", MINUS)


def whole(value: int) -> str:
    """A count: 12 000."""
    return f"{value:,}".replace(",", NARROW)


def percent(value: float, decimals: int = 1) -> str:
    """A share of 1 in per cent."""
    return DASH if not math.isfinite(value) else f"{fixed(100 * value, decimals)}{NARROW}%"


def unit(name: str) -> str:
    """A unit as it follows a number: the degree sign, nothing for a plain number, " mm"."""
    known = {"degrees": "°", "1": "", "percent": f"{NARROW}%", "standard deviations": f"{NARROW}SD"}
    return known.get(name, f"{NARROW}{name}")


def reading(value: float, name: str) -> str:
    """A measured value with its unit: "−12.3°", "0.42 mm"."""
    if not math.isfinite(value):
        return DASH
    return fixed(value, _decimals(abs(value), name)) + unit(name)


def change(value: float, name: str) -> str:
    """A difference with its sign and unit: "+2.1°"."""
    if not math.isfinite(value):
        return DASH
    return fixed(value, _decimals(abs(value), name), sign=True) + unit(name)


def interval(ends: tuple[float, float], name: str) -> str:
    """Both ends of an interval with the decimals of `reading`, the unit left out: "9.8 to 14.3"."""
    if not all(math.isfinite(end) for end in ends):
        return DASH
    decimals = _decimals(max(map(abs, ends)), name)
    return f"{fixed(ends[0], decimals)} to {fixed(ends[1], decimals)}"


def _decimals(size: float, name: str) -> int:
    return 1 if name in ("degrees", "percent") or size >= 100 else 2


def sigmas(step: float) -> str:
    """A step along a direction: "−2σ", "+0.5σ"."""
    near = round(step, 2)
    decimals = next(d for d in (0, 1, 2) if round(near, d) == near)
    return f"{fixed(near, decimals, sign=True)}σ"


def duration(seconds: float) -> str:
    """48 s, 3 min 20 s, 2 h 5 min."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{number(seconds, 2)}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest}{NARROW}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h {minutes}{NARROW}min"
