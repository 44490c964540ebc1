"""Small networks as TorchScript files, and a small generator whose images are linear in w."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mining.generators.base import Floats
from mining.methods.image_chain import random_rows
from mining.methods.learned import LearnedRows

EDGE, W_DIM, NUM_WS = 8, 12, 4
SHOWN = 0.05  # brightness per unit of w: images stay inside -1..1
TINY = {
    "img_resolution": 32,
    "z_dim": 16,
    "w_dim": 16,
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16},
}
MOVING, IDENTITIES = 5, 4  # three angles and two expressions
SPREAD = np.array([20.0, 10, 8, 1, 1, 1, 1, 1, 1])  # of the codes over random latents


def saved(module: torch.nn.Module, path: Path) -> Path:
    """The module as a TorchScript file."""
    with warnings.catch_warnings():  # torch calls the format deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return path


class Projection(torch.nn.Module):
    """(N, 3, edge, edge) -> (N, E): the grey image times a matrix."""

    def __init__(self, matrix: np.ndarray, offset: np.ndarray | None = None):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.from_numpy(matrix).float())  # (E, edge * edge)
        there = np.zeros(len(matrix)) if offset is None else offset
        self.offset = torch.nn.Parameter(torch.from_numpy(there).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=1).flatten(1) @ self.matrix.T + self.offset


class LinearGenerator:
    """Images (8, 8), grey: SHOWN sum_r w_r P_r, with orthonormal patterns P of each row's w."""

    name, licence, c_dim = "linear", "none", 0
    z_dim = w_dim = W_DIM
    num_ws, resolution = NUM_WS, EDGE
    spaces = ("z", "w", "w+")
    layer_names = tuple(f"row{k}" for k in range(NUM_WS))

    def __init__(self, seed: int = 0, scales: tuple[float, ...] = (1.0, 0.8, 0.1, 0.0)):
        rng = np.random.default_rng(seed)
        patterns = np.linalg.qr(rng.normal(size=(EDGE * EDGE, W_DIM)))[0].T * EDGE
        self.patterns = np.concatenate([s * patterns for s in scales])  # (num_ws * w_dim, 64)
        self.mixing = np.linalg.qr(rng.normal(size=(W_DIM, W_DIM)))[0]

    def fingerprint(self) -> str:
        return "ab" * 32

    def mean_w(self) -> Floats:
        return np.full(W_DIM, 0.1, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> Floats:
        return rng.standard_normal((count, W_DIM), dtype=np.float32)

    def map(self, z: Floats, psi: float = 1.0, condition: Floats | None = None) -> Floats:
        return (self.mean_w() + psi * (z @ self.mixing.T)).astype(np.float32)

    def broadcast(self, w: Floats) -> Floats:
        return np.repeat(w[:, None], NUM_WS, axis=1)

    def synthesize(self, w_plus: Floats, condition: Floats | None = None) -> np.ndarray:
        images = self.differentiable("w+")(torch.from_numpy(w_plus.reshape(len(w_plus), -1)), None)
        made = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return made.expand(-1, -1, -1, 3).numpy()

    def differentiable(self, space: str):
        patterns = torch.from_numpy(SHOWN * self.patterns).float()

        def images(latents: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            return (latents.float() @ patterns).reshape(-1, 1, EDGE, EDGE)

        return images


def planted_truth() -> np.ndarray:
    """(9, W_DIM) what codes are of sum_r scale_r w_r: orthogonal rows."""
    rows = np.linalg.qr(np.random.default_rng(5).normal(size=(W_DIM, W_DIM)))[0]
    return rows[: MOVING + IDENTITIES] * SPREAD[:, None]


def network_files(folder: Path) -> dict[str, str]:
    """An encoder that sees the truth in LinearGenerator's images, and networks beside it."""
    patterns = LinearGenerator().patterns[:W_DIM]  # of row 0, whose scale is 1
    there = np.linalg.pinv(SHOWN * patterns).T  # images -> sum_r scale_r w_r
    rng = np.random.default_rng(6)
    made = {
        "encoder": Projection(planted_truth() @ there),
        "identity": Projection(rng.normal(size=(7, 36))),
        "perceptual": Projection(rng.normal(size=(5, 16))),
    }
    return {name: str(saved(module, folder / f"{name}.pt")) for name, module in made.items()}


def options(files: dict[str, str], **more: Any) -> dict[str, Any]:
    """Settings of the chain with the planted encoder, which sees the whole image."""
    encoder = {"kind": "torchscript", "size": EDGE, "span": [-1, 1], "crop": "whole"}
    encoder["file"] = files["encoder"]
    return {"encoder": encoder, "shape": {"expressions": 2}, "pixels": 4} | more


def rows_of(generator: Any, count: int = 300, **more: Any) -> LearnedRows:
    """Random latents in W."""
    w = random_rows(generator, count, 1.0, seed=1).latents
    return LearnedRows(w, "w", (generator.w_dim,), generator.num_ws, **more)


def random_latents(generator: Any, count: int, seed: int = 2) -> torch.Tensor:
    """(count, num_ws * w_dim) others, in W+."""
    w = random_rows(generator, count, 1.0, seed=seed).latents
    return torch.from_numpy(generator.broadcast(w).reshape(count, -1))
