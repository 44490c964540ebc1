"""Where networks run, in which arithmetic, and how their images get to the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mining.generators.networks.base import Network, Precision
from schemas.errors import InputError

HALF = ("float16", "bfloat16", "released")
MOST_DEVICES = 128  # of one kind, that torch can tell apart


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA where there is one, and the CPU elsewhere.

    Raises:
        InputError: no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.mps.device_count()}
    if kind not in there or (number or "0") not in map(str, range(MOST_DEVICES)):
        raise InputError(
            f"device {name!r} came; expected auto, {', '.join(there)}, or one with its number, "
            "such as cuda:1."
        )
    if int(number or 0) >= there[kind]:
        raise InputError(
            f"device {name!r} is not to be had on this machine with torch {torch.__version__}; "
            "expected another, such as cpu."
        )
    return torch.device(name)


def device_model(device: torch.device) -> str:
    """What images depend on: "cpu", or the GPU's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def on_device(network: Network, device: torch.device, precision: Precision) -> Any:
    """The network for inference; half floats on CUDA lay their channels last, as its matrix
    units want them."""
    assert isinstance(network, nn.Module)
    network.precision = precision
    module = network.eval().requires_grad_(False).to(device)
    if device.type == "cuda" and precision in HALF:
        for weight in module.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Products of float32 in full precision, but for "tf32"; the same algorithm every time."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=precision == "tf32"
    ):
        yield


def to_pixels(image: Tensor, size: int | None = None) -> Tensor:
    """(N, C, H, W) in -1..1 -> (N, H, W, 3) uint8 RGB; one channel is repeated.

    Args:
        size: pixels after averaging down; None leaves them.

    Raises:
        InputError: neither one nor three channels, or a size above the image's.
    """
    if image.shape[1] not in (1, 3):
        raise InputError(f"a generator made {image.shape[1]} channels; expected 1 or 3.")
    image = image.float().clamp(-1, 1)
    if size is not None and size != image.shape[-1]:
        image = averaged_down(image, size)
    # -1 -> 0 and 1 -> 255: the releases' own scale, with its cut where 255.5 would stand
    pixels = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return pixels.expand(-1, -1, -1, 3).contiguous()


def averaged_down(image: Tensor, size: int) -> Tensor:
    """(N, C, H, H) -> (N, C, size, size): means of whole blocks, or an antialiased triangle."""
    edge = image.shape[-1]
    if not 0 < size <= edge:
        raise InputError(f"a size of {size} pixels came; expected 1..{edge}, the generator's own.")
    if edge % size == 0:
        return F.avg_pool2d(image, edge // size)
    return F.interpolate(image, (size, size), mode="bilinear", antialias=True)


def ahead(batches: Iterable[Tensor], device: torch.device) -> Iterator[NDArray[np.uint8]]:
    """Each batch on the host; on CUDA the next one is queued before one is waited for.

    Args:
        batches: queued on the device as they are drawn from the iterator.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.cpu().numpy()
        return
    waiting: tuple[Tensor, torch.cuda.Event] | None = None
    for batch in batches:
        host = torch.empty(batch.shape, dtype=batch.dtype, pin_memory=True)
        host.copy_(batch, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = host, done
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(host: Tensor, done: torch.cuda.Event) -> NDArray[np.uint8]:
    done.synchronize()
    return host.numpy().copy()  # the pinned memory is used again
