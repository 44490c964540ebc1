"""cluster.yaml is what Ray's own schema wants, and says what the README promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.mark.filterwarnings("ignore")  # importing Ray's autoscaler warns about its own code
def test_it_fits_rays_own_schema(config):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_workers_have_gpus_and_come_from_the_spot_market(config):
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    (gpu,) = [kind for kind in types.values() if kind is not head]
    assert head["resources"]["CPU"] == 0
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


def test_every_node_installs_the_pinned_packages_and_starts_with_a_token(config):
    assert any("-c ~/latentlode/constraints.txt" in line for line in config["setup_commands"])
    for side in ("head", "worker"):
        start = config[f"{side}_start_ray_commands"][-1]
        assert "RAY_AUTH_MODE=token" in start
        # jobs are run by the head's own PATH: `python` there must be the one with the packages
        assert "export PATH=$HOME/venv/bin:$PATH" in start
