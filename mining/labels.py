"""Labels: attributes of one's own, as expressions over a dataset's columns.

    wide_mouth: mouth_width / face_width > 0.45
    gaze:
      is: mediapipe_eye_look_out_left - mediapipe_eye_look_in_left
      unit: "1"
      text: where the left eye looks, outwards is positive

Such a file goes to `lode dataset direction --labels FILE` and, for `lode mine`, into the setting
`mining.label_file`; `mining.labels` takes the same mapping. Those in `mining.attributes` are mined.

A condition becomes 1 and 0; what is unknown in a row, as of an image without a face, stays unknown.
Columns go by their full names, or as attributes do: `yaw` for `geometry_yaw`. The grammar is that
of `schemas.expressions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.expression_values import check, evaluate
from schemas.expressions import Expression, parse
from schemas.plain_yaml import read_yaml
from schemas.samples import Field
from storage.dataset import Dataset, attribute_fields
from storage.manifest import Manifest
from storage.selecting import refuse_pictures, row_fields, row_kinds

KEYS = ("is", "unit", "text")
NAME = r"[a-z][a-z0-9_]{0,59}"


@dataclass(frozen=True)
class Label:
    """One attribute that is computed from columns."""

    name: str
    expression: Expression
    unit: str = "1"
    text: str = ""

    @property
    def field(self) -> Field:
        """As if it were a column of the dataset."""
        text = self.text or self.expression.text
        return Field(self.name, "float32", (), self.unit, text, nullable=True)

    def values(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """(N,) of columns by the names in the expression; NaN where unknown."""
        found = evaluate(self.expression, columns)
        return np.where(found.known, found.values.astype(np.float64), np.nan)


def make_labels(settings: Mapping[str, Any], file: str | None = None) -> dict[str, Label]:
    """The labels of a settings file's mapping, and of a YAML file of labels alone.

    Args:
        settings: name -> expression, or {is, unit, text}.
        file: path or URL of such a mapping; what `settings` says goes before it.

    Raises:
        InputError: a name, a key or an expression does not fit, or the file cannot be read.
    """
    stored = {**(read_yaml(file) if file else {}), **settings}
    return {name: _label(name, said) for name, said in stored.items()}


def _label(name: str, said: Any) -> Label:
    who = f"label {name!r}"
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise InputError(f"{who}: expected lower-case letters, digits and _ as its name.")
    if not isinstance(said, Mapping):
        said = {"is": said}
    wrong = [key for key in said if key not in KEYS]
    if wrong or "is" not in said:
        raise InputError(
            f"{who}: {', '.join(map(str, said))} came; expected an expression, or "
            f"{{{', '.join(KEYS)}}} with at least `is`."
        )
    given = {key: "" if value is None else str(value) for key, value in said.items()}
    expression = parse(given["is"], who)
    return Label(name, expression, given.get("unit") or "1", given.get("text", ""))


def check_labels(labels: Mapping[str, Label], manifest: Manifest) -> None:
    """Refuse labels that this dataset cannot compute, before any work.

    Raises:
        InputError: a label has the name of an attribute, reads a column that is not there, or
            gives text or several numbers a row.
    """
    measured, kinds = attribute_fields(manifest), row_kinds(manifest)
    for label in labels.values():
        who = f"label {label.name!r}"
        if label.name in measured:
            raise InputError(f"{who}: the dataset measures that already; choose another name.")
        refuse_pictures(label.expression, manifest, who)
        kind = check(label.expression, kinds, who)
        if kind not in ("number", "truth"):
            raise InputError(f"{who}: {label.expression.text} is no single number or condition.")


def with_labels(manifest: Manifest, labels: Mapping[str, Label]) -> dict[str, Field]:
    """Every attribute that can be mined: those that are measured, then the labels."""
    return {**attribute_fields(manifest), **{name: made.field for name, made in labels.items()}}


def attribute_values(
    dataset: Dataset, names: Iterable[str], labels: Mapping[str, Label]
) -> dict[str, NDArray[np.float64]]:
    """(N,) of each attribute or label over all finished shards, NaN where unmeasured."""
    names = list(names)
    reads = needed_columns(dataset.manifest, names, labels)
    table = dataset.read(list(dict.fromkeys(reads.values())))
    return {name: values_in(table, name, reads, labels) for name in names}


def needed_columns(
    manifest: Manifest, names: Iterable[str], labels: Mapping[str, Label]
) -> dict[str, str]:
    """Name in an expression, or of an attribute -> the column behind it."""
    measured, known = attribute_fields(manifest), row_fields(manifest)
    read: dict[str, str] = {}
    for name in names:
        if name in labels:
            read |= {part: known[part].name for part in labels[name].expression.names}
        else:
            read.setdefault(name, measured[name].name)
    return read


def values_in(
    table: pa.Table, name: str, reads: Mapping[str, str], labels: Mapping[str, Label]
) -> NDArray[np.float64]:
    """(N,) of one attribute or label in a table with the columns that it reads."""
    if name not in labels:
        column = table.column(reads[name])
        return column.to_numpy(zero_copy_only=False).astype(np.float64)
    label = labels[name]
    return label.values({part: table.column(reads[part]) for part in label.expression.names})
