"""What an exported dataset is: its columns, its files, and how its rows were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.samples import Field
from storage.derived import EXTENDED, RENDER, THUMBNAILS, lineage
from storage.licences import Licence, judged
from storage.manifest import Manifest

SPLIT = "train"
PATTERN = f"data/{SPLIT}-*.parquet"
THUMBNAIL = "thumbnail"  # the column of JPEG files


@dataclass(frozen=True)
class ExportedFile:
    """One Parquet file."""

    name: str  # from the folder on: data/train-00000.parquet
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Chosen:
    """How rows and columns were chosen from the dataset."""

    where: str | None  # the expression in its canonical spelling
    columns: tuple[str, ...] | None  # None: all of them
    sample: int | None
    seed: int

    def told(self) -> str:
        """In words, for people."""
        rows = "all rows" if self.where is None else f"the rows with {self.where}"
        if self.sample is not None:
            rows = f"{self.sample:,} of {rows}, drawn at random with seed {self.seed}"
        columns = "all columns" if self.columns is None else f"{len(self.columns)} columns"
        return f"{rows}; {columns}"


@dataclass(frozen=True)
class Step:
    """How a dataset was made of its parent."""

    parent: str  # its id
    told: str


@dataclass(frozen=True)
class Exported:
    """Everything that the dataset card and croissant.json tell."""

    manifest: Manifest
    fields: tuple[Field, ...]  # in the order of the columns
    files: tuple[ExportedFile, ...]
    statuses: Mapping[str, Mapping[str, int]]  # extractor -> status -> rows
    missing: int  # shards that are not finished
    published: str  # ISO date
    chosen: Chosen | None = None  # None: all rows and columns of the finished shards
    creator: str = ""
    homepage: str = ""
    steps: tuple[Step, ...] = ()  # back to the dataset that was sampled

    @property
    def name(self) -> str:
        """Names the dataset; a part of one says so."""
        name = f"latentlode-{self.manifest.dataset_id}"
        return f"{name}-part" if self.chosen else name

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def patterns(self) -> list[str]:
        """Which files there are: a pattern, or every name where files may lie beside them."""
        return [file.name for file in self.files] if self.missing else [PATTERN]

    @property
    def makers(self) -> list[Mapping[str, Any]]:
        """The generator and the extractors."""
        return [self.manifest.generator, *self.manifest.extractors]

    @property
    def licence(self) -> Licence:
        """What the licences of the generator, the extractors and their models come to."""
        texts = [maker.get("licence", "") for maker in self.makers]
        models = [model for maker in self.makers for model in maker.get("models", [])]
        return judged([*texts, *(model.get("licence", "") for model in models)])


def tags(exported: Exported) -> list[str]:
    """Words by which a dataset is found."""
    generator = str(exported.manifest.generator.get("name", ""))
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in generator.lower())
    words = ["latentlode", "synthetic", "generated-images", "latents", plain.strip("-")]
    return [word for word in dict.fromkeys(words) if word]


def origin(manifest: Manifest) -> tuple[Step, ...]:
    """The steps by which a derived dataset was made, the last first; () where it is not derived."""
    return tuple(Step(step["parent"], _told(step)) for step in lineage(manifest))


def _told(step: Mapping[str, Any]) -> str:
    """One step in words. Where the parent lay is nobody's business elsewhere."""
    if step["kind"] == EXTENDED:
        return f"columns of {', '.join(step['extractors'])} were added, {_seen(step)}"
    columns = step.get("columns")
    names = None if columns is None else tuple(columns)
    chosen = Chosen(step.get("where"), names, step.get("sample"), step.get("seed") or 0)
    return f"chosen: {chosen.told()}"


def _seen(step: Mapping[str, Any]) -> str:
    """What the added extractors measured."""
    if step["images"] == THUMBNAILS:
        return f"measured on thumbnails of {step['image_size']} pixels"
    rendered = "measured on images made again from the stored latents"
    return rendered if step["images"] == RENDER else "computed from the columns before them"
