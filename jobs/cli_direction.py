"""`lode dataset direction`: one direction from a finished dataset, without Ray and in seconds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.labels import Label
    from schemas.directions import DirectionCard
    from storage.catalog import Publication
    from storage.files import Store

Output = Literal["table", "json"]


def direction(
    url: Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")],
    attribute: Annotated[
        str | None, typer.Option(help="A scalar column, or a label of --labels.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME=EXPRESSION", help="An attribute of your own.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="A YAML file of labels.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="ridge, svm, logistic, lda, or random for a control.")
    ] = "ridge",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the method.")
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option(metavar="ATTRIBUTE", help="Project its direction out; may be repeated."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Only rows for which this holds.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of what the method draws.")] = 0,
    catalog: Annotated[
        str | None, typer.Option(metavar="URL", help="Publish the direction there.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE.npy", help="Write the vector there.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Mine one direction from the columns that are there; nothing is rendered.

    An expression over columns makes a new attribute: --label "wide = mouth_width > 52". With
    --hold the directions of other attributes are mined too and projected out of it. What the
    direction does to images is not measured; `lode mine` with mining.labels does.
    """
    from jobs.quick_direction import mine_quick, publish_quick

    known = _labels(label, labels)
    name = _name(attribute, label, known)
    options = _options(set_ or [])
    if out is not None:
        _check_out(out)
    start = time.monotonic()
    card = mine_quick(url, name, known, method, options, where, seed, hold or ())
    seconds = round(time.monotonic() - start, 2)
    publication = publish_quick(card, catalog) if catalog else None
    if out is not None:
        _write(out, card)
    said = {**_facts(card, out, publication), "seconds": seconds}
    if output == "json":
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    width = max(map(len, said))
    for key, value in said.items():
        if value is not None:
            typer.echo(f"{key:<{width}}  {value}")


def _labels(label: str | None, file: str | None) -> dict[str, Label]:
    from mining.labels import make_labels

    given = {}
    if label is not None:
        name, sign, text = label.partition("=")
        if not sign or not name.strip() or not text.strip():
            raise InputError(
                f"lode dataset direction: --label {label!r} came; expected NAME=EXPRESSION, such "
                'as "wide=mouth_width > 52".'
            )
        given = {name.strip(): text.strip()}
    return make_labels(given, file)


def _name(attribute: str | None, label: str | None, known: Mapping[str, Label]) -> str:
    if attribute is not None:
        return attribute
    if label is not None:
        return label.partition("=")[0].strip()
    if len(known) == 1:
        return next(iter(known))
    raise InputError(
        "lode dataset direction: no attribute came; expected --attribute NAME"
        f"{', one of ' + ', '.join(known) if known else ''} or --label NAME=EXPRESSION."
    )


def _options(words: Sequence[str]) -> dict[str, Any]:
    from schemas.plain_yaml import parse_yaml

    options = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise InputError(f"lode dataset direction: --set {word!r} came; expected KEY=VALUE.")
        options[key.strip()] = parse_yaml(value.encode(), f"--set {key.strip()}")
    return options


def _place(out: str) -> tuple[Store, str]:
    """The folder of the vector's file, and its name."""
    from storage.files import Store, absolute

    folder, _, name = absolute(out).rpartition("/")
    return Store(folder or "/"), name


def _check_out(out: str) -> None:
    """Refuse a place that cannot take the file, before anything is read; no folder is made."""
    if not out:
        raise InputError("lode dataset direction: --out is empty; expected the name of a file.")
    store, name = _place(out)
    if store.exists(name):
        raise _taken(out)
    if store.exists():
        store.check_writable()


def _write(out: str, card: DirectionCard) -> None:
    import io

    import numpy as np

    bytes_ = io.BytesIO()
    np.save(bytes_, card.vector, allow_pickle=False)
    store, name = _place(out)
    if not store.create(name, bytes_.getvalue()):
        raise _taken(out)


def _taken(out: str) -> InputError:
    return InputError(f"lode dataset direction: {out} is there already; choose another --out.")


def _repeated(publication: Publication | None) -> str | None:
    """The direction of the catalogue that it all but repeats, where there is one."""
    if publication is None or not publication.duplicates:
        return None
    found = publication.duplicates[0]
    return f"{found.other} (cosine {found.cosine:.4f})"


def _short(value: float | None) -> float | None:
    """Six digits, however small it is; None for what is not a number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _facts(card: DirectionCard, out: str | None, publication: Publication | None) -> dict[str, Any]:
    """What is printed; None where there is nothing to tell."""
    evidence = {
        key: round(value, 6) if math.isfinite(value) else None
        for key, value in card.evidence.items()
    }
    return {
        "direction": card.direction_id,
        "attribute": card.attribute,
        "unit": card.unit,
        "method": card.method,
        "space": card.space,
        "slope": _short(card.slope),
        "sigma": _short(card.sigma),
        "truth_cosine": _short(card.truth_cosine),
        **evidence,
        "file": out,
        "publication": None if publication is None else publication.publication_id,
        "nearly_the_same_as": _repeated(publication),
    }
