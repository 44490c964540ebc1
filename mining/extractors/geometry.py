"""Attributes from 68 landmarks: pose by PnP, then distances on the face turned to the front.

To add an attribute: write a function of the frontal face, add its line to ATTRIBUTES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    NO_POSE,
    NOT_MEASURED,
    OK,
    Column,
    Measurement,
    checked_name,
)
from mining.extractors.face_template import RIGID, TEMPLATE
from schemas.errors import InputError

VERSION = "2"
LANDMARKS = ("landmarks_68", "landmarks")  # of a source, the first that it has
Array = NDArray[np.float64]


class Geometry:
    """Turns landmarks into named attributes; distances are those of a head of average size.

    Args:
        focal: the camera's focal length in image widths; 4.26 is that of EG3D's FFHQ crops.
        source: the extractor whose 68 landmarks are read.
        name: of the extractor and its columns, where two stand in one dataset.
    """

    licence = "Apache-2.0 (part of LatentLode)"
    reads_pixels = False

    def __init__(self, focal: float = 4.26, source: str = "dlib", name: str = "geometry"):
        if not 0.3 <= focal <= 100:
            raise InputError(f"geometry: focal {focal} came; expected 0.3 to 100 image widths.")
        self.name = checked_name(name)
        self.needs = (source,)
        self.reads = {source: LANDMARKS}
        self._focal = float(focal)
        self.columns = {
            **{name: Column((), "degrees", text) for name, text in POSE.items()},
            **{name: Column((), unit, text) for name, (_, unit, text) in ATTRIBUTES.items()},
        }

    def fingerprint(self) -> str:
        """SHA-256 over the code version, the settings and the template."""
        named = () if self.name == "geometry" else (self.name,)
        digest = hashlib.sha256(repr((VERSION, self._focal, self.needs, *named)).encode())
        digest.update(np.ascontiguousarray(TEMPLATE).tobytes())
        return digest.hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3), of which only the proportions are read."""
        source = earlier[self.needs[0]]
        aspect = images.shape[1] / images.shape[2]
        measured = source.measured()
        values = {name: np.full(len(images), np.nan, np.float32) for name in self.columns}
        found = next(source.values[name] for name in LANDMARKS if name in source.values)
        points = np.asarray(found, np.float64)
        status = [OK if found else NOT_MEASURED for found in measured]
        for row in np.flatnonzero(measured):
            try:
                found = self._row(points[row], aspect)
            except np.linalg.LinAlgError:
                status[row] = NO_POSE
                continue
            for name, value in found.items():
                values[name][row] = value
        return Measurement(tuple(status), values)

    def _row(self, points: Array, aspect: float) -> dict[str, float]:
        """One face's values; LinAlgError where they cannot be found."""
        rotation, translation = head_pose(points, self._focal, aspect)
        frontal = to_front(points, rotation, translation, self._focal, aspect)
        found = dict(zip(POSE, euler_angles(rotation), strict=True))
        found |= {name: function(frontal) for name, (function, _, _) in ATTRIBUTES.items()}
        if not np.isfinite(list(found.values())).all():
            raise np.linalg.LinAlgError("an attribute is not finite")
        return found


