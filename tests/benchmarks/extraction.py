"""How fast dlib measures large images, and what speed costs in accuracy.

    python tests/benchmarks/extraction.py
    python tests/benchmarks/extraction.py --images 400 --resolution 1024 --rounds 5

Heads of known landmarks are rendered, untimed. The naive loop does everything at full size. Rates
are images per second of one core: processor time, the median of interleaved rounds. NME is the
mean distance between found and true landmarks in distances between the outer eye corners. A
failure is a found face with an NME over 10 %; a single one moves the mean of hundreds of heads,
so changes are given with and without. 400 heads take a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from mining.extractors.dlib68 import DESCRIPTOR, LANDMARKS, Dlib68, model_file
from mining.generators.registry import make_generator
from mining.threads import limit_threads

SIZES = (256, 384, 512, 768)  # of the copy that the detector sees, pixels
FAILURE = 0.10  # NME
BATCH = 16  # faces a call of the descriptor network
D: Any = dlib  # dlib ships no type information
Images = NDArray[np.uint8]  # (N, H, W, 3)
Measure = Callable[[Images], Any]  # landmarks (N, 68, 2), NaN where no face was found


class Row(NamedTuple):
    """One line of the table; None where nothing was measured."""

    variant: str
    rate: float  # images per second of one core
    ratio: float  # to the naive rate of the same work
    detected: float | None = None  # share of the images
    failed: float | None = None  # share of the detected
    nme: float | None = None  # mean, 1 = the distance between the outer eye corners
    change: tuple[float, float] | None = None  # of the NME, as a share, with its standard error
    change_without_failures: tuple[float, float] | None = None


class Naive:
    """dlib as its examples use it: everything on the image as it is, or doubled."""

    def __init__(self, doubled: bool = False, descriptor: bool = False, detections: int = 1):
        self._doubled, self._descriptor, self._detections = doubled, descriptor, detections
        self._detector = D.get_frontal_face_detector()
        self._landmarks = D.shape_predictor(str(model_file(LANDMARKS)))
        self._net = D.face_recognition_model_v1(str(model_file(DESCRIPTOR)))

    def __call__(self, images: Images) -> NDArray[np.float64]:
        return np.stack([self._one(np.ascontiguousarray(image)) for image in images])

    def _one(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        if self._doubled:
            image = np.asarray(cv2.resize(image, None, fx=2, fy=2), np.uint8)
        found: list[Any] = []
        for _ in range(self._detections):  # one per consumer
            found = self._detector(image, 0)
        if not found:
            return np.full((68, 2), np.nan)
        shape = self._landmarks(image, max(found, key=lambda box: box.area()))
        if self._descriptor:
            self._net.compute_face_descriptor(image, shape)
        return (np.array([(p.x, p.y) for p in shape.parts()]) + 0.5) / image.shape[1::-1]


def ours(**settings: Any) -> Measure:
    """The project's extractor."""
    extractor = Dlib68(**settings)
    return lambda images: extractor(images, {}).values["landmarks"]


def network(batch: int, resolution: int) -> Measure:
    """The descriptor network alone, on as many aligned faces as there are images."""
    net = D.face_recognition_model_v1(str(model_file(DESCRIPTOR)))

    def run(images: Images) -> None:
        edge = resolution // 2 - 75
        faces = [np.ascontiguousarray(i[edge : edge + 150, edge : edge + 150]) for i in images]
        for start in range(0, len(faces), batch):
            net.compute_face_descriptor(faces[start : start + batch])

    return run


def sections(resolution: int) -> list[dict[str, Measure]]:
    """Variants that do the same work; the first of each section is the naive one."""
    landmarks: dict[str, Measure] = {
        "landmarks: naive, full size": Naive(),
        "landmarks: naive, doubled (version 1)": Naive(doubled=True),
    }
    for size in SIZES:
        landmarks[f"landmarks: Dlib68, detect_size {size}"] = ours(detect_size=size)
    both = {
        "descriptor: naive, one detection": Naive(descriptor=True),
        "descriptor: naive, a detection each": Naive(descriptor=True, detections=2),
        "descriptor: Dlib68, defaults": ours(descriptor=True),
    }
    alone = {
        "network alone: one by one": network(1, resolution),
        f"network alone: batches of {BATCH}": network(BATCH, resolution),
    }
    return [landmarks, both, alone]


