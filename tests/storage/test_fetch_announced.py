"""What is fetched is said first, and offline nothing is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from schemas.errors import InputError
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
    (said,) = caplog.messages
    about = f"{site.url} (3.0 MB, licence: MIT)"
    assert said == f"extractor 'x': {about} is fetched into {tmp_path}"
    fetch(site.url, tmp_path, SHA256, config=ONCE)
    assert len(caplog.messages) == 1  # what is here is not spoken of


def test_it_is_said_once_however_often_the_connection_breaks(site, tmp_path, caplog):
    site.sized, site.status = False, 503
    threading.Timer(0.3, lambda: setattr(site, "status", 200)).start()
    config = FetchConfig(tries=8, pause=0.05)
    fetch(f"{site.url}?key=SECRET", tmp_path, SHA256, config=config)
    (said,) = caplog.messages
    assert said == f"download: {site.url} (licence: not known here) is fetched into {tmp_path}"


def test_what_is_too_large_is_not_said_to_be_fetched(site, tmp_path, caplog):
    with pytest.raises(InputError, match="at most 1,000 are fetched"):
        fetch(site.url, tmp_path, config=FetchConfig(most_bytes=1000))
    assert not caplog.messages


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
