"""Pose, expression and identity of a linear 3D shape model that explains 68 landmarks best."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import NO_POSE, NOT_MEASURED, OK, Column, Measurement
from mining.extractors.geometry import POSE
from mining.shape3d.expression_names import column_names
from mining.shape3d.fit import Fit, FitConfig, Fitter
from mining.shape3d.model import DEVIATIONS, IBUG
from mining.shape3d.model_files import EMBEDDED, load_model
from mining.shape3d.readers.checks import MOST_COMPONENTS
from schemas.errors import InputError

VERSION = "2"  # another one where this file, the fit or a reader gives other numbers
NAME = "shape3d"
POINTS = ("landmarks_68", "landmarks")  # the columns of 68 landmarks, the first that is there


class Shape3d:
    """Fits a linear shape model, its pose and its scale to the landmarks of another extractor.

    A row is `no_pose` where no face of the model explains its landmarks, or where the fit did not
    settle within its steps, which the reason then says. With the options' defaults that happened
    to none of 300 heads seen by dlib, and to none of 8,000 faces of known pose with 0 or 3 mm of
    noise. It happens where `noise` is far below the landmarks' own: to 1 % of faces at 0.5 where
    it is 3, and to all 11 of 10,000 rows of random points that a face would explain at 0.5.

    Args:
        source: the extractor whose 68 landmarks are read: its column `landmarks_68`, or
            `landmarks` where it has no such column.
        model: "head", the embedded generator's own basis, or a shape model's file: path or URL.
        model_kind: what the file is.
        reader: further options of that kind's reader. Those that name files are paths or URLs, and
            take checksums: {"blendshapes": ..., "blendshapes_sha256": ...}.
        identities, expressions: how many components are fitted, at most: the first ones.
        focal: of the camera, in image widths; 4.26 is that of EG3D's FFHQ crops. None is weak
            perspective.
        regularisation: of the coefficients; 1 holds them to the model's own population, less lets
            them go further. Blendshapes are held as if 1, the full expression, were a deviation.
        noise: mm on the head, the landmarks' standard deviation.
        sha256: that the model's file must have.
        name: the columns' prefix, so that two may stand in one dataset: `shape3d` and
            `shape3d@mesh: {name: mesh3d, source: mediapipe}`.
    """

    fingerprint_tells_all = True
    reads_pixels = False

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
        sha256: str | None = None,
        name: str = NAME,
    ):
        if not re.fullmatch("[a-z][a-z0-9_]{0,63}", str(name)):
            raise InputError(
                f"extractor {NAME!r}: name {str(name)[:80]!r} came; expected a letter, then "
                "letters, digits and _, all small, at most 64."
            )
        self.name, self._who = name, f"extractor {name!r}"
        for option, count in (("identities", identities), ("expressions", expressions)):
            if type(count) is not int or not 0 <= count <= MOST_COMPONENTS:
                raise InputError(
                    f"{self._who}: {option} {count!r} came; expected 0, 1, 2 ... {MOST_COMPONENTS}."
                )
        self.needs = (source,)
        self.reads: Mapping[str, tuple[str, ...]] = {source: POINTS}  # one of them, (68, 2)
        self._config = FitConfig(
            focal=None if focal is None else float(focal),
            noise=float(noise),
            regularisation=float(regularisation),
        )
        loaded = load_model(self._who, model, model_kind, sha256, reader or {})
        shape = loaded.shape
        self.licence = shape.licence
        self.models = tuple(loaded.files.values())
        self._model = loaded.identity()
        self._kept = (identities, expressions)
        sparse = shape.landmarks(identities, expressions)
        self._fitter = Fitter(sparse, self._config)
        sizes, unit = (len(sparse.identity), len(sparse.expression)), shape.expression_unit
        own = columns(*sizes, unit)
        said = shape.expression_names[:expressions]
        self._names = column_names(self._who, said, {*own, *POSE, "expression", "identity"})
        self.columns = {**own, **named_columns(self._names, said, unit)}

    def fingerprint(self) -> str:
        """SHA-256 over the code version, the settings and every file that was read."""
        told = (
            *(VERSION, self.name, self.needs, self._config, self._model, self._kept),
            tuple((name, column.unit) for name, column in self.columns.items()),
        )
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3), of which only the proportions are read.

        A row depends on its own landmarks alone, to the last bit on one machine.

        Raises:
            InputError: the source has no 68 landmarks.
        """
        source = earlier[self.needs[0]]
        rows = np.flatnonzero(source.measured())
        points = landmarks_of(self.needs[0], source, self._who)
        fit = self._fitter.fit(points[rows], images.shape[1] / images.shape[2])
        kept = fit.good & fit.converged
        status = np.full(len(images), NOT_MEASURED, object)
        status[rows] = np.where(kept, OK, NO_POSE)
        why = f"the fit did not settle in {self._config.iterations} steps"
        reasons = dict.fromkeys(rows[fit.good & ~kept].tolist(), why)
        found = self._values(fit)
        values = {}
        for name, column in self.columns.items():
            values[name] = np.full((len(images), *column.shape), np.nan, np.float32)
            values[name][rows[kept]] = found[name][kept]
        return Measurement(tuple(status.tolist()), values, reasons)

    def _values(self, fit: Fit) -> dict[str, NDArray[Any]]:
        """A fit by column."""
        return {
            **{name: fit.expression[:, k] for k, name in enumerate(self._names)},
            **{name: fit.angles[:, k] for k, name in enumerate(POSE)},
            "expression": fit.expression,
            "identity": fit.identity,
            "scale": fit.pose.scale,
            "position": fit.pose.position,
            "residual": fit.residual,
        }


def landmarks_of(
    name: str, source: Measurement, who: str = f"extractor {NAME!r}"
) -> NDArray[np.float64]:
    """(N, 68, 2) what the extractor `name` says of 68 landmarks.

    Raises:
        InputError: it has no such column.
    """
    for column in POINTS:
        if column in source.values and source.values[column].shape[1:] == (IBUG, 2):
            return np.asarray(source.values[column], np.float64)
    raise InputError(
        f"{who}: {name!r} has no column {' or '.join(POINTS)} of 68 points; its columns: "
        f"{', '.join(source.values)}. Name another source."
    )


def columns(identities: int, expressions: int, unit: str) -> dict[str, Column]:
    """What a model of these sizes gives, without its named expressions."""
    coefficients = {
        "expression": Column((expressions,), unit, "coefficients of expression, p_e"),
        "identity": Column((identities,), DEVIATIONS, "coefficients of identity, p_i"),
    }
    return {
        **{name: Column((), "degrees", text) for name, text in POSE.items()},
        **{name: column for name, column in coefficients.items() if column.shape != (0,)},
        "scale": Column((), "image widths per mm", "at the depth of the shape model's origin"),
        "position": Column((2,), "fraction of the image", "where the shape model's origin lands"),
        "residual": Column(
            (),
            "eye distances",
            "root mean square distance of landmarks and model, over that of its outer eye corners",
        ),
    }


def named_columns(names: tuple[str, ...], said: tuple[str, ...], unit: str) -> dict[str, Column]:
    """Each named expression as a column of its own, and what the model's file calls it."""
    return {
        name: Column((), unit, f"the shape model's expression {text[:80]!r}")
        for name, text in zip(names, said, strict=True)
    }
