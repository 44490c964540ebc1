"""Anderson mixing: a fixed-point iteration that looks back at its last steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEMORY = 10  # steps that are looked back at


@dataclass
class Anderson:
    """The last inputs x and outputs g(x) of an iteration x <- g(x), and the mixture to try next.

    With f = g(x) - x, the next input is g_m - sum_i c_i (g_i+1 - g_i), where c minimises
    |f_m - sum_i c_i (f_i+1 - f_i)|; the first `leading` numbers alone decide c.
    Source: Anderson (1965), doi:10.1145/321296.321305; Walker & Ni (2011), doi:10.1137/10078356X.
    """

    leading: int
    inputs: list[Array] = field(default_factory=list)
    outputs: list[Array] = field(default_factory=list)

    def next(self, given: Array, made: Array) -> Array:
        """The input to try after g(given) = made."""
        self.inputs = [*self.inputs, given][-MEMORY - 1 :]
        self.outputs = [*self.outputs, made][-MEMORY - 1 :]
        if len(self.inputs) == 1:
            return made
        outputs = np.stack(self.outputs)
        gaps = (outputs - np.stack(self.inputs))[:, : self.leading]
        shares = np.linalg.lstsq(np.diff(gaps, axis=0).T, gaps[-1], rcond=1e-6)[0]
        return np.asarray(made - shares @ np.diff(outputs, axis=0), np.float64)

    def forget(self) -> None:
        """Start again, after a mixture that led nowhere."""
        self.inputs, self.outputs = [], []
