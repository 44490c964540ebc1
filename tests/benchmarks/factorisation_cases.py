"""What factorisation.py measures, each in a process of its own: a dictionary of numbers each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.als import als
from mining.methods.camera import euler_angles, rotation
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.shape_model import ShapeModel
from mining.threads import limit_threads
from tests.benchmarks.memory import peak
from tests.mining.methods.planted import Head, centred, row_space, unfolded

Array = NDArray[Any]

MODES = 12
NOISE = 2e-3  # of the image: half a pixel of 256
SEED = 5
PART = 5000  # rows that are made at a time
CLOSED = NrsfmConfig(MODES, "none", sweeps=0)
JOINT = NrsfmConfig(MODES)


@dataclass(frozen=True)
class Made:
    """A part of the rows of one head that bends, made when it is asked for."""

    head: Head
    first: int
    rows: int

    def __call__(self) -> Array:
        """(rows, L, 2) float32."""
        rng = np.random.default_rng([SEED, self.first])
        codes = self.head.codes(rng, self.rows)
        return self.head.landmarks(rng, codes, NOISE).astype(np.float32)


def parts(rows: int, landmarks: int) -> list[Made]:
    """So many rows, PART of them at a time."""
    head = Head.made(np.random.default_rng(SEED), landmarks, MODES)
    return [Made(head, first, min(PART, rows - first)) for first in range(0, rows, PART)]


def drawn(rows: int, landmarks: int) -> Array:
    """(rows, L, 2) float32, the same."""
    return np.concatenate([part() for part in parts(rows, landmarks)])


def took(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it takes, and what it gives."""
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def speed(rows: int, landmarks: int, few: int, sweeps: int = 10) -> dict[str, float]:
    """One round: the loops on `few` rows, for `rows` of them; then what we do on all rows."""
    limit_threads(2)
    points = drawn(rows, landmarks)
    found = loops(points[:few], sweeps, rows / few)
    found["closed"], closed = took(lambda: fit_nrsfm(points, CLOSED, workers=2))
    found["joint"], joint = took(lambda: fit_nrsfm(points, JOINT, workers=2))
    found["als"], (objective, total) = took(lambda: alternated(points, sweeps))
    found["als residual"] = float(np.sqrt(objective / total))
    found["closed residual"] = closed.relative_residual
    found["joint residual"] = joint.relative_residual
    found["joint sweeps"] = joint.sweeps
    return found


def alternated(points: Array, sweeps: int) -> tuple[float, float]:
    """The objective of ten sweeps over all rows at once, and |X - t|^2."""
    inside, factors, rest = unfolded(points.astype(np.float64), MODES)
    return als(inside, factors, sweeps, rest=rest).objectives[-1], float((inside**2).sum()) + rest


def loops(points: Array, sweeps: int, scale: float) -> dict[str, float]:
    """Seconds of the plain loops, times `scale`.

    Raises:
        RuntimeError: a loop and `als` find other directions; then this benchmark compares nothing.
    """
    import torch

    from tests.benchmarks.plain_als import kinder_sweeps, plain_sweeps

    whole = centred(points.astype(np.float64))
    rows = row_space(whole, MODES)
    cameras = whole @ rows[:3].T
    arrays = (np.ascontiguousarray(whole - cameras @ rows[:3]), cameras, rows[3:].copy())
    single = tuple(torch.tensor(x, dtype=torch.float32) for x in arrays)
    torch.set_num_threads(1)  # its work comes in crumbs, which a second thread would only slow down
    by_torch, _ = took(lambda: plain_sweeps(*single, sweeps, torch))
    by_numpy, (modes, _) = took(lambda: plain_sweeps(*arrays, sweeps))
    kinder, _ = took(lambda: kinder_sweeps(*arrays, sweeps))
    inside, factors, _ = unfolded(points.astype(np.float64), MODES)
    gap = abs(als(inside, factors, sweeps).factors.modes - modes).max()
    if gap > 1e-6:
        raise RuntimeError(f"als and the plain loop are {gap:.2g} apart after {sweeps} sweeps")
    return {"torch": scale * by_torch, "numpy": scale * by_numpy, "kinder": scale * kinder}


def planted(rows: int, landmarks: int, held_out: int) -> dict[str, float]:
    """Residuals over the rows of the fit and over rows that it has not seen; the noise's own."""
    points = drawn(rows + held_out, landmarks).astype(np.float64)
    seen, new = points[:rows], points[rows:]
    found = {"floor": NOISE * np.sqrt(seen.size) / np.linalg.norm(centred(seen))}
    inside, factors, rest = unfolded(seen, MODES)
    objective = als(inside, factors, rest=rest).objectives[-1]
    found["als"] = float(np.sqrt(objective)) / np.linalg.norm(centred(seen))
    for name, config in (("closed", CLOSED), ("joint", JOINT)):
        model = fit_nrsfm(seen, config)
        gap = model.project(model.fit(new)) - new
        found[name] = model.relative_residual
        found[f"{name} held out"] = float(np.linalg.norm(gap) / np.linalg.norm(centred(new)))
        found[f"{name} sweeps"] = model.sweeps
    return found


