"""Directions without the part that changes identity, as a trained embedding sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.editing.analytic import leading_directions
from mining.methods.base import check_whole
from mining.methods.embedding import Embedding
from schemas.errors import InputError

Array = NDArray[np.float64]


def off_identity(embedding: Embedding, latents: Array, directions: Array, rank: int) -> Array:
    """Directions without their part in the span of the embedding's leading latent directions.

    With J = U S V' the embedding's Jacobian at a latent: d - V_r V_r' d, V_r the first `rank`
    right singular vectors. Along them the descriptor moves fastest; to first order what is left
    moves it by the later singular values alone. A mined direction, and the columns of a
    pseudo-inverse, can be cleaned so; `edit_to_codes(hold=...)` does it in each of its steps.

    Args:
        latents: (N, D). directions: (N, D), or (N, C, D), C of them at each latent.
        rank: of the span, up to min(E, D); more hold identity better and leave less of the edit.

    Returns:
        Of the shape of `directions`.

    Raises:
        InputError: shapes disagree, or rank is below 0 or above min(E, D).
    """
    directions = np.asarray(directions, np.float64)
    width = len(embedding.centre)
    paired = directions.ndim in (2, 3) and len(directions) == len(latents)
    if not paired or directions.shape[-1] != width:
        raise InputError(
            f"off_identity: latents {np.shape(latents)} and directions {directions.shape} do not "
            f"pair up; expected (N, {width}) and (N, {width}) or (N, C, {width})."
        )
    check_whole("off_identity", 0, rank=rank)
    most = min(len(embedding.mean), width)
    if rank > most:
        raise InputError(f"off_identity: rank is {rank}, expected 0..{most}.")
    if rank == 0:
        return directions.copy()
    spans = leading_directions(embedding, latents, rank)
    many = directions if directions.ndim == 3 else directions[:, None]
    return (many - (many @ spans.transpose(0, 2, 1)) @ spans).reshape(directions.shape)
