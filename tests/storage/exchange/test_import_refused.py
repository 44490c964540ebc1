"""What an import refuses or skips, and in which words."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InputError, StorageError
from storage.exchange.drafts import Given, drafts_of
from storage.exchange.importing import import_cards
from tests.storage.exchange import planted_files as planted
from tests.storage.exchange.planted_files import put, unit


@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_norms_beyond_numbers_are_refused(scale):
    with pytest.raises(InputError, match="its norm is"):
        drafts_of(Path("x.npy"), planted.npy(np.ones((2, 8)) * scale), Given(generator="head"))


def test_a_file_without_a_generator_needs_one(catalog, tmp_path, folder):
    path = put(tmp_path / "one" / "smile.npy", planted.npy(unit(2, 1, 32)))
    with pytest.raises(InputError, match=r"smile\.npy: .*name it with --generator"):
        import_cards(catalog, path)
    put(folder / "smile.npy", path.read_bytes())
    done = import_cards(catalog, folder)
    assert any("--generator" in each.reason for each in done.skipped) and len(done.new) == 5


def test_rows_that_differ_are_no_direction_of_w(catalog, tmp_path):
    path = put(tmp_path / "x.npy", planted.npy(unit(5, 18, 16)))
    with pytest.raises(InputError, match="18 rows differ"):
        import_cards(catalog, path, generator="head", space="w")
    with pytest.raises(InputError, match="18 rows; layers up to 18"):
        import_cards(catalog, path, generator="head", layers=(17, 18))


def test_one_attribute_is_of_one_direction(catalog, folder):
    with pytest.raises(InputError, match="5 directions came and one attribute"):
        import_cards(catalog, folder, attribute="smile")


def test_one_fingerprint_is_of_one_generator(catalog, folder):
    with pytest.raises(InputError, match="generators stylegan2-tf-ffhq, stylegan_ffhq; import"):
        import_cards(catalog, folder, fingerprint="ab" * 32)
    import_cards(catalog, folder, fingerprint="ab" * 32, generator="stylegan2-tf-ffhq")
    assert {card.generator_fingerprint for card in catalog.cards()} == {"ab" * 32}


def test_what_does_not_fit_in_memory_is_refused(catalog, folder, monkeypatch):
    monkeypatch.setattr("storage.exchange.importing.MOST_NUMBERS", 100)
    with pytest.raises(InputError, match="more than 100 numbers in its directions; import its"):
        import_cards(catalog, folder)
    assert not os.path.exists(catalog.url)


def test_a_space_is_one_of_four(catalog, folder):
    with pytest.raises(InputError, match="space 'q'; expected one of z, w, w"):
        import_cards(catalog, folder, space="q")


def test_links_that_lead_out_are_not_followed(catalog, folder, tmp_path):
    outside = put(tmp_path / "outside" / "stylegan_ffhq_pose_boundary.npy", planted.npy(unit(9, 8)))
    (folder / "out.npy").symlink_to(outside)
    (folder / "out").symlink_to(outside.parent)
    (folder / "within.npy").symlink_to(folder / "stylegan_ffhq_age_w_boundary.npy")
    (folder / "broken.npy").symlink_to(folder / "nothing")
    done = import_cards(catalog, folder)
    reasons = {Path(each.file).name: each.reason for each in done.skipped}
    assert "leads out of the folder" in reasons["out.npy"] and "leads out" in reasons["out"]
    assert "cannot be read" in reasons["broken.npy"]
    assert "pose" not in {card.attribute for card in catalog.cards()}


def test_nothing_recognised_is_an_error(catalog, tmp_path):
    put(tmp_path / "in" / "a.txt", b"text")
    with pytest.raises(InputError, match=r"no direction that is recognised \(1 files"):
        import_cards(catalog, tmp_path / "in")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"\(0 files looked at\)"):
        import_cards(catalog, tmp_path / "empty")
    with pytest.raises(InputError, match=r"looked at\).*x\.npy: it does not say.*--generator\.$"):
        put(tmp_path / "in" / "x.npy", planted.npy(unit(1, 8)))
        import_cards(catalog, tmp_path / "in")
    with pytest.raises(InputError, match="is a URL; copy its files into a folder first"):
        import_cards(catalog, "s3://bucket/folder")
    with pytest.raises(InputError, match="does not exist"):
        import_cards(catalog, tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(catalog, tmp_path):
    path = put(tmp_path / "x.npy", planted.npy(unit(1, 8)))
    path.chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        import_cards(catalog, path)
