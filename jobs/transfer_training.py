"""Matrices made from a dataset by Ray tasks: trained, or in closed form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.cluster import plain_errors
from jobs.learned_checks import check_learned, learned_config, parameters_of
from jobs.learned_data import read_rows
from jobs.learned_task import Training, learn_here
from jobs.mining_data import NO_STYLES, read_data
from jobs.placement import hide_gpus
from jobs.progress import Progress
from mining.evaluation.transfer_scores import ANGLES, JAWS
from mining.methods.control import ControlModel
from mining.methods.direction_matrix import METHOD
from mining.methods.matrix_config import MatrixConfig
from mining.methods.matrix_file import matrix_bytes
from mining.threads import limit_threads
from schemas.errors import InputError
from schemas.settings import EngineSettings, MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest

RIDGE, REGRESSION, JACOBIAN, WITHIN = (
    "ridge_inverted",
    "regression",
    "mean_jacobian",
    "within_sequences",
)
LEARNED = METHOD


@dataclass(frozen=True)
class Making:
    """One matrix to be made: trained for METHOD, else the closed form of that name."""

    label: str
    method: str
    config: MatrixConfig
    paired: bool = False  # whether sequences are read where they are there
    control: ControlModel | None = field(default=None, repr=False)  # for the mean Jacobian


def matrix_config(options: Mapping[str, Any], seed: int) -> MatrixConfig:
    """Settings from options as `lode mine` takes them.

    Raises:
        InputError: there is no such preset or option, or a value does not fit.
    """
    return learned_config(METHOD, options, seed)


def check_making(makings: Sequence[Making], landmarks: str, manifest: Manifest) -> None:
    """Refuse what cannot be made of this dataset, before any work.

    Raises:
        InputError: says what is missing.
    """
    for making in makings:
        if making.config.chain == "images" and making.method != METHOD:
            continue  # closed forms read the dataset
        check_learned(METHOD, making.config, _mining(landmarks), manifest)


def asked_of(config: MatrixConfig, manifest: Manifest) -> tuple[str, ...]:
    """The parameters that a matrix of these settings will have; () where images tell them."""
    if config.chain == "images":
        return ()
    names = config.parameters or parameters_of(config, manifest)
    rigid = [name for name in names if name in (*ANGLES, *JAWS)]
    return *rigid, *[name for name in names if name not in rigid][: config.expressions]


def make_matrices(
    dataset: Dataset,
    makings: Sequence[Making],
    landmarks: str,
    engine: EngineSettings,
    done: Callable[[str, bytes], object] = lambda label, data: None,
) -> dict[str, bytes]:
    """Label -> the matrix's file, in the order given; one Ray task each, on the running Ray.

    Args:
        done: told of each as it is finished.

    Raises:
        InputError: rows lack what a matrix needs.
        RunError: a worker failed.
    """
    import ray

    found: dict[str, bytes] = {}
    if not makings:
        return found
    with plain_errors("direction matrix"), Progress("fit", len(makings), "matrices") as progress:
        gpus = [_gpus(making.config, engine) for making in makings]
        running = {
            _task(share).remote(dataset.url, making, landmarks, share): making.label
            for making, share in zip(makings, gpus, strict=True)
        }
        waiting = list(running)
        while waiting:
            (ready,), waiting = ray.wait(waiting)
            label = running[ready]
            found[label] = ray.get(ready)
            done(label, found[label])
            progress.advance(1)
    return {making.label: found[making.label] for making in makings}


def make_matrix(url: str, making: Making, landmarks: str, gpus: float = 0.0) -> bytes:
    """What a task does: one matrix's file."""
    if gpus == 0:
        hide_gpus()
    limit_threads(1)
    dataset, config = Dataset(url), making.config
    mining = _mining(landmarks)
    data = read_data(dataset, mining, NO_STYLES)
    rows = read_rows(dataset, data, METHOD, config, mining)
    if not making.paired:
        rows = dataclasses.replace(rows, sequences=None)
    if making.method == METHOD:
        about = dataset.manifest.generator
        return learn_here(rows, Training(METHOD, config, "", None, gpus, about)).artefact
    from mining.methods.chains import shape_codes
    from mining.methods.matrix_rivals import RIVALS

    codes, _, _ = shape_codes(rows, config)
    more = {"control": making.control} if making.control is not None else {}
    matrix = RIVALS[making.method](rows, codes, config, **more)
    return matrix_bytes(matrix)


def rivals(
    config: MatrixConfig, sequences: bool, control: ControlModel | None = None
) -> list[Making]:
    """Every closed form that the dataset allows, of the same rows and parameters.

    Args:
        sequences: whether there are sequences of one identity.
        control: of the same generator and space as the rows; None: the mean Jacobian is that of
            the surrogate.
    """
    plain = dataclasses.replace(config, training="auto", chain="surrogate", bias=False)
    found = [
        Making("ridge inverted", RIDGE, plain),
        Making("regression", REGRESSION, plain),
        Making("mean Jacobian of the surrogate", JACOBIAN, plain),
    ]
    if control is not None:
        found.append(Making("mean Jacobian of NRSfM", JACOBIAN, plain, control=control))
    if sequences:
        found.append(Making("ridge within sequences", WITHIN, plain, paired=True))
    return found


def check_control(control: ControlModel, manifest: Manifest, space: str) -> None:
    """InputError where a control model is not of the dataset's generator and space."""
    about = manifest.generator
    if control.space != space or control.fingerprint not in ("", about["fingerprint"]):
        raise InputError(
            f"matrix: the control model is of space {control.space} of {control.generator}; "
            f"expected {space} of {about['name']} ({about['fingerprint'][:16]}), as the dataset is."
        )


def _mining(landmarks: str) -> MiningSettings:
    return MiningSettings.model_validate({"methods": {METHOD: {}}, "landmarks": landmarks})


def _gpus(config: MatrixConfig, engine: EngineSettings) -> float:
    used = config.device != "cpu" or config.chain == "images"
    return engine.generator.gpus if used else 0.0


def _task(gpus: float) -> Any:
    import ray

    return ray.remote(num_cpus=1, num_gpus=gpus)(make_matrix)
