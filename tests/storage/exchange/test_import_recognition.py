"""What the names of published files and folders say, and what a file says against them."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest

from storage.exchange.published import FFHQ
from storage.exchange.recognise import found_in
from tests.storage.exchange import planted_files as planted

ROW = np.linspace(-1, 1, 16)[None]
ROWS = np.linspace(-1, 1, 48).reshape(1, 3, 16)


@pytest.mark.parametrize(
    ("path", "name", "method", "space", "generator"),
    [
        ("a/stylegan_ffhq_age_boundary.npy", "age", "interfacegan", "z", "stylegan_ffhq"),
        ("a/stylegan_ffhq_age_w_boundary.npy", "age", "interfacegan", "w", "stylegan_ffhq"),
        (
            "stylegan_ffhq_age_c_gender_boundary.npy",
            *("age", "interfacegan_c_gender", "z", "stylegan_ffhq"),
        ),
        (
            "stylegan_celebahq_smile_c_age_w_boundary.npy",
            *("smile", "interfacegan_c_age", "w", "stylegan_celebahq"),
        ),
        ("pggan_celebahq_pose_boundary.npy", "pose", "interfacegan", "z", "pggan_celebahq"),
        (
            "stylegan3_ffhq_gray_hair_boundary.npy",
            *("gray_hair", "interfacegan", "z"),
            "stylegan3_ffhq",
        ),
        ("smile_boundary.npy", "smile", "interfacegan", "", ""),
        (
            "stylegan2_ffhq_z/boundary_Gray_Hair.npy",
            *("gray_hair", "interfacegan", "z", "stylegan2_ffhq"),
        ),
        (
            "stylegan_ffhq_w/boundary_Bald.npy",
            *("bald", "interfacegan", "w", "stylegan_ffhq"),
        ),
        ("smile/boundary.npy", "smile", "interfacegan", "", ""),
        ("encoder4editing/editings/interfacegan_directions/age.pt", "age", "e4e", "w", FFHQ),
        ("PTI/editings/rotation.pt", "rotation", "pti", "w", FFHQ),
        ("mine/glasses.npy", "glasses", "imported", "", ""),
    ],
)
def test_one_row(path, name, method, space, generator):
    (found,) = found_in(PurePath(path), planted.npy(ROW))
    assert (found.name, found.method) == (name, method)
    assert (found.space_hint, found.generator_hint) == (space, generator)


@pytest.mark.parametrize(
    ("path", "name", "method", "space"),
    [
        ("pregen_latents/aging/d_latent", "aging", "micromotion", "w+"),
        ("aging/d_latent_baseline", "aging", "micromotion", "w+"),
        ("encoder4editing/pose.pt", "pose", "e4e", "w+"),
        ("puzer/smile.npy", "smile", "imported", ""),
    ],
)
def test_rows_of_w_plus(path, name, method, space):
    (found,) = found_in(PurePath(path), planted.torch_zip(ROWS))
    assert found.vector.shape == (3, 16)
    assert (found.name, found.method, found.space_hint) == (name, method, space)


def test_licence_and_source_of_what_is_recognised():
    (found,) = found_in(PurePath("stylegan_ffhq_age_boundary.npy"), planted.npy(ROW))
    assert found.licence_hint == "MIT" and found.source_hint.endswith("genforce/interfacegan")
    (found,) = found_in(PurePath("e4e/age.pt"), planted.torch_zip(ROW))
    assert "non-commercial" in found.generator_licence_hint
    (found,) = found_in(PurePath("age.pt"), planted.torch_zip(ROW))
    assert (found.licence_hint, found.source_hint, found.generator_licence_hint) == ("", "", "")


def test_a_condition_is_noted():
    (found,) = found_in(PurePath("stylegan_ffhq_age_c_gender_boundary.npy"), planted.npy(ROW))
    assert "gender was taken out" in found.notes[0]


def test_components_of_other_domains():
    for domain, generator in (("cars", "stylegan2-tf-car"), ("ffhq", FFHQ)):
        found = found_in(PurePath(f"{domain}_pca.pt"), planted.torch_zip(planted.pca()))
        assert {each.generator_hint for each in found} == {generator}
    found = found_in(PurePath("other.pt"), planted.torch_zip(planted.pca()))
    assert {each.generator_hint for each in found} == {""}


def test_metadata_come_before_names():
    said = {"attribute": "smile", "space": "z", "generator": "head", "method": "ridge"}
    (found,) = found_in(PurePath("e4e/age.safetensors"), planted.safetensors(ROW, said))
    assert (found.name, found.space_hint, found.generator_hint) == ("smile", "z", "head")
    assert found.method == "ridge"


def test_names_of_others_hold_no_control_characters():
    (found,) = found_in(PurePath("a\x1b[31m\udcff.npy"), planted.npy(ROW))
    assert found.name == "a[31m"
    arrays = {"x\x1b\n": ROW, "y": ROW}
    names = [each.name for each in found_in(PurePath("a.pt"), planted.torch_zip(arrays))]
    assert names == ["x", "y"]
