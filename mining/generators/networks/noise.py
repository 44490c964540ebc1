"""Noise that differs from image to image and yet is a function of the image alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def noise_fields(styles: Tensor, resolutions: Sequence[int]) -> Iterator[Tensor]:
    """One (N, 1, r, r) of standard normal numbers for each resolution.

    Every image has a generator of its own, seeded by its styles, on the CPU: the same latent gives
    the same noise in any batch, on any machine.

    Args:
        styles: (N, S).
    """
    rows = styles.detach().float().cpu().numpy()
    sources = [torch.Generator().manual_seed(_seed(row.tobytes())) for row in rows]
    for r in resolutions:
        fields = [torch.randn(1, r, r, generator=source) for source in sources]
        yield torch.stack(fields).to(styles.device)


def _seed(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1
