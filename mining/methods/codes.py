"""Directions of the shape model's own codes: what moves yaw, or alpha_3, and holds the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, check_whole, own_order, row_parts, unit_vector
from mining.methods.control import ControlModel
from mining.methods.ridge import slope_along
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
Places = NDArray[np.intp]

ANGLES = ("pitch", "yaw", "roll")  # in q in radians, as attributes in degrees
PARTS = ("camera", "pose", "shape", "place")  # of q: k11 k12 k22, ANGLES, alpha_k, t_x t_y
FLAT = 1e-8  # of 1 + |mean|: a code that spreads less is a constant of the model
DEAD = 1e-6  # of a wanted change: a code that columns move by less stays where it is
MEMORY = 2**26  # bytes of one part's Jacobians


@dataclass(frozen=True)
class CodesConfig:
    """Settings of `mine_codes`."""

    codes: tuple[str, ...] = ()  # those that are mined, of ShapeModel.names; empty: all that vary
    hold: tuple[str, ...] = PARTS  # whose codes stay; empty: none, a code's plain gradient
    cutoff: float = 0.02  # singular values of J below this share of the largest are left out
    rows: int = 2000  # latents that are read, at most
    seed: int = 0  # of the choice of these rows

    def __post_init__(self) -> None:
        for name in ("codes", "hold"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise InputError(f"codes: {name} is {value!r}, expected a list of names.")
            object.__setattr__(self, name, tuple(value))  # a list comes from YAML
        check_whole("codes", 2, rows=self.rows)
        check_whole("codes", 0, seed=self.seed)
        for part in self.hold:
            if part not in PARTS:
                raise unknown("part of q in codes.hold", str(part), PARTS)
        if not 0 <= self.cutoff < 1:
            raise InputError(f"codes: cutoff is {self.cutoff}, expected in [0, 1).")


def mine_codes(
    control: ControlModel, latents: NDArray, config: CodesConfig = CodesConfig()
) -> list[Direction]:
    """Find, for each number of q, the direction that moves it and holds the others.

    Column j of J(w)^+ is the shortest step that moves q_j by one unit and, as far as the cutoff
    lets it, no other; the direction of q_j is the mean of that column over the latents, made a
    unit vector. Outputs are divided by the regressor's spread before the inverse, so that
    `cutoff` means the same for all.
    What is held decides what is found. The shift t is the landmarks' centroid, which goes along
    with turning; held with all else, as in equation (14), a head turns and is pushed back, and the
    push is the longer part. With `hold: [pose]` only the other angles stay, with `hold: []`
    nothing does, and the column is J_j' / |J_j|^2, the gradient.
    The slope of an angle is that of a ridge fit of what the regressor reads, in degrees. The other
    codes are no attribute that anybody measures: their slope is NaN. Codes that are constants of
    the model have no direction.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equations (13) and (14).

    Args:
        control: the fitted shape model and regressor.
        latents: (N, D), N >= 2, of the regressor's space; `config.rows` of them are read.

    Returns:
        Directions in the order of q, the attribute being the code's name, with, as evidence,
        `agreement` (mean cosine of the single columns with the direction), `spread` (root mean
        square distance of the columns from their mean, over its length), `length` (of the mean
        column: the step per unit of the code, angles in degrees), `regressor_slope` (the code's
        change per unit step by the mean Jacobian), `crosstalk` (root sum of squares of what the
        other codes change over what it changes itself, in spreads, likewise), `reach` (share of a
        wanted change that the cutoff lets a column make, mean), `cut` (share of latents of which
        singular values were left out) and `rows`.

    Raises:
        InputError: a shape or a value does not fit, a code is unknown or constant, or the
            regressor does not answer to the latents.
    """
    regressor, names = control.regressor, control.shape.names
    latents = _check_latents(latents, len(regressor.centre))
    vary = np.flatnonzero(regressor.spread > FLAT * (1 + np.abs(regressor.mean)))
    moved = [np.flatnonzero(vary == place)[0] for place in _moved(config.codes, names, vary)]
    held = np.flatnonzero([part_of(names[place]) in config.hold for place in vary])
    rows = latents[_some_rows(latents, config)].astype(np.float64)
    sums = _Sums(len(vary), latents.shape[1])
    for part in _parts(rows, len(names)):
        jacobian = (regressor.jacobian(part) / regressor.spread[:, None])[:, vary]
        sums.add(jacobian, *columns(jacobian, held, moved, config.cutoff))
    codes = regressor.predict(rows)
    found = []
    for place in moved:
        name, spread = names[vary[place]], float(regressor.spread[vary[place]])
        found.append(_direction(name, sums, place, spread, rows, codes[:, vary[place]]))
    return found


def columns(
    jacobian: Array, held: Places, moved: Sequence[int], cutoff: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Steps that move one code by one unit and hold others, for n Jacobians (n, C, D).

    Returns:
        (n, C, D) steps, 0 for codes not `moved`; (n, C) the share of the unit that each makes; and
        (n, C) whether singular values were left out for it.
    """
    steps, reach = np.zeros_like(jacobian), np.zeros(jacobian.shape[:2])
    cut = np.zeros(reach.shape, bool)
    if np.isin(moved, held).any():
        steps[:, held], reach[:, held], cut[:, held] = pseudo_inverse(jacobian[:, held], cutoff)
    for place in np.setdiff1d(moved, held):
        with_it = pseudo_inverse(jacobian[:, [*held, place]], cutoff)
        steps[:, place], reach[:, place], cut[:, place] = (x[:, -1] for x in with_it)
    return steps, reach, cut


