"""Small shape models with planted numbers, and files of them as their makers write them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mining.extractors.face_template import RIGID, TEMPLATE
from mining.shape3d.model import ShapeModel

LANDMARKS = 68
VERTICES = 90


@dataclass
class Made:
    """A model in millimetres: unit columns, standard deviations, landmarks on vertices."""

    mean: np.ndarray  # (V, 3)
    identity: np.ndarray  # (3V, I), orthonormal
    identity_sd: np.ndarray  # (I,)
    expression: np.ndarray  # (3V, E), orthonormal
    expression_sd: np.ndarray  # (E,)
    expression_mean: np.ndarray  # (V, 3)
    landmarks: np.ndarray  # (68,)
    triangles: np.ndarray  # (F, 3)
    names: tuple[str, ...] = field(default=())

    def components(self, part: str) -> np.ndarray:
        """(K, V, 3) millimetres for one standard deviation."""
        basis, sd = getattr(self, part), getattr(self, f"{part}_sd")
        return (basis * sd).T.reshape(len(sd), -1, 3)

    def centred(self, mean: np.ndarray | None = None) -> np.ndarray:
        """The mean with the landmarks' middle at the origin, as the readers put it."""
        mean = self.mean if mean is None else mean
        return mean - mean[self.landmarks].mean(axis=0)


def made(
    seed: int = 0, vertices: int = VERTICES, identities: int = 4, expressions: int = 3
) -> Made:
    """A model whose numbers are all different."""
    rng = np.random.default_rng(seed)

    def basis(count: int) -> np.ndarray:
        return np.linalg.qr(rng.normal(size=(3 * vertices, count)))[0]

    return Made(
        rng.normal(scale=60.0, size=(vertices, 3)),
        basis(identities),
        np.sort(rng.uniform(5, 90, identities))[::-1].copy(),
        basis(expressions),
        np.sort(rng.uniform(5, 40, expressions))[::-1].copy(),
        rng.normal(scale=3.0, size=(vertices, 3)),
        rng.permutation(vertices)[:LANDMARKS],
        rng.integers(0, vertices, size=(2 * vertices, 3)),
        tuple(f"shape {k}" for k in range(expressions)),
    )


def against_template(found: ShapeModel) -> tuple[float, float, float]:
    """Scale, root mean square distance in millimetres and turn in degrees that lie between a
    model's rigid landmarks and those of the head template; not mirrored, else AssertionError."""
    points, template = found.landmarks().mean[RIGID], TEMPLATE[RIGID]
    points, template = points - points.mean(axis=0), template - template.mean(axis=0)
    left, stretch, right = np.linalg.svd(template.T @ points)
    turn, scale = left @ right, stretch.sum() / (points**2).sum()
    assert np.linalg.det(turn) > 0
    apart = scale * points @ turn.T - template
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    return float(scale), float(np.sqrt((apart**2).sum(axis=1).mean())), float(angle)


def model_files(*names: str) -> list[Path]:
    """Published files in the folder LODE_MODELS; the test is skipped where one is missing."""
    folder = Path(os.environ.get("LODE_MODELS", "none"))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"LODE_MODELS holds no {', '.join(missing)}")
    return [folder / name for name in names]


def landmark_json(path: Path, model: Made) -> Path:
    path.write_text(json.dumps(model.landmarks.tolist()))
    return path


def bfm_mat(path: Path, model: Made, packed: bool = True, **changed: Any) -> Path:
    """01_MorphableModel.mat of BFM 2009: micrometres, shapeEV in standard deviations."""
    import scipy.io

    content = {
        "shapeMU": (model.mean.reshape(-1, 1) * 1e3).astype(np.float32),
        "shapePC": model.identity.astype(np.float32),
        "shapeEV": (model.identity_sd[:, None] * 1e3).astype(np.float32),
        "tl": (model.triangles + 1).astype(np.float64),
        "segbin": np.zeros((len(model.mean), 4), np.uint8),
        "notes": np.array(["text", 3], dtype=object),
    }
    scipy.io.savemat(path, content | changed, do_compression=packed)
    return path


def bfm_h5(path: Path, model: Made, text: str = "utf-8", **options: Any) -> Path:
    """model2019_*.h5: millimetres, unit columns, variances; landmarks by name."""
    import h5py

    places = [
        {"id": f"point.{k}", "coordinates": model.mean[v].tolist()}
        for k, v in enumerate(model.landmarks[:9])
    ]
    told = json.dumps(places)
    with h5py.File(path, "w") as file:
        parts = {
            "shape": (model.mean, model.identity, model.identity_sd),
            "expression": (model.expression_mean, model.expression, model.expression_sd),
        }
        for part, (mean, basis, sd) in parts.items():
            group = file.create_group(f"{part}/model")
            group.create_dataset("mean", data=mean.ravel().astype(np.float32))
            group.create_dataset("pcaBasis", data=basis.astype(np.float32), **options)
            group.create_dataset("pcaVariance", data=(sd**2).astype(np.float32))
            group.create_dataset("noiseVariance", data=np.float32(0))
            file[f"{part}/representer/cells"] = model.triangles.T.astype(np.int32)
        value = np.frombuffer(told.encode(), np.int8) if text == "int8" else told
        file.create_group("metadata/landmarks").create_dataset("json", data=value)
        file["version/majorVersion"], file["version/minorVersion"] = 0, 9
    return path


