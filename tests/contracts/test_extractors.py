"""What every extractor owes, over every entry of the registry and the example."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mining.extractors.base import MEASURED, Extractor, measure
from mining.extractors.models import models_of
from mining.extractors.registry import EXTRACTORS, make_extractors
from mining.generators.registry import make_generator
from schemas.errors import InputError
from tests.contracts.chains import CHAINS, EXAMPLE, ROUNDING, entries
from tests.examples import points
from tests.examples.points import PointsExtractor


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three heads and two images without a face."""
    head = make_generator("head", resolution=256)
    w = head.map(head.sample_z(3, np.random.default_rng(11)), psi=0.5)
    heads = head.synthesize(head.broadcast(w))
    noise = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    return np.concatenate([heads, np.zeros((1, 256, 256, 3), np.uint8), noise])


@pytest.fixture(scope="module", params=entries())
def entry(request) -> str:
    """A name of the registry."""
    return request.param


@pytest.fixture(scope="module")
def chain(entry, tmp_path_factory) -> list[Extractor]:
    """The extractor behind those that it needs."""
    return make_extractors(CHAINS[entry](tmp_path_factory.mktemp("models")))


def test_every_entry_of_the_registry_is_held_to_the_contract():
    assert set(CHAINS) == {*EXTRACTORS, EXAMPLE}


def test_it_fits_the_protocol(chain):
    extractor = chain[-1]
    assert isinstance(extractor, Extractor)
    assert extractor.licence
    assert all(column.unit and column.text for column in extractor.columns.values())
    assert re.fullmatch("[0-9a-f]{64}", extractor.fingerprint())


def test_one_row_out_per_image_in_with_the_columns_it_names(chain, images):
    extractor = chain[-1]
    result = measure(chain, images)[extractor.name]
    assert len(result) == len(images)
    assert set(result.values) == set(extractor.columns)
    for name, column in extractor.columns.items():
        assert result.values[name].shape == (len(images), *column.shape)
        assert result.values[name].dtype == np.dtype(column.dtype)


def test_unmeasured_rows_are_nan_and_measured_rows_are_finite(chain, images):
    extractor = chain[-1]
    result = measure(chain, images)[extractor.name]
    for name, column in extractor.columns.items():
        if column.dtype == "float32":
            flat = result.values[name].reshape(len(images), -1)
            for row, status in zip(flat, result.status, strict=True):
                assert np.isfinite(row).all() if status in MEASURED else np.isnan(row).all()


def test_batches_change_nothing(chain, images):
    name = chain[-1].name
    whole = measure(chain, images)[name]
    for row in range(len(images)):
        alone = measure(chain, images[row : row + 1])[name]
        assert alone.status[0] == whole.status[row]
        for column, values in alone.values.items():
            near = ROUNDING.get(name, 0)
            np.testing.assert_allclose(values[0], whole.values[column][row], rtol=near, atol=near)


def test_the_same_batch_gives_the_same_bytes(chain, images):
    one, two = (measure(chain, images)[chain[-1].name] for _ in range(2))
    assert one.status == two.status
    for column, values in one.values.items():
        assert values.tobytes() == two.values[column].tobytes()


def test_fingerprints_and_models_tell_nothing_of_this_machine(entry, chain, tmp_path):
    """The same files in another folder make the same extractor."""
    extractor = chain[-1]
    again = make_extractors(CHAINS[entry](tmp_path))[-1]
    assert again.fingerprint() == extractor.fingerprint()
    for told in models_of(extractor):
        assert re.fullmatch("[0-9a-f]{64}", told["sha256"]) and told["licence"]
        assert "/" not in told["name"]
    if getattr(extractor, "models", ()):
        assert extractor.fingerprint_tells_all  # a path is no part of a dataset's identity


def test_no_images_give_no_rows(chain, images):
    assert len(measure(chain, images[:0])[chain[-1].name]) == 0


def test_floats_and_grey_images_are_refused(chain, images):
    for wrong in (images.astype(np.float32), images[..., 0]):
        with pytest.raises(InputError, match=r"expected \(N, H, W, 3\) uint8"):
            measure(chain, wrong)


def test_an_extractor_before_what_it_needs_is_refused():
    with pytest.raises(InputError, match="'geometry' needs dlib before it"):
        make_extractors({"geometry": {}, "dlib": {}})


def test_one_that_stands_twice_needs_a_name_of_its_own_for_each(monkeypatch):
    class Second(PointsExtractor):
        name = "other"

    monkeypatch.setattr(points, "Second", Second, raising=False)
    second = "tests.examples.points:Second"
    assert [made.name for made in make_extractors({EXAMPLE: {}, f"{second}@b": {}})] == [
        "points",
        "other",
    ]
    with pytest.raises(InputError, match="fills columns points_... and one before it points_"):
        make_extractors({EXAMPLE: {}, f"{EXAMPLE}@again": {}})


@pytest.mark.parametrize("name", ["points_more", "point"])
def test_names_that_cannot_be_told_apart_are_refused(name, monkeypatch):
    class Second(PointsExtractor):
        pass

    Second.name = name
    monkeypatch.setattr(points, "Second", Second, raising=False)
    chosen = {EXAMPLE: {}, "tests.examples.points:Second": {}}
    if name == "point":  # point_x and points_x are apart
        assert len(make_extractors(chosen)) == 2
    else:
        with pytest.raises(InputError, match="which nobody could tell apart"):
            make_extractors(chosen)


class Bare:
    """What a first try looks like."""

    def __call__(self, images, earlier):
        return None


class Vague(PointsExtractor):
    """Its fingerprint is none."""

    def fingerprint(self):
        return "1"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Bare, "lacks name, columns, needs, licence, fingerprint; see mining/extractors/base.py"),
        (Vague, "has the fingerprint '1'; expected 64 hexadecimal digits"),
    ],
)
def test_a_class_that_does_not_fit_the_protocol_is_refused(kind, said, monkeypatch):
    monkeypatch.setattr(points, kind.__name__, kind, raising=False)
    with pytest.raises(InputError, match=said):
        make_extractors({f"tests.examples.points:{kind.__name__}": {}})
