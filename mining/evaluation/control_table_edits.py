"""The edits that the table of control losses asks for: stated, seeded, the same in every space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_positive, check_whole
from schemas.errors import InputError

Array = NDArray[np.float64]

ANGLES = ("yaw", "pitch", "roll")
SINGLE, JOINT = "one at a time", "jointly"
KINDS = (SINGLE, JOINT)
DRAW = 0xED175  # beside the seed, so that these draws are not those of the test codes


@dataclass(frozen=True)
class EditConfig:
    """How far the codes are moved: uniform in +-range, one of them at a time and all jointly."""

    angle: float = 0.3  # radians, of yaw, pitch and roll
    alpha: float = 0.3  # of every alpha_k, in the shape model's own unit
    spreads: float | None = None  # +- so many training spreads of each alpha_k instead
    singles: int = 1  # edits of a single code for each latent; joint ones are one for each latent
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive("edits", angle=self.angle, alpha=self.alpha)
        if self.angle > math.pi / 2:
            raise InputError(
                f"edits: angle is {self.angle:g} rad, expected at most {math.pi / 2:.2f}, "
                "a quarter turn. The default is 0.3."
            )
        if self.spreads is not None:
            check_positive("edits", spreads=self.spreads)
        check_whole("edits", 1, singles=self.singles)
        check_whole("edits", 0, seed=self.seed)

    def __str__(self) -> str:
        alpha = f"alpha_k +-{self.alpha:g}"
        if self.spreads is not None:
            alpha = f"alpha_k +-{self.spreads:g} of its training spreads"
        return (
            f"yaw, pitch and roll +-{self.angle:g} rad, {alpha}, uniform; {self.singles} of a "
            f"single code and 1 of all of them jointly for each latent; seed {self.seed}"
        )


@dataclass(frozen=True)
class Edits:
    """E edits of N latents, those of one latent next to each other."""

    rows: NDArray[np.intp]  # (E,) the latent
    offsets: Array  # (E, Q) what is added to phi(w); 0 for the codes that are to stay
    kinds: tuple[str, ...]  # (E,) one of KINDS
    names: tuple[str, ...]  # (E,) "yaw", "alpha_3", or JOINT

    def __len__(self) -> int:
        return len(self.rows)

    def of_latents(self, part: slice) -> slice:
        """The edits of neighbouring latents."""
        first, last = np.searchsorted(self.rows, [part.start, part.stop])
        return slice(int(first), int(last))


def draw_edits(
    names: Sequence[str], count: int, config: EditConfig = EditConfig(), spread: Array | None = None
) -> Edits:
    """Draw the edits of `count` latents.

    Which single code a latent gets goes round, from a seeded start, so that all are tried equally
    often; amounts are uniform. The draws hang on (names, count, singles, seed) alone: spaces with
    the same codes get the same edits.

    Args:
        names: Q names of the codes, `ShapeModel.names`.
        spread: (Q,) of the training codes; read where `config.spreads` is set.

    Raises:
        InputError: there is no angle and no alpha among the names, more single edits are asked
            for than there are codes, or spreads are asked for and none came.
    """
    index = _edited(names)
    if config.singles > len(index):
        raise InputError(
            f"edits: singles {config.singles} came; the codes that are edited are {len(index)}."
        )
    reach = np.array([config.angle if names[k] in ANGLES else config.alpha for k in index])
    if config.spreads is not None:
        if spread is None:
            raise InputError("edits: spreads came without the spread of the training codes.")
        alphas = np.array([names[k] not in ANGLES for k in index])
        reach[alphas] = config.spreads * np.asarray(spread, np.float64)[index][alphas]
    rng = np.random.default_rng([config.seed, DRAW])
    starts = rng.permutation(count) % len(index)
    which = (starts[:, None] + np.arange(config.singles)) % len(index)  # (N, singles)
    alone = rng.uniform(-1, 1, which.shape) * reach[which]
    offsets = np.zeros((count, config.singles + 1, len(names)))
    np.put_along_axis(offsets[:, :-1], index[which][:, :, None], alone[:, :, None], axis=2)
    offsets[:, -1, index] = rng.uniform(-1, 1, (count, len(index))) * reach
    each = config.singles + 1
    return Edits(
        rows=np.repeat(np.arange(count), each),
        offsets=offsets.reshape(-1, len(names)),
        kinds=(*([SINGLE] * config.singles), JOINT) * count,
        names=tuple(
            name for row in index[which].tolist() for name in (*_called(names, row), JOINT)
        ),
    )


def _edited(names: Sequence[str]) -> NDArray[np.intp]:
    """Where yaw, pitch, roll and the alpha_k stand in q."""
    angles = [names.index(name) for name in ANGLES if name in names]
    alphas = [k for k, name in enumerate(names) if name.startswith("alpha_")]
    if not angles or not alphas:
        raise InputError(f"edits: codes {', '.join(names)} came; expected angles and alpha_k.")
    return np.array([*angles, *alphas], np.intp)


def _called(names: Sequence[str], which: Sequence[int]) -> list[str]:
    return [names[k] for k in which]
