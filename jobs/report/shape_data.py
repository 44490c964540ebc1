"""What the report says of the 3-D shape model and of the regressor that drives it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from mining.methods.choice import ComponentCurve

Rows = tuple[tuple[float, ...], ...]  # a matrix


@dataclass(frozen=True)
class Range:
    """Where the middle nine tenths of the images lie."""

    name: str
    unit: str
    low: float  # 5 % quantile
    middle: float
    high: float  # 95 % quantile


@dataclass(frozen=True)
class ErrorHistogram:
    """Images by their landmarks' root mean square error, in fractions of the image."""

    edges: tuple[float, ...] = ()  # B + 1
    predicted: tuple[int, ...] = ()  # B counts of R(phi(w)); what lies beyond is in the last
    fitted: tuple[int, ...] = ()  # of R(q), q fitted to the landmarks themselves, equation (11)
    predicted_median: float = float("nan")
    fitted_median: float = float("nan")


@dataclass(frozen=True)
class ShapeSample:
    """One image: its landmarks as measured and as the regressor predicts them."""

    row: int  # of the dataset
    measured: Rows  # (L, 2) in fractions of the image, y down
    predicted: Rows  # (L, 2)
    error: float  # root mean square distance of the two, in fractions of the image
    jpeg: bytes = b""  # nothing where the dataset keeps no thumbnails


@dataclass(frozen=True)
class ShapeFacts:
    """The shape model R(q), the regressor phi, and how they do on the images of the dataset."""

    mean_shape: Rows  # (3, L) x right, y down, z away: the face of median amplitudes
    basis: Rows  # (K, L) b_k
    modes: Rows  # (K, 3) d_k
    spreads: tuple[float, ...]  # (K,) of alpha_k: span of the middle nine tenths over 3.29
    metric: bool
    sweeps: int  # of the joint refinement
    closed_residual: float  # relative, of the closed form
    residual: float  # relative, in the end
    rms: float  # per landmark, in fractions of the image
    rank_share: float  # of the energy, in 3 + K singular vectors
    rows: int  # that the shape model was fitted to
    space: str = "w"
    ranges: tuple[Range, ...] = ()  # scale, aspect, skew, pitch, yaw, roll
    rigid: tuple[int, ...] = ()  # landmarks that the metric cameras were read off
    halves: tuple[float, ...] = ()  # principal angles of two halves' bases, degrees, ascending
    held_out: tuple[float, ...] = ()  # per epoch: rms of held-out landmarks, fractions of the image
    best_epoch: int = 0  # index of the epoch that was kept
    errors: ErrorHistogram = ErrorHistogram()
    curve: ComponentCurve | None = None
    unseen: bool = False  # errors and samples are of images that the regressor was not trained on
    samples: tuple[ShapeSample, ...] = ()  # from the best to the worst predicted

    @property
    def components(self) -> int:
        """K."""
        return len(self.basis)

    @property
    def landmarks(self) -> int:
        """L."""
        return len(self.mean_shape[0])
