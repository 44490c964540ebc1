"""What each stage asks of the cluster, and whether the cluster can ever give it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from jobs.cluster import on_cluster
from jobs.isolation.messages import COMMIT, MEASURE, RENDER
from schemas.errors import InputError
from schemas.settings import EngineSettings, StageSettings
from storage.dataset import image_size
from storage.manifest import Manifest

ROOM = 0.8  # of the object store: the rest is for messages and for what Ray keeps there
FUSED, SPLIT = "generate", ("render", "extract")
GPUS = "CUDA_VISIBLE_DEVICES"
UNTOLD = 10**9  # nodes of a kind that the autoscaler may add, where nobody says how many
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml").expanduser()  # that `ray up` leaves on the head


@dataclass(frozen=True)
class Node:
    """A node of the cluster, or a kind of node that its autoscaler may add."""

    resources: Mapping[str, float]  # as Ray names them
    most: int = 1  # how many there may be


@dataclass(frozen=True)
class Need:
    """The actors of one stage."""

    stage: str  # its name in messages and progress
    setting: str  # the key that sets it
    does: tuple[str, ...]
    least: int
    most: int
    cpus: float
    gpus: float

    @property
    def resources(self) -> dict[str, float]:
        """Of one actor, as Ray names them."""
        return {"CPU": self.cpus, "GPU": self.gpus}


def hide_gpus() -> None:
    """Let this process, and what it starts, find no GPU.

    Ray leaves a node's GPUs in the sight of actors that were given none, and images made on a GPU
    have another fingerprint than those of a CPU.
    """
    os.environ[GPUS] = ""


def is_split(engine: EngineSettings) -> bool:
    """Whether generators and extractors are actors apart."""
    return engine.stages == "split" or (engine.stages == "auto" and engine.generator.gpus > 0)


def stage_needs(engine: EngineSettings) -> list[Need]:
    """The stages of a run: one that does everything, or one that renders and one that measures."""
    generator, extractor = engine.generator, engine.extractor
    if not is_split(engine):
        does = (RENDER, MEASURE, COMMIT)
        gpus = max(generator.gpus, extractor.gpus)
        return [_need(FUSED, "engine.generator", does, generator, engine.workers, 1.0, gpus)]
    # on CPUs alone a generator and an extractor share one, since neither is busy all the time
    cpus = 0.5 if generator.gpus == 0 else 1.0
    render = _need(SPLIT[0], "engine.generator", (RENDER,), generator, engine.workers, cpus)
    extract = _need(
        SPLIT[1], "engine.extractor", (MEASURE, COMMIT), extractor, engine.workers, cpus
    )
    return [render, extract]


def shards_in_flight(engine: EngineSettings, manifest: Manifest) -> int:
    """How many rendered shards the object store may hold at once.

    Raises:
        InputError: it cannot hold a single one.
    """
    size = manifest.settings["shard_size"] * image_size(manifest) ** 2 * 3
    room = int(ROOM * engine.object_store_mb * 2**20)
    if size > room:
        raise InputError(
            f"engine.object_store_mb {engine.object_store_mb}: the images of one shard take "
            f"{size / 2**20:.0f} MB and {ROOM:.0%} of the object store is theirs; expected at "
            f"least {int(size / ROOM / 2**20) + 1}, or a smaller dataset.shard_size."
        )
    return room // size


def mining_needs(engine: EngineSettings) -> list[Need]:
    """The tasks that mine, and the actors that edit and measure afterwards; one after the other."""
    gpus = max(engine.generator.gpus, engine.extractor.gpus)
    return [
        Need("mine", "engine.workers", (), 1, engine.workers, 1.0, 0.0),
        Need("evaluate", "engine.generator", (), 1, engine.workers, 1.0, gpus),
    ]


def check_placement(needs: Sequence[Need], engine: EngineSettings) -> None:
    """Refuse stages that neither the running Ray nor what its autoscaler may add can ever place.

    Args:
        needs: of the stages that work at the same time.

    Raises:
        InputError: with what is missing.
    """
    import ray

    nodes = [Node(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    addable = addable_nodes(engine)
    shown = _shown(nodes, addable)
    for need in needs:
        places = sum(node.most * _fits(node.resources, need) for node in [*nodes, *addable])
        if not places:
            raise InputError(
                f"{need.setting}: each actor that does {need.stage} asks for "
                f"{_said(need.resources)}, and no node has as much ({shown}). "
                "Ask for less, or add such a node."
            )
        if places < need.least:
            raise InputError(
                f"{need.setting}.min_actors {need.least}: each actor that does {need.stage} asks "
                f"for {_said(need.resources)}, and {places} fit ({shown}). "
                "Ask for less, or add nodes."
            )
    total = {name: sum(n.least * n.resources[name] for n in needs) for name in ("CPU", "GPU")}
    if not _all_fit([*nodes, *addable], needs):
        parts = ", ".join(f"{n.least} x {n.stage} ({_said(n.resources)})" for n in needs)
        raise InputError(
            f"engine: {parts} ask for {_said(total)} at once, more than there is ({shown}). "
            "Ask for less, or add nodes."
        )


def addable_nodes(engine: EngineSettings) -> list[Node]:
    """The kinds of nodes that an autoscaler may add.

    Ray has no way to ask its autoscaler. Where `ray up` made the cluster, its configuration lies
    on the head node, where submitted jobs run; elsewhere engine.autoscaled_nodes says it.
    """
    if engine.autoscaled_nodes:
        return [Node(engine.autoscaled_nodes, UNTOLD)]
    if not on_cluster() or not BOOTSTRAP.is_file():
        return []
    try:
        config = yaml.safe_load(BOOTSTRAP.read_text())
        limit = config.get("max_workers", UNTOLD)
        kinds = config["available_node_types"].values()
        nodes = [Node(dict(k["resources"]), min(k.get("max_workers", limit), limit)) for k in kinds]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []
    return [node for node in nodes if node.most > 0]


def _need(
    stage: str,
    setting: str,
    does: tuple[str, ...],
    settings: StageSettings,
    workers: int,
    cpus: float,
    gpus: float | None = None,
) -> Need:
    most = settings.max_actors or max(workers, settings.min_actors)
    wanted = cpus if settings.cpus is None else settings.cpus
    gpus = settings.gpus if gpus is None else gpus
    return Need(stage, setting, does, settings.min_actors, most, wanted, gpus)


def _fits(room: Mapping[str, float], need: Need) -> int:
    """How many of its actors one node takes."""
    counts = [int(room.get("CPU", 0) / need.cpus + 1e-9)] if need.cpus else []
    if 0 < need.gpus < 1:  # a fraction comes from one GPU
        counts.append(int(room.get("GPU", 0)) * int(1 / need.gpus + 1e-9))
    elif need.gpus:
        counts.append(int(room.get("GPU", 0) / need.gpus + 1e-9))
    return min(counts, default=need.most)


def _all_fit(nodes: Sequence[Node], needs: Sequence[Need]) -> bool:
    """Whether the least of every stage can be placed at once, the hungriest first."""
    actors = sum(need.least for need in needs)
    rooms = [dict(node.resources) for node in nodes for _ in range(min(node.most, actors))]
    rooms.sort(key=lambda room: room.get("GPU", 0))  # GPUs are kept for those who need them
    for need in sorted(needs, key=lambda need: (need.gpus, need.cpus), reverse=True):
        for _ in range(need.least):
            room = next((room for room in rooms if _covers(room, need.resources)), None)
            if room is None:
                return False
            for name, amount in need.resources.items():
                room[name] = room.get(name, 0) - amount
    return True


def _covers(room: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(room.get(name, 0) >= amount - 1e-9 for name, amount in asked.items() if amount)


def _said(resources: Mapping[str, float]) -> str:
    shown = [f"{name} {amount:g}" for name, amount in resources.items() if name == "CPU" or amount]
    return ", ".join(shown)


def _shown(nodes: Sequence[Node], addable: Sequence[Node]) -> str:
    if not nodes and not addable:
        return "there are no nodes"
    parts = []
    for what, kinds in (("nodes have", nodes), ("the autoscaler adds", addable)):
        said = Counter[str]()
        for kind in kinds:
            said[_said({n: kind.resources.get(n, 0) for n in ("CPU", "GPU")})] += kind.most
        if said:
            many = [f"{text}{_times(count)}" for text, count in sorted(said.items())]
            parts.append(f"{what} {'; '.join(many)}")
    return ", ".join(parts)


def _times(count: int) -> str:
    return f" ({count} times)" if 1 < count < UNTOLD else ""
