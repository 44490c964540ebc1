"""Settings of learned methods, checked before any work."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.learned_codes import code_names
from jobs.learned_sources import open_sequences, read_inverted
from mining.extractors.geometry import POSE
from mining.methods.registry import CONFIGS, LEARNED_METHODS, SCORED
from schemas.errors import InputError
from schemas.registry import fitted_options, load, unknown
from schemas.settings import EngineSettings, MiningSettings
from storage.dataset import SEQUENCE
from storage.manifest import Manifest

if TYPE_CHECKING:
    from mining.methods.image_options import ImageOptions

POINTS = (68, 2)  # landmarks that shape models are fitted to


def learned_config(method: str, options: Mapping[str, Any], seed: int) -> Any:
    """A learned method's frozen settings; `preset` names a set to start from.

    Raises:
        InputError: there is no such preset or option, or a value does not fit.
    """
    kind = load("method", method, CONFIGS)
    presets = importlib.import_module(CONFIGS[method][0].partition(":")[0]).PRESETS
    given = {"seed": seed, **options}
    preset = given.pop("preset", "default")
    if preset not in presets:
        raise unknown(f"{method} preset", str(preset), presets)
    fitted = fitted_options(f"method {method!r}", kind, given)
    return dataclasses.replace(presets[preset], **fitted)


def check_learned(method: str, config: Any, mining: MiningSettings, manifest: Manifest) -> None:
    """Refuse what a learned method cannot be told of this dataset.

    Raises:
        InputError: says what came, and what was expected.
        MissingBackendError: a package that the method needs is not installed.
    """
    load("method", method, LEARNED_METHODS)
    if method in SCORED:
        _check_scored(method, config, mining, manifest)
    else:
        _check_matrix(config, mining, manifest)


def check_devices(mining: MiningSettings, engine: EngineSettings) -> None:
    """Refuse a GPU that nobody reserved."""
    for method, options in mining.methods.items():
        asked = str(options.get("device", "cpu")) if method in LEARNED_METHODS else "cpu"
        if asked.startswith("cuda") and not engine.generator.gpus:
            raise InputError(
                f"{method}: device {asked} came and no GPU is reserved; expected "
                "--engine.generator.gpus 1 beside it, or device cpu."
            )


def gpus_of(config: Any, engine: EngineSettings) -> float:
    """The GPUs of a method's task: those of a generator, where it or its images run on one."""
    used = config.device != "cpu" or getattr(config, "chain", "") == "images"
    return engine.generator.gpus if used else 0.0


def conditions_of(config: Any, mining: MiningSettings) -> list[str]:
    """The attributes that a method which reads scores is conditioned on."""
    return list(config.attributes) or list(mining.attributes)


def _check_scored(method: str, config: Any, mining: MiningSettings, manifest: Manifest) -> None:
    from mining.methods.flow_network import backend

    backend()
    attributes, rows = conditions_of(config, mining), manifest.generator["num_ws"]
    for name, (_, last) in config.layers.items():
        if name not in attributes:
            raise unknown(f"{method}: layers are given to attribute", name, attributes)
        if last > rows:
            raise InputError(
                f"{method}: layers of {name} end at {last}; the generator has {rows} rows of W+."
            )
    columns = {field.name for field in manifest.fields}
    if getattr(config, "reading", "") == "within" and SEQUENCE not in columns:
        raise InputError(
            f"{method}: reading is 'within', and dataset {manifest.dataset_id} holds no sequences "
            "of one identity; expected 'ridge', or a dataset made with --dataset.sequences.length "
            "4, or another number above 1."
        )


def _check_matrix(config: Any, mining: MiningSettings, manifest: Manifest) -> None:
    rows = manifest.generator["num_ws"]
    if config.layers and config.layers[0] >= rows:  # of what goes further, the rest is left out
        raise InputError(
            f"direction_matrix: layers {list(config.layers)} came; "
            f"{manifest.generator['name']} has {rows} rows of W+."
        )
    if config.chain == "images":
        _check_images(config, manifest)
    else:
        _check_landmarks(mining.landmarks, manifest)
        known = parameters_of(config, manifest)
        for name in config.parameters:
            if name not in known:
                raise unknown("parameter of direction_matrix", name, known)
    _check_training(config, mining, manifest)


def _check_images(config: Any, manifest: Manifest) -> None:
    """Refuse images of what no gradient comes through."""
    from mining.methods.image_options import image_options

    told = image_options(config.images)
    if manifest.generator["load"] == "head":
        raise InputError(
            "direction_matrix: chain 'images' came, and no gradient comes through the images of "
            "the generator head; expected chain surrogate, which learns from the dataset."
        )
    _check_files(told)


def _check_files(options: ImageOptions) -> None:
    """Refuse networks and a shape model that are not where the settings say."""
    from mining.extractors.models import find_model
    from mining.methods.image_options import WHO
    from mining.shape3d.model_files import load_model

    for part in ("encoder", "identity", "perceptual"):
        network = getattr(options, part)
        if network is not None:
            find_model(f"{WHO}: {part}", network.file, sha256=network.sha256)
    shape = options.shape
    load_model(WHO, shape.file, shape.kind, shape.sha256, shape.reader)


def has_landmarks(column: str, manifest: Manifest) -> bool:
    """Whether a dataset has 68 landmarks under this name."""
    return any(each.name == column and each.shape == POINTS for each in manifest.fields)


def _check_landmarks(column: str, manifest: Manifest) -> None:
    fields = {field.name: field for field in manifest.fields}
    if column not in fields:
        raise unknown("landmark column", column, fields)
    if fields[column].shape != POINTS:
        raise InputError(
            f"direction_matrix: mining.landmarks {column!r} has shape {fields[column].shape}; "
            f"expected {POINTS}, as dlib's landmarks."
        )


def parameters_of(config: Any, manifest: Manifest) -> tuple[str, ...]:
    """The parameters that a matrix can have: of the extractor's codes, or of the shape model.

    Raises:
        InputError: there is no such extractor or shape model.
    """
    if config.source:
        return code_names(manifest, config.source)
    from mining.shape3d.expression_names import column_names
    from mining.shape3d.model_files import load_model

    who = "direction_matrix"
    told = (config.shape_model, config.shape_kind, None, dict(config.reader))
    said = load_model(who, *told).shape.expression_names[: config.expressions]
    return *POSE, *column_names(who, said, {*POSE, "expression", "identity"})


def _check_training(config: Any, mining: MiningSettings, manifest: Manifest) -> None:
    """Refuse trainings of what is not there, and what is there and of no use."""
    columns = {field.name for field in manifest.fields}
    if config.sequences:
        landmarks = "" if config.chain == "images" else mining.landmarks
        open_sequences(config.sequences, manifest, landmarks)
    elif config.training == "paired" and SEQUENCE not in columns:
        raise InputError(
            f"direction_matrix: training is 'paired', and dataset {manifest.dataset_id} holds no "
            "sequences of one identity; expected a dataset of some as option sequences."
        )
    if config.inverted:
        read_inverted(config.inverted, manifest)
    elif config.training == "mixed":
        raise InputError(
            "direction_matrix: training is 'mixed', and no latents of inverted images came; "
            "expected a dataset, or an .npy file of latents, as option inverted."
        )
