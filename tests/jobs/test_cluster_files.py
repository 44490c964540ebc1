"""cluster.yaml and kuberay_rayjob.yaml are what Ray expects, and say what the README promises."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from jobs import placement
from jobs.placement import check_placement, mining_needs, stage_needs
from schemas.config import load_settings
from schemas.settings import RunSettings
from storage.files import is_absolute

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore"),  # importing Ray's autoscaler warns about its own code
]
ROOT = Path(__file__).parents[2]
CLUSTER, RAYJOB = ROOT / "cluster.yaml", ROOT / "jobs" / "kuberay_rayjob.yaml"
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))


def parsed(command: str, home: str) -> RunSettings:
    """The settings of a command that runs a program of this repository at `home` on a node."""
    python, program, *words = shlex.split(command)
    assert python == "python"
    here = [word.replace(home, str(ROOT)) for word in (program, *words)]
    for path in here:
        assert not path.startswith(str(ROOT)) or Path(path).is_file(), path
    settings = load_settings(here[1:], "test", "", "")
    assert is_absolute(settings.out) and is_absolute(settings.catalog or "")
    assert settings.out.startswith("s3://")
    return settings


@pytest.fixture(scope="module")
def config() -> dict:
    """cluster.yaml with Ray's defaults, as `ray up` completes it."""
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(yaml.safe_load(CLUSTER.read_text()))


def test_it_fits_rays_own_schema(config):
    from ray.autoscaler._private.util import validate_config

    validate_config(config)


def test_workers_have_gpus_and_come_from_the_spot_market(config):
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    (gpu,) = [kind for kind in types.values() if kind is not head]
    assert head["resources"]["CPU"] == 0
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert gpu["min_workers"] == 0 < gpu["max_workers"]


def test_every_node_installs_the_pinned_packages_and_starts_with_a_token(config):
    pinned = "PIP_CONSTRAINT=~/latentlode/constraints.txt ~/venv/bin/pip install"
    assert any(line.startswith(pinned) for line in config["setup_commands"])
    everywhere = [*config["setup_commands"], *config["head_setup_commands"]]
    assert not [line for line in everywhere if line.startswith("pip ")]  # Ray's default, unpinned
    assert "/home/ubuntu/.ray/auth_token" in config["file_mounts"]
    for side in ("head", "worker"):
        start = config[f"{side}_start_ray_commands"][-1]
        assert "RAY_AUTH_MODE=token" in start
        # jobs are run by the head's own PATH: `python` there must be the one with the packages
        assert "export PATH=$HOME/venv/bin:$PATH" in start
        assert "dashboard-host" not in start  # it stays on loopback


def test_every_node_reaches_object_storage_without_a_key_on_it(config):
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["IamInstanceProfile"]["Name"]
    assert "AWS_SECRET" not in CLUSTER.read_text()


def test_the_command_in_the_clusters_comment_runs_there(config, monkeypatch):
    comment = re.sub(r"^#", "", CLUSTER.read_text(), flags=re.M).replace("\\\n", " ")
    (command,) = re.findall(r"ray job submit .* -- +(python .*)", comment)
    settings = parsed(command, "/home/ubuntu/latentlode")
    kinds = config["available_node_types"].values()
    fits(monkeypatch, settings, [kind["resources"] for kind in kinds], 16)


@pytest.fixture(scope="module")
def rayjob() -> dict:
    return yaml.safe_load(RAYJOB.read_text())


@pytest.fixture(scope="module")
def groups(rayjob) -> dict:
    """Node types as Ray's autoscaler reads them from the RayJob's cluster: head and worker."""
    from ray.autoscaler._private.kuberay import autoscaling_config

    cluster = {
        "metadata": {"name": "x", "namespace": "y"},
        "spec": rayjob["spec"]["rayClusterSpec"],
    }
    derived = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)
    return derived["available_node_types"]


def test_the_rayjob_has_a_head_without_cpus_and_gpu_workers_that_come_and_go(rayjob, groups):
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert rayjob["spec"]["submissionMode"] == "K8sJobMode"
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == PINS["ray"]
    head, gpu = groups["headgroup"], groups["gpu"]
    assert head["resources"]["CPU"] == 0 and head["max_workers"] == 0
    assert gpu["resources"]["GPU"] == 1 and gpu["min_workers"] == 0 < gpu["max_workers"]


def test_containers_ask_for_all_that_they_may_use_and_have_the_keys(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    images = set()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["envFrom"][0]["secretRef"]["name"] == "latentlode-s3"
        images.add(container["image"])
    (image,) = images
    assert f"docker build --tag {image} " in RAYJOB.read_text()


def test_the_image_is_built_from_this_project_and_its_pins():
    text = RAYJOB.read_text()
    assert re.findall(r"FROM rayproject/ray:([\d.]+)-py311", text) == [PINS["ray"]]
    copied = " ".join(re.findall(r"COPY --chown=ray:users (.*) /home/ray/latentlode", text)).split()
    assert all((ROOT / name).exists() for name in copied)
    assert {"constraints.txt", "pyproject.toml", *("schemas storage mining jobs").split()} <= {
        *copied
    }
    assert "ENV PIP_CONSTRAINT=/home/ray/latentlode/constraints.txt" in text


def test_the_rayjobs_command_runs_there_and_knows_what_a_worker_offers(rayjob, groups, monkeypatch):
    settings = parsed(rayjob["spec"]["entrypoint"], "/home/ray/latentlode")
    offered = {name: groups["gpu"]["resources"][name] for name in ("CPU", "GPU")}
    assert settings.engine.autoscaled_nodes == offered
    fits(monkeypatch, settings, [offered], groups["gpu"]["max_workers"])


def fits(monkeypatch, settings: RunSettings, kinds: list[dict], most: int) -> None:
    """Every stage can be placed on new nodes, and all actors fit on as many as there may be."""
    import ray

    engine = settings.engine.model_copy(update={"autoscaled_nodes": kinds[-1]})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 0.0}}])
    needs = stage_needs(engine)
    check_placement(needs, engine)
    for need in mining_needs(engine):
        check_placement([need], engine)
    for name, offered in (("CPU", kinds[-1]["CPU"]), ("GPU", kinds[-1]["GPU"])):
        assert sum(need.most * need.resources[name] for need in needs) <= most * offered
    assert placement.is_split(engine)
