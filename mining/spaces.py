"""The latent spaces of a generator, flat: Z, W, W+ and S as rows of numbers, and back to images.

    latents = latents_in(generator, "w+", z, w_plus)       # (N, D), what regressors are trained on
    images = render(generator, "w+", edited, size=256)     # (N, 256, 256, 3)

Where a dataset was sampled with `psi` and `cutoff`, give both to `w_plus_of` and `render`, whatever
the space: then its own latents make its own images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Batch, Floats, Generator, Images, Styled, truncate
from mining.rendering import downscale, images_of
from schemas.errors import InputError
from schemas.registry import unknown

SPACES = ("z", "w", "w+", "s")
BATCH = 16  # images made at once, styles read at once


def latent_shape(generator: Generator, space: str) -> tuple[int, ...]:
    """The shape of one latent: (z_dim,), (w_dim,), (num_ws, w_dim) or (S,).

    Raises:
        InputError: the generator has not that space.
    """
    if space == "s":
        styled = _styled(generator)
        return styled.styles(generator.broadcast(generator.mean_w()[None])).shape[1:]
    check_space(generator, space)
    wide = {"z": (generator.z_dim,), "w": (generator.w_dim,)}
    return wide.get(space, (generator.num_ws, generator.w_dim))


def latents_in(generator: Generator, space: str, z: NDArray, w_plus: NDArray) -> Floats:
    """The latents of N images in a space, flat: (N, D) float32.

    Args:
        z: (N, z_dim), or (N, num_ws, z_dim) where every row of W+ has a z of its own: then Z's
            latents are those of all rows, and there is no single w.
        w_plus: (N, num_ws, w_dim), the rows that made the images, truncated.

    Raises:
        InputError: the generator has not that space, or the arrays do not fit it.
    """
    check_space(generator, space)
    _check_stored(generator, z, w_plus)
    if space == "z":
        return _flat(z)
    if space == "w":
        if np.ndim(z) == 3:
            raise InputError(
                f"spaces: space w is asked of {len(z):,} images whose {generator.num_ws} rows of "
                "W+ were drawn apart; they have no single w. Expected w+, s or z."
            )
        return _flat(w_plus[:, 0])
    if space == "w+":
        return _flat(w_plus)
    styled = _styled(generator)
    parts = [styled.styles(np.asarray(w_plus[rows], np.float32)) for rows in _parts(len(w_plus))]
    return np.concatenate(parts)


def w_plus_of(
    generator: Generator,
    space: str,
    latents: NDArray,
    psi: float = 1.0,
    cutoff: int | None = None,
    condition: Floats | None = None,
) -> Floats:
    """Latents of Z, W or W+ as the rows of W+ that make their images.

    Z is mapped and then truncated. A w is taken as truncated already; with a cutoff, the rows from
    it on get the w from before truncation, mean + (w - mean) / psi, as a dataset's do. W+ is only
    given its shape.

    Args:
        latents: (N, D) or (N, *latent_shape); for Z also (N, num_ws * z_dim), a z for each row.
        psi, cutoff: of the dataset: w = mean + psi (w - mean) on the first `cutoff` rows, on all
            where it is None.
        condition: (N, c_dim), for conditional generators.

    Returns:
        (N, num_ws, w_dim) float32.

    Raises:
        InputError: the space is S, which nothing leads back from, or the generator has it not; or
            the latents do not fit it.
    """
    if space == "s":
        raise InputError(
            "spaces: latents of S have no W+: more styles can be set than W+ reaches. Make their "
            "images with `render`, or edit in w or w+."
        )
    check_space(generator, space)
    rows = _check_latents(generator, space, latents)
    if space == "w+":
        return rows.reshape(len(rows), generator.num_ws, generator.w_dim)
    if space == "w":
        return _from_w(generator, rows, psi, cutoff)
    if rows.shape[1] != generator.z_dim:
        return truncate(_map_rows(generator, rows, condition), generator.mean_w(), psi, cutoff)
    w = generator.map(rows, condition=condition)
    return truncate(generator.broadcast(w), generator.mean_w(), psi, cutoff)


def render(
    generator: Generator,
    space: str,
    latents: NDArray,
    size: int | None = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    condition: Floats | None = None,
) -> Images:
    """The images of latents (N, D) of any space: (N, size, size, 3) RGB, 0..255.

    Args:
        size: pixels, at most the generator's resolution, which None stands for.
        psi, cutoff, condition: as `w_plus_of`.

    Raises:
        InputError: as `w_plus_of`, but S is welcome where the generator has it.
    """
    size = generator.resolution if size is None else size
    if not 1 <= size <= generator.resolution:
        raise InputError(f"spaces: size {size} came, expected 1..{generator.resolution} pixels.")
    if condition is not None and len(condition) != len(latents):
        raise InputError(f"spaces: {len(condition)} conditions for {len(latents)} latents came.")
    images = np.empty((len(latents), size, size, 3), np.uint8)
    parts = _parts(len(latents))
    if space == "s":
        styled, styles = _styled(generator), _check_latents(generator, space, latents)
        for rows in parts:
            given = None if condition is None else condition[rows]
            images[rows] = downscale(styled.synthesize_styles(styles[rows], given), size)
        return images
    w_plus = w_plus_of(generator, space, latents, psi, cutoff, condition)
    batches: list[Batch] = [(w_plus[r], None if condition is None else condition[r]) for r in parts]
    for rows, made in zip(parts, images_of(generator, batches, size), strict=True):
        images[rows] = made
    return images


def check_space(generator: Generator, space: str) -> None:
    """InputError where there is no such space, or the generator has it not."""
    if space not in SPACES:
        raise unknown("latent space", space, SPACES)
    if space not in generator.spaces or (space == "s" and not isinstance(generator, Styled)):
        found = ", ".join(name for name in generator.spaces if name != "s" or space != "s")
        raise InputError(f"generator {generator.name!r} has no space {space}; expected {found}.")


def _styled(generator: Generator) -> Styled:
    check_space(generator, "s")
    assert isinstance(generator, Styled)  # what check_space makes sure of
    return generator


def _from_w(generator: Generator, w: Floats, psi: float, cutoff: int | None) -> Floats:
    w_plus = generator.broadcast(w)
    if cutoff is None or psi in (0, 1):
        return w_plus
    untruncated = truncate(w_plus, generator.mean_w(), 1 / psi)
    untruncated[:, :cutoff] = w_plus[:, :cutoff]
    return untruncated


def _map_rows(generator: Generator, z: Floats, condition: Floats | None) -> Floats:
    """(N, num_ws * z_dim) -> (N, num_ws, w_dim): every row from its own z, under one condition."""
    count = len(z)
    z = z.reshape(count, generator.num_ws, generator.z_dim)
    w = [generator.map(z[:, row], condition=condition) for row in range(generator.num_ws)]
    return np.stack(w, axis=1)


def _check_latents(generator: Generator, space: str, latents: NDArray) -> Floats:
    """Latents as finite flat float32 rows of the width that the space has."""
    width = math.prod(latent_shape(generator, space))
    widths = {width, generator.num_ws * width} if space == "z" else {width}
    rows = _flat(latents) if np.ndim(latents) >= 2 else np.empty((0, 0), np.float32)
    if rows.shape[1] not in widths:
        wanted = " or ".join(f"(N, {n})" for n in sorted(widths))
        raise InputError(
            f"spaces: latents {np.shape(latents)} came for space {space} of {generator.name!r}; "
            f"expected {wanted}."
        )
    if not np.isfinite(rows).all():
        raise InputError(f"spaces: latents of space {space} hold NaN or infinity.")
    return rows


def _check_stored(generator: Generator, z: NDArray, w_plus: NDArray) -> None:
    rows = generator.num_ws
    shapes = ((generator.z_dim,), (rows, generator.z_dim))
    fits = np.shape(z)[1:] in shapes and np.shape(w_plus)[1:] == (rows, generator.w_dim)
    if not fits or len(z) != len(w_plus):
        raise InputError(
            f"spaces: z {np.shape(z)} and w_plus {np.shape(w_plus)} came for {generator.name!r}; "
            f"expected (N, {generator.z_dim}) or (N, {rows}, {generator.z_dim}), and "
            f"(N, {rows}, {generator.w_dim})."
        )


def _flat(latents: NDArray) -> Floats:
    return np.ascontiguousarray(latents, np.float32).reshape(
        len(latents), math.prod(np.shape(latents)[1:])
    )


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
