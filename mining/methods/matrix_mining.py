"""How a direction matrix is mined: rows in their own order, a chain, a start, the epochs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mining.methods.base import own_order, principal_axes
from mining.methods.chains import Chain
from mining.methods.direction_matrix import METHOD, DirectionMatrix
from mining.methods.gcv_ridge import LinearReading, centred_within, fit_ridge, fit_within
from mining.methods.learned import Checkpoint, Curve, Keep, LearnedRows, ShapeCodes
from mining.methods.matrix_columns import single_columns
from mining.methods.matrix_config import MatrixConfig
from mining.methods.matrix_pairs import Stage, stages_of
from mining.methods.matrix_rivals import Frame, frame_of, inverse, read_evidence
from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.generators.base import Generator

Array = NDArray[np.float64]
MOST_AXES = 2048  # rows from which the coordinates of the steps are taken
LOOKED_AT = 64  # latents seen at once
MOST_SEEN = 10_000  # latents whose parameters are looked at, where no extractor measured them
TITLES = {"synthetic": "Random pairs", "mixed": "Random and inverted pairs", "paired": "Pairs"}


def mined(
    rows: LearnedRows,
    config: MatrixConfig,
    start: Checkpoint | None,
    keep: Keep | None,
    generator: Generator | None,
) -> DirectionMatrix:
    """The matrix of `mine_direction_matrix`."""
    from mining.methods.training import one_torch_thread

    stages = stages_of(rows, config)  # what is missing is said before the work
    if config.chain == "images":
        rows = in_w_plus(rows)
    rows = ordered(rows)
    stages = stages_of(rows, config)
    with one_torch_thread(), threadpool_limits(1):  # sums are added in one order
        return _trained(rows, stages, chain_of(rows, config, generator), config, start, keep)


def _trained(
    rows: LearnedRows,
    stages: Sequence[Stage],
    chain: Chain,
    config: MatrixConfig,
    start: Checkpoint | None,
    keep: Keep | None,
) -> DirectionMatrix:
    from mining.methods.matrix_training import Trainer

    rows = dataclasses.replace(rows, facts=with_licences(rows.facts, chain))
    names, paired = tuple(chain.names), stages[-1].paired
    codes = seen_parameters(rows, chain)
    frame = frame_of(rows, names, chain.units, codes, config)
    reading = getattr(chain, "reading", None) or _reading(rows, codes, paired)
    basis = coordinates(rows, frame.mask(), paired) if config.metric == "motion" else None
    values = first_values(frame, reading, basis, config)
    latents = rows.latents
    if rows.inverted is not None:
        latents = np.concatenate([latents, np.asarray(rows.inverted, latents.dtype)])
    trainer = Trainer(chain, latents, frame, reading, basis, config)
    before = trainer.start_losses(stages, values)
    best, losses, best_loss = trainer.run(stages, values, start, keep)
    vectors = best["matrix"] if basis is None else best["matrix"] @ basis
    vectors = vectors / frame.scale[:, None] * frame.mask()
    weights, groups = reading.weights[: len(names)], rows.sequences if paired else None
    evidence = {
        **read_evidence(names, reading),
        **getattr(chain, "evidence", {}),
        "start_loss": before[-1],
        "held_out_loss": best_loss if losses else before[-1],
    }
    return frame.matrix(
        vectors,
        reading,
        alone=single_columns(vectors, weights, rows.latents, codes, groups),
        bias=best["bias"] * frame.mask() if "bias" in best else None,
        method=METHOD,
        mode=stages[-1].mode,
        settings=settings_of(config, chain),
        evidence=evidence,
        curves=curves_of(stages, losses),
    )


def with_licences(facts: Mapping[str, str], chain: Chain) -> dict[str, str]:
    """The rows' facts; their licence names the chain's networks beside the generator."""
    told = (facts.get("licence", ""), getattr(chain, "licence", ""))
    return {**facts, "licence": "; ".join(text for text in told if text)}


def settings_of(config: MatrixConfig, chain: Chain) -> str:
    """The settings as JSON; the chain's files by name, checksum and licence, not by their place."""
    told = dataclasses.asdict(config)
    of_files: Any = getattr(chain, "told", None)
    if of_files is not None:
        told["images"] = of_files()
    return json.dumps(told, sort_keys=True, default=str)


def chain_of(rows: LearnedRows, config: MatrixConfig, generator: Generator | None) -> Chain:
    """What is seen of latents: through surrogates of the rows, or through images."""
    if config.chain == "surrogate":
        from mining.methods.chains import make_surrogate_chain

        return make_surrogate_chain(rows, config)
    if generator is None:
        raise InputError(f"{METHOD}: the chain of images came without a generator to make them.")
    from mining.methods.image_chain import make_image_chain

    shape = config.images.get("shape", {})
    if isinstance(shape, Mapping):  # its own number of expressions, or else the matrix's
        shape = {"expressions": config.expressions, **shape}
    chain: Any = make_image_chain(generator, rows, {**config.images, "shape": shape})
    return chain


