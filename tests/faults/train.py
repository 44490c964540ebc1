"""A program that trains the learned methods of a settings file, and nothing else of a run."""

from __future__ import annotations

import sys

from jobs.cluster import ray_session
from jobs.learned_cards import PLACE
from jobs.learned_checkpoints import Checkpoints
from jobs.learned_data import read_rows
from jobs.learned_stage import learn_all, learned_key, told_config
from jobs.learned_task import Training, learn_here
from jobs.mining_data import NO_STYLES, read_data
from jobs.mining_stage import configs_of
from jobs.results_cache import ResultsCache
from mining.methods.learned import Learned
from schemas.config import load_settings
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store

ALONE = "alone"  # the first word: without Ray


def main(argv: list[str]) -> int:
    """Train under --out, from --dataset_url; the artefacts lie where a run has them."""
    if argv[:1] == [ALONE]:
        alone(load_settings(argv[1:], "train", __doc__ or "", None))
        return 0
    settings = load_settings(argv, "train", __doc__ or "", None)
    dataset = Dataset(settings.dataset_url or "")
    data = read_data(dataset, settings.mining, NO_STYLES)
    told = (dataset, data, settings.mining, configs_of(settings.mining), settings.engine)
    with ray_session(settings.engine):
        done = learn_all(*told, ResultsCache(settings.out), settings.out)
    for method, learned in done.found.items():
        Store(settings.out).replace(PLACE.format(method), learned.artefact)
    for method, why in done.failures.items():
        print(f"{method}: {why}")
    return 1 if done.failures else 0


def alone(settings: RunSettings, out: str | None = None) -> dict[str, Learned]:
    """Method -> what its task would learn, in this process; from checkpoints, which stay.

    Args:
        out: where they are kept; None: as in the settings, "": nowhere.
    """
    dataset, mining = Dataset(settings.dataset_url or ""), settings.mining
    data, place = read_data(dataset, mining, NO_STYLES), settings.out if out is None else out
    found, about = {}, dict(dataset.manifest.generator)
    for method, config in configs_of(mining).items():
        rows = read_rows(dataset, data, method, config, mining)
        key = learned_key(method, told_config(config, rows), rows, dataset.manifest, 0.0)
        kept = Checkpoints(place or None, key)
        told = Training(method, config, key, None, 0.0, about)
        found[method] = learn_here(rows, told, kept.last(), kept.keep)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
