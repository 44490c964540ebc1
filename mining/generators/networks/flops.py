"""The floating-point operations of a network, counted from the shapes of what it multiplies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

GROUPS = 8  # place of the groups among the arguments of aten.convolution


@dataclass(frozen=True)
class Flops:
    """A multiplication with its addition counts 2. Whatever else is computed counts nothing."""

    convolutions: int  # that mix channels
    filters: int  # convolutions of each channel by itself
    products: int  # of matrices

    @property
    def total(self) -> int:
        """All of them."""
        return self.convolutions + self.filters + self.products


def count_flops(call: Callable[[], object]) -> Flops:
    """What a call computes with torch, by torch's own formulas (`torch.utils.flop_counter`).

    Shapes are enough: a network and its input on the "meta" device are counted without computing.
    """
    with torch.no_grad(), _Counter() as counter:
        call()
    return Flops(**counter.found)


class _Counter(TorchDispatchMode):
    """Sees every operation that is left when torch has taken the compound ones apart."""

    def __init__(self) -> None:
        super().__init__()
        self.found = {"convolutions": 0, "filters": 0, "products": 0}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:
            kind = "products"
            if packet is torch.ops.aten.convolution:
                kind = "convolutions" if args[GROUPS] == 1 else "filters"
            self.found[kind] += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        return out
