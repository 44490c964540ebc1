"""Apply a direction: W+ plus a step along it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.editing.learned import LearnedEdit
from mining.editing.steps import steps_for
from mining.generators.base import Floats
from schemas.directions import Artefact, DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown

Unit = Literal["norm", "sigma", "attribute"]
_UNITS: tuple[Unit, ...] = get_args(Unit)


def apply_direction(
    w_plus: Floats,
    vector: NDArray,
    step: float | NDArray,
    layers: Sequence[int] = (),
) -> Floats:
    """Move latents along a direction: w_plus + step * vector, on all rows of W+ or on some.

    A vector of W moves every row by the same amount; a vector of W+ moves row l by its own row l.

    Args:
        w_plus: (N, num_ws, D); left as it is.
        vector: (D,) or (num_ws, D).
        step: in the latents' own unit, so 1 is one norm of the vector; one number, or (N,).
        layers: the rows of W+ that move, by number from 0; empty means all.

    Returns:
        A new float32 array of w_plus's shape.

    Raises:
        InputError: the shapes do not fit, a value is not finite, or a layer is not a row of W+.
    """
    w_plus = np.asarray(w_plus, np.float32)
    vector = np.asarray(vector, np.float64)
    if w_plus.ndim != 3 or vector.shape not in (w_plus.shape[2:], w_plus.shape[1:]):
        raise InputError(
            f"apply_direction: latents {w_plus.shape} and a vector {vector.shape} do not fit; "
            "expected (N, num_ws, D) with (D,) or (num_ws, D). Map latents of Z to W+ first."
        )
    rows = w_plus.shape[1]
    outside = [x for x in layers if not isinstance(x, Integral) or not 0 <= int(x) < rows]
    if outside:
        raise InputError(
            f"apply_direction: layers {outside} are outside 0..{rows - 1}; expected whole numbers."
        )
    steps = np.asarray(step, np.float64)
    if steps.shape not in ((), w_plus.shape[:1]):
        raise InputError(
            f"apply_direction: steps {steps.shape} for latents {w_plus.shape}; "
            "expected one number or one for every latent."
        )
    for name, values in (("latents", w_plus), ("vector", vector), ("steps", steps)):
        if not np.isfinite(values).all():
            raise InputError(f"apply_direction: the {name} hold NaN or infinity.")
    moves = np.zeros(rows)
    moves[list(layers) if layers else slice(None)] = 1.0
    moved = w_plus + steps[..., None, None] * moves[:, None] * vector
    return moved.astype(np.float32)


def apply_card(
    w_plus: Floats,
    card: DirectionCard,
    generator_fingerprint: str,
    step: float | NDArray,
    unit: Unit = "norm",
    another_generator: bool = False,
    learned: LearnedEdit | None = None,
) -> Floats:
    """Move the latents of a generator along a direction of the catalogue.

    A card of an attribute flow has no vector; its file moves each latent on a way of its own:

        data = storage.artefacts.read(catalog.url, card.artefact.sha256)
        learned = open_artefact(data, card.artefact.kind)       # mining.editing.learned
        apply_card(w_plus, card, fingerprint, 2.0, learned=learned)

    Args:
        w_plus: (N, num_ws, D); left as it is.
        generator_fingerprint: of the generator that the latents belong to.
        step: how far; one number, or (N,).
        unit: what `step` counts. "norm" is steps of norm 1, "sigma" natural steps (the standard
            deviation of the dataset's latents along the direction), "attribute" the attribute's
            own unit by the card's calibration, as `steps_for` has it.
        another_generator: try a direction on a generator that it was not mined from; warns.
        learned: the artefact that the card names; of no use to a card with a vector.

    Returns:
        A new float32 array of w_plus's shape.

    Raises:
        InputError: the card belongs to another generator, to another space than W or W+, names an
            artefact that is no flow or is not the one that came, or was not measured in that unit;
            or as `apply_direction`.
    """
    who = f"apply: {card.attribute!r} by {card.method!r} ({card.direction_id[:10]})"
    _check_appliable(who, card, learned)
    norms = steps_of_norm(who, card, step, unit)
    if card.generator_fingerprint != generator_fingerprint:
        _check_other_generator(who, card, generator_fingerprint, another_generator)
    if card.artefact is not None and learned is not None:
        return learned.edit(w_plus, card.attribute, norms)
    return apply_direction(w_plus, card.vector, norms, card.layers)


def _check_appliable(who: str, card: DirectionCard, learned: LearnedEdit | None) -> None:
    if card.artefact is not None:
        _check_artefact(who, card.artefact, learned)
    if card.space == "z":
        raise InputError(
            f"{who} lies in Z, latents of W+ came; add step * card.vector to z first and map the "
            "sum to W+ (generator.map, generator.broadcast), or choose a direction of W or W+."
        )
    if card.space not in ("w", "w+"):
        raise InputError(
            f"{who} lies in {card.space.upper()}, latents of W+ came; styles are added inside the "
            "generator, after its affine layers. Choose a direction of W or W+."
        )


def _check_artefact(who: str, artefact: Artefact, learned: LearnedEdit | None) -> None:
    """Refuse an artefact that holds no way for one attribute, or is another than the one opened."""
    if artefact.kind == "matrix":
        raise InputError(
            f"{who} is a matrix of many directions, not one; `lode edit matrix` moves several "
            "together, and each of its columns has a card of its own."
        )
    if artefact.kind != "flow":
        raise InputError(
            f"{who} is a {artefact.kind}, not one vector; load its file and derive a "
            "direction from it, or choose a card that has one."
        )
    if learned is None:
        raise InputError(
            f"{who} is a flow, which has no vector: its file edits in its place. Expected "
            "learned=open_artefact(storage.artefacts.read(catalog_url, card.artefact.sha256), "
            "'flow') of mining.editing.learned."
        )
    if learned.sha256 != artefact.sha256:
        raise InputError(
            f"{who} names the artefact {artefact.sha256[:16]}, {learned.sha256[:16]} came; open "
            "the file that the card names."
        )


def steps_of_norm(
    who: str, card: DirectionCard, step: float | NDArray, unit: Unit
) -> NDArray[np.float64]:
    """Steps of a unit as steps of norm 1."""
    if unit not in _UNITS:
        raise unknown("unit", unit, _UNITS)
    if unit == "attribute":
        return steps_for(card, step)
    if unit == "sigma" and not math.isfinite(card.sigma):
        raise InputError(f"{who}: its sigma was not measured; give the step in unit 'norm'.")
    return np.asarray(step, np.float64) * (card.sigma if unit == "sigma" else 1.0)


def _check_other_generator(
    who: str, card: DirectionCard, fingerprint: str, another_generator: bool
) -> None:
    """Refuse a direction of another generator, or warn where it is to be tried."""
    mined, given = card.generator_fingerprint[:16], fingerprint[:16]
    if not another_generator:
        raise InputError(
            f"{who} was mined from generator {card.generator} ({mined}), the latents are of "
            f"{given}; directions do not carry over. Choose one with that fingerprint, or try it "
            "with another_generator=True."
        )
    warnings.warn(
        f"{who} is tried on generator {given}, but was mined from {card.generator} ({mined}): it "
        "may change something else or nothing, and sigma, calibration and every measurement of "
        "the card are those of the other. Only a fine-tuned copy is likely to answer alike.",
        UserWarning,
        stacklevel=3,
    )
