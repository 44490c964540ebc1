"""The truth leaderboard: mine and measure at several numbers of samples, and compare.

Everything goes under --out: dataset/, datasets/<n>/ (its first rows), n<n>/ (a whole run with its
report), catalog/ and leaderboard.{json,csv,md,html}. A rerun makes only what is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.attributes import true_name
from jobs.cards import known_truth
from jobs.description import described
from jobs.evaluation_stage import rescoring_config
from jobs.filter_dataset import filter_dataset
from jobs.generate_dataset import dataset_url, generate
from jobs.leaderboard_times import CONTROL, Name, time_methods
from jobs.learned_checks import check_devices
from jobs.mine_directions import catalog_of, run
from jobs.mining_data import read_data, read_styles, without
from jobs.mining_stage import check_mining
from jobs.parents import open_whole
from mining.evaluation.leaderboard import Board, Score, scores_of
from mining.evaluation.leaderboard_text import as_csv, as_json, as_markdown
from mining.generators.base import Truth
from mining.methods.registry import needs_control
from schemas.config import load_settings
from schemas.errors import InputError
from schemas.settings import MiningSettings, RunSettings
from storage.dataset import Dataset
from storage.files import Store, absolute
from storage.manifest import Manifest

SAMPLES = (500, 2000, 10_000)
CONFIG = str(Path(__file__).parent / "configs" / "leaderboard.yaml")
WHO = "lode leaderboard"
LEAST = 50  # rows that any method can be fitted to


def make_board(settings: RunSettings, samples: Sequence[int]) -> Board:
    """Mine, measure and time every method at every number of samples.

    Raises:
        InputError: the generator's truth is not known, or the dataset has fewer rows.
        LodeError: as the runs raise it.
    """
    wanted = settings.model_copy(
        update={"dataset": settings.dataset.model_copy(update={"samples": max(samples)})}
    )
    given = settings.dataset_url is not None
    manifest = open_whole(dataset_url(wanted)).manifest if given else described(wanted)
    truth, names = _truth(manifest, settings)
    check_mining(settings.mining, manifest)
    check_devices(settings.mining, settings.engine)
    rescoring_config(settings.evaluation)
    whole = _whole(wanted)
    scores: list[Score] = []
    failures: dict[str, str] = {}
    skipped: dict[str, str] = {}
    shared: dict[str, float] = {}
    for count in sorted(samples):
        part = _settings(settings, whole, count)
        result = run(part)
        mined = {(card.method, card.attribute) for card in result.cards}
        seconds = _seconds(part, result.dataset, count, mined)
        scores += scores_of(result.cards, count, truth, names, seconds)
        skipped |= result.mined.skipped
        why = result.mined.failures
        failures |= {f"{count:,} samples: {name}": text for name, text in why.items()}
        if CONTROL in seconds:
            of = ", ".join(name for name in part.mining.methods if needs_control(name))
            shared[f"{of} at {count:,}"] = seconds[CONTROL]
    return Board(tuple(scores), _facts(settings, whole), failures, skipped, shared)


def _truth(manifest: Manifest, settings: RunSettings) -> tuple[Truth, dict[str, str]]:
    """The generator's truth, and attribute -> its parameter, before anything is made."""
    truth = known_truth(manifest)
    if truth is None:
        raise InputError(
            f"{WHO}: the truth of generator {manifest.generator['name']!r} is not known; expected "
            "the generator head, or a dataset of it. Use lode mine."
        )
    asked = settings.mining.attributes
    found = {name: true_name(name, manifest, truth.names) for name in asked}
    names = {name: parameter for name, parameter in found.items() if parameter in truth.names}
    if not names:
        raise InputError(
            f"{WHO}: none of {', '.join(asked)} is a parameter of the generator; expected some of "
            f"{', '.join(truth.names)} in mining.attributes."
        )
    return truth, names


def _whole(settings: RunSettings) -> Dataset:
    """The dataset that all sizes are taken from; made where none is named."""
    if settings.dataset_url is None:
        generate(settings)
    whole = Dataset(absolute(dataset_url(settings)))
    if whole.rows < settings.dataset.samples:
        raise InputError(
            f"{WHO}: {whole.url} has {whole.rows:,} rows; expected {settings.dataset.samples:,}. "
            "Ask for fewer --samples, or for another dataset."
        )
    return whole


