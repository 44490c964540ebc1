"""The attribute flow: an invertible map between noise and latents that knows the attributes.

    flow = load_flow("results/attribute_flow.safetensors")       # flow_file.py
    edited = flow.edited(w_plus, "smile", 1.5)                   # (N, num_ws, w_dim)

An edit follows a latent back to its noise under the attributes that it has, and that noise forth
to a latent under the attributes that are asked for: z(t0) = z, z(t1) = w, dz/dt = phi(z, t, a).
Source: Abdal et al. (2021), StyleFlow, doi:10.1145/3447648, section 4; how this one is trained is
said in `flow_training`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mining.methods.flow_config import PRESETS, WHO, FlowConfig
from mining.methods.flow_rows import FlowRows, flow_rows
from mining.methods.learned import Checkpoint, Curve, Keep, Learned, LearnedRows
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
PART = 2**21  # numbers of latents that are followed at once, so that memory stays bounded
TRIED = 256  # held-out rows that edits are measured on
LOSSES = {
    "matching": "squared error of the velocity, less that of none",
    "likelihood": "-log p(w | a) per number of w, nats",
}


@dataclass(frozen=True)
class AttributeFlow:
    """A trained flow. Latents are (N, D): w, or W+ with its rows laid end to end.

    A flow of space "w" edits each row of W+ as a w of its own: once, where rows are equal.
    """

    names: tuple[str, ...]  # K attributes
    units: tuple[str, ...]  # K
    slopes: tuple[float, ...]  # K: change of the attribute for which latents move by norm 1
    layers: tuple[tuple[int, ...], ...]  # K: rows of W+ that an edit moves; () means all
    weights: Array  # (K, D) reading: a = mean + weights (latent - centre)
    mean: Array  # (K,)
    scale: Array  # (K,) spread of the attributes in training
    centre: Array  # (D,)
    spread: float  # of latents, per number
    network: Mapping[str, NDArray[np.float32]]  # by the names of `flow_network.shapes`
    space: str  # "w" or "w+"
    latent_shape: tuple[int, ...]  # (w_dim,) or (num_ws, w_dim)
    solver: str = "dopri5"
    tolerance: float = 1e-5
    generator: str = ""
    fingerprint: str = ""  # the generator's
    licence: str = ""  # the generator's
    settings: Mapping[str, object] = field(default_factory=dict)  # that it was trained with
    evidence: Mapping[str, float] = field(default_factory=dict)

    def read(self, latents: NDArray) -> Array:
        """E[a | latent] in the attributes' units: (N, D) -> (N, K)."""
        return self.mean + (self._latents(latents) - self.centre) @ self.weights.T

    def reverse(self, latents: NDArray, conditions: NDArray | None = None) -> Array:
        """The noise (N, D) of latents (N, D) under conditions (N, K); None: as they are read."""
        latents = self._latents(latents)
        known = self.read(latents) if conditions is None else self._conditions(conditions, latents)
        return self._followed((latents - self.centre) / self.spread, known, (1.0, 0.0))[0]

    def forward(self, noise: NDArray, conditions: NDArray) -> Array:
        """The latents (N, D) of noise (N, D) under conditions (N, K)."""
        noise = self._latents(noise)
        found, _ = self._followed(noise, self._conditions(conditions, noise), (0.0, 1.0))
        return self.centre + self.spread * found

    def changed(
        self,
        latents: NDArray,
        attribute: str,
        change: float | NDArray,
        known: NDArray | None = None,
    ) -> Array:
        """Latents (N, D) whose attribute is changed by so much in its unit.

        Args:
            change: one number, or (N,).
            known: (N, K) the attributes that the latents have; None: as they are read.
        """
        place = self.place(attribute)
        latents = self._latents(latents)
        old = self.read(latents) if known is None else self._conditions(known, latents)
        new = old.copy()
        new[:, place] += _changes(change, len(latents))
        return self.forward(self.reverse(latents, old), new)

    def edited(
        self,
        w_plus: NDArray,
        attribute: str,
        change: float | NDArray,
        known: NDArray | None = None,
    ) -> NDArray[np.float32]:
        """W+ (N, num_ws, w_dim) whose attribute is changed by so much in its unit.

        Only the rows of W+ that the attribute's edits are limited to are moved.

        Args:
            change: one number, or (N,).
            known: (N, K) the attributes that the images have, as measured; None: as they are read.

        Raises:
            InputError: there is no such attribute, or the arrays do not fit.
            MissingBackendError: torchdiffeq is not installed.
            RunError: the solver cannot follow the flow.
        """
        found = np.array(w_plus, np.float32)
        wanted = self.latent_shape
        if found.ndim != 3 or found.shape[3 - len(wanted) :] != wanted:
            raise InputError(
                f"{WHO}: latents {found.shape} came, expected (N, num_ws, w_dim) of a flow whose "
                f"latents are {wanted}."
            )
        steps = _changes(change, len(found))
        rows = self._rows(attribute, found.shape[1])
        if self.space != "w":
            flat = self.changed(found.reshape(len(found), -1), attribute, steps, known)
            found[:, rows] = flat.reshape(found.shape)[:, rows]
        elif (found[:, rows] == found[:, rows[:1]]).all():
            first = self.changed(found[:, rows[0]], attribute, steps, known)
            found[:, rows] = first[:, None]
        else:
            for row in rows:
                found[:, row] = self.changed(found[:, row], attribute, steps, known)
        return found

    def evaluations(self, latents: NDArray) -> int:
        """How often the network is asked on the way from these latents to their noise."""
        latents = self._latents(latents)
        x = (latents - self.centre) / self.spread
        return self._followed(x, self.read(latents), (1.0, 0.0))[1]

    def place(self, attribute: str) -> int:
        """The number of an attribute among the conditions; InputError where it is none."""
        if attribute not in self.names:
            raise unknown(f"attribute of the {WHO}", attribute, self.names)
        return self.names.index(attribute)

    def _rows(self, attribute: str, num_ws: int) -> list[int]:
        """The rows of W+ that an edit moves."""
        rows = list(self.layers[self.place(attribute)]) or list(range(num_ws))
        if rows[-1] >= num_ws:
            raise InputError(
                f"{WHO}: edits of {attribute!r} move the rows {rows} of W+; the latents have "
                f"{num_ws}."
            )
        return rows

    def _followed(
        self, x: Array, conditions: Array, ends: tuple[float, float]
    ) -> tuple[Array, int]:
        """Where x (N, D) leads, and the most evaluations that it took."""
        import torch

        from mining.methods.flow_network import integrate
        from mining.methods.training import one_torch_thread

        weights = {name: torch.from_numpy(a).double() for name, a in self.network.items()}
        told = torch.from_numpy((conditions - self.mean) / self.scale)
        found, most = np.empty_like(x), 0
        with torch.no_grad(), one_torch_thread():
            for part in row_slices(len(x), x.shape[1]):
                state = torch.from_numpy(np.ascontiguousarray(x[part]))
                end, count = integrate(
                    weights, state, told[part], ends, self.solver, self.tolerance
                )
                found[part], most = end.numpy(), max(most, count)
        return found, most

    def _latents(self, latents: NDArray) -> Array:
        found = np.asarray(latents, np.float64)
        if found.ndim != 2 or found.shape[1] != len(self.centre):
            raise InputError(
                f"{WHO}: latents {found.shape} came, expected (N, {len(self.centre)})."
            )
        if not np.isfinite(found).all():
            raise InputError(f"{WHO}: the latents hold NaN or infinity.")
        return found

    def _conditions(self, conditions: NDArray, latents: Array) -> Array:
        found = np.asarray(conditions, np.float64)
        if found.shape != (len(latents), len(self.names)) or not np.isfinite(found).all():
            raise InputError(
                f"{WHO}: conditions {found.shape} came, expected finite numbers "
                f"{(len(latents), len(self.names))}: {', '.join(self.names)}."
            )
        return found


