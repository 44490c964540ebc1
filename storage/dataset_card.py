"""The dataset card: README.md with a header that Hugging Face `datasets` loads, then prose.

Header: https://huggingface.co/docs/hub/datasets-cards (read 2026).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from schemas.samples import Field
from storage.dataset import SEQUENCE
from storage.exported import SPLIT, THUMBNAIL, Chosen, Exported, tags
from storage.loading_text import loading

NAME = "README.md"
ARRAYS = range(2, 6)  # numbers of dimensions for which `datasets` has Array2D .. Array5D
_SPECIAL = re.compile(r"[\\`*\[\]<>|#&]|(?<!\w)_|_(?!\w)")  # of Markdown
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def card(exported: Exported) -> str:
    """README.md as text."""
    header = yaml.safe_dump(head(exported), sort_keys=False, allow_unicode=True, width=math.inf)
    parts = [f"---\n{header}---", f"# {_plain(exported.name)}", *_prose(exported)]
    return "\n\n".join(parts) + "\n"


def head(exported: Exported) -> dict[str, Any]:
    """The header: plain containers."""
    split = {"name": SPLIT, "num_bytes": exported.bytes, "num_examples": exported.rows}
    return {
        "pretty_name": exported.name,
        **exported.licence.hugging_face,
        "tags": tags(exported),
        "size_categories": [size_category(exported.rows)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": SPLIT, "path": exported.patterns}],
            }
        ],
        "dataset_info": {
            "features": [feature(field) for field in exported.fields],
            "splits": [split],
            "download_size": exported.bytes,
            "dataset_size": exported.bytes,
        },
    }


def size_category(rows: int) -> str:
    """n<1K, 1K<n<10K ... n>1T."""
    power = next((k for k in range(len(SIZES)) if rows < 10 ** (k + 3)), len(SIZES))
    if power == 0:
        return f"n<{SIZES[0]}"
    return f"n>{SIZES[-1]}" if power == len(SIZES) else f"{SIZES[power - 1]}<n<{SIZES[power]}"


def feature(field: Field) -> dict[str, Any]:
    """A column as `datasets` writes it in a header: the name first.

    Thumbnails are images, vectors fixed-size lists, numbers of 2 to 5 dimensions arrays.
    """
    if field.name == THUMBNAIL and field.dtype == "binary":
        return {"name": field.name, "dtype": "image"}
    if not field.shape:
        return {"name": field.name, "dtype": field.dtype}
    if len(field.shape) in ARRAYS and field.dtype not in ("string", "binary"):
        about = {"shape": list(field.shape), "dtype": field.dtype}
        return {"name": field.name, "dtype": {f"array{len(field.shape)}_d": about}}
    inner: Any = field.dtype
    for size in reversed(field.shape):
        inner = {"list": inner, "length": size}
    return {"name": field.name, **inner}


def _prose(exported: Exported) -> Iterator[str]:
    generator = exported.manifest.generator
    yield (
        f"{exported.rows:,} images that the generator {_code(generator.get('name'))} made, one a "
        "row: the latents that each was made from and what was measured in it. Made with "
        "LatentLode."
    )
    yield _facts(exported)
    if SEQUENCE in {field.name for field in exported.fields}:
        yield (
            f"Rows of one {_code(SEQUENCE)} show one identity, whose pose and expression change: "
            "they are no independent samples. Split the rows for training and test by it."
        )
    if exported.missing:
        yield (
            f"**Not complete:** {exported.missing:,} of {exported.manifest.shards:,} shards are "
            f"missing. The files that are finished are those listed in croissant.json."
        )
    yield from _origin(exported)
    yield "## What made it"
    yield _makers(exported)
    yield _licence(exported)
    yield from _statuses(exported)
    yield "## Columns"
    yield _columns(exported.fields)
    yield from _entries(exported.fields)
    yield "## Loading"
    yield loading(exported.fields)


def _facts(exported: Exported) -> str:
    settings = exported.manifest.settings
    facts = [
        ("dataset", exported.manifest.dataset_id),
        ("rows", f"{exported.rows:,}"),
        ("files", f"{len(exported.files):,}, {exported.bytes:,} bytes"),
        *((str(key), json.dumps(value)) for key, value in sorted(settings.items())),
        *(
            (f"made with {library}", version)
            for library, version in sorted(exported.manifest.made_with.items())
        ),
    ]
    return _table(("fact", "value"), [(_plain(key), _code(value)) for key, value in facts])


def _origin(exported: Exported) -> Iterator[str]:
    if exported.chosen is not None:
        yield "## How it was chosen"
        yield (
            f"From dataset `{exported.manifest.dataset_id}`, whose sample ids it keeps. The same "
            "choice gives the same rows again."
        )
        yield "\n".join(_choice(exported.chosen))
    if exported.steps:
        yield "## Parents"
        yield (
            "It was made of another dataset. Samples keep the ids of the dataset that was sampled: "
            f"`{exported.manifest.root_id}`."
        )
        yield "\n".join(f"- of `{step.parent}`: {_plain(step.told)}" for step in exported.steps)


def _choice(chosen: Chosen) -> Iterator[str]:
    yield "- rows: " + ("all" if chosen.where is None else f"those with {_code(chosen.where)}")
    if chosen.sample is not None:
        yield f"- of them: {chosen.sample:,}, drawn at random with seed {chosen.seed}"
    yield "- columns: " + ("all" if chosen.columns is None else "those below")


def _makers(exported: Exported) -> str:
    rows = []
    for role, maker in _roles(exported):
        told = (maker.get("name"), maker.get("fingerprint"), maker.get("licence"))
        rows.append((role, _code(told[0]), _code(told[1]), _plain(told[2])))
        if maker.get("weights"):
            rows.append(("weights", "", _code(maker["weights"]), ""))
        for model in maker.get("models", []):
            file = str(model.get("name", "")).replace("\\", "/").rpartition("/")[2]
            told = (_code(file), _code(model.get("sha256")), _plain(model.get("licence")))
            rows.append(("model file", *told))
    return _table(("part", "name", "fingerprint or SHA-256", "licence"), rows)


def _roles(exported: Exported) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "generator", exported.manifest.generator
    for extractor in exported.manifest.extractors:
        yield "extractor", extractor


def _licence(exported: Exported) -> str:
    found = exported.licence
    if found.identifiers:
        return f"Licence: {', '.join(found.identifiers)}, those of all parts above."
    if found.name == "research-only":
        return "Licence: research only. At least one part above excludes commercial use."
    return "Licence: not stated. Of at least one part above no licence is known."


def _statuses(exported: Exported) -> Iterator[str]:
    if not exported.statuses:
        return
    yield "## Statuses"
    yield (
        "Every extractor says of every row whether it could measure it. Where it could not, its "
        "measurements are null (counts are 0), and its reason says why."
    )
    rows = [
        (_code(extractor), _code(status), f"{count:,}")
        for extractor, counts in exported.statuses.items()
        for status, count in sorted(counts.items())
    ]
    yield _table(("extractor", "status", "rows"), rows)


def _columns(fields: Sequence[Field]) -> str:
    rows = [
        (
            _code(field.name),
            field.dtype,
            " x ".join(map(str, field.shape)),
            _plain(field.unit),
            _plain(field.text),
            "yes" if field.nullable else "",
        )
        for field in fields
    ]
    return _table(("column", "type", "shape", "unit", "meaning", "may be null"), rows)


def _entries(fields: Sequence[Field]) -> Iterator[str]:
    """The names of the entries of vector columns, in order."""
    for field in fields:
        if field.names:
            named = ", ".join(_code(name) for name in field.names)
            yield f"Entries of {_code(field.name)}, in order: {named}."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(value: Any) -> str:
    """Text as code; escaped where it holds what would end the code or the cell."""
    text = " ".join(str("" if value is None else value).split())
    if not text:
        return ""
    return _plain(text) if "`" in text or "|" in text else f"`{text}`"


def _plain(value: Any) -> str:
    """Text of others in one line, without effect on the Markdown around it."""
    text = " ".join(str("" if value is None else value).split())
    return _SPECIAL.sub(r"\\\g<0>", text)
