"""Labels as an extractor: what is computed from other extractors' columns, on any images.

Re-scoring measures labels with it on edited images, where no dataset is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.scalars import LABEL
from mining.extractors.base import OK, Column, Extractor, Measurement
from mining.labels import Label
from schemas.samples import Field

NAME = LABEL  # no registered extractor has it
STATUS = "status"  # the column that every extractor has beside its own


class Labels:
    """Computes labels from the columns of the extractors before it.

    Args:
        labels: name -> label.
        columns: name in an expression -> the dataset's column, as `storage.selecting.row_fields`.
        extractors: those that run before it.
    """

    needs: tuple[str, ...] = ()
    licence = "of the extractors that it reads"

    def __init__(
        self,
        labels: Mapping[str, Label],
        columns: Mapping[str, Field],
        extractors: Sequence[Extractor],
    ):
        self.name = NAME
        self._labels = dict(labels)
        self._from = {
            f"{each.name}_{column}": (each.name, column)
            for each in extractors
            for column in (*each.columns, STATUS)
        }
        self._reads = {
            name: {part: columns[part].name for part in label.expression.names}
            for name, label in labels.items()
        }
        self.columns: Mapping[str, Column] = {
            name: Column((), label.unit, label.field.text) for name, label in labels.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 over the expressions."""
        said = [f"{name}: {label.expression.text}" for name, label in self._labels.items()]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images are not looked at. What reads a column that is not measured here is NaN."""
        values = {}
        for name, label in self._labels.items():
            columns = self._columns(self._reads[name], earlier)
            found = np.full(len(images), np.nan) if columns is None else label.values(columns)
            values[name] = found.astype(np.float32)
        return Measurement((OK,) * len(images), values)

    def _columns(
        self, reads: Mapping[str, str], earlier: Mapping[str, Measurement]
    ) -> dict[str, Any] | None:
        """Name -> (N, *shape), NaN where unmeasured; None where a column is of no extractor."""
        found = {}
        for part, column in reads.items():
            if column not in self._from:
                return None
            extractor, name = self._from[column]
            found[part] = _column(earlier[extractor], name)
        return found


def _column(measurement: Measurement, name: str) -> NDArray:
    """(N, *shape), with NaN where the row is not measured, as a dataset has null."""
    if name == STATUS:
        return np.array(measurement.status, object)
    values = np.asarray(measurement.values[name])
    if not np.issubdtype(values.dtype, np.floating):
        return values
    away = ~measurement.measured().reshape(-1, *[1] * (values.ndim - 1))
    return np.where(away, np.nan, values)
