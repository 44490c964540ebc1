"""Times the calls of objects that an extractor holds, from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Clock:
    """Adds up the time of the calls that go through it."""

    def __init__(self, now: Callable[[], float]):
        self.now, self.seconds, self.calls = now, 0.0, 0

    def reset(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def timed(self, call: Callable) -> Callable:
        def run(*args: Any, **options: Any) -> Any:
            start = self.now()
            try:
                return call(*args, **options)
            finally:
                self.seconds += self.now() - start
                self.calls += 1

        return run


class Timed:
    """Stands where a model stood: its `method` goes by the clock, all else to the model."""

    def __init__(self, model: Any, clock: Clock, method: str):
        self._model, self._method = model, method
        self._timed = clock.timed(getattr(model, method))

    def __call__(self, *args: Any, **options: Any) -> Any:
        call = self._timed if self._method == "__call__" else self._model
        return call(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return self._timed if name == self._method else getattr(self._model, name)


def watch(extractor: Any, path: str, clock: Clock) -> None:
    """Let the calls of "attribute.attribute.method" go by the clock.

    Raises:
        AttributeError, KeyError: the extractor has no such model; its case is out of date.
    """
    *way, last, method = path.split(".")
    owner = extractor
    for step in way:
        owner = owner[step] if isinstance(owner, dict) else getattr(owner, step)
    model = getattr(owner, last)
    if isinstance(model, torch.nn.Module):  # among its parts, a module takes no others
        model.forward = clock.timed(model.forward)
    else:
        setattr(owner, last, Timed(model, clock, method))
