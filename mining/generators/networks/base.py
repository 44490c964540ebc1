"""What the wrappers ask of every network: z -> w -> W+ -> styles -> image, all of it in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Noise = Literal["fixed", "random", "zero"]
Precision = Literal["float32", "tf32", "float16", "bfloat16", "released"]


@dataclass(frozen=True)
class StyleLayer:
    """A layer that a style modulates: its place in W+ and in the style space S."""

    name: str  # the prefix of its tensors below `synthesis`, such as "b64.conv0"
    row: int  # of W+, that its affine map reads
    channels: int  # numbers of S that it takes
    resolution: int  # pixels of its output
    to_rgb: bool = False  # whether it only turns features into colours


class Network(Protocol):
    """A torch module whose tensors are named as in NVIDIA's PyTorch releases.

    S is the outputs of all affine maps laid end to end, in the order of `style_layers`; S of an
    image decides it, together with the noise and, for EG3D, the camera.
    """

    z_dim: int
    c_dim: int  # numbers of the condition; 0 where there is none
    w_dim: int
    num_ws: int
    resolution: int
    style_layers: tuple[StyleLayer, ...]
    precision: Precision  # of the features; styles and colours are float32 always
    layer_names: tuple[str, ...]  # num_ws names: the convolution that reads each row, or torgb

    @property
    def w_avg(self) -> Tensor:
        """(w_dim,) the tracked mean of w."""
        ...

    def map(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, z_dim), (N, c_dim) -> (N, w_dim), not truncated."""
        ...

    def styles(self, ws: Tensor) -> Tensor:
        """(N, num_ws, w_dim) -> (N, S)."""
        ...

    def render(
        self, styles: Tensor, condition: Tensor | None = None, noise: Noise = "fixed"
    ) -> Tensor:
        """(N, S) -> (N, 3, H, W), float32, -1..1 for black to white, not clamped."""
        ...

    def style_weight(self, layer: StyleLayer) -> Tensor:
        """(channels, w_dim) the affine map of a layer, with its gain and without its bias."""
        ...
