"""What a gradient edit holds besides its target: terms added to its loss, one number per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mining.methods.base import check_positive
from mining.methods.embedding import Embedding

IDENTITY_WEIGHT = 0.01  # the paper's lambda; its released demonstration takes 0.12

if TYPE_CHECKING:
    from torch import Tensor


class Term(Protocol):
    """A part of the loss that says what else may not change; lambda D of equation (15).

    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equation (15).
    """

    def __call__(self, latents: Tensor, start: Tensor) -> Tensor:
        """latents, start: (N, D) float64, w and w0. Returns (N,), differentiable by latents.

        A row of the result is a function of the same row of both arguments alone.
        """
        ...


@dataclass(frozen=True)
class EmbeddingTerm:
    """weight * |e(w) - e(w0)|^2 / E s^2: the predicted descriptor stays where it was.

    e is a trained `Embedding`, E its width and s its spread, so that 1 is the distance of a
    descriptor from the mean. It stands in for `ImageTerm` where images have no derivative.
    """

    embedding: Embedding
    weight: float = IDENTITY_WEIGHT

    def __post_init__(self) -> None:
        check_positive("embedding term", zero=True, weight=self.weight)

    def __call__(self, latents: Tensor, start: Tensor) -> Tensor:
        """(N, D), (N, D) -> (N,)."""
        from mining.editing.networks import forward

        e = self.embedding
        change = forward(e, latents) - forward(e, start).detach()
        return self.weight * change.square().mean(dim=1)


@dataclass(frozen=True)
class LatentTerm:
    """weight * |w - w0|^2 / radius^2: the latent stays near, in radii of the training latents."""

    radius: float
    weight: float = IDENTITY_WEIGHT

    def __post_init__(self) -> None:
        check_positive("latent term", zero=True, weight=self.weight)
        check_positive("latent term", radius=self.radius)

    def __call__(self, latents: Tensor, start: Tensor) -> Tensor:
        """(N, D), (N, D) -> (N,)."""
        return self.weight * ((latents - start) / self.radius).square().sum(dim=1)
