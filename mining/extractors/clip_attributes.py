"""Attributes that are told in words: how much rather CLIP sees one phrase in an image than another.

With unit features f of the image, p and n of the two phrases, and the model's scale s (about 100),
the logit of the pair is s (f.p - f.n), and 1 / (1 + exp(-logit)) its probability.
Source: Radford et al. (2021), doi:10.48550/arXiv.2103.00020, sections 2.3 and 3.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    FAILED,
    NOT_MEASURED,
    OK,
    Column,
    Measurement,
    check_images,
)
from mining.extractors.clip_folder import read_folder
from mining.extractors.clip_images import ClipModel, clip_pixels, shorter_edge, unit
from mining.extractors.crops import box_crop
from mining.extractors.models import licences
from schemas.errors import InputError

VERSION = "1"
Scale = Literal["logit", "probability"]
MOST_PHRASES = 500
MOST_TEMPLATES = 100
MOST_LETTERS = 300  # of a phrase in its template
RESERVED = ("status", "reason")


class ClipAttributes:
    """Scores pairs of phrases with a CLIP model from a folder on this machine.

    A batch goes through the model at once, so its arithmetic may round a result otherwise than
    alone, by some 1e-5 of a logit; the same batches give the same bytes.

    Args:
        model: the folder; see `clip_folder.py`. Nothing is ever downloaded.
        phrases: column -> what it grows with, and what it is held against:
            {"smile": ("a smiling face", "a serious face")}.
        templates: sentences around the phrases, each with one {}; their features are averaged.
        scale: "logit" has no ends, and so grows evenly along a direction; "probability" is a
            softmax over the two, and stands still near 0 and 1.
        source: an extractor with a column `box`: the model sees that; else the image's middle.
        margin: around the box, in lengths of its longer edge.
        device: cpu, cuda, auto or another of torch's.
        name: of the extractor and its columns.
        licence: of the weights, where the folder does not say.

    Raises:
        InputError: the folder holds no CLIP model, or an option does not fit.
    """

    fingerprint_tells_all = True

    def __init__(
        self,
        model: str,
        phrases: dict[str, tuple[str, str]],
        templates: tuple[str, ...] = ("a photo of {}.",),
        scale: Scale = "logit",
        source: str | None = None,
        margin: float = 0.25,
        device: str = "cpu",
        name: str = "clip_attributes",
        licence: str | None = None,
    ):
        check_options(phrases, templates, margin, name)
        from mining.generators.devices import device_model, pick_device

        self.name = name
        self.needs = () if source is None else (source,)
        self.reads = {each: ("box",) for each in self.needs}
        who, place = f"extractor {name!r}", pick_device(device)
        self._folder = read_folder(who, model, licence)
        self.models = (self._folder.weights,)
        self.licence = licences(self.models)
        self._scale, self._margin, self._device = scale, float(margin), device_model(place)
        self._phrases, self._templates = dict(phrases), tuple(templates)
        self._model = ClipModel(who, self._folder, place)
        self._axes = self._make_axes()
        self._model.drop_text()
        self.columns = {
            column: Column((), "1", self._text(*pair)) for column, pair in phrases.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 over the code, the libraries, the options, the folder and the kind of device."""
        import torch
        import transformers

        versions = [VERSION, torch.__version__, transformers.__version__, self._device]
        options = [self.name, self.needs, self._scale, self._margin, self._templates]
        words = json.dumps([*options, self._phrases], sort_keys=True)
        parts = [*versions, words, self._folder.content(), self._folder.weights.sha256]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB. Rows without a box upstream are not measured."""
        check_images(self.name, images)
        scores = np.full((len(images), len(self.columns)), np.nan, np.float32)
        seen = np.ones(len(images), bool)
        if self.needs:
            seen = np.asarray(earlier[self.needs[0]].measured(), bool)
        if seen.any():
            pixels = clip_pixels(self._crops(images, earlier, seen), self._folder)
            scores[seen] = self._scores(self._model.images(pixels))
        finite = np.asarray(np.isfinite(scores).all(axis=1), bool)
        status = [
            (OK if good else FAILED) if found else NOT_MEASURED
            for found, good in zip(seen, finite, strict=True)
        ]
        lost = np.flatnonzero(seen & ~finite).tolist()
        scores[lost] = np.nan
        values = {name: scores[:, k].copy() for k, name in enumerate(self.columns)}
        reasons = dict.fromkeys(lost, "the model's features are not finite")
        return Measurement(tuple(status), values, reasons)

    def _make_axes(self) -> NDArray[np.float64]:
        """(K, D): scale times positive minus negative, of each pair.

        A phrase's feature is the mean over the templates of unit features, at length 1.
        """
        pairs = list(self._phrases.values())
        phrases = list(dict.fromkeys(phrase for pair in pairs for phrase in pair))
        filled = [each.replace("{}", phrase) for phrase in phrases for each in self._templates]
        features = self._model.phrases(filled).reshape(len(phrases), len(self._templates), -1)
        means = dict(zip(phrases, unit(features.mean(axis=1)), strict=True))
        axes = np.stack([means[positive] - means[negative] for positive, negative in pairs])
        if not np.isfinite(axes).all():
            raise InputError(f"extractor {self.name!r}: the model's text features are not finite.")
        return self._model.scale * axes

    def _crops(
        self,
        images: NDArray[np.uint8],
        earlier: Mapping[str, Measurement],
        seen: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        edge = self._model.edge
        if not self.needs:
            return shorter_edge(images, edge)
        found = earlier[self.needs[0]].values.get("box")
        if found is None or found.shape[1:] != (4,):
            raise InputError(f"{self.name}: {self.needs[0]} has no column 'box' of 4 numbers.")
        size, rows = (edge, edge), np.flatnonzero(seen)
        cut = [box_crop(images[k], found[k], size, self._margin, "bicubic") for k in rows]
        return np.stack(cut)

    def _scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, D) -> (N, K)."""
        # one sum per number: a product of matrices would round by the size of the batch
        logits = np.einsum("nd,kd->nk", features, self._axes)
        return logits if self._scale == "logit" else 0.5 * (1 + np.tanh(0.5 * logits))

    def _text(self, positive: str, negative: str) -> str:
        what = {
            "logit": f"{self._model.scale:.4g} times the difference of CLIP's cosine similarities",
            "probability": "CLIP's probability, a softmax over the two",
        }
        return f"{positive!r} rather than {negative!r}: {what[self._scale]}"


