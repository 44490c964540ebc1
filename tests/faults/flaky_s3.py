"""An S3 server on the loopback interface, and a proxy before it that loses requests and answers.

    python -m tests.faults.flaky_s3 --to http://127.0.0.1:5000 --share 0.05 --log faults.log

A request fails in one of five ways: answered 500 or cut off before it reaches the server, the same
after the server has done it, or cut off in the middle of the answer. Which request fails, and how,
follows from the seed, the request and how often it came, not from the order of the requests.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

KINDS = ("500 unheard", "cut unheard", "500 done", "cut done", "cut inside")
LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parents[2]
HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "expect",
}  # of one connection, not passed on
BUSY = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>injected</Message></Error>"
Key = tuple[str, str]  # method, path with query


class Dice:
    """Decides which request fails.

    Args:
        share: of the requests that fail.
        in_a_row: the same request fails at most as often in a row.
    """

    def __init__(self, share: float, seed: int, in_a_row: int):
        self._share, self._seed, self._most = share, seed, in_a_row
        self._asked: Counter[Key] = Counter()
        self._row: Counter[Key] = Counter()

    def __call__(self, key: Key) -> str | None:
        """One of KINDS, or None where the request is left alone."""
        self._asked[key] += 1
        text = f"{self._seed} {key} {self._asked[key]}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        if number / 2**64 >= self._share or self._row[key] >= self._most:
            self._row[key] = 0
            return None
        self._row[key] += 1
        return KINDS[number % len(KINDS)]


class Proxy:
    """Hands requests on to the real server, those that the dice spares."""

    def __init__(self, to: str, dice: Dice, log: TextIO):
        self._to, self._dice, self._log = to, dice, log
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request and its answer, or what is left of it."""
        body = await request.read()
        fault = self._dice((request.method, request.raw_path))
        self._log.write(f"{fault or 'passed'}\t{request.method}\t{request.raw_path}\n")
        self._log.flush()
        if fault == "cut unheard":
            return self._cut(request)
        if fault == "500 unheard":
            return web.Response(status=500, body=BUSY)
        answer = await self._asked(request, body)
        if fault == "cut done":
            return self._cut(request)
        if fault == "500 done":
            return web.Response(status=500, body=BUSY)
        if fault == "cut inside":
            return await self._half(request, answer)
        return answer

    async def _asked(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP]
        url = URL(self._to + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as got:
            kept = CIMultiDict((k, v) for k, v in got.headers.items() if k.lower() not in HOP)
            return web.Response(status=got.status, body=await got.read(), headers=kept)

    async def _half(self, request: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
        body = whole.body if isinstance(whole.body, bytes) else b""
        part = web.StreamResponse(status=whole.status, headers=whole.headers)
        part.content_length = len(body) + 1  # so that even an empty answer lacks something
        await part.prepare(request)
        await part.write(body[: len(body) // 2])
        return self._cut(request)

    def _cut(self, request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def faults(log: Path) -> Counter[str]:
    """How often each fault was injected; "passed" counts the requests that were left alone."""
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.partition("\t")[0] for line in lines)


@contextmanager
def moto() -> Iterator[str]:
    """A fresh S3 server's endpoint; in a process of its own, as its clients may hold the GIL."""
    with _served(lambda port: ["-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]) as endpoint:
        yield endpoint


@contextmanager
def flaky(to: str, log: Path, share: float, seed: int = 0, in_a_row: int = 1000) -> Iterator[str]:
    """The endpoint of a proxy before another endpoint."""
    words = ["--to", to, "--log", str(log), "--share", str(share), "--seed", str(seed)]
    words += ["--in-a-row", str(in_a_row)]
    with _served(lambda port: ["-m", __name__, *words, "--port", str(port)]) as endpoint:
        yield endpoint


def client_environment(endpoint: str) -> Mapping[str, str]:
    """What S3 clients read: where the server is, and credentials that it takes."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_bucket(endpoint: str, name: str) -> None:
    """An empty bucket."""
    with _client(endpoint) as client:
        client.create_bucket(Bucket=name)


def names(endpoint: str, bucket: str) -> list[str]:
    """What lies in a bucket, which others may write to and delete from meanwhile."""
    with _client(endpoint) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


def objects(endpoint: str, bucket: str) -> dict[str, bytes]:
    """Name -> bytes of everything in a bucket that nobody writes to."""
    with _client(endpoint) as client:
        return {
            name: client.get_object(Bucket=bucket, Key=name)["Body"].read()
            for name in names(endpoint, bucket)
        }


@contextmanager
def _client(endpoint: str) -> Iterator[Any]:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _served(words: Callable[[int], list[str]]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, *words(port)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server came up: {words(port)}")
            time.sleep(0.1)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", required=True, help="the server's endpoint")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--share", type=float, default=0.05, help="of the requests that fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-a-row", type=int, default=1000, help="most failures of one request")
    parser.add_argument("--log", required=True, help="a line for every request")
    args = parser.parse_args()
    with open(args.log, "a") as log:
        app = web.Application(client_max_size=2**40)
        app.router.add_route(
            "*",
            "/{path:.*}",
            Proxy(args.to, Dice(args.share, args.seed, args.in_a_row), log),
        )
        web.run_app(app, host=LOOPBACK, port=args.port, print=None)


if __name__ == "__main__":
    main()
