"""The attribute flow on heads of `entanglement` 0.6: time, landing, leak and identity.

    python -m tests.benchmarks.flow --quick
    python -m tests.benchmarks.flow                        # makes 10,000 heads first: half an hour
    python -m tests.benchmarks.flow --dataset URL --heads 60 --more

Only what a user has is used to train: dlib's landmarks and what geometry reads off them. Edits are
tried on fresh heads by one spread of the attribute in the dataset, up where the ridge reading puts
the head below their median and down elsewhere, so that what is asked for is a head that there is;
they are measured by the same extractors. Linear SVM and ridge directions go as far as the ridge
reading says that the same change takes, so that what is compared is of equal effect; leaks are
over the own measured effect besides. A leak is the root mean square, over the other attributes, of
their mean change in their spreads; by truth over all parameters of the head, and over the other
ones of SEVEN. `--more` adds the flow of the population as it is (balance 0).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.rescoring import Bases, RescoringConfig, measure_bases, rescore
from mining.extractors.registry import make_extractors
from mining.generators.base import Floats
from mining.generators.registry import make_generator
from mining.methods.attribute_flow import AttributeFlow, mine_attribute_flow
from mining.methods.flow_config import PRESETS, FlowConfig
from mining.methods.flow_file import flow_of
from mining.methods.gcv_ridge import LinearReading, fit_ridge
from mining.methods.learned import LearnedRows
from mining.methods.svm import mine_svm
from schemas.samples import from_column
from schemas.settings import RunSettings
from storage.dataset import Dataset
from tests.benchmarks.table import Figure

SEVEN = ("yaw", "pitch", "roll", "mouth_open", "smile", "eye_closed", "brow_raise")
FRESH = 987_654  # seed of heads that no dataset has
MOST_MINUTES, MOST_MISS, MOST_ERROR = 10.0, 0.2, 1e-3
Array = NDArray[np.float64]
Edit = Callable[[Floats, str, Array], Floats]  # W+, attribute, changes in its unit


@dataclass(frozen=True)
class Case:
    """How large the benchmark is."""

    quick: bool = False
    dataset: str | None = None  # URL of one that is finished; made for None
    heads: int | None = None  # that edits are tried on
    more: bool = False


@dataclass(frozen=True)
class Tried:
    """One attribute's edits by one method; changes are in spreads, up counted positive."""

    landed: float  # mean measured change over the asked one
    miss: float  # mean |measured - asked| / asked of single heads
    leak: float  # by what is measured, over the own change
    true_leak: float  # by truth, over all parameters
    true_seven: float  # by truth, over the other ones of SEVEN
    identity: float  # mean distance of dlib's descriptors; .6 is another person
    distance: float  # |w' - w|

    def __str__(self) -> str:
        return " ".join(f"{name} {value:.3f}" for name, value in vars(self).items())


def figures(quick: bool = False) -> Iterator[Figure]:
    """The lines of the table."""
    return figures_of(Case(quick))


