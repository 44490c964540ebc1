"""Archives and files that attack whoever reads them are refused, and nothing is unpacked."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile

import numpy as np
import pytest

from schemas.errors import InputError
from storage.exchange.found import MOST_FILE
from storage.exchange.recognise import found_in, read
from storage.exchange.source_files import files_under
from storage.exchange.zip_members import Members
from tests.storage.exchange import planted_files as planted
from tests.storage.exchange.refusing import HERE, refused, zipped


@pytest.mark.parametrize(
    "name",
    ["../a.npy", "/a.npy", "a/../../b.npy", "a//b.npy", "a\\..\\b.npy", "C:a.npy", "a\n.npy", "."],
)
def test_a_member_that_points_out_is_refused(name):
    said = refused(zipped({name: planted.npy(np.ones(4))}))
    assert "a way out of it" in said


def test_a_bomb_is_refused():
    zeros = planted.npy(np.zeros(8 << 20, np.float32))  # 32 MiB, 33 kB packed
    packed = zipped({"a.npy": zeros}, zipfile.ZIP_DEFLATED)
    assert len(packed) < 100_000 and "expected at most 100 times as much" in refused(packed)


def test_a_bomb_that_lies_about_its_size_is_refused():
    """It says 200 bytes and unpacks to 256 MiB."""
    packed = bytearray(zipped({"a.npy": b"\0" * (256 << 20)}, zipfile.ZIP_DEFLATED))
    size = struct.pack("<I", 256 << 20)
    while (at := packed.find(size)) >= 0:
        packed[at : at + 4] = struct.pack("<I", 200)
    refused(bytes(packed))


def test_many_members_that_overlap_are_refused():
    """A thousand entries of the directory that name the same packed megabyte."""
    one = zipped({"a000.npy": b"\0" * (1 << 20)}, zipfile.ZIP_DEFLATED)
    start = one.rindex(b"PK\x01\x02")
    end = one.rindex(b"PK\x05\x06")
    entry = one[start:end]
    entries = b"".join(entry.replace(b"a000", b"a%03d" % at) for at in range(1000))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), start, 0)
    said = refused(one[:start] + entries + tail)
    assert "unpacks to" in said


def test_a_huge_directory_is_refused():
    data = zipped({f"{at}.npy": b"" for at in range(50)})
    with pytest.raises(InputError, match="directory has more than 1000 bytes"):
        Members(data, most_directory=1000)
    with pytest.raises(InputError, match="lists 50 members; expected 20"):
        Members(data, most_members=20)
    many = zipped({f"{at}.npy": b"" for at in range(10_001)})
    assert "lists 10001 members" in refused(many)


def test_odd_members_are_refused():
    twice = bytearray(zipped({"a.npy": b"1", "b.npy": b"1"}).replace(b"b.npy", b"a.npy"))
    assert "two members of one name" in refused(bytes(twice))
    encrypted = bytearray(zipped({"a.npy": planted.npy(np.ones(4))}))
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(bytes(encrypted))
    assert "unusual way" in refused(zipped({"a.npy": b"1" * 99}, zipfile.ZIP_LZMA))
    flipped = bytearray(zipped({"a.npy": planted.npy(np.ones(4))}))
    flipped[-100] ^= 1
    assert "damaged" in refused(bytes(flipped))


def test_a_link_in_an_archive_is_refused():
    link = zipfile.ZipInfo("a.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(link, b"/etc/passwd")
    assert "link" in refused(sink.getvalue())


def test_torch_reads_what_was_checked_and_nothing_else():
    """Of two archives in a row torch (2.13) takes the first, Python's zipfile the last."""
    one, other = (planted.torch_zip(np.full(4, value)) for value in (1.0, 2.0))
    (found,) = found_in(HERE, one + other)
    assert found.vector.tolist() == [2.0] * 4


def test_a_file_of_more_than_a_gibibyte_is_not_read(tmp_path):
    path = tmp_path / "big.npy"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY")
        file.truncate(MOST_FILE + 1)  # takes no room
    with pytest.raises(InputError, match="1073741825 bytes; expected 1 GiB at most"):
        read(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe.npy"
    os.mkfifo(path)
    with pytest.raises(InputError, match="no regular file"):
        read(path)


def test_links_in_a_circle_are_skipped(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    files, skipped = files_under(tmp_path)
    assert files == [] and len(skipped) == 2


def test_a_url_is_told_to_be_none():
    with pytest.raises(InputError, match="s3://bucket/a is a URL; copy its files"):
        files_under("s3://bucket/a")
