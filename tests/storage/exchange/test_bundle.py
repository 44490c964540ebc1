"""Bundles: cards come back exactly, the bytes are stable, and no stranger's zip does harm."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from schemas.directions import Artefact, Calibration, DirectionCard
from schemas.errors import CorruptDataError, InputError, LodeError
from storage.exchange.bundle import Pictures, looks_like_bundle, read_bundle, write_bundle
from tests.storage.exchange.any_card import any_card, mutations, same
from tests.storage.sample_cards import sample_card

MATRIX = save({"A": np.arange(6, dtype=np.float32)})
KEY = hashlib.sha256(MATRIX).hexdigest()
JPEG = b"\xff\xd8\xff\xe0 a picture"


def matrix_card(**changes) -> DirectionCard:
    artefact = Artefact("matrix", KEY, len(MATRIX))
    return sample_card(5, attribute="pose", vector=np.zeros(0, "f4"), artefact=artefact, **changes)


def some() -> list[DirectionCard]:
    calibration = Calibration(0.3, -1, 2)
    wide = sample_card(1, (3, 8), space="w+", layers=(0, 2), calibration=calibration)
    return [matrix_card(), sample_card(), wide]


def strip(card: DirectionCard) -> Pictures:
    return Pictures(card.direction_id, (-2.0, 0.0, 2.0), ((JPEG, JPEG, JPEG),) * 2)


def bundle() -> bytes:
    return write_bundle(some(), {KEY: MATRIX}, [strip(some()[1])])


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(content: dict[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return sink.getvalue()


@settings(max_examples=50)
@given(st.lists(any_card(), min_size=1, max_size=4, unique_by=lambda card: card.direction_id))
def test_cards_come_back_to_the_bit(cards):
    read, artefacts = read_bundle(write_bundle(cards))
    assert artefacts == {}
    by_id = {card.direction_id: card for card in read}
    assert len(read) == len(cards)
    for card in cards:
        same(by_id[card.direction_id], card)


def test_artefacts_come_back(tmp_path):
    path = tmp_path / "cards.zip"
    path.write_bytes(bundle())
    assert looks_like_bundle(path)
    cards, artefacts = read_bundle(path)
    assert artefacts == {KEY: MATRIX}
    assert {card.direction_id for card in cards} == {card.direction_id for card in some()}


def test_versions_come_from_the_oldest_to_the_newest():
    cards = [sample_card(2, version=3), sample_card(3, version=1), sample_card(2, version=2)]
    assert [card.version for card in read_bundle(write_bundle(cards))[0]] == [1, 2, 3]


def test_a_bundle_that_was_packed_again_is_read_too():
    assert len(read_bundle(zipped(members(bundle()), zipfile.ZIP_DEFLATED))[0]) == 3


def test_the_same_cards_give_the_same_bytes_in_any_order_and_time_zone():
    backwards = write_bundle(some()[::-1], {KEY: MATRIX}, [strip(some()[1])])
    assert backwards == bundle()
    code = (
        "import hashlib; from tests.storage.exchange.test_bundle import bundle;"
        "print(hashlib.sha256(bundle()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == hashlib.sha256(bundle()).hexdigest(), done.stderr


def test_the_page_shows_tables_licences_and_every_picture():
    found = members(bundle())
    page = found["README.md"].decode()
    pictures = [name for name in found if name.startswith("pictures/")]
    assert len(pictures) == 6
    assert all(f"]({name})" in page and found[name] == JPEG for name in pictures)
    assert "generator head: Apache-2.0" in page
    assert f"artefacts/{KEY}.safetensors" in page
    assert b'"generator_licence": "Apache-2.0"' in found["licences.json"]


def test_text_of_a_card_cannot_break_the_page():
    evil = sample_card(notes="a | b\n# head <script>alert(1)</script> ![x](http://y)")
    page = members(write_bundle([evil]))["README.md"].decode()
    assert "<script" not in page.replace("\\<script", "") and "\n# head" not in page
    assert "![x]" not in page.replace("\\!\\[x\\]", "")


def test_a_missing_or_wrong_artefact_is_not_exported():
    with pytest.raises(InputError, match="is missing"):
        write_bundle([matrix_card()])
    with pytest.raises(InputError, match="not what its card says"):
        write_bundle([matrix_card()], {KEY: MATRIX + b"x"})


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("vectors.safetensors")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> bytes:
    data = bytearray(bundle())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def declared(size: int) -> bytes:
    """The first member says that it unpacks to `size` bytes."""
    data = bytearray(bundle())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = size.to_bytes(4, "little")
    return bytes(data)


def without(name: str) -> bytes:
    return zipped({key: data for key, data in members(bundle()).items() if key != name})


def changed(name: str, data: bytes) -> bytes:
    return zipped(members(bundle()) | {name: data})


HOSTILE = {
    "nothing": (lambda: b"", "cut short"),
    "not a zip": (lambda: b"PK\x03\x04" * 99, "cut short"),
    "cut off": (lambda: bundle()[:-30], "cut short"),
    "a comment": (lambda: bundle()[:-2] + b"\x05\x00hello", "a comment"),
    "upwards": (lambda: changed("../../evil", b"x"), "a way out"),
    "absolute": (lambda: changed("/etc/evil", b"x"), "a way out"),
    "a drive": (lambda: changed("C:/evil", b"x"), "a way out"),
    "backslashes": (lambda: changed("..\\evil", b"x"), "a way out"),
    "a symbolic link": (lambda: zipped({"cards.json": b"{}", link(): b"/etc/passwd"}), "link"),
    "encrypted": (encrypted, "encrypted"),
    "lzma": (lambda: zipped(members(bundle()), zipfile.ZIP_LZMA), "unusual"),
    "no cards": (lambda: without("cards.json"), "'cards.json' is missing"),
    "no vectors": (lambda: without("vectors.safetensors"), "'vectors.safetensors' is missing"),
    "no artefact": (lambda: without(f"artefacts/{KEY}.safetensors"), "missing"),
    "no tensors": (lambda: changed("vectors.safetensors", save({})), "tensor"),
    "odd tensors": (lambda: changed("vectors.safetensors", b"\xff" * 99), "vectors.safetensors"),
    "float64": (lambda: changed("vectors.safetensors", save({"x": np.zeros(3)})), "float32"),
    "a false size": (lambda: declared(2**31), "bytes"),
    "a small false size": (lambda: declared(5), "damaged|JSON"),
    "other cards": (lambda: changed("cards.json", b"[]"), "cards.json"),
}


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_bundle_or_means_harm_is_refused(make, said):
    with pytest.raises(InputError, match=f"bundle.*({said})"):
        read_bundle(make())


def test_two_members_of_one_name_are_refused():
    with pytest.raises(InputError, match="two members of one name"):
        read_bundle(bundle().replace(b"_1.jpg", b"_0.jpg"))


def test_an_artefact_or_a_vector_that_was_exchanged_is_noticed():
    with pytest.raises(CorruptDataError, match="not what was exported"):
        read_bundle(changed(f"artefacts/{KEY}.safetensors", save({"A": np.zeros(6, "f4")})))
    card = sample_card()
    other = save({card.direction_id: sample_card(1).vector})
    plain = members(write_bundle([card])) | {"vectors.safetensors": other}
    with pytest.raises(CorruptDataError, match="edited"):
        read_bundle(zipped(plain))


def test_a_bomb_costs_no_memory():
    """200 MiB of blanks in 200 KiB, or in 4 MiB: said before they are unpacked."""
    large = {"cards.json": b" " * (200 << 20)}
    packed = zipped(members(bundle()) | large, zipfile.ZIP_DEFLATED)
    noise = np.random.default_rng(0).bytes(4 << 20)
    padded = zipped(members(bundle()) | large | {"noise": noise}, zipfile.ZIP_DEFLATED)
    assert len(packed) < 1 << 20
    tracemalloc.start()
    with pytest.raises(InputError, match="expected at most 100 times as much"):
        read_bundle(packed)
    with pytest.raises(InputError, match="expected 134217728 at most"):
        read_bundle(padded)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_huge_directory_is_refused_before_it_is_listed(monkeypatch):
    monkeypatch.setattr("storage.exchange.bundle.MOST_DIRECTORY", 100)
    with pytest.raises(InputError, match="bundle: its zip archive's directory has more than 100"):
        read_bundle(bundle())


def test_a_path_that_cannot_be_opened_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "none.zip"):
        with pytest.raises(InputError, match="bundle"):
            read_bundle(path)


def test_mutated_bundles_raise_nothing_but_our_own_error():
    data = bundle()
    refused = 0
    for mutated in mutations(data, 500, seed=2):
        try:
            read_bundle(mutated)
        except LodeError:
            refused += 1
    assert refused > 250  # the others changed a picture or the page


@pytest.mark.parametrize("name", ["cards.json", "vectors.safetensors"])
def test_members_that_were_mutated_before_they_were_packed_do_no_harm_either(name):
    plain = members(bundle())
    read = 0
    for mutated in mutations(plain[name], 300, seed=3):
        try:
            cards, _ = read_bundle(zipped(plain | {name: mutated}))
        except LodeError:
            continue
        read += 1
        assert len(cards) == 3
    assert read < 30
