"""What is written in a format is read back: every number, whatever the type and the layout."""

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save as save_torch

from schemas.errors import InputError
from storage.exchange.found import Found
from storage.exchange.recognise import found_in, read
from tests.storage.exchange import planted_files as planted

HERE = PurePath("some", "smile.bin")  # a suffix says nothing

vectors = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.one_of(
        st.tuples(st.integers(2, 9)),
        st.tuples(st.just(1), st.integers(2, 9)),
        st.tuples(st.integers(2, 18), st.integers(2, 9)),
        st.tuples(st.just(1), st.integers(2, 18), st.integers(2, 9)),
    ),
    elements=st.floats(-100, 100, width=16),
).filter(lambda array: bool(array.any()))


def single(data: bytes) -> Found:
    (found,) = found_in(HERE, data)
    return found


@pytest.mark.parametrize("form", planted.WRITERS)
@given(array=vectors)
@settings(max_examples=60)
def test_random_vectors_come_back(form, array):
    found = single(planted.WRITERS[form](array))
    wanted = array[0] if array.ndim > 1 and len(array) == 1 else array
    assert found.vector.dtype == np.float64
    np.testing.assert_array_equal(found.vector, wanted)
    assert (found.name, found.space_hint, found.method) == ("smile", "", "imported")


@given(array=vectors, protocol=st.integers(2, 5))
@settings(max_examples=100)
def test_arrays_of_pickles_come_back(array, protocol):
    saved = planted.ganspace_saved(array, lat_stdev=np.float64(1.5))
    found = single(planted.pickled(saved, protocol))
    np.testing.assert_array_equal(found.vector, array[0] if len(array) == 1 else array)
    assert found.sigma == 1.5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_arrays_in_every_order_of_memory(protocol, rng):
    whole = rng.normal(size=(1, 5, 6)).astype(">f4")
    for array in (
        whole.transpose(0, 2, 1),
        whole.T.copy("F").T,
        whole[:, ::2],
        whole.astype("<f8"),
    ):
        found = single(planted.pickled(planted.ganspace_saved(array, latent_space=""), protocol))
        np.testing.assert_array_equal(found.vector, array[0])


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_column_order_and_foreign_byte_order_are_read(form, rng):
    array = rng.normal(size=(6, 4))
    for stored in (np.asfortranarray(array), array.astype(">f8"), array.astype(">f4")):
        np.testing.assert_array_equal(single(planted.WRITERS[form](stored)).vector, stored)


@pytest.mark.parametrize("write", [planted.torch_zip, planted.torch_legacy])
def test_views_of_a_tensor_are_read_as_they_look(write, rng):
    whole = torch.from_numpy(rng.normal(size=(5, 7)))
    for view in (whole.T, whole[1:4, ::2], whole[2], whole[:, 3:]):
        np.testing.assert_array_equal(single(write(view)).vector, view.numpy())


@pytest.mark.parametrize("write", [planted.torch_zip, planted.torch_legacy])
def test_parameters_and_narrow_types_of_torch(write):
    values = torch.tensor([[1.5, -2.0, 0.25]])
    for tensor in (values.bfloat16(), values.half(), torch.nn.Parameter(values)):
        assert single(write(tensor)).vector.tolist() == [1.5, -2.0, 0.25]


def test_bfloat16_in_safetensors():
    data = save_torch({"direction": torch.tensor([1.5, -2.0]).bfloat16()})
    assert single(data).vector.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("write", [planted.torch_zip, planted.torch_legacy])
def test_what_torch_loads_is_what_we_read(write, rng):
    content = {name: rng.normal(size=(1, 8)).astype(np.float32) for name in ("a", "b")}
    data = write(content)
    loaded = torch.load(io.BytesIO(data), weights_only=True)
    found = found_in(HERE, data)
    assert [each.name for each in found] == ["a", "b"] == [each.entry for each in found]
    for each in found:
        np.testing.assert_array_equal(each.vector, loaded[each.name].numpy()[0])


