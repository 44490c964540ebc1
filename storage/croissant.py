"""croissant.json: the dataset in the Croissant format 1.1, which search engines and loaders read.

Source: Croissant Format Specification 1.1, MLCommons, http://mlcommons.org/croissant/1.1
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from schemas.samples import Field
from storage.exported import THUMBNAIL, Exported, ExportedFile, tags

NAME = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"  # what loaders of Croissant know; there is no registered type
FILES, RECORDS = "parquet-files", "samples"
TYPES = {
    "float32": "sc:Float",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "string": "sc:Text",
    "binary": "sc:Text",  # the format has no type of bytes; loaders give Text as bytes
}
_TERMS = (  # of the Croissant vocabulary: those of the appendix of the format, and of its loader
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty"),
    *("excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
    *("readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def croissant(exported: Exported) -> str:
    """croissant.json as text."""
    return json.dumps(document(exported), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def document(exported: Exported) -> dict[str, Any]:
    """The same as plain containers: every property that the format requires, and some more."""
    creator = exported.creator or "not stated (made with LatentLode)"
    based_on = [_parent(step.parent) for step in exported.steps]
    if exported.chosen is not None:
        based_on.append(_parent(exported.manifest.dataset_id))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": exported.name,
        "conformsTo": VERSION,
        "description": _description(exported),
        "identifier": exported.manifest.dataset_id,
        "license": _licence(exported),
        "url": exported.homepage or "./",  # the folder that holds this file
        "creator": {"@type": "sc:Organization", "name": creator},
        "datePublished": exported.published,
        "version": "1.0.0",
        "citeAs": _citation(exported),
        "isLiveDataset": False,
        "keywords": tags(exported),
        **({"isBasedOn": based_on} if based_on else {}),
        "distribution": [*(_file(file) for file in exported.files), _file_set(exported)],
        "recordSet": [_record_set(exported)],
    }


def _description(exported: Exported) -> str:
    generator = exported.manifest.generator.get("name")
    parts = [
        f"{exported.rows:,} images of the generator {generator}, one a row: latents, thumbnail and "
        "what was measured in each."
    ]
    if exported.chosen is not None:
        parts.append(f"Chosen: {exported.chosen.told()}.")
    if exported.missing:
        parts.append(f"Not complete: {exported.missing:,} shards are missing.")
    return " ".join(parts)


def _citation(exported: Exported) -> str:
    by = f"{exported.creator}: " if exported.creator else ""
    generator = exported.manifest.generator.get("name")
    return (
        f"{by}{exported.name}, {exported.rows:,} images of the generator {generator}, made with "
        f"LatentLode, {exported.published[:4]}."
    )


def _parent(dataset_id: str) -> dict[str, str]:
    """Another dataset; not of the type Dataset, of which a document describes one."""
    return {
        "@type": "sc:CreativeWork",
        "name": f"latentlode-{dataset_id}",
        "identifier": dataset_id,
    }


def _licence(exported: Exported) -> list[Any]:
    """Addresses of known licences, else what every part says of its own."""
    found = exported.licence
    if found.identifiers:
        return [f"https://spdx.org/licenses/{name}" for name in found.identifiers]
    said = dict.fromkeys(str(maker.get("licence", "unknown")) for maker in exported.makers)
    return [{"@type": "sc:CreativeWork", "name": found.name, "description": "; ".join(said)}]


def _file(file: ExportedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name.rpartition("/")[2],
        "description": f"{file.rows:,} rows",
        "contentUrl": file.name,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": PARQUET,
        "sha256": file.sha256,
    }


def _file_set(exported: Exported) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "description": "All files of samples, one table together.",
        "encodingFormat": PARQUET,
        "includes": exported.patterns,
    }


def _record_set(exported: Exported) -> dict[str, Any]:
    names = [field.name for field in exported.fields]
    key = {"key": {"@id": _id("sample_id")}} if "sample_id" in names else {}
    return {
        "@type": "cr:RecordSet",
        "@id": RECORDS,
        "name": RECORDS,
        "description": f"{exported.rows:,} samples, one a row.",
        **key,
        "field": [_field(field) for field in exported.fields],
    }


def _field(field: Field) -> dict[str, Any]:
    image = field.name == THUMBNAIL and field.dtype == "binary"
    array = {"isArray": True, "arrayShape": ",".join(map(str, field.shape))} if field.shape else {}
    return {
        "@type": "cr:Field",
        "@id": _id(field.name),
        "name": field.name,
        "description": meaning(field),
        "dataType": "sc:ImageObject" if image else TYPES[field.dtype],
        **array,
        "source": {"fileSet": {"@id": FILES}, "extract": {"column": field.name}},
    }


def meaning(field: Field) -> str:
    """Meaning, type, unit and entries of a column in one line."""
    parts = [field.text or field.name, field.dtype]
    if field.unit:
        parts.append(f"unit: {field.unit}")
    if field.names:
        parts.append(f"entries: {', '.join(field.names)}")
    if field.nullable:
        parts.append("null where it was not measured")
    return "; ".join(parts)


def _id(column: str) -> str:
    """An identifier is a reference in the sense of RFC 3986: other characters are escaped."""
    return f"{RECORDS}/{quote(column, safe='')}"
