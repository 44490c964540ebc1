"""Small direction cards for the tests of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.directions import DirectionCard, Provenance, Response


def sample_card(seed: int = 0, shape: tuple[int, ...] = (8,), **changes: Any) -> DirectionCard:
    """A card about "smile" in w; another seed gives another vector."""
    vector = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    fields: dict[str, Any] = {
        "attribute": "smile",
        "unit": "mm",
        "method": "ridge",
        "space": "w",
        "generator": "head",
        "generator_fingerprint": "ab" * 32,
        "generator_licence": "Apache-2.0",
        "vector": vector / np.linalg.norm(vector),
        "provenance": Provenance("d" * 16, seed, '{"penalty": 1.0}', "0.1.0", {"numpy": "2.4"}),
        "sigma": 0.5,
        "responses": responses("smile", 3.0, leak=0.1),
        "truth_cosine": 0.9,
    }
    return DirectionCard(**(fields | changes))


def responses(attribute: str, effect: float, leak: float) -> tuple[Response, ...]:
    """`effect` of `attribute` at a spread of 2, and one other that leaks by `leak`."""
    own = Response(attribute, "mm", effect, effect - 0.2, effect + 0.2, spread=2.0)
    other = Response("yaw", "degrees", leak * effect / 2, 0.0, 1.0, spread=1.0)
    return (own, other)
