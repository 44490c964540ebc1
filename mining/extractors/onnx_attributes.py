"""Attributes from any ONNX classifier or regressor that a small YAML file describes.

See `onnx_description.py` for what the file may say. A classifier of two attributes:

    name: wears                   # the columns are wears_glasses and wears_beard
    licence: MIT
    model: wears.onnx             # beside this file, or a URL with its sha256
    input: {size: 64, range: [-1, 1]}
    crop: {kind: box, source: dlib, margin: 0.3}
    outputs:
      - activation: sigmoid
        columns: [glasses, beard]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    FAILED,
    NOT_MEASURED,
    OK,
    Column,
    Measurement,
    check_images,
    checked_name,
)
from mining.extractors.crops import Array, Way, box_crop, middle_crop, similarity, warped
from mining.extractors.models import find_model, licences
from mining.extractors.onnx_description import (
    GREY,
    Bins,
    Crop,
    Input,
    Output,
)
from mining.extractors.onnx_description_file import (
    model_source,
    read_description,
    refuse_unpinned,
)
from mining.extractors.onnx_session import Provider, gpu_model, open_session
from mining.extractors.onnx_signature import check_numbers, output_name, rowwise, signature
from schemas.errors import InputError

VERSION = "1"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, which OpenCV and Pillow turn colours to grey with
Floats = NDArray[np.floating]


class OnnxAttributes:
    """Runs one described model; its columns are "<the description's name>_<column>".

    A batch is one call of the model, so its arithmetic may round a result otherwise than alone, by
    some 1e-6 of the output's scale; the same batches give the same bytes.

    Args:
        description: path or URL of the YAML file.
        model: path or URL of the ONNX file, in place of the description's.
        sha256: of the ONNX file, in place of the description's; a URL needs one of them.
        description_sha256: of the YAML file.
        provider: cpu or cuda.
        name: of the extractor and its columns, in place of the description's.

    Raises:
        InputError: the description does not fit, or the model does not do what it says.
        CorruptDataError: a file has another checksum.
    """

    fingerprint_tells_all = True

    def __init__(
        self,
        description: str,
        model: str | None = None,
        provider: Provider = "cpu",
        name: str | None = None,
        sha256: str | None = None,
        description_sha256: str | None = None,
    ):
        about = read_description("extractor 'onnx_attributes'", description, description_sha256)
        self.name = checked_name(name) if name is not None else about.name
        who = f"extractor {self.name!r}"
        source = model or model_source(about, description, who)
        pinned = about.sha256 if sha256 is None else sha256
        refuse_unpinned(source, pinned, who)
        self._model = find_model(who, source, sha256=pinned, licence=about.licence)
        self.models = (self._model,)
        self.licence = licences(self.models)
        self.needs = () if about.crop.source is None else (about.crop.source,)
        self.reads = {source: (about.crop.read,) for source in self.needs}
        self._about, self._provider = about, provider
        self._session = open_session(who, self._model, provider)
        self._signature = signature(who, self._session, about.input)
        names = [node.name for node in self._session.get_outputs()]
        self._outputs = [output_name(who, output, names) for output in about.outputs]
        self._check_outputs(who)
        self.columns = {
            column: Column((), part.unit or output.unit, part.text or default_text(output, column))
            for output in about.outputs
            for column, part in output.columns.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 over the code, the description, the model, the libraries and the GPU."""
        import onnxruntime
        import torch

        parts = [VERSION, onnxruntime.__version__, torch.__version__, self._provider, self.name]
        parts += [self._about.content(), self._model.sha256]
        parts += gpu_model(f"extractor {self.name!r}", self._provider)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB. Rows without a face in the crop's source are not measured."""
        check_images(self.name, images)
        values = {name: np.full(len(images), np.nan, np.float32) for name in self.columns}
        source = earlier[self.needs[0]] if self.needs else None
        seen = np.ones(len(images), bool) if source is None else source.measured()
        status = [OK if found else NOT_MEASURED for found in seen]
        reasons: dict[int, str] = {}
        if seen.any():
            given = self._about.input
            crops = cut_out(self.name, self._about.crop, images, source, given.size, given.resize)
            found = self._measure(as_input(crops, given, self._signature.dtype))
            finite = np.isfinite(np.stack(list(found.values()))).all(axis=0)
            for row in np.flatnonzero(seen)[~finite]:
                status[row], reasons[int(row)] = FAILED, "the model's output is not finite"
            for name, value in found.items():
                values[name][np.flatnonzero(seen)[finite]] = value[finite]
        return Measurement(tuple(status), values, reasons)

    def _measure(self, tensor: Floats) -> dict[str, Floats]:
        """(N, ...) as the model wants it -> column -> (N,)."""
        made = self._run(tensor)
        found: dict[str, Floats] = {}
        for output, name in zip(self._about.outputs, self._outputs, strict=True):
            found |= activated(output, made[name])
        return found

    def _run(self, tensor: Floats) -> dict[str, Floats]:
        """Output name -> (N, numbers) float64; a model of fixed batches gets its own, filled up."""
        wanted = list(dict.fromkeys(self._outputs))
        batch = self._signature.batch or len(tensor)
        parts: list[list[Floats]] = []
        for start in range(0, len(tensor), batch):
            rows = tensor[start : start + batch]
            filled = np.zeros((batch, *rows.shape[1:]), rows.dtype) if len(rows) < batch else rows
            filled[: len(rows)] = rows
            made = self._session.run(wanted, {self._signature.name: filled})
            parts.append(
                [rowwise(name, value, batch) for name, value in zip(wanted, made, strict=True)]
            )
            parts[-1] = [value[: len(rows)] for value in parts[-1]]
        return {name: np.concatenate([part[k] for part in parts]) for k, name in enumerate(wanted)}

    def _check_outputs(self, who: str) -> None:
        """Run the model once on black images, so that what does not fit is told at the start.

        Raises:
            InputError: it cannot run, or an output has too few numbers for its columns.
        """
        batch, given = self._signature.batch or 2, self._about.input
        black = np.zeros((batch, given.size[1], given.size[0], 3), np.uint8)
        try:
            made = self._run(as_input(black, given, self._signature.dtype))
        except InputError as error:
            raise InputError(f"{who}: {error}") from None
        except Exception as error:  # onnxruntime's own classes have no base but Exception
            said = " ".join(str(error).split())[:300]
            raise InputError(f"{who}: the model does not run: {said}") from None
        for output, name in zip(self._about.outputs, self._outputs, strict=True):
            check_numbers(who, output, name, made[name].shape[1])


