"""Re-scoring: edit held-out images along a direction and measure them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mining.editing.apply import apply_direction
from mining.evaluation.scalars import (
    UNSEEN,
    Pair,
    camera_angles,
    descriptors_of,
    measured_pairs,
    scalars_of,
)
from mining.evaluation.thumbnails import jpeg
from mining.extractors.base import Extractor, measure
from mining.generators.base import Floats, Generator
from mining.rendering import images_of
from schemas.errors import InputError

# (R, num_ws, w_dim) latents and (R,) steps of norm 1 -> the edited latents
Edit = Callable[[Floats, NDArray[np.float64]], Floats]


@dataclass(frozen=True)
class RescoringConfig:
    """How far and how often a direction is tried.

    Raises:
        InputError: a number is out of its range, or the steps hold 0 or a repetition.
    """

    identities: int = 20  # held-out images that every direction is tried on
    steps: tuple[float, ...] = (-2.0, -1.0, 1.0, 2.0)  # in sigma of the latents along it
    bootstrap: int = 500  # resamples of the identities behind an interval
    seed: int = 0
    batch: int = 16  # images rendered and measured at once
    descriptor: Pair = ("dlib", "descriptor")  # what the change of the face is measured by
    thumbnails: int = 2  # identities whose pictures are kept
    thumbnail_size: int = 128  # pixels
    image_size: int | None = None  # pixels that the extractors read; the generator's own for None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(float(step) for step in self.steps))
        counts = {"identities": 1, "bootstrap": 1, "batch": 1, "thumbnails": 0, "thumbnail_size": 1}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise InputError(
                    f"rescoring: {name} is {getattr(self, name)}, expected at least {least}."
                )
        distinct = set(self.steps)
        if not distinct or len(distinct) < len(self.steps) or 0.0 in distinct:
            raise InputError(
                f"rescoring: steps {self.steps} came; expected different steps in sigma, "
                "none of them 0 (the unedited image is measured anyway)."
            )
        if not np.isfinite(self.steps).all():
            raise InputError(f"rescoring: steps {self.steps} are not all finite.")


@dataclass(frozen=True)
class Measured:
    """The scalars and descriptors of R images, whatever extractors they came from."""

    values: NDArray[np.float64]  # (R, A) NaN where unmeasured
    descriptors: NDArray[np.float64]  # (R, E), or (R, 0) where no extractor gives one
    statuses: Mapping[str, Mapping[str, int]]  # extractor -> status -> images


@dataclass(frozen=True)
class Bases:
    """The M unedited images, measured once and shared by all directions."""

    w_plus: Floats  # (M, num_ws, w_dim)
    condition: Floats | None  # (M, c_dim)
    pairs: tuple[Pair, ...]  # A attributes: every scalar float column of the extractors
    units: tuple[str, ...]  # A
    measured: Measured  # M rows
    thumbnails: tuple[bytes, ...]  # JPEGs of the first identities

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(M,) whether an extractor has a value for the image; a camera, or a label, may always."""
        columns = [extractor not in UNSEEN for extractor, _ in self.pairs]
        return np.asarray(np.isfinite(self.measured.values[:, columns]).any(axis=1))


@dataclass(frozen=True)
class Rescored:
    """What M identities measured at S + 1 steps along one direction, the unedited one included."""

    steps: NDArray[np.float64]  # (S+1,) ascending, in latent units: 1 is one norm of the vector
    sigma: float  # standard deviation of the dataset's latents along the direction
    pairs: tuple[Pair, ...]  # A
    units: tuple[str, ...]  # A
    values: NDArray[np.float64]  # (M, S+1, A) NaN where unmeasured
    distances: NDArray[np.float64]  # (M, S+1) to the unedited image's descriptor; NaN if none
    statuses: Mapping[str, Mapping[str, int]]  # extractor -> status -> edited images
    thumbnails: tuple[tuple[bytes, ...], ...]  # one row an identity, S+1 JPEGs
    cosines: NDArray[np.float64] = (
        field(  # (M, S+1) to the unedited image's descriptor; NaN if none
            default_factory=lambda: np.empty((0, 0))
        )
    )

    def column(self, extractor: str, column: str) -> NDArray[np.float64]:
        """(M, S+1) one attribute; InputError where it was not measured."""
        if (extractor, column) not in self.pairs:
            known = ", ".join(f"{a}.{b}" for a, b in self.pairs)
            raise InputError(f"rescoring: no attribute {extractor}.{column}. Measured: {known}.")
        return self.values[:, :, self.pairs.index((extractor, column))]


def measure_bases(
    generator: Generator,
    extractors: Sequence[Extractor],
    w_plus: Floats,
    config: RescoringConfig | None = None,
    condition: Floats | None = None,
) -> Bases:
    """Render and measure the unedited images of M identities.

    Args:
        w_plus: (M, num_ws, w_dim), latents that no direction was mined from.
        condition: (M, c_dim) for conditional generators, used for every step too.

    Raises:
        InputError: w_plus is not (M, num_ws, w_dim), or the condition does not pair up with it.
    """
    config = config or RescoringConfig()
    w_plus = np.asarray(w_plus, np.float32)
    if w_plus.ndim != 3 or not len(w_plus):
        raise InputError(f"measure_bases: {w_plus.shape} came, expected (M, num_ws, w_dim), M > 0.")
    if condition is not None and len(condition) != len(w_plus):
        raise InputError(
            f"measure_bases: {len(condition)} conditions for {len(w_plus)} latents; expected pairs."
        )
    if bool(generator.c_dim) != (condition is not None):
        came = "none" if condition is None else f"one of {np.shape(condition)}"
        raise InputError(
            f"measure_bases: condition: {came} came; {generator.name} takes {generator.c_dim} "
            "numbers an image."
        )
    pairs, units = measured_pairs(generator, extractors)
    measured, pictures = _render_and_measure(
        generator, extractors, w_plus, condition, pairs, config
    )
    return Bases(w_plus, condition, pairs, units, measured, pictures)


