"""One Ray task of a learned method: it trains, and tells after every epoch how far it is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.learned_checkpoints import Checkpoints
from jobs.placement import hide_gpus
from mining.generators.registry import make_generator
from mining.methods.learned import Checkpoint, Keep, Learned, LearnedRows
from mining.methods.registry import LEARNED_METHODS
from mining.threads import limit_threads
from schemas.errors import InputError, RunError
from schemas.registry import load

Epochs = tuple[int, int]  # finished, and how many there will be


@dataclass(frozen=True)
class Training:
    """What a task is told beside its rows."""

    method: str
    config: Any
    key: str  # everything that decides the result
    out: str | None  # the run's folder, for checkpoints; None keeps none
    gpus: float
    generator: Mapping[str, Any]  # as the manifest has it


def learn(rows: LearnedRows, training: Training) -> Iterator[Epochs | Learned]:
    """Train, from where an earlier task got to; the epochs as they finish, then what was learnt.

    Raises:
        InputError: the method refuses its rows.
        RunError: the training breaks.
    """
    if training.gpus == 0:
        hide_gpus()
    said: queue.SimpleQueue[Epochs | Learned | BaseException] = queue.SimpleQueue()
    # a generator can only give from its own frames, and the epochs are deep in the method's
    threading.Thread(target=_trained, args=(rows, training, said), daemon=True).start()
    while True:
        news = said.get()
        if isinstance(news, BaseException):
            raise news
        yield news
        if isinstance(news, Learned):
            return


def _trained(
    rows: LearnedRows,
    training: Training,
    said: queue.SimpleQueue[Epochs | Learned | BaseException],
) -> None:
    """The thread that trains; whatever ends it is told."""
    try:
        limit_threads(1)  # here, since OpenMP's threads are counted for each thread
        kept = Checkpoints(training.out, training.key)

        def keep(checkpoint: Checkpoint) -> None:
            kept.keep(checkpoint)
            said.put((checkpoint.epoch, checkpoint.epochs))

        said.put(learn_here(rows, training, kept.last(), keep))
    except BaseException as error:
        said.put(error)


def learn_here(
    rows: LearnedRows, training: Training, start: Checkpoint | None = None, keep: Keep | None = None
) -> Learned:
    """What a method learns of its rows, in this thread.

    Raises:
        InputError: the method refuses its rows.
    """
    mine, config = load("method", training.method, LEARNED_METHODS), training.config
    more = {}
    if getattr(config, "chain", "") == "images":
        more["generator"] = _generator(training.generator)
    return mine(rows, config, start, keep, **more)


def _generator(about: Mapping[str, Any]) -> Any:
    """The dataset's generator, which images are made by.

    Raises:
        InputError: it cannot be made here.
        RunError: it is another one here.
    """
    made = make_generator(about["load"], **about["options"])
    if made.fingerprint() != about["fingerprint"]:
        raise RunError(
            f"generator {about['name']!r} is another here than the dataset was made with; give its "
            "option device a device that both have, or put its checkpoint back."
        )
    if not callable(getattr(made, "differentiable", None)):
        raise InputError(
            f"direction_matrix: no gradient comes through the images of {about['name']!r}; "
            "expected chain surrogate, which learns from the dataset."
        )
    return made
