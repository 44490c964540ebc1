"""What the isolated reader is asked to do in tests; light, as the worker imports it."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from mining.generators.checkpoints.plain import Normalised


def normalise(root) -> Normalised:
    """The averaged generator as it is."""
    module = root["G_ema"]
    tensors = {name: found.read for name, found in module.tensors()}
    return Normalised("stylegan2", dict(module.init_kwargs), tensors, "nvidia-pytorch", "unknown")


def hungry(root) -> Normalised:
    """Takes 4 GiB."""
    return Normalised(str(np.ones(1 << 29).sum()), {}, {}, "", "")


def sleepy(root) -> Normalised:
    """Takes a minute without doing anything."""
    time.sleep(60)
    return normalise(root)


def busy(root) -> Normalised:
    """Takes a minute of the processor's time."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return normalise(root)


def killed(root) -> Normalised:
    """Ends as one ends whom the system kills for memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return normalise(root)


def broken(root) -> Normalised:
    """Has a bug."""
    raise ZeroDivisionError("a bug of ours")


def doubled(root) -> Normalised:
    """Names one tensor often, so that the target would be larger than any file of weights."""
    found = normalise(root)
    (read, *_) = found.tensors.values()
    many = {str(number): read for number in range(10_000)}
    return Normalised(found.architecture, found.config, many, found.file_format, found.licence)


def greedy(root) -> Normalised:
    """Opens more files than a reader needs."""
    opened = [open("/dev/null") for _ in range(100)]
    return Normalised(str(len(opened)), {}, {}, "", "")