def sfm_bin(path: Path, model: Made, version: int = 4, kind: str = "blendshapes") -> Path:
    """A model as eos writes it through cereal; `kind` of the expressions: none too, or pca."""
    out = struct.pack("<I", version) + _pca(model.mean, model.identity, model.identity_sd, model)
    out += _pca(np.zeros((0, 3)), np.zeros((0, 0)), np.zeros(0), None)
    if version >= 2:
        out += struct.pack("<?", kind == "none")
        if kind == "pca":
            mean = model.expression_mean
            out += struct.pack("<i", 0)
            out += _pca(mean, model.expression, model.expression_sd, model)
        elif kind == "blendshapes":
            out += struct.pack("<i", 1) + _blendshapes(model)
    if version >= 3:
        out += struct.pack("<?Q", False, 1) + _text("chin") + struct.pack("<i", 7)
    out += struct.pack("<Q", 2) + np.arange(4, dtype="<f8").tobytes()
    if version >= 4:
        out += struct.pack("<Q", 1) + np.arange(3, dtype="<i4").tobytes()
    path.write_bytes(out)
    return path


def sfm_blendshapes(path: Path, model: Made) -> Path:
    path.write_bytes(_blendshapes(model))
    return path


def _matrix(array: np.ndarray) -> bytes:
    rows, columns = array.shape
    return struct.pack("<ii", rows, columns) + array.T.astype("<f4").tobytes()


def _pca(mean: np.ndarray, basis: np.ndarray, sd: np.ndarray, model: Made | None) -> bytes:
    triangles = np.zeros((0, 3)) if model is None else model.triangles
    out = _matrix(mean.reshape(-1, 1)) + _matrix(basis) + _matrix(sd[:, None] ** 2)
    return out + struct.pack("<Q", len(triangles)) + triangles.astype("<i4").tobytes()


def _blendshapes(model: Made) -> bytes:
    out = struct.pack("<Q", len(model.names))
    for name, move in zip(model.names, model.components("expression"), strict=True):
        out += _text(name) + _matrix(move.reshape(-1, 1))
    return out


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


class Ch:
    """Pickled as chumpy.ch.Ch, with the state that its __getstate__ leaves."""

    def __init__(self, x: np.ndarray) -> None:
        self.__dict__ = {"x": x, "_dirty_vars": {"x"}, "_itr": None, "_make_dense": False}


Ch.__module__ = "chumpy.ch"


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes texts and bytes as Python 2 wrote its strings."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        if not self.bin:
            self.write(b"S" + repr(data)[1:].encode("ascii") + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


@contextlib.contextmanager
def chumpy_importable() -> Iterator[None]:
    names = {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": types.ModuleType("chumpy.ch")}
    names["chumpy.ch"].Ch = Ch  # type: ignore[attr-defined]
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def python2_pickle(content: Any, protocol: int) -> bytes:
    """A pickle as Python 2 and the NumPy and SciPy of its time wrote it."""
    out = io.BytesIO()
    with chumpy_importable():
        Python2Pickler(out, protocol).dump(content)
    data = out.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
    return data.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")


def flame_content(model: Made, chumpy: bool = True) -> dict[str, Any]:
    """What generic_model.pkl holds: metres, identity and expression in one array."""
    import scipy.sparse

    count = len(model.mean)
    moves = np.concatenate([model.components("identity"), model.components("expression")])
    wrap = Ch if chumpy else np.asarray
    return {
        "J_regressor": scipy.sparse.csc_matrix(np.eye(5, count)),
        "f": model.triangles.astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": np.full((count, 5), 0.2),
        "posedirs": np.zeros((count, 3, 36)),
        "shapedirs": wrap(np.asfortranarray(np.moveaxis(moves, 0, 2) / 1e3)),
        "v_template": wrap(model.mean / 1e3),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def flame_npz(path: Path, model: Made, **changed: Any) -> Path:
    content = flame_content(model, chumpy=False) | changed
    content["J_regressor"] = content["J_regressor"].toarray()
    np.savez(path, **content)
    return path


@dataclass
class Embedding:
    """Landmarks on triangles: 17 of the outline for each of some yaws, and 51."""

    outline: np.ndarray  # (Y, 17)
    outline_weights: np.ndarray  # (Y, 17, 3)
    inner: np.ndarray  # (51,)
    inner_weights: np.ndarray  # (51, 3)

    def points(self, model: Made) -> np.ndarray:
        """(68, 3) on the mean."""
        faces = model.triangles[np.concatenate([self.outline[0], self.inner])]
        weights = np.concatenate([self.outline_weights[0], self.inner_weights])
        return np.einsum("lcx,lc->lx", model.mean[faces], weights)


def embedding(model: Made, seed: int = 1) -> Embedding:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.dirichlet([1.0, 1.0, 1.0], size=shape)

    count = len(model.triangles)
    outline, inner = rng.integers(0, count, (79, 17)), rng.integers(0, count, 51)
    return Embedding(outline, weights(79, 17), inner, weights(51))
