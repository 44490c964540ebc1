"""Settings of the chain through images: which networks are read, and from which files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mining.methods.base import check_whole
from schemas.errors import InputError
from schemas.registry import Registry, build

WHO = "chain of images"
WAYS = ("auto", "landmarks", "ffhq", "whole")  # crops by name
MOST_PIXELS = 4096  # of a network's edge
MOST_BEYOND = 2.0  # images that a crop may reach beyond the image
Crop = Literal["auto", "landmarks", "ffhq", "whole"] | tuple[float, float, float, float]


@dataclass(frozen=True)
class EncoderOptions:
    """The network that reads pose, expression and identity from a crop of the face."""

    file: str  # a path or URL
    kind: Literal["deca", "torchscript"] = "deca"
    sha256: str | None = None
    crop: Crop = "auto"  # one of WAYS, or left, top, right, bottom as fractions of the image
    size: int = 224  # pixels that a TorchScript file reads; DECA reads 224
    span: tuple[float, float] = (0.0, 1.0)  # its numbers for black and white; DECA's are these
    jaw: bool | None = None  # a TorchScript file gives a jaw behind the angles; None: DECA's alone


@dataclass(frozen=True)
class ShapeOptions:
    """The linear shape model that the encoder's codes belong to."""

    file: str = "head"  # a path or URL; "head" is the embedded generator's own basis
    kind: Literal["head", "bfm", "flame", "surrey"] = "head"
    sha256: str | None = None
    reader: dict[str, Any] = field(default_factory=dict)  # options of that kind's reader
    identities: int = 100  # at most, the first ones
    expressions: int = 12  # m_e, at most, the first ones


@dataclass(frozen=True)
class NetworkOptions:
    """A network that compares two images: a face embedding, or a perceptual distance."""

    file: str
    sha256: str | None = None
    size: int | None = None  # pixels that a TorchScript file reads; None: 112, or 256 for LPIPS
    crop: Crop | None = None  # None: the face for an embedding, the whole image for LPIPS


@dataclass(frozen=True)
class ImageOptions:
    """Settings of `make_image_chain`."""

    encoder: EncoderOptions
    shape: ShapeOptions = ShapeOptions()
    identity: NetworkOptions | None = None  # ArcFace (.onnx), or any embedding as TorchScript
    perceptual: NetworkOptions | None = None  # LPIPS as TorchScript
    pixels: int = 128  # edge of the small images of the pixel loss
    condition: tuple[float, ...] | None = None  # of all images, where the generator takes one
    batch: int = 16  # images made at once where no gradients are kept


PARTS: Registry = {
    name: (f"{__name__}:{kind}", "")
    for name, kind in {
        "encoder": "EncoderOptions",
        "shape": "ShapeOptions",
        "identity": "NetworkOptions",
        "perceptual": "NetworkOptions",
        "images": "ImageOptions",
    }.items()
}


def image_options(options: Mapping[str, Any]) -> ImageOptions:
    """The settings as YAML has them: a mapping with one more mapping for each network.

    Raises:
        InputError: an option is unknown, missing, or does not fit. No file is read.
    """
    told = dict(options)
    if not isinstance(told.get("encoder"), Mapping):
        raise InputError(
            f"{WHO}: encoder {told.get('encoder')!r} came; expected the network that reads pose "
            "and expression, such as encoder: {file: deca_model.tar}, and beside it shape: "
            "{file: generic_model.pkl, kind: flame, reader: {landmarks: landmark_embedding.npy}}."
        )
    for part in ("encoder", "shape", "identity", "perceptual"):
        if told.get(part) is None:
            told.pop(part, None)
        elif not isinstance(told[part], Mapping):
            raise InputError(
                f"{WHO}: {part} {told[part]!r} came; expected a mapping: {part}: {{file: PATH}}."
            )
        else:
            told[part] = build(WHO, part, PARTS, told[part])
    made = build(WHO, "images", PARTS, told)
    _check(made)
    return made


def _check(options: ImageOptions) -> None:
    """InputError for the first setting that is out of its range."""
    encoder, shape = options.encoder, options.shape
    parts = {"identity": options.identity, "perceptual": options.perceptual}
    sizes = {"encoder.size": encoder.size, "pixels": options.pixels}
    crops: dict[str, Crop | None] = {"encoder": encoder.crop}
    for part, network in parts.items():
        if network is not None:
            sizes[f"{part}.size"] = 1 if network.size is None else network.size
            crops[part] = network.crop
    told = options.identity
    if told is not None and told.file.lower().endswith(".onnx") and told.size is not None:
        raise InputError(
            f"{WHO}: identity.size {told.size} came with {told.file}; an ONNX file says its size "
            "itself. Leave it out."
        )
    for name, value in sizes.items():
        if not 1 <= value <= MOST_PIXELS:
            raise InputError(f"{WHO}: {name} is {value}, expected 1 to {MOST_PIXELS} pixels.")
    for name, crop in crops.items():
        if isinstance(crop, tuple):
            check_box(name, crop)
    if not (np.isfinite(encoder.span).all() and encoder.span[0] != encoder.span[1]):
        raise InputError(f"{WHO}: encoder.span {encoder.span} came; expected two that differ.")
    if encoder.kind == "deca" and (shape.kind != "flame" or encoder.size != 224):
        raise InputError(
            f"{WHO}: shape.kind {shape.kind!r} and encoder.size {encoder.size} came with DECA; its "
            "codes are FLAME's and it reads 224 pixels: shape: {file: generic_model.pkl, kind: "
            "flame, reader: {landmarks: landmark_embedding.npy}}."
        )
    if encoder.jaw and shape.kind != "flame":
        raise InputError(
            f"{WHO}: encoder.jaw came with shape.kind {shape.kind!r}; FLAME alone says how a jaw "
            "turns. Expected kind: flame, or jaw: false."
        )
    if shape.kind != "head" and shape.file == "head":
        raise InputError(
            f"{WHO}: shape.kind {shape.kind!r} came without a file; expected shape: {{file: PATH, "
            f"kind: {shape.kind}}}."
        )
    check_whole(WHO, 1, expressions=shape.expressions, batch=options.batch)
    check_whole(WHO, 0, identities=shape.identities)
    if options.condition is not None and not np.isfinite(options.condition).all():
        raise InputError(f"{WHO}: condition holds NaN or infinity; expected finite numbers.")


def check_box(name: str, box: tuple[float, ...]) -> None:
    """Raise InputError unless it is left < right, top < bottom, near the image."""
    left, top, right, bottom = box
    if not (-MOST_BEYOND <= left < right <= 1 + MOST_BEYOND) or not (
        -MOST_BEYOND <= top < bottom <= 1 + MOST_BEYOND
    ):
        raise InputError(
            f"{WHO}: {name}.crop {list(box)} came; expected [left, top, right, bottom] as "
            f"fractions of the image, left < right and top < bottom; or one of {', '.join(WAYS)}."
        )
