"""`lode generator`: say what a checkpoint holds; write it as a file that loads without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.generators.checkpoints.base import Checkpoint
    from mining.generators.checkpoints.loading import Found

generator_app = typer.Typer(
    help="Inspect and convert checkpoints of pretrained generators.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SourceArgument = Annotated[
    str,
    typer.Argument(metavar="FILE|URL|NAME", help="A file, a URL, or a public checkpoint's name."),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Fetch nothing.")]
Sha256Option = Annotated[
    str | None, typer.Option("--sha256", help="64 hex digits that the file must have.")
]


@generator_app.command()
def inspect(
    source: SourceArgument,
    sha256: Sha256Option = None,
    offline: OfflineOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a checkpoint is: architecture, spaces, layers, licence. It is not executed.

    Exit status 1 where its tensors do not fit its architecture.
    """
    found, checkpoint = _read(source, sha256, offline)
    about = record(found, checkpoint)
    typer.echo(json.dumps(about, indent=2) if as_json else "\n".join(_facts(about)))
    raise typer.Exit(1 if about["problem"] else 0)


@generator_app.command()
def convert(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    sha256: Sha256Option = None,
    offline: OfflineOption = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what stands there.")] = False,
) -> None:
    """Write a checkpoint's averaged generator as safetensors: it loads faster, without pickle."""
    from mining.generators.checkpoints import native

    if out.suffix != ".safetensors":
        raise InputError(f"convert: {out} came; expected a name that ends in .safetensors.")
    if not out.parent.is_dir():  # known before a download of hours
        raise InputError(f"convert: the folder of {out} does not exist; make it first.")
    native.check_free(out, force)
    _, checkpoint = _read(source, sha256, offline)
    native.save(checkpoint, out, force)
    typer.echo(f"{out}: {checkpoint.architecture}, {out.stat().st_size:,} bytes")
    typer.echo(f"weights {checkpoint.sha256}")
    typer.echo(f"licence {_licence(checkpoint.licence)}")


def record(found: Found, checkpoint: Checkpoint) -> dict[str, Any]:
    """What `inspect` tells, as plain JSON."""
    from mining.generators.pretrained import network_of
    from storage.downloads.cache import file_sha256

    config, tensors = checkpoint.config, checkpoint.tensors
    about: dict[str, Any] = {
        "source": checkpoint.source,
        "licence": checkpoint.licence,
        "research_only": _research_only(checkpoint.licence),
        "architecture": checkpoint.architecture,
        "resolution": config.get("img_resolution"),
        "channels": config.get("img_channels"),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "tensors": len(tensors),
        "spaces": {"z": config.get("z_dim"), "c": config.get("c_dim"), "w": config.get("w_dim")},
        "fingerprint": checkpoint.sha256,
        "file_format": checkpoint.file_format,
        "converted_from": _origin(found),
        "file_sha256": found.sha256 or file_sha256(found.path),
        "file_bytes": found.path.stat().st_size,
        "trusted_on_first_use": found.trusted,
        "layers": [],
        "problem": None,
    }
    try:
        network = network_of(checkpoint)
    except InputError as error:
        return {**about, "problem": str(error)}
    layers = network.style_layers
    about["resolution"] = network.resolution
    about["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    about["spaces"] = {
        "z": network.z_dim,
        "c": network.c_dim,
        "w": network.w_dim,
        "w+": [network.num_ws, network.w_dim],
        "s": sum(layer.channels for layer in layers),
    }
    about["layers"] = [
        {
            "row": layer.row,
            "name": layer.name,
            "resolution": layer.resolution,
            "style_channels": layer.channels,
            "to_rgb": layer.to_rgb,
        }
        for layer in layers
    ]
    return about


def _origin(found: Found) -> str | None:
    """Of which format the file was that one of ours was made from; None for other files."""
    from mining.generators.checkpoints.native import is_native, read_header

    return read_header(found.path).file_format if is_native(found.path) else None


def _read(source: str, sha256: str | None, offline: bool) -> tuple[Found, Checkpoint]:
    """Find and read a checkpoint, with progress where it has to be fetched."""
    from jobs.progress import fetching
    from mining.generators.checkpoints.loading import load, locate
    from storage.downloads.offline import offline as fetch_nothing

    with fetch_nothing(offline), fetching() as report:
        found = locate(source, sha256, report=report)
    return found, load(found)


def _facts(about: dict[str, Any]) -> list[str]:
    spaces = about["spaces"]
    facts = [
        ("licence", _licence(about["licence"])),
        ("source", about["source"]),
        ("architecture", about["architecture"]),
        ("resolution", f"{about['resolution']} px, {about['channels']} channels"),
        ("parameters", f"{about['parameters']:,}"),
        ("spaces", ", ".join(f"{name} {_dims(dims)}" for name, dims in spaces.items())),
        ("weights", f"{about['fingerprint']}  (their fingerprint, in any file)"),
        ("file", f"{about['file_format']}, {about['file_bytes']:,} bytes"),
        ("file's SHA-256", about["file_sha256"]),
    ]
    if about["converted_from"]:
        facts.append(("converted from", about["converted_from"]))
    if about["trusted_on_first_use"]:
        note = "none is published for this file; the one above is demanded from now on"
        facts.append(("checksum", note))
    if about["problem"]:
        facts.append(("problem", about["problem"]))
    if not about["layers"]:
        return _aligned(facts)
    header = ("row of W+", "layer", "pixels", "style channels", "")
    layers = [
        (
            str(layer["row"]),
            layer["name"],
            str(layer["resolution"]),
            str(layer["style_channels"]),
            "colours" if layer["to_rgb"] else "",
        )
        for layer in about["layers"]
    ]
    return [*_aligned(facts), "", *_aligned([header, *layers])]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in padded]


def _dims(dims: int | list[int] | None) -> str:
    return " x ".join(map(str, dims)) if isinstance(dims, list) else str(dims)


def _research_only(licence: str) -> bool | None:
    """None where it is not known."""
    return True if "research" in licence else None


def _licence(licence: str) -> str:
    return f"RESEARCH ONLY. {licence}" if _research_only(licence) else licence
