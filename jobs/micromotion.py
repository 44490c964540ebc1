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
from jobs.micromotion_frames import FEATURES, features_of, measured_in
from jobs.micromotion_run import MinedRun
from mining.editing.image_networks import ImageNetwork
from mining.evaluation.micromotion_ablation import Ablation, AblationConfig, ablate, plan
from mining.evaluation.truth import true_vector
from mining.generators.base import Generator, Images
from mining.generators.registry import make_generator
from mining.methods.anchor_motion import MotionConfig, find_motion
from mining.methods.anchors import Anchors, central_starts
from mining.methods.base import Direction, check_pairs
from mining.methods.control import ControlModel
from mining.methods.frame_anchors import FrameAnchors, OptimisingInverter, fit_inverter
from mining.methods.micromotion import motion_evidence
from mining.methods.ridge import slope_along
from mining.methods.text_anchors import Scorer, TextAnchors, TextConfig
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.samples import from_column
from storage.dataset import attribute_fields

Array = NDArray[np.float64]
ROWS = 2048  # latents whose spread an evolution strategy looks at


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


@dataclass(frozen=True)
class TextJob:
    """What micromotions by text are mined with, whatever their words."""

    scorer: Scorer
    config: TextConfig = TextConfig()
    motion: MotionConfig = MotionConfig()
    identities: int = 1
    space: str = "w+"
    face: ImageNetwork | None = None  # reads whole images at its size; None: no identity term
    face_sha256: str | None = None  # of its file, for the card


def mine_text(run: MinedRun, attribute: str, template: str, job: TextJob) -> DirectionCard:
    """The card of a micromotion whose anchors are found by text.

    Raises:
        InputError: as `TextAnchors`, or there are fewer rows than identities.
    """
    if not 1 <= job.identities <= len(run.latents):
        raise InputError(
            f"micromotion: {job.identities} identities came, expected 1 to {len(run.latents)}."
        )
    pairs = _measured(run, attribute)
    generator = _generator(run)
    shape = _shape_in(run, job.space, generator.num_ws)
    starts = _laid_out(central_starts(run.latents, job.identities), run, shape)
    spread = _laid_out(run.latents[:ROWS], run, shape)
    anchors = TextAnchors(
        generator, job.scorer, template, starts, job.space, job.config, job.face, spread
    )()
    words = {"template": template, "identities": job.identities}
    told = {
        "text": dataclasses.asdict(job.config) | words,
        "scorer": _name_of(job.scorer),
        "face": job.face_sha256,
    }
    where = (job.space, shape)
    return _card(run, anchors, job.motion, "micromotion_text", attribute, where, pairs, told)


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
    run.scores(attribute)  # refuses what is unknown before anything is measured
    pairs, columns = _measured(run, attribute), features_of(manifest)
    more: dict[str, float] = {}
    if inverter == "ridge":
        table: pa.Table = run.dataset.read(columns)
        parts = [from_column(table.column(name)) for name in columns]
        seen = np.concatenate([part.reshape(len(table), -1) for part in parts], axis=1)
        made: Any = fit_inverter(run.latents, seen.astype(np.float64))
        more = {"inverter_r2": made.r2}
    else:
        made = OptimisingInverter(_generator(run), run.space)
    found, degrees = measured_in(manifest, frames, columns, attribute)
    if inverter != "ridge":
        found = np.empty((len(frames), 0))
    anchors = FrameAnchors(frames, degrees, found, made)()
    anchors = dataclasses.replace(anchors, evidence={**anchors.evidence, **more})
    told = {"inverter": inverter, FEATURES: columns if inverter == "ridge" else []}
    where = (run.space, run.shape)
    return _card(run, anchors, motion, "micromotion_frames", attribute, where, pairs, told)


def _card(
    run: MinedRun,
    anchors: Anchors,
    motion: MotionConfig,
    method: str,
    attribute: str,
    where: tuple[str, tuple[int, ...]],
    pairs: tuple[Array, Array] | None,
    told: Mapping[str, Any],
) -> DirectionCard:
    """The card of anchors' motion, with slope and sign from the pairs that `_measured` gives."""
    space, shape = where
    found = find_motion(anchors, motion, shape)
    rows = 1 if space == run.space else shape[0]
    stored = _as_stored(found.vector, run, space)
    slope, unit, evidence = float("nan"), "1", {}
    if pairs is not None:
        unit = attribute_fields(run.dataset.manifest)[attribute].unit
        slope = slope_along(*pairs, stored / rows)  # a step moves w by the mean of its rows
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
    sigma = float(np.std(run.latents @ stored))
    settings = json.dumps({"motion": dataclasses.asdict(motion), **told}, sort_keys=True)
    truth = known_truth(run.dataset.manifest)
    return card_of(run.dataset, direction, sigma, settings, motion.seed, truth)


def _measured(run: MinedRun, attribute: str) -> tuple[Array, Array] | None:
    """Latents (n, D) and scores (n,) of the rows where it was measured; None: no extractor did.

    Raises:
        InputError: it was measured in fewer than ten rows, or is the same in all.
    """
    if attribute not in attribute_fields(run.dataset.manifest):
        return None
    scores = run.scores(attribute)
    rows = np.isfinite(scores)
    return check_pairs("micromotion", run.latents[rows], scores[rows], least=10)


def _shape_in(run: MinedRun, space: str, rows: int) -> tuple[int, ...]:
    """The shape of one latent of w or w+, for a generator of so many rows.

    Raises:
        InputError: there is no way from the dataset's latents to that space.
    """
    if space not in ("w", "w+") or (space == "w" and run.space == "w+"):
        raise InputError(
            f"micromotion: space {space!r} came for a dataset of {run.space}; expected w+"
            f"{' or w' if run.space == 'w' else ''}."
        )
    return run.shape if space == run.space else (rows, *run.shape)


def _laid_out(latents: Array, run: MinedRun, shape: tuple[int, ...]) -> Array:
    """(N, D) latents of the run in the space of that shape, every row of W+ the same."""
    return latents if shape == run.shape else np.tile(latents, (1, shape[0]))


def _as_stored(vector: Array, run: MinedRun, space: str) -> Array:
    """(D,) whose product with w is that of a direction with the rows of W+ that w makes."""
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
