"""How fast and how well the linear shape model is fitted to landmarks.

    python -m tests.benchmarks.shape_fit --quick
    LODE_MODELS=folder python -m tests.benchmarks.shape_fit

The rate is that of one core, processor time: faces of a made-up model of 40 + 12 components with
1 mm of noise, in batches of 2,000 and of 10. The correlations are those of fitted with true
parameters of random heads of the embedded generator at 256 px: its own basis, the default settings,
nothing calibrated on what a source of landmarks says of heads. Settings were chosen on heads of
seed 101; the seeds here are others. MediaPipe's rows need its model in the folder LODE_MODELS and
are left out without it. 800 heads take three minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import Extractor, measure
from mining.extractors.shape3d import Shape3d
from mining.generators.head import HeadGenerator
from mining.shape3d.fit import FitConfig, Fitter
from mining.threads import limit_threads
from tests.benchmarks.table import Figure
from tests.mining.shape3d.planted import made_model, planted

SEEDS = (301, 302)
LANDMARKER = "face_landmarker.task"
# the least correlation of each source with the truth
GOALS: Mapping[str, Mapping[str, float | None]] = {
    "dlib": {"yaw": 0.96, "pitch": 0.86, "roll": 0.96, "mouth_open": 0.82, "smile": 0.75},
    "mediapipe": {"yaw": 0.97, "pitch": 0.9, "roll": 0.97, "mouth_open": 0.88, "smile": 0.82},
}
ALSO = ("eye_closed", "brow_raise", "frown", "pucker")  # measured, nothing promised


def rates(batches: Sequence[int], faces: int, repeats: int) -> list[Figure]:
    """Fits a second on one core; the fastest of the repeats, so that neighbours count least."""
    rng = np.random.default_rng(0)
    model = made_model(rng)
    points = planted(rng, model, faces, noise=1.0).points
    fitter = Fitter(model, FitConfig(noise=1.0, outline=1, hidden=0))
    figures = []
    for batch in batches:
        seconds, fits = [], []
        for _ in range(repeats):
            start = time.process_time()
            fits = [fitter.fit(points[k : k + batch]) for k in range(0, faces, batch)]
            seconds.append(time.process_time() - start)
        rounds = np.concatenate([fit.iterations for fit in fits])
        there = np.concatenate([fit.converged for fit in fits]).mean()
        note = f"40 + 12 components, {rounds.mean():.2f} rounds, at most {rounds.max()}"
        figures.append(
            Figure(
                f"shape fits of one core, batches of {batch:,}",
                faces / min(seconds),
                "fits/s",
                least=2000 if batch == 2000 else None,
                note=f"{note}, {100 * there:.1f} % converged",
            )
        )
    return figures


def sources() -> dict[str, Extractor]:
    """The extractors of landmarks that are here."""
    from mining.extractors.dlib68 import Dlib68

    found: dict[str, Extractor] = {"dlib": Dlib68()}
    model = Path(os.environ.get("LODE_MODELS", "")) / LANDMARKER
    if importlib.util.find_spec("mediapipe") and model.is_file():
        from mining.extractors.mediapipe_face import MediaPipeFace

        found["mediapipe"] = MediaPipeFace(model=str(model))
    return found


def heads(count: int, seeds: Sequence[int]) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """What each source's fit says of `count` heads of each seed, and what is true of them.

    Returns:
        source -> column -> (N,), NaN where there is no fit, as "source/column"; the truth by name.
    """
    generator = HeadGenerator(resolution=256)
    landmarks = sources()
    chain = {name: (source, Shape3d(source=name)) for name, source in landmarks.items()}
    found: dict[str, list[NDArray]] = {}
    parameters = []
    for seed in seeds:
        w = generator.map(generator.sample_z(count, np.random.default_rng(seed)))
        for first in range(0, count, 10):
            ten = generator.broadcast(w[first : first + 10])
            images, truth = generator.synthesize_with_truth(ten)
            parameters.append(truth.parameters)
            for name, extractors in chain.items():
                values = measure(extractors, images)["shape3d"].values
                for column in (*GOALS[name], *ALSO, "residual"):
                    found.setdefault(f"{name}/{column}", []).append(values[column])
    true = dict(zip(generator.truth().names, np.concatenate(parameters).T, strict=True))
    return {name: np.concatenate(parts) for name, parts in found.items()}, true


def correlations(count: int, seeds: Sequence[int]) -> list[Figure]:
    """Of fitted with true parameters."""
    found, true = heads(count, seeds)
    figures = []
    for source, goals in GOALS.items():
        if f"{source}/yaw" not in found:
            continue
        kept = np.isfinite(found[f"{source}/yaw"])
        residual = float(np.median(found[f"{source}/residual"][kept]))
        note = f"{kept.sum()} of {len(kept)} heads, seeds {', '.join(map(str, seeds))}"
        for name in (*goals, *ALSO):
            value = np.corrcoef(found[f"{source}/{name}"][kept], true[name][kept])[0, 1]
            what = f"shape fit to {source}'s landmarks, correlation {name}"
            figures.append(Figure(what, float(value), "", least=goals.get(name), note=note))
        what = f"shape fit to {source}'s landmarks, median residual"
        figures.append(Figure(what, residual, "eyes", note="1 = between the outer eye corners"))
    return figures


def figures(quick: bool) -> list[Figure]:
    """Every row of this benchmark."""
    limit_threads(1)
    if quick:
        return rates((2000, 10), 2000, 1) + correlations(20, SEEDS[:1])
    return rates((2000, 10), 6000, 5) + correlations(400, SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    print(*figures(parser.parse_args().quick), sep="\n")


if __name__ == "__main__":
    main()