def ordered(rows: LearnedRows) -> LearnedRows:
    """The rows in an order of their own, so that shuffled rows give the same matrix."""
    parts: list[Any] = [rows.latents, *([] if rows.sequences is None else [rows.sequences])]
    if rows.inverted is not None:
        inverted: Any = rows.inverted
        rows = dataclasses.replace(rows, inverted=inverted[own_order(inverted)])
    return taken(rows, own_order(*parts))


def taken(rows: LearnedRows, order: NDArray[np.int64]) -> LearnedRows:
    """Some of the rows, in the order of their numbers."""
    codes = rows.codes
    if codes is not None:
        moving, identity = codes.moving[order], codes.identity[order]
        codes = ShapeCodes(codes.names, codes.units, moving, identity)
    own = ("latents", "landmarks", "descriptors", "pixels", "sequences")
    arrays = {name: getattr(rows, name) for name in own}
    return dataclasses.replace(
        rows,
        **{name: None if array is None else array[order] for name, array in arrays.items()},
        scores={name: values[order] for name, values in rows.scores.items()},
        codes=codes,
    )


def in_w_plus(rows: LearnedRows) -> LearnedRows:
    """Rows of w as rows of W+ that are all equal, as the chain of images has them."""
    if rows.space == "w+":
        return rows
    shape = (rows.num_ws, *rows.shape)
    inverted = rows.inverted
    if inverted is not None and inverted.shape[1] != rows.num_ws * rows.shape[0]:
        inverted = np.tile(inverted, (1, rows.num_ws))
    tiled = np.tile(rows.latents, (1, rows.num_ws))
    return dataclasses.replace(rows, latents=tiled, space="w+", shape=shape, inverted=inverted)


def seen_parameters(rows: LearnedRows, chain: Chain) -> Array:
    """(N, K) parameters as an extractor measured them, or else as the chain sees them; NaN where
    neither looked."""
    measured = getattr(chain, "measured", None)
    if measured is not None:
        return measured
    import torch

    dtype, device = getattr(chain, "dtype", torch.float32), getattr(chain, "device", "cpu")
    found = np.full((len(rows), len(chain.names)), np.nan)
    looked = np.linspace(0, len(rows) - 1, min(len(rows), MOST_SEEN)).astype(np.int64)
    for part in np.array_split(looked, -(-len(looked) // LOOKED_AT)):
        with torch.no_grad():
            codes = chain.codes(torch.as_tensor(rows.latents[part], dtype=dtype, device=device))
        found[part] = codes[:, : len(chain.names)].cpu().numpy()
    return found


def _reading(rows: LearnedRows, codes: Array, paired: bool) -> LinearReading:
    """p read linearly off a latent, for a chain that has no reading of its own."""
    if paired and rows.sequences is not None:
        return fit_within(rows.latents, codes, rows.sequences)
    return fit_ridge(rows.latents, codes)


def coordinates(rows: LearnedRows, mask: Array, paired: bool) -> Array:
    """(R, D) axes along which latents vary, each as long as their spread along it.

    With pairs, within sequences: a step then changes most what moves a person most, and cannot
    leave the span of such motions.
    """
    latents = np.asarray(rows.latents, np.float64)
    if paired and rows.sequences is not None:
        used = rows.sequences >= 0
        centred = centred_within(latents[used], rows.sequences[used])
    else:
        centred = latents - latents.mean(axis=0)
    some = np.linspace(0, len(centred) - 1, min(MOST_AXES, len(centred))).astype(np.int64)
    if centred.shape[1] > MOST_AXES:
        centred = centred[some]
    energy, axes = principal_axes(centred * mask)
    kept = energy > 1e-9 * energy.max()
    return (axes[:, kept] * np.sqrt(energy[kept] / len(centred))).T


def first_values(
    frame: Frame, reading: LinearReading, basis: Array | None, config: MatrixConfig
) -> dict[str, Array]:
    """M, and b where there is one, before the first epoch."""
    count, width = len(frame.names), len(frame.mask())
    size = (count, width if basis is None else len(basis))
    if config.start == "zeros":
        matrix = np.zeros(size)
    elif config.start == "normal":
        matrix = np.random.default_rng(config.seed).normal(scale=config.start_spread, size=size)
    else:
        step = inverse(reading.weights[:count], frame.mask()) * frame.scale[:, None]
        matrix = step if basis is None else step @ np.linalg.pinv(basis)
    return {"matrix": matrix, **({"bias": np.zeros(width)} if config.bias else {})}


def curves_of(stages: Sequence[Stage], losses: Sequence[Sequence[float]]) -> tuple[Curve, ...]:
    """The losses of each stage by epoch."""
    found, at = [], 0
    for stage in stages:
        part = losses[at : at + stage.epochs]
        at += stage.epochs
        if part:
            training, held_out = zip(*part, strict=True)
            equation = "equation (7)" if stage.paired else "equation (3)"
            found.append(Curve(TITLES[stage.mode], equation, tuple(training), tuple(held_out)))
    return tuple(found)
