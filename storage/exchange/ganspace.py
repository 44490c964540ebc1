"""Principal components: GANSpace's own .npz and .pkl, and the .pt that encoder4editing made of it.

The keys and shapes are facts of github.com/harskish/ganspace (decomposition.py, interactive.py)
and of encoder4editing's ffhq_pca.pt. A component's stdev is the standard deviation of the latents
along it, so it becomes the card's sigma.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from storage.exchange.found import MOST_FOUND, Found, check_total, direction, number, shown, text

LATENTS = {"lat_comp", "lat_stdev"}  # of an .npz, beside act_* of the layer's activations
PCA = {"comp", "mean", "std"}
EXPORT = {"lat_comp", "latent_space", "component_index"}  # of one component, saved by hand
# model-class_layer_estimator_n..., and _w where the latents are W
_FILE = re.compile(r"(?P<model>[a-z0-9_]+-[^_]+)_.+_n\d+(?P<w>_w)?(_seed\d+)?")


@dataclass(frozen=True)
class _Components:
    """What an array of components has in common."""

    source_format: str
    space: str
    generator: str
    notes: tuple[str, ...]


def is_components(content: Any) -> bool:
    """Whether it is GANSpace's or encoder4editing's set of components, or one that was saved."""
    keys = set(content) if isinstance(content, dict) else set()
    return keys >= LATENTS or keys >= PCA or keys >= EXPORT


def found_components(content: Mapping[str, Any], stem: str, source_format: str) -> list[Found]:
    """Its components, in their order.

    Args:
        stem: the file's name without its extension, which says model and space.

    Raises:
        InputError: an array is missing or its shape is not (K, D) or (K, 1, D).
    """
    if set(content) >= EXPORT:
        return [_saved(content, source_format)]
    if set(content) >= PCA:
        common = _Components(source_format, "w", "", ())
        return _each(content["comp"], content["std"], {}, common)
    named = _FILE.fullmatch(stem.lower())
    space = ("w" if named["w"] else "z") if named else ""
    common = _Components(source_format, space, named["model"] if named else "", ())
    more = {name: content.get(name) for name in ("var_ratio", "random_stdevs", "act_stdev")}
    return _each(content["lat_comp"], content["lat_stdev"], more, common)


def _each(
    components: Any, stdevs: Any, more: Mapping[str, Any], common: _Components
) -> list[Found]:
    """One direction for each component of (K, D) or (K, 1, D), named by its place."""
    if not isinstance(components, np.ndarray) or components.ndim not in (2, 3):
        raise InputError(f"its components are {shown(components)}; expected an array (K, 1, D)")
    count = len(components)
    if not 1 <= count <= MOST_FOUND:
        raise InputError(f"it has {count} components; expected 1 to {MOST_FOUND}")
    check_total([components.size])
    sigmas = _column(stdevs, count, "stdevs")
    columns = {k: _column(v, count, k) for k, v in more.items() if v is not None}
    total = float(np.square(sigmas).sum())
    return [
        Found(
            name=f"pca_{at:03d}",
            vector=direction(components[at], f"its component {at}"),
            source_format=common.source_format,
            entry=str(at),
            method="ganspace",
            space_hint=common.space,
            generator_hint=common.generator,
            sigma=float(sigmas[at]),
            evidence={"stdev_share": float(sigmas[at] ** 2) / total if total > 0 else 0.0}
            | {name: float(column[at]) for name, column in columns.items()},
            notes=common.notes,
        )
        for at in range(count)
    ]


def _column(values: Any, count: int, what: str) -> NDArray[np.float64]:
    """(K,): one number for each component."""
    numbers = isinstance(values, np.ndarray) and values.dtype.kind in "fiu"
    if not numbers or values.size != count:
        raise InputError(f"its {what} are {shown(values)}; expected {count} numbers")
    column = values.astype(np.float64).ravel()
    if not np.isfinite(column).all() or (column < 0).any():
        raise InputError(f"its {what} hold NaN, infinity or a negative number")
    return column


def _saved(content: Mapping[str, Any], source_format: str) -> Found:
    """One component that its user named, and the rows of W+ chosen for it; the end is exclusive."""
    space = text(content["latent_space"]).lower()
    index = content["component_index"]
    start, end = content.get("edit_start"), content.get("edit_end")
    rows = isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= 64
    notes = []
    if content.get("edit_type") == "activation":
        notes.append("was saved as an edit of activations, which its latent vector only resembles")
    model, of = text(content.get("model_name")), text(content.get("output_class"))
    return Found(
        name=text(content.get("name")) or f"pca_{index if isinstance(index, int) else 0:03d}",
        vector=direction(content["lat_comp"], "its lat_comp"),
        source_format=source_format,
        method="ganspace",
        space_hint=space if space in ("z", "w") else "",
        layers=tuple(range(start, end)) if rows and isinstance(start, int) and end else (),
        generator_hint="-".join(filter(None, (model.lower(), of.lower()))),
        sigma=number(content.get("lat_stdev")),
        evidence=_finite(
            {"sigma_range": number(content.get("sigma_range")), "component": number(index)}
        ),
        notes=tuple(notes),
    )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}
