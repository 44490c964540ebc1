"""`lode ganspace`: cards of planted axes, names by a run's dataset, refusals before any work.

And the moments of W beneath it: the same bytes from one worker, from two, and from a plain loop.
One file has both, so that Ray starts once.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from jobs.cli import main as lode
from jobs.cluster import ray_session
from jobs.ganspace import find_components
from jobs.ganspace_source import open_source
from jobs.latent_moments import Mapper, latent_moments
from mining.description import describe
from mining.generators.checkpoints import native, read_checkpoint
from mining.generators.registry import make_generator
from mining.mapped import PART, Draw, mapped, mapped_moments, whole
from mining.methods.pca import PcaConfig
from mining.sampling import Measurer, Renderer
from schemas.errors import InputError, RunError
from schemas.settings import EngineSettings, RunSettings
from storage.catalog import Catalog
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import claim
from storage.shards import commit
from tests.jobs.conftest import TINY
from tests.jobs.turned import SPREADS
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
)

pytestmark = pytest.mark.ray
NOISE = "tests.examples.noise:NoiseGenerator"
DRAW = Draw(5 * PART + 33, seed=2, psi=0.7)
TURNED = "tests.jobs.turned:Turned"


def engine(workers: int, **generator: float) -> EngineSettings:
    return EngineSettings.model_validate(
        {"workers": workers, "generator": generator, "object_store_mb": 128}
    )


def mapper(load: str = NOISE, **options) -> Mapper:
    return Mapper(load, make_generator(load, **options).fingerprint(), options)


ENGINE = engine(2)


@pytest.fixture(scope="module", autouse=True)
def started():
    with ray_session(ENGINE):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run's folder with a dataset of 240 rows, truncated with psi 0.5."""
    out = str(tmp_path_factory.mktemp("run"))
    dataset = {**TINY["dataset"], "psi": 0.5, "shard_size": 120}
    told = {**TINY, "out": out, "generator": {"name": TURNED}, "dataset": dataset}
    manifest, store = describe(RunSettings.model_validate(told)), Store(f"{out}/dataset")
    claim(store, manifest)
    render, see = Renderer(manifest), Measurer(manifest)
    for shard in range(manifest.shards):
        commit(store, manifest, shard, see(render(shard)))
    return out


