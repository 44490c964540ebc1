"""Which of Ray's errors mean that a worker is gone, and who makes room for whom."""

from __future__ import annotations

import signal
import threading

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from jobs import cluster
from jobs.cluster import check_stop
from jobs.engine import _is_loss
from schemas.errors import LostWorkerError, RunError, StorageError


@pytest.mark.parametrize(
    ("cause", "lost"),
    [
        (LostWorkerError("died while it loaded"), True),
        (OSError("no more processes"), True),
        (StorageError("the disk is full"), False),
        (RunError("another version"), False),
    ],
)
def test_what_a_worker_raises_is_a_loss_only_where_its_process_is(cause, lost):
    assert _is_loss(RayTaskError("make", "trace", cause)) is lost


def test_a_dead_actor_is_a_loss():
    assert _is_loss(ActorDiedError())


def test_a_stop_that_got_lost_on_its_way_is_asked_for_again(monkeypatch):
    check_stop()
    usual = signal.getsignal(signal.SIGTERM)
    asked = threading.Event()
    monkeypatch.setattr(cluster, "_stop_asked", asked)
    with cluster._stoppable(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):  # as where Ray dropped the first
        check_stop()
    with cluster._stoppable():  # another session begins anew
        check_stop()
    signal.signal(signal.SIGTERM, usual)
