"""A run opened for editing: its generator, its control model, its directions, its extractors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jobs.editing_latents import Given
from mining.editing.learned import LearnedEdit, open_artefact
from mining.evaluation.scalars import camera_angles, measured_pairs, scalars_of
from mining.extractors.base import Extractor, measure
from mining.extractors.registry import make_extractors
from mining.generators.base import Generator, Images
from mining.generators.registry import make_generator
from mining.methods.control import ControlModel
from mining.methods.control_file import load_control
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown
from schemas.settings import RunSettings
from storage import artefacts
from storage.catalog import Catalog
from storage.dataset import attribute_fields, image_size
from storage.files import Store, absolute
from storage.manifest import Manifest
from storage.verify import readable_manifest

CONTROL = "results/control.safetensors"
BATCH = 16  # images measured at once
SPACES = ("w", "w+")  # of directions that can be added to W+


@dataclass(frozen=True)
class Studio:
    """What editing needs of a run; `open_studio` makes it."""

    url: str  # of the run
    manifest: Manifest  # of its dataset
    generator: Generator
    control_url: str
    catalog_url: str
    another_generator: bool  # go on where fingerprints differ

    @property
    def seen_size(self) -> int:
        """The edge in pixels of the images that the run's extractors read."""
        return image_size(self.manifest)

    def control(self) -> ControlModel:
        """The run's control model.

        Raises:
            InputError: there is none, or it is of another generator.
            CorruptDataError: its file is damaged.
        """
        folder, _, name = self.control_url.rpartition("/")
        if not Store(folder or "/").exists(name):
            if not self.control_url.endswith(CONTROL):
                raise InputError(
                    f"edit: --control {self.control_url} does not exist; expected a file that "
                    "`lode control fit` wrote, or a run's results/control.safetensors."
                )
            raise InputError(
                f"edit: {self.control_url} does not exist; a run holds a control model where a "
                "method such as nrsfm needed one. Expected --control FILE; make one with: "
                f"lode control fit {self.url}/dataset --out control.safetensors"
            )
        control = load_control(self.control_url)
        if control.fingerprint and not self.another_generator:
            self.check_same("the control model", control.generator, control.fingerprint)
        return control

    def direction(self, name: str) -> DirectionCard:
        """The direction with this id or tag, or the best for an attribute of this name.

        Raises:
            InputError: nothing was published, or there is no such direction.
        """
        catalog = Catalog(self.catalog_url)
        cards = catalog.cards().table()
        known = set(cards["attribute"].to_pylist())
        if name not in known:
            try:
                return catalog.get(name)
            except InputError:
                raise unknown("direction, tag or attribute", name, known) from None
        fingerprint = self.manifest.generator["fingerprint"]
        columns = [cards[c].to_pylist() for c in ("attribute", "generator_fingerprint", "space")]
        spaces = {s for a, f, s in zip(*columns, strict=True) if (a, f) == (name, fingerprint)}
        for space in SPACES:
            if space in spaces:
                return catalog.best(name, space=space, generator=fingerprint)
        raise InputError(
            f"edit: {self.catalog_url} has no direction of W or W+ for {name!r} and the generator "
            f"{self.generator.name} ({fingerprint[:16]}); name one by its id."
        )

    def calibrated(self, name: str) -> DirectionCard:
        """As `direction`, but of an attribute the best that has a calibration.

        Raises:
            InputError: there is no such direction, or it has no calibration.
        """
        card = self.direction(name)
        if card.calibration is None and card.attribute == name:
            catalog, known = Catalog(self.catalog_url), "calibration_step is not null"
            space, fingerprint = card.space, card.generator_fingerprint
            if catalog.find(known, attribute=name, space=space, generator=fingerprint):
                return catalog.best(name, space, generator=fingerprint, where=known)
        if card.calibration is None:
            raise InputError(
                f"edit: {self.catalog_url} has no calibration for {name!r}: it was mined before "
                "there were any, or the attribute did not answer. Expected another direction; or "
                f"count in natural steps: --direction {name} --to 2"
            )
        return card

    def learned(self, card: DirectionCard) -> LearnedEdit | None:
        """What a card without a vector edits by, opened once; None for any other card.

        Raises:
            InputError: the catalogue does not hold the card's file, or it is another kind of file.
            CorruptDataError: the file is damaged.
            MissingBackendError: a package that it needs is not installed.
        """
        if card.artefact is None or card.artefact.kind != "flow":
            return None
        key, kind = card.artefact.sha256, card.artefact.kind
        if key not in self._opened:
            data = artefacts.read(self.catalog_url, key)
            self._opened[key] = open_artefact(data, kind, f"artefact {key[:16]}")
        return self._opened[key]

    def column_of(self, attribute: str) -> str | None:
        """What `measured` calls an attribute, such as "geometry.yaw"; None for a label."""
        field = attribute_fields(self.manifest).get(attribute)
        pairs, _ = measured_pairs(self.generator, self.extractors)
        known = {"_".join(pair): ".".join(pair) for pair in pairs}
        return None if field is None else known.get(field.name)

    def measured(self, images: Images, given: Given) -> dict[str, NDArray[np.float64]]:
        """What the run's extractors measure: "geometry.yaw" -> (N,), NaN where nothing is."""
        extractors = self.extractors
        pairs, _ = measured_pairs(self.generator, extractors)
        parts = []
        for first in range(0, len(images), BATCH):
            rows = slice(first, first + BATCH)
            condition = None if given.condition is None else given.condition[rows]
            camera = camera_angles(self.generator, condition)
            seen = images[rows]
            parts.append(scalars_of(measure(extractors, seen), pairs, len(seen), camera))
        values = np.concatenate(parts)
        return {".".join(pair): values[:, k] for k, pair in enumerate(pairs)}

    def landmarks(self, images: Images, count: int) -> NDArray[np.float64]:
        """(N, count, 2) landmarks of the first extractor that gives so many.

        Raises:
            InputError: none does, or it finds no face in an image.
        """
        extractors = self.extractors
        done = measure(extractors, images)
        for extractor in extractors:
            for column, about in extractor.columns.items():
                if about.shape == (count, 2):
                    found = done[extractor.name]
                    if not found.measured().all():
                        status = found.status[int(np.flatnonzero(~found.measured())[0])]
                        raise InputError(
                            f"edit: {extractor.name} finds no landmarks in the image whose codes "
                            f"are wanted ({status}); take another one, or --codes regressor."
                        )
                    return np.asarray(found.values[column], np.float64)
        raise InputError(
            f"edit: no extractor of the run gives {count} landmarks, which the control model was "
            "fitted to; take --codes regressor."
        )

    @cached_property
    def extractors(self) -> list[Extractor]:
        """The run's extractors, loaded when first asked for.

        Raises:
            MissingBackendError: a package or a model of one is not here.
        """
        return make_extractors({each["load"]: each["options"] for each in self.manifest.extractors})

    @cached_property
    def _opened(self) -> dict[str, LearnedEdit]:
        return {}

    def check_same(self, what: str, name: str, fingerprint: str) -> None:
        """InputError where something was made with another generator than the one here."""
        here = self.generator.fingerprint()
        if fingerprint != here:
            raise InputError(
                f"edit: {what} is of generator {name} ({fingerprint[:16]}), the one here is "
                f"{self.generator.name} ({here[:16]}): another generator, other weights, or "
                "another kind of device. Expected the same; --another-generator goes on."
            )