def figures_of(case: Case) -> Iterator[Figure]:
    """The lines of one case."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(case.dataset or _made(case.quick, f"{folder}/run"))
        rows = _rows(dataset)
        config = replace(PRESETS["default"], epochs=2) if case.quick else PRESETS["default"]
        before = time.perf_counter()
        mined = mine_attribute_flow(rows, config)
        minutes = (time.perf_counter() - before) / 60
        flow = flow_of(mined.artefact)
        spread = f"{len(rows):,} heads, {config.epochs} epochs"
        yield Figure("attribute flow: training", minutes, "min", most=MOST_MINUTES, note=spread)
        heads = case.heads or (4 if case.quick else 60)
        yield from _reversed(flow, dataset, heads)
        yield from _compared(_methods(rows, flow, config, case), rows, dataset, case, heads)


def _made(quick: bool, out: str) -> str:
    """The URL of a dataset made here."""
    from jobs.generate_dataset import generate

    settings = RunSettings.model_validate(
        {
            "out": out,
            "generator": {"name": "head", "options": {"resolution": 256, "entanglement": 0.6}},
            "extractors": {"dlib": {"upsample": 1}, "geometry": {"source": "dlib"}},
            "dataset": {"samples": 100 if quick else 10_000, "shard_size": 50},
            "engine": {"workers": 2},
        }
    )
    return generate(settings).url


def _rows(dataset: Dataset) -> LearnedRows:
    columns = [f"geometry_{name}" for name in SEVEN]
    table = dataset.read(["w", *columns])
    w = from_column(table.column("w"))
    scores = {n: from_column(table.column(f"geometry_{n}")).astype(np.float64) for n in SEVEN}
    units = {name: "degrees" for name in ("yaw", "pitch", "roll")}
    return LearnedRows(w, "w", w.shape[1:], dataset.manifest.generator["num_ws"], scores, units)


def _reversed(flow: AttributeFlow, dataset: Dataset, heads: int) -> Iterator[Figure]:
    """How near fresh latents come back, and what an edit asks of the network."""
    about = dataset.manifest.generator
    w = make_generator(about["load"], **about["options"]).map(_fresh(dataset, heads))
    again = flow.forward(flow.reverse(w), flow.read(w))
    error = float(np.abs(again - w).max())
    note = f"{flow.evaluations(w)} evaluations, {flow.solver} to {flow.tolerance:g}"
    yield Figure("attribute flow: largest error back", error, most=MOST_ERROR, note=note)


def _fresh(dataset: Dataset, count: int) -> Floats:
    about = dataset.manifest.generator
    generator = make_generator(about["load"], **about["options"])
    return generator.sample_z(count, np.random.default_rng(FRESH))


def _methods(
    rows: LearnedRows, flow: AttributeFlow, config: FlowConfig, case: Case
) -> Mapping[str, Edit]:
    """Name -> the edit."""
    scores, reading = _scores(rows), _reading(rows)
    used = np.isfinite(scores).all(axis=1)
    latents = rows.latents[used].astype(np.float64)
    svm = {name: mine_svm(latents, scores[used, k]).vector for k, name in enumerate(SEVEN)}
    ridge = {
        name: row / np.linalg.norm(row) for name, row in zip(SEVEN, reading.weights, strict=True)
    }
    methods = {
        "flow": flow.edited,
        "svm": _linear(svm, reading),
        "ridge": _linear(ridge, reading),
    }
    if case.more:
        as_is = mine_attribute_flow(rows, replace(config, balance=0.0))
        methods["flow, balance 0"] = flow_of(as_is.artefact).edited
    return methods


def _scores(rows: LearnedRows) -> Array:
    return np.stack([rows.scores[name] for name in SEVEN], axis=1)


def _reading(rows: LearnedRows) -> LinearReading:
    return fit_ridge(rows.latents, _scores(rows))


def _linear(vectors: Mapping[str, Array], reading: LinearReading) -> Edit:
    """Steps along unit vectors, as long as the reading says that the change takes."""

    def edit(w_plus: Floats, attribute: str, change: Array) -> Floats:
        vector = vectors[attribute]
        slope = reading.weights[SEVEN.index(attribute)] @ vector
        return (w_plus + (change / slope)[:, None, None] * vector).astype(np.float32)

    return edit


def _compared(
    methods: Mapping[str, Edit], rows: LearnedRows, dataset: Dataset, case: Case, heads: int
) -> Iterator[Figure]:
    """All figures of the edits; every method's on the same heads."""
    about = dataset.manifest.generator
    generator = make_generator(about["load"], **about["options"])
    extractors = make_extractors(
        {"dlib": {"upsample": 1, "descriptor": True}, "geometry": {"source": "dlib"}}
    )
    w_plus = generator.broadcast(generator.map(_fresh(dataset, heads)))
    config = RescoringConfig(identities=heads, steps=(1.0,), thumbnails=0)
    bases = measure_bases(generator, extractors, w_plus, config)
    spreads = {name: float(np.nanstd(rows.scores[name])) for name in SEVEN}
    truth = _truth(generator, dataset)
    told = _reading(rows).read(w_plus[:, 0])
    towards = np.where(told < np.median(told, axis=0), 1.0, -1.0)
    found: dict[str, list[Tried]] = {name: [] for name in methods}
    for attribute, signs in zip(SEVEN, towards.T, strict=True):
        for name, edit in methods.items():
            made = edit(w_plus, attribute, signs * spreads[attribute])
            seen = rescore(
                generator, extractors, np.ones(1), 1.0, bases, config, edit=lambda *_, m=made: m
            )
            tried = _tried(attribute, made, bases, seen, signs, spreads, truth)
            found[name].append(tried)
            print(f"  {attribute:<11} {name:<16} {tried}", file=sys.stderr, flush=True)
    yield from _judged(found, heads)


