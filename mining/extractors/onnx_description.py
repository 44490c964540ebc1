"""The YAML that describes an ONNX model: what goes in, what comes out, as which columns."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mining.extractors.crops import Way

MOST_COLUMNS = 1000
RESERVED = ("status", "reason")  # columns that every extractor has
GREY = 1

Edge = Annotated[int, Field(ge=1, le=2048)]
Index = Annotated[int, Field(ge=0, lt=1_000_000)]
Line = Annotated[str, Field(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
Short = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]
ColumnName = Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9_]+$")]


class Part(BaseModel):
    """One group of a description; unknown keys, numbers as text and NaN are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Input(Part):
    """How pixels become the model's input: ((byte / 255 -> range) - mean) / std."""

    name: Short | None = None
    """of the model's input; its only one where it is null"""
    size: tuple[Edge, Edge]
    """width and height in pixels; one number means both"""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    range: tuple[float, float] = (0.0, 1.0)
    """what the bytes 0 and 255 become"""
    mean: list[float] = [0.0]
    """subtracted after that; one number, or one per channel"""
    std: list[float] = [1.0]
    """divided by after that; one number, or one per channel"""
    resize: Way = "bilinear"
    """see `mining.extractors.crops.resized`; a crop of kind points takes none"""

    @field_validator("size", mode="before")
    @classmethod
    def both_edges(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) != 2:
            raise ValueError(f"{len(value)} numbers came; expected width and height, or one number")
        if isinstance(value, list):
            return tuple(value)  # a strict tuple takes no list
        return (value, value) if isinstance(value, int) else value

    @field_validator("mean", "std", mode="before")
    @classmethod
    def one_number(cls, value: Any) -> Any:
        return [value] if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def fits(self) -> Input:
        if len(self.mean) not in (1, self.depth) or len(self.std) not in (1, self.depth):
            raise ValueError(
                f"mean has {len(self.mean)} and std {len(self.std)} numbers; expected 1 or "
                f"{self.depth} for {self.channels}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} came; expected numbers above 0")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {list(self.range)} came; expected a lower number first")
        return self

    @property
    def depth(self) -> int:
        """Channels."""
        return GREY if self.channels == "gray" else 3