@pytest.fixture
def told(capsys):
    def told(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["ganspace", *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return told


def test_components_of_a_generator_become_cards(told, tmp_path):
    catalog = str(tmp_path / "catalog")
    words = ("--samples", "40000", "--components", "3", "--layers", "0-2", "--catalog", catalog)
    status, out, err = told(NOISE, *words, "-o", "json")
    assert status == 0, err
    said = json.loads(out)
    assert [one["attribute"] for one in said["components"]] == ["pc1@0-2", "pc2@0-2", "pc3@0-2"]
    spreads = np.linspace(2, 0.5, 16)
    catalogue = Catalog(catalog)
    for k, one in enumerate(said["components"]):
        card = catalogue.get(one["direction"])
        assert card.vector[k] > 0.98 and (card.space, card.layers) == ("w", (0, 1, 2))
        assert card.sigma == pytest.approx(spreads[k], rel=0.02) and card.aimless
        assert card.sigma == pytest.approx(math.sqrt(card.evidence["variance"]))
        assert card.evidence["rows"] == 40_000
        assert 0.95 < card.stability == one["stability"] <= 1
        assert card.provenance.dataset_id == Draw(40_000).id_of(card.generator_fingerprint)
        assert "no image was made" in card.notes
        assert one["together"] == pytest.approx(
            (spreads[: k + 1] ** 2).sum() / (spreads**2).sum(), abs=0.01
        )
    assert said["components_for"]["90%"] == 11  # planted: 10 axes hold 0.889, 11 hold 0.926
    status, out, _ = told(NOISE, *words)
    assert status == 0 and "pc3@0-2" in out and "moves" not in out
    assert len(Catalog(catalog).cards(all_versions=True)) == 3  # published once


def test_a_run_names_its_components_by_what_was_measured(told, run):
    status, out, err = told(run, "--samples", "40000", "--components", "4", "-o", "json")
    assert status == 0, err
    said = json.loads(out)
    rows = int(np.isfinite(Dataset(f"{run}/dataset").arrays(["points_yaw"])["points_yaw"]).sum())
    assert (said["psi"], said["named_by_rows"]) == (
        0.5,
        rows,
    ) and 200 < rows < 240  # some have none
    assert min(one["stability"] for one in said["components"]) > 0.95
    assert [one["moves"] for one in said["components"]] == ["yaw", "pitch", "smile", "mouth_open"]
    for k, one in enumerate(said["components"]):
        assert one["purity"] > 0.8 and abs(one["response"]) > 0.8
        assert one["sigma"] == pytest.approx(0.5 * SPREADS[k], rel=0.03)
    status, out, _ = told(f"{run}/dataset", "--samples", "2000", "--components", "2")
    assert status == 0 and f"moves        by {rows} measured images" in out
    assert "yaw (" in out and "% of its response)" in out


def test_layers_beyond_the_cutoff_were_not_truncated(run):
    source = open_source(run, {}, ENGINE)
    manifest = source.dataset.manifest
    assert source.psi(None) == source.psi((0, 1)) == 0.5
    manifest.settings["cutoff"] = 1
    assert source.psi((0, 2)) == 0.5 and source.psi((1, 2)) == 1.0
    found = find_components(source, Draw(500), PcaConfig(2, (0, 1)), ENGINE)
    assert found.names == ()  # the dataset's images moved by all rows


def test_a_checkpoint_is_named_by_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    arguments = config(z_dim=16)
    made = persistent(network(**arguments), "Generator", {}, FILTER, init_kwargs=arguments)
    file = tmp_path / "small.safetensors"
    native.save(read_checkpoint(str(nvidia_pickle(tmp_path / "made.pkl", made))), file)
    source = open_source(str(file), {}, ENGINE)
    assert (source.name, source.w_dim, source.dataset) == ("stylegan2", 16, None)
    asked = source.mapper  # what a worker loads
    there = make_generator(asked.load, **asked.options)
    assert there.fingerprint() == asked.fingerprint
    assert mapped(there, Draw(20), 0).shape == (20, 16)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no/such/folder"], "is no run or dataset, no generator"),
        ([NOISE, "--components", "17"], "W of noise has 16 numbers"),
        ([NOISE, "--samples", "4", "--components", "4"], "more samples than components"),
        ([NOISE, "--layers", "3-1"], "expected FIRST-LAST"),
        ([NOISE, "--components", "4", "--layers", "2-4"], "has the rows 0 to 3"),
        ([NOISE, "--psi", "0"], "psi is 0"),
        ([NOISE, "--set", "colour=1"], "no option 'colour'"),
        ([NOISE, "--set", "colour"], "expected KEY=VALUE"),
        ([NOISE, "--catalog", ""], "--catalog is empty"),
        ([NOISE, "--samples", "1"], "--samples"),
        (["stylegan2"], "needs the option 'checkpoint'"),
    ],
)
def test_mistakes_cost_no_work(told, words, said):
    status, out, err = told(*words)
    assert status == 2 and not out
    assert said in err and "Traceback" not in err and '"map"' not in err


def test_a_run_brings_its_own_options(told, run):
    status, _, err = told(run, "--set", "seed=1")
    assert status == 2 and "says itself how its generator is loaded" in err


@pytest.mark.parametrize(
    "asked",
    [mapper(), pytest.param(mapper("head", resolution=64), marks=pytest.mark.slow)],
    ids=["noise", "head"],
)
def test_workers_decide_no_byte(asked):
    draw = DRAW if asked.load == NOISE else Draw(PART + 20, seed=1)
    found = [whole(latent_moments(asked, draw, engine(workers))) for workers in (1, 2)]
    with threadpool_limits(1):
        found.append(mapped_moments(make_generator(asked.load, **asked.options), draw))
    assert {one.rows for one in found} == {draw.samples}
    assert len({one.mean.tobytes() + one.scatter.tobytes() for one in found}) == 1


def test_another_generator_in_a_worker_stops_the_run():
    other = Mapper(NOISE, "0" * 64)
    with pytest.raises(RunError, match="expected 000000000000"):
        latent_moments(other, Draw(20), engine(1))


def test_a_mapping_of_nan_is_the_users_to_mend():
    with pytest.raises(InputError, match="NaN or infinity"):
        latent_moments(mapper("tests.jobs.turned:Broken"), Draw(20), engine(1))


def test_what_no_node_has_is_refused():
    with pytest.raises(InputError, match="GPU 1"):
        latent_moments(mapper(), Draw(20), engine(1, gpus=1))
