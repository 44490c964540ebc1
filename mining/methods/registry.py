"""The mining methods by name. To add one: write its file, add its lines here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.registry import Registry, load

SCORE_METHODS: Registry = {
    # mine(latents (N, D), scores (N,), config) -> Direction
    # name: (module:function, pip extra that it needs)
    "ridge": ("mining.methods.ridge:mine_ridge", ""),
    "svm": ("mining.methods.svm:mine_svm", ""),
    "logistic": ("mining.methods.logistic:mine_logistic", ""),
    "lda": ("mining.methods.lda:mine_lda", ""),
    "random": ("mining.methods.random_direction:mine_random", ""),  # the control
}

DRAWN = frozenset({"random"})  # by a seed, whatever the rows: steady, and worth nothing

CONTROL_METHODS: Registry = {
    # mine(control, latents (N, D), scores (N,), config) -> Direction
    "nrsfm": ("mining.methods.controlled:mine_nrsfm", ""),
    "robust_pca": ("mining.methods.micromotion:mine_micromotion", ""),
}

CODE_METHODS: Registry = {
    # mine(control, latents (N, D), config) -> list[Direction]
    "codes": ("mining.methods.codes:mine_codes", ""),
}

LATENT_METHODS: Registry = {
    # mine(latents (N, w_dim), config) -> list[Direction]
    "pca": ("mining.methods.pca:mine_pca", ""),
}

WEIGHT_METHODS: Registry = {
    # mine(style weights, their rows of W+, config) -> list[Direction]
    "sefa": ("mining.methods.sefa:mine_sefa", ""),
}

LEARNED_METHODS: Registry = {
    # mine(rows, config, start, keep) -> Learned: see mining/methods/learned.py
    "direction_matrix": ("mining.methods.direction_matrix:mine_direction_matrix", ""),
    "attribute_flow": ("mining.methods.attribute_flow:mine_attribute_flow", "flow"),
}

SCORED = frozenset({"attribute_flow"})  # learned methods that read attributes; others read faces

CONFIGS: Registry = {
    "ridge": ("mining.methods.ridge:RidgeConfig", ""),
    "svm": ("mining.methods.svm:SvmConfig", ""),
    "logistic": ("mining.methods.logistic:LogisticConfig", ""),
    "lda": ("mining.methods.lda:LdaConfig", ""),
    "random": ("mining.methods.random_direction:RandomConfig", ""),
    "nrsfm": ("mining.methods.controlled:ControlledConfig", ""),
    "robust_pca": ("mining.methods.micromotion:MicromotionConfig", ""),
    "codes": ("mining.methods.codes:CodesConfig", ""),
    "pca": ("mining.methods.pca:PcaConfig", ""),
    "sefa": ("mining.methods.sefa:SefaConfig", ""),
    "direction_matrix": ("mining.methods.matrix_config:MatrixConfig", ""),
    "attribute_flow": ("mining.methods.flow_config:FlowConfig", ""),
}

SUPERVISED_METHODS: Registry = {**SCORE_METHODS, **CONTROL_METHODS}
UNSUPERVISED_METHODS: Registry = {**LATENT_METHODS, **WEIGHT_METHODS}
METHODS: Registry = {
    **SUPERVISED_METHODS,
    **CODE_METHODS,
    **UNSUPERVISED_METHODS,
    **LEARNED_METHODS,
}


def load_method(name: str) -> Callable[..., Any]:
    """The function of the method `name`; the registry that lists it tells its call form."""
    return load("method", name, METHODS)


def make_config(name: str, **settings: Any) -> Any:
    """The settings of the method `name`, its defaults where nothing is given."""
    return load("method", name, CONFIGS)(**settings)


def needs_control(name: str) -> bool:
    """Whether the method takes a fitted control model before what else it reads."""
    load_method(name)
    return name in CONTROL_METHODS or name in CODE_METHODS
