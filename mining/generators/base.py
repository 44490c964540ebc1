"""The protocol that every image generator fits: z -> w -> W+ -> images.

What a generator offers beside it is a protocol of its own, found by `isinstance`: `KnownTruth`,
`Animated`, `Conditioned`, `Posed`, `Resizing`, `Streaming`, `StyleWeights`, `Styled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]  # (N, H, W, 3) RGB, 0..255
Batch = tuple[Floats, Floats | None]  # W+ (N, num_ws, w_dim), condition (N, c_dim) where there is


@runtime_checkable
class Generator(Protocol):
    """A pretrained generator. Weights load in __init__; calls change nothing.

    All latents are float32. The same input gives the same bytes for the same batch size,
    platform and library versions.

    Where the fingerprint tells of everything that decides the images, an attribute
    `fingerprint_tells_all = True` may say so: then the options, such as a checkpoint's path, are
    no part of a dataset's identity, and a run goes on with the same weights from another place.
    """

    name: str  # the registry's name
    z_dim: int
    w_dim: int
    num_ws: int  # rows of W+
    c_dim: int  # numbers of the condition (25 for EG3D's camera); 0 means unconditional
    resolution: int  # pixels, images are square
    spaces: tuple[str, ...]  # of "z", "w", "w+", "s"
    layer_names: tuple[str, ...]  # num_ws names
    licence: str

    def fingerprint(self) -> str:
        """64 hex digits: SHA-256 over the architecture and the weights or settings."""
        ...

    def mean_w(self) -> Floats:
        """(w_dim,) the centre of W, to which truncation pulls."""
        ...

    def sample_z(self, count: int, rng: np.random.Generator) -> Floats:
        """(count, z_dim) latents drawn from the prior with `rng`."""
        ...

    def map(self, z: Floats, psi: float = 1.0, condition: Floats | None = None) -> Floats:
        """(N, z_dim) -> (N, w_dim), truncated: mean + psi (w - mean)."""
        ...

    def broadcast(self, w: Floats) -> Floats:
        """(N, w_dim) -> (N, num_ws, w_dim), every row the same w."""
        ...

    def synthesize(self, w_plus: Floats, condition: Floats | None = None) -> NDArray[np.uint8]:
        """(N, num_ws, w_dim) -> (N, H, W, 3) RGB, 0..255."""
        ...


@dataclass(frozen=True)
class Truth:
    """What a generator with known truth reads from W, for each of its P parameters."""

    names: tuple[str, ...]  # P names
    units: tuple[str, ...]  # P units: "degrees", "mm", or "1" where the number is a plain amount
    layers: tuple[int, ...]  # P rows of W+: the row that parameter k is read from
    directions: Floats  # (P, w_dim), orthonormal: the parameter grows along it and no other moves

    def direction(self, name: str) -> Floats:
        """(w_dim,) the unit direction of one parameter."""
        return self.directions[self.names.index(name)]


@dataclass(frozen=True)
class TrueFaces:
    """The truth about N rendered images."""

    parameters: Floats  # (N, P) in the units of Truth
    landmarks_2d: Floats  # (N, 68, 2) x, y as fractions of the image, iBUG order
    landmarks_3d: Floats  # (N, 68, 3) in millimetres, the head's own frame after posing

    def __len__(self) -> int:
        return len(self.parameters)


@runtime_checkable
class KnownTruth(Protocol):
    """What a generator offers beside `Generator` when its truth is known; c_dim is 0 then."""

    def truth(self) -> Truth:
        """The parameters and their true directions in W."""
        ...

    def synthesize_with_truth(self, w_plus: Floats) -> tuple[NDArray[np.uint8], TrueFaces]:
        """As `synthesize`, with the truth about each image."""
        ...


@runtime_checkable
class Animated(Protocol):
    """What a generator offers that can give one face the pose and expression of another.

    Sequences of one identity are drawn with it: c_dim is 0 then, and `sample_z` draws standard
    normal numbers, so that a sum of two draws by sqrt(1 - r^2) and r is a draw again.
    """

    def animated(self, w_plus: Floats, motion: Floats) -> Floats:
        """Faces with the identity, colour, age and scene of one W+ and the motion of another.

        Where all rows of both are the same w, so are those of the result, to the last bit.

        Args:
            w_plus: (N, num_ws, w_dim) whose face it is.
            motion: (N, num_ws, w_dim) whose pose and expression it takes.

        Returns:
            (N, num_ws, w_dim).
        """
        ...


@runtime_checkable
class Conditioned(Protocol):
    """What a generator with c_dim > 0 offers, so that datasets can be sampled from it."""

    def sample_condition(self, count: int, rng: np.random.Generator) -> Floats:
        """(count, c_dim) conditions drawn with `rng`: one-hot classes, or cameras."""
        ...


@runtime_checkable
class Posed(Protocol):
    """What a generator offers whose condition is a camera.

    Angles are those of the face in the image, in degrees and with the signs of the geometry
    extractor: yaw > 0 turns it to the image's right, pitch > 0 makes it look up, roll > 0 tilts
    it clockwise.
    """

    def pose(self, condition: Floats) -> Floats:
        """(N, c_dim) -> (N, 3) yaw, pitch, roll."""
        ...

    def with_pose(
        self,
        condition: Floats,
        yaw: float | NDArray,
        pitch: float | NDArray,
        roll: float | NDArray,
    ) -> Floats:
        """(N, c_dim) cameras that see the face so, all else as in `condition`.

        Edits by the camera give this to `synthesize` and leave W+ as it is.
        """
        ...


@runtime_checkable
class Resizing(Protocol):
    """What a generator offers that makes its images smaller itself, on its device."""

    def synthesize_at(self, w_plus: Floats, condition: Floats | None, size: int) -> Images:
        """As `synthesize`, averaged over areas to (N, size, size, 3); size <= resolution."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """What a generator offers that begins a batch before the last one is off its device."""

    def stream(self, batches: Iterable[Batch], size: int) -> Iterator[Images]:
        """The images of each batch in order, (N, size, size, 3), as `synthesize` makes them.

        A batch is taken in the caller's thread, at the moment when it is begun, and at most one
        batch ahead of the one that is handed over: what watches the work is told of it then.
        """
        ...


@runtime_checkable
class StyleWeights(Protocol):
    """What a generator offers whose layers read their styles from W+ by affine maps.

    Layers that only turn features into colours are left out where a convolution reads the same
    row of W+.
    """

    def style_weights(self) -> Mapping[str, Floats]:
        """Layer -> (channels, w_dim), the affine map without its bias."""
        ...

    def style_rows(self) -> Mapping[str, int]:
        """Layer -> the row of W+ that it reads; the layers of `style_weights`."""
        ...


@runtime_checkable
class Styled(Protocol):
    """What a generator offers whose style space S is open: one number per channel of its layers.

    Source: Wu, Lischinski & Shechtman (2021), arXiv:2011.12799.
    """

    def styles(self, w_plus: Floats) -> Floats:
        """(N, num_ws, w_dim) -> (N, S)."""
        ...

    def synthesize_styles(self, styles: Floats, condition: Floats | None = None) -> Images:
        """(N, S) -> (N, H, W, 3) RGB, 0..255; `synthesize` of w_plus is that of its styles."""
        ...


def truncate(w_plus: Floats, mean: Floats, psi: float, cutoff: int | None = None) -> Floats:
    """Pull the first `cutoff` rows of W+ (all for None) towards the mean: mean + psi (w - mean).

    Source: Karras et al. (2019), arXiv:1812.04948, appendix B.

    Args:
        w_plus: (N, num_ws, w_dim).
        mean: (w_dim,).
        psi: 1 leaves w as it is, 0 gives the mean.

    Raises:
        InputError: cutoff lies outside 0..num_ws.
    """
    rows = w_plus.shape[1] if cutoff is None else cutoff
    if not 0 <= rows <= w_plus.shape[1]:
        raise InputError(f"truncate: cutoff {cutoff} is outside 0..{w_plus.shape[1]}.")
    result = w_plus.copy()
    result[:, :rows] = mean + np.float32(psi) * (w_plus[:, :rows] - mean)
    return result
