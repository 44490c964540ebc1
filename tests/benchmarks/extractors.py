"""How many images a second each extractor measures, and how much of it goes by outside its model.

    python -m tests.benchmarks.extractors --quick
    LODE_MODELS=folder python -m tests.benchmarks.extractors --only dlib deca

Ten heads of the embedded generator, a dataset's default batch, at 256 and at 1024 px. Each
extractor gets what the ones that it needs have found, so a rate is that of its own work. On a
processor it is that of one core: processor time of all threads of this process, since MediaPipe has
its own while the others are held to one. On a GPU, where there is one, it is time by the clock,
with nothing left in the queue before and after. Both are medians of interleaved rounds.

Outside the model is what remains without the calls of its networks: ONNX's `run`, a network's
forward, dlib's detector, landmarks and descriptor, MediaPipe's `detect`, which brings its results
into Python too. The models of InsightFace, CLIP, DECA and the classifier are those of
extractor_models.py, of real cost and random weights; MediaPipe's is that in the folder LODE_MODELS.
`geometry` and `shape3d` have no model to be outside of.

The last row of each size is one pass over all that look for landmarks or read them, against the
sum of each alone; a model that is called more or less often in the pass stops the benchmark. What
cannot run here has a row without a figure that says why. An extractor of the registry without a
case stops the benchmark as well.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mining.extractors.base import Extractor, Measurement, measure
from mining.extractors.registry import EXTRACTORS
from mining.generators.head import HeadGenerator
from mining.threads import limit_threads
from schemas.errors import MissingBackendError, RunError
from schemas.registry import build
from tests.benchmarks.clock import Clock, watch
from tests.benchmarks.table import Figure

SIZES = (256, 1024)  # pixels
BATCH = 10  # images of one call, a dataset's default
SEED = 401
ROUNDS = 5
MOST_OUTSIDE = 0.15
MOST_PASS = 1.1  # a second look for faces alone would be more
CHAIN = ("dlib", "geometry", "shape3d", "mediapipe")
LANDMARKER = "face_landmarker.task"
OURS = ("mining", "schemas", "storage", "tests")
PHRASES = {"smile": ("a smiling face", "a serious face"), "age": ("an old face", "a young face")}
# of 68: eyes, nose and mouth corners, and where they lie in a crop of 224 pixels
ALIGNED = (
    "{kind: points, source: dlib, points: [[36, 39], [42, 45], 30, 48, 54], "
    "template: [[77, 90], [147, 90], [112, 130], [84, 170], [140, 170]]}"
)
Batches = Mapping[int, NDArray[np.uint8]]  # by their size, (N, H, W, 3)


class LeftOut(Exception):
    """Why an extractor cannot run here."""


@dataclass(frozen=True)
class Case:
    """An extractor with its options, and where its models are called."""

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] = ()  # see `watch`
    device: str = "cpu"


class Round(NamedTuple):
    """One call over one batch."""

    seconds: float
    inside: float  # of them within the models
    calls: int  # of the models


@dataclass
class Ready:
    """A case whose extractor is loaded."""

    name: str  # the registry's
    case: Case
    extractor: Extractor
    clock: Clock

    def run(self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]) -> Round:
        self.clock.reset()
        start = self.clock.now()
        self.extractor(images, earlier)
        return Round(self.clock.now() - start, self.clock.seconds, self.clock.calls)


# ---------------------------------------------------------------- the cases: (folder, face) -> ...


def dlib_cases(folder: Path, face: NDArray) -> list[Case]:
    models = ("_detector.run", "_landmarks.__call__")
    net = "_net.compute_face_descriptor"
    return [
        Case("dlib", {}, models),
        Case("dlib, descriptor too", {"descriptor": True}, (*models, net)),
    ]


def without_model(what: str) -> Callable[[Path, NDArray], list[Case]]:
    return lambda folder, face: [Case(what)]


def mediapipe_cases(folder: Path, face: NDArray) -> list[Case]:
    path = Path(os.environ.get("LODE_MODELS", "")) / LANDMARKER
    if not os.environ.get("LODE_MODELS") or not path.is_file():
        raise LeftOut(f"needs $LODE_MODELS/{LANDMARKER}")
    return [Case("mediapipe", {"model": str(path)}, ("_landmarker.detect",))]


def insightface_cases(folder: Path, face: NDArray) -> list[Case]:
    from tests.benchmarks.extractor_models import insightface_folder

    path = str(insightface_folder(folder / "insightface", face))
    nets = tuple(f"_nets.{part}._session.run" for part in ("embedding", "gender_age"))
    models = ("_detector._session.run", *nets)
    return [
        Case("insightface", {"models": path, "provider": device}, models, device)
        for device in onnx_devices()
    ]


def onnx_cases(folder: Path, face: NDArray) -> list[Case]:
    from tests.benchmarks.extractor_models import classifier

    cases = []
    for what, crop in (("box", "{kind: box, source: dlib, margin: 0.3}"), ("points", ALIGNED)):
        path = str(classifier(folder / what, crop))
        cases += [
            Case(
                f"onnx_attributes, cut by {what}",
                {"description": path, "provider": device},
                ("_session.run",),
                device,
            )
            for device in onnx_devices()
        ]
    return cases


def clip_cases(folder: Path, face: NDArray) -> list[Case]:
    from tests.benchmarks.extractor_models import clip_folder

    options = {"model": str(clip_folder(folder / "clip")), "phrases": PHRASES}
    models = ("_model._model.vision_model.forward", "_model._model.visual_projection.forward")
    return [
        Case(f"clip_attributes, {what}", {**options, **more, "device": device}, models, device)
        for what, more in (("whole image", {}), ("face", {"source": "dlib"}))
        for device in torch_devices()
    ]


def deca_cases(folder: Path, face: NDArray) -> list[Case]:
    from tests.benchmarks.extractor_models import deca_weights

    path = str(deca_weights(folder / "deca.safetensors"))
    models = ("_network.forward",)
    return [
        Case("deca", {"weights": path, "device": device}, models, device)
        for device in torch_devices()
    ]


def torch_devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def onnx_devices() -> list[str]:
    import onnxruntime

    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return torch_devices() if there else ["cpu"]


CASES: Mapping[str, Callable[[Path, NDArray], list[Case]]] = {
    "dlib": dlib_cases,
    "geometry": without_model("geometry"),
    "insightface": insightface_cases,
    "mediapipe": mediapipe_cases,
    "onnx_attributes": onnx_cases,
    "clip_attributes": clip_cases,
    "shape3d": without_model("shape3d"),
    "deca": deca_cases,
}


# ---------------------------------------------------------------- measuring


def check_cases() -> None:
    """Raise RunError unless every extractor of the registry has a case."""
    alone = sorted(EXTRACTORS.keys() ^ CASES.keys())
    if alone:
        raise RunError(
            f"benchmark of the extractors: {', '.join(alone)} came in the registry or in CASES "
            "alone; expected in both. Add a case, or take the old one out."
        )


def load(names: Iterable[str], folder: Path, face: NDArray) -> tuple[list[Ready], dict[str, str]]:
    """The extractors that run here, and why the others do not, by name."""
    ready: list[Ready] = []
    reasons: dict[str, str] = {}
    for name in names:
        try:
            ready += [loaded(name, case) for case in CASES[name](folder, face)]
        except (LeftOut, MissingBackendError) as error:
            reasons[name] = str(error)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OURS:
                raise
            reasons[name] = f"needs the package {error.name!r}"
    return ready, reasons


def loaded(name: str, case: Case) -> Ready:
    extractor = build("extractor", name, EXTRACTORS, dict(case.options))
    clock = Clock(time.process_time if case.device == "cpu" else by_the_clock)
    for path in case.models:
        watch(extractor, path, clock)
    return Ready(name, case, extractor, clock)


def by_the_clock() -> float:
    """Seconds, once the GPU has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def heads() -> tuple[Batches, NDArray[np.float64]]:
    """A batch of each size, the same heads in all, and their mean landmarks (68, 2)."""
    batches, face = {}, np.empty(0)
    for size in SIZES:
        head = HeadGenerator(resolution=size)
        w = head.map(head.sample_z(BATCH, np.random.default_rng(SEED)))
        batches[size], truth = head.synthesize_with_truth(head.broadcast(w))
        face = np.asarray(truth.landmarks_2d, np.float64).mean(axis=0)
    return batches, face


