"""One direction, or several, as the bytes of a file that other programs read."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.directions import DirectionCard
from schemas.errors import InputError
from storage.exchange.safetensors_out import safetensors_bytes

Floats = NDArray[np.float32]

_LARGEST = float(np.finfo(np.float32).max)


def npy(vector: Floats, card: DirectionCard, scale: str) -> bytes:
    """(1, D) or (1, num_ws, D), float32, no pickle."""
    sink = io.BytesIO()
    np.save(sink, np.ascontiguousarray(vector[None]), allow_pickle=False)
    return sink.getvalue()


def pt(vector: Floats, card: DirectionCard, scale: str) -> bytes:
    """A plain tensor (1, D) or (1, num_ws, D), float32; loads with weights_only=True."""
    import torch

    return _saved(torch.from_numpy(np.array(vector[None])))


def safetensors(vector: Floats, card: DirectionCard, scale: str) -> bytes:
    """The tensor "direction", (D,) or (num_ws, D), and what it is as metadata."""
    names = ("direction_id", "attribute", "unit", "method", "space", "generator", "source")
    names += ("generator_fingerprint", "generator_licence", "licence")
    about = {name: str(getattr(card, name)) for name in names}
    about |= {"latentlode": "direction", "version": "1", "scale": scale}
    about |= {"layers": " ".join(map(str, card.layers)), "sigma": repr(card.sigma)}
    return safetensors_bytes({"direction": vector}, about)


WRITERS: dict[str, Callable[[Floats, DirectionCard, str], bytes]] = {
    "npy": npy,
    "pt": pt,
    "safetensors": safetensors,
}


def ganspace_npz(cards: Sequence[DirectionCard], mean: Floats | None) -> bytes:
    """GANSpace's file of components: activations and latents are both W, as with --use_w.

    What a catalogue does not know is said by a number that changes no edit: a mean of zero where
    none is given, a stdev of 1 where sigma was not measured, and zero variances.
    """
    components = _components(cards)
    count, width = len(components), components.shape[-1]
    sigmas = _sigmas(cards)
    centre = np.zeros((1, width), np.float32) if mean is None else _mean(mean, width)
    unknown = np.zeros(count, np.float32)
    arrays = {
        "act_comp": components,
        "act_mean": centre,
        "act_stdev": sigmas,
        "lat_comp": components,
        "lat_mean": centre,
        "lat_stdev": sigmas,
        "var_ratio": unknown,
        "random_stdevs": unknown,
    }
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def ganspace_pt(cards: Sequence[DirectionCard], mean: Floats | None) -> bytes:
    """The dict comp, mean, std that encoder4editing and PTI read.

    They set a latent's coordinate along a component, measured from the mean: without the right
    mean the edit is wrong, so it must be given.
    """
    import torch

    components = _components(cards)
    if mean is None:
        raise InputError(
            "export: encoder4editing and PTI measure from the mean of W; give it by --mean "
            "FILE.npy, (D,), the generator's w_avg."
        )
    arrays = {"comp": components, "mean": _mean(mean, components.shape[-1]), "std": _sigmas(cards)}
    return _saved({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


def _components(cards: Sequence[DirectionCard]) -> Floats:
    """(K, 1, D), one row per card."""
    made = {(card.generator_fingerprint, card.vector.shape) for card in cards}
    if len(made) > 1 or any(card.vector.ndim != 1 or card.artefact for card in cards):
        shapes = ", ".join(sorted({str(card.vector.shape) for card in cards}))
        prints = len({card.generator_fingerprint for card in cards})
        raise InputError(
            f"export: vectors {shapes} of {prints} generators do not fit one GANSpace file; "
            "expected (D,) of a single generator. Choose by --space w and --generator."
        )
    return np.stack([np.asarray(card.vector, np.float32)[None] for card in cards])


def _sigmas(cards: Sequence[DirectionCard]) -> Floats:
    known = [card.sigma if abs(card.sigma) <= _LARGEST else 1.0 for card in cards]
    return np.array(known, np.float32)


def _mean(mean: Floats, width: int) -> Floats:
    if mean.size != width or not np.isfinite(mean).all():
        raise InputError(f"export: the mean is {mean.shape}; expected ({width},), all finite.")
    return np.asarray(mean, np.float32).reshape(1, width)


def _saved(content: Any) -> bytes:
    import torch

    sink = io.BytesIO()
    torch.save(content, sink)
    return sink.getvalue()
