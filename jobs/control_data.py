"""A control model from a finished dataset, in this process: its settings, rows and fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.fields import is_tied
from mining.methods.row_parts import usable_rows
from mining.spaces import SPACES, latents_in
from schemas.errors import InputError
from schemas.registry import fitted_options, unknown
from schemas.samples import from_column
from schemas.settings import MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest

if TYPE_CHECKING:
    from mining.generators.base import Floats
    from mining.methods.control import ControlModel
    from mining.methods.embedding import EmbeddingConfig
    from mining.methods.nrsfm import NrsfmConfig
    from mining.methods.regressor import RegressorConfig

DESCRIPTORS = ("embedding", "descriptor")  # ends of the columns that tell faces apart, best first
PARTS = ("nrsfm", "regressor", "embedding")  # that options are of


@dataclass(frozen=True)
class ControlSettings:
    """What is fitted, and how."""

    space: str
    landmarks: str  # the column
    nrsfm: NrsfmConfig
    regressor: RegressorConfig
    embedding: EmbeddingConfig | None = None  # None: no embedding is trained


@dataclass(frozen=True)
class ControlRows:
    """The rows of a dataset that have landmarks."""

    latents: Floats  # (N, D) of the space, flat
    latent_shape: tuple[int, ...]
    landmarks: NDArray[np.float32]  # (N, L, 2)
    descriptors: NDArray[np.float32] | None  # (N, E), NaN where unmeasured
    skipped: int  # rows of the dataset without landmarks


def control_settings(
    space: str,
    landmarks: str,
    options: Mapping[str, Mapping[str, Any]],
    embedding: bool = False,
    seed: int = 0,
) -> ControlSettings:
    """Settings from options as `lode mine` takes them, checked before anything is read.

    Args:
        options: part of PARTS -> option -> value; regressor.preset names a set to start from.

    Raises:
        InputError: there is no such space, option or device, or a value does not fit.
    """
    from jobs.mining_stage import control_configs
    from mining.methods.embedding import EmbeddingConfig

    if space not in SPACES:
        raise unknown("latent space", space, SPACES)
    given = {part: dict(options.get(part, {})) for part in PARTS}
    mining = MiningSettings.model_validate(
        {"nrsfm": given["nrsfm"], "regressor": given["regressor"], "seed": seed}
    )
    nrsfm, regressor = control_configs(mining)
    if regressor.device != "cpu":
        from mining.generators.devices import pick_device

        pick_device(regressor.device)
    if given["embedding"] and not embedding:
        raise InputError("control: embedding options came, and no embedding is asked for.")
    seeded = {"seed": seed, **given["embedding"]}
    told = EmbeddingConfig(**fitted_options("embedding", EmbeddingConfig, seeded))
    return ControlSettings(space, landmarks, nrsfm, regressor, told if embedding else None)


def check_dataset(dataset: Dataset, settings: ControlSettings) -> None:
    """Refuse a dataset that lacks what is read, before any row is.

    Raises:
        InputError: names the column that is missing, and what there is instead.
    """
    fields = {field.name: field for field in dataset.manifest.fields}
    if settings.landmarks not in fields:
        raise unknown("landmark column", settings.landmarks, fields)
    shape = fields[settings.landmarks].shape
    if len(shape) != 2 or shape[1] != 2:
        raise InputError(f"control: {settings.landmarks} has shape {shape}; expected (L, 2).")
    for column in _latent_columns(dataset.manifest, settings.space):
        if column not in fields:
            raise InputError(
                f"control: dataset {dataset.dataset_id} has no column {column}, which space "
                f"{settings.space} is read from; fit the dataset that it was filtered from."
            )
    if settings.space == "w" and dataset.manifest.settings["space"] == "w+":
        raise InputError(
            f"control: dataset {dataset.dataset_id} was sampled in w+; its images have no single "
            "w. Expected --space w+, s or z."
        )
    if settings.embedding is not None:
        descriptor_column(dataset.manifest)


def descriptor_column(manifest: Manifest) -> str:
    """The column that tells faces apart; InputError where none was measured."""
    flat = [field.name for field in manifest.fields if len(field.shape) == 1]
    for end in DESCRIPTORS:
        for name in flat:
            if name.endswith(f"_{end}"):
                return name
    raise InputError(
        f"control: dataset {manifest.dataset_id} stores no face descriptor for an embedding; make "
        "one with --extractors.dlib.descriptor true, or add insightface with `lode dataset extend`."
    )


def read_rows(dataset: Dataset, settings: ControlSettings) -> ControlRows:
    """The rows that have landmarks.

    Raises:
        InputError: no row has them, or the generator has no such space.
        CorruptDataError: a shard is damaged.
    """
    columns = _latent_columns(dataset.manifest, settings.space)
    names = [*columns, settings.landmarks]
    if settings.embedding is not None:
        names.append(descriptor_column(dataset.manifest))
    table = dataset.read(names)
    landmarks = from_column(table.column(settings.landmarks))
    rows = usable_rows(landmarks)
    if not rows.any():
        raise InputError(
            f"control: {settings.landmarks} were measured on none of {len(rows):,} images; see "
            "the extractors' statuses with `lode dataset info`."
        )
    read = {name: from_column(table.column(name))[rows] for name in columns}
    latents, shape = _latents(dataset.manifest, settings.space, read)
    descriptors = None
    if settings.embedding is not None:
        descriptors = from_column(table.column(names[-1]))[rows]
    return ControlRows(latents, shape, landmarks[rows], descriptors, int((~rows).sum()))


def fit_rows(rows: ControlRows, settings: ControlSettings, manifest: Manifest) -> ControlModel:
    """Fit the shape model, the regressor and, where asked, the embedding, on one thread.

    Raises:
        InputError: the rows cannot be fitted.
        RunError: the training's loss is no longer finite.
    """
    from threadpoolctl import threadpool_limits

    from mining.methods.control import fit_control

    about = manifest.generator
    with threadpool_limits(1):  # as workers do: sums are added in one order
        control = fit_control(
            rows.latents,
            rows.landmarks,
            settings.nrsfm,
            settings.regressor,
            space=settings.space,
            latent_shape=rows.latent_shape,
            generator=about["name"],
            fingerprint=about["fingerprint"],
            licence=about["licence"],
        )
        if settings.embedding is None or rows.descriptors is None:
            return control
        from mining.methods.embedding import train_embedding

        known = np.isfinite(rows.descriptors).all(axis=1)
        latents = np.asarray(rows.latents[known], np.float64)
        descriptors = np.asarray(rows.descriptors[known], np.float64)
        embedding = train_embedding(latents, descriptors, settings.embedding)
    return dataclasses.replace(control, embedding=embedding)


def _latent_columns(manifest: Manifest, space: str) -> Sequence[str]:
    """The columns that a space's latents are read from."""
    rows = "w" if is_tied(manifest.settings) else "w_plus"
    return {"z": ("z",), "w": ("w",), "w+": (rows,), "s": (rows,)}[space]


def _latents(
    manifest: Manifest, space: str, read: Mapping[str, NDArray]
) -> tuple[Floats, tuple[int, ...]]:
    """Latents (N, D) and the shape of one."""
    (latents,) = read.values()
    if space in ("w+", "s") and latents.ndim == 2:  # tied rows are stored once
        latents = np.broadcast_to(
            latents[:, None], (len(latents), manifest.generator["num_ws"], latents.shape[1])
        )
    if space == "s":
        latents = _styles(manifest, latents)
    shape = latents.shape[1:]
    return np.ascontiguousarray(latents, np.float32).reshape(len(latents), -1), shape


def _styles(manifest: Manifest, w_plus: NDArray) -> Floats:
    from mining.generators.registry import make_generator

    about = manifest.generator
    generator = make_generator(about["load"], **about["options"])
    weights = getattr(generator, "weights", None)
    if weights != about.get("weights"):
        raise InputError(
            f"control: generator {about['name']!r} has other weights than the dataset was made "
            "with; put its checkpoint back."
        )
    z = np.empty((len(w_plus), generator.z_dim), np.float32)  # which S does not read
    return latents_in(generator, "s", z, w_plus)
