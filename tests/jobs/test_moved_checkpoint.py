"""A dataset goes on after its checkpoint was moved or converted: the weights are what counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storage.dataset import Dataset
from tests.jobs.test_cli_dataset import digests, lode
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ARGUMENTS = config(z_dim=16)


@pytest.fixture(scope="module")
def caching(environment, tmp_path_factory) -> dict[str, str]:
    return {**environment, "LODE_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def pickle(tmp_path_factory) -> Path:
    generator = persistent(network(**ARGUMENTS), "Generator", {}, FILTER, init_kwargs=ARGUMENTS)
    return nvidia_pickle(tmp_path_factory.mktemp("weights") / "made.pkl", generator)


def words(tiny: str, checkpoint: Path, out: Path) -> list[object]:
    generator = ("--generator.name", "stylegan2", "--generator.options.checkpoint", checkpoint)
    samples = ("--dataset.samples", "60", "--engine.workers", "1")
    return ["generate", "--config", tiny, "--out", out, *samples, *generator]


@pytest.fixture(scope="module")
def whole(shared_tiny, pickle, tmp_path_factory, caching) -> Path:
    out = tmp_path_factory.mktemp("whole")
    done = lode(caching, *words(shared_tiny, pickle, out))
    assert done.returncode == 0, done.stderr
    return out / "dataset"


@pytest.fixture
def broken(whole, tmp_path) -> Path:
    """The dataset without its last shard."""
    copy = Path(shutil.copytree(whole, tmp_path / "out" / "dataset"))
    (copy / "receipts" / "00002.json").unlink()
    (copy / "data" / "train-00002-of-00003.parquet").unlink()
    return copy


@pytest.fixture
def converted(pickle, tmp_path, caching) -> Path:
    made = lode(caching, "generator", "convert", pickle, tmp_path / "made.safetensors")
    assert made.returncode == 0, made.stderr
    return tmp_path / "made.safetensors"


def test_a_rerun_goes_on_with_the_converted_checkpoint(
    shared_tiny, converted, broken, whole, caching
):
    spelled = ("--generator.options.noise", "fixed")  # as it is by itself
    done = lode(caching, *words(shared_tiny, converted, broken.parent), *spelled)
    assert done.returncode == 0, done.stderr
    assert digests(broken) == digests(whole)


def test_repair_is_told_where_the_checkpoint_lies(pickle, converted, broken, whole, caching):
    away = pickle.with_name("away.pkl")
    pickle.rename(away)
    try:
        lost = lode(caching, "dataset", "repair", broken)
        where = ("--generator.options.checkpoint", converted)
        found = lode(caching, "dataset", "repair", broken, *where)
    finally:
        away.rename(pickle)
    assert lost.returncode == 2
    last = lost.stderr.splitlines()[-1]
    assert str(pickle) in last and "--generator.options.checkpoint PLACE" in last
    assert found.returncode == 0, found.stderr
    assert digests(broken) == digests(whole)


def test_mining_a_finished_dataset_is_told_where_the_checkpoint_lies(
    shared_tiny, pickle, converted, whole, tmp_path, caching
):
    out = tmp_path / "mined"
    command = ["mine", "--config", shared_tiny, "--dataset_url", whole, "--out", out]
    command += ["--mining.attributes", "[yaw]", "--mining.methods.nrsfm", "null"]
    command += ["--mining.methods.robust_pca", "null", "--evaluation.identities", "2"]
    away = pickle.with_name("away.pkl")
    pickle.rename(away)
    try:
        lost = lode(caching, *command)
        assert lost.returncode == 2 and not out.exists()
        found = lode(caching, *command, "--generator.options.checkpoint", converted)
    finally:
        away.rename(pickle)
    last = lost.stderr.splitlines()[-1]
    assert str(pickle) in last and "--generator.options.checkpoint PLACE" in last
    assert found.returncode == 0, found.stderr


def test_other_weights_are_refused(broken, tmp_path, caching):
    other = persistent(network(seed=1, **ARGUMENTS), "Generator", {}, FILTER, init_kwargs=ARGUMENTS)
    path = nvidia_pickle(tmp_path / "other.pkl", other)
    before = digests(broken)
    done = lode(caching, "dataset", "repair", broken, "--generator.options.checkpoint", path)
    assert done.returncode == 1
    assert "has fingerprint" in done.stderr.splitlines()[-1]
    assert digests(broken) == before


def test_other_noise_is_another_dataset(shared_tiny, pickle, broken, caching):
    noise = ("--generator.options.noise", "zero")
    done = lode(caching, *words(shared_tiny, pickle, broken.parent), *noise)
    assert done.returncode == 2
    assert "other generator.fingerprint" in done.stderr
    assert not Dataset(str(broken)).complete
