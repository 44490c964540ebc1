"""Read what the report says of the shape model off a control model and its dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.report.shape_data import ErrorHistogram, Range, Rows, ShapeFacts, ShapeSample
from mining.methods.choice import ComponentCurve
from mining.methods.control import ControlModel
from schemas.errors import InputError
from storage.dataset import Dataset
from storage.shards import read_shard

Array = NDArray[np.float64]
Thumbnails = Callable[[Sequence[int]], Sequence[bytes]]  # rows -> JPEGs, b"" where there is none

READ = 1000  # rows that errors are measured on
SHARES = (
    0.02,
    0.2,
    0.4,
    0.6,
    0.8,
    0.98,
)  # of those rows by their error: the samples that are shown
BINS = 30
ENDS = (0.05, 0.5, 0.95)
NORMAL = 3.29  # standard deviations of a normal sample between the outer ENDS


def shape_facts(
    control: ControlModel,
    latents: NDArray[np.floating],
    landmarks: NDArray[np.floating],
    thumbnails: Thumbnails | None = None,
    curve: ComponentCurve | None = None,
    seed: int = 0,
    *,
    unseen: NDArray[np.intp] | None = None,
    rigid: Sequence[int] = (),
    halves: Sequence[float] = (),
) -> ShapeFacts:
    """What the report shows of a control model, from at most READ rows of its dataset.

    The samples go from the best to the worst predicted of these rows, by quantiles of the error,
    so that they show what to expect and not the luckiest ones.

    Args:
        latents: (N, D) of the control model's space, those of W+ laid flat.
        landmarks: (N, L, 2) in [0, 1], y down; NaN rows where none were measured.
        thumbnails: asked once, for the samples' rows alone; see `thumbnails_of`.
        curve: of `choose_components`; None leaves the choice of K out.
        seed: of the rows that are read.
        unseen: numbers of rows that the regressor was not trained on, where they are known; errors
            and samples are then of these alone.
        rigid: the landmarks that metric cameras were read off, where they are known.
        halves: principal angles between the bases of two halves of the data, in degrees.

    Raises:
        InputError: latents and landmarks do not pair up, or no row was measured.
    """
    rows = _rows_to_read(latents, landmarks, unseen, seed)
    seen = np.asarray(landmarks[rows], np.float64)
    there = np.asarray(latents[rows], np.float64)
    predicted = control.landmarks(there)
    errors = _rms(predicted, seen)
    shape = control.shape
    fitted = shape.residuals(seen, shape.fit(seen))
    codes = shape.codes if len(shape.codes) else control.regressor.predict(there)
    low, middle, high = np.quantile(codes[:, 6:-2], ENDS, axis=0)
    mean_shape = shape.mean_shape + (shape.modes * middle[:, None]).T @ shape.basis
    ranges = control.ranges
    return ShapeFacts(
        mean_shape=_plain(mean_shape),
        basis=_plain(shape.basis),
        modes=_plain(shape.modes),
        spreads=tuple(float(s) for s in (high - low) / NORMAL),
        metric=bool(shape.metric),
        sweeps=int(shape.sweeps),
        closed_residual=float(shape.closed_residual),
        residual=float(shape.relative_residual),
        rms=float(shape.rms),
        rank_share=float(shape.rank_share),
        rows=len(shape.codes) or (ranges.rows if ranges is not None else 0),
        space=control.space,
        ranges=_ranges(codes),
        rigid=tuple(int(i) for i in rigid),
        halves=tuple(sorted(float(angle) for angle in halves)),
        held_out=tuple(float(np.sqrt(2 * x)) for x in control.regressor.held_out_landmarks),
        best_epoch=int(control.regressor.best_epoch),
        errors=_histogram(errors, fitted),
        curve=curve,
        unseen=unseen is not None,
        samples=_samples(rows, seen, predicted, errors, thumbnails),
    )


def thumbnails_of(dataset: Dataset) -> Thumbnails | None:
    """Reads thumbnails by row, from the shards that hold these alone; None where none are kept."""
    if all(field.name != "thumbnail" for field in dataset.manifest.fields):
        return None
    shards = sorted(dataset.receipts)
    ends = np.cumsum([dataset.receipts[shard].rows for shard in shards])

    def read(rows: Sequence[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        places = np.searchsorted(ends, rows, side="right")
        for place in np.unique(places):
            receipt = dataset.receipts[shards[place]]
            column = read_shard(dataset.store, receipt, ["thumbnail"]).column("thumbnail")
            first = int(ends[place]) - receipt.rows
            for row in np.asarray(rows)[places == place]:
                found[int(row)] = column[int(row) - first].as_py() or b""
        return [found[int(row)] for row in rows]

    return read


def _rows_to_read(
    latents: NDArray, landmarks: NDArray, unseen: NDArray[np.intp] | None, seed: int
) -> NDArray[np.intp]:
    """At most READ of the measured rows, ascending."""
    if np.ndim(latents) != 2 or np.ndim(landmarks) != 3 or len(latents) != len(landmarks):
        raise InputError(
            f"shape facts: latents {np.shape(latents)} and landmarks {np.shape(landmarks)} do not "
            "pair up; expected (N, D) and (N, L, 2)."
        )
    known = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    if unseen is not None:
        known = np.intersect1d(known, unseen)
    if not len(known):
        raise InputError("shape facts: none of the rows holds landmarks.")
    if len(known) <= READ:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, READ, replace=False))


def _rms(predicted: Array, seen: Array) -> Array:
    """(N,) root mean square distance per landmark."""
    return np.sqrt(((predicted - seen) ** 2).sum(axis=2).mean(axis=1))


def _ranges(codes: Array) -> tuple[Range, ...]:
    """Camera and pose of codes (N, 8 + K); scale, aspect and skew are of K's upper triangle."""
    k11, k12, k22 = codes[:, :3].T
    values = [
        ("scale", "1", np.sqrt(np.abs(k11 * k22))),
        ("aspect", "1", k11 / k22),
        ("skew", "1", k12 / k22),
        *zip(("pitch", "yaw", "roll"), ("degrees",) * 3, np.degrees(codes[:, 3:6]).T, strict=True),
    ]
    return tuple(
        Range(name, unit, *(float(x) for x in np.quantile(column, ENDS)))
        for name, unit, column in values
    )