def head_pose(points: Array, focal: float, aspect: float = 1.0) -> tuple[Array, Array]:
    """Rotation and translation of the template that explain the rigid landmarks best.

    Minimises the reprojection error: OpenCV's SQPnP (Terzakis & Lourakis 2020), then
    Levenberg-Marquardt. Both fail on points that lie closely together, so each gets the problem
    in its own unit: SQPnP looks straight at the face through a longer lens, where a small face
    is nearly the same face farther away; Levenberg-Marquardt then solves the true problem, with
    residuals in thousandths of the face.

    Args:
        points: (68, 2) fractions of the image, y down.
        focal: in image widths.
        aspect: height over width of the image.

    Returns:
        (3, 3) and (3,): camera = rotation @ head + translation, in a frame with x to the right,
        y up and z towards the viewer, the camera at the origin looking along -z.

    Raises:
        numpy.linalg.LinAlgError: no pose in front of the camera explains the landmarks.
    """
    import cv2

    if not np.isfinite(points).all():
        raise np.linalg.LinAlgError("a landmark is not finite")
    head = TEMPLATE[RIGID] * _FLIP
    image = (points[RIGID] - 0.5) * [1.0, aspect] / focal
    rays = np.column_stack([image, np.ones(len(image))])
    ahead = _turn_ahead(rays.mean(axis=0))  # a virtual camera that looks at the face
    centred = rays @ ahead.T
    centred = centred[:, :2] / centred[:, 2:]
    spread = float(np.sqrt(centred.var(axis=0).sum()))
    if not spread > 1e-9:
        raise np.linalg.LinAlgError("the landmarks span no face")
    longer = max(1.0, SPREAD / spread)
    unit = 1000 / spread
    try:
        _, turn, shift = cv2.solvePnP(
            head, centred * longer, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP
        )
        turn = cv2.Rodrigues(ahead.T @ cv2.Rodrigues(turn)[0])[0]
        shift = ahead.T @ (np.ravel(shift) * [1.0, 1.0, longer])
        turn, shift = cv2.solvePnPRefineLM(
            head,
            image * unit,
            np.diag([unit, unit, 1.0]),
            None,
            turn,
            shift[:, None],
            criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12),
        )
        rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    except cv2.error as error:
        raise np.linalg.LinAlgError(f"OpenCV finds no pose: {error}") from None
    rotation = _FLIP[:, None] * rotation * _FLIP
    translation = np.asarray(shift, np.float64).ravel() * _FLIP
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all() and translation[2] < 0):
        raise np.linalg.LinAlgError("no pose in front of the camera explains the landmarks")
    return rotation, translation


def _turn_ahead(direction: Array) -> Array:
    """The least rotation that turns a direction to +z, the way OpenCV's camera looks."""
    import cv2

    across = np.array([direction[1], -direction[0], 0.0])
    sine = float(np.linalg.norm(across))
    if not sine > 0:
        return np.eye(3)
    angle = np.arctan2(sine, direction[2])
    return np.asarray(cv2.Rodrigues(across / sine * angle)[0], np.float64)


SPREAD = 0.1  # of normalised points; SQPnP refuses those of a variance of some 1e-5
_FLIP = np.array([1.0, -1.0, -1.0])  # OpenCV's camera has y down and z away from the viewer


def euler_angles(rotation: Array) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of R = R_z(roll) R_x(pitch) R_y(yaw), signs as in POSE."""
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    pitch = np.arcsin(np.clip(-rotation[2, 1], -1, 1))
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    yaw, pitch, roll = np.degrees([yaw, pitch, roll])
    return float(yaw), float(pitch), float(-roll)


def to_front(
    points: Array, rotation: Array, translation: Array, focal: float, aspect: float = 1.0
) -> Array:
    """Landmarks as seen from the front, at the depths of the template.

    With image point u and head point X = (x, y, z), z known: u_i (r_3 X + t_3) = -(r_i X + t_i),
    two linear equations for x and y.

    Returns:
        (68, 2) millimetres in the template's frame, x to the right, y up.
    """
    image = (points - 0.5) * [1.0, -aspect] / focal  # y up; camera looks along -z
    depth = TEMPLATE[:, 2]
    rows = rotation[:2] + image[:, :, None] * rotation[2]  # (68, 2, 3)
    constant = rows[:, :, 2] * depth[:, None] + translation[:2] + image * translation[2]
    return np.linalg.solve(rows[:, :, :2], -constant[:, :, None])[:, :, 0]


def mouth_open(face: Array) -> float:
    """Gap between the lips: the mean of the inner and the outer one."""
    inner = face[61:64, 1] - face[[67, 66, 65], 1]
    outer = face[50:53, 1] - face[[58, 57, 56], 1]
    return float((inner.mean() + outer.mean()) / 2)


def smile(face: Array) -> float:
    """Height of the mouth's corners over the middle of the lips, plus a quarter of its width."""
    corners = face[[48, 54, 60, 64], 1].mean()
    middle = face[[50, 51, 52, 56, 57, 58, 61, 62, 63, 65, 66, 67], 1].mean()
    return float(corners - middle + 0.25 * mouth_width(face))


