"""Model files are found, checked and told of without their folder."""

from __future__ import annotations

import hashlib

import pytest

from mining.extractors.models import UNKNOWN, Model, find_model, licences, models_of
from schemas.errors import CorruptDataError, InputError
from storage.downloads.locate import Public

DATA = b"weights"
DIGEST = hashlib.sha256(DATA).hexdigest()
WHO = "extractor 'x'"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def served(memory_free):
    """The same file behind a URL."""
    import fsspec

    with fsspec.open("memory://models/net.onnx", "wb") as file:
        file.write(DATA)
    return "memory://models/net.onnx"


@pytest.fixture
def memory_free(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    yield
    store.store.clear()


@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: path.as_uri()])
def test_a_file_is_found_and_told_of_without_its_folder(path, kind):
    model = find_model(WHO, kind(path))
    assert model.path == path
    assert model.to_json() == {"name": "net.onnx", "sha256": DIGEST, "licence": UNKNOWN}


def test_its_licence_is_what_one_says(path):
    assert find_model(WHO, path, licence="MIT").licence == "MIT"


def test_a_file_behind_a_url_is_fetched_once(served, tmp_path):
    model = find_model(WHO, served, sha256=DIGEST, licence="MIT")
    assert (model.name, model.sha256, model.licence) == ("net.onnx", DIGEST, "MIT")
    assert model.path.read_bytes() == DATA
    assert (tmp_path / "cache") in model.path.parents
    assert find_model(WHO, served, sha256=DIGEST) == Model("net.onnx", model.path, DIGEST, UNKNOWN)


def test_a_known_name_brings_url_checksum_and_licence(served):
    known = {"net": Public("net", served, "CC0-1.0", "https://example.org", DIGEST)}
    model = find_model(WHO, "net", known)
    assert (model.sha256, model.licence) == (DIGEST, "CC0-1.0")
    said = "^extractor 'x': unknown name 'nett'; did you mean 'net'.* A path or a URL"
    with pytest.raises(InputError, match=said):
        find_model(WHO, "nett", known)


def test_another_checksum_is_refused(path, served):
    for source in (path, served):
        with pytest.raises(CorruptDataError, match=f"has the SHA-256 {DIGEST}; expected 0{{64}}"):
            find_model(WHO, source, sha256="0" * 64)
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        find_model(WHO, path, sha256="abc")


def test_a_local_file_with_another_checksum_says_what_next(path):
    with pytest.raises(CorruptDataError, match="^extractor 'x': .*net.onnx has .* or correct the"):
        find_model(WHO, path, sha256="0" * 64)


def test_a_file_that_is_too_large_is_refused(path, served):
    with pytest.raises(InputError, match="net.onnx has 7 bytes; at most 6 are read"):
        find_model(WHO, path, most_bytes=6)
    with pytest.raises(InputError, match="has 7 bytes or more; at most 6"):
        find_model(WHO, served, sha256=DIGEST, most_bytes=6)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="^extractor 'x': .*gone.onnx does not exist"):
        find_model(WHO, tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="is a folder"):
        find_model(WHO, tmp_path)


def test_licences_stand_once(path):
    one = find_model(WHO, path, licence="MIT")
    two = Model("other.onnx", path, DIGEST, "MIT")
    assert licences([one, one, two]) == "net.onnx: MIT; other.onnx: MIT"


def test_extractors_without_models_have_none(path):
    class Bare:
        pass

    class Loaded:
        models = (find_model(WHO, path),)

    assert models_of(Bare()) == []
    assert [found["sha256"] for found in models_of(Loaded())] == [DIGEST]
