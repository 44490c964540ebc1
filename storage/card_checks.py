"""What a card must be before it is published."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from schemas.directions import Artefact, Calibration, DirectionCard
from schemas.errors import InputError
from storage.artefacts import KINDS

SPACES = ("z", "w", "w+", "s")
NAMES = ("attribute", "unit", "method", "space", "generator", "generator_fingerprint")
MOST_NAME = 1_000  # characters of a name
MOST_TEXT = 1_000_000  # of settings, notes, and where it comes from
MOST_KNOTS = 64  # of a calibration's curve
MOST_ENTRIES = 10_000  # of responses, evidence, packages, layers
_MOST_LAYER = 2**31  # a vector (D,) fits any number of layers
_MOST_COORDINATES = 2**24


def check_card(card: DirectionCard) -> None:
    """Refuse a card that would mislead whoever finds it.

    Raises:
        InputError: a name is missing, a text is too long or no Unicode, the space is not one of
            SPACES, the vector is not (D,) or (num_ws, D) of norm 1 (of an artefact: not (0,)), a
            layer is not one of its rows, the artefact or the calibration is none, or the seed
            exceeds 64 bits.
    """
    who = f"publish: card {card.attribute[:80]!r} by {card.method[:80]!r}"
    for name in NAMES:
        if not getattr(card, name):
            raise InputError(f"{who}: {name} is empty; every card names it.")
    _check_texts(card, who)
    if card.space not in SPACES:
        raise InputError(f"{who}: space {card.space!r}; expected one of {', '.join(SPACES)}.")
    if card.artefact is None:
        _check_vector(card, who)
    else:
        _check_artefact(card, card.artefact, who)
    _check_calibration(card, who)
    if not -(2**63) <= card.provenance.seed < 2**63:
        raise InputError(f"{who}: seed {card.provenance.seed} does not fit 64 bits.")


def distinct_ids(cards: Sequence[DirectionCard]) -> tuple[str, ...]:
    """The ids of a publication's cards.

    Raises:
        InputError: there are no cards, or two are the same direction.
    """
    ids = tuple(card.direction_id for card in cards)
    if not ids:
        raise InputError("publish: no cards came; a publication holds at least one.")
    seen: set[str] = set()
    for card, each in zip(cards, ids, strict=True):
        if each in seen:
            raise InputError(
                f"publish: the direction {each} ({card.attribute!r} by {card.method!r}) came "
                "twice; publish each once."
            )
        seen.add(each)
    return ids


def _check_vector(card: DirectionCard, who: str) -> None:
    norm = float(np.linalg.norm(np.asarray(card.vector, np.float64)))
    if card.vector.ndim not in (1, 2) or not abs(norm - 1) < 1e-3:  # so that NaN fails too
        raise InputError(
            f"{who}: the vector has shape {card.vector.shape} and norm {norm:g}; expected (D,) or "
            "(num_ws, D) and norm 1. Divide it by its norm and rescale slope and responses."
        )
    if card.vector.size > _MOST_COORDINATES:
        raise InputError(
            f"{who}: the vector has shape {card.vector.shape}; expected at most "
            f"{_MOST_COORDINATES:,} coordinates. Keep what is larger as an artefact."
        )
    rows = len(card.vector) if card.vector.ndim == 2 else _MOST_LAYER
    if any(not 0 <= layer < rows for layer in card.layers):
        raise InputError(f"{who}: layers {card.layers} are outside 0..{rows - 1}.")


def _check_artefact(card: DirectionCard, artefact: Artefact, who: str) -> None:
    if card.vector.shape != (0,):
        raise InputError(
            f"{who}: the vector has shape {card.vector.shape} beside an artefact; expected (0,). "
            "Publish a direction and an artefact as two cards."
        )
    plausible = re.fullmatch("[0-9a-f]{64}", artefact.sha256) and 0 < artefact.bytes < 2**63
    if artefact.kind not in KINDS or not plausible:
        raise InputError(
            f"{who}: the artefact is {artefact}; expected one of the kinds {', '.join(KINDS)}, a "
            "SHA-256 of 64 hexadecimal digits and its bytes. storage.artefacts.put makes one."
        )
    if any(not 0 <= layer < _MOST_LAYER for layer in card.layers):
        raise InputError(f"{who}: layers {card.layers} are outside 0..{_MOST_LAYER - 1}.")


def _check_calibration(card: DirectionCard, who: str) -> None:
    known = card.calibration
    if known is None:
        return
    finite = all(math.isfinite(value) for value in (known.step, known.low, known.high))
    if not finite or not known.step or not known.low <= 0 <= known.high:
        raise InputError(
            f"{who}: {known}; expected finite numbers with step != 0 and low <= 0 <= high. Leave "
            "calibration out where it is not known."
        )
    _check_curve(known, who)


def _check_curve(known: Calibration, who: str) -> None:
    values, steps = known.values, known.steps
    if len(values) != len(steps) or len(values) > MOST_KNOTS:
        raise InputError(
            f"{who}: the calibration's curve has {len(values)} values at {len(steps)} steps; "
            f"expected as many, at most {MOST_KNOTS}."
        )
    for name, share in (("monotonic", known.monotonic), ("error", known.error)):
        most = 1.0 if name == "monotonic" else math.inf
        if not (math.isnan(share) or 0 <= share <= most):
            raise InputError(f"{who}: the calibration's {name} is {share}; expected 0 to {most}.")
    if not values:
        return
    ends = [list(ascending) for ascending in (values, steps)]
    finite = all(math.isfinite(number) for number in (*values, *steps))
    sign = 1 if known.step > 0 else -1
    rises = finite and ends[1] == sorted(set(steps)) and ends[0][::sign] == sorted(values)
    if not rises or (0.0, 0.0) not in zip(values, steps, strict=True):
        raise InputError(
            f"{who}: the calibration's curve is {values} at {steps}; expected finite numbers, the "
            "steps ascending, the values going the way of `step`, and 0 at step 0."
        )


def _check_texts(card: DirectionCard, who: str) -> None:
    for name, text, most in _texts(card):
        if len(text) > most:
            raise InputError(f"{who}: {name} has {len(text):,} characters; at most {most:,}.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"{who}: {name} holds {text[:80]!r}, half a character.") from None
    packages = card.provenance.packages
    for name, many in (("responses", card.responses), ("evidence", card.evidence)):
        if len(many) > MOST_ENTRIES:
            raise InputError(f"{who}: {len(many):,} {name} came; at most {MOST_ENTRIES:,}.")
    if max(len(packages), len(card.layers)) > MOST_ENTRIES:
        raise InputError(f"{who}: more than {MOST_ENTRIES:,} packages or layers came.")


def _texts(card: DirectionCard) -> Iterator[tuple[str, str, int]]:
    """Every text of the card: where it stands, itself, and how many characters it may have."""
    made = card.provenance
    for name in NAMES:
        yield name, getattr(card, name), MOST_NAME
    for name in ("generator_licence", "notes", "source", "licence"):
        yield name, getattr(card, name), MOST_TEXT
    yield "settings", made.settings, MOST_TEXT
    yield "dataset_id", made.dataset_id, MOST_NAME
    yield "code_version", made.code_version, MOST_NAME
    for response in card.responses:
        yield "a response's attribute", response.attribute, MOST_NAME
        yield "a response's unit", response.unit, MOST_NAME
    for name in card.evidence:
        yield "the name of evidence", name, MOST_NAME
    for name, version in made.packages.items():
        yield "a package", f"{name} {version}", MOST_NAME