def _histogram(predicted: Array, fitted: Array) -> ErrorHistogram:
    """Both on one axis, from 0 to the 99th percentile of the prediction; the rest in the last."""
    last = max(float(np.percentile(predicted, 99)), float(np.percentile(fitted, 99)), 1e-9)
    edges = np.linspace(0, last, BINS + 1)
    counts = [np.histogram(np.minimum(e, last), edges)[0] for e in (predicted, fitted)]
    return ErrorHistogram(
        tuple(float(edge) for edge in edges),
        tuple(int(count) for count in counts[0]),
        tuple(int(count) for count in counts[1]),
        float(np.median(predicted)),
        float(np.median(fitted)),
    )


def _samples(
    rows: NDArray[np.intp],
    seen: Array,
    predicted: Array,
    errors: Array,
    thumbnails: Thumbnails | None,
) -> tuple[ShapeSample, ...]:
    order = np.argsort(errors, kind="stable")
    places = sorted({round(share * (len(rows) - 1)) for share in SHARES})
    chosen = order[places]
    pictures = thumbnails([int(row) for row in rows[chosen]]) if thumbnails else []
    return tuple(
        ShapeSample(
            int(rows[i]),
            _plain(seen[i]),
            _plain(predicted[i]),
            float(errors[i]),
            bytes(pictures[k] or b"") if thumbnails else b"",
        )
        for k, i in enumerate(chosen)
    )


def _plain(matrix: Array) -> Rows:
    """A matrix of float32 numbers, as they are stored, so that what is read back is the same."""
    return tuple(tuple(row) for row in np.asarray(matrix, np.float32).tolist())
