"""Edits in every space, of a generator whose truth is planted and that renders at once."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.editing import edit_along, edit_codes, transfer_codes
from jobs.editing_images import Edited, Look, measure_ends
from jobs.editing_latents import Given, of_file, of_seeds
from jobs.editing_run import Studio, open_studio
from jobs.editing_sources import read_photo, source_of_latent, source_of_photo
from jobs.editing_walk import evenly
from mining.description import describe
from mining.editing.pictures import encode
from mining.editing.request import parse_request
from mining.latents import shard_latents
from mining.methods.control import fit_control
from mining.methods.control_file import save_control
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.regressor import RegressorConfig
from mining.spaces import latent_shape, latents_in
from schemas.errors import InputError
from storage.files import Store
from storage.manifest import claim
from tests.storage.points_dataset import EXTRACTOR, settings
from tests.storage.sample_cards import sample_card

SPACES = ("z", "w", "w+")
ROWS, PSI, CUTOFF = 300, 0.7, 1
LOOK = Look(frames=3, size=32)


@pytest.fixture(scope="module")
def studios(tmp_path_factory) -> dict[str, Studio]:
    """A run for each space: truncated on the first row of W+ alone, and a control model."""
    folder, found = tmp_path_factory.mktemp("spaces"), {}
    for space in SPACES:
        manifest = describe(settings({EXTRACTOR: {}}, psi=PSI, cutoff=CUTOFF))
        url = folder / space.replace("+", "_plus")
        claim(Store(str(url / "dataset")), manifest)
        studio = open_studio(str(url))
        drawn = shard_latents(studio.generator, manifest.settings, 0, ROWS)
        control = fit_control(
            latents_in(studio.generator, space, drawn.z, drawn.w_plus).astype(np.float64),
            studio.generator.landmarks(drawn.w_plus),
            NrsfmConfig(6, sweeps=20),
            RegressorConfig(hidden=(64,), epochs=50, learning_rate=3e-3, weight_decay=0.0),
            space=space,
            latent_shape=latent_shape(studio.generator, space),
            fingerprint=manifest.generator["fingerprint"],
        )
        save_control(control, f"{url}/results/control.safetensors")
        found[space] = studio
    return found


def turned(studio: Studio, given: Given, edited: Edited) -> np.ndarray:
    """(R,) how far the planted yaw went, in degrees."""
    first, last = (row["points.yaw"] for row in _measured(studio, given, edited))
    return 15 * (last - first)


def _measured(studio: Studio, given: Given, edited: Edited) -> list[dict[str, np.ndarray]]:
    rows = measure_ends(studio, given, edited)
    return [
        {name: np.array([row[name][end] for row in rows]) for name in rows[0]} for end in (0, 1)
    ]


@pytest.mark.parametrize("space", SPACES)
def test_landmarks_go_where_they_are_predicted_in_every_space(studios, space):
    studio = studios[space]
    given = of_seeds(studio.generator, studio.manifest, range(6))
    edited = edit_codes(studio, given, parse_request("yaw+=8"), LOOK)
    assert edited.space == space and edited.images.shape == (6, 3, 32, 32, 3)
    seen = np.stack([studio.landmarks(edited.images[:, end], 68) for end in (0, -1)])
    told = np.array([row["landmarks"] for row in edited.rows]).swapaxes(0, 1)[[0, -1]]
    moved, predicted = np.diff(seen, axis=0), np.diff(told, axis=0)
    assert np.linalg.norm(moved - predicted) < 0.5 * np.linalg.norm(moved)
    assert (moved * predicted).sum() > 0.85 * np.linalg.norm(moved) * np.linalg.norm(predicted)
    # the first column is what the dataset's own settings make of the seed
    np.testing.assert_array_equal(edited.images[:, 0], studio.generator.synthesize(given.w_plus))


def test_a_transfer_ends_at_the_source(studios):
    studio = studios["w"]
    to, other = (of_seeds(studio.generator, studio.manifest, seeds) for seeds in ([1, 2], [3]))
    control = studio.control()
    source = source_of_latent(studio, control, other, 32, measured=False)
    edited = transfer_codes(studio, control, to, source, ["pose"], LOOK)
    assert edited.images.shape == (2, 4, 32, 32, 3)
    for row in edited.images[:, -1]:
        np.testing.assert_array_equal(row, studio.generator.synthesize(other.w_plus)[0])
    q = [control.regressor.predict(end)[:, 3:6] for end in edited.ends]
    wanted = source.codes[:, 3:6]
    assert np.abs(q[1] - wanted).max() < 0.1 * np.abs(q[0] - wanted).max() + 0.02
    assert edited.captions[0][0] == "pose 0%" and edited.captions[0][-1] == "seed 3"


def test_what_came_by_equation_11_is_nearly_what_the_regressor_reads(studios, tmp_path):
    studio, control = studios["w"], studios["w"].control()
    other = of_seeds(studio.generator, studio.manifest, [3])
    read, fitted = (
        source_of_latent(studio, control, other, 32, measured) for measured in (False, True)
    )
    assert (read.codes_from, fitted.codes_from) == ("regressor", "landmarks")
    assert np.degrees(np.abs(fitted.codes - read.codes)[:, 3:6]).max() < 6
    np.testing.assert_array_equal(fitted.picture, read.picture)
    # the same image as a file, without its latent
    path = tmp_path / "face.png"
    path.write_bytes(encode(fitted.picture[0], ".png"))
    photo = source_of_photo(studio, control, str(path), 32)
    np.testing.assert_allclose(photo.codes, fitted.codes, atol=1e-9)
    np.testing.assert_array_equal(photo.picture, fitted.picture)
    assert (photo.label, photo.codes_from) == ("face.png", "landmarks")


def test_a_photo_is_a_square_with_its_face_in_the_middle(tmp_path):
    wide = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    (tmp_path / "wide.png").write_bytes(encode(wide, ".png"))
    square = read_photo(str(tmp_path / "wide.png"))
    np.testing.assert_array_equal(square[5:25], wide)
    assert square.shape == (30, 30, 3) and (square[:5] == 255).all() and (square[25:] == 255).all()


def test_files_that_are_no_photos_are_refused(tmp_path, rng):
    data = encode(rng.integers(0, 255, (24, 24, 3), np.uint8), ".png")
    large = data[:16] + (60_000).to_bytes(4, "big") * 2 + data[24:]
    files = {
        "text.png": (b"no image", "no image that can be read"),
        "short.png": (data[:40], "no image that can be read"),
        "large.png": (large, "60000 x 60000 pixels, more than"),
        "empty.jpg": (b"", "no image that can be read"),
    }
    for name, (content, said) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_photo(str(tmp_path / name))
    with pytest.raises(InputError, match="is no file"):
        read_photo(str(tmp_path / "none.png"))


@pytest.mark.parametrize("method", ["analytic", "gradient"])
def test_a_sweep_goes_from_one_end_to_the_other(studios, method):
    studio = studios["w"]
    given = of_seeds(studio.generator, studio.manifest, [1, 2])
    look = Look(frames=5, size=32, method=method)
    edited = edit_codes(studio, given, parse_request("yaw=-8..8, roll=2"), look)
    assert edited.images.shape[:2] == (2, 5)
    for row in edited.rows:
        np.testing.assert_allclose(
            [codes["yaw"] for codes in row["codes"]], [-8, -4, 0, 4, 8], atol=0.6
        )
        np.testing.assert_allclose([codes["roll"] for codes in row["codes"]], 2, atol=0.6)
    # a frame is what its own value asks for
    one = edit_codes(studio, given, parse_request("yaw=4, roll=2"), Look(2, 32, method))
    np.testing.assert_allclose(
        [row["codes"][3]["yaw"] for row in edited.rows],
        [row["codes"][-1]["yaw"] for row in one.rows],
        atol=1e-6,
    )
    # random points have no nose, which tells yaw > 0 from yaw < 0; half of 16 degrees for the
    # scale of a shape model of 300 rows
    np.testing.assert_allclose(np.abs(turned(studio, given, edited)), 16, atol=8)


def test_a_direction_moves_every_row_by_its_steps(studios):
    studio = studios["w"]
    given = of_seeds(studio.generator, studio.manifest, [1, 2])
    card = sample_card(
        attribute="yaw",
        generator_fingerprint=studio.manifest.generator["fingerprint"],
        vector=studio.generator.truth_rows[0],
        sigma=0.5,
    )
    edited = edit_along(studio, given, card, (-1.0, 1.0), "sigma", LOOK)
    np.testing.assert_allclose(turned(studio, given, edited), 15 * 1.0, rtol=0.05)
    np.testing.assert_array_equal(edited.images[:, 1], studio.generator.synthesize(given.w_plus))
    with pytest.raises(InputError, match="finite"):
        edit_along(studio, given, card, (0.0, float("inf")), "sigma", LOOK)


def test_latents_that_cannot_be_of_the_space_are_refused(studios, tmp_path):
    generator = studios["z"].generator
    np.save(tmp_path / "w.npy", np.zeros((3, generator.w_dim), np.float32))
    given = of_file(generator, studios["z"].manifest, str(tmp_path / "w.npy"))
    with pytest.raises(InputError, match="nothing leads back to Z"):
        edit_codes(studios["z"], given, parse_request("yaw=3"), LOOK)
    np.save(tmp_path / "two.npy", np.zeros((2, generator.w_dim), np.float32))
    with pytest.raises(InputError, match="may be 2 latents of W or one of W"):
        of_file(generator, studios["z"].manifest, str(tmp_path / "two.npy"))
    np.save(tmp_path / "many.npy", np.zeros((999, 2, generator.w_dim), np.float32))
    with pytest.raises(InputError, match="holds 999 latents, expected 1 to 256"):
        of_file(generator, studios["z"].manifest, str(tmp_path / "many.npy"))


def test_a_header_that_promises_too_much_allocates_nothing(studios, tmp_path):
    whole = tmp_path / "whole.npy"
    np.save(whole, np.zeros((4, 24), np.float32))
    data = whole.read_bytes().replace(b"(4, 24), }" + b" " * 9, b"(4000000000, 24), }")
    (tmp_path / "bomb.npy").write_bytes(data)
    with pytest.raises(InputError, match="no .npy file of numbers"):
        of_file(studios["w"].generator, studios["w"].manifest, str(tmp_path / "bomb.npy"))


def test_too_many_pixels_are_refused_before_they_are_made(studios):
    studio = studios["w"]
    given = of_seeds(studio.generator, studio.manifest, range(200))
    with pytest.raises(InputError, match="more than 100,000,000"):
        edit_codes(studio, given, parse_request("yaw=3"), Look(frames=240, size=64))


def test_frames_lie_evenly_on_a_way_that_begins_fast(rng):
    steps = np.array([0, 8, 9, 9, 10.0])  # as descent takes them
    ends = rng.normal(size=(3, 7))
    walk = steps[:, None, None] * ends
    np.testing.assert_allclose(evenly(walk, 6), np.arange(0, 11, 2)[:, None, None] * ends)
    still = np.repeat(ends[None], 5, axis=0)
    np.testing.assert_allclose(evenly(still, 3), still[:3])
