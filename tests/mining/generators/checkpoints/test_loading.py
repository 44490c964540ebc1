"""A checkpoint from a path, a URL or a name: the same network, by way of the cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch

from mining.generators.checkpoints import isolated, loading, native, read_checkpoint
from mining.generators.checkpoints.known import KNOWN
from mining.generators.pretrained import network_of
from schemas.errors import CorruptDataError, InputError
from storage.downloads.cache import cache_folder, file_sha256
from storage.downloads.locate import public
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
    weights,
)

ARGUMENTS = config(z_dim=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    generator = persistent(network(**ARGUMENTS), "Generator", {}, FILTER, init_kwargs=ARGUMENTS)
    return nvidia_pickle(tmp_path_factory.mktemp("made") / "made.pkl", generator)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch) -> list[Path]:
    """The files that were read by the isolated process."""
    seen: list[Path] = []

    def counted(path, target):
        seen.append(path)
        return extract(path, target)

    extract = isolated.extract
    monkeypatch.setattr(isolated, "extract", counted)
    return seen


def test_a_foreign_file_is_converted_once(made, cache, conversions):
    first, second = read_checkpoint(str(made)), read_checkpoint(str(made))
    assert conversions == [made]
    assert (first.architecture, first.config) == ("stylegan2", ARGUMENTS)
    assert (first.file_format, first.source) == ("nvidia-pytorch", str(made))
    assert first.sha256 == second.sha256
    truth = weights(network(**ARGUMENTS))
    assert all(torch.equal(first.tensors[name], truth[name]) for name in truth)
    kept = [path.name for path in (cache / "converted").glob("*.safetensors")]
    assert kept == [f"{file_sha256(made)}.safetensors"]


def test_its_network_draws_the_planted_images(made):
    built = network_of(read_checkpoint(str(made)))
    truth = network(**ARGUMENTS)
    w = truth.map(torch.ones(1, 16))[:, None].repeat(1, truth.num_ws, 1)
    assert torch.equal(built.render(built.styles(w)), truth.render(truth.styles(w)))


def test_the_fingerprint_is_the_same_in_every_format(made, tmp_path):
    first = read_checkpoint(str(made))
    native.save(first, tmp_path / "ours.safetensors")
    ours = read_checkpoint(str(tmp_path / "ours.safetensors"))
    assert ours.file_format == "latentlode"
    assert replace(ours, tensors={}) == replace(
        first, tensors={}, file_format="latentlode", source=str(tmp_path / "ours.safetensors")
    )


def test_our_own_files_need_no_cache(made, tmp_path, cache):
    native.save(
        read_checkpoint(str(made), cache=str(tmp_path / "other")), tmp_path / "a.safetensors"
    )
    read_checkpoint(str(tmp_path / "a.safetensors"))
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "of another kind"])
def test_a_damaged_conversion_is_made_again(made, cache, conversions, damage):
    first = read_checkpoint(str(made))
    (kept,) = (cache / "converted").glob("*.safetensors")
    content = kept.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    kept.unlink()  # the first checkpoint has it mapped
    changed = {"flipped": flipped, "cut": content[:-5], "emptied": b"", "of another kind": b"{}"}
    kept.write_bytes(changed[damage])
    assert read_checkpoint(str(made)).sha256 == first.sha256
    assert len(conversions) == 2 and kept.read_bytes() == content


def test_loads_at_once_convert_once(made, conversions):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_checkpoint, [str(made)] * 4))
    assert len({each.sha256 for each in found}) == 1 and len(conversions) == 1


def test_urls(made, cache, conversions):
    fsspec.filesystem("memory").pipe_file("/zoo/made.pkl", made.read_bytes())
    found = read_checkpoint("memory://zoo/made.pkl", sha256=file_sha256(made))
    assert found.source == "memory://zoo/made.pkl" and found.file_format == "nvidia-pytorch"
    assert found.sha256 == read_checkpoint(made.as_uri()).sha256
    assert len(conversions) == 1  # known by the file's SHA-256, wherever it lies
    with pytest.raises(CorruptDataError, match="expected 000"):
        read_checkpoint("memory://zoo/made.pkl", sha256="0" * 64)
    with pytest.raises(CorruptDataError, match="expected 000"):
        read_checkpoint(str(made), sha256="0" * 64)


def test_a_page_in_place_of_a_file_is_not_trusted(made):
    """A login page: the error names the URL, and the next try fetches again."""
    store, url = fsspec.filesystem("memory"), "memory://zoo/behind-a-login.pkl"
    store.pipe_file("/zoo/behind-a-login.pkl", b"\n<!DOCTYPE html>")
    with pytest.raises(InputError, match=f"^checkpoint {url}: it is a web page"):
        read_checkpoint(url)
    store.pipe_file("/zoo/behind-a-login.pkl", made.read_bytes())
    assert read_checkpoint(url).architecture == "stylegan2"


def test_a_known_checkpoint_brings_its_licence_and_checksum(made, monkeypatch):
    fsspec.filesystem("memory").pipe_file("/zoo/ffhq.pkl", made.read_bytes())
    name = "stylegan2-ada-ffhq-1024"
    mine = replace(KNOWN[name], url="memory://zoo/ffhq.pkl")
    monkeypatch.setitem(KNOWN, name, mine)
    with pytest.raises(CorruptDataError, match=f"expected {mine.sha256}"):
        read_checkpoint(name)
    monkeypatch.setitem(KNOWN, name, replace(mine, sha256=file_sha256(made)))
    for source in (name, mine.url):
        assert read_checkpoint(source).licence == mine.licence
    assert "research" in mine.licence
    assert read_checkpoint(str(made)).licence.startswith("unknown")


def test_known_names_are_plain_urls_with_a_licence_and_where_it_stands():
    assert len(KNOWN) == 39 == len({entry.url for entry in KNOWN.values()})
    for name, entry in KNOWN.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)
        assert entry.url.startswith("https://") and entry.url.endswith(".pkl")
        assert entry.page.startswith("https://github.com/NVlabs/") and "only" in entry.licence
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert public(name, KNOWN) is public(entry.url, KNOWN) is entry


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("stylegan2-ada-ffhq", "did you mean 'stylegan2-ada-ffhq-1024'"),
        ("nowhere/a.pkl", "nowhere/a.pkl does not exist; expected a file, a URL or a known name"),
        ("a.pkl", "a.pkl does not exist"),
        (".", "is a folder"),
        ("", "is a folder|unknown checkpoint"),
    ],
)
def test_what_is_not_there_is_said(source, said):
    with pytest.raises(InputError, match=said):
        read_checkpoint(source)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"GIF89a", b"<html>"])
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, cache, content):
    path = tmp_path / "wrong.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="wrong.pkl"):
        read_checkpoint(str(path))
    assert not list(cache.rglob("*.safetensors"))


def test_an_unknown_network_is_refused_with_its_file(tmp_path):
    path = tmp_path / "wrong.pt"
    torch.save({"model": {"w": torch.zeros(2)}}, path)
    with pytest.raises(InputError, match=r"^checkpoint .*wrong.pt: it holds a dict of 1 entries"):
        read_checkpoint(str(path))


def test_where_the_cache_lies(monkeypatch):
    assert cache_folder("~/x") == Path.home() / "x"
    assert cache_folder() == Path(os.environ["LODE_CACHE"])
    monkeypatch.delenv("LODE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "latentlode"


def test_the_package_is_light_to_import():
    heavy = (
        "import sys, mining.generators.checkpoints;"
        "print(sorted({'torch', 'fsspec', 'aiohttp', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_loading_is_what_the_package_offers():
    assert read_checkpoint is loading.read_checkpoint
