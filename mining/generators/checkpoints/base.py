"""What every checkpoint becomes, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Architecture = Literal["stylegan2", "stylegan3", "eg3d"]


@dataclass(frozen=True)
class Checkpoint:
    """A generator's weights and the arguments of its network.

    Tensors and arguments are named as in NVIDIA's PyTorch releases, also where the file was of
    another kind: `synthesis.b64.conv0.affine.weight`; `z_dim`, `mapping_kwargs`.
    """

    architecture: Architecture
    config: Mapping[str, Any]  # JSON values: what the network's constructor takes
    tensors: Mapping[str, Tensor]  # of the averaged generator (G_ema) alone
    file_format: str  # "nvidia-pytorch", "nvidia-tensorflow", "rosinality" (and how its mean of w
    # came about where the file has none), or "latentlode"
    licence: str  # what is known about it; "unknown" where nothing is
    sha256: str  # 64 hex digits over architecture, config and tensors; the same in every format
    source: str  # the path or URL that it was read from