def measured(ready: Sequence[Ready], images: NDArray[np.uint8], rounds: int) -> Iterator[Figure]:
    """The rows of one size.

    Raises:
        RunError: an extractor measured nothing.
    """
    earlier = {"dlib": build("extractor", "dlib", EXTRACTORS, {})(images, {})}
    there = [each.extractor(images, earlier).measured().sum() for each in ready]  # and a warm-up
    for each, count in zip(ready, there, strict=True):
        if not count:
            raise RunError(
                f"benchmark of the extractors: {each.case.what} measured no face at all."
            )
    times: list[list[Round]] = [[] for _ in ready]
    for _ in range(rounds):
        for each, past in zip(ready, times, strict=True):
            past.append(each.run(images, earlier))
    for each, past, count in zip(ready, times, there, strict=True):
        yield from rows(each, images.shape[1], past, f"{count} of {len(images)} measured")
    named = {each.name: each for each in reversed(ready)}  # the first of each name
    chain = [named[name] for name in CHAIN if name in named]
    if len(chain) > 1 and chain[0].name == "dlib":  # which the others need
        yield one_pass(chain, images, earlier, rounds)


def rows(ready: Ready, size: int, rounds: Sequence[Round], told: str) -> Iterator[Figure]:
    """Rate and share of one case."""
    case = ready.case
    place = "" if case.device == "cpu" else " on a GPU"
    rates = [BATCH / past.seconds for past in rounds]
    note = f"{told}, {min(rates):.3g} to {max(rates):.3g}"
    unit = "im./s/core" if case.device == "cpu" else "images/s"
    yield Figure(f"{case.what}, {size} px{place}", float(np.median(rates)), unit, note=note)
    if case.models:
        shares = [1 - past.inside / past.seconds for past in rounds]
        outside = 1000 * np.median([past.seconds - past.inside for past in rounds]) / BATCH
        calls = np.mean([past.calls for past in rounds]) / BATCH
        what = f"{case.what}, {size} px{place}: outside the model"
        note = f"{outside:.2g} ms an image, {calls:.3g} calls of its models"
        yield Figure(what, float(np.median(shares)), most=MOST_OUTSIDE, note=note)


