"""Which URLs are fetched, where a redirection may lead, and that no secret is shown."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from storage.downloads.fetch import FetchConfig, fetch
from storage.downloads.locate import locate
from storage.downloads.refusals import is_chain, may_pass, shown, told
from storage.downloads.schemes import SEALED, check_scheme, refuse_open
from storage.downloads.transfer import Job, _check_hops

pytestmark = pytest.mark.timeout(60)
CONTENT = b"model" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ONCE = FetchConfig(tries=1, pause=0.0)


@contextmanager
def server(answers: dict[str, str]) -> Iterator[str]:
    """Serves CONTENT, but sends paths in `answers` on to other URLs; its own URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            if self.answer():
                self.wfile.write(CONTENT)

        def answer(self) -> bool:
            onward = answers.get(self.path)
            self.send_response(302 if onward else 200)
            if onward:
                self.send_header("Location", onward)
            self.send_header("Content-Length", "0" if onward else str(len(CONTENT)))
            self.end_headers()
            return not onward

        def log_message(self, format, *args):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::http://u:pw@h/f",
        "filecache::https://u:pw@h/f",
        "zip://a::http://u:pw@h/f",
        "https://u:pw@h/f::http://u:pw@h/f",
        "file:///a::http://u:pw@h/f",
        "blockcache::s3://u:pw@h/f",
    ],
)
@pytest.mark.parametrize("sha256", [None, SHA256])
def test_chains_are_refused_and_their_secrets_not_shown(tmp_path, url, sha256):
    for call in (
        lambda: fetch(url, tmp_path, sha256, config=ONCE),
        lambda: locate(url, ONCE, sha256=sha256, cache=str(tmp_path)),
    ):
        with pytest.raises(InputError, match="is a chain of URLs; expected one") as told_:
            call()
        assert "pw" not in str(told_.value) and "\n" not in str(told_.value)


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "nonsense", "github", "zip", "data", "local"])
@pytest.mark.parametrize("sha256", [None, SHA256])
def test_other_schemes_are_refused(tmp_path, scheme, sha256):
    with pytest.raises(InputError, match=f"has the scheme '{scheme}'; expected one of https") as no:
        fetch(f"{scheme}://u:pw@h/f", tmp_path, sha256, config=ONCE)
    assert "pw" not in str(no.value)


def test_plain_text_is_refused_without_a_checksum(tmp_path):
    with pytest.raises(InputError, match="is not encrypted.*expected https"):
        fetch("http://example.org/a.onnx", tmp_path, config=ONCE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]:80", "LOCALHOST"])
def test_this_machine_needs_no_encryption(host):
    check_scheme(f"http://{host}/f", "x")
    refuse_open(f"http://{host}/f", "x")


@pytest.mark.parametrize(
    "host", ["127.0.0.1.example.org", "localhost@h", "h#localhost", "10.0.0.1"]
)
def test_what_only_looks_like_this_machine_does(host):
    with pytest.raises(InputError, match="is not encrypted"):
        refuse_open(f"http://{host}/f", "x")


@pytest.mark.parametrize("scheme", SEALED)
def test_known_stores_pass(scheme):
    check_scheme(f"{scheme.upper()}://h/f?mark=a::b", "x")
    refuse_open(f"{scheme.upper()}://h/f", "x")


@pytest.mark.parametrize("scheme", SEALED)
def test_every_known_scheme_is_one_that_fsspec_knows(scheme):
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        pass  # its client is not installed; a scheme that is not known is a ValueError


def test_a_query_with_two_colons_is_fetched_as_it_stands(tmp_path):
    with server({}) as site:
        assert fetch(f"{site}/f?mark=a::b", tmp_path, config=ONCE).path.read_bytes() == CONTENT


def test_a_redirection_on_this_machine_is_followed(tmp_path):
    with server({"/f": "/g", "/g": "/h"}) as site:
        assert fetch(f"{site}/f", tmp_path, config=ONCE).path.read_bytes() == CONTENT


def test_a_redirection_over_plain_text_is_refused_though_it_comes_back(tmp_path):
    """0.0.0.0 reaches this machine too, but is none of its names here."""
    with server({}) as end:
        open_way = {}
        with server(open_way) as site:
            other = site.replace("127.0.0.1", "0.0.0.0")
            open_way |= {"/f": f"{other}/g", "/g": f"{end}/h"}
            with pytest.raises(InputError, match="0.0.0.0:.*/g is not encrypted"):
                fetch(f"{site}/f", tmp_path, config=ONCE)
            assert not [path for path in tmp_path.iterdir() if path.name.endswith("-f")]
            found = fetch(f"{site}/f", tmp_path, SHA256, config=ONCE)
            assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize("checked", [False, True])
def test_https_never_leads_over_http(tmp_path, checked):
    job = Job("https://h/f", tmp_path / "p", ONCE, checked, lambda size: None, None)
    _check_hops(job, ["https://h/f", "https://other/f"])
    with pytest.raises(InputError, match="http://h/g is not encrypted"):
        _check_hops(job, ["https://h/f", "http://h/g?key=SECRET", "https://h/h"])


def test_secrets_in_a_redirection_are_not_shown():
    error = ValueError("ftp://user:SECRET@host/file?key=SECRET and https://[::1")
    assert not may_pass(error)
    message = str(told("http://host/file", error, "checkpoint"))
    assert "ftp://host/file" in message and "SECRET" not in message


def test_secrets_in_a_url_are_not_shown():
    assert shown("https://me:pw@host/a/b.pkl?X-Amz-Signature=1#x") == "https://host/a/b.pkl"
    assert shown("https://me:p/w@host/a") == shown("https://me:p?w@host/a")
    assert shown("https://me:p/w@host/a") == "a URL that cannot be read"
    assert shown("zip://a::http://me:pw@host/f?key=1") == "zip://a::http://host/f"
    assert shown("/a/b.pkl") == "/a/b.pkl"
    with pytest.raises(InputError) as no:
        locate("https://me:pw@[::1/f", ONCE)
    assert "pw" not in str(no.value)


@given(
    chain=st.lists(st.sampled_from(["simplecache", "filecache", "zip://a", "tar://b"]), max_size=3),
    secret=st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=4),
    scheme=st.sampled_from([*SEALED, "http", "ftp"]),
)
def test_no_secret_of_any_chain_is_shown(chain, secret, scheme):
    url = "::".join([*chain, f"{scheme}://user:{secret}@host/file?key={secret}#{secret}"])
    assert is_chain(url) == bool(chain)
    assert secret not in shown(url) and shown(url).endswith(f"{scheme}://host/file")