def _truth(generator, dataset: Dataset):
    """The true parameters of W+, their names and spreads."""
    names = tuple(generator.truth().names)
    stored = from_column(dataset.read(["truth_parameters"]).column("truth_parameters"))
    return generator.parameters, names, stored.astype(np.float64).std(axis=0)


def _tried(attribute, made, bases: Bases, seen, signs, spreads, truth) -> Tried:
    before, after = (_seven(seen, step) for step in (0, 1))
    changes = (after - before) / [spreads[name] for name in SEVEN] * signs[:, None]
    parameters, names, true_spreads = truth
    moved = parameters(made).astype(np.float64) - parameters(bases.w_plus)
    true = (moved / true_spreads * signs[:, None]).mean(axis=0)
    own, place = SEVEN.index(attribute), names.index(attribute)
    mean = np.nanmean(changes, axis=0)
    others = [names.index(name) for name in SEVEN if name != attribute]
    return Tried(
        landed=float(mean[own]),
        miss=float(np.nanmean(np.abs(changes[:, own] - 1))),
        leak=_rms(np.delete(mean, own)) / float(mean[own]),
        true_leak=_rms(np.delete(true, place)) / float(true[place]),
        true_seven=_rms(true[others]) / float(true[place]),
        identity=float(np.nanmean(seen.distances[:, 1])),
        distance=float(np.linalg.norm((made - bases.w_plus)[:, 0], axis=1).mean()),
    )


def _seven(seen, step: int) -> Array:
    """(M, 7) what geometry measures at a step, 0 being the unedited image."""
    return np.stack([seen.column("geometry", name)[:, step] for name in SEVEN], axis=1)


def _rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def _judged(found: Mapping[str, list[Tried]], heads: int) -> Iterator[Figure]:
    """Means over the attributes."""

    def mean(method: str, part: str) -> float:
        return float(np.mean([getattr(tried, part) for tried in found[method]]))

    flow = found["flow"]
    gaps = [abs(tried.landed - 1) for tried in flow]
    each = ", ".join(f"{n} {t.landed:.2f}" for n, t in zip(SEVEN, flow, strict=True))
    note = f"{each}; single heads {mean('flow', 'miss'):.2f} with dlib's noise; {heads} heads"
    yield Figure("attribute flow: miss as measured", float(np.mean(gaps)), "", MOST_MISS, note=note)
    for part, words in (
        ("leak", "leak as measured"),
        ("true_leak", "leak by truth, all parameters"),
        ("true_seven", "leak by truth, of the seven"),
        ("identity", "distance of descriptors"),
    ):
        rest = ", ".join(
            f"{name} {mean(name, part):.3f}" for name in found if name not in ("flow", "svm")
        )
        limit = mean("svm", part) if "leak" in part else None
        said = f"svm {mean('svm', part):.3f}, {rest}"
        yield Figure(f"attribute flow: {words}", mean("flow", part), "", limit, note=said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--dataset", metavar="URL", help="such heads that were made before")
    parser.add_argument("--heads", type=int, help="that edits are tried on")
    parser.add_argument("--more", action="store_true", help="balance 0 too")
    missed = False
    for figure in figures_of(Case(**vars(parser.parse_args()))):
        print(figure, flush=True)
        missed |= figure.met is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