@pytest.mark.parametrize("write", [planted.torch_zip, planted.torch_legacy])
def test_principal_components_of_a_pt_file(write):
    arrays = planted.pca()
    found = found_in(PurePath("x", "ffhq_pca.pt"), write(arrays))
    assert [each.name for each in found] == ["pca_000", "pca_001", "pca_002", "pca_003"]
    for at, each in enumerate(found):
        np.testing.assert_array_equal(each.vector, arrays["comp"][at, 0])
        assert each.sigma == arrays["std"][at]
        assert (each.method, each.space_hint) == ("ganspace", "w")
    assert sum(each.evidence["stdev_share"] for each in found) == pytest.approx(1)


def test_ganspace_components():
    path = PurePath("cache", "stylegan2-ffhq_style_ipca_c80_n1000000_w.npz")
    data = planted.ganspace_npz()
    arrays = np.load(io.BytesIO(data))
    found = found_in(path, data)
    assert len(found) == 5 and found[4].entry == "4"
    for at, each in enumerate(found):
        np.testing.assert_array_equal(each.vector, arrays["lat_comp"][at, 0])
        assert each.sigma == arrays["lat_stdev"][at]
        assert each.evidence["var_ratio"] == arrays["var_ratio"][at]
    assert {(each.generator_hint, each.space_hint) for each in found} == {("stylegan2-ffhq", "w")}
    of_z = found_in(PurePath("stylegan2-ffhq_style_ipca_c80_n1000000.npz"), data)
    assert {each.space_hint for each in of_z} == {"z"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_saved_component_of_ganspace(protocol, rng):
    vector = rng.normal(size=(1, 16)).astype(np.float32)
    found = single(planted.pickled(planted.ganspace_saved(vector), protocol))
    assert (found.name, found.space_hint, found.layers) == ("Smile", "w", (3, 4, 5))
    assert (found.generator_hint, found.sigma) == ("stylegan2-ffhq", 1.25)
    assert found.evidence == {"sigma_range": 4.5, "component": 7.0}
    acts = planted.ganspace_saved(vector, edit_type="activation")
    assert "activations" in single(planted.pickled(acts)).notes[0]


def test_metadata_of_safetensors_are_read(rng):
    said = {"attribute": "smile", "space": "w+", "layers": "1 2", "generator": "head"}
    said |= {"generator_fingerprint": "ab" * 32, "method": "ridge", "unit": "mm", "sigma": "0.5"}
    found = single(planted.safetensors(rng.normal(size=(4, 8)), said))
    assert (found.name, found.space_hint, found.layers) == ("smile", "w+", (1, 2))
    assert (found.generator_hint, found.fingerprint_hint) == ("head", "ab" * 32)
    assert (found.method, found.unit, found.sigma) == ("ridge", "mm", 0.5)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((1, 8)), "0 everywhere"),
        (np.full((1, 8), np.nan), "NaN or infinity"),
        (np.array([[1.0, np.inf]]), "NaN or infinity"),
        (np.ones((3, 1, 8)), "has shape (3, 1, 8); expected a direction"),
        (np.ones((80, 8)), "expected at most 64 rows of W+"),
        (np.ones(1), "has shape (1,)"),
        (np.ones(()), "has shape ("),
        (np.ones((1, 2, 3, 4)), "has shape (1, 2, 3, 4)"),
        (np.ones((0, 8)), "has shape (0, 8)"),
        (np.ones((60, 20_000)), "has 1200000 numbers"),
    ],
)
@pytest.mark.parametrize("form", ["npy", "torch", "safetensors"])
def test_what_is_no_direction_is_refused(form, array, says):
    with pytest.raises(InputError, match=r"^its (content|array)") as caught:
        found_in(HERE, planted.WRITERS[form](array))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"P6 1 1 255 abc", "no known format; expected .npy"),
        (b"", "no known format"),
        (pickle.dumps({"a": 1}), "its array 'a' is a int"),
        (pickle.dumps([]), "holds 0 arrays"),
        (planted.torch_zip({}), "holds 0 arrays"),
        (planted.torch_zip({"a": "text"}), "its array 'a' is 'text'"),
        (planted.npz(np.array([True, False])), "array of shape (2,) and type bool"),
    ],
)
def test_other_content_is_refused(data, says):
    with pytest.raises(InputError) as caught:
        found_in(HERE, data)
    assert says in str(caught.value)


def test_an_error_of_a_file_names_it(tmp_path: Path):
    path = tmp_path / "notes.npy"
    path.write_bytes(b"not an array")
    with pytest.raises(InputError, match=r"notes\.npy: its content is of no known format.*\.$"):
        read(path)