def memory(rows: int, landmarks: int) -> dict[str, float]:
    """Peak memory in MB of a fit to parts that are made as they are asked for, and its seconds."""
    from mining.methods.fit_parts import fit_parts
    from mining.methods.parts import SpilledParts

    limit_threads(1)  # only memory counts
    with tempfile.TemporaryDirectory(prefix="bench-factorisation-") as folder:
        spilled = SpilledParts(folder, parts(rows, landmarks))
        seconds, found = took(lambda: fit_parts(spilled, JOINT))
        codes = sum(len(part) for part in found.codes)
    if codes != rows:
        raise RuntimeError(f"{rows} rows came, {codes} have codes")
    return {"peak": peak(), "seconds": seconds, "residual": found.model.relative_residual}


def robust(rows: int, landmarks: int, share: float = 0.1) -> dict[str, float]:
    """Errors of the mean shape: clean landmarks, then `share` of them far off their places."""
    rng = np.random.default_rng(SEED)
    head = Head.made(rng, landmarks, MODES)
    clean = head.landmarks(rng, head.codes(rng, rows), NOISE)
    off = rng.uniform(size=clean.shape[:2]) < share
    spoilt = clean + off[..., None] * rng.uniform(-0.25, 0.25, size=clean.shape)
    weighed = replace(JOINT, robust=True)
    cases = {
        "clean": (clean, JOINT),
        "clean robust": (clean, weighed),
        "spoilt": (spoilt, JOINT),
        "spoilt robust": (spoilt, weighed),
    }
    return {
        name: shape_error(fit_nrsfm(points, config).mean_shape, head.shape)
        for name, (points, config) in cases.items()
    }


def heads(count: int) -> dict[str, float]:
    """Angles and mean shape of random heads, from their true landmarks and from dlib's."""
    from mining.generators.head import HeadGenerator
    from mining.generators.head.model import head_model
    from tests.benchmarks.head_quality import Dlib, study

    heads = study(HeadGenerator(), Dlib(), count, SEED)
    model = head_model()
    solid = []
    for row in heads.values:
        said = dict(zip(heads.names, map(float, row), strict=True))
        solid.append(model.landmarks(model.vertices(said), said["eye_closed"]))
    angles = np.radians(np.stack([heads.value(name) for name in ANGLES], axis=1))
    found = {"detected": float(heads.detected.sum())}
    for source, points, kept in (
        ("true", heads.true, np.ones(count, bool)),
        ("dlib", heads.found, heads.detected),
    ):
        fitted = fit_nrsfm(points[kept].astype(np.float64), JOINT)
        for k, (slope, correlation) in enumerate(agreement(fitted, angles[kept])):
            found[f"{source} {ANGLES[k]} slope"] = slope
            found[f"{source} {ANGLES[k]} correlation"] = correlation
        mean = np.mean([s for s, there in zip(solid, kept, strict=True) if there], axis=0)
        found[f"{source} shape"] = shape_error(fitted.mean_shape, mean)
        found[f"{source} residual"] = fitted.relative_residual
    return found


ANGLES = ("pitch", "yaw", "roll")


def agreement(fitted: ShapeModel, angles: Array) -> list[tuple[float, float]]:
    """Slope and correlation of each angle with (N, 3) true ones, after one rotation for all."""
    turns = turned(fitted.codes[:, 3:6])
    left, _, right = np.linalg.svd(np.einsum("nij,nik->jk", turns, turned(angles)))
    fixed = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    seen = euler_angles(turns @ (left @ fixed @ right))
    return [
        (
            float(np.polyfit(angles[:, k], seen[:, k], 1)[0]),
            float(np.corrcoef(angles[:, k], seen[:, k])[0, 1]),
        )
        for k in range(3)
    ]


def turned(angles: Array) -> Array:
    """(N, 3) pitch, yaw, roll in radians -> (N, 3, 3) rotations."""
    return np.stack([np.stack(row, axis=-1) for row in rotation(angles)], axis=1)


def shape_error(one: Array, other: Array) -> float:
    """Distance of two (3, L) shapes over the second's size, after the best similarity or mirror."""
    one, other = (x - x.mean(axis=1, keepdims=True) for x in (one, other))
    left, sizes, right = np.linalg.svd(one @ other.T)
    fitted = (left @ right).T @ one * sizes.sum() / (one**2).sum()
    return float(np.linalg.norm(fitted - other) / np.linalg.norm(other))


CASES = {f.__name__: f for f in (speed, planted, memory, robust, heads)}
