"""What stages ask of a cluster; what it can never give is refused before anything is made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from jobs import placement
from jobs.placement import Node, addable_nodes, mining_needs, shards_in_flight, stage_needs
from schemas.errors import InputError
from schemas.settings import EngineSettings
from tests.jobs.conftest import write_tiny
from tests.jobs.head_node import head_node, until

ROOT = Path(__file__).parents[2]
GPU_NODE = {"CPU": 15, "GPU": 1}


def engine(**settings) -> EngineSettings:
    return EngineSettings.model_validate(settings)


def asked(**settings) -> list[tuple]:
    return [(n.stage, n.least, n.most, n.cpus, n.gpus) for n in stage_needs(engine(**settings))]


def test_a_fused_stage_has_a_cpu_for_each_worker():
    assert asked(workers=3) == [("generate", 1, 3, 1.0, 0.0)]


def test_split_stages_share_cpus_unless_the_generator_has_a_gpu():
    assert asked(stages="split") == [("render", 1, 2, 0.5, 0.0), ("extract", 1, 2, 0.5, 0.0)]
    gpu = {"gpus": 0.25, "min_actors": 2, "max_actors": 8}
    extract = {"cpus": 3, "min_actors": 4}
    assert asked(generator=gpu, extractor=extract) == [
        ("render", 2, 8, 1.0, 0.25),
        ("extract", 4, 4, 3.0, 0.0),
    ]


def test_a_fused_stage_on_a_gpu_asks_for_what_its_hungrier_part_does():
    assert asked(stages="fused", extractor={"gpus": 1}) == [("generate", 1, 2, 1.0, 1.0)]


def test_mining_asks_for_a_cpu_and_evaluation_for_the_generators_gpu():
    needs = mining_needs(engine(generator={"gpus": 0.5}))
    assert [need.resources for need in needs] == [{"CPU": 1, "GPU": 0}, {"CPU": 1, "GPU": 0.5}]


@pytest.mark.parametrize(("megabytes", "shards"), [(256, 2), (512, 4), (2048, 17)])
def test_the_object_store_says_how_many_shards_may_be_in_flight(megabytes, shards):
    settings = engine(object_store_mb=megabytes)
    assert shards_in_flight(settings, images_of(512, 128)) == shards


def test_an_object_store_too_small_for_one_shard_is_refused_with_the_needed_number():
    manifest = images_of(1024, 50)  # 150 MB
    with pytest.raises(InputError, match="at least 188,"):
        shards_in_flight(engine(object_store_mb=187), manifest)
    assert shards_in_flight(engine(object_store_mb=188), manifest) == 1


def images_of(resolution: int, shard_size: int):
    settings, generator = {"shard_size": shard_size}, {"resolution": resolution}
    return SimpleNamespace(settings=settings, generator=generator)


@pytest.fixture
def bootstrap(tmp_path, monkeypatch) -> Path:
    """Where the configuration of a cluster lies that `ray up` made, on a submitted job's node."""
    path = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(placement, "BOOTSTRAP", path)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    return path


@pytest.mark.filterwarnings("ignore")  # importing Ray's autoscaler warns about its own code
def test_what_ray_up_leaves_on_the_head_says_which_nodes_may_come(bootstrap):
    from ray.autoscaler._private.util import prepare_config

    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    bootstrap.write_text(json.dumps(config))  # as ray.autoscaler._private.commands does
    assert addable_nodes(engine()) == [Node(GPU_NODE, 16)]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "available_node_types: 3", "available_node_types: {gpu: {max_workers: x}}"],
)
def test_a_damaged_configuration_says_nothing(bootstrap, text):
    bootstrap.write_text(text)
    assert addable_nodes(engine()) == []


def test_a_local_run_has_no_autoscaler(bootstrap, monkeypatch):
    bootstrap.write_text(json.dumps({"available_node_types": {"gpu": {"resources": GPU_NODE}}}))
    assert addable_nodes(engine()) != []
    monkeypatch.delenv("RAY_ADDRESS")
    assert addable_nodes(engine()) == []


def test_settings_say_which_nodes_may_come_elsewhere(bootstrap):
    bootstrap.write_text("damaged")
    (node,) = addable_nodes(engine(autoscaled_nodes=GPU_NODE))
    assert node.resources == GPU_NODE and node.most > 10**6


