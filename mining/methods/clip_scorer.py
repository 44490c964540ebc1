"""A CLIP model from a local folder as the scorer of text anchors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mining.extractors.clip_folder import read_folder
from mining.extractors.clip_images import ClipModel

if TYPE_CHECKING:
    from torch import Tensor

WHO = "clip scorer"


class ClipScorer:
    """Both towers of a CLIP model; images of any size, with gradients. Fits `Scorer`.

    The image is shrunk or enlarged to the model's edge with a widened bicubic filter; square
    images alone, as generators make them.
    Source: Radford et al. (2021), arXiv:2103.00020.

    Args:
        folder: what `save_pretrained` makes: see `clip_folder.py`. Nothing is ever downloaded, and
            weights are read from safetensors alone.
        device: torch's, such as "cpu", or "auto".

    Raises:
        InputError: the folder holds no CLIP model.
    """

    def __init__(self, folder: str, device: str = "cpu"):
        import torch

        from mining.generators.devices import pick_device

        self._folder = read_folder(WHO, folder)
        self._device = pick_device(device)
        self._clip = ClipModel(WHO, self._folder, self._device)
        mean, std = (
            torch.tensor(each, device=self._device)[:, None, None]
            for each in (self._folder.mean, self._folder.std)
        )
        self._scale, self._shift = 0.5 / std, (0.5 - mean) / std
        self.licence = self._folder.weights.licence

    def fingerprint(self) -> str:
        """SHA-256 over the settings, the words and the weights."""
        parts = [self._folder.content(), self._folder.weights.sha256]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def text(self, sentences: Sequence[str]) -> NDArray[np.float64]:
        """(T, E) features of length 1.

        Raises:
            InputError: a sentence is too long, or holds what the model cannot spell.
        """
        return self._clip.phrases(list(sentences))

    def images(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) or (N, 1, H, W) in -1..1 -> (N, E) of length 1."""
        from torch.nn import functional

        seen = images.to(self._device).float().expand(-1, 3, -1, -1)
        edge = (self._clip.edge, self._clip.edge)
        if tuple(seen.shape[-2:]) != edge:
            seen = functional.interpolate(
                seen, edge, mode="bicubic", antialias=True, align_corners=False
            )
        seen = seen.clamp(-1, 1) * self._scale + self._shift
        return functional.normalize(self._clip.features(seen), dim=1)
