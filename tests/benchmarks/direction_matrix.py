"""The direction matrix on the embedded head: what is asked of it in figures, and its training.

    python -m tests.benchmarks.direction_matrix --quick
    python -m tests.benchmarks.direction_matrix                  # an hour on two cores
    python -m tests.benchmarks.direction_matrix --dataset URL --sequences URL --pairs 300
    python -m tests.benchmarks.direction_matrix --out FOLDER     # keeps tables and matrices

5,000 samples: 4,000 heads of their own and 250 sequences of 4 frames. Two matrices are trained on
them, one of random pairs alone and one with the sequences, and tried beside every closed form on
held-out pairs; both trainings are timed with all that they read. Figures are those by the truth
that `lode matrix compare` writes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.generate_dataset import generate
from jobs.transfer_compare import Comparing, compare, open_run
from jobs.transfer_training import LEARNED, Making, make_matrix, matrix_config
from jobs.transfer_trials import TransferSettings
from mining.evaluation.transfer_scores import ANGLES, BARS, Row
from mining.evaluation.transfer_tables import best_of, gap_between, joint_of
from mining.evaluation.transfer_text import Report, as_markdown, shown
from schemas.settings import EngineSettings, RunSettings
from storage.files import Store
from tests.benchmarks.table import Figure

LANDMARKS = "dlib_landmarks"
MOST_SECONDS = 180.0  # of a training from 5,000 samples on two cores
LEVEL = 1.001  # of two joint scores: a matrix may be as good as the closed form it starts from
TRAINED = {"matrix, paired": "paired", "matrix, random pairs": "synthetic"}
FORMS = (
    "ridge inverted",
    "regression",
    "mean Jacobian of the surrogate",
    "ridge within sequences",
)


@dataclass(frozen=True)
class Case:
    """How large it is, and what is there already."""

    quick: bool = False
    dataset: str | None = None  # heads of their own; made for None
    sequences: str | None = None
    out: str | None = None  # of tables and matrices; a temporary folder for None
    pairs: int | None = None
    read: str = "latents,images"


def figures(quick: bool = False) -> Iterator[Figure]:
    """The lines of the table."""
    return figures_of(Case(quick))


def figures_of(case: Case) -> Iterator[Figure]:
    """The lines of one case."""
    with tempfile.TemporaryDirectory() as folder:
        out = case.out or folder
        heads = case.dataset or _made(f"{folder}/heads", case.quick, None)
        sequences = case.sequences or _made(f"{folder}/sequences", case.quick, 4)
        files = []
        for label, mode in TRAINED.items():
            files.append(f"{out}/{label.replace(' ', '_')}.safetensors")
            yield _trained(label, mode, heads, sequences, files[-1])
        pairs = case.pairs or (20 if case.quick else 1000)
        settings = TransferSettings(pairs, readings=tuple(case.read.split(",")))
        asked = Comparing(("cross",), sequences=sequences, landmarks=LANDMARKS)
        engine = EngineSettings.model_validate({"workers": 2})
        report = compare(open_run(heads), files, Store(out), asked, settings, engine)
        if case.out:
            print(as_markdown(report))
        yield from judged(report)


def judged(report: Report) -> Iterator[Figure]:
    """What the bars ask of the paired matrix, and how it stands to the closed forms."""
    learned, random = (
        best_of([row for row in report.rows if row.label == label]) for label in TRAINED
    )
    rivals = [row for row in report.rows if row.label in FORMS]
    if learned is None or random is None:
        return
    yield from _bars(learned)
    for row in (random, *rivals):
        yield Figure(f"joint score: {row.label} by {row.reading}", joint_of(row).value)
    best = best_of(rivals)
    if best is not None:
        gap = gap_between(learned, best)
        yield Figure(
            f"joint score over that of the best closed form, {best.label}",
            joint_of(learned).value / joint_of(best).value,
            most=LEVEL,
            note=f"difference {shown(gap)}",
        )
    best = best_of([row for row in rivals if row.label != FORMS[-1]])
    if best is not None:
        ratio = joint_of(random).value / joint_of(best).value
        note = f"best closed form of random pairs: {best.label}"
        yield Figure("the same of random pairs alone", ratio, note=note)


def _bars(row: Row) -> Iterator[Figure]:
    view = row.views["true"]
    for name in ANGLES:
        yield Figure(f"{name} after a transfer, {row.label}", view[name].value, "degrees", most=3.0)
    worst = min((one.value, name) for name, one in view.items() if name.startswith("r "))
    yield Figure(
        "correlation of expression with the target's",
        view["expression"].value,
        least=BARS["expression"],
        note=f"least {worst[0]:.2f} of {worst[1].removeprefix('r ')}",
    )
    yield Figure("others moved", view["moved"].value, "spreads", most=BARS["moved"])
    same = row.identity["same"].value
    yield Figure("faces below the same-identity threshold", same, least=BARS["same"])
    yield Figure("joint score", joint_of(row).value, most=1.0, note=f"read from {row.reading}")


def _trained(label: str, mode: str, heads: str, sequences: str, file: str) -> Figure:
    """A matrix trained and written, timed with the reading of its rows."""
    options = {"training": mode, **({"sequences": sequences} if mode == "paired" else {})}
    making = Making(label, LEARNED, matrix_config(options, 0), paired=mode == "paired")
    start = time.perf_counter()
    data = make_matrix(heads, making, LANDMARKS)
    seconds = time.perf_counter() - start
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_bytes(data)
    return Figure(f"training of the {label}", seconds, "s", most=MOST_SECONDS)


def _made(out: str, quick: bool, length: int | None) -> str:
    """A dataset of heads, or of sequences of one; its URL."""
    samples = (200 if quick else 4000) if length is None else (80 if quick else 1000)
    settings = RunSettings.model_validate(
        {
            "out": out,
            "generator": {"name": "head", "options": {"resolution": 128 if quick else 256}},
            "extractors": {"dlib": {"descriptor": True, "upsample": 1}},
            "dataset": {
                "samples": samples,
                "shard_size": 40,
                "seed": 0 if length is None else 7,
                **({} if length is None else {"sequences": {"length": length}}),
            },
            "engine": {"workers": 2},
        }
    )
    return generate(settings).url


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--dataset", metavar="URL", help="heads that were made before")
    parser.add_argument("--sequences", metavar="URL", help="and sequences of one identity")
    parser.add_argument("--out", metavar="FOLDER", help="for tables and matrices, kept there")
    parser.add_argument("--pairs", type=int, help="held-out pairs")
    parser.add_argument("--read", default="latents,images", help="what tells the parameters")
    missed = False
    for figure in figures_of(Case(**vars(parser.parse_args()))):
        print(figure, flush=True)
        missed |= figure.met is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
