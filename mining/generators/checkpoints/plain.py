"""What a checkpoint holds, as plain containers and tensors that still lie in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mining.generators.checkpoints.arrays import Storage, TensorRef

__all__ = ["Module", "Normalised", "Storage", "TensorFlowNetwork", "TensorRef"]

Plain = Any  # dict, list, tuple, str, int, float, bool, None, bytes or one of the classes below


@dataclass(frozen=True, eq=False)
class Module:
    """A torch module as its file describes it; its class was neither imported nor run."""

    class_name: str  # "Generator", "torch.nn.modules.activation.Softplus"
    init_args: tuple[Plain, ...]
    init_kwargs: Mapping[str, Plain]
    parameters: Mapping[str, TensorRef | None]
    buffers: Mapping[str, TensorRef | None]
    modules: Mapping[str, Module | None]
    attributes: Mapping[str, Plain]  # what else it keeps, private names left out

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, TensorRef]]:
        """All parameters and buffers below it, named as torch's `state_dict` names them."""
        for name, value in (*self.parameters.items(), *self.buffers.items()):
            if value is not None:
                yield prefix + name, value
        for name, module in self.modules.items():
            if module is not None:
                yield from module.tensors(f"{prefix}{name}.")


@dataclass(frozen=True, eq=False)
class TensorFlowNetwork:
    """A network of the TensorFlow releases (StyleGAN2, 2019) as its file describes it."""

    name: str
    version: int  # of the format: 2 to 4
    function: str  # the name of what built it, such as "G_main"
    static_kwargs: Mapping[str, Plain]
    components: Mapping[str, TensorFlowNetwork]  # "mapping", "synthesis"
    variables: Mapping[str, TensorRef]  # its own, by their local names


@dataclass(frozen=True)
class Normalised:
    """A checkpoint's generator in the one naming that the networks use."""

    architecture: str  # one of mining.generators.checkpoints.base.Architecture
    config: Mapping[str, Any]  # JSON values: what the network's constructor takes
    tensors: Mapping[str, Callable[[], NDArray[Any]]]  # cheap to call twice: views where possible
    file_format: str
    licence: str
