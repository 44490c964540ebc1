"""What is fetched is said first, and offline nothing is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from schemas.errors import InputError, StorageError
from storage.downloads.fetch import FetchConfig, fetch
from storage.downloads.offline import VARIABLE, is_offline, offline
from tests.storage.ranged_site import CONTENT, ONCE, SHA256, Site, serve

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


def test_what_is_fetched_is_said_first_with_its_licence(site, tmp_path, caplog):
    fetch(site.url, tmp_path, SHA256, config=FetchConfig(what="extractor 'x'", licence="MIT"))
    assert caplog.messages == [
        f"extractor 'x': {site.url} (licence: MIT) is asked for",
        f"extractor 'x': 3.0 MB to be fetched into {tmp_path}",
    ]
    fetch(site.url, tmp_path, SHA256, config=ONCE)
    assert len(caplog.messages) == 2  # what is here is not spoken of


def test_every_failed_try_is_told_and_nothing_else_twice(site, tmp_path, caplog):
    site.sized, site.status = False, 503
    threading.Timer(0.3, lambda: setattr(site, "status", 200)).start()
    config = FetchConfig(tries=8, pause=0.05)
    fetch(f"{site.url}?key=SECRET", tmp_path, SHA256, config=config)
    first, *waited, last = caplog.messages
    assert first == f"download: {site.url} (licence: not known here) is asked for"
    assert waited[0] == "download: the server answers 503; trying again in 0.05 s"
    assert all("the server answers 503; trying again in" in said for said in waited)
    assert last == f"download: to be fetched into {tmp_path}"


def test_a_server_that_is_not_there_is_told_with_the_licence_and_what_to_do(tmp_path, caplog):
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/model.task"
        config = FetchConfig(what="extractor 'x'", licence="MIT", tries=2, pause=0.01)
        with pytest.raises(StorageError, match="or fetch it by hand and give its path") as told:
            fetch(f"{url}?key=SECRET", tmp_path, config=config)
    first, waited = caplog.messages
    assert first == f"extractor 'x': {url} (licence: MIT) is asked for"
    assert "Cannot connect" in waited and waited.endswith("; trying again in 0.01 s")
    assert not any("SECRET" in said for said in [str(told.value), *caplog.messages])


def test_what_is_too_large_is_not_said_to_be_fetched(site, tmp_path, caplog):
    with pytest.raises(InputError, match="at most 1,000 are fetched"):
        fetch(site.url, tmp_path, config=FetchConfig(most_bytes=1000))
    assert not any("to be fetched" in said for said in caplog.messages)


def test_offline_finds_what_is_here_and_fetches_nothing(site, tmp_path):
    with offline(True), pytest.raises(InputError, match="nothing is fetched offline"):
        fetch(site.url, tmp_path, SHA256, config=ONCE)
    assert site.asked == []
    fetch(site.url, tmp_path, SHA256, config=ONCE)
    with offline(True):
        assert fetch(site.url, tmp_path, SHA256, config=ONCE).path.read_bytes() == CONTENT


def test_offline_ends_where_it_began(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with offline(True):
        with offline(False):
            assert is_offline()
        assert is_offline()
    assert not is_offline()
