"""A finished run as `lode micromotion` reads it: its dataset's latents and its control model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.editing_run import CONTROL
from mining.methods.control import ControlModel
from mining.methods.control_file import load_control
from mining.stored import latent_column
from schemas.errors import InputError
from schemas.registry import unknown
from schemas.samples import from_column
from storage.dataset import Dataset, attribute_fields
from storage.files import Store, absolute

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MinedRun:
    """What micromotions read of a run."""

    url: str
    dataset: Dataset
    space: str  # of its latents: w or w+
    shape: tuple[int, ...]  # of one latent
    latents: Array  # (N, D), flat

    def scores(self, attribute: str) -> Array:
        """(N,) NaN where unmeasured.

        Raises:
            InputError: no extractor measured it.
        """
        known = attribute_fields(self.dataset.manifest)
        if attribute not in known:
            raise unknown("attribute", attribute, known)
        return self.dataset.attribute(attribute)[0]


def open_run(run: str) -> MinedRun:
    """A run's folder or URL, or a dataset's.

    Raises:
        InputError: there is none, or nothing of it is finished.
    """
    url = absolute(run).rstrip("/")
    inner = Store(f"{url}/dataset").exists("manifest.json")
    if not inner and not Store(url).exists("manifest.json"):
        state = "holds no dataset" if Store(url).exists() else "does not exist"
        raise InputError(
            f"micromotion: the run {url} {state}; expected the --out of a `lode mine` run, or its "
            "dataset."
        )
    dataset = Dataset(f"{url}/dataset" if inner else url)
    column = latent_column(dataset.manifest)
    if not dataset.rows:
        raise InputError(f"micromotion: {url} has no rows yet; expected a finished dataset.")
    latents = from_column(dataset.read([column]).column(column))
    flat = latents.reshape(len(latents), -1).astype(np.float64)
    url = url.removesuffix("/dataset")
    return MinedRun(url, dataset, "w" if column == "w" else "w+", latents.shape[1:], flat)


def run_control(run: MinedRun, place: str | None) -> ControlModel:
    """The run's control model, or that of a file, of the run's space.

    Raises:
        InputError: there is none, or it is of another space or generator.
    """
    url = absolute(place) if place else f"{run.url}/{CONTROL}"
    folder, _, name = url.rpartition("/")
    if not Store(folder or "/").exists(name):
        raise InputError(
            f"micromotion: {url} does not exist; a run holds a control model where a method such "
            "as nrsfm needed one. Make one with `lode control fit`, and give it as --control FILE."
        )
    control = load_control(url)
    if control.space != run.space or control.latent_shape != run.shape:
        raise InputError(
            f"micromotion: the control model is of {control.space} {control.latent_shape}, the "
            f"dataset of {run.space} {run.shape}; expected one of the same space."
        )
    mine = run.dataset.manifest.generator["fingerprint"]
    if control.fingerprint not in ("", mine):
        raise InputError(
            f"micromotion: the control model is of another generator ({control.fingerprint[:16]}) "
            f"than the dataset ({mine[:16]})."
        )
    return control