def pseudo_inverse(jacobian: Array, cutoff: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The columns of J^+ as rows (n, C, D), the diagonal of J J^+ (n, C), and whether J was cut.

    Through the eigenvectors of J J' (C, C), which is small; singular values up to `cutoff` of the
    largest count as zero, as in `numpy.linalg.pinv`.
    """
    energy, axes = np.linalg.eigh(jacobian @ jacobian.transpose(0, 2, 1))
    share = max(cutoff**2, np.finfo(float).eps * jacobian.shape[1])
    kept = energy > np.maximum(share * energy[:, -1:], np.finfo(float).tiny)
    weights = kept / np.where(kept, energy, 1.0)
    steps = (axes * weights[:, None]) @ axes.transpose(0, 2, 1) @ jacobian
    cut = np.broadcast_to(~kept.all(axis=1, keepdims=True), kept.shape)
    return steps, (axes**2 * kept[:, None]).sum(axis=2), cut


def part_of(name: str) -> str:
    """The part of q that a code belongs to, one of PARTS."""
    if name in ANGLES:
        return "pose"
    return {"k": "camera", "t": "place"}.get(name[0], "shape")


class _Sums:
    """What the directions need of all columns, added up part by part."""

    def __init__(self, codes: int, width: int):
        self.rows = 0
        self.steps, self.turns, self.jacobian = np.zeros((3, codes, width))
        self.squares, self.reach, self.cut = np.zeros((3, codes))

    def add(self, jacobian: Array, steps: Array, reach: Array, cut: NDArray[np.bool_]) -> None:
        squares = (steps**2).sum(axis=2)
        lengths = np.sqrt(np.where(squares > 0, squares, np.inf))
        self.rows += len(steps)
        self.steps += steps.sum(axis=0)
        self.turns += (steps / lengths[..., None]).sum(axis=0)
        self.jacobian += jacobian.sum(axis=0)
        self.squares += squares.sum(axis=0)
        self.reach += reach.sum(axis=0)
        self.cut += cut.sum(axis=0)


def _direction(
    name: str, sums: _Sums, place: int, spread: float, rows: Array, codes: Array
) -> Direction:
    """The direction of one code, whose readings over the rows are `codes` (N,)."""
    mean, reach = sums.steps[place] / sums.rows, float(sums.reach[place]) / sums.rows
    length = float(np.linalg.norm(mean))
    if reach < DEAD or not length > 0:
        raise InputError(
            f"codes: the regressor's {name} does not answer to the latents beside what is held; "
            "name the others in `codes`, or hold less."
        )
    vector = unit_vector("codes", mean)
    answers = sums.jacobian @ vector / sums.rows  # of all codes, in their spreads
    own, others = float(answers[place]), np.delete(answers, place)
    angle = name in ANGLES
    scale = spread * (180 / np.pi if angle else 1.0)  # units of the attribute in a spread
    variance = max(float(sums.squares[place]) / sums.rows - length**2, 0.0)
    return Direction(
        method="codes",
        vector=vector,
        slope=slope_along(rows, np.degrees(codes), vector) if angle else float("nan"),
        attribute=name,
        unit="degrees" if angle else "1",
        evidence={
            "agreement": float(sums.turns[place] @ vector) / sums.rows,
            "spread": float(np.sqrt(variance)) / length,
            "length": length / scale,
            "regressor_slope": own * scale,
            "crosstalk": float(np.linalg.norm(others)) / max(abs(own), 1e-300),
            "reach": reach,
            "cut": float(sums.cut[place]) / sums.rows,
            "rows": float(sums.rows),
        },
    )


def _moved(codes: Sequence[str], names: Sequence[str], vary: Places) -> list[int]:
    """The places in q of the codes that directions are wanted of, ascending."""
    for code in codes:
        if code not in names:
            raise unknown("code", code, names)
        if names.index(code) not in vary:
            raise InputError(f"codes: {code} is a constant of this model; no direction moves it.")
    if not len(vary):
        raise InputError("codes: all codes are constants of this model; there is no direction.")
    return sorted({names.index(code) for code in codes}) or [int(place) for place in vary]


def _check_latents(latents: NDArray, width: int) -> NDArray:
    """Latents (N, width) as they are, finite."""
    latents = np.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != width:
        raise InputError(f"codes: latents {latents.shape} came; expected (N, {width}).")
    if len(latents) < 2:
        raise InputError(f"codes: {len(latents)} rows came, expected at least 2.")
    if not all(np.isfinite(part).all() for part in row_parts(latents)):
        raise InputError("codes: latents hold NaN or infinity; drop those rows first.")
    return latents


def _some_rows(latents: NDArray, config: CodesConfig) -> Places:
    """At most `config.rows` rows: the same ones in the same order, however the latents came."""
    order = own_order(latents)
    if len(order) <= config.rows:
        return order
    picked = np.random.default_rng(config.seed).permutation(len(order))[: config.rows]
    return order[np.sort(picked)]


def _parts(rows: Array, codes: int) -> Iterator[Array]:
    """The rows in parts whose Jacobians take `MEMORY` bytes, one row at least."""
    return row_parts(rows, max(1, MEMORY // (8 * codes * rows.shape[1])))
