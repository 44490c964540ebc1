"""What an ONNX model reads and returns, checked against its description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.onnx_description import Input, Output
from schemas.errors import InputError

MOST_NUMBERS = 1_000_000  # that one output may have per image
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Signature:
    """What the model's input is."""

    name: str
    dtype: Any  # numpy's
    batch: int | None  # None where any number of images goes


def signature(who: str, session: Any, given: Input) -> Signature:
    """The model's input, checked against the description's.

    Raises:
        InputError: another number of inputs, another type, rank, layout or size.
    """
    nodes = session.get_inputs()
    names = ", ".join(repr(node.name) for node in nodes)
    if len(nodes) != 1 or given.name not in (None, nodes[0].name):
        wanted = "one input" if given.name is None else f"the one input {given.name!r}"
        raise InputError(f"{who}: the model has the inputs {names or 'none'}; expected {wanted}.")
    node = nodes[0]
    if node.type not in DTYPES:
        raise InputError(
            f"{who}: the model's input is a {node.type}; expected one of {', '.join(DTYPES)}."
        )
    if DTYPES[node.type] is np.uint8 and (given.range, given.mean, given.std) != _AS_BYTES:
        raise InputError(
            f"{who}: the model reads bytes; expected range [0, 255], without mean and std."
        )
    width, height = given.size
    inner = (given.depth, height, width) if given.layout == "NCHW" else (height, width, given.depth)
    shape = [edge if isinstance(edge, int) and edge > 0 else None for edge in node.shape]
    fits = len(shape) == 4 and all(
        there in (None, edge) for there, edge in zip(shape[1:], inner, strict=True)
    )
    if not fits:
        raise InputError(
            f"{who}: the model's input has the shape {list(node.shape)}; the description gives "
            f"{['N', *inner]} ({given.layout}). Correct input.size, layout or channels."
        )
    return Signature(node.name, DTYPES[node.type], shape[0])


def output_name(who: str, output: Output, names: list[str]) -> str:
    """The model's output that a part of the description means."""
    listed = ", ".join(map(repr, names))
    if output.name is None:
        if len(names) != 1:
            raise InputError(
                f"{who}: the model has the outputs {listed}; the one behind the columns "
                f"{', '.join(output.columns)} needs its name."
            )
        return names[0]
    if output.name not in names:
        raise InputError(f"{who}: the model has no output {output.name!r}; it has {listed}.")
    return output.name


def rowwise(name: str, value: Any, batch: int) -> Floats:
    """One output as (N, numbers) float64.

    Raises:
        InputError: it is no array of numbers with a row per image.
    """
    array = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    if not array or value.ndim < 1 or len(value) != batch or not value.size:
        came = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise InputError(f"the output {name!r} is {came} for {batch} images; expected a row each.")
    flat = value.reshape(batch, -1)
    if flat.shape[1] > MOST_NUMBERS:
        raise InputError(f"the output {name!r} has {flat.shape[1]:,} numbers per image; too many.")
    return flat.astype(np.float64)


def check_numbers(who: str, output: Output, name: str, count: int) -> None:
    """Raise InputError unless an output of `count` numbers has those that are asked for."""
    first, last = output.numbers or (0, count)
    if last > count:
        raise InputError(
            f"{who}: the output {name!r} has {count} numbers; the description reads those from "
            f"{first} to {last - 1}."
        )
    for column, part in output.columns.items():
        if (part.index or 0) >= last - first:
            raise InputError(
                f"{who}: the column {column!r} reads number {part.index} of the output {name!r}, "
                f"which has {last - first}, counted from 0."
            )
    if isinstance(output.bins, list) and len(output.bins) != last - first:
        raise InputError(
            f"{who}: {len(output.bins)} bins came for the {last - first} numbers of {name!r}."
        )
    single = len(output.columns) == 1 and output.only.index is None
    if single and output.activation != "expectation" and last - first > 1:
        raise InputError(
            f"{who}: the column {next(iter(output.columns))!r} needs an index: the output {name!r} "
            f"has {last - first} numbers."
        )


_AS_BYTES = ((0.0, 255.0), [0.0], [1.0])
