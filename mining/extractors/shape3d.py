"""Pose, expression and identity of a linear 3D shape model that explains 68 landmarks best."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import NO_POSE, NOT_MEASURED, OK, Column, Measurement
from mining.extractors.geometry import POSE
from mining.extractors.models import Model, find_model
from mining.shape3d.fit import Fit, FitConfig, Fitter
from mining.shape3d.model import IBUG, ShapeModel
from mining.shape3d.readers import READERS
from schemas.errors import InputError, RunError
from schemas.registry import build

VERSION = "1"
WHO = "extractor 'shape3d'"
EMBEDDED = "head"  # the model that needs no file
POINTS = ("landmarks_68", "landmarks")  # the columns of 68 landmarks, the first that is there
DEVIATIONS = "standard deviations"  # of the shape model's own population


class Shape3d:
    """Fits a linear shape model, its pose and its scale to the landmarks of another extractor.

    Args:
        source: the extractor whose 68 landmarks are read: its column `landmarks_68`, or
            `landmarks` where it has no such column.
        model: "head", the embedded generator's own basis, or the file of a shape model.
        model_kind: what the file is.
        reader: further options of that kind's reader, such as a file of landmarks.
        identities, expressions: how many components are fitted, at most: the first ones.
        focal: of the camera, in image widths; 4.26 is that of EG3D's FFHQ crops. None is weak
            perspective.
        regularisation: of the coefficients; 1 holds them to the model's own population, less lets
            them go further.
        noise: mm on the head, the landmarks' standard deviation.
    """

    name = "shape3d"
    fingerprint_tells_all = True

    def __init__(
        self,
        source: str = "dlib",
        model: str = EMBEDDED,
        model_kind: Literal["head", "bfm", "flame", "surrey"] = "head",
        reader: dict[str, Any] | None = None,
        identities: int = 40,
        expressions: int = 12,
        focal: float | None = 4.26,
        regularisation: float = 1.0,
        noise: float = 3.0,
    ):
        for option, count in (("identities", identities), ("expressions", expressions)):
            if type(count) is not int or count < 0:
                raise InputError(f"{WHO}: {option} {count!r} came; expected 0, 1, 2 ...")
        self.needs = (source,)
        self._config = FitConfig(
            focal=None if focal is None else float(focal),
            noise=float(noise),
            regularisation=float(regularisation),
        )
        shape, self.models = read_model(model, model_kind, reader or {})
        self.licence = shape.licence
        self._sha256 = shape.sha256
        self._kept = (identities, expressions)
        self._names = shape.expression_names[:expressions]
        sparse = shape.landmarks(identities, expressions)
        self._fitter = Fitter(sparse, self._config)
        self.columns = columns(len(sparse.identity), len(sparse.expression), self._names)

    def fingerprint(self) -> str:
        """SHA-256 over the code version, the settings and the shape model's numbers."""
        told = (VERSION, self.needs, self._config, self._sha256, self._kept)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3), of which only the proportions are read.

        A row depends on its own landmarks alone, to the last bit on one machine.
        """
        source = earlier[self.needs[0]]
        measured = source.measured()
        points = landmarks_of(self.needs[0], source)
        fit = self._fitter.fit(points[measured], images.shape[1] / images.shape[2])
        status = np.full(len(images), NOT_MEASURED, object)
        status[measured] = np.where(fit.good, OK, NO_POSE)
        values = {
            name: np.full((len(images), *column.shape), np.nan, np.float32)
            for name, column in self.columns.items()
        }
        found = self._values(fit)
        for name, column in values.items():
            column[measured] = found[name]
        return Measurement(tuple(status.tolist()), values)

    def _values(self, fit: Fit) -> dict[str, NDArray[Any]]:
        """A fit by column."""
        return {
            **{name: fit.angles[:, k] for k, name in enumerate(POSE)},
            **{name: fit.expression[:, k] for k, name in enumerate(self._names)},
            "expression": fit.expression,
            "identity": fit.identity,
            "scale": fit.pose.scale,
            "position": fit.pose.position,
            "residual": fit.residual,
        }


def read_model(
    model: str, kind: str, options: Mapping[str, Any]
) -> tuple[ShapeModel, tuple[Model, ...]]:
    """A shape model, and the file behind it where there is one.

    Raises:
        InputError: kind and file do not go together, or the file is no such model.
    """
    if (kind == EMBEDDED) != (model == EMBEDDED):
        others = ", ".join(name for name in READERS if name != EMBEDDED)
        raise InputError(
            f"{WHO}: model {model!r} of the kind {kind!r} came; expected model 'head' of the kind "
            f"'head', or a file and which of {others} it is."
        )
    if kind == EMBEDDED:
        return build("shape model", kind, READERS, options), ()
    found = find_model(WHO, model)
    shape: ShapeModel = build("shape model", kind, READERS, {**options, "path": found.path})
    return shape, (replace(found, licence=shape.licence),)


def landmarks_of(who: str, source: Measurement) -> NDArray[np.float64]:
    """(N, 68, 2) what an extractor says of 68 landmarks.

    Raises:
        RunError: it has no such column.
    """
    for column in POINTS:
        if column in source.values and source.values[column].shape[1:] == (IBUG, 2):
            return np.asarray(source.values[column], np.float64)
    raise RunError(
        f"{WHO}: {who!r} has no column {' or '.join(POINTS)} of 68 points; its columns: "
        f"{', '.join(source.values)}."
    )


def columns(identities: int, expressions: int, names: tuple[str, ...]) -> dict[str, Column]:
    """What a model of these sizes gives; each named expression is a column of its own as well."""
    coefficients = {
        "expression": Column((expressions,), DEVIATIONS, "coefficients of expression, p_e"),
        "identity": Column((identities,), DEVIATIONS, "coefficients of identity, p_i"),
    }
    return {
        **{name: Column((), "degrees", text) for name, text in POSE.items()},
        **{
            name: Column((), DEVIATIONS, f"the shape model's expression {name!r}") for name in names
        },
        **{name: column for name, column in coefficients.items() if column.shape != (0,)},
        "scale": Column((), "image widths per mm", "at the depth of the shape model's origin"),
        "position": Column((2,), "fraction of the image", "where the shape model's origin lands"),
        "residual": Column(
            (),
            "eye distances",
            "root mean square distance of landmarks and model, over that of its outer eye corners",
        ),
    }
