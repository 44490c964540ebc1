"""Micromotions of a finished run in this process: ablations, and anchors by text or by frames."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.attributes import true_name
from jobs.cards import card_of, known_truth
from jobs.editing_run import CONTROL
from jobs.micromotion_frames import FEATURES, features_of, measured_in
from mining.evaluation.micromotion_ablation import Ablation, AblationConfig, ablate, plan
from mining.evaluation.truth import true_vector
from mining.generators.base import Generator, Images
from mining.generators.registry import make_generator
from mining.methods.anchor_motion import MotionConfig, find_motion
from mining.methods.anchors import Anchors, central_starts
from mining.methods.base import Direction, check_pairs
from mining.methods.control import ControlModel
from mining.methods.control_file import load_control
from mining.methods.frame_anchors import FrameAnchors, OptimisingInverter, fit_inverter
from mining.methods.micromotion import motion_evidence
from mining.methods.ridge import slope_along
from mining.methods.text_anchors import Scorer, TextAnchors, TextConfig
from mining.stored import latent_column
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown
from schemas.samples import from_column
from storage.dataset import Dataset, attribute_fields
from storage.files import Store, absolute

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MinedRun:
    """What micromotions read of a run."""

    url: str
    dataset: Dataset
    space: str  # of its latents: w or w+
    shape: tuple[int, ...]  # of one latent
    latents: Array  # (N, D), flat

    def scores(self, attribute: str) -> Array:
        """(N,) NaN where unmeasured.

        Raises:
            InputError: no extractor measured it.
        """
        known = attribute_fields(self.dataset.manifest)
        if attribute not in known:
            raise unknown("attribute", attribute, known)
        return self.dataset.attribute(attribute)[0]


def open_run(run: str) -> MinedRun:
    """A run's folder or URL, or a dataset's.

    Raises:
        InputError: there is none, or nothing of it is finished.
    """
    url = absolute(run).rstrip("/")
    inner = Store(f"{url}/dataset").exists("manifest.json")
    if not inner and not Store(url).exists("manifest.json"):
        state = "holds no dataset" if Store(url).exists() else "does not exist"
        raise InputError(
            f"micromotion: the run {url} {state}; expected the --out of a `lode mine` run, or its "
            "dataset."
        )
    dataset = Dataset(f"{url}/dataset" if inner else url)
    column = latent_column(dataset.manifest)
    if not dataset.rows:
        raise InputError(f"micromotion: {url} has no rows yet; expected a finished dataset.")
    latents = from_column(dataset.read([column]).column(column))
    flat = latents.reshape(len(latents), -1).astype(np.float64)
    url = url.removesuffix("/dataset")
    return MinedRun(url, dataset, "w" if column == "w" else "w+", latents.shape[1:], flat)


def run_control(run: MinedRun, place: str | None) -> ControlModel:
    """The run's control model, or that of a file, of the run's space.

    Raises:
        InputError: there is none, or it is of another space or generator.
    """
    url = absolute(place) if place else f"{run.url}/{CONTROL}"
    folder, _, name = url.rpartition("/")
    if not Store(folder or "/").exists(name):
        raise InputError(
            f"micromotion: {url} does not exist; a run holds a control model where a method such "
            "as nrsfm needed one. Make one with `lode control fit`, and give it as --control FILE."
        )
    control = load_control(url)
    if control.space != run.space or control.latent_shape != run.shape:
        raise InputError(
            f"micromotion: the control model is of {control.space} {control.latent_shape}, the "
            f"dataset of {run.space} {run.shape}; expected one of the same space."
        )
    mine = run.dataset.manifest.generator["fingerprint"]
    if control.fingerprint not in ("", mine):
        raise InputError(
            f"micromotion: the control model is of another generator ({control.fingerprint[:16]}) "
            f"than the dataset ({mine[:16]})."
        )
    return control


def run_ablations(
    run: MinedRun, control: ControlModel, attributes: Sequence[str], config: AblationConfig
) -> list[Ablation]:
    """One ablation for each attribute, with a line of progress.

    Raises:
        InputError: an attribute is unknown, or was measured in too few rows.
    """
    from jobs.progress import Progress
    from mining.methods.training import one_torch_thread

    scores = {name: run.scores(name) for name in attributes}  # refuses before any work
    fields, made = attribute_fields(run.dataset.manifest), []
    total = len(plan(config)) * len(scores)
    with one_torch_thread(), Progress("ablation", total, "settings") as progress:
        for name, values in scores.items():
            rows = np.isfinite(values)
            made.append(
                ablate(
                    control,
                    run.latents[rows],
                    values[rows],
                    config,
                    attribute=name,
                    unit=fields[name].unit,
                    truth=_truth(run, name),
                    watch=lambda: progress.advance(1),
                )
            )
    return made


def mine_text(
    run: MinedRun,
    scorer: Scorer,
    attribute: str,
    template: str,
    config: TextConfig,
    motion: MotionConfig,
    identities: int = 1,
    space: str = "w+",
) -> DirectionCard:
    """The card of a micromotion whose anchors are found by text.

    Raises:
        InputError: as `TextAnchors`, or there are fewer rows than identities.
    """
    generator = _generator(run)
    if not 1 <= identities <= len(run.latents):
        raise InputError(
            f"micromotion: {identities} identities came, expected 1 to {len(run.latents)}."
        )
    latents, shape = _in_space(run, space, generator)
    starts = central_starts(latents, identities)
    source = TextAnchors(generator, scorer, template, starts, space, config, None, latents)
    told = {
        "text": dataclasses.asdict(config) | {"template": template, "identities": identities},
        "scorer": _name_of(scorer),
    }
    return _card(run, source(), motion, "micromotion_text", attribute, (space, shape), told)


def mine_frames(
    run: MinedRun, frames: Images, attribute: str, motion: MotionConfig, inverter: str = "ridge"
) -> DirectionCard:
    """The card of a micromotion whose anchors are a film's frames.

    Args:
        frames: (N, H, W, 3), one person at several degrees of the attribute.
        inverter: ridge, from what the dataset measured; or optimise, for generators that pass
            gradients.

    Raises:
        InputError: the attribute is unknown, or as `FrameAnchors`.
    """
    manifest = run.dataset.manifest
    stored = run.scores(attribute)  # refuses what is unknown before anything is measured
    columns = features_of(manifest)
    found, degrees = measured_in(manifest, frames, columns, attribute)
    more: dict[str, float] = {}
    if inverter == "ridge":
        table: pa.Table = run.dataset.read(columns)
        parts = [from_column(table.column(name)) for name in columns]
        seen = np.concatenate([part.reshape(len(stored), -1) for part in parts], axis=1)
        made: Any = fit_inverter(run.latents, seen.astype(np.float64))
        more = {"inverter_r2": made.r2}
    else:
        made = OptimisingInverter(_generator(run), run.space)
        found = np.empty((len(frames), 0))
    anchors = FrameAnchors(frames, degrees, found, made)()
    anchors = dataclasses.replace(anchors, evidence={**anchors.evidence, **more})
    told = {"inverter": inverter, FEATURES: columns if inverter == "ridge" else []}
    where = (run.space, run.shape)
    return _card(run, anchors, motion, "micromotion_frames", attribute, where, told)


def _card(
    run: MinedRun,
    anchors: Anchors,
    motion: MotionConfig,
    method: str,
    attribute: str,
    where: tuple[str, tuple[int, ...]],
    told: Mapping[str, Any],
) -> DirectionCard:
    """The card of anchors' motion, with slope and sign from the dataset where it measured it."""
    space, shape = where
    found = find_motion(anchors, motion, shape)
    latents, _ = _in_space(run, space, None, shape)
    known = attribute_fields(run.dataset.manifest)
    slope, unit, evidence = float("nan"), "1", {}
    if attribute in known:
        values, unit = run.scores(attribute), known[attribute].unit
        rows = np.isfinite(values)
        pairs = check_pairs(method, run.latents[rows], values[rows], least=10)
        slope = slope_along(*pairs, _as_stored(found.vector, run, space))
        evidence = {"flipped": float(slope < 0)}
    turn = -1.0 if slope < 0 else 1.0
    direction = Direction(
        method,
        turn * found.vector.reshape(shape),
        turn * slope,
        attribute,
        unit,
        space,
        evidence={**anchors.evidence, **motion_evidence(anchors, found), **evidence},
    )
    sigma = float(np.std(latents @ found.vector))
    settings = json.dumps({"motion": dataclasses.asdict(motion), **told}, sort_keys=True)
    truth = known_truth(run.dataset.manifest)
    return card_of(run.dataset, direction, sigma, settings, motion.seed, truth)


