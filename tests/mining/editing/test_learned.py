"""Opened artefacts edit as what they were made from, one attribute by steps of norm 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.editing.apply import apply_card, apply_direction
from mining.editing.learned import LearnedEdit, open_artefact
from mining.methods.attribute_flow import mine_attribute_flow
from mining.methods.direction_matrix import DirectionMatrix, directions_of
from mining.methods.flow_config import FlowConfig
from mining.methods.learned import Learned, LearnedRows
from mining.methods.matrix_file import matrix_bytes
from schemas.directions import Artefact, Calibration, DirectionCard
from schemas.errors import CorruptDataError, InputError
from tests.storage.sample_cards import sample_card

HERE, WIDE, ROWS = "ab" * 32, 8, 3
NAMES = ("yaw", "smile")


def matrix(space: str = "w", **changes) -> DirectionMatrix:
    shape = (WIDE,) if space == "w" else (ROWS, WIDE)
    width, rng = int(np.prod(shape)), np.random.default_rng(3)
    vectors = rng.normal(size=(2, width)) * [[0.05], [0.4]]
    about = {
        "names": NAMES,
        "units": ("degrees", "1"),
        "vectors": vectors,
        "reading": np.linalg.pinv(vectors).T,
        "offset": np.zeros(2),
        "low": np.array([-30.0, -1.0]),
        "high": np.array([30.0, 1.0]),
        "scale": np.ones(2),
        "space": space,
        "latent_shape": shape,
        "num_ws": ROWS,
        "fingerprint": HERE,
    }
    return DirectionMatrix(**(about | changes))


@pytest.fixture(scope="module")
def mined() -> Learned:
    """A flow over latents of 8 numbers, whose attributes are two of them."""
    w = np.random.default_rng(4).normal(size=(2000, WIDE)).astype(np.float32)
    scores = {"yaw": 10.0 * w[:, 0].astype(np.float64), "smile": w[:, 1].astype(np.float64)}
    rows = LearnedRows(
        w, "w", (WIDE,), ROWS, scores, {"yaw": "degrees"}, facts={"fingerprint": HERE}
    )
    return mine_attribute_flow(rows, FlowConfig(hidden=(32,), epochs=10, batch=128))


@pytest.fixture(params=["matrix", "matrix w+", "flow"])
def learned(request, mined) -> LearnedEdit:
    if request.param == "flow":
        return open_artefact(mined.artefact, "flow")
    return open_artefact(
        matrix_bytes(matrix(request.param.split()[-1].replace("matrix", "w"))), "matrix"
    )


@pytest.fixture
def w_plus(rng) -> np.ndarray:
    w = rng.standard_normal((5, 1, WIDE)).astype(np.float32)
    return np.repeat(w, ROWS, axis=1)


def test_steps_and_changes_are_the_same_edit_counted_in_two_ways(learned, w_plus):
    for name, unit, slope in zip(learned.names, learned.units, learned.slopes, strict=True):
        steps = np.linspace(-1, 1, 5)
        moved = learned.edit(w_plus, name, steps)
        np.testing.assert_array_equal(moved, learned.change(w_plus, name, steps * slope))
        assert moved.dtype == np.float32 and moved.shape == w_plus.shape
        assert learned.unit(name) == unit


def test_a_step_of_none_leaves_latents_to_the_last_bit(learned, w_plus):
    before = w_plus.copy()
    moved = learned.edit(w_plus, "smile", np.array([0.0, 1, 0, -1, 0]))
    np.testing.assert_array_equal(moved[::2], before[::2])
    assert (moved[1::2] != before[1::2]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(w_plus, before)
    assert learned.edit(w_plus[:0], "smile", 1.0).shape == (0, ROWS, WIDE)


def test_every_latent_moves_as_it_would_alone(learned, w_plus):
    steps = np.array([0.5, -1.0, 2.0, 0.1, -0.3])
    alone = [learned.edit(w_plus[i : i + 1], "yaw", step) for i, step in enumerate(steps)]
    # a flow's solver takes the steps that the worst row of a batch needs
    np.testing.assert_allclose(learned.edit(w_plus, "yaw", steps), np.concatenate(alone), atol=1e-3)


@pytest.mark.parametrize(("space", "layers"), [("w", ()), ("w", (0, 2)), ("w+", ())])
def test_a_step_of_a_matrix_is_one_along_its_column(w_plus, space, layers):
    # a bias belongs to the whole matrix: a step along one column has none
    for bias in (None, np.ones(int(np.prod(matrix(space).latent_shape)))):
        made = matrix(space, layers=layers, bias=bias)
        learned = open_artefact(matrix_bytes(made), "matrix")
        for direction in directions_of(made):
            moved = learned.edit(w_plus, direction.attribute, 1.5)
            along = apply_direction(w_plus, direction.vector, 1.5, direction.layers)
            np.testing.assert_allclose(moved, along, atol=1e-6)
            place = NAMES.index(direction.attribute)
            assert learned.slopes[place] == pytest.approx(direction.slope)


def test_a_flow_moves_the_attribute_and_little_else(mined, w_plus):
    learned = open_artefact(mined.artefact, "flow")
    by = {direction.attribute: direction.slope for direction in mined.directions}
    assert learned.slopes == pytest.approx([by[name] for name in learned.names])
    moved = learned.change(w_plus, "yaw", 8.0) - w_plus
    np.testing.assert_allclose(moved[..., 0], 0.8, atol=0.16)  # a fifth of what is asked for
    assert np.abs(moved[..., 1:]).mean() < 0.1
    back = learned.change(learned.change(w_plus, "yaw", 8.0), "yaw", -8.0)
    np.testing.assert_allclose(back, w_plus, atol=0.05)


def test_a_flow_edits_rows_that_differ_each_by_itself(mined, rng):
    learned = open_artefact(mined.artefact, "flow")
    w_plus = rng.standard_normal((2, ROWS, WIDE)).astype(np.float32)
    moved = learned.edit(w_plus, "smile", 1.0)
    for row in range(ROWS):
        one = learned.edit(w_plus[:, row : row + 1], "smile", 1.0)  # any number of rows
        np.testing.assert_allclose(moved[:, row : row + 1], one, atol=1e-5)


@pytest.mark.parametrize(
    ("attribute", "steps", "shape", "message"),
    [
        ("smiles", 1.0, (2, ROWS, WIDE), "did you mean 'smile'"),
        ("smile", np.ones(3), (2, ROWS, WIDE), r"steps \(3,\)"),
        ("smile", np.nan, (2, ROWS, WIDE), "NaN"),
        ("smile", 1e39, (2, ROWS, WIDE), "so large a change"),
        ("smile", 1.0, (2, ROWS, WIDE + 1), "another generator"),
        ("smile", 1.0, (ROWS, WIDE), "another generator"),
    ],
)
def test_what_does_not_fit_is_refused(learned, attribute, steps, shape, message):
    with pytest.raises(InputError, match=message):
        learned.edit(np.zeros(shape, np.float32), attribute, steps)


def test_a_column_of_zeros_has_no_steps():
    nothing = matrix(vectors=np.stack([np.zeros(WIDE), np.ones(WIDE)]))
    learned = open_artefact(matrix_bytes(nothing), "matrix")
    with pytest.raises(InputError, match="says not how far 'yaw' moves"):
        learned.edit(np.zeros((1, ROWS, WIDE), np.float32), "yaw", 1.0)


def test_files_that_are_something_else_or_damaged_are_told_apart(mined):
    data = matrix_bytes(matrix())
    with pytest.raises(InputError, match="kind of learned edit 'regressor'"):
        open_artefact(data, "regressor")
    for bytes_, kind in ((data, "flow"), (mined.artefact, "matrix"), (b"no file", "matrix")):
        with pytest.raises(InputError, match="my.file.*expected"):
            open_artefact(bytes_, kind, "my.file")
    for bytes_, kind in ((data, "matrix"), (mined.artefact, "flow")):
        with pytest.raises(CorruptDataError, match="my.file"):
            open_artefact(bytes_[:-8], kind, "my.file")


def flow_card(learned: LearnedEdit, **changes) -> DirectionCard:
    about = {
        "attribute": "smile",
        "method": "attribute_flow",
        "vector": np.zeros(0, "f4"),
        "artefact": Artefact("flow", learned.sha256, 5),
        "sigma": 0.5,
        "calibration": Calibration(0.25, -4.0, 4.0),
    }
    return sample_card(**(about | changes))


@pytest.mark.parametrize(("unit", "norms"), [("norm", 2.0), ("sigma", 1.0), ("attribute", 0.5)])
def test_a_card_of_a_flow_edits_through_its_file(mined, w_plus, unit, norms):
    learned = open_artefact(mined.artefact, "flow")
    moved = apply_card(w_plus, flow_card(learned), HERE, 2.0, unit, learned=learned)
    np.testing.assert_array_equal(moved, learned.edit(w_plus, "smile", norms))


def test_a_card_of_a_flow_wants_its_own_file_and_generator(mined, w_plus):
    learned = open_artefact(mined.artefact, "flow")
    card = flow_card(learned)
    with pytest.raises(InputError, match=r"learned=open_artefact\(storage.artefacts.read"):
        apply_card(w_plus, card, HERE, 1.0)
    with pytest.raises(InputError, match="open the file that the card names"):
        apply_card(w_plus, card, HERE, 1.0, learned=replace(learned, sha256="0" * 64))
    with pytest.raises(InputError, match="directions do not carry over"):
        apply_card(w_plus, card, "cd" * 32, 1.0, learned=learned)
    with pytest.raises(InputError, match="lode edit matrix"):
        whole = replace(card, artefact=Artefact("matrix", learned.sha256, 5))
        apply_card(w_plus, whole, HERE, 1.0, learned=learned)
