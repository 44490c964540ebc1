"""Files of directions in every format that is imported, as their own tools write them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as save_safetensors

Floats = NDArray[Any]


def unit(seed: int, *shape: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=shape)
    return vector / np.linalg.norm(vector)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def npy(array: Floats) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def npz(array: Floats) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, direction=array)
    return sink.getvalue()


def torch_zip(content: Any) -> bytes:
    sink = io.BytesIO()
    torch.save(_tensors(content), sink)
    return sink.getvalue()


def torch_legacy(content: Any) -> bytes:
    """As torch before 1.6 wrote it."""
    sink = io.BytesIO()
    torch.save(_tensors(content), sink, _use_new_zipfile_serialization=False)
    return sink.getvalue()


def pickled(content: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(content, protocol=protocol)


def safetensors(array: Floats, metadata: dict[str, str] | None = None) -> bytes:
    return save_safetensors({"direction": np.ascontiguousarray(array)}, metadata)


def ganspace_npz(components: int = 5, width: int = 16, seed: int = 0) -> bytes:
    """Keys and shapes as GANSpace's decomposition.py writes them with --use_w."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(width, components)))[0].T[:, None]
    stdevs = np.sort(rng.uniform(0.1, 3, components))[::-1]
    arrays = {
        "act_comp": basis,
        "act_mean": rng.normal(size=(1, width)),
        "act_stdev": stdevs,
        "lat_comp": basis,
        "lat_mean": rng.normal(size=(1, width)),
        "lat_stdev": stdevs,
        "var_ratio": stdevs**2 / 40,
        "random_stdevs": np.full(components, 0.5),
    }
    sink = io.BytesIO()
    np.savez_compressed(sink, **{name: array.astype(np.float32) for name, array in arrays.items()})
    return sink.getvalue()


def ganspace_saved(vector: Floats, **changes: Any) -> dict[str, Any]:
    """One component, with the entries that GANSpace's interactive.py pickles."""
    return {
        "name": "Smile",
        "sigma_range": 4.5,
        "component_index": 7,
        "act_comp": vector,
        "lat_comp": vector,
        "latent_space": "W",
        "act_stdev": 1.25,
        "lat_stdev": 1.25,
        "model_name": "StyleGAN2",
        "output_class": "ffhq",
        "decomposition": {"name": "ipca", "components": 80, "samples": 10**6, "layer": "style"},
        "edit_type": "latent",
        "truncation": 0.7,
        "edit_start": 3,
        "edit_end": 6,
        "example_seed": 12,
    } | changes


def pca(components: int = 4, width: int = 16, seed: int = 0) -> dict[str, Floats]:
    """As encoder4editing's ffhq_pca.pt: comp (K, 1, D), whose axes run backwards, mean and std."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(width, components)))[0].T[:, None]
    stdevs = np.sort(rng.uniform(0.1, 3, components))[::-1]
    arrays = {"comp": basis, "mean": rng.normal(size=(1, width)), "std": stdevs}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


WRITERS: dict[str, Callable[[Floats], bytes]] = {
    "npy": npy,
    "npz": npz,
    "torch": torch_zip,
    "torch before 1.6": torch_legacy,
    "safetensors": safetensors,
}


def _tensors(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _tensors(value) for name, value in content.items()}
    return torch.from_numpy(np.array(content)) if isinstance(content, np.ndarray) else content