def rescore(
    generator: Generator,
    extractors: Sequence[Extractor],
    vector: NDArray,
    sigma: float,
    bases: Bases,
    config: RescoringConfig | None = None,
    layers: Sequence[int] = (),
    edit: Edit | None = None,
) -> Rescored:
    """Render every identity at steps along a direction and measure it again.

    x_is = measure(G(w_i + t_s n)), with t_s = sigma * steps_s. Only the S edited images of each
    identity are rendered; the unedited one comes from `bases`.
    Source: Shen et al. (2020), arXiv:2005.09635, section 4 (re-scoring analysis), as used by the
    micromotion paper, figure 6.

    Args:
        vector: (w_dim,) or (num_ws, w_dim), norm 1.
        sigma: standard deviation of the dataset's latents along the vector, above 0.
        bases: from `measure_bases` with the same generator and extractors; the first
            config.identities of them are used.
        layers: rows of W+ that move; empty means all.
        edit: moves latents in the vector's place, where no one vector does it.

    Raises:
        InputError: sigma is not above 0, or the extractors are not those of the bases.
    """
    config = config or RescoringConfig()
    if not np.isfinite(sigma) or sigma <= 0:
        raise InputError(f"rescore: sigma is {sigma}, expected a finite number above 0.")
    if measured_pairs(generator, extractors)[0] != bases.pairs:
        raise InputError("rescore: the bases were measured with other extractors.")
    count = min(config.identities, len(bases.w_plus))
    edits = np.array(sorted(config.steps)) * sigma
    # identity by identity, so that the first rows are whole strips
    latents = np.repeat(bases.w_plus[:count], len(edits), axis=0)
    steps = np.tile(edits, count)
    if edit is None:
        latents = apply_direction(latents, vector, steps, layers)
    else:
        latents = edit(latents, steps)
    condition = None
    if bases.condition is not None:
        condition = np.repeat(bases.condition[:count], len(edits), axis=0)
    measured, pictures = _render_and_measure(
        generator, extractors, latents, condition, bases.pairs, config, len(edits)
    )
    return _join(bases, measured, pictures, edits, float(sigma), count)


def _join(
    bases: Bases,
    edited: Measured,
    pictures: tuple[bytes, ...],
    edits: NDArray[np.float64],
    sigma: float,
    count: int,
) -> Rescored:
    """Put the unedited column of each identity back at step 0, in ascending order of steps."""
    steps = np.append(edits, 0.0)
    order = np.argsort(steps)
    width = len(edits)
    values = np.concatenate(
        [edited.values.reshape(count, width, -1), bases.measured.values[:count, None]], axis=1
    )
    origin = bases.measured.descriptors[:count, None]
    descriptors = edited.descriptors.reshape(count, width, -1)
    distances = cosines = np.full((count, width + 1), np.nan)
    if origin.shape[-1]:
        moved = np.concatenate([descriptors, origin], axis=1)
        distances = np.linalg.norm(moved - origin, axis=-1)
        cosines = _cosines(moved, origin)
    rows = [
        (*pictures[k * width : (k + 1) * width], bases.thumbnails[k])
        for k in range(min(len(pictures) // width, len(bases.thumbnails)))
    ]
    return Rescored(
        steps=steps[order],
        sigma=sigma,
        pairs=bases.pairs,
        units=bases.units,
        values=values[:, order],
        distances=distances[:, order],
        statuses=edited.statuses,
        thumbnails=tuple(tuple(row[k] for k in order) for row in rows),
        cosines=cosines[:, order],
    )


def _cosines(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines between the rows of two arrays; NaN where one is no descriptor."""
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    dots = (one * other).sum(axis=-1)
    found = np.divide(dots, norms, out=np.full(dots.shape, np.nan), where=norms > 0)
    return np.clip(found, -1.0, 1.0)


def _render_and_measure(
    generator: Generator,
    extractors: Sequence[Extractor],
    w_plus: Floats,
    condition: Floats | None,
    pairs: tuple[Pair, ...],
    config: RescoringConfig,
    width: int = 1,
) -> tuple[Measured, tuple[bytes, ...]]:
    """Render in batches; keep numbers, and JPEGs of the first config.thumbnails * width images."""
    values: list[NDArray] = []
    descriptors: list[NDArray] = []
    statuses: dict[str, Counter[str]] = {extractor.name: Counter() for extractor in extractors}
    pictures: list[bytes] = []
    parts = [
        (w_plus[rows], None if condition is None else condition[rows])
        for rows in _batches(len(w_plus), config.batch)
    ]
    size = config.image_size or generator.resolution
    for (_, given), images in zip(parts, images_of(generator, parts, size), strict=True):
        done = measure(extractors, images)
        values.append(scalars_of(done, pairs, len(images), camera_angles(generator, given)))
        descriptors.append(descriptors_of(done, config.descriptor, len(images)))
        for name, measurement in done.items():
            statuses[name].update(measurement.status)
        wanted = config.thumbnails * width - len(pictures)
        pictures.extend(jpeg(image, config.thumbnail_size) for image in images[: max(wanted, 0)])
    measured = Measured(
        np.concatenate(values),
        np.concatenate(descriptors),
        {name: dict(counts) for name, counts in statuses.items()},
    )
    return measured, tuple(pictures)


def _batches(count: int, batch: int) -> Iterator[slice]:
    """Slices of at most `batch` rows that cover `count`."""
    return (slice(start, start + batch) for start in range(0, count, batch))