def _settings(settings: RunSettings, whole: Dataset, count: int) -> RunSettings:
    """A run over the first rows."""
    out = absolute(settings.out).rstrip("/")
    url = whole.url
    if count < whole.rows:
        url = filter_dataset(whole.url, f"{out}/datasets/{count}", where=f"index < {count}").url
    about = {
        "out": f"{out}/n{count}",
        "catalog": catalog_of(settings),
        "dataset_url": url,
    }
    return settings.model_copy(update=about)


def _seconds(
    settings: RunSettings, dataset: Dataset, count: int, mined: Collection[Name]
) -> dict[Name, float]:
    """The seconds of each method, from an earlier run where these settings were timed before."""
    store = Store(settings.out)
    mining = settings.mining
    told = {
        "settings": mining.model_dump(mode="json"),
        "dataset": dataset.dataset_id,
        "mined": sorted("|".join(name) for name in mined),
    }
    if store.exists("times.json"):
        kept = _kept(store.read("times.json"))
        if kept.get("of") == told:
            return {tuple(name.split("|")): float(value) for name, value in kept["seconds"].items()}  # type: ignore[misc]
    found = _timed(settings, mining, dataset, count, mined)
    named = {"|".join(name): value for name, value in found.items()}
    store.replace("times.json", json.dumps({"of": told, "seconds": named}, indent=1).encode())
    return found


def _kept(raw: bytes) -> dict[str, Any]:
    """What an earlier run noted; {} where it is damaged, and is then timed again."""
    try:
        kept = json.loads(raw)
        good = all(isinstance(value, float) for value in kept["seconds"].values())
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return kept if good else {}


def _timed(
    settings: RunSettings,
    mining: MiningSettings,
    dataset: Dataset,
    count: int,
    mined: Collection[Name],
) -> dict[Name, float]:
    styles, skipped = read_styles(mining, dataset.manifest, settings.engine)
    chosen = without(mining, skipped)
    return time_methods(read_data(dataset, chosen, styles), chosen, count, mined, dataset)


def _facts(settings: RunSettings, whole: Dataset) -> Mapping[str, str]:
    about = whole.manifest.generator
    options = ", ".join(f"{key} {value}" for key, value in about["options"].items())
    edits = settings.evaluation
    return {
        "generator": f"{about['name']} ({options})" if options else about["name"],
        "extractors": ", ".join(item["name"] for item in whole.manifest.extractors),
        "dataset": whole.dataset_id,
        "re-scoring": f"{edits.identities} held-out identities, {len(edits.steps)} edits each",
    }


def save_board(board: Board, out: str, rows: Mapping[int, str]) -> None:
    """Write leaderboard.json, .csv, .md and .html into a folder or URL.

    Args:
        rows: number of samples -> the report of its run, as a link from there.
    """
    from jobs.report.leaderboard_page import render_leaderboard

    store = Store(out)
    told = json.dumps(as_json(board), indent=1, ensure_ascii=False, allow_nan=False)
    files = {"json": told, "csv": as_csv(board), "md": as_markdown(board)}
    files["html"] = render_leaderboard(board, rows)
    for kind, text in files.items():
        store.replace(f"leaderboard.{kind}", text.encode())


def main(argv: Sequence[str]) -> int:
    """The program: settings as of `lode mine`, and --samples."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--samples", default=",".join(map(str, SAMPLES)))
    known, rest = parser.parse_known_args(argv)
    if "--help" in rest or "-h" in rest:
        print(f"--samples A,B,C  numbers of samples to compare (default: {known.samples})\n")
    samples = sample_sizes(known.samples)
    settings = load_settings(rest, WHO, __doc__ or "", CONFIG)
    board = make_board(settings, samples)
    out = absolute(settings.out).rstrip("/")
    save_board(board, out, {count: f"n{count}/report.html" for count in board.samples})
    if sys.stdout.isatty():
        print(as_markdown(board))
        print(f"{out}/leaderboard.html")
    else:
        print(json.dumps({"leaderboard": f"{out}/leaderboard.html", **as_json(board)}))
    return 1 if board.failures else 0


def sample_sizes(text: str) -> tuple[int, ...]:
    """The numbers of "500,2000"; InputError where one is none, too small or twice."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdigit() for word in words) or not words:
        raise InputError(f"{WHO}: --samples {text!r} came; expected numbers such as 500,2000.")
    sizes = tuple(sorted(int(word) for word in words))
    if sizes[0] < LEAST or len(set(sizes)) < len(sizes):
        raise InputError(
            f"{WHO}: --samples {text!r} came; expected different numbers of at least {LEAST}."
        )
    return sizes


if __name__ == "__main__":
    from jobs.cli import guarded

    sys.exit(guarded(main, sys.argv[1:]))
