"""The generators by name. To add one: write its file, add its line here."""

from __future__ import annotations

from typing import Any

from mining.generators.base import Generator
from schemas.errors import InputError
from schemas.registry import Registry, build, check_protocol

SPACES = ("z", "w", "w+", "s")

GENERATORS: Registry = {
    # name: (module:class, pip extra that it needs)
    "head": ("mining.generators.head:HeadGenerator", ""),
    "stylegan2": ("mining.generators.pretrained:stylegan2", ""),
    "stylegan3": ("mining.generators.pretrained:stylegan3", ""),
    "eg3d": ("mining.generators.eg3d:eg3d", ""),
}


def make_generator(name: str, **settings: Any) -> Generator:
    """Load the generator `name` with its settings.

    Raises:
        InputError: the name or an option is unknown, or it does not fit the protocol.
    """
    made: Generator = build("generator", name, GENERATORS, settings)
    where = "mining/generators/base.py"
    check_protocol("generator", name, made, Generator, where)
    if len(made.layer_names) != made.num_ws:
        raise InputError(
            f"generator {name!r} has {made.num_ws} rows of W+ (num_ws) and "
            f"{len(made.layer_names)} layer_names; expected as many; see {where}."
        )
    strange = set(made.spaces) - set(SPACES)
    if strange:
        raise InputError(
            f"generator {name!r} has the spaces {', '.join(sorted(strange))}; expected some of "
            f"{', '.join(SPACES)}; see {where}."
        )
    return made
