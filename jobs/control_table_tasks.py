"""What the workers of `lode control table` do: fit control models, edit, render and measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.control_data import ControlRows, ControlSettings, check_dataset, read_rows
from jobs.instruments import DESCRIPTOR, check_same, turn_on
from jobs.placement import hide_gpus
from mining.editing.analytic import CodeEdit, asked_weights, edit_to_codes
from mining.evaluation.control_table import Distance
from mining.evaluation.control_table_edits import Edits
from mining.evaluation.scalars import descriptors_of
from mining.extractors.base import Extractor, measure
from mining.extractors.registry import make_extractors
from mining.generators.registry import make_generator
from mining.latents import Latents, shard_latents
from mining.methods.control import ControlModel, code_ranges
from mining.methods.embedding import train_embedding
from mining.methods.nrsfm import fit_nrsfm
from mining.methods.regressor import train_regressor
from mining.methods.shape_model import ShapeModel
from mining.spaces import latents_in, render
from mining.threads import limit_threads
from schemas.registry import unknown
from storage.dataset import Dataset, image_size
from storage.manifest import Manifest

Array = NDArray[np.float64]
Method = Literal["analytic", "gradient"]

EMBEDDING = "embedding"  # the column of ArcFace's numbers
TESTED = 2**33  # a shard number that no dataset reaches, and evaluation does not use
IDENTITY = {
    "euclidean": "Euclidean distance of dlib's descriptors, under 0.6 for one person",
    "cosine": "1 - cosine of ArcFace embeddings",
}


@dataclass(frozen=True)
class Space:
    """One row of the table, before it is measured."""

    label: str
    control: ControlModel
    edits: Edits


@dataclass(frozen=True)
class Work:
    """The test codes of one dataset, and all spaces that are tried on their images."""

    latents: Latents
    spaces: tuple[Space, ...]
    method: Method
    steps: int  # of an edit
    unasked: float  # weight of the codes that an edit is to leave; 1: as those it changes
    hold_identity: bool = False  # by the control models' embeddings


@dataclass(frozen=True)
class Seen:
    """Landmarks (M, L, 2) and descriptors (M, F) of M images; NaN without a face."""

    landmarks: Array
    descriptors: Array


@dataclass(frozen=True)
class Edited:
    """Some edits of one space, done and measured."""

    codes: Array  # (n, Q) phi(w) of the latents
    reached: Array  # (m, Q) phi(w_edit)
    walked: Array  # (m,) in radii of the training latents
    seen: Seen  # m rows


def fit_shape(url: str, settings: ControlSettings) -> ShapeModel:
    """The shape model of a dataset's landmarks."""
    limit_threads(1)
    return fit_nrsfm(_rows(url, settings).landmarks.astype(np.float64), settings.nrsfm)


def fit_space(url: str, settings: ControlSettings, shape: ShapeModel, own: bool) -> ControlModel:
    """The control model of a space from a dataset's latents, with a shape model that is given.

    Args:
        own: whether the shape model was fitted to this dataset, and so holds its codes; else they
            are found by equation (11).
    """
    limit_threads(1)
    about, rows = Dataset(url).manifest.generator, _rows(url, settings)
    landmarks = rows.landmarks.astype(np.float64)
    codes = shape.codes if own else shape.fit(landmarks)
    embedding = None
    if settings.embedding is not None and rows.descriptors is not None:
        known = np.isfinite(rows.descriptors).all(axis=1)
        latents, faces = (a[known].astype(np.float64) for a in (rows.latents, rows.descriptors))
        embedding = train_embedding(latents, faces, settings.embedding)
    return ControlModel(
        shape,
        train_regressor(rows.latents, codes, shape, landmarks, settings.regressor),
        space=settings.space,
        latent_shape=rows.latent_shape,
        generator=about["name"],
        fingerprint=about["fingerprint"],
        licence=about["licence"],
        ranges=code_ranges(codes),
        embedding=embedding,
    )


def _rows(url: str, settings: ControlSettings) -> ControlRows:
    """The rows with landmarks, of one latent each."""
    dataset = Dataset(url)
    check_dataset(dataset, settings)
    return read_rows(dataset, settings)