def mouth_width(face: Array) -> float:
    """Distance between the mouth's corners."""
    return float(face[54, 0] - face[48, 0])


def eye_closed(face: Array) -> float:
    """Minus the opening of the eyes, for eyes of average width.

    Source: the eye aspect ratio of Soukupova & Cech (2016), Real-Time Eye Blink Detection using
    Facial Landmarks, equation (1), times the template's width of 28 mm.
    """
    height = (face[[37, 38, 43, 44], 1] - face[[41, 40, 47, 46], 1]).mean()
    width = (face[39, 0] - face[36, 0] + face[45, 0] - face[42, 0]) / 2
    return float(-28.0 * height / max(width, 1.0))


def brow_raise(face: Array) -> float:
    """Height of the brows' middle over the bridge and the inner eye corners."""
    return float(face[[19, 20, 23, 24], 1].mean() - face[[27, 39, 42], 1].mean())


def brow_gap(face: Array) -> float:
    """Distance between the inner ends of the brows; a frown narrows it."""
    return float(face[22, 0] - face[21, 0])


def eye_distance(face: Array) -> float:
    """Distance between the centres of the eyes."""
    return float(face[42:48, 0].mean() - face[36:42, 0].mean())


def nose_length(face: Array) -> float:
    """From the bridge between the eyes to the base of the nose."""
    return float(face[27, 1] - face[33, 1])


def nose_width(face: Array) -> float:
    """Between the wings of the nose."""
    return float(face[35, 0] - face[31, 0])


def face_width(face: Array) -> float:
    """Width of the face's outline at the height of the nose."""
    return float(face[[14, 15], 0].mean() - face[[1, 2], 0].mean())


def jaw_width(face: Array) -> float:
    """Width of the face's outline at the height of the mouth."""
    return float(face[[11, 12], 0].mean() - face[[4, 5], 0].mean())


def chin_length(face: Array) -> float:
    """From the lower lip to the chin."""
    return float(face[57, 1] - face[8, 1])


POSE = {
    "yaw": "the head's turn; positive turns the face to the right of the image",
    "pitch": "the head's nod; positive looks up",
    "roll": "the head's tilt; positive turns clockwise in the image",
}
MM = "mm"  # of a head with average distances between brows, nose and eye corners
# name: (function of the frontal face (68, 2) in millimetres, unit, one sentence)
ATTRIBUTES: dict[str, tuple[Callable[[Array], float], str, str]] = {
    "mouth_open": (mouth_open, MM, "gap between the lips, the mean of the inner and the outer one"),
    "smile": (smile, MM, "height of the mouth's corners, plus a quarter of its width"),
    "eye_closed": (eye_closed, MM, "minus the opening of the eyes, for eyes of average width"),
    "brow_raise": (brow_raise, MM, "height of the brows over the bridge and the inner eye corners"),
    "brow_gap": (brow_gap, MM, "distance between the inner ends of the brows"),
    "mouth_width": (mouth_width, MM, "distance between the mouth's corners"),
    "eye_distance": (eye_distance, MM, "distance between the centres of the eyes"),
    "nose_length": (nose_length, MM, "from the bridge to the base of the nose"),
    "nose_width": (nose_width, MM, "distance between the wings of the nose"),
    "face_width": (face_width, MM, "width of the outline at the height of the nose"),
    "jaw_width": (jaw_width, MM, "width of the outline at the height of the mouth"),
    "chin_length": (chin_length, MM, "from the lower lip to the chin"),
}
