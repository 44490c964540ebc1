"""The directions that a conditioned one is made of: a catalogue's cards, as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mining.editing.identity_form import identity_form
from mining.editing.pooled import Pooled, measured_alone, pooled_responses
from mining.stored import latent_column
from schemas.directions import DirectionCard, Response
from schemas.errors import InputError
from storage.catalog import Catalog
from storage.dataset import Dataset

METHOD = "conditioned"
Source = Literal["both", "images", "dataset"]  # of responses
Array = NDArray[np.float64]
Z95 = 1.96  # standard errors either side of a mean, in a 95 % interval


@dataclass(frozen=True)
class Candidates:
    """K directions of one space and generator, all measured on the same A attributes."""

    cards: tuple[DirectionCard, ...]
    vectors: Array  # (K, D) norm 1, rows of W+ laid end to end
    attributes: tuple[str, ...]  # A
    spreads: Array  # (A,) population spreads, in each attribute's unit
    measured: Pooled
    form: Array  # (K, K) of `identity_form`
    covariance: Array  # (K, K) of the latents' coordinates
    left_out: int  # cards that lack a response

    @property
    def names(self) -> tuple[str, ...]:
        """What each candidate is."""
        return tuple(f"{card.attribute} · {card.method}" for card in self.cards)


def usable_cards(
    catalog: Catalog, dataset: Dataset, layers: Sequence[int] = ()
) -> list[DirectionCard]:
    """The catalogue's directions of this generator and space, those that were conditioned aside.

    Args:
        layers: rows of W+ that they are to be restricted to.

    Raises:
        InputError: there are none, or a layer is no row.
    """
    manifest = dataset.manifest
    space = "w" if latent_column(manifest) == "w" else "w+"
    rows = manifest.generator["num_ws"] if layers else 0
    outside = [row for row in layers if not 0 <= row < rows]
    if outside:
        raise InputError(
            f"condition: layers {min(layers)} to {max(layers)} came; the generator has rows 0 to "
            f"{rows - 1}."
        )
    found = [
        card
        for card in catalog.cards(generator=manifest.generator["fingerprint"], space=space)
        if card.artefact is None and card.method != METHOD and not card.layers
    ]
    if not found:
        raise InputError(
            f"condition: the catalogue {catalog.url} holds no direction of this generator in "
            f"{space.upper()}; run `lode mine` first."
        )
    return found


def gather(
    cards: Sequence[DirectionCard],
    dataset: Dataset,
    attributes: Sequence[str],
    source: Source = "both",
) -> Candidates:
    """The cards that know every attribute, and what the dataset adds to what they know.

    Args:
        source: what responses are taken from: "images", the cards' re-scoring; "dataset", the
            gradients of its attributes by ridge; "both", weighed by how sure each is.

    Raises:
        InputError: fewer than two cards know all of them.
    """
    full = [
        card for card in cards if all(math.isfinite(relative(card, name)) for name in attributes)
    ]
    if len(full) < 2:
        raise InputError(
            f"condition: {len(full)} of {len(cards)} directions have measured responses of "
            f"{', '.join(attributes)}; expected at least two. Run `lode mine` with more attributes "
            "or methods, or hold fewer."
        )
    responses = np.array([[relative(card, name) for name in attributes] for card in full])
    errors = np.array([[error_of(card, name) for name in attributes] for card in full])
    spreads = np.array([response_of(full[0], name).spread for name in attributes])
    column = latent_column(dataset.manifest)
    latents = dataset.arrays([column])[column]
    rows = latents.shape[1] if latents.ndim == 3 else 1
    flat = latents.reshape(len(latents), -1).astype(np.float64)
    vectors = np.array([np.asarray(card.vector, np.float64).ravel() for card in full])
    if source == "images" or (any(card.layers for card in full) and rows == 1):
        # one w decides all rows: what the dataset says of it is of no row alone
        measured = measured_alone(vectors, responses, errors)
    else:
        scores = _scores(dataset, attributes) / spreads
        errors = np.full_like(errors, np.nan) if source == "dataset" else errors
        measured = pooled_responses(vectors, responses, errors, flat, scores)
    per_unit = np.array(
        [card.identity_cost / card.sigma if card.sigma > 0 else math.nan for card in full]
    )
    coordinates = flat @ vectors.T
    covariance = np.atleast_2d(np.cov(coordinates.T))
    return Candidates(
        tuple(full),
        vectors,
        tuple(attributes),
        spreads,
        measured,
        identity_form(vectors, per_unit),
        covariance,
        len(cards) - len(full),
    )


def _scores(dataset: Dataset, attributes: Sequence[str]) -> Array:
    """(N, A); NaN for what is no column, such as a label."""
    known = dataset.attributes()
    wanted: Mapping[str, str] = {name: known[name].name for name in attributes if name in known}
    arrays = dataset.arrays(list(dict.fromkeys(wanted.values())))
    none = np.full(dataset.rows, np.nan)
    return np.column_stack(
        [arrays[wanted[name]].astype(np.float64) if name in wanted else none for name in attributes]
    )


def response_of(card: DirectionCard, name: str) -> Response:
    found = card.response(name)
    return found or Response(name, "1", math.nan, math.nan, math.nan, math.nan)


def relative(card: DirectionCard, name: str) -> float:
    return response_of(card, name).relative


def error_of(card: DirectionCard, name: str) -> float:
    """The standard error of a response in spreads, from its 95 % interval."""
    found = response_of(card, name)
    return (found.high - found.low) / (2 * Z95 * found.spread) if found.spread > 0 else math.nan