def row_slices(count: int, width: int) -> Iterator[slice]:
    """Parts of `count` rows of `width` numbers, of at most PART numbers each where a row is."""
    size = max(1, PART // width)
    return (slice(start, start + size) for start in range(0, count, size))


def _changes(change: float | NDArray, count: int) -> Array:
    found = np.asarray(change, np.float64)
    if found.shape not in ((), (count,)) or not np.isfinite(found).all():
        raise InputError(
            f"{WHO}: changes {found.shape} came, expected one finite number or ({count},)."
        )
    return np.broadcast_to(found, (count,))


def mine_attribute_flow(
    rows: LearnedRows,
    config: FlowConfig = PRESETS["default"],
    start: Checkpoint | None = None,
    keep: Keep | None = None,
) -> Learned:
    """Train the flow, and measure on held-out rows what its edits do.

    A direction of the result has no vector that edits: its vector is the mean displacement of an
    edit by one spread, as a unit vector, and its slope the attribute's change over that
    displacement's norm; a step of t norms means a change of slope * t through the flow.

    Args:
        rows: scores of every attribute that the flow is conditioned on; a row without one of them
            is left out.
        start: goes on from there. keep: is given a checkpoint after every epoch.

    Raises:
        InputError: an attribute, a layer or a row does not fit.
        MissingBackendError: torchdiffeq is not installed.
        RunError: the loss is no longer finite, or the flow cannot be followed.
    """
    from mining.methods.flow_file import flow_bytes
    from mining.methods.flow_network import backend
    from mining.methods.flow_training import mixed_share, train
    from mining.methods.flow_trials import tried
    from mining.methods.training import one_torch_thread

    backend()  # before the work
    with one_torch_thread(), threadpool_limits(1):  # sums are added in one order
        data = flow_rows(rows, config)
        trained = train(data, config, start, keep)
        flow = _flow(rows, data, trained.network, config)
        found, evidence = tried(flow, data.latents[-data.held_out :][:TRIED])
    evidence |= {"best_epoch": float(trained.best_epoch), "rows": float(len(data.x))}
    evidence["mixed"] = mixed_share(data, config)
    slopes = tuple(each.slope for each in found)
    flow = dataclasses.replace(flow, slopes=slopes, evidence=evidence)
    artefact = flow_bytes(flow)
    name = hashlib.sha256(artefact).hexdigest()
    told = {name: float(r2) for name, r2 in zip(flow.names, data.reading.r2, strict=True)}
    directions = tuple(
        dataclasses.replace(
            each, artefact=name, evidence={**each.evidence, "reading_r2": told[each.attribute]}
        )
        for each in found
    )
    loss = LOSSES[config.objective]
    curve = Curve("attribute flow", loss, trained.training, trained.held_out)
    return Learned(directions, "flow", artefact, (curve,), evidence)


def _flow(
    rows: LearnedRows, data: FlowRows, network: Mapping[str, NDArray], config: FlowConfig
) -> AttributeFlow:
    """The flow, its slopes still unknown."""
    ranges = [config.layers.get(name, (0, 0)) for name in data.names]
    return AttributeFlow(
        names=data.names,
        units=tuple(rows.units.get(name, "1") for name in data.names),
        slopes=(float("nan"),) * len(data.names),
        layers=tuple(tuple(range(*pair)) for pair in ranges),
        weights=data.reading.weights,
        mean=data.reading.mean,
        scale=data.scale,
        centre=data.reading.centre,
        spread=data.spread,
        network=network,
        space=rows.space,
        latent_shape=tuple(rows.shape),
        solver=config.solver,
        tolerance=config.tolerance,
        generator=rows.facts.get("generator", ""),
        fingerprint=rows.facts.get("fingerprint", ""),
        licence=rows.facts.get("licence", ""),
        settings=json.loads(json.dumps(dataclasses.asdict(config))),
    )
