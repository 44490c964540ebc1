"""A transfer copies the parts that are named, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.transfer import PARTS, asked_of, transferred
from mining.methods.camera import component_names
from schemas.errors import InputError

NAMES = component_names(5)
MEMBERS = {
    "camera": {"k11", "k12", "k22"},
    "pose": {"pitch", "yaw", "roll"},
    "shape": {f"alpha_{k}" for k in range(5)},
    "place": {"t_x", "t_y"},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_copied_and_all_else_stays(part, rng):
    to, source = rng.normal(size=(2, 4, len(NAMES)))
    found = transferred(to, source, [part])
    for place, name in enumerate(NAMES):
        wanted = source if name in MEMBERS[part] else to
        np.testing.assert_array_equal(found[:, place], wanted[:, place])


def test_all_parts_together_are_the_source_and_one_source_serves_all_rows(rng):
    to, source = rng.normal(size=(4, len(NAMES))), rng.normal(size=len(NAMES))
    for given in (source, source[None]):
        found = transferred(to, given, list(PARTS))
        np.testing.assert_array_equal(found, np.tile(source, (4, 1)))
    assert sum(asked_of([part], len(NAMES)).sum() for part in PARTS) == len(NAMES)


def test_the_codes_that_came_are_left_alone(rng):
    to, source = rng.normal(size=(2, 3, len(NAMES)))
    before = to.copy()
    transferred(to, source, ["pose"])
    np.testing.assert_array_equal(to, before)


def test_errors_name_parts_and_shapes(rng):
    q = rng.normal(size=(3, len(NAMES)))
    with pytest.raises(InputError, match="unknown part 'poses'; did you mean 'pose'"):
        transferred(q, q, ["poses"])
    with pytest.raises(InputError, match="no parts came"):
        transferred(q, q, [])
    with pytest.raises(InputError, match=r"\(2, 13\) onto \(3, 13\)"):
        transferred(q, q[:2], ["pose"])
    with pytest.raises(InputError, match="NaN"):
        transferred(q, q * np.nan, ["pose"])
