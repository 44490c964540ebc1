"""What is asked of the codes, as people write it: "yaw=20, pitch+=5, alpha_3=-2..2s"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.camera import CAMERA_NAMES, component_names
from mining.methods.regressor import CLIP
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]

ANGLES = CAMERA_NAMES[3:]  # written in degrees, kept in radians
SYNTAX = "yaw=20, yaw=-20..20, pitch+=5, roll-=3, alpha_3=0.1, alpha_3+=2s or t_x+=0.02"
LONGEST = 10_000  # characters of one request
_NUMBER = r"[+-]?(\d+(\.(?!\.)\d*)?|\.\d+)(e[+-]?\d+)?"  # no dot of a range's two belongs to it
_PART = re.compile(
    r"(?P<code>\w+)\s*(?P<sign>[+-]?)=\s*"
    rf"((?P<first>{_NUMBER})\s*(?P<each>s?)\s*\.\.\s*)?(?P<value>{_NUMBER})\s*(?P<s>s?)",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Change:
    """One code and what it is to become."""

    code: str  # one of `component_names`
    value: float  # degrees for angles; else the code's own number; spreads where `spreads`
    relative: bool = False  # added to what the code is, in place of being what it becomes
    spreads: bool = False  # counted in the code's spread, absolute values from its mean
    first: float | None = None  # where a sweep begins, that ends at `value`; None: no sweep

    def __str__(self) -> str:
        """As `parse_request` reads it."""
        unit = "s" if self.spreads else ""
        first = "" if self.first is None else f"{self.first:.9g}.."
        return f"{self.code}{'+=' if self.relative else '='}{first}{self.value:.9g}{unit}"


@dataclass(frozen=True)
class Request:
    """Changes of different codes, made together."""

    changes: tuple[Change, ...]

    def __str__(self) -> str:
        """As `parse_request` reads it."""
        return ", ".join(map(str, self.changes))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that are asked for, in the order in which they came."""
        return tuple(change.code for change in self.changes)

    @property
    def sweeps(self) -> bool:
        """Whether a code goes from one value to another, in place of from what it is to one."""
        return any(change.first is not None for change in self.changes)

    @property
    def begin(self) -> Request:
        """What is asked where the sweeps begin."""
        begins = (c if c.first is None else replace(c, value=c.first) for c in self.changes)
        return Request(tuple(replace(change, first=None) for change in begins))

    def target(
        self,
        q: Array,
        names: Sequence[str],
        mean: Array | None = None,
        spread: Array | None = None,
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The codes to aim at: q with the changes made, where sweeps end.

        Args:
            q: (N, Q), angles in radians.
            names: of q's numbers, as `ShapeModel.names`.
            mean, spread: (Q,), a regressor's; what is asked for must lie within CLIP spreads of
                the mean, beyond which it was trained on nothing. Needed where a change counts
                spreads.

        Returns:
            (N, Q) targets, and (Q,) which codes are asked for.

        Raises:
            InputError: a code is unknown or out of its range, or spreads are asked for and not
                known.
        """
        self.check(names)
        target, asked = np.array(q, np.float64), np.zeros(len(names), bool)
        for change in self.changes:
            place = list(names).index(change.code)
            asked[place] = True
            start = target[:, place] if change.relative else 0.0
            if not change.spreads:
                target[:, place] = start + radians(change.code, change.value)
            elif mean is None or spread is None:
                raise InputError(f"edit: {change} counts spreads, and they are not known.")
            else:
                start = start if change.relative else mean[place]
                target[:, place] = start + change.value * spread[place]
            _check_camera(change, target[:, place])
            if mean is not None and spread is not None:
                _check_known(change, target[:, place], mean[place], spread[place])
        return target, asked

    def check(self, names: Sequence[str]) -> None:
        """InputError, naming the nearest, where a code is not among `names`."""
        for code in self.codes:
            if code not in names:
                raise unknown("code", code, names)


def parse_request(text: str, syntax: str = SYNTAX) -> Request:
    """Read changes separated by commas: CODE=VALUE, CODE+=VALUE, CODE-=VALUE or CODE=FIRST..LAST.

    `=` says what a code becomes, `+=` and `-=` change it. Angles are in degrees, t_x and t_y in
    fractions of the image, all else in the code's own number; a value with an s behind it counts
    the code's spreads over the latents that the regressor was trained on, from its mean or, after
    += and -=, from what it is. Two values with two dots between are the ends of a sweep.

    Args:
        syntax: what errors give as an example.

    Raises:
        InputError: the text is none of this, a value is not finite, or a code comes twice.
    """
    if len(text) > LONGEST:
        raise InputError(f"edit: a request of {len(text):,} characters; at most {LONGEST:,}.")
    changes = [_change(part.strip(), syntax) for part in text.rstrip().rstrip(",").split(",")]
    codes = [change.code for change in changes]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise InputError(f"edit: {text!r} asks for {', '.join(twice)} twice; once is enough.")
    return Request(tuple(changes))


def radians(code: str, value: float) -> float:
    """A written value as q holds it."""
    return math.radians(value) if code in ANGLES else value


def shown(code: str, value: float) -> float:
    """A value of q as it is written and shown: angles in degrees."""
    return math.degrees(value) if code in ANGLES else float(value)


def unit_of(code: str) -> str:
    """What the shown value counts; "1" where it is a plain number."""
    if code in ANGLES:
        return "degrees"
    return "of the image" if code in component_names(0)[-2:] else "1"


def _change(part: str, syntax: str) -> Change:
    found = _PART.fullmatch(part)
    if found is None:
        raise InputError(f"edit: {part!r} cannot be read; expected such as {syntax}.")
    turn = -1 if found["sign"] == "-" else 1
    value = turn * float(found["value"])
    first = None if found["first"] is None else turn * float(found["first"])
    if not (math.isfinite(value) and math.isfinite(first or 0.0)):
        raise InputError(f"edit: {part!r}: the value is not finite.")
    if found["each"] and not found["s"]:
        raise InputError(f"edit: {part!r} begins in spreads and does not end so; expected both.")
    return Change(found["code"].lower(), value, bool(found["sign"]), bool(found["s"]), first)


def _check_camera(change: Change, target: Array) -> None:
    """Refuse what no camera is: k11 and k22 are sizes, and angles end at 180, pitch at 90."""
    if change.code in ANGLES:
        most = 90.0 if change.code == "pitch" else 180.0
        worst = math.degrees(target[np.abs(target).argmax()]) if len(target) else 0.0
        if abs(worst) > most * (1 + 1e-9):
            raise InputError(
                f"edit: {change} asks for {worst:.4g} degrees; expected -{most:.0f} to {most:.0f}."
            )
    elif change.code in ("k11", "k22") and len(target) and target.min() <= 0:
        raise InputError(f"edit: {change} asks for {target.min():.4g}; expected more than 0.")


def _check_known(change: Change, target: Array, mean: float, spread: float) -> None:
    """Refuse what lies where the regressor was trained on nothing."""
    if not len(target):
        return
    off = (target - mean) / spread
    worst = int(np.abs(off).argmax())
    if abs(off[worst]) > CLIP * (1 + 1e-9):
        ends = [shown(change.code, mean + sign * CLIP * spread) for sign in (-1, 1)]
        raise InputError(
            f"edit: {change} asks for {shown(change.code, target[worst]):.4g}, which is "
            f"{abs(off[worst]):.1f} spreads from the mean of the latents that the regressor was "
            f"trained on; expected {ends[0]:.4g} to {ends[1]:.4g}."
        )