class Crop(Part):
    """Which part of the image the model sees."""

    kind: Literal["image", "box", "points"] = "image"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """image: of the edges of the largest middle part; 0.875 keeps 224 of 256 pixels"""
    source: Name | None = None
    """box, points: the extractor, earlier in the run, that found them"""
    column: ColumnName | None = None
    """its column; box, or landmarks for points, where it is null"""
    margin: Annotated[float, Field(gt=-0.5, le=3)] = 0.0
    """box: added on each side, in lengths of the edge that fills the input"""
    points: list[Annotated[list[Index], Field(min_length=1, max_length=500)]] | None = None
    """points: which of the source's points are averaged into each of the template's; all as they
    are where it is null; a number means one point"""
    template: list[tuple[float, float]] | None = None
    """points: x, y in pixels of the input, whole numbers at the middles of pixels"""

    @field_validator("points", mode="before")
    @classmethod
    def groups(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [[each] if isinstance(each, int) else each for each in value]

    @model_validator(mode="after")
    def fits(self) -> Crop:
        allowed = {"image": {"share"}, "box": {"source", "column", "margin"}}.get(
            self.kind, {"source", "column", "points", "template"}
        )
        for key in sorted(self.model_fields_set - {"kind"} - allowed):
            listed = ", ".join(sorted(allowed))
            raise ValueError(f"kind {self.kind} takes no {key}; it takes {listed}")
        if self.kind != "image" and self.source is None:
            raise ValueError(f"kind {self.kind} needs a source, such as dlib")
        if self.kind == "points":
            self._check_template()
        return self

    def _check_template(self) -> None:
        count = len(self.template or [])
        if not 2 <= count <= 1000:
            raise ValueError(
                f"kind points came with a template of {count} points; expected 2..1000"
            )
        if self.points is not None and len(self.points) != count:
            raise ValueError(f"{len(self.points)} points and a template of {count} do not pair up")
        if len(set(self.template or [])) < 2:
            raise ValueError("the template's points all lie in one place")

    @property
    def read(self) -> str:
        """The source's column."""
        return self.column or ("box" if self.kind == "box" else "landmarks")


class ColumnPart(Part):
    """One column: offset + scale * number."""

    index: Index | None = None
    """which of the output's numbers, counted from `numbers` on; the column's place in the list
    where it is null"""
    unit: Short | None = None
    text: Line | None = None
    """one sentence for the dataset card"""
    scale: float = 1.0
    offset: float = 0.0


class Bins(Part):
    """Values at even distances."""

    first: float = 0.0
    step: float = 1.0


class Output(Part):
    """One output of the model, or some of its numbers, as columns."""

    name: Short | None = None
    """of the model's output; its only one where it is null"""
    numbers: tuple[Index, Index] | None = None
    """the first of its numbers that take part, and the first that do not; all where it is null"""
    activation: Literal["none", "sigmoid", "softmax", "expectation"] = "none"
    """expectation: the softmax's mean of `bins`"""
    bins: list[float] | Bins | None = None
    """expectation: the value that each number stands for"""
    unit: Short = "1"
    columns: dict[ColumnName, ColumnPart]
    """name -> its parts, or its index; or a list of names, in the order of the numbers"""

    @field_validator("columns", mode="before")
    @classmethod
    def spelled_out(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a list of columns holds what is no name; quote it")
            if len(set(value)) != len(value):
                raise ValueError("a name stands twice in the list of columns")
            return {name: {"index": place} for place, name in enumerate(value)}
        if isinstance(value, dict):
            short = {int: lambda index: {"index": index}, type(None): lambda _: {}}
            return {key: short.get(type(part), lambda p: p)(part) for key, part in value.items()}
        return value

    @model_validator(mode="after")
    def fits(self) -> Output:
        if not self.columns:
            raise ValueError("columns are empty; name one at least")
        if self.numbers is not None and self.numbers[0] >= self.numbers[1]:
            raise ValueError(f"numbers {list(self.numbers)} are none; expected a lower one first")
        if (self.activation == "expectation") != (self.bins is not None):
            raise ValueError("activation expectation and bins belong together; one came alone")
        if self.activation == "expectation":
            if len(self.columns) != 1 or self.only.index:
                raise ValueError("activation expectation makes one column, without an index")
        elif len(self.columns) > 1 and any(part.index is None for part in self.columns.values()):
            raise ValueError("several columns need an index each, or a list of names")
        return self

    @model_validator(mode="after")
    def within(self) -> Output:
        if self.numbers is not None:
            count = self.numbers[1] - self.numbers[0]
            for name, part in self.columns.items():
                if (part.index or 0) >= count:
                    raise ValueError(f"column {name} has the index {part.index} of {count} numbers")
            if isinstance(self.bins, list) and len(self.bins) != count:
                raise ValueError(f"{len(self.bins)} bins came for {count} numbers")
        return self

    @property
    def only(self) -> ColumnPart:
        """The column of an output with one."""
        return next(iter(self.columns.values()))


class Description(Part):
    """A model, its input, and its outputs as columns "<name>_<column>"."""

    name: Name
    """of the extractor"""
    text: Line = ""
    """what the model is, in one sentence"""
    licence: Line | None = None
    """of the model file"""
    model: Annotated[str, Field(min_length=1, max_length=2000)]
    """path of the ONNX file, relative to the description, or a URL"""
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    """of the ONNX file; a URL needs it"""
    input: Input
    crop: Crop = Crop()
    outputs: Annotated[list[Output], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def resize_is_used(self) -> Description:
        if self.crop.kind == "points" and "resize" in self.input.model_fields_set:
            raise ValueError("a crop of kind points is warped; it takes no input.resize")
        return self

    @model_validator(mode="after")
    def distinct_columns(self) -> Description:
        seen: set[str] = set()
        for name in (name for output in self.outputs for name in output.columns):
            if name in seen:
                raise ValueError(f"the column {name!r} stands twice")
            if name in RESERVED:
                raise ValueError(f"a column cannot be called {name!r}; every extractor has that")
            seen.add(name)
        if len(seen) > MOST_COLUMNS:
            raise ValueError(f"{len(seen)} columns came; at most {MOST_COLUMNS}")
        return self

    def content(self) -> str:
        """What decides the numbers, as JSON: not where the model lies, nor any words about it."""
        beside = {"model", "sha256", "name", "licence", "text"}
        stored = self.model_dump(mode="json", exclude=beside)
        for output in stored["outputs"]:
            del output["unit"]
            for column in output["columns"].values():
                del column["unit"], column["text"]
        return json.dumps(stored, sort_keys=True)
