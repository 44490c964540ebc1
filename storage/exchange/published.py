"""Directions that others published, recognised by how their files and folders are named."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath

from storage.exchange.found import Found, text

# rosinality's conversion of StyleGAN2 config-f for FFHQ, which lode knows by this name; the
# conversion changes no direction (mining/generators/checkpoints/README.md)
FFHQ = "stylegan2-tf-ffhq"
_NVIDIA = "Nvidia Source Code License-NC: research or evaluation only (non-commercial)"
_DOMAINS = {"ffhq": FFHQ, "cars": "stylegan2-tf-car", "horse": "stylegan2-tf-horse"}
_DOMAINS |= {"church": "stylegan2-tf-church"}

# <model>_<attribute>[_c_<condition>][_w]_boundary, as in interfacegan/boundaries
_BOUNDARY = re.compile(
    r"(?:(?P<model>(?:style|pg)gan[0-9]*_[a-z0-9]+)_)?(?P<attribute>.+?)"
    r"(?:_c_(?P<condition>.+?))?(?P<w>_w)?_boundary"
)
# <model>_<space>/boundary_<attribute>, as in InterFaceGAN++
_FOLDER = re.compile(r"(?P<model>(?:style|pg)gan[0-9]*_[a-z0-9]+)_(?P<space>[zw])")


@dataclass(frozen=True)
class Origin:
    """Where a family of files comes from."""

    method: str
    source: str
    licence: str  # of the files themselves, as their repository says


INTERFACEGAN = Origin("interfacegan", "https://github.com/genforce/interfacegan", "MIT")
E4E = Origin("e4e", "https://github.com/omertov/encoder4editing", "MIT")
PTI = Origin("pti", "https://github.com/danielroich/PTI", "MIT")
MICROMOTION = Origin("micromotion", "https://github.com/wuqiuche/micromotion-styleGAN", "MIT")
GANSPACE = Origin("ganspace", "https://github.com/harskish/ganspace", "Apache-2.0")

# a folder in the path -> whose files lie in it
_FOLDERS = {"encoder4editing": E4E, "e4e": E4E, "interfacegan_directions": E4E, "pti": PTI}
_FOLDERS |= {"ganspace_pca": E4E, "micromotion": MICROMOTION, "pregen_latents": MICROMOTION}


def recognised(found: Found, path: PurePath) -> Found:
    """The same direction with what the names of its file and folders say of it."""
    if found.fingerprint_hint:  # it says all of itself
        return replace(found, name=found.name or text(path.stem))
    stem = _spelled(path.stem.lower(), path.parent.name.lower())
    boundary = _BOUNDARY.fullmatch(stem)
    if found.method == "ganspace":
        return _components(found, stem)
    if path.name.lower().startswith("d_latent") and not path.suffix:
        return _from(found, MICROMOTION, name=text(path.parent.name) or "motion", generator=FFHQ)
    if boundary and found.vector.ndim == 1:
        return _boundary(found, boundary)
    folders = [part.lower() for part in reversed(path.parts[:-1])]
    origin = next((_FOLDERS[part] for part in folders if part in _FOLDERS), None)
    if origin is None:
        return replace(found, name=found.name or text(path.stem))
    return _from(found, origin, name=text(path.stem), generator=FFHQ, space="w")


def _spelled(stem: str, folder: str) -> str:
    """A boundary's name as `_BOUNDARY` has it, where a part of it stands in its folder's name."""
    if stem == "boundary":  # as InterFaceGAN's training names it
        return f"{folder or 'unnamed'}_boundary"
    within = _FOLDER.fullmatch(folder)
    if within is None or not stem.startswith("boundary_"):
        return stem
    space = "_w" if within["space"] == "w" else ""
    return f"{within['model']}_{stem.removeprefix('boundary_')}{space}_boundary"


def _components(found: Found, stem: str) -> Found:
    """GANSpace's, or encoder4editing's of a domain: ffhq_pca.pt."""
    domain = stem.removesuffix("_pca")
    if stem.endswith("_pca") and domain in _DOMAINS:
        return _from(found, E4E, name=found.name, generator=_DOMAINS[domain])
    return _from(found, GANSPACE, name=found.name, generator=found.generator_hint)


def _boundary(found: Found, named: re.Match[str]) -> Found:
    """A boundary of Z, or of W where its name says so; a condition makes another method of it."""
    condition = text(named["condition"])
    said = _from(
        found,
        INTERFACEGAN,
        name=text(named["attribute"]),
        generator=named["model"] or "",
        space=("w" if named["w"] else "z") if named["model"] or named["w"] else "",
        method=INTERFACEGAN.method + (f"_c_{condition}" if condition else ""),
    )
    if not condition:
        return said
    note = f"conditioned: its part along {condition} was taken out"
    return replace(said, notes=(*said.notes, note))


def _from(
    found: Found, origin: Origin, name: str, generator: str, space: str = "", method: str = ""
) -> Found:
    """What the file says by itself comes before what its name says."""
    said = found.method if found.method != "imported" else ""
    return replace(
        found,
        name=found.name or name,
        method=said or method or origin.method,
        space_hint=found.space_hint or (space if found.vector.ndim == 1 else "w+"),
        generator_hint=found.generator_hint or generator,
        generator_licence_hint=found.generator_licence_hint
        or (_NVIDIA if generator in _DOMAINS.values() else ""),
        licence_hint=found.licence_hint or origin.licence,
        source_hint=found.source_hint or origin.source,
    )