def check_options(
    phrases: Mapping[str, tuple[str, str]], templates: tuple[str, ...], margin: float, name: str
) -> None:
    """Raise InputError unless they fit."""
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", name):
        raise InputError(
            f"extractor name {name!r} came; expected lower-case letters, digits and _, such as "
            "'clip'."
        )
    who = f"extractor {name!r}"
    if not 1 <= len(phrases) <= MOST_PHRASES or not 1 <= len(templates) <= MOST_TEMPLATES:
        raise InputError(
            f"{who}: {len(phrases)} pairs of phrases and {len(templates)} templates came; expected "
            f"1..{MOST_PHRASES} and 1..{MOST_TEMPLATES}."
        )
    for column in phrases:
        if not re.fullmatch("[A-Za-z0-9_]{1,60}", column) or column in RESERVED:
            raise InputError(
                f"{who}: phrases has the column {column[:80]!r}; expected letters, digits and _, "
                f"and neither of {', '.join(RESERVED)}."
            )
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(
                f"{who}: the template {template[:80]!r} came; expected one {{}} in it."
            )
    longest = max(map(len, templates))
    for column, pair in phrases.items():
        for phrase in pair:
            if not phrase.strip() or not phrase.isprintable():
                raise InputError(f"{who}: {column} has the phrase {phrase[:80]!r}; expected words.")
            if len(phrase) + longest > MOST_LETTERS:
                raise InputError(
                    f"{who}: a phrase of {column} has more than {MOST_LETTERS} letters."
                )
        if pair[0] == pair[1]:
            raise InputError(f"{who}: {column} holds {pair[0]!r} against itself.")
    if not -0.5 < margin <= 3:
        raise InputError(f"{who}: margin {margin} came; expected more than -0.5, up to 3.")