class Cluster:
    """Two CPU nodes as Ray tells of them."""

    def __init__(self, monkeypatch, *nodes):
        import ray

        told = [{"Resources": dict(node), "Alive": True} for node in nodes]
        told.append({"Resources": {"CPU": 99.0, "GPU": 9.0}, "Alive": False})
        monkeypatch.setattr(ray, "nodes", lambda: told)

    def check(self, **settings) -> None:
        checked = engine(**settings)
        placement.check_placement(stage_needs(checked), checked)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generator": {"cpus": 5}}, "generate asks for CPU 5, and no node has as much"),
        ({"generator": {"cpus": 2, "min_actors": 4}}, "asks for CPU 2, and 3 fit"),
        (
            {
                "stages": "split",
                "generator": {"cpus": 2},
                "extractor": {"cpus": 1, "min_actors": 6},
            },
            "1 x render (CPU 2), 6 x extract (CPU 1) ask for CPU 8 at once, more than there is",
        ),
        ({"generator": {"gpus": 0.6, "min_actors": 3}}, "asks for CPU 1, GPU 0.6, and 2 fit"),
        ({"generator": {"gpus": 3}}, "no node has as much (nodes have CPU 3; CPU 4, GPU 2)"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_there_is(monkeypatch, settings, said):
    cluster = Cluster(monkeypatch, {"CPU": 3.0}, {"CPU": 4.0, "GPU": 2.0})
    with pytest.raises(InputError) as caught:
        cluster.check(**settings)
    assert said in str(caught.value)


def test_what_fits_is_let_through(monkeypatch):
    cluster = Cluster(monkeypatch, {"CPU": 3.0}, {"CPU": 4.0, "GPU": 2.0})
    cluster.check(generator={"gpus": 0.5, "min_actors": 4})
    cluster.check(generator={"cpus": 0, "min_actors": 500})
    cluster.check(stages="split", generator={"cpus": 4}, extractor={"cpus": 3})


def test_what_the_autoscaler_can_add_counts_as_far_as_it_goes(monkeypatch, bootstrap):
    kinds = {"head": {"resources": {"CPU": 0}, "max_workers": 0}}
    kinds["gpu"] = {"resources": GPU_NODE, "max_workers": 9}
    bootstrap.write_text(json.dumps({"max_workers": 4, "available_node_types": kinds}))
    cluster = Cluster(monkeypatch, {"CPU": 0.0})
    cluster.check(generator={"gpus": 0.5, "min_actors": 8})
    with pytest.raises(InputError) as caught:
        cluster.check(generator={"gpus": 0.5, "min_actors": 9})
    assert "8 fit (nodes have CPU 0, the autoscaler adds CPU 15, GPU 1 (4 times))" in str(
        caught.value
    )


@pytest.fixture(scope="module")
def head(tmp_path_factory, environment):
    """A Ray of three CPUs that the runs below join."""
    with head_node(tmp_path_factory.mktemp("head"), environment, "--num-cpus=3") as head:
        yield head


def generate(tiny, env, *words, program="generate_dataset") -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs" / f"{program}.py"), "--config", tiny, *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--engine.generator.gpus", "1"],
            "engine.generator: each actor that does render asks for CPU 1, GPU 1, "
            "and no node has as much (nodes have CPU 3)",
        ),
        (
            ["--engine.stages", "split", "--engine.extractor.cpus", "64"],
            "engine.extractor: each actor that does extract asks for CPU 64",
        ),
        (
            ["--engine.generator.min_actors", "4"],
            "engine.generator.min_actors 4: each actor that does generate asks for CPU 1, "
            "and 3 fit (nodes have CPU 3)",
        ),
        (["--engine.generator.gpus", "1.5"], "above 1, GPUs are reserved whole"),
        (
            # 1024 px in shards of 50
            ["--engine.stages", "split", "--engine.object_store_mb", "100"]
            + ["--generator.name", "head", "--generator.options.resolution", "1024"]
            + ["--dataset.shard_size", "50"],
            "engine.object_store_mb 100: the images of one shard take 150 MB and 80% of the object "
            "store is theirs; expected at least 188",
        ),
    ],
    ids=["gpus", "cpus", "actors", "fraction", "memory"],
)
def test_it_is_refused_in_one_line_before_anything_is_made(head, tiny, tmp_path, words, said):
    done = generate(tiny, head.joining, *words)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("error: ") and said in line
    assert not [name for name in ("data", "receipts") if (tmp_path / "out/dataset" / name).exists()]


@pytest.mark.ray
def test_a_dead_address_is_told_within_seconds(tiny, environment):
    start = time.monotonic()
    done = generate(tiny, {**environment, "RAY_ADDRESS": "127.0.0.1:1"})
    assert time.monotonic() - start < 60  # Ray itself tries for minutes
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no Ray answers at RAY_ADDRESS 127.0.0.1:1" in line


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_that_waits_for_an_autoscaled_node_says_so(head, tmp_path):
    words = ["--engine.generator.gpus", "1", "--engine.autoscaled_nodes", json.dumps(GPU_NODE)]
    command = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py")]
    command += ["--config", write_tiny(tmp_path), *words]
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(command, env=head.joining, stderr=log)
    try:
        for _ in until("a line about waiting", 120):
            assert driver.poll() is None
            if "waiting" in (tmp_path / "log").read_text():
                break
    finally:
        os.kill(driver.pid, signal.SIGINT)
        status = driver.wait(timeout=60)
    *lines, last = (tmp_path / "log").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    texts = [line["text"] for line in said if line["state"] == "warning"]
    assert any("for a worker of render (CPU 1, GPU 1)" in text for text in texts)
    assert said[-1]["state"] == "stopped"
    assert status == 130 and last.startswith("stopped;")
