"""Which loss trains the regressor best, in every latent space of the embedded head.

    python -m tests.benchmarks.regressor --quick
    python -m tests.benchmarks.regressor            # some ten minutes on two cores

Landmarks are the head's true ones, so that nothing is rendered; what is told is of heads that
neither the shape model nor the regressor has seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.generators.head.camera import Camera
from mining.generators.head.model import head_model, visible_jaw
from mining.generators.head.raster import grid_normals
from mining.methods.control import ControlModel
from mining.methods.nrsfm import fit_nrsfm
from mining.methods.readout import fit_readout
from mining.methods.regressor import PRESETS, train_regressor
from mining.spaces import latents_in
from mining.threads import limit_threads
from tests.benchmarks.table import Figure

Array = NDArray[np.float64]
EDGE = 256  # pixels
ANGLES = {"pitch": 3, "yaw": 4, "roll": 5}  # -> column of q
ATTRIBUTES = ("yaw", "pitch", "roll", "mouth_open", "smile", "eye_closed", "brow_raise")
BOTH = PRESETS["default"]
LOSSES = {
    "(12), outputs minus their mean": replace(BOTH, code_weight=0.0, standardise=False),
    "(12), outputs standardised": PRESETS["landmarks"],
    "standardised codes": PRESETS["codes"],
    "(12) + standardised codes": BOTH,
}
SPACES = ("z", "w", "w+ tied", "w+ apart")


@dataclass(frozen=True)
class Heads:
    """Random heads and the truth about them, the last ones for tests."""

    z: Floats  # (N, 512) or (N, 6, 512)
    w_plus: Floats  # (N, 6, 512)
    landmarks: Array  # (N, 68, 2) fractions of the image
    parameters: Floats  # (N, P)

    def of(self, name: str) -> Array:
        """(N,) one parameter."""
        return self.parameters[:, table.NAMES.index(name)].astype(np.float64)


@dataclass(frozen=True)
class Quality:
    """How well a regressor knows heads that it has not seen."""

    landmarks: float  # pixels, root mean square distance of R(phi(w)) from the true landmarks
    readout: dict[str, float]  # attribute -> R2 of a linear read-out from phi(w)
    poses: dict[str, float]  # angle -> correlation of phi with the truth

    @property
    def mean(self) -> float:
        """R2 over all attributes."""
        return float(np.mean(list(self.readout.values())))

    def __str__(self) -> str:
        faces = ", ".join(f"{name} {self.readout[name]:.2f}" for name in ATTRIBUTES[3:])
        poses = " ".join(f"{value:.3f}" for value in self.poses.values())
        return f"read-out R2 {self.mean:.3f} ({faces}); r of pitch, yaw, roll {poses}"


def drawn(count: int, apart: bool, seed: int = 11) -> Heads:
    """Heads whose rows of W+ are one w, or drawn apart."""
    generator = HeadGenerator(EDGE)
    rng, rows = np.random.default_rng(seed), generator.num_ws
    if apart:
        z = generator.sample_z(count * rows, rng)
        w_plus = generator.map(z).reshape(count, rows, -1)
        z = z.reshape(count, rows, -1)
    else:
        z = generator.sample_z(count, rng)
        w_plus = generator.broadcast(generator.map(z))
    values = generator.parameters(w_plus)
    return Heads(z, w_plus, np.stack([true_landmarks(row) for row in values]), values)


def true_landmarks(values: Floats) -> Array:
    """(68, 2) where the renderer would put them."""
    said, model = table.as_dict(values), head_model()
    camera, head = Camera(said, EDGE), model.vertices(said)
    posed, closed = camera.pose(head), said["eye_closed"]
    seen = visible_jaw(
        camera.project(model.landmarks(posed, closed))[:2],
        camera.project(posed).astype(np.float32),
        grid_normals(posed, False)[2],
        head[1],
        model.landmark_grid(closed),
        said["roll"],
    )
    return (seen.T.astype(np.float64) + 0.5) / EDGE


def quality(control: ControlModel, latents: Floats, heads: Heads, trained: int) -> Quality:
    """Of the heads from number `trained` on; read-outs are fitted on those before."""
    codes = control.regressor.predict(latents)
    gaps = control.shape.project(codes[trained:]) - heads.landmarks[trained:]
    readout = {}
    for name in ATTRIBUTES:
        true = heads.of(name)
        found = fit_readout(codes[:trained], true[:trained])(codes[trained:])
        readout[name] = float(1 - ((found - true[trained:]) ** 2).mean() / true[trained:].var())
    poses = {
        name: float(np.corrcoef(codes[trained:, column], heads.of(name)[trained:])[0, 1])
        for name, column in ANGLES.items()
    }
    return Quality(EDGE * float(np.sqrt((gaps**2).sum(axis=2).mean())), readout, poses)


def ablation(count: int, tests: int, epochs: int | None) -> Iterator[tuple[str, str, Quality]]:
    """Space, loss and what it reaches, for every pair."""
    generator = HeadGenerator(EDGE)
    kinds = {apart: drawn(count + tests, apart) for apart in (False, True)}
    for label in SPACES:
        heads, space = kinds["apart" in label], label.split()[0]
        latents = latents_in(generator, space, heads.z, heads.w_plus)
        points = heads.landmarks[:count]
        shape = fit_nrsfm(points)
        for name, config in LOSSES.items():
            config = config if epochs is None else replace(config, epochs=epochs)
            phi = train_regressor(latents[:count], shape.codes, shape, points, config)
            yield label, name, quality(ControlModel(shape, phi, space), latents, heads, count)


def figures(quick: bool) -> list[Figure]:
    """Landmark error of every space and loss, and what the codes' loss adds to read-outs."""
    limit_threads(1)
    count, tests, epochs = (200, 60, 2) if quick else (2000, 500, None)
    figures, reached = [], {}
    for space, loss, found in ablation(count, tests, epochs):
        reached[space, loss] = found
        what = f"regressor {space}, {loss}"
        figures.append(Figure(what, found.landmarks, "px", note=str(found)))
    _, first, _, both = LOSSES
    for space in SPACES:
        gained = reached[space, both].mean - reached[space, first].mean
        note = f"R2 of {both} less that of {first}; {count:,} heads, {tests} for tests"
        figures.append(Figure(f"regressor {space}, read-out gained", gained, "", None, 0.0, note))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    for figure in figures(parser.parse_args().quick):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
