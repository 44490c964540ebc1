"""What learned methods leave behind, opened for editing: a direction matrix or an attribute flow.

    learned = open_artefact(artefacts.read(catalog.url, card.artefact.sha256), card.artefact.kind)
    edited = learned.edit(w_plus, "smile", 2.0)         # two steps of norm 1, as of any direction
    edited = learned.change(w_plus, "yaw", 10.0)        # ten degrees, as the method reads them

A step of a matrix is one along a column's unit vector. A flow has no vector: there t steps change
the attribute by slope * t, the slope being what the mean displacement of norm 1 brought when it was
mined, so that steps of linear and non-linear methods are of one length.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
Change = Callable[[Floats, str, Array], Floats]


@dataclass(frozen=True)
class LearnedEdit:
    """An artefact that edits; made by `open_artefact`."""

    kind: str  # "matrix" or "flow"
    names: tuple[str, ...]  # K attributes that it changes
    units: tuple[str, ...]  # K
    slopes: tuple[float, ...]  # K: the attribute's unit for a step of norm 1
    fingerprint: str  # of the generator that it was mined from; "" where the file does not say
    rows: tuple[int, int]  # num_ws and w_dim of the latents that it fits; 0: any number of rows
    sha256: str  # of its file
    opened: Any  # the DirectionMatrix or the AttributeFlow
    apply: Change  # (N, num_ws, D), an attribute, (N,) changes in its unit -> (N, num_ws, D)

    def unit(self, attribute: str) -> str:
        """The unit of an attribute; InputError where there is no such attribute."""
        return self.units[self._place(attribute)]

    def edit(self, w_plus: Floats, attribute: str, steps: float | NDArray) -> Floats:
        """Latents after steps of norm 1 towards more of an attribute.

        Args:
            w_plus: (N, num_ws, D); left as it is.
            steps: one number, or (N,).

        Returns:
            A new float32 array of w_plus's shape.

        Raises:
            InputError: there is no such attribute, or the latents or steps do not fit.
        """
        slope = self.slopes[self._place(attribute)]
        if not math.isfinite(slope):
            raise InputError(
                f"edit: the {self.kind} says not how far {attribute!r} moves in a step of norm 1; "
                "ask for a change in its unit."
            )
        return self.change(w_plus, attribute, np.asarray(steps, np.float64) * slope)

    def change(self, w_plus: Floats, attribute: str, change: float | NDArray) -> Floats:
        """Latents whose attribute is changed by so much in its own unit; else as `edit`.

        Where the change is 0 a latent stays as it is, to the last bit.
        """
        self._place(attribute)
        w_plus = np.asarray(w_plus, np.float32)
        changes = np.asarray(change, np.float64)
        who = f"edit: {attribute!r} by a {self.kind}"
        self._check_rows(who, w_plus)
        if changes.shape not in ((), (len(w_plus),)):
            raise InputError(
                f"{who}: steps {changes.shape} for latents {w_plus.shape}; expected one number or "
                "one for every latent."
            )
        if not (np.isfinite(w_plus).all() and np.isfinite(changes).all()):
            raise InputError(f"{who}: the latents or the steps hold NaN or infinity.")
        each, moved = np.broadcast_to(changes, len(w_plus)), w_plus.copy()
        asked = np.flatnonzero(each)
        if len(asked):
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                moved[asked] = self.apply(w_plus[asked], attribute, each[asked])
        if not np.isfinite(moved).all():
            raise InputError(f"{who}: so large a change leads to latents that are not finite.")
        return moved

    def _check_rows(self, who: str, w_plus: Floats) -> None:
        """InputError where latents are of a generator of another size."""
        count, wide = self.rows
        fits = w_plus.ndim == 3 and w_plus.shape[2] == wide
        if not fits or count not in (0, w_plus.shape[1]):
            raise InputError(
                f"{who}: latents {w_plus.shape} came, expected (N, {count or 'num_ws'}, {wide}); "
                f"the {self.kind} is of another generator."
            )

    def _place(self, attribute: str) -> int:
        if attribute not in self.names:
            raise unknown(f"attribute of the {self.kind}", attribute, self.names)
        return self.names.index(attribute)


def open_artefact(data: bytes, kind: str, who: str = "artefact") -> LearnedEdit:
    """A learned artefact from its file's bytes; nothing in them is executed.

    Args:
        kind: "matrix" or "flow", as `Artefact.kind`.
        who: names the file in errors.

    Raises:
        InputError: the kind does not edit by itself, or the bytes are another kind of file.
        CorruptDataError: the file is damaged.
        MissingBackendError: a flow, and its package is not installed.
    """
    openers: Mapping[str, Callable[[bytes, str], LearnedEdit]] = {"matrix": _matrix, "flow": _flow}
    if kind not in openers:
        raise unknown("kind of learned edit", kind, tuple(openers))
    return openers[kind](data, who)


def _matrix(data: bytes, who: str) -> LearnedEdit:
    from mining.methods.matrix_file import matrix_of

    matrix = matrix_of(data, who)
    columns = replace(matrix.by_name(), bias=None)  # that is of the whole matrix, not of a column
    lengths = np.linalg.norm(columns.vectors, axis=1)
    slopes = np.divide(1.0, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)

    def apply(w_plus: Floats, attribute: str, change: Array) -> Floats:
        asked = np.zeros((len(w_plus), len(matrix.names)))
        asked[:, matrix.names.index(attribute)] = change
        return columns.moved(w_plus, asked)

    return LearnedEdit(
        kind="matrix",
        names=matrix.names,
        units=matrix.units,
        slopes=tuple(slopes.tolist()),
        fingerprint=matrix.fingerprint,
        rows=(matrix.num_ws, matrix.latent_shape[-1]),
        sha256=hashlib.sha256(data).hexdigest(),
        opened=matrix,
        apply=apply,
    )


def _flow(data: bytes, who: str) -> LearnedEdit:
    from mining.methods.flow_file import flow_of

    flow = flow_of(data, who)
    return LearnedEdit(
        kind="flow",
        names=flow.names,
        units=flow.units,
        slopes=tuple(map(float, flow.slopes)),
        fingerprint=flow.fingerprint,
        rows=(flow.latent_shape[0] if flow.space == "w+" else 0, flow.latent_shape[-1]),
        sha256=hashlib.sha256(data).hexdigest(),
        opened=flow,
        apply=flow.edited,
    )
