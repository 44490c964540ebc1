"""FLAME's jaw: where a turn of it takes the 68 landmarks, exactly as the model's skinning does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model_files import Loaded
from mining.shape3d.readers.bound import read_bound
from mining.shape3d.readers.checks import numbers
from mining.shape3d.readers.flame_pickle import SKELETON
from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
JAW, JOINTS = 2, 5  # the root, the neck, the jaw, the eyes
READER = "mining.shape3d.readers.flame_pickle:skeleton_arrays"
SPARSE = ("J_regressor.data", "J_regressor.indices", "J_regressor.indptr")
CORRECTIVE = slice(9, 18)  # columns of posedirs that are the jaw's: of joints 1 to 4, 9 each
METRES = 1000.0  # millimetres


@dataclass(frozen=True)
class Jaw:
    """What a turn R of the jaw adds to the landmarks of a shape with coefficients p.

    With r = vec(R - I): moved = C r + (R - I) (lever_0 + sum_k p_k lever_k + D r). A lever is the
    landmark less the jaw's joint, weighed by how far the jaw carries it; C are FLAME's pose
    correctives at the landmarks, D the same weighed.
    Source: Li et al. (2017), doi:10.1145/3130800.3130813, equations (1) to (5).
    """

    lever: Array  # (68, 3) millimetres, of the mean shape
    identity: Array  # (I, 68, 3) of each component
    expression: Array  # (E, 68, 3)
    corrective: Array  # (68, 3, 9)
    weighed: Array  # (68, 3, 9)


def read_jaw(who: str, model: Loaded, identities: int, expressions: int) -> Jaw:
    """The jaw of a FLAME model that `load_model` has read.

    Raises:
        InputError: the file holds no skinning, or one of another size.
    """
    file, shape = model.files["model"].path, model.shape
    told = _told(f"{who}, {file.name}", file)
    who, count = f"{who}, {file.name}", len(shape.mean)
    carried = numbers(who, "weights", told.get("weights"), (count, JOINTS))[:, JAW]
    joint = _joint_row(who, told, count)
    moves = numbers(who, "posedirs", told.get("posedirs"), (count, 3, 9 * (JOINTS - 1)))
    moves = moves[:, :, CORRECTIVE].astype(np.float64) * METRES
    at, weights = shape.corners, shape.weights
    pulled = weights * carried[at]  # (68, 3)

    def lever(vertices: Array) -> Array:
        """(K, V, 3) -> (K, 68, 3)."""
        joints = np.einsum("v,kvx->kx", joint, vertices)
        near = np.einsum("klcx,lc->klx", vertices[:, at], pulled)
        return near - pulled.sum(axis=1)[None, :, None] * joints[:, None]

    return Jaw(
        lever(shape.mean[None])[0],
        lever(shape.identity[:identities]),
        lever(shape.expression[:expressions]),
        np.einsum("lcxr,lc->lxr", moves[at], weights),
        np.einsum("lcxr,lc->lxr", moves[at], pulled),
    )


def _told(who: str, path: Any) -> dict[str, NDArray[Any]]:
    """The arrays of the file's skeleton."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return read_npz(who, path, SKELETON)
    return read_bound(who, path, READER)


def _joint_row(who: str, told: dict[str, NDArray[Any]], count: int) -> Array:
    """(V,) the vertices' shares in the place of the jaw's joint, which sum to 1."""
    if all(name in told for name in SPARSE):
        data, rows, ends = (numbers(who, name, told[name], (None,)) for name in SPARSE)
        sizes = np.diff(ends.astype(np.int64))
        if len(sizes) != count or (sizes < 0).any() or not sizes.sum() == len(data) == len(rows):
            raise InputError(
                f"{who}: J_regressor has {len(sizes)} columns and {len(data)} numbers; expected "
                f"{count} columns and as many numbers as they tell. It is damaged."
            )
        columns = np.repeat(np.arange(count), sizes)
        dense = np.bincount(columns, np.where(rows == JAW, data, 0.0), minlength=count)
    else:
        dense = numbers(who, "J_regressor", told.get("J_regressor"), (JOINTS, count))[JAW]
    total = float(dense.sum())
    if not abs(total - 1) < 1e-3:
        raise InputError(f"{who}: the jaw's joint takes {total:.4g} of its vertices; expected 1.")
    return dense.astype(np.float64) / total


class JawShift:
    """`Jaw` on tensors."""

    def __init__(self, jaw: Jaw, like: Tensor):
        import torch

        basis = np.concatenate([jaw.identity, jaw.expression])
        self._lever, self._basis, self._corrective, self._weighed = (
            torch.from_numpy(np.ascontiguousarray(part)).to(like)
            for part in (jaw.lever, basis, jaw.corrective, jaw.weighed)
        )

    def __call__(self, opened: Tensor, identity: Tensor, expression: Tensor) -> Tensor:
        """(N,) degrees about x, (N, I), (N, E) -> (N, 68, 3) millimetres."""
        import torch

        angle = torch.deg2rad(opened)
        less, sine, zero = torch.cos(angle) - 1, torch.sin(angle), torch.zeros_like(angle)
        flat = torch.stack([zero, zero, zero, zero, less, -sine, zero, sine, less], dim=1)
        turn = flat.reshape(-1, 3, 3)  # R - I
        coefficients = torch.cat([identity, expression], dim=1)
        arm = self._lever + torch.einsum("nk,klx->nlx", coefficients, self._basis)
        arm = arm + torch.einsum("lxr,nr->nlx", self._weighed, flat)
        moved = torch.einsum("nab,nlb->nla", turn, arm)
        return moved + torch.einsum("lxr,nr->nlx", self._corrective, flat)
