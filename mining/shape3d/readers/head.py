"""The embedded head generator's own basis as a shape model; it needs no file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.generators.head.model import head_model
from mining.generators.head.parameters import IDENTITY_NAMES, PARAMETERS, Parameter
from mining.shape3d.model import IBUG, ShapeModel
from schemas.errors import InputError

Array = NDArray[np.float64]
LICENCE = "Apache-2.0 (part of LatentLode)"
IDENTITY = (*(name for name in IDENTITY_NAMES if name != "lid_shape"), "age")
EXPRESSION = ("smile", "mouth_open", "eye_closed", "brow_raise", "frown", "pucker")


def read_head(path: str | Path | None = None) -> ShapeModel:
    """The head's template with its shapes, each in standard deviations of the generator's heads.

    A parameter v of the head, of mean m and standard deviation d over random latents, becomes the
    coefficient p = (v - m) / d: the model's mean is the head at m, its component d times the
    head's shape. `lid_shape` is drawn and moves nothing; hair is left out. The landmarks stand
    behind the mesh as 68 vertices of their own, since they lie between four vertices each, and
    since `eye_closed` draws the lids and moves no vertex of the mesh: it moves their landmarks
    along the surface, here on the straight line from the open to the shut eye.

    Raises:
        InputError: a file came; this model is part of the package.
    """
    if path is not None:
        raise InputError(
            f"shape model 'head': the file {path} came, and it reads none; leave the path out, or "
            "name the kind of the file's model."
        )
    return _head()


@lru_cache(maxsize=1)
def _head() -> ShapeModel:
    model = head_model()
    by_name = {parameter.name: parameter for parameter in PARAMETERS}
    moments = {name: population(by_name[name]) for name in (*IDENTITY, *EXPRESSION)}
    shapes = {
        name: shape.reshape(model.base.shape).astype(np.float64)
        for name, shape in zip(model.shape_names, model.shapes, strict=True)
        if name in moments
    }
    base = np.asarray(model.base, np.float64)
    base = base + sum(moments[name][0] * shape for name, shape in shapes.items())
    closed = moments["eye_closed"][0]

    def with_landmarks(vertices: Array) -> Array:
        """(3, rows, columns) -> (V, 3): the mesh, then its landmarks; linear in the vertices."""
        points = model.landmarks(vertices, closed)
        return np.concatenate([vertices.reshape(3, -1), points], axis=1).T

    mean = with_landmarks(base)
    components = {name: moments[name][1] * with_landmarks(shape) for name, shape in shapes.items()}
    lids = np.zeros_like(mean)
    lids[-IBUG:] = (model.landmarks(base, 1.0) - model.landmarks(base, 0.0)).T
    components["eye_closed"] = moments["eye_closed"][1] * lids
    identity = np.stack([components[name] for name in IDENTITY])
    expression = np.stack([components[name] for name in EXPRESSION])
    corners = np.repeat(len(mean) - IBUG + np.arange(IBUG)[:, None], 3, axis=1)
    weights = np.tile([1.0, 0.0, 0.0], (IBUG, 1))
    digest = hashlib.sha256()
    for array in (mean, identity, expression, corners, weights):
        # what is below a tenth of a micrometre depends on the machine
        digest.update(repr(array.shape).encode())
        digest.update((np.round(array, 4) + 0.0).astype("<f8").tobytes())
    return ShapeModel(
        "head",
        LICENCE,
        digest.hexdigest(),
        mean,
        identity,
        expression,
        corners.astype(np.int64),
        weights,
        EXPRESSION,
    )


def population(parameter: Parameter) -> tuple[float, float]:
    """Mean and standard deviation of a head's parameter over random latents.

    Its logit is standard normal by construction: Gauss-Hermite quadrature of `squash`.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    share = 1 / (1 + np.exp(-(parameter.slope * nodes + parameter.offset)))
    values = parameter.low + (parameter.high - parameter.low) * share
    mean = float(weights @ values)
    return mean, float(np.sqrt(weights @ (values - mean) ** 2))
