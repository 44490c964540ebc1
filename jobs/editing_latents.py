"""Latents to edit: of seeds, or of a file somebody kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats, Generator
from mining.latents import shard_latents
from mining.spaces import latents_in, w_plus_of
from schemas.errors import InputError
from storage.manifest import Manifest

SHARD = 2**32 + 1  # a shard number that no dataset reaches: seeds here are in no training data
MOST_ROWS = 256  # latents edited at once
MOST_BYTES = 256 * 2**20  # of a file of latents
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Given:
    """Latents, and what each is called."""

    labels: tuple[str, ...]  # "seed 7" or "faces.npy 0"
    z: Floats | None  # as a dataset has them; None where they came from a file
    w_plus: Floats  # (N, num_ws, w_dim), truncated
    condition: Floats | None  # (N, c_dim), where the generator takes one
    shape: tuple[int, ...]  # of one latent as it came: (w_dim,) or (num_ws, w_dim)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.intp]) -> Given:
        """Some of the latents."""
        return replace(
            self,
            labels=tuple(self.labels[row] for row in rows),
            z=None if self.z is None else self.z[rows],
            w_plus=self.w_plus[rows],
            condition=None if self.condition is None else self.condition[rows],
        )

    def of_space(self, generator: Generator, space: str) -> Floats:
        """(N, D) of a space of the generator, laid flat.

        Raises:
            InputError: the latents have no part in that space.
        """
        z = self.z
        if z is None:
            self._check_file(generator, space)
            z = np.zeros((len(self), generator.z_dim), np.float32)
        return latents_in(generator, space, z, self.w_plus)

    def _check_file(self, generator: Generator, space: str) -> None:
        if space == "z":
            raise InputError(
                "edit: the control model reads latents of Z, and nothing leads back to Z from a "
                "file's W or W+. Expected --seed, or a control model of w or w+."
            )
        if space == "w" and self.shape != (generator.w_dim,):
            tied = np.ptp(self.w_plus, axis=1).max() <= 1e-6 * (1 + np.abs(self.w_plus).max())
            if not tied:
                raise InputError(
                    "edit: the control model reads latents of W, and the rows of W+ in the file "
                    "differ. Expected latents of W, or a control model of w+: "
                    "`lode control fit DATASET --space w+`."
                )


def of_seeds(generator: Generator, manifest: Manifest, seeds: Sequence[int]) -> Given:
    """The latents of seeds, sampled and truncated as the dataset's were; in no dataset.

    Raises:
        InputError: no seed came, one is no seed, or there are more than MOST_ROWS.
    """
    if not 0 < len(seeds) <= MOST_ROWS:
        raise InputError(f"edit: {len(seeds)} seeds came, expected 1 to {MOST_ROWS}.")
    for seed in seeds:
        if not 0 <= seed <= MOST_SEED:
            raise InputError(f"edit: seed {seed} came, expected 0 to {MOST_SEED}.")
    parts = [shard_latents(generator, {**manifest.settings, "seed": s}, SHARD, 1) for s in seeds]
    conditions = [part.condition for part in parts if part.condition is not None]
    return Given(
        tuple(f"seed {seed}" for seed in seeds),
        np.concatenate([part.z for part in parts]),
        np.concatenate([part.w_plus for part in parts]),
        np.concatenate(conditions) if conditions else None,
        (generator.num_ws, generator.w_dim),
    )


def of_file(generator: Generator, manifest: Manifest, path: str) -> Given:
    """The latents of an .npy file: (w_dim,), (N, w_dim), (num_ws, w_dim) or (N, num_ws, w_dim).

    Raises:
        InputError: there is no such file, it is too large, holds objects, other shapes or what is
            not finite; or the generator takes a condition, which no such file holds.
    """
    if generator.c_dim:
        raise InputError(
            f"edit: {generator.name} takes a condition of {generator.c_dim} numbers, which a file "
            "of latents does not hold; expected --seed."
        )
    latents = _read(path)
    rows, wide = generator.num_ws, generator.w_dim
    if latents.shape == (rows, wide) and rows > 1:
        raise InputError(
            f"edit: {path} holds {latents.shape}, which may be {rows} latents of W or one of W+; "
            f"expected ({rows}, 1, {wide}) for the first, (1, {rows}, {wide}) for the second."
        )
    if latents.shape in ((wide,), (len(latents), wide), (len(latents), 1, wide)):
        shape: tuple[int, ...] = (wide,)
    elif latents.shape == (len(latents), rows, wide):
        shape = (rows, wide)
    else:
        raise InputError(
            f"edit: {path} holds {latents.shape}; expected ({wide},), (N, {wide}) or "
            f"(N, {rows}, {wide})."
        )
    latents = latents.reshape(-1, *shape).astype(np.float32)
    if not 0 < len(latents) <= MOST_ROWS:
        raise InputError(f"edit: {path} holds {len(latents)} latents, expected 1 to {MOST_ROWS}.")
    settings, space = manifest.settings, "w" if len(shape) == 1 else "w+"
    flat = latents.reshape(len(latents), -1)
    w_plus = w_plus_of(generator, space, flat, settings["psi"], settings["cutoff"])
    labels = tuple(f"{Path(path).name} {row}" for row in range(len(latents)))
    return Given(labels, None, w_plus, None, shape)


def _read(path: str) -> NDArray:
    """A finite float array of an .npy file; nothing in it is executed."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"edit: {path} is no file; expected latents in an .npy file.")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"edit: {path} is larger than {MOST_BYTES:,} bytes.")
    try:
        # checks the header against the file's size before anything is allocated
        latents = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(f"edit: {path} is no .npy file of numbers: {said}") from None
    if latents.dtype.kind not in "fiu":
        raise InputError(f"edit: {path} holds {latents.dtype}; expected an array of numbers.")
    latents = np.asarray(latents)
    if latents.ndim == 0 or not np.isfinite(latents).all():
        raise InputError(f"edit: {path} holds a single number, or one that is not finite.")
    return latents
