"""DECA's encoder from a file of weights: deca_model.tar or safetensors; nothing in it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.models import Model
from schemas.errors import InputError, MissingBackendError

if TYPE_CHECKING:
    from mining.extractors.resnet50 import Regressor

PART = "E_flame"
CODES = {  # how the 236 outputs are split; Feng et al. (2021), doi:10.1145/3450626.3459936, 4.1
    "shape": 100,
    "texture": 50,
    "expression": 50,
    "pose": 6,  # turn of the head, turn of the jaw, as axis times angle in radians
    "camera": 3,  # scale, shift in x and y
    "light": 27,
}
OUTPUTS = sum(CODES.values())
COUNTERS = "num_batches_tracked"  # of the batch norms: in some files, and of no use here
PARAMETERS = 25_848_108  # of the encoder, all of them


def load_encoder(who: str, model: Model) -> Regressor:
    """The encoder with the weights of a file, ready to be called.

    Raises:
        InputError: the file is damaged or hostile, or its tensors are not those of the encoder.
    """
    import torch

    from mining.extractors.resnet50 import Regressor

    with torch.device("meta"):  # no numbers are drawn that would be overwritten
        network = Regressor(OUTPUTS)
    tensors = _tensors(who, model)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    counters = {name for name in wanted if name.endswith(COUNTERS)}
    check_names(who, model, {k: v for k, v in wanted.items() if k not in counters}, tensors)
    state = {name: torch.from_numpy(tensors[name]) for name in wanted.keys() - counters}
    state |= {name: torch.zeros((), dtype=torch.int64) for name in counters}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def check_names(
    who: str,
    model: Model,
    wanted: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Refuse tensors that are missing, additional, of another shape or not finite."""
    for problem, names in (
        ("it lacks", sorted(wanted.keys() - tensors.keys())),
        ("it has besides", sorted(tensors.keys() - wanted.keys())),
    ):
        if names:
            raise InputError(
                f"{who}: {model.name}: {problem} {len(names)} tensors, such as "
                f"'{PART}.{names[0][:80]}'; expected the {len(wanted)} of DECA's encoder."
            )
    for name, shape in wanted.items():
        found = tensors[name]
        if found.shape != shape:
            raise InputError(
                f"{who}: {model.name}: {PART}.{name} has the shape {found.shape}; expected {shape}."
            )
        if not np.isfinite(found).all():
            raise InputError(
                f"{who}: {model.name}: {PART}.{name} holds numbers that are no number."
            )


def _tensors(who: str, model: Model) -> dict[str, NDArray[np.float32]]:
    """The encoder's tensors by their names within it, without the counters."""
    with model.path.open("rb") as file:
        start = file.read(9)
    safe = start[8:9] == b"{" and start[6:8] == b"\0\0"
    found = _safetensors(who, model) if safe else _torch(who, model)
    return {name: value for name, value in found.items() if not name.endswith(COUNTERS)}


def _torch(who: str, model: Model) -> dict[str, NDArray[np.float32]]:
    from mining.generators.checkpoints.arrays import TensorRef
    from mining.generators.checkpoints.reading import read_plain

    try:
        root = read_plain(model.path, "deca_model.tar, a dict with E_flame").root
    except InputError as error:
        raise InputError(f"{who}: {error}") from None
    part = root.get(PART) if isinstance(root, dict) else None
    if not isinstance(part, dict):
        came = (
            ", ".join(map(repr, list(root)[:5])) if isinstance(root, dict) else type(root).__name__
        )
        raise InputError(
            f"{who}: {model.name}: it holds {came[:200]}; expected a dict with {PART}."
        )
    for name, value in part.items():
        if not isinstance(name, str) or not isinstance(value, TensorRef):
            raise InputError(f"{who}: {model.name}: {PART} holds something other than tensors.")
    return {
        name: np.array(value.read(), np.float32)
        for name, value in part.items()
        if not name.endswith(COUNTERS)
    }


def _safetensors(who: str, model: Model) -> dict[str, NDArray[np.float32]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ModuleNotFoundError:
        raise MissingBackendError(f"{who}: {model.name} needs: pip install safetensors") from None
    try:
        found = load_file(model.path)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{who}: {model.name} is no safetensors file: {str(error)[:200]}"
        ) from None
    prefix = f"{PART}."
    if any(name.startswith(prefix) for name in found):  # of all of DECA: the encoder's alone
        found = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}
    return {name: np.array(value, np.float32) for name, value in found.items()}
