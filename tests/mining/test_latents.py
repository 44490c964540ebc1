"""What images are made from: drawn once, stored, and the same again."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mining.description import describe
from mining.evaluation.rescoring import RescoringConfig, measure_bases, rescore
from mining.evaluation.scalars import measured_pairs
from mining.extractors.registry import make_extractors
from mining.generators.base import Conditioned, Posed
from mining.latents import check_conditional, shard_latents
from mining.sampling import Measurer, Renderer
from schemas.errors import InputError, RunError
from schemas.samples import from_column
from schemas.settings import RunSettings
from storage.dataset import CAMERA, attribute_fields
from storage.shards import encode
from tests.examples.noise import NoiseGenerator
from tests.examples.points import PointsGenerator
from tests.examples.posed import PosedPoints

READER = "tests.examples.points:PointsExtractor"


def settings(name: str = "tests.examples.posed:PosedPoints", **dataset) -> RunSettings:
    return RunSettings.model_validate(
        {
            "generator": {"name": name},
            "extractors": {READER: {}},
            "dataset": {"samples": 25, "shard_size": 10, "batch_size": 4, "thumbnail": 0} | dataset,
        }
    )


def drawn(generator, space: str = "w", **changes):
    given = {"seed": 3, "space": space, "psi": 1.0, "cutoff": None, **changes}
    return shard_latents(generator, given, shard=2, count=6)


def made(**dataset):
    manifest = describe(settings(**dataset))
    return manifest, Measurer(manifest)(Renderer(manifest)(1))


def test_latents_without_a_condition_are_those_from_before_there_were_conditions():
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([3, 2])))
    made = drawn(PointsGenerator())
    np.testing.assert_array_equal(made.z, rng.standard_normal((6, 24), dtype=np.float32))
    assert made.condition is None
    digest = hashlib.sha256(made.w_plus.tobytes()).hexdigest()
    assert digest[:16] == "83628189cc2d246d"  # of commit 38c96aa


def test_z_is_drawn_before_the_condition():
    plain, posed = drawn(PointsGenerator()), drawn(PosedPoints())
    np.testing.assert_array_equal(plain.z, posed.z)
    assert posed.condition.shape == (6, 3)
    assert len(np.unique(posed.condition)) == 18


@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_mapping_gets_each_images_own_condition(space):
    found = drawn(PosedPoints(), space)
    moved = found.w_plus - found.z.reshape(6, -1, 24)
    expected = np.broadcast_to(0.01 * found.condition[:, :1, None], moved.shape)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_the_stored_condition_made_the_image():
    manifest, table = made()
    generator = PosedPoints()
    w, condition = (from_column(table.column(name)) for name in ("w", "condition"))
    turned = generator.broadcast(w)
    turned[:, 0] += condition[:, :2] / 15 @ generator.truth_rows[:2]
    seen = from_column(table.column("points_landmarks"))
    np.testing.assert_allclose(seen, generator.landmarks(turned), atol=1e-4)
    plain = generator.landmarks(generator.broadcast(w))
    assert np.abs(seen - plain).max() > 0.02  # and without it would not have


def test_the_cameras_angles_are_columns_in_degrees():
    manifest, table = made()
    condition = from_column(table.column("condition"))
    for k, name in enumerate(CAMERA):
        np.testing.assert_array_equal(from_column(table.column(name)), condition[:, k])
        assert attribute_fields(manifest)[name].unit == "degrees"
    assert not set(CAMERA) & set(
        attribute_fields(describe(settings("tests.examples.points:PointsGenerator")))
    )


def test_shards_with_conditions_are_the_same_bytes_every_time():
    (manifest, one), (_, two) = made(), made()
    assert encode(one, manifest) == encode(two, manifest)


class Undrawn(PosedPoints):
    sample_condition = None


class Misshapen(PosedPoints):
    def sample_condition(self, count, rng):
        return rng.standard_normal((count, 2))


class Truthful(PosedPoints):
    def truth(self):
        raise AssertionError("never asked")

    synthesize_with_truth = truth


def test_a_conditional_generator_that_draws_none_is_refused():
    with pytest.raises(InputError, match=r"3 numbers and draws none.*sample_condition"):
        describe(settings(f"{__name__}:Undrawn"))
    with pytest.raises(InputError, match="knows the truth"):
        describe(settings(f"{__name__}:Truthful"))
    with pytest.raises(RunError, match=r"drew conditions \(6, 2\); expected \(6, 3\)"):
        drawn(Misshapen())
    check_conditional(NoiseGenerator())


def test_held_out_images_keep_their_camera_while_they_are_edited():
    generator, extractors = PosedPoints(), make_extractors({READER: {}})
    latents = drawn(generator)
    config = RescoringConfig(identities=6, steps=(-1, 1), batch=4, thumbnails=0)
    bases = measure_bases(generator, extractors, latents.w_plus, config, latents.condition)
    pairs, units = measured_pairs(generator, extractors)
    assert pairs[-3:] == (("camera", "yaw"), ("camera", "pitch"), ("camera", "roll"))
    assert units[-3:] == ("degrees",) * 3
    np.testing.assert_allclose(bases.measured.values[:, -3:], latents.condition)
    assert bases.seen.all()
    along = generator.truth_rows[0]
    done = rescore(generator, extractors, along, 0.3, bases, config)
    np.testing.assert_allclose(done.column("camera", "yaw"), np.tile(latents.condition[:, :1], 3))
    moved = done.column("points", "yaw")
    assert (np.diff(moved, axis=1) > 0.15).all()


def test_an_image_is_not_seen_for_its_camera_alone():
    generator, extractors = PosedPoints(), make_extractors({READER: {"blind_every": 1}})
    latents = drawn(generator)
    bases = measure_bases(generator, extractors, latents.w_plus, None, latents.condition)
    assert not bases.seen.any()
    assert np.isfinite(bases.measured.values[:, -1]).all()


@pytest.mark.parametrize("generator", [PosedPoints(), PointsGenerator()])
def test_a_condition_too_many_or_too_few_is_refused(generator):
    latents = drawn(generator)
    wrong = None if generator.c_dim else np.zeros((6, 3), np.float32)
    with pytest.raises(InputError, match=f"takes {generator.c_dim} numbers"):
        measure_bases(generator, make_extractors({READER: {}}), latents.w_plus, None, wrong)


def test_an_edit_by_the_camera_turns_the_face_and_leaves_the_latents():
    generator, (reader,) = PosedPoints(), make_extractors({READER: {}})
    assert isinstance(generator, Posed) and isinstance(generator, Conditioned)
    latents = drawn(generator)
    turned = [
        generator.with_pose(latents.condition, yaw, latents.condition[:, 1], 0.0)
        for yaw in (-5.0, 5.0)
    ]
    np.testing.assert_array_equal(generator.pose(turned[1])[:, 0], 5.0)
    images = [generator.synthesize(latents.w_plus, condition) for condition in turned]
    yaw = [reader(shown, {}).values["yaw"] for shown in images]
    assert (yaw[1] - yaw[0] > 0.4).all()  # 10 degrees are two thirds of a unit


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("sample_z", lambda count, rng: np.zeros((count, 3), np.float32)),
        ("map", lambda z, psi=1.0, condition=None: z[:, :5]),
        ("broadcast", lambda w: w),
    ],
)
def test_a_generator_whose_shapes_are_not_its_own_word_is_named(call, wrong):
    generator = PointsGenerator()
    setattr(generator, call, wrong)
    with pytest.raises(RunError, match=f"'points': {call} gave shape"):
        drawn(generator)
