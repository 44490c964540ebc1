"""The program of a watched process: renders, measures and commits the shards that it is told.

Started by `supervisor.py` as `python -m jobs.isolation.process FD`, FD being its end of a socket.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TypeVar

import pyarrow as pa

from jobs.isolation.messages import (
    COMMIT,
    MEASURE,
    RENDER,
    At,
    Measured,
    Passed,
    Plan,
    Raised,
    Ready,
    Receipted,
    Refused,
    Rendered,
    Setup,
    Task,
)
from mining.extending import make_renderer
from mining.extractors.alone import measure_alone
from mining.extractors.base import Measurement, first_line
from mining.sampling import Measurer
from schemas.errors import CorruptDataError, LodeError, StorageError
from storage.files import Store
from storage.manifest import Manifest
from storage.shards import Receipt, commit, read_receipt

Result = TypeVar("Result")
PAUSES = (1.0, 4.0, 16.0)  # seconds before an object store is asked again


class Process:
    """Generator, extractors and store of one process, loaded once."""

    def __init__(self, connection: Connection, setup: Setup):
        self._connection = connection
        self._setup = setup
        self._manifest = Manifest(setup.content)
        self._store = Store(setup.url)
        self._renderer = make_renderer(self._manifest) if RENDER in setup.stages else None
        self._measurer = Measurer(self._manifest) if MEASURE in setup.stages else None

    def make(self, task: Task, images: bytes | None) -> None:
        """Do this process's stages of one shard and send what comes of them."""
        if self._renderer is not None:
            made = self._standing(task.shard)
            if made is not None:  # another run was faster
                self._tell(Receipted(made.to_bytes()))
                return
        table = self._rendered(task.shard, images)
        if self._measurer is None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            self._tell(Rendered())
            with _there():
                self._connection.send_bytes(sink.getvalue())
            return
        table = self._timed(MEASURE, lambda: self._measured(table, task.plan))
        receipt = self._timed(
            COMMIT,
            lambda: self._patiently(
                COMMIT, lambda: commit(self._store, self._manifest, task.shard, table)
            ),
        )
        self._tell(Receipted(receipt.to_bytes()))

    def _standing(self, shard: int) -> Receipt | None:
        """The receipt of a shard that somebody has made; None where nobody has."""

        def look() -> Receipt | None:
            if not self._store.exists(self._manifest.receipt_file(shard)):
                return None
            return read_receipt(self._store, self._manifest, shard)

        return self._patiently(RENDER, look)

    def _rendered(self, shard: int, images: bytes | None) -> pa.Table:
        if images is not None:
            return pa.ipc.open_stream(pa.py_buffer(images)).read_all()
        renderer = self._renderer
        if renderer is None:
            raise ValueError("this process does not render, and no images came")

        def make() -> pa.Table:  # of an extended dataset it begins with reading the parent
            return renderer(shard, lambda batch: self._at(At(RENDER, batch)))

        return self._timed(RENDER, lambda: self._patiently(RENDER, make))

    def _measured(self, table: pa.Table, plan: Plan) -> pa.Table:
        assert self._measurer is not None
        parts: list[dict[str, Measurement]] = []
        for batch, (images, earlier) in enumerate(self._measurer.batches(table)):
            done = plan.done.get(batch)
            if done is None:
                self._at(At(MEASURE, batch))
                if batch in plan.alone:
                    spared = {
                        (row, extractor): said
                        for (where, row, extractor), said in plan.spared.items()
                        if where == batch
                    }
                    done = measure_alone(
                        self._measurer.extractors,
                        images,
                        spared,
                        lambda row, name, batch=batch: self._at(At(MEASURE, batch, row, name)),
                        earlier,
                    )
                else:
                    done = self._measurer.measure(images, earlier)
                self._tell(Measured(batch, done))
            parts.append(done)
        self._at(At(COMMIT))
        return self._measurer.fill(table, parts)

    def _patiently(self, stage: str, work: Callable[[], Result]) -> Result:
        """Ask the store; an object store that does not answer is asked again."""
        for pause in (*PAUSES, None):
            self._at(At(stage))
            try:
                return work()
            except CorruptDataError:
                raise
            except StorageError:
                if self._store.local or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last round returns or raises")

    def _timed(self, stage: str, work: Callable[[], Result]) -> Result:
        start = time.monotonic()
        result = work()
        self._tell(Passed(stage, time.monotonic() - start))
        return result

    def _tell(self, message: object) -> None:
        with _there():
            self._connection.send(message)

    def _at(self, place: At) -> None:
        # should the watcher be gone as well, a hanging process ends itself, even in native code
        faulthandler.dump_traceback_later(2 * self._setup.timeout + 60, exit=True)
        self._tell(place)


class _Gone(BaseException):
    """The watcher is gone; no `except Exception` is to take that for the work's own failure."""


@contextlib.contextmanager
def _there() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _Gone from error


def serve(connection: Connection) -> None:
    """Load what the setup names, then make shards until the other end closes."""
    try:
        process = Process(connection, connection.recv())
    except LodeError as error:
        connection.send(Refused(type(error).__name__, str(error)))
        return
    except Exception as error:
        traceback.print_exc()
        connection.send(Raised(first_line(error)))
        return
    connection.send(Ready())
    while True:
        task: Task = connection.recv()
        images = connection.recv_bytes() if task.images else None
        try:
            process.make(task, images)
        except LodeError as error:
            connection.send(Refused(type(error).__name__, str(error)))
        except Exception as error:
            traceback.print_exc()
            connection.send(Raised(first_line(error)))
        faulthandler.cancel_dump_traceback_later()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main(argv: list[str]) -> int:
    """The program: the socket's file descriptor is the one argument."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        serve(Connection(int(argv[0])))
    except (_Gone, EOFError, BrokenPipeError, ConnectionResetError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