def _in_space(
    run: MinedRun, space: str, generator: Generator | None, shape: tuple[int, ...] = ()
) -> tuple[Array, tuple[int, ...]]:
    """The run's latents (N, D) in w or w+, and the shape of one."""
    if space not in ("w", "w+") or (space == "w" and run.space == "w+"):
        raise InputError(
            f"micromotion: space {space!r} came for a dataset of {run.space}; expected w+"
            f"{' or w' if run.space == 'w' else ''}."
        )
    if space == run.space:
        return run.latents, run.shape
    rows = shape[0] if generator is None else generator.num_ws
    return np.tile(run.latents, (1, rows)), (rows, *run.shape)


def _as_stored(vector: Array, run: MinedRun, space: str) -> Array:
    """The part of a direction of W+ that moves all rows alike, for latents that are all alike."""
    if space == run.space:
        return vector
    return vector.reshape(-1, *run.shape).sum(axis=0)


def _truth(run: MinedRun, attribute: str) -> Array | None:
    truth, manifest = known_truth(run.dataset.manifest), run.dataset.manifest
    if truth is None:
        return None
    name = true_name(attribute, manifest, truth.names)
    rows = manifest.generator["num_ws"]
    return true_vector(truth, name, run.space, rows).ravel() if name in truth.names else None


def _generator(run: MinedRun) -> Generator:
    about = run.dataset.manifest.generator
    return make_generator(about["load"], **about["options"])


def _name_of(scorer: Any) -> str:
    """Its fingerprint, or what it is called."""
    return scorer.fingerprint() if hasattr(scorer, "fingerprint") else type(scorer).__name__
