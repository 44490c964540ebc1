"""Downloads from a real server on the loopback interface that serves ranges, cuts and changes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import fsspec
import pytest

from schemas.errors import CorruptDataError, InputError, LodeError, StorageError
from storage.downloads.fetch import FetchConfig, fetch, listening
from tests.storage.ranged_site import CONTENT, ONCE, SHA256, Site, serve

pytestmark = pytest.mark.timeout(120)
OTHER = CONTENT[::-1]
PATIENT = FetchConfig(tries=5, pause=0.01)  # more than any test cuts


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


def leftovers(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".part" in path.name)


def test_a_file_is_fetched_once_and_reported(site, tmp_path):
    seen: list[tuple[int, int | None]] = []
    first = fetch(site.url, tmp_path, SHA256, lambda *so_far: seen.append(so_far), ONCE)
    assert first.path.read_bytes() == CONTENT and first.path.name.endswith("-model.pkl")
    assert (first.sha256, first.trusted) == (SHA256, False)
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert fetch(site.url, tmp_path, SHA256.upper(), None, ONCE) == first
    assert site.asked == [""] and not leftovers(tmp_path)


def test_a_listener_hears_of_downloads_that_have_no_report_of_their_own(site, tmp_path):
    heard: list[int] = []
    with listening(lambda here, total: heard.append(here)):
        fetch(site.url, tmp_path / "a", SHA256, config=ONCE)
        fetch(site.url, tmp_path / "b", SHA256, lambda here, total: None, ONCE)
    fetch(site.url, tmp_path / "c", SHA256, config=ONCE)
    assert heard == sorted(set(heard)) and heard[-1] == len(CONTENT)  # of the first alone


def test_a_cut_connection_is_taken_up_where_it_broke(site, tmp_path):
    site.cuts = [1_000_000, 500_000, 0]
    assert fetch(site.url, tmp_path, SHA256, config=PATIENT).path.read_bytes() == CONTENT
    assert site.asked[0] == "" and len(site.asked) == 4
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in site.asked[1:]]
    # how much of a cut answer arrives is the network's affair; what arrived is not asked for again
    assert 0 <= starts[0] <= 1_000_000 and starts[1] - starts[0] <= 500_000
    assert starts == sorted(starts) and starts[2] == starts[1]


def test_a_later_run_goes_on_with_what_is_there(site, tmp_path):
    site.cuts = [2_000_000]
    with pytest.raises(StorageError, match="Run the same command again to go on") as told:
        fetch(site.url, tmp_path, SHA256, config=ONCE)
    assert "\n" not in str(told.value)
    assert fetch(site.url, tmp_path, SHA256, config=ONCE).path.read_bytes() == CONTENT
    assert len(site.asked) == 2 and site.asked[1].startswith("bytes=")


def test_a_server_without_ranges_is_asked_for_all_again(site, tmp_path):
    site.ranges, site.cuts = False, [2_000_000]
    assert fetch(site.url, tmp_path, SHA256, config=PATIENT).path.read_bytes() == CONTENT
    assert len(site.asked) == 2


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_that_changed_is_never_spliced(site, tmp_path, tagged):
    site.tagged, site.cuts = tagged, [2_000_000]
    with pytest.raises(StorageError):
        fetch(site.url, tmp_path, config=ONCE)
    site.content = OTHER  # of the same size
    found = fetch(site.url, tmp_path, config=ONCE)
    assert found.path.read_bytes() == OTHER
    assert site.asked == ["", ""]


def test_a_file_that_changes_while_it_comes_is_fetched_again(site, tmp_path):
    site.after = OTHER
    assert fetch(site.url, tmp_path, config=PATIENT).path.read_bytes() == OTHER


def test_another_checksum_is_refused_and_not_kept(site, tmp_path):
    with pytest.raises(CorruptDataError, match=f"{SHA256}; expected {'0' * 64}"):
        fetch(site.url, tmp_path, "0" * 64, config=ONCE)
    assert not list(tmp_path.glob("*model.pkl")) and not list(tmp_path.glob("*.part"))
    assert fetch(site.url, tmp_path, SHA256, config=ONCE).path.read_bytes() == CONTENT


def test_without_a_checksum_the_first_download_is_trusted_and_then_demanded(site, tmp_path, caplog):
    first = fetch(site.url, tmp_path, config=ONCE)
    assert first.trusted and f"must have {SHA256}" in caplog.text
    assert not fetch(site.url, tmp_path, config=ONCE).trusted
    first.path.unlink()
    site.content = OTHER
    with pytest.raises(CorruptDataError, match="as at its first download. Give sha256"):
        fetch(site.url, tmp_path, config=ONCE)
    other = hashlib.sha256(OTHER).hexdigest()
    assert fetch(site.url, tmp_path, other, config=ONCE).path.read_bytes() == OTHER
    assert fetch(site.url, tmp_path, config=ONCE).sha256 == other


def test_a_damaged_file_in_the_cache_is_fetched_again(site, tmp_path):
    first = fetch(site.url, tmp_path, config=ONCE)
    first.path.write_bytes(CONTENT[:-1])
    assert fetch(site.url, tmp_path, config=ONCE).path.read_bytes() == CONTENT


@pytest.mark.parametrize("sized", [True, False])
def test_a_file_larger_than_allowed_is_refused(site, tmp_path, sized):
    site.sized = sized
    with pytest.raises(InputError, match="at most 1,000,000 are fetched"):
        fetch(site.url, tmp_path, config=FetchConfig(most_bytes=1_000_000, tries=1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000_100


def test_what_is_too_large_does_not_stay_in_the_cache(site, tmp_path):
    site.sized = False
    with pytest.raises(InputError, match="at most 1,000,000 are fetched"):
        fetch(site.url, tmp_path, config=FetchConfig(most_bytes=10**6))
    assert not list(tmp_path.glob("*.part"))


def test_a_server_that_does_not_tell_the_size(site, tmp_path):
    site.sized = False
    assert fetch(site.url, tmp_path, SHA256, config=ONCE).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, InputError, "there is no such file; check the URL."),
        (410, InputError, "there is no such file; check the URL."),
        (401, StorageError, "no permission to read it; check the URL and the credentials."),
        (403, StorageError, "no permission to read it"),
        (503, StorageError, "the server answers 503. Run the same command again"),
    ],
)
def test_a_refusal_is_one_line(site, tmp_path, status, kind, said):
    site.status = status
    with pytest.raises(kind) as told:
        fetch(f"{site.url}?token=secret", tmp_path, config=PATIENT)
    assert said in str(told.value) and "\n" not in str(told.value)
    assert site.url in str(told.value) and "secret" not in str(told.value)


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.status = 503
    threading.Timer(0.3, lambda: setattr(site, "status", 200)).start()
    config = FetchConfig(tries=8, pause=0.05)
    assert fetch(site.url, tmp_path, SHA256, config=config).path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.pkl", "https://nowhere.invalid/a.pkl"])
def test_no_server_is_one_line(tmp_path, url):
    with pytest.raises(StorageError) as told:
        fetch(url, tmp_path, config=ONCE)
    assert str(told.value).startswith(f"download: {url}: Cannot connect to host")
    assert "\n" not in str(told.value)


def test_a_full_disk_is_no_lost_connection(site, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match="writing into .*: File too large; free some space"):
            fetch(site.url, tmp_path, config=PATIENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(site.asked) == 1
    assert fetch(site.url, tmp_path, SHA256, config=ONCE).path.read_bytes() == CONTENT


def test_fetches_at_once_do_no_damage(site, tmp_path):
    site.cuts = [100_000]
    found, wrong = [], []

    def run():
        try:
            found.append(fetch(site.url, tmp_path, SHA256, config=PATIENT))
        except LodeError as error:
            wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len({each.path for each in found}) == 1
    assert found[0].path.read_bytes() == CONTENT and len(site.asked) == 2
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("sha256", ["", "xyz", "0" * 63, "g" * 64])
def test_what_is_no_checksum_is_refused_before_anything(tmp_path, sha256):
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        fetch("http://127.0.0.1:9/a", tmp_path, sha256, config=ONCE)


def test_other_stores(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/models/a.pkl", CONTENT)
    assert fetch("memory://models/a.pkl", tmp_path).path.read_bytes() == CONTENT
    with pytest.raises(InputError, match="there is no such file"):
        fetch("memory://models/b.pkl", tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        fetch("memory://models", tmp_path)
