"""Makes checkpoint files as the published trainers write them, with modules that stand in.

Persistence pickles carry the trainer's source text; here it is one line that would end the
process, were it ever run.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

SOURCE = "raise SystemExit"


class EasyDict(dict):
    """Pickled as dnnlib.util.EasyDict."""


class Network:
    """Pickled as dnnlib.tflib.network.Network."""

    def __init__(self, name, variables, static_kwargs, components):
        self.__dict__ = {
            "version": 4,
            "name": name,
            "static_kwargs": static_kwargs,
            "components": components,
            "build_module_src": SOURCE,
            "build_func_name": f"{name}_main",
            "variables": variables,
        }


class OSGDecoder(torch.nn.Module):
    """Pickled as training.triplane.OSGDecoder: a module without its source beside it."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softplus())


def _reconstruct_persistent_obj(meta):
    raise AssertionError("never called: our reader calls nothing")


class Persistent:
    """Pickled as torch_utils.persistence pickles its modules."""

    def __init__(self, class_name, state):
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self):
        return _reconstruct_persistent_obj, (self.meta,), None


STAND_INS = {
    "dnnlib.util": EasyDict,
    "dnnlib.tflib.network": Network,
    "training.triplane": OSGDecoder,
    "torch_utils.persistence": _reconstruct_persistent_obj,
}


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """The stand-ins under the names of what they stand for, while a pickle is written."""
    made = set()
    for place, thing in STAND_INS.items():
        parts = place.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name not in sys.modules:
                sys.modules[name] = types.ModuleType(name)
                made.add(name)
        setattr(sys.modules[place], thing.__name__, thing)
        thing.__module__ = place
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def module(class_name, parameters=(), buffers=(), modules=(), init_kwargs=(), **attributes):
    """A persistent module with the state that torch modules have."""
    state = {
        "training": False,
        "_parameters": OrderedDict(
            (name, torch.nn.Parameter(value, requires_grad=False))
            for name, value in dict(parameters).items()
        ),
        "_buffers": OrderedDict(buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(modules),
        "_init_args": (),
        "_init_kwargs": EasyDict(init_kwargs),
        **attributes,
    }
    return Persistent(class_name, state)


def generator(seed: int = 0, width: int = 4) -> tuple[Persistent, dict[str, torch.Tensor]]:
    """A small generator, and its tensors by name."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw)

    weight = normal(width, width, 3, 3).to(memory_format=torch.channels_last)
    truth = {
        "synthesis.conv.weight": weight,
        "synthesis.conv.bias": normal(width),
        "synthesis.conv.resample_filter": normal(4, 4),
        "synthesis.conv.noise_strength": normal(),
        "mapping.fc.weight": normal(width, width).T,
        "mapping.w_avg": normal(width),
    }
    conv = module(
        "SynthesisLayer",
        {"weight": weight, "bias": truth["synthesis.conv.bias"]},
        {
            "resample_filter": truth["synthesis.conv.resample_filter"],
            "noise_strength": truth["synthesis.conv.noise_strength"],
        },
        resolution=np.int64(16),
        gain=np.float64(1.5),
        cutoffs=np.linspace(0, 1, 3),
    )
    fc = module("FullyConnectedLayer", {"weight": truth["mapping.fc.weight"]}, {"bias": None})
    mapping = module("MappingNetwork", {}, {"w_avg": truth["mapping.w_avg"]}, {"fc": fc})
    synthesis = module("SynthesisNetwork", modules={"conv": conv})
    arguments = EasyDict(z_dim=width, w_dim=width, mapping_kwargs=EasyDict(num_layers=1))
    parts = {"synthesis": synthesis, "mapping": mapping}
    return module("Generator", modules=parts, init_kwargs=arguments, z_dim=width), truth


def snapshot(protocol: int = 4, width: int = 4) -> tuple[bytes, dict[str, torch.Tensor]]:
    """A training snapshot of three networks as bytes, and the tensors of G_ema."""
    averaged, truth = generator(0, width)
    data = {
        "training_set_kwargs": dict(class_name="training.dataset.ImageFolderDataset", xflip=False),
        "G": generator(1, width)[0],
        "D": generator(2, width)[0],
        "G_ema": averaged,
        "augment_pipe": None,
    }
    return dumped(data, protocol), truth


def dumped(data: Any, protocol: int = 4) -> bytes:
    """A pickle that names what the stand-ins stand for."""
    with importable():
        return pickle.dumps(data, protocol)