class Prober:
    """Edits, renders and measures; one per worker. Loads generator and extractors once.

    Args:
        landmarks: the column of them, "dlib_landmarks".
        gpus: what Ray gives it; with 0 it sees none. None leaves them as they are.
    """

    def __init__(self, content: Mapping[str, Any], landmarks: str, gpus: float | None = None):
        if gpus == 0:
            hide_gpus()
        manifest = Manifest(content)
        about = manifest.generator
        self._generator = make_generator(about["load"], **about["options"])
        options = {item["load"]: dict(item["options"]) for item in manifest.extractors}
        embeds = any(field.name.endswith(f"_{EMBEDDING}") for field in manifest.fields)
        if not embeds:
            turn_on(options, DESCRIPTOR)
        made = make_extractors(options)
        check_same(manifest, self._generator, made, not embeds)
        self._landmarks = _owner(made, landmarks)
        self._identity = identity_of(made)
        wanted = {self._landmarks[0], self._identity[0][0]}
        for extractor in reversed(made):
            if extractor.name in wanted:
                wanted |= set(extractor.needs)
        self._extractors = [extractor for extractor in made if extractor.name in wanted]
        self._settings = manifest.settings
        self._size = image_size(manifest)
        limit_threads(manifest.settings["threads"])

    def distance(self) -> Distance | None:
        """How the identity of two faces is compared; None where nothing describes faces."""
        return self._identity[1]

    def draw(self, count: int, seed: int) -> Latents:
        """Latents that no dataset holds, drawn as this dataset's were."""
        settings = {**self._settings, "seed": seed}
        return shard_latents(self._generator, settings, TESTED, count)

    def part(
        self, number: int, index: int, part: slice, work: Work
    ) -> tuple[int, int, Seen | Edited]:
        """Some test codes in one space, or unedited for -1; the numbers come back with it."""
        return (
            number,
            index,
            self.edit(number, part, work) if number >= 0 else self.look(part, work),
        )

    def look(self, part: slice, work: Work) -> Seen:
        """The unedited images of some test codes, measured."""
        rows, condition = work.latents[part]
        return self._look("w+", rows, condition)

    def edit(self, number: int, part: slice, work: Work) -> Edited:
        """All edits of some test codes in one space, done, rendered and measured.

        Args:
            number: of the space in `work`.
        """
        space, given = work.spaces[number], work.latents
        control, which = space.control, space.edits.of_latents(part)
        w_plus, condition = given[part]
        latents = latents_in(self._generator, control.space, given.z[part], w_plus)
        latents = latents.astype(np.float64)
        codes = control.regressor.predict(latents)
        rows = space.edits.rows[which] - part.start
        target = codes[rows] + space.edits.offsets[which]
        asked = space.edits.offsets[which] != 0
        edited, reached = edit_latents(control, latents[rows], target, asked, work)
        walked = np.linalg.norm(edited - latents[rows], axis=1) / control.regressor.radius
        given_rows = None if condition is None else condition[rows]
        return Edited(codes, reached, walked, self._look(control.space, edited, given_rows))

    def _look(self, space: str, latents: NDArray, condition: NDArray | None) -> Seen:
        settings = self._settings
        images = render(
            self._generator,
            space,
            latents,
            self._size,
            settings["psi"],
            settings["cutoff"],
            condition,
        )
        done = measure(self._extractors, images)
        points = descriptors_of(done, self._landmarks, len(images))
        return Seen(
            points.reshape(len(images), -1, 2),
            descriptors_of(done, self._identity[0], len(images)),
        )


def edit_latents(
    control: ControlModel, start: Array, target: Array, asked: NDArray[np.bool_], work: Work
) -> tuple[Array, Array]:
    """Every edit by the method that is tried, with the codes that are to stay at their weight.

    Args:
        start: (m, D). target: (m, Q), q_edit. asked: (m, Q), which codes the edit changes.

    Returns:
        The edited latents (m, D), and phi of them (m, Q).
    """
    edited, reached = np.empty_like(start), np.empty_like(target)
    wanted = asked_weights(asked, work.unasked)
    # rows of the same weights go together, as weights are those of codes
    for weights in np.unique(wanted, axis=0):
        some = (wanted == weights).all(axis=1)
        done = _edit(control, start[some], target[some], weights, work)
        edited[some], reached[some] = done.latents, done.codes[-1]
    return edited, reached


def _edit(
    control: ControlModel, start: Array, target: Array, weights: Array, work: Work
) -> CodeEdit:
    """Equation (14) in several steps, or (15); both hold the embedding where asked."""
    held = control.embedding if work.hold_identity else None
    if work.method == "analytic":
        return edit_to_codes(
            control.regressor, start, target, work.steps, weights=weights, hold=held
        )
    from mining.editing.gradient import GradientConfig, edit_by_gradient
    from mining.editing.terms import EmbeddingTerm

    config = GradientConfig(steps=work.steps, every=work.steps)  # of the way only its end is kept
    terms = [] if held is None else [EmbeddingTerm(held)]  # at the paper's weight
    return edit_by_gradient(control, start, target, config, terms, weights)


def identity_of(extractors: Sequence[Extractor]) -> tuple[tuple[str, str], Distance | None]:
    """(extractor, column) of the face's numbers, and how two are compared: ArcFace, else dlib."""
    kinds: tuple[tuple[str, Distance], ...] = ((EMBEDDING, "cosine"), (DESCRIPTOR, "euclidean"))
    for column, distance in kinds:
        for extractor in extractors:
            if column in extractor.columns:
                return (extractor.name, column), distance
    return ("", DESCRIPTOR), None


def _owner(extractors: Sequence[Extractor], landmarks: str) -> tuple[str, str]:
    """(extractor, column) of a dataset's landmark column."""
    found = {
        f"{extractor.name}_{name}": (extractor.name, name)
        for extractor in extractors
        for name, column in extractor.columns.items()
        if len(column.shape) == 2 and column.shape[1] == 2
    }
    if landmarks not in found:
        raise unknown("landmark column", landmarks, found)
    return found[landmarks]
