"""The Ray Data stages that turn shard numbers into committed shards.

One block is one shard. Ray's retries are for lost workers and nodes; that a shard exists once
and whole rests on the files alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.cluster import plain_errors
from mining.sampling import Measurer, Renderer
from schemas.settings import EngineSettings
from storage.files import Store
from storage.manifest import Manifest
from storage.shards import Receipt, commit

SHARD = "shard"
RECEIPT = "receipt"


class Generate:
    """Ray Data stage: a shard's number in, its rows with images out."""

    def __init__(self, content: Mapping[str, Any]):
        self._render = Renderer(Manifest(content))

    def __call__(self, batch: pa.Table) -> pa.Table:
        shard = batch.column(SHARD)[0].as_py()
        table = self._render(shard)
        return table.append_column(SHARD, pa.array([shard] * len(table), pa.int64()))


class Extract:
    """Ray Data stage: rows with images in, rows with measurements out."""

    def __init__(self, content: Mapping[str, Any]):
        self._measure = Measurer(Manifest(content))

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._measure(batch)


class Commit:
    """Ray Data stage: measured rows in, one row with the receipt out."""

    def __init__(self, content: Mapping[str, Any], url: str):
        self._manifest = Manifest(content)
        self._store = Store(url)

    def __call__(self, batch: pa.Table) -> pa.Table:
        shard = batch.column(SHARD)[0].as_py()
        receipt = commit(self._store, self._manifest, shard, batch)
        return pa.table({SHARD: [shard], RECEIPT: [receipt.to_bytes()]})


class Work:
    """All stages in one actor: nothing is copied between processes and no core waits."""

    def __init__(self, content: Mapping[str, Any], url: str):
        self._stages = (Generate(content), Extract(content), Commit(content, url))

    def __call__(self, batch: pa.Table) -> pa.Table:
        for stage in self._stages:
            batch = stage(batch)
        return batch


def stream(
    manifest: Manifest, url: str, shards: Sequence[int], engine: EngineSettings
) -> Iterator[Receipt]:
    """Make the given shards on the running Ray; yields each receipt as its shard is committed.

    Raises:
        LodeError: as raised in a worker.
        RunError: Ray gave up.
    """
    with warnings.catch_warnings():
        # Ray 2.60 has no other way yet to bound an actor's restarts (removal is due in 2.64)
        warnings.simplefilter("ignore", DeprecationWarning)
        dataset = _stages(manifest, url, shards, engine)
    with plain_errors("generating"):
        for row in dataset.iter_rows():
            yield Receipt.from_bytes(row[RECEIPT], f"shard {row[SHARD]}")


def _stages(manifest: Manifest, url: str, shards: Sequence[int], engine: EngineSettings) -> Any:
    import ray.data
    from ray.data import ActorPoolStrategy

    _quiet_context()
    content = dict(manifest.content)
    start = ray.data.from_items([{SHARD: k} for k in shards], override_num_blocks=len(shards))
    pool = ActorPoolStrategy(
        min_size=1,
        max_size=engine.workers,
        initial_size=min(engine.workers, len(shards)),
        max_tasks_in_flight_per_actor=2,
    )
    split = engine.stages == "split" or (engine.stages == "auto" and engine.generator_gpus > 0)
    if not split:
        return start.map_batches(
            Work,
            fn_constructor_args=(content, url),
            compute=pool,
            num_cpus=1,
            num_gpus=engine.generator_gpus or None,
            batch_size=1,
            batch_format="pyarrow",
            ray_remote_args_fn=retries,
        )
    # fractions leave a logical CPU for the commits, whatever the number of workers
    share = 0.5 if engine.generator_gpus == 0 else 1.0
    rendered = start.map_batches(
        Generate,
        fn_constructor_args=(content,),
        compute=pool,
        num_cpus=share,
        num_gpus=engine.generator_gpus or None,
        batch_size=1,
        batch_format="pyarrow",
        ray_remote_args_fn=retries,
    )
    measured = rendered.map_batches(
        Extract,
        fn_constructor_args=(content,),
        compute=pool,
        num_cpus=share,
        batch_size=None,
        batch_format="pyarrow",
        ray_remote_args_fn=retries,
    )
    return measured.map_batches(
        Commit,
        fn_constructor_args=(content, url),
        compute=ActorPoolStrategy(min_size=1, max_size=2),
        num_cpus=0.25,
        batch_size=None,
        batch_format="pyarrow",
        ray_remote_args_fn=retries,
    )


def retries() -> dict[str, Any]:
    """A worker that dies of one image dies of it again: without a limit Ray tries for ever."""
    return {"max_restarts": 3, "max_task_retries": 3}


def _quiet_context() -> None:
    """Blocks stay shards, and Ray Data draws no bars of its own."""
    import logging

    from ray.data import DataContext

    context = DataContext.get_current()
    context.target_max_block_size = None
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):  # its log file keeps everything
            handler.setLevel(logging.CRITICAL)
