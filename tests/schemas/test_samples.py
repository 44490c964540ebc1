"""Tensor columns: what goes in comes out, and missing rows are null."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.samples import Field, from_column, tensor_type, to_column

SHAPES = st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(1, 3))


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e3, 1e3, width=32)), st.data())
def test_a_tensor_column_round_trips_with_its_gaps(values, data):
    missing = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool
    )
    column = to_column(values, missing)
    assert column.type == tensor_type(pa.float32(), values.shape[1:])
    assert column.null_count == missing.sum()
    back = from_column(column)
    np.testing.assert_array_equal(back[~missing], values[~missing])
    assert np.isnan(back[missing]).all()


def test_chunked_and_sliced_columns_are_read_whole():
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    column = pa.chunked_array([to_column(values[:1]), to_column(values).slice(1, 3)])
    np.testing.assert_array_equal(from_column(column), values)


def test_a_field_carries_unit_and_meaning_into_arrow():
    field = Field("dlib_landmarks", "float32", (68, 2), "fraction of the image", "68 points")
    assert Field.from_json(field.to_json()) == field
    arrow = field.to_arrow()
    assert arrow.metadata[b"unit"] == b"fraction of the image"
    assert str(arrow.type).count("fixed_size_list") == 2
