"""The mining methods by name. To add one: write its file, add its lines here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mining.methods.base import Direction
from schemas.registry import Registry, load

SCORE_METHODS: Registry = {
    # mine(latents (N, D), scores (N,), config) -> Direction
    # name: (module:function, pip extra that it needs)
    "ridge": ("mining.methods.ridge:mine_ridge", ""),
    "svm": ("mining.methods.svm:mine_svm", ""),
}

CONTROL_METHODS: Registry = {
    # mine(control, latents (N, D), scores (N,), config) -> Direction
    "nrsfm": ("mining.methods.controlled:mine_nrsfm", ""),
    "robust_pca": ("mining.methods.micromotion:mine_micromotion", ""),
}

CONFIGS: Registry = {
    "ridge": ("mining.methods.ridge:RidgeConfig", ""),
    "svm": ("mining.methods.svm:SvmConfig", ""),
    "nrsfm": ("mining.methods.controlled:ControlledConfig", ""),
    "robust_pca": ("mining.methods.micromotion:MicromotionConfig", ""),
}

METHODS: Registry = {**SCORE_METHODS, **CONTROL_METHODS}


def load_method(name: str) -> Callable[..., Direction]:
    """The function of the method `name`; `needs_control` tells its call form."""
    return load("method", name, METHODS)


def make_config(name: str, **settings: Any) -> Any:
    """The settings of the method `name`, its defaults where nothing is given."""
    return load("method", name, CONFIGS)(**settings)


def needs_control(name: str) -> bool:
    """Whether the method takes a fitted control model before latents and scores."""
    load_method(name)
    return name in CONTROL_METHODS
