"""What the workers of `lode matrix` do: draw pairs, render and measure them, train matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.control_table_tasks import identity_of
from jobs.instruments import DESCRIPTOR, check_same, turn_on
from jobs.placement import hide_gpus
from mining.evaluation.scalars import descriptors_of
from mining.evaluation.transfer_scores import ANGLES, SAME, Names, Side, Told
from mining.extractors.base import Extractor, Measurement, measure
from mining.extractors.registry import make_extractors
from mining.generators.base import Animated, Floats, Generator, Images, KnownTruth, TrueFaces
from mining.generators.registry import make_generator
from mining.latents import shard_latents
from mining.rendering import images_of, true_images_of
from mining.threads import limit_threads
from schemas.errors import InputError
from schemas.registry import unknown
from storage.dataset import image_size
from storage.manifest import Manifest

Array = NDArray[np.float64]

PAIRS = 2**36  # a shard number that no dataset reaches, and nothing else draws from
FITTED = "shape3d"  # measures pose and expression where no extractor of the dataset does
LANDMARKS = ("landmarks_68", "landmarks")  # columns of 68 points, the first that is there
PERSON = ("identity", "shape")  # columns of what else a 3-D shape model measures


@dataclass(frozen=True)
class Drawn:
    """N pairs of held-out latents, rows of W+ each."""

    source: Floats
    target: Floats
    ideal: Floats | None  # the sources with the targets' true motion; None: nobody knows
    condition: Floats | None  # of the sources, and of what is made of them
    target_condition: Floats | None


class Looker:
    """Renders latents and measures what transfers are judged by; one per worker.

    Args:
        names: the parameters that are measured: yaw, pitch, roll, a jaw, expressions.
        source: the extractor that measures them; "": the first of the dataset that does, or else
            a 3-D shape model fitted to the dataset's 68 landmarks.
        gpus: what Ray gives it; with 0 it sees none. None leaves them as they are.

    Raises:
        InputError: no extractor measures those parameters, or 68 landmarks.
        RunError: as `check_same`.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        names: Sequence[str],
        source: str = "",
        gpus: float | None = None,
    ):
        if gpus == 0:
            hide_gpus()
        manifest = Manifest(content)
        about = manifest.generator
        self._generator: Generator = make_generator(about["load"], **about["options"])
        made = _extractors(manifest, self._generator, names, source)
        self._names, self._shape = tuple(names), _measures(made, names, source)
        self._points = _landmarks(made)
        self._identity, self._distance = identity_of(made)
        self._extractors = _needed(made, (self._shape.name, self._points[0], self._identity[0]))
        self._settings, self._size = manifest.settings, image_size(manifest)
        limit_threads(manifest.settings["threads"])

    def about(self) -> dict[str, Any]:
        """How pairs are read: names of both views, and how faces are compared."""
        person = next((name for name in PERSON if name in self._shape.columns), None)
        count = self._shape.columns[person].shape[0] if person else 0
        return {
            "measured": Names(self._names, tuple(f"{person}_{k}" for k in range(count))),
            "true": self._true_names(),
            "distance": self._distance or "euclidean",
            "threshold": SAME if self._distance == "euclidean" else None,
            "descriptor": "_".join(self._identity) if self._distance else "",
            "shape": self._shape.name,
            "landmarks": "_".join(self._points),
        }

    def draw(self, count: int, seed: int, own: bool) -> Drawn:
        """Pairs that no dataset holds, drawn as the dataset's images were.

        Args:
            own: targets are the sources' own identities with another pose and expression.

        Raises:
            InputError: own targets are asked of a generator that cannot animate a face.
        """
        settings = {**self._settings, "seed": seed}
        drawn = shard_latents(self._generator, settings, PAIRS, 2 * count)
        source, condition = drawn[slice(count)]
        target, other = drawn[slice(count, None)]
        ideal = None
        if isinstance(self._generator, Animated):
            ideal = self._generator.animated(source, target)
        if not own:
            return Drawn(source, target, ideal, condition, other)
        if ideal is None:
            raise InputError(
                f"transfer: generator {self._generator.name!r} has no method `animated`, which "
                "gives a face the motion of another; expected pairs of two identities."
            )
        return Drawn(source, ideal, None, condition, condition)

    def part(
        self, number: int, index: int, w_plus: Floats, condition: Floats | None
    ) -> tuple[int, int, Side]:
        """One part of a set of images; the numbers come back with it."""
        return number, index, self.look(w_plus, condition)

    def look(self, w_plus: Floats, condition: Floats | None = None) -> Side:
        """The images of these rows of W+, measured."""
        images, truth = self._images(np.asarray(w_plus, np.float32), condition)
        done, count = measure(self._extractors, images), len(images)
        points = descriptors_of(done, self._points, count).reshape(count, -1, 2)
        true = None if truth is None else self._told(truth)
        return Side(
            measured=self._measured(done[self._shape.name]),
            landmarks=points,
            descriptors=descriptors_of(done, self._identity, count),
            true=true,
            true_landmarks=None if truth is None else truth.landmarks_2d.astype(np.float64),
        )

    def _images(self, w_plus: Floats, condition: Floats | None) -> tuple[Images, TrueFaces | None]:
        """In the batches of the dataset, as products of floats change with them."""
        step = self._settings["batch_size"]
        parts = [slice(at, at + step) for at in range(0, len(w_plus), step)]
        batches = [(w_plus[p], None if condition is None else condition[p]) for p in parts]
        if not isinstance(self._generator, KnownTruth):
            return np.concatenate(list(images_of(self._generator, batches, self._size))), None
        found = list(true_images_of(self._generator, batches, self._size))
        names = ("parameters", "landmarks_2d", "landmarks_3d")
        told = {n: np.concatenate([getattr(truth, n) for _, truth in found]) for n in names}
        return np.concatenate([images for images, _ in found]), TrueFaces(**told)

    def _measured(self, found: Measurement) -> Told:
        known = found.measured()[:, None]
        moving = np.column_stack([_column(found, name) for name in self._names])
        person = next((name for name in PERSON if name in found.values), None)
        still = found.values[person] if person else np.empty((len(found), 0))
        return Told(*(np.where(known, a.astype(np.float64), np.nan) for a in (moving, still)))

    def _true_names(self) -> Names | None:
        """The parameters that are transferred, by name; all others are to stay."""
        if not isinstance(self._generator, KnownTruth):
            return None
        truth = self._generator.truth()
        moving = tuple(name for name in self._names if name in truth.names)
        rows = {truth.layers[truth.names.index(name)] for name in moving}
        still = [k for k, row in enumerate(truth.layers) if row not in rows]
        if not any(name in ANGLES for name in moving):
            return None  # nothing by which a transfer could be judged
        layers = self._generator.layer_names
        groups = tuple(layers[truth.layers[k]] for k in still)
        return Names(moving, tuple(truth.names[k] for k in still), groups)

    def _told(self, truth: TrueFaces) -> Told | None:
        names = self._true_names()
        if names is None or not isinstance(self._generator, KnownTruth):
            return None
        known = self._generator.truth().names
        values = truth.parameters.astype(np.float64)
        parts = (names.moving, names.still)
        return Told(*(values[:, [known.index(name) for name in part]] for part in parts))