def activated(output: Output, numbers: Floats) -> dict[str, Floats]:
    """(N, numbers) of the model -> column -> (N,) float32, in the columns' units."""
    first, last = output.numbers or (0, numbers.shape[1])
    numbers = numbers[:, first:last]
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is told by its row
        if output.activation == "sigmoid":
            numbers = 0.5 * (1 + np.tanh(0.5 * numbers))
        elif output.activation in ("softmax", "expectation"):
            powers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
            numbers = powers / powers.sum(axis=1, keepdims=True)
        if output.bins is not None:
            bins = output.bins
            if isinstance(bins, Bins):
                bins = bins.first + bins.step * np.arange(numbers.shape[1])
            numbers = numbers @ np.asarray(bins, np.float64)[:, None]
        return {
            name: (part.offset + part.scale * numbers[:, part.index or 0]).astype(np.float32)
            for name, part in output.columns.items()
        }


def cut_out(
    who: str,
    crop: Crop,
    images: NDArray[np.uint8],
    source: Measurement | None,
    size: tuple[int, int],
    way: Way,
) -> NDArray[np.uint8]:
    """(M, height, width, 3): what the model sees of the M images that the source measured.

    Args:
        images: (N, H, W, 3).
        source: what the crop's extractor found in each; None for a crop that needs none.

    Raises:
        InputError: the source has no such column, or it is no box and no list of points.
    """
    if source is None:
        return middle_crop(images, size, crop.share, way)
    if crop.read not in source.values:
        raise InputError(
            f"{who}: {crop.source} has no column {crop.read!r}; it has {', '.join(source.values)}."
        )
    rows = np.flatnonzero(source.measured())
    found = np.asarray(source.values[crop.read][rows], np.float64)
    if crop.kind == "box":
        if found.shape[1:] != (4,):
            raise InputError(f"{who}: {crop.source}_{crop.read} has {found.shape[1:]}; no box.")
        pairs = zip(rows, found, strict=True)
        return np.stack([box_crop(images[k], box, size, crop.margin, way) for k, box in pairs])
    scale = np.array(images.shape[2:0:-1])
    points = chosen(who, crop, found) * scale - 0.5
    matrices = similarity(points, np.array(crop.template, np.float64))
    return np.stack(
        [warped(images[k], matrix, size) for k, matrix in zip(rows, matrices, strict=True)]
    )


def chosen(who: str, crop: Crop, found: Array) -> Array:
    """(N, P, 2) points of the source -> (N, K, 2), one for each of the template's."""
    groups = crop.points or [[k] for k in range(len(crop.template or []))]
    most = max(max(group) for group in groups)
    wrong = found.ndim != 3 or found.shape[2] < 2 or most >= found.shape[1]
    if wrong or (crop.points is None and found.shape[1] != len(groups)):
        raise InputError(
            f"{who}: {crop.source}_{crop.read} has the shape {found.shape[1:]}; expected points "
            f"(K, 2) with those of the description, up to number {most}."
        )
    return np.stack([found[:, group, :2].mean(axis=1) for group in groups], axis=1)


def as_input(crops: NDArray[np.uint8], given: Input, dtype: Any) -> Any:
    """(N, height, width, 3) bytes -> what the model reads.

    value = ((low + byte / 255 * (high - low)) - mean) / std, one multiplication and one addition.
    """
    if given.channels == "bgr":
        crops = crops[..., ::-1]
    elif given.channels == "gray":
        grey = np.rint(crops @ np.array(LUMA, np.float32))[..., None]
        crops = grey.astype(np.uint8)
    if given.layout == "NCHW":
        crops = crops.transpose(0, 3, 1, 2)
    if dtype is np.uint8:
        return np.ascontiguousarray(crops)
    low, high = given.range
    mean, std = np.array(given.mean), np.array(given.std)
    factor, shift = (high - low) / 255 / std, (low - mean) / std
    if given.layout == "NCHW" and given.depth != GREY:
        factor, shift = factor[:, None, None], shift[:, None, None]
    scaled = np.multiply(crops, factor.astype(np.float32), dtype=np.float32, order="C")
    scaled += shift.astype(np.float32)
    return scaled.astype(dtype, copy=False)


def default_text(output: Output, column: str) -> str:
    """One sentence for the dataset card, where the description has none."""
    said = {
        "none": "the model's output",
        "sigmoid": "probability by a sigmoid of the model's output",
        "softmax": f"probability by a softmax over {len(output.columns)} or more classes",
        "expectation": "mean of the values that the model's probabilities weigh",
    }
    return f"{column.replace('_', ' ')}: {said[output.activation]}"
