"""Frames of one identity: who moves, who does not, and that shards do not matter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mining.description import describe
from mining.generators.base import Animated
from mining.generators.head.generator import HeadGenerator
from mining.generators.head.parameters import LAYERS, ROWS
from mining.latents import shard_latents
from mining.sequences import frames, in_sequences
from schemas.config import load_settings
from schemas.errors import InputError, RunError
from schemas.samples import from_column
from tests.examples.moving import MovingPoints
from tests.examples.posed import PosedPoints
from tests.storage.points_dataset import make, settings

MOVING = "tests.examples.moving:MovingPoints"
MOVES = np.array([LAYERS[row] in ("pose", "expression") for row in ROWS])


def told(length: int = 4, smoothness: float = 0.0, **changes):
    sequences = {"length": length, "smoothness": smoothness}
    return {"seed": 3, "space": "w", "psi": 1.0, "cutoff": None, "sequences": sequences, **changes}


@pytest.fixture(scope="module")
def head() -> HeadGenerator:
    return HeadGenerator(resolution=64)


def test_heads_keep_their_identity_and_move_their_pose_and_expression(head):
    values = head.parameters(frames(head, told(), range(80)).w_plus).reshape(20, 4, -1)
    spread = values.std(axis=(0, 1))
    change = values.std(axis=1).mean(axis=0) / spread
    assert change[~MOVES].max() < 1e-5
    assert change[MOVES].min() > 0.4  # of four frames drawn by themselves about .8
    assert (values.mean(axis=1).std(axis=0) / spread)[~MOVES].min() > 0.99


@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_animated_head_takes_exactly_the_motion(head, space):
    rng = np.random.default_rng(0)
    shape = (5, 6, 512) if space == "w+" else (5, 1, 512)
    face, motion = (
        np.ascontiguousarray(np.broadcast_to(rng.standard_normal(shape, "f4"), (5, 6, 512)))
        for _ in range(2)
    )
    found = head.animated(face, motion)
    expected = np.where(MOVES, head.parameters(motion), head.parameters(face))
    spread = np.abs(expected).max(axis=0)
    assert (np.abs(head.parameters(found) - expected) < 1e-5 * spread).all()
    np.testing.assert_allclose(head.animated(face, face), face, atol=1e-6)
    if space == "w":
        np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    rest = np.eye(512) - head.truth().directions[MOVES].T @ head.truth().directions[MOVES]
    np.testing.assert_allclose((found - face) @ rest, 0, atol=2e-6)  # only along those directions


def test_the_head_refuses_faces_and_motions_that_do_not_pair_up(head):
    w_plus = np.zeros((2, 6, 512), np.float32)
    with pytest.raises(InputError, match="do not pair up"):
        head.animated(w_plus, w_plus[:1])
    with pytest.raises(InputError, match="motion holds NaN"):
        head.animated(w_plus, w_plus * np.nan)
    with pytest.raises(InputError, match=r"w_plus has shape \(2, 5, 512\)"):
        head.animated(w_plus[:, :5], w_plus)


def test_a_frame_is_as_likely_as_any_latent_and_like_its_neighbour():
    generator = MovingPoints()  # whose w is z
    w = frames(generator, told(8, 0.6), range(8 * 1500)).w_plus[:, 0].reshape(1500, 8, -1)
    np.testing.assert_allclose(w.std(axis=0), 1, atol=0.08)  # 4 standard errors
    along = (w @ generator.truth_rows[:2].T).transpose(2, 1, 0)  # (2, frames, sequences)
    for of in along:
        near = [np.corrcoef(one, other)[0, 1] for one, other in pairwise(of)]
        np.testing.assert_allclose(near, 0.6, atol=0.07)
        assert np.corrcoef(of[0], of[2])[0, 1] == pytest.approx(0.36, abs=0.09)
    still = w @ generator.truth_rows[2:].T
    assert np.ptp(still, axis=1).max() < 1e-5


def test_frames_without_smoothness_are_drawn_by_themselves():
    generator = MovingPoints()
    w = frames(generator, told(2), range(2 * 3000)).w_plus[:, 0].reshape(3000, 2, -1)
    yaw = w @ generator.truth_rows[0]
    assert abs(np.corrcoef(yaw.T)[0, 1]) < 0.07


def test_a_manifest_may_leave_the_smoothness_out():
    found = frames(MovingPoints(), told(sequences={"length": 4}), range(8)).w_plus
    np.testing.assert_array_equal(found, frames(MovingPoints(), told(), range(8)).w_plus)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_wherever_a_shard_begins_its_frames_are_the_same(space):
    generator, given = MovingPoints(), told(7, 0.5, space=space)
    whole = frames(generator, given, range(42)).w_plus
    for size in (5, 7, 10):
        parts = [
            frames(generator, given, range(k, min(k + size, 42))).w_plus for k in range(0, 42, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    other = frames(generator, {**given, "seed": 4}, range(42)).w_plus
    assert np.abs(other - whole).min() > 0


class Crowded(MovingPoints):
    """Its W hangs on how many z are mapped at once, as that of large networks does a little."""

    seen: list[int]

    def map(self, z, psi=1.0, condition=None):
        self.seen = [*getattr(self, "seen", []), len(z)]
        return super().map(z, psi, condition) + np.float32(1e-3 * len(z))


def test_long_sequences_are_mapped_in_parts_that_shards_do_not_shift():
    generator, given = Crowded(), told(150, 0.5)
    whole = frames(generator, given, range(300)).w_plus
    for size in (7, 64, 100):
        parts = [
            frames(generator, given, range(k, min(k + size, 300))).w_plus
            for k in range(0, 300, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    generator.seen = []
    frames(generator, given, range(140, 145))
    assert generator.seen == [1 + 150 - 128]  # no others than those that lie beside


def test_truncation_pulls_frames_towards_the_mean():
    generator = MovingPoints()
    plain = frames(generator, told(), range(8)).w_plus
    cut = frames(generator, told(psi=0.5, cutoff=1), range(8)).w_plus
    np.testing.assert_allclose(cut[:, 0], 0.5 * plain[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(cut[:, 1], plain[:, 1])


def test_held_out_latents_are_of_no_sequence():
    generator, plain = MovingPoints(), told()
    del plain["sequences"]
    one, other = (shard_latents(generator, each, 2, 6) for each in (told(), plain))
    np.testing.assert_array_equal(one.w_plus, other.w_plus)


def test_only_datasets_with_sequences_name_them():
    known = describe(settings(generator=MOVING)).dataset_id
    plain = describe(settings(generator=MOVING, sequences={"length": 1, "smoothness": 0.5}))
    assert plain.dataset_id == known
    assert "sequences" not in plain.settings and not in_sequences(plain.settings)
    ids = {
        describe(settings(generator=MOVING, sequences={"length": n, "smoothness": s})).dataset_id
        for n, s in ((3, 0.0), (5, 0.0), (5, 0.5))
    }
    assert len(ids | {known}) == 4


def test_places_are_columns_and_z_is_none(tmp_path):
    manifest = describe(settings(generator=MOVING, sequences={"length": 9, "smoothness": 0.5}))
    names = [field.name for field in manifest.fields]
    assert names[:5] == ["sample_id", "index", "sequence", "frame", "w"]
    assert "z" not in names
    dataset = make(tmp_path / "made", manifest)
    found = dataset.arrays(["index", "sequence", "frame", "w"])
    np.testing.assert_array_equal(found["sequence"], found["index"] // 9)
    np.testing.assert_array_equal(found["frame"], found["index"] % 9)
    generator = MovingPoints()
    still = (found["w"] @ generator.truth_rows[2:].T).reshape(5, 9, 2)
    assert np.ptp(still, axis=1).max() < 1e-5
    assert np.ptp(still, axis=0).min() > 0.01
    points = from_column(dataset.read(["points_landmarks"]).column("points_landmarks"))
    seen = generator.landmarks(generator.broadcast(found["w"]))
    known = np.isfinite(points[:, 0, 0])
    np.testing.assert_allclose(points[known], seen[known], atol=1e-4)


def test_other_sizes_of_shards_make_the_same_rows(tmp_path):
    told = {"generator": MOVING, "sequences": {"length": 9, "smoothness": 0.5}}
    tables = []
    for size in (10, 4):
        made = make(tmp_path / str(size), describe(settings(shard_size=size, **told)))
        names = [field.name for field in made.manifest.fields if field.name != "sample_id"]
        tables.append(made.read(names).combine_chunks())
    assert tables[0].equals(tables[1])


class Conditional(PosedPoints):
    animated = MovingPoints.animated


class Misshapen(MovingPoints):
    def animated(self, w_plus, motion):
        return w_plus[:, :1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.examples.points:PointsGenerator", "'points' cannot give one face the motion"),
        (f"{__name__}:Conditional", "takes a condition of 3 numbers"),
    ],
)
def test_generators_that_cannot_are_refused_before_work(name, said):
    with pytest.raises(InputError, match=f"length 3 came; generator .*{said}"):
        describe(settings(generator=name, sequences={"length": 3}))


def test_a_generator_whose_motion_has_another_shape_is_named():
    assert isinstance(Misshapen(), Animated)
    with pytest.raises(RunError, match=r"animated gave shape \(4, 1, 24\); expected \(4, 2, 24\)"):
        frames(Misshapen(), told(), range(4))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset.samples", "10"], "samples 10 are no whole number of sequences of 4 frames"),
        (["--dataset.sequences.smoothness", "1"], "sequences.smoothness"),
        (["--dataset.sequences.frames", "4"], "did you mean"),
    ],
)
def test_settings_that_do_not_fit_are_refused(words, said, tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("dataset: {samples: 12, sequences: {length: 4}}\n")
    line = ["--config", str(file)]
    assert load_settings(line, "lode", "", "").dataset.sequences.length == 4
    with pytest.raises(InputError, match=said):
        load_settings([*line, *words], "lode", "", "")
