"""How well real face models read the procedural head: a table of measures against targets.

    python tests/benchmarks/head_quality.py --n 4000
    python tests/benchmarks/head_quality.py --sheet sheet.png --walk walk.png

dlib detects (HOG, upsampling 1, largest box), places 68 landmarks and embeds; everything else is
geometry on those landmarks against the generator's truth. One process; n = 4000 takes some
fifteen minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mining.generators.head import HeadGenerator
from mining.generators.head.camera import CAMERA_DISTANCE, VIEW_WIDTH
from mining.generators.head.model import head_model

EXPRESSIONS = ("mouth_open", "smile", "eye_closed", "brow_raise", "frown", "pucker")
PERSON_ROWS = ("identity", "colour", "age")  # who it is, as against how it is shown
# Brows, nose, eye corners and upper lip: what expressions move least carries the pose.
RIGID = [*range(17, 36), 36, 39, 42, 45, *range(48, 55)]
PENALTIES = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    target: float | None = None
    below: bool = False  # the value should stay below the target

    def __str__(self) -> str:
        if self.target is None:
            return f"{self.name:<46} {self.value:9.4f}"
        met = self.value <= self.target if self.below else self.value >= self.target
        sign = "<=" if self.below else ">="
        return (
            f"{self.name:<46} {self.value:9.4f}  {sign} {self.target:<6} {'ok' if met else 'MISS'}"
        )


class Dlib:
    """dlib's detector, landmarks and face descriptor."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("face_recognition_models")
        assert spec is not None and spec.submodule_search_locations
        models = Path(spec.submodule_search_locations[0]) / "models"
        d: Any = dlib
        self._find = d.get_frontal_face_detector()
        self._place = d.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self._embed = d.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def shape(self, image: NDArray[np.uint8]) -> Any | None:
        """dlib's landmarks of the largest face, or None."""
        boxes = self._find(image, 1)
        return self._place(image, max(boxes, key=lambda b: b.area())) if len(boxes) else None

    def landmarks(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """(68, 2) fractions of the image, or None."""
        shape = self.shape(image)
        if shape is None:
            return None
        points = np.array([(p.x, p.y) for p in shape.parts()], np.float64)
        return (points + 0.5) / image.shape[0]

    def descriptor(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """(128,) face descriptor, or None."""
        shape = self.shape(image)
        if shape is None:
            return None
        return np.array(self._embed.compute_face_descriptor(image, shape))


@dataclass(frozen=True)
class Study:
    """n random heads and what dlib found on them."""

    w: NDArray[np.float32]  # (n, 512)
    values: NDArray[np.float32]  # (n, P) true parameters
    true: NDArray[np.float32]  # (n, 68, 2)
    found: NDArray[np.float64]  # (n, 68, 2), NaN where no face was detected
    names: tuple[str, ...]

    @property
    def detected(self) -> NDArray[np.bool_]:
        return np.isfinite(self.found[:, 0, 0])

    def value(self, name: str) -> NDArray[np.float32]:
        return self.values[:, self.names.index(name)]


def study(generator: HeadGenerator, reader: Dlib, n: int, seed: int) -> Study:
    """Draw n heads and detect each."""
    w = generator.map(generator.sample_z(n, np.random.default_rng(seed)))
    values, true, found = [], [], []
    for row in w:
        image, truth = generator.synthesize_with_truth(generator.broadcast(row[None]))
        points = reader.landmarks(image[0])
        values.append(truth.parameters[0])
        true.append(truth.landmarks_2d[0])
        found.append(np.full((68, 2), np.nan) if points is None else points)
    names = generator.truth().names
    return Study(w, np.stack(values), np.stack(true), np.stack(found), names)


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's."""
    return float(np.corrcoef(a, b)[0, 1])


def detection_rows(s: Study) -> list[Row]:
    """Share of heads on which the detector finds a face."""
    yaw = np.abs(s.value("yaw"))
    return [
        Row("detected, all poses", float(s.detected.mean())),
        Row("detected, |yaw| <= 25", float(s.detected[yaw <= 25].mean()), 0.985),
        Row("detected, |yaw| <= 15", float(s.detected[yaw <= 15].mean())),
    ]


def landmark_rows(s: Study) -> list[Row]:
    """Normalised mean error by the outer eye corners, raw and without the mean offset per point."""
    true, found = s.true[s.detected], s.found[s.detected]
    size = np.linalg.norm(true[:, 36] - true[:, 45], axis=1)[:, None, None]
    error = (found - true) / size
    centred = np.linalg.norm(error - error.mean(0), axis=2)
    return [
        Row("NME, raw", float(np.linalg.norm(error, axis=2).mean())),
        Row("NME, mean offset removed", float(centred.mean()), 0.042, below=True),
        Row("NME, inner 51, mean offset removed", float(centred[:, 17:].mean())),
    ]


def neutral_points() -> NDArray[np.float64]:
    """(68, 3) landmarks of the head with every shape parameter at zero, y down, z away."""
    model = head_model()
    zero = dict.fromkeys(model.shape_names, 0.0)
    points = model.landmarks(model.vertices(zero), 0.0).T.astype(np.float64)
    return points * np.array([1.0, -1.0, -1.0])


def pose_angles(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) yaw, pitch, roll in degrees by PnP of the rigid ones of (N, 68, 2) landmarks."""
    solid = neutral_points()[RIGID]
    focal = CAMERA_DISTANCE / VIEW_WIDTH
    camera = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1.0]])
    start = (np.zeros(3), np.array([0.0, 0.0, CAMERA_DISTANCE]))
    angles = []
    for face in np.ascontiguousarray(points[:, RIGID]):
        _, vector, _ = cv2.solvePnP(
            solid,
            face,
            camera,
            None,
            start[0].copy(),
            start[1].copy(),
            True,
            cv2.SOLVEPNP_ITERATIVE,
        )
        flip = np.diag([1.0, -1.0, -1.0])
        rotation = flip @ cv2.Rodrigues(vector)[0] @ flip
        # R = Rz(-roll) Rx(-pitch) Ry(yaw), see camera.pose_matrix.
        pitch = np.arcsin(np.clip(-rotation[2, 1], -1, 1))
        yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
        roll = np.arctan2(rotation[0, 1], rotation[1, 1])
        angles.append((yaw, pitch, roll))
    return np.rad2deg(np.array(angles))


def pose_rows(s: Study) -> list[Row]:
    """PnP on dlib's landmarks against the true angles."""
    angles = pose_angles(s.found[s.detected])
    return [
        Row(f"PnP {name} correlation", correlation(angles[:, k], s.value(name)[s.detected]), goal)
        for k, (name, goal) in enumerate((("yaw", 0.97), ("pitch", 0.88), ("roll", 0.97)))
    ]


def normalised(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 136) landmarks centred and scaled to unit size."""
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    return (centred / size).reshape(len(points), -1)


def read_out() -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def read_out_rows(s: Study) -> list[Row]:
    """Cross-validated ridge from landmarks to the true parameter, over the population."""
    goals = {"mouth_open": 0.87, "smile": 0.78, "eye_closed": 0.78, "brow_raise": 0.73}
    x = normalised(s.found[s.detected])
    folds = KFold(5, shuffle=True, random_state=0)
    rows = []
    for name in EXPRESSIONS:
        y = s.value(name)[s.detected]
        predicted = cross_val_predict(read_out(), x, y, cv=folds)
        rows.append(Row(f"read-out {name}", correlation(predicted, y), goals.get(name)))
    return rows


def walk_rows(generator: HeadGenerator, reader: Dlib, s: Study, faces: int, seed: int) -> list[Row]:
    """The population's read-out along one true direction per face; the median correlation."""
    rng = np.random.default_rng(seed)
    base = generator.broadcast(generator.map(generator.sample_z(faces, rng), psi=0.7))
    truth = generator.truth()
    rows = []
    for name in EXPRESSIONS:
        model = read_out().fit(normalised(s.found[s.detected]), s.value(name)[s.detected])
        direction, layer = truth.direction(name), truth.layers[truth.names.index(name)]
        scores = []
        for face in base:
            steps = np.repeat(face[None], 9, axis=0)
            steps[:, layer] += np.linspace(-2, 2, 9)[:, None].astype(np.float32) * direction
            images, faces_truth = generator.synthesize_with_truth(steps)
            points = [reader.landmarks(image) for image in images]
            kept = [k for k, p in enumerate(points) if p is not None]
            if len(kept) >= 6:
                x = normalised(np.stack([points[k] for k in kept]))  # type: ignore[misc]
                true = faces_truth.parameters[kept, truth.names.index(name)]
                scores.append(correlation(model.predict(x), true))
        goal = 0.95 if name in EXPRESSIONS[:4] else None
        rows.append(Row(f"one varied: {name} (median of {len(scores)})", np.median(scores), goal))
    return rows


def embedding_rows(
    generator: HeadGenerator, reader: Dlib, people: int, seed: int, kinds: int = 2
) -> list[Row]:
    """AUC of dlib's descriptor distance: two images of one person against two persons."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, kept, goal in (
        ("AUC same person (pose, expression, scene new)", PERSON_ROWS, 0.93),
        ("AUC identity row alone (all else new)", ("identity",), None),
    )[:kinds]:
        same = [generator.layer_names.index(name) for name in kept]
        first = generator.broadcast(generator.map(generator.sample_z(people, rng)))
        second = generator.broadcast(generator.map(generator.sample_z(people, rng)))
        second[:, same] = first[:, same]
        codes = [
            [reader.descriptor(generator.synthesize(f[None])[0]) for f in w]
            for w in (first, second)
        ]
        pairs = [(a, b) for a, b in zip(*codes, strict=True) if a is not None and b is not None]
        a, b = (np.stack(side) for side in zip(*pairs, strict=True))
        distance = np.linalg.norm(a[:, None] - b[None], axis=2)
        auc = roc_auc_score(np.eye(len(a)).ravel(), -distance.ravel())
        rows.append(Row(f"{label}, {len(a)} people", float(auc), goal))
    return rows


def geometric_scores(points: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Attributes measured on (N, 68, 2) landmarks alone; no true parameter is used."""

    def span(i: int, j: int) -> NDArray[np.float64]:
        return np.linalg.norm(points[:, i] - points[:, j], axis=1)

    angles = pose_angles(points)
    eyes, nose = span(36, 45), span(27, 33)
    size = np.sqrt(((points - points.mean(1, keepdims=True)) ** 2).sum((1, 2)))
    down = points[:, 33] - points[:, 27]
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    corners, middle = points[:, [48, 54]].mean(1), points[:, [51, 57, 62, 66]].mean(1)
    lift = ((middle - corners) * down).sum(1) / nose
    width = span(48, 54) / eyes
    left = (span(37, 41) + span(38, 40)) / (2 * span(36, 39))
    right = (span(43, 47) + span(44, 46)) / (2 * span(42, 45))
    brow = points[:, 17:27].mean(1) - points[:, 36:48].mean(1)
    return {
        "yaw": angles[:, 0],
        "pitch": angles[:, 1],
        "roll": angles[:, 2],
        "mouth_open": (span(61, 67) + span(62, 66) + span(63, 65)) / size,
        "smile": width / width.std() + lift / lift.std(),
        "eye_closed": -(left + right),
        "brow_raise": -(brow * down).sum(1) / nose,
    }


def mining_rows(generator: HeadGenerator, s: Study, n: int = 1500) -> list[Row]:
    """Cosine to the truth of ridge directions from geometric scores to w, on n samples."""
    goals = dict(yaw=0.93, roll=0.92, pitch=0.83, mouth_open=0.80, smile=0.72, eye_closed=0.68)
    truth = generator.truth()
    kept = np.flatnonzero(s.detected)[:n]
    rows = []
    for name, score in geometric_scores(s.found[kept]).items():
        vector = RidgeCV(PENALTIES).fit(s.w[kept], score).coef_
        cosine = float(vector @ truth.direction(name) / np.linalg.norm(vector))
        rows.append(Row(f"mined cosine {name} ({len(kept)} samples)", cosine, goals.get(name)))
    return rows


def speed_row(generator: HeadGenerator, count: int = 60) -> Row:
    """Images a second, OpenCV on one thread."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    w = generator.broadcast(generator.map(generator.sample_z(count, np.random.default_rng(5))))
    generator.synthesize(w[:1])
    start = time.process_time()
    generator.synthesize(w)
    seconds = time.process_time() - start
    cv2.setNumThreads(threads)
    return Row("images per second of one core", count / seconds, 25)


def table(generator: HeadGenerator, n: int, seed: int, show: Callable[[Row], None]) -> None:
    """Every measure, shown as it is ready."""
    reader = Dlib()
    show(speed_row(generator))
    s = study(generator, reader, n, seed)
    few = max(8, min(30, n // 40))
    for rows in (detection_rows, landmark_rows, pose_rows, read_out_rows):
        for row in rows(s):
            show(row)
    for row in mining_rows(generator, s):
        show(row)
    for row in embedding_rows(generator, reader, max(20, min(300, n // 5)), seed + 1):
        show(row)
    for row in walk_rows(generator, reader, s, few, seed + 2):
        show(row)


def write(path: str, rows: list[NDArray[np.uint8]]) -> None:
    """Save rows of images as one picture."""
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    cv2.imwrite(path, picture[..., ::-1])


def sheet(generator: HeadGenerator, path: str, seed: int) -> None:
    """8 x 4 random heads."""
    w = generator.map(generator.sample_z(32, np.random.default_rng(seed)))
    images = generator.synthesize(generator.broadcast(w))
    write(path, [images[k : k + 8] for k in range(0, 32, 8)])


def walk(generator: HeadGenerator, path: str, seed: int, names: tuple[str, ...]) -> None:
    """Strips along true directions from one head: two parameters a line, five steps each."""
    w = generator.map(generator.sample_z(1, np.random.default_rng(seed)), psi=0.5)
    truth, rows = generator.truth(), []
    for name in names:
        steps = np.linspace(-2.4, 2.4, 5, dtype=np.float32)[:, None] * truth.direction(name)
        rows.append(generator.synthesize(generator.broadcast(w + steps)))
    if len(rows) % 2:
        rows.append(rows[-1])
    write(path, [np.concatenate(rows[k : k + 2]) for k in range(0, len(rows), 2)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=600, help="random heads for the table")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--supersampling", type=float, default=None)
    parser.add_argument("--sheet", help="write 8 x 4 random heads here")
    parser.add_argument("--walk", help="write strips along true directions here")
    parser.add_argument("--names", default="", help="comma-separated parameters for --walk")
    args = parser.parse_args()
    settings = {} if args.supersampling is None else {"supersampling": args.supersampling}
    generator = HeadGenerator(**settings)
    if args.sheet:
        sheet(generator, args.sheet, args.seed)
    if args.walk:
        names = tuple(args.names.split(",")) if args.names else generator.truth().names
        walk(generator, args.walk, args.seed, names)
    if not (args.sheet or args.walk):
        table(generator, args.n, args.seed, lambda row: print(row, flush=True))


if __name__ == "__main__":
    main()
