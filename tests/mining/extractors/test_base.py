"""Measuring a batch: what fails costs its own row, and what breaks the protocol is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.extractors.alone import measure_alone
from mining.extractors.base import (
    FAILED,
    NO_FACE,
    NOT_MEASURED,
    OK,
    Column,
    Measurement,
    check_measurement,
    concatenate,
    first_line,
    measure,
    unmeasured,
)
from schemas.errors import InputError, RunError


class Brightness:
    """The sum of each image; raises on those whose first byte is `odd`, sees no face in black."""

    name, needs, licence = "brightness", (), "Apache-2.0"
    columns = {
        "total": Column((), "1", "the sum"),
        "corner": Column((2, 3), "1", "two pixels"),
        "count": Column((), "1", "bytes above 0", "int32"),
    }

    def __init__(self, odd: int = 255):
        self._odd = odd
        self.calls: list[int] = []

    def __call__(self, images, earlier):
        self.calls.append(len(images))
        if (images[:, 0, 0, 0] == self._odd).any():
            raise ArithmeticError("odd\nand more")
        flat = images.reshape(len(images), -1)
        dark = flat.sum(axis=1) == 0
        total = flat.sum(axis=1).astype(np.float32)
        corner = images[:, 0, :2].astype(np.float32)
        total[dark] = corner[dark] = np.nan
        count = (flat > 0).sum(axis=1).astype(np.int32)
        values = {"total": total, "corner": corner, "count": count}
        return Measurement(tuple(NO_FACE if black else OK for black in dark), values)


class Halved:
    """Needs the brightness, and measures nothing where there is none."""

    name, needs, licence = "halved", ("brightness",), "Apache-2.0"
    columns = {"half": Column((), "1", "half of it")}

    def __call__(self, images, earlier):
        before = earlier["brightness"]
        half = np.where(before.measured(), before.values["total"] / 2, np.nan).astype(np.float32)
        status = tuple(OK if known else NOT_MEASURED for known in before.measured())
        return Measurement(status, {"half": half})


class Returns:
    """Returns what it is given."""

    name, needs, licence = "returns", (), "Apache-2.0"
    columns = Brightness.columns

    def __init__(self, found):
        self._found = found

    def __call__(self, images, earlier):
        return self._found


@pytest.fixture
def images(rng) -> np.ndarray:
    made = rng.integers(1, 250, size=(6, 4, 4, 3), dtype=np.uint8)
    made[1] = 0  # no face
    return made


def same(one: Measurement, two: Measurement) -> None:
    assert one.status == two.status
    assert dict(one.reasons) == dict(two.reasons)
    assert one.values.keys() == two.values.keys()
    for name, value in one.values.items():
        np.testing.assert_array_equal(value, two.values[name])
        assert value.dtype == two.values[name].dtype


def test_rows_that_fail_do_not_touch_the_others(images):
    whole = measure([Brightness(), Halved()], images)
    images[[2, 5], 0, 0, 0] = 255
    bright = Brightness()
    found = measure([bright, Halved()], images)
    assert bright.calls == [6, 1, 1, 1, 1, 1, 1]
    assert found["brightness"].status == (OK, NO_FACE, FAILED, OK, OK, FAILED)
    assert found["brightness"].reasons == dict.fromkeys((2, 5), "ArithmeticError: odd")
    kept = [0, 1, 3, 4]
    for name, value in found["brightness"].values.items():
        np.testing.assert_array_equal(value[kept], whole["brightness"].values[name][kept])
        assert value.dtype == whole["brightness"].values[name].dtype
    assert np.isnan(found["brightness"].values["corner"][[2, 5]]).all()
    assert (found["brightness"].values["count"][[2, 5]] == 0).all()


def test_what_depends_on_a_failed_row_is_not_measured(images):
    images[2, 0, 0, 0] = 255
    found = measure([Brightness(), Halved()], images)["halved"]
    assert found.status == (OK, NOT_MEASURED, NOT_MEASURED, OK, OK, OK)
    assert found.reasons == {}
    assert np.isnan(found.values["half"][[1, 2]]).all()


@pytest.mark.parametrize("odd", [None, 3], ids=["nothing fails", "one row fails"])
def test_one_image_at_a_time_gives_the_same(images, odd):
    if odd is not None:
        images[odd, 0, 0, 0] = 255
    announced: list[tuple[int, str]] = []
    extractors = [Brightness(), Halved()]
    alone = measure_alone(extractors, images, {}, lambda *key: announced.append(key))
    for name, found in measure(extractors, images).items():
        same(alone[name], found)
    assert announced == [(k, e.name) for k in range(6) for e in extractors]


def test_what_is_spared_is_not_tried_again(images):
    bright, announced = Brightness(), []
    spared = {(4, "brightness"): ("crashed", "the process was ended by SIGABRT")}
    found = measure_alone([bright, Halved()], images, spared, lambda *key: announced.append(key))
    assert len(bright.calls) == 5 and (4, "brightness") not in announced
    assert found["brightness"].status == (OK, NO_FACE, OK, OK, "crashed", OK)
    assert found["brightness"].reasons == {4: "the process was ended by SIGABRT"}
    assert found["halved"].status[4] == NOT_MEASURED
    whole = measure([Brightness(), Halved()], images)
    for name in found:
        for key, value in found[name].values.items():
            np.testing.assert_array_equal(value[:4], whole[name].values[key][:4])


def test_no_images_are_no_rows(images):
    for found in (
        measure([Brightness(), Halved()], images[:0]),
        measure_alone([Brightness(), Halved()], images[:0], {}, lambda *_: None),
    ):
        assert len(found["brightness"]) == len(found["halved"]) == 0
        assert found["brightness"].values["corner"].shape == (0, 2, 3)


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4), (2, 4, 4, 4)])
def test_what_are_no_images_is_refused(shape):
    with pytest.raises(InputError, match=r"expected \(N, H, W, 3\) uint8 RGB"):
        measure([Brightness()], np.zeros(shape, np.uint8))


def broken(images: np.ndarray, **values) -> Measurement:
    found = Brightness()(images, {})
    return replace(
        found, values={k: v for k, v in {**found.values, **values}.items() if v is not None}
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"corner": None}, r"nothing for column 'corner'; expected \(6, 2, 3\) float32"),
        ({"corner": np.zeros((6, 3), "f4")}, r"\(6, 3\) float32 for column 'corner'"),
        ({"total": np.zeros(5, "f4")}, r"\(5,\) float32 for column 'total'; expected \(6,\)"),
        ({"total": np.zeros(6, "i4")}, r"\(6,\) int32 for column 'total'; .* float32"),
        ({"count": np.zeros(6, "f4")}, r"\(6,\) float32 for column 'count'; .* int32"),
    ],
)
def test_values_that_break_the_protocol_are_told_with_their_column(images, values, said):
    extractor = Returns(broken(images, **values))
    with pytest.raises(RunError, match=f"extractor 'returns' returned {said}"):
        measure([extractor], images)
    with pytest.raises(RunError, match=f"extractor 'returns' returned {said}"):
        check_measurement(extractor, extractor(images, {}), 6)


def test_rows_that_break_the_protocol_are_told_with_their_number(images):
    found = Brightness()(images, {})
    with pytest.raises(RunError, match="'returns' returned 6 rows for 4 images"):
        measure([Returns(found)], images[:4])
    with pytest.raises(RunError, match="'returns' returned 6 rows for 1 images"):
        measure_alone([Returns(found)], images, {}, lambda *_: None)
    with pytest.raises(RunError, match="returned a dict; expected a Measurement"):
        measure([Returns({})], images)


def test_the_rows_of_a_measurement_make_it_up_again(images):
    images[2, 0, 0, 0] = 255
    bright = Brightness()
    found = measure([bright], images)["brightness"]
    same(concatenate(bright, [found.row(k) for k in range(len(found))]), found)
    assert found.row(2).reasons == {0: "ArithmeticError: odd"}
    lost = unmeasured(bright, "timeout", "no answer in 3 s")
    assert (lost.status, lost.reasons) == (("timeout",), {0: "no answer in 3 s"})
    check_measurement(bright, lost, 1)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n\n  first  \nsecond"), "ValueError: first"),
        (ValueError(), "ValueError"),
        (ValueError("   \n "), "ValueError"),
        (KeyError("yaw"), "KeyError: 'yaw'"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_reason_is_class_and_first_line(error, line):
    assert first_line(error) == line


@given(st.text(max_size=1000))
def test_a_reason_is_one_short_line(said):
    reason = first_line(RuntimeError(said))
    assert reason.startswith("RuntimeError")
    assert len(reason) <= 300 and len(reason.splitlines()) == 1