def check_measured(manifest: Manifest, names: Sequence[str], source: str = "") -> None:
    """Refuse parameters that nothing measures, before any work.

    Raises:
        InputError: as `Looker`.
    """
    settings = _settings(manifest)
    made = make_extractors(_with_shape(settings, make_extractors(settings), names, source))
    _measures(made, names, source)
    _landmarks(made)


def _settings(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {item["load"]: dict(item["options"]) for item in manifest.extractors}


def _extractors(
    manifest: Manifest, generator: Generator, names: Sequence[str], source: str
) -> list[Extractor]:
    """Those of the dataset with a face descriptor, and a shape model where none measures names."""
    settings = _settings(manifest)
    turn_on(settings, DESCRIPTOR)
    made = make_extractors(settings)
    check_same(manifest, generator, made, True)
    more = _with_shape(settings, made, names, source)
    return made if len(more) == len(settings) else make_extractors(more)


def _with_shape(
    settings: Mapping[str, dict[str, Any]],
    made: Sequence[Extractor],
    names: Sequence[str],
    source: str,
) -> dict[str, dict[str, Any]]:
    """The settings, and those of a 3-D shape model where nothing measures the parameters."""
    if source or any(_has(extractor, names) for extractor in made) or FITTED in settings:
        return dict(settings)
    return {**settings, FITTED: {"source": _landmarks(made)[0]}}


def _measures(made: Sequence[Extractor], names: Sequence[str], source: str) -> Extractor:
    """The extractor of the parameters."""
    if source and source not in {extractor.name for extractor in made}:
        raise unknown("extractor", source, [extractor.name for extractor in made])
    for extractor in made:
        if _has(extractor, names) and source in ("", extractor.name):
            return extractor
    who = f"extractor {source!r}" if source else "no extractor of the dataset, nor shape3d,"
    raise InputError(
        f"transfer: {who} measures all of {', '.join(names)}; expected the one that the matrix was "
        "mined with: add it with `lode dataset extend`."
    )


def _has(extractor: Extractor, names: Sequence[str]) -> bool:
    columns = extractor.columns
    return all(
        (name in columns and columns[name].shape == ()) or _entry(columns, name) is not None
        for name in names
    )


def _entry(columns: Mapping[str, Any], name: str) -> tuple[str, int] | None:
    """("expression", 3) of "expression_3", where there are as many."""
    stem, _, number = name.rpartition("_")
    shape = getattr(columns.get(stem), "shape", ())
    fits = number.isdecimal() and len(shape) == 1 and int(number) < shape[0]
    return (stem, int(number)) if fits else None


def _column(found: Measurement, name: str) -> NDArray[Any]:
    """(N,) one parameter."""
    if name in found.values:
        return found.values[name]
    stem, _, number = name.rpartition("_")
    return found.values[stem][:, int(number)]


def _landmarks(made: Sequence[Extractor]) -> tuple[str, str]:
    """(extractor, column) of the first 68 landmarks."""
    for extractor in made:
        for name in LANDMARKS:
            if name in extractor.columns and extractor.columns[name].shape == (68, 2):
                return extractor.name, name
    raise InputError(
        "transfer: no extractor of the dataset measures 68 landmarks; expected dlib, or another "
        "with a column `landmarks` or `landmarks_68` of 68 points."
    )


def _needed(made: Sequence[Extractor], names: Sequence[str]) -> list[Extractor]:
    """Those of the names, and those that they read."""
    wanted = set(names)
    for extractor in reversed(made):
        if extractor.name in wanted:
            wanted |= set(extractor.needs)
    return [extractor for extractor in made if extractor.name in wanted]
