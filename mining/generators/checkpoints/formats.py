"""Which of the known formats a file's content is, and its generator in the one naming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mining.generators.checkpoints import nvidia, rosinality, tensorflow
from mining.generators.checkpoints.arrays import TensorRef
from mining.generators.checkpoints.plain import Module, Normalised, TensorFlowNetwork
from schemas.errors import InputError

AVERAGED = ("G_ema", "g_ema")  # the generator whose weights were averaged over training


def normalise(content: Any) -> Normalised:
    """The averaged generator of a checkpoint.

    Args:
        content: a file's root as `read_plain` gives it.

    Raises:
        InputError: it is of no known kind, or its generator is not what its kind says.
    """
    if isinstance(content, Module):
        return nvidia.normalise(content)
    if isinstance(content, tuple | list) and content and _all_networks(content):
        return tensorflow.normalise([net for net in content if isinstance(net, TensorFlowNetwork)])
    if isinstance(content, TensorFlowNetwork):
        return tensorflow.normalise([content])
    if isinstance(content, Mapping):
        if rosinality.is_state(content):
            return rosinality.normalise(content, None)
        inside = next((content[name] for name in AVERAGED if name in content), None)
        if isinstance(inside, Module):
            return nvidia.normalise(inside)
        if isinstance(inside, TensorFlowNetwork):
            return tensorflow.normalise([inside])
        if isinstance(inside, Mapping) and rosinality.is_state(inside):
            return rosinality.normalise(inside, _tensor(content.get("latent_avg")))
    raise InputError(
        f"it holds {_described(content)}; expected the G_ema of an NVIDIA release, the (G, D, Gs) "
        "of a TensorFlow release, or the g_ema of rosinality's stylegan2-pytorch"
    )


def _all_networks(content: tuple[Any, ...] | list[Any]) -> bool:
    return all(isinstance(each, TensorFlowNetwork) for each in content)


def _tensor(value: Any) -> TensorRef | None:
    if value is not None and not isinstance(value, TensorRef):
        raise InputError(f"its latent_avg is a {type(value).__name__}; expected a tensor")
    return value


def _described(content: Any) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(repr(name)[:40] for name in list(content)[:5])
        return f"a dict of {len(content)} entries ({names})"
    return f"a {type(content).__name__}"
