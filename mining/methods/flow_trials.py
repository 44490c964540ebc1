"""What the edits of an attribute flow do to held-out rows: their directions and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, unit_vector
from mining.methods.flow_config import WHO

if TYPE_CHECKING:
    from mining.methods.attribute_flow import AttributeFlow

Array = NDArray[np.float64]


def tried(flow: AttributeFlow, latents: NDArray) -> tuple[list[Direction], dict[str, float]]:
    """A direction for every attribute, from edits of some latents both ways by one spread.

    Landing and leak are by the flow's own reading; leak is the root mean square over the other
    attributes of their mean change in their spreads, per spread that the own one changes.
    """
    latents = np.asarray(latents, np.float64)
    before = flow.read(latents)
    noise = flow.reverse(latents, before)
    again = flow.forward(noise, before)
    directions = []
    for place in range(len(flow.names)):
        ends = []
        for sign in (1.0, -1.0):
            after = before.copy()
            after[:, place] += sign * flow.scale[place]
            ends.append(flow.forward(noise, after))
        moved = (ends[0] - ends[1]) / 2
        landed = (flow.read(ends[0]) - flow.read(ends[1])) / 2 / flow.scale
        directions.append(_direction(flow, place, moved, landed))
    misses = [each.evidence["miss"] for each in directions]
    leaks = [each.evidence["leak"] for each in directions]
    evidence = {
        "reversible": float(np.abs(again - latents).max()),
        "miss": float(np.mean(misses)),
        "leak": float(np.mean(leaks)),
        "evaluations": float(flow.evaluations(latents)),
    }
    return directions, evidence


def _direction(flow: AttributeFlow, place: int, moved: Array, landed: Array) -> Direction:
    """One attribute's.

    Args:
        moved: (N, D) displacements. landed: (N, K) changes of all attributes in their spreads.
    """
    layers = flow.layers[place]
    mean = moved.mean(axis=0).reshape(flow.latent_shape)
    if layers and flow.space != "w":
        still = np.setdiff1d(np.arange(len(mean)), layers)
        mean[still] = 0
    others = np.delete(landed.mean(axis=0), place)
    own = landed[:, place]
    return Direction(
        method=WHO,
        vector=unit_vector(WHO, mean),
        slope=float(flow.scale[place] / np.linalg.norm(mean)),
        attribute=flow.names[place],
        unit=flow.units[place],
        space=flow.space,
        layers=layers,
        evidence={
            "miss": float(np.abs(own - 1).mean()),
            "leak": float(np.sqrt((others**2).mean()) / own.mean()) if len(others) else 0.0,
            "bend": float(
                1 - np.linalg.norm(moved.mean(axis=0)) / np.linalg.norm(moved, axis=1).mean()
            ),
        },
    )
