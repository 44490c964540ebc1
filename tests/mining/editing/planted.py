"""Small control models and embeddings made by hand, whose optima are known."""

from __future__ import annotations

import numpy as np

from mining.methods.control import ControlModel
from mining.methods.embedding import Embedding
from mining.methods.regressor import Regressor
from mining.methods.shape_model import ShapeModel

MODES, POINTS = 2, 12
CODES = 8 + MODES


def shape_model(rng: np.random.Generator) -> ShapeModel:
    """A random rigid shape of 12 points with two modes."""
    mean = 0.1 * rng.normal(size=(3, POINTS))
    basis = rng.normal(size=(MODES, POINTS))
    for rows in (mean, basis):
        rows -= rows.mean(axis=1, keepdims=True)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    modes = rng.normal(size=(MODES, 3))
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    return ShapeModel(mean, basis, modes, np.empty((0, CODES)), 0.0, 0.0, 0.0, 1.0, True)


def linear_regressor(rng: np.random.Generator, width: int) -> Regressor:
    """phi(w) = mean + spread * A w, A of singular values 1 to 3."""
    left, _, right = np.linalg.svd(rng.normal(size=(CODES, width)), full_matrices=False)
    matrix = left * np.linspace(1, 3, CODES) @ right
    mean = np.zeros(CODES)
    mean[[0, 2]], mean[-2:] = 1.0, 0.5
    spread = np.full(CODES, 0.1)
    spread[3:6] = 0.2
    # relu(x) - relu(-x) = x
    both, join = np.concatenate([matrix, -matrix]), np.eye(CODES)
    biases = (np.zeros(2 * CODES), np.zeros(CODES))
    return regressor((both, np.concatenate([join, -join], axis=1)), biases, mean, spread)


def regressor(weights, biases, mean, spread) -> Regressor:
    width = weights[0].shape[1]
    return Regressor(
        weights, biases, np.zeros(width), width**0.5, mean, spread, (), (), (), best_epoch=0
    )


def network(rng: np.random.Generator, width: int) -> Regressor:
    """A random network of two hidden layers, nearly smooth."""
    linear = linear_regressor(rng, width)
    sizes = (width, 200, 200, CODES)
    weights = tuple(
        rng.normal(size=(out, into)) * (2 / into) ** 0.5
        for into, out in zip(sizes, sizes[1:], strict=False)
    )
    biases = tuple(rng.normal(size=size) for size in sizes[1:])
    return regressor(weights, biases, linear.mean, linear.spread)


def control(regressor: Regressor, rng: np.random.Generator) -> ControlModel:
    return ControlModel(shape_model(rng), regressor)


def linear_embedding(matrix: np.ndarray) -> Embedding:
    """e(w) = A w."""
    numbers, width = matrix.shape
    return Embedding(
        (matrix,),
        (np.zeros(numbers),),
        np.zeros(width),
        width**0.5,
        np.zeros(numbers),
        np.ones(numbers),
        (),
        (),
        best_epoch=0,
        r2=1.0,
    )
