"""What the Croissant format 1.1 asks of a document, as far as no network is needed to see it.

Source: Croissant Format Specification 1.1 (2026-01-29), its tables of required properties, the
properties of FileObject, FileSet, RecordSet and Field, and the rules for ids and arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import urlsplit

REQUIRED = {
    "sc:Dataset": (
        *("@context", "name", "description", "conformsTo", "license", "url", "creator"),
        *("datePublished", "distribution"),
    ),
    "cr:FileObject": ("@id", "name", "contentUrl", "encodingFormat", "sha256"),
    "cr:FileSet": ("@id", "name", "includes", "encodingFormat"),
    "cr:RecordSet": ("@id", "name", "field"),
    "cr:Field": ("@id", "name", "dataType", "source"),
}
DATA_TYPES = ("sc:Boolean", "sc:Float", "sc:Integer", "sc:Text", "sc:ImageObject")
NAMESPACES = {
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
}
# of the Croissant vocabulary: without an alias in the context they would mean schema.org's
ALIASED = (
    *("arrayShape", "citeAs", "column", "dataType", "extract", "field", "fileSet", "includes"),
    *("isArray", "isLiveDataset", "key", "recordSet", "source"),
)


def broken(document: dict[str, Any]) -> list[str]:
    """What is wrong with it; [] where nothing is."""
    return [*_required(document), *_top(document), *_references(document), *_arrays(document)]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a type, however deep."""
    if isinstance(value, dict):
        if "@type" in value:
            yield value
        for key, inner in value.items():
            if key != "@context":
                yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def _required(document: dict[str, Any]) -> Iterator[str]:
    for node in nodes(document):
        for name in REQUIRED.get(node["@type"], ()):
            if node.get(name) in (None, "", [], {}):
                yield f"{node['@type']} {node.get('@id', '')} lacks {name}"


def _top(document: dict[str, Any]) -> Iterator[str]:
    context = document.get("@context", {})
    for prefix, address in NAMESPACES.items():
        if context.get(prefix) != address:
            yield f"context: {prefix} is not {address}"
    if context.get("@vocab") not in ("http://schema.org/", "https://schema.org/"):
        yield "context: the default namespace is not schema.org"
    for term in ALIASED:
        alias = context.get(term)
        if (alias.get("@id") if isinstance(alias, dict) else alias) != f"cr:{term}":
            yield f"context: {term} is not cr:{term}"
    if document.get("@type") != "sc:Dataset":
        yield "type is not sc:Dataset"
    if document.get("conformsTo") != "http://mlcommons.org/croissant/1.1":
        yield "conformsTo is not version 1.1"
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(document.get("version", "0.0.0"))):
        yield "version is not MAJOR.MINOR.PATCH"
    try:
        date.fromisoformat(document.get("datePublished", ""))
    except ValueError:
        yield "datePublished is not a date"
    licences = document.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        named = isinstance(licence, dict) and licence.get("@type") == "sc:CreativeWork"
        if not named and not urlsplit(str(licence)).scheme.startswith("http"):
            yield f"license {licence} is neither a URL nor a CreativeWork"
    if document.get("creator", {}).get("@type") not in ("sc:Organization", "sc:Person"):
        yield "creator is neither an organisation nor a person"


def _references(document: dict[str, Any]) -> Iterator[str]:
    ids = [node["@id"] for node in nodes(document) if "@id" in node]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"id {name} stands twice"
    for name in ids:
        if re.search(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]", name):
            yield f"id {name} is not an IRI reference"
    for record_set in document.get("recordSet", []):
        for field in record_set.get("field", []):
            source = field.get("source", {})
            if source.get("fileSet", {}).get("@id") not in ids:
                yield f"field {field.get('name')} has no source that exists"
            if not source.get("extract", {}).get("column"):
                yield f"field {field.get('name')} extracts no column"
            if not field.get("@id", "").startswith(f"{record_set['@id']}/"):
                yield f"field {field.get('name')} is not under its record set"
        key = record_set.get("key", {}).get("@id")
        if key is not None and key not in ids:
            yield f"key {key} is no field"


def _arrays(document: dict[str, Any]) -> Iterator[str]:
    for node in nodes(document):
        if node["@type"] != "cr:Field":
            continue
        if node.get("dataType") not in DATA_TYPES:
            yield f"field {node.get('name')} has the type {node.get('dataType')}"
        shape = node.get("arrayShape")
        if shape is not None and node.get("isArray") is not True:
            yield f"field {node.get('name')} has a shape and is no array"
        if shape is not None and not re.fullmatch(r"-?\d+(,-?\d+)*", str(shape)):
            yield f"field {node.get('name')} has the shape {shape}"
