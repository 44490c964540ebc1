"""A real server on the loopback interface that serves ranges, cuts and changes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from storage.downloads.fetch import FetchConfig

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ONCE = FetchConfig(tries=1, pause=0.0)


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what it was asked."""

    content: bytes = CONTENT
    status: int = 200
    ranges: bool = True
    tagged: bool = True
    sized: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers end
    asked: list[str] = field(default_factory=list)  # ranges of GET requests
    url: str = ""
    after: bytes | None = None  # what stands there once the first answer has ended


@contextmanager
def serve() -> Iterator[Site]:
    """A server on the loopback interface."""
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(0)

        def do_GET(self):
            asked = self.headers.get("Range", "")
            served.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            body = self.answer(start if served.ranges else 0)
            cut = served.cuts.pop(0) if served.cuts and served.status == 200 else None
            if cut is not None:
                body, self.close_connection = body[:cut], True
            self.wfile.write(body)
            self.close_connection = self.close_connection or not served.sized
            if served.after is not None:
                served.content, served.after = served.after, None

        def answer(self, start: int) -> bytes:
            body = served.content[start:] if served.status == 200 else b"no"
            self.send_response(206 if start and served.status == 200 else served.status)
            if served.sized:
                self.send_header("Content-Length", str(len(body)))
            if start:
                last = len(served.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
            if served.tagged:
                self.send_header("ETag", f'"{hashlib.md5(served.content).hexdigest()}"')
            self.end_headers()
            return body

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/some/model.pkl"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