def open_studio(
    run: str,
    control: str | None = None,
    catalog: str | None = None,
    another_generator: bool = False,
) -> Studio:
    """Open a run's folder or URL, or a dataset's, and load the generator.

    Args:
        control: the control model's file; the run's own for None.
        catalog: where directions are looked up; the run's own for None.

    Raises:
        InputError: there is no run, its generator cannot be made, or another one is made here.
    """
    url = absolute(run).rstrip("/")
    manifest, url = _manifest(url)
    about = manifest.generator
    studio = Studio(
        url,
        manifest,
        make_generator(about["load"], **about["options"]),
        absolute(control) if control else f"{url}/{CONTROL}",
        absolute(catalog) if catalog else _catalog(url),
        another_generator,
    )
    if not another_generator:
        studio.check_same("the run's dataset", about["name"], about["fingerprint"])
    return studio


def _manifest(url: str) -> tuple[Manifest, str]:
    """The manifest of a run's dataset, and the run's URL; a dataset's own URL will do."""
    for place in (f"{url}/dataset", url):
        store = Store(place)
        if store.exists("manifest.json"):
            return readable_manifest(store), url.removesuffix("/dataset")
    settings = _settings(url)
    if settings is not None and settings.dataset_url:
        store = Store(absolute(settings.dataset_url))
        if store.exists("manifest.json"):
            return readable_manifest(store), url
        raise InputError(
            f"edit: the run {url} was mined from the dataset {settings.dataset_url}, which is not "
            "there. Bring it back, or name another dataset of the same generator as the run and "
            "the files with --matrix, --control or --catalog."
        )
    state = "holds no dataset" if Store(url).exists() else "does not exist"
    raise InputError(
        f"edit: the run {url} {state}; expected the --out of a `lode mine` run, or its dataset."
    )


def _catalog(url: str) -> str:
    """Where the run published to: beside its results, unless it was told another place."""
    own = f"{url}/catalog"
    settings = None if Store(own).exists() else _settings(url)
    return absolute(settings.catalog) if settings is not None and settings.catalog else own


def _settings(url: str) -> RunSettings | None:
    """What a finished run was told; None where there are no results."""
    from jobs.conditioning_measured import run_settings
    from jobs.report.files import NUMBERS

    return run_settings(url) if Store(url).exists(f"results/{NUMBERS}") else None