def one_pass(
    chain: Sequence[Ready],
    images: NDArray[np.uint8],
    earlier: Mapping[str, Measurement],
    rounds: int,
) -> Figure:
    """The time of one pass over the sum of each alone.

    Raises:
        RunError: a model was called more or less often in the pass.
    """
    ratios = []
    for _ in range(rounds):
        alone = [each.run(images, earlier) for each in chain]
        for each in chain:
            each.clock.reset()
        start = time.process_time()
        measure([each.extractor for each in chain], images)
        together = time.process_time() - start
        for each, past in zip(chain, alone, strict=True):
            if each.clock.calls != past.calls:
                raise RunError(
                    f"benchmark of the extractors: {each.name} called its models "
                    f"{each.clock.calls} times in one pass and {past.calls} times alone; expected "
                    "as often."
                )
        ratios.append(together / sum(past.seconds for past in alone))
    what = f"{' + '.join(each.name for each in chain)}, {images.shape[1]} px"
    note = f"one pass over the sum of each alone, {min(ratios):.3g} to {max(ratios):.3g}"
    return Figure(what, float(np.median(ratios)), "x", most=MOST_PASS, note=note)


def every_row(names: Sequence[str], rounds: int) -> list[Figure]:
    """Every row of these extractors."""
    check_cases()
    limit_threads(1)
    batches, face = heads()
    with tempfile.TemporaryDirectory() as folder:
        ready, reasons = load(names, Path(folder), face)
        there = [row for images in batches.values() for row in measured(ready, images, rounds)]
    left = [Figure(name, float("nan"), note=f"left out: {said}") for name, said in reasons.items()]
    return there + left


def figures(quick: bool) -> list[Figure]:
    """Every row of this benchmark."""
    return every_row(list(CASES), 1 if quick else ROUNDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    args = parser.parse_args()
    print(*every_row(args.only, 1 if args.quick else ROUNDS), sep="\n")


if __name__ == "__main__":
    main()