def heads(count: int, resolution: int, psi: float, seed: int) -> Iterator[tuple[Images, Any]]:
    """One head at a time, (1, H, W, 3), with its true landmarks (1, 68, 2)."""
    head = make_generator("head", resolution=resolution)
    for w in head.map(head.sample_z(count, np.random.default_rng(seed)), psi=psi):
        images, truth = head.synthesize_with_truth(head.broadcast(w[None]))
        yield images, truth.landmarks_2d


def nme(found: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """(N,) normalised mean error of (N, 68, 2) points; NaN where nothing was found."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)
    return np.linalg.norm(found - truth, axis=-1).mean(axis=1) / eyes


def relative(errors: NDArray, naive: NDArray, limit: float) -> tuple[float, float]:
    """Mean change over the images where both errors are under the limit, and its standard error."""
    both = (errors < limit) & (naive < limit)  # NaN is not
    difference = (errors - naive)[both] / naive[both].mean()
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def rates(variants: dict[str, Measure], images: Images, rounds: int) -> dict[str, float]:
    """Images per second of processor time: the median of interleaved rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for measure in variants.values():
        measure(images[:1])
    for _ in range(rounds):
        for name, measure in variants.items():
            start = time.process_time()
            measure(images)
            seconds[name].append(time.process_time() - start)
    return {name: len(images) / float(np.median(values)) for name, values in seconds.items()}


def rows(
    images: int = 120,
    resolution: int = 1024,
    rounds: int = 5,
    psi: float = 1.0,
    seed: int = 7,
    timed: int = BATCH,
) -> list[Row]:
    """The table: accuracy on all images, rates on the first `timed` of them."""
    groups = sections(resolution)
    kept: list[Images] = []
    errors: dict[str, list[NDArray]] = {name: [] for name in groups[0]}
    for image, truth in heads(images, resolution, psi, seed):
        kept += [image] if len(kept) < timed else []
        for name, measure in groups[0].items():
            errors[name].append(nme(measure(image), truth))
    rate = rates({k: v for group in groups for k, v in group.items()}, np.concatenate(kept), rounds)
    table = []
    for group in groups:
        naive = next(iter(group))
        for name in group:
            line = Row(name, rate[name], rate[name] / rate[naive])
            if name in errors:
                line = with_accuracy(line, np.concatenate(errors[name]), errors[naive])
            table.append(line)
    return table


def with_accuracy(row: Row, errors: NDArray, naive: list[NDArray]) -> Row:
    found = np.isfinite(errors)
    base = np.concatenate(naive)
    return row._replace(
        detected=float(found.mean()),
        failed=float((errors[found] > FAILURE).mean()),
        nme=float(errors[found].mean()),
        change=relative(errors, base, np.inf),
        change_without_failures=relative(errors, base, FAILURE),
    )


def line(row: Row) -> str:
    """One row as text, shares in percent."""
    text = f"{row.variant:<40} {row.rate:8.2f} {row.ratio:7.2f}"
    for share in (row.detected, row.failed, row.nme):
        text += f" {100 * share:9.2f}" if share is not None else ""
    for change in (row.change, row.change_without_failures):
        text += f"   {100 * change[0]:+6.2f} +- {100 * change[1]:4.2f}" if change else ""
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=120, help="heads for the accuracy")
    parser.add_argument("--resolution", type=int, default=1024, help="pixels")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of the heads")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    limit_threads(1)
    print(
        f"{'variant':<40} {'images/s':>8} {'ratio':>7} {'found %':>9} {'failed %':>9} {'NME %':>9}"
        f"   {'NME change %':>15}   {'without failures':>15}"
    )
    for row in rows(args.images, args.resolution, args.rounds, args.psi, args.seed):
        print(line(row))


if __name__ == "__main__":
    main()
