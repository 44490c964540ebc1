"""Tables and geometry behind the extractor `mediapipe`: names, iBUG points, views, the camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import Column
from mining.extractors.geometry import POSE

Array = NDArray[np.float64]
MESH = 468  # points of the face mesh; those from 468 on are the irises
MESH_AND_IRISES = 478
FRACTION = "fraction of the image"
FIELD_OF_VIEW = 63.0  # degrees from top to bottom of the camera that MediaPipe assumes

# centimetres: the mean of the canonical face's points, in the model's own geometry file
CANONICAL_MIDDLE = np.array([0.0, -0.676, 4.159])

# The model's 52 in its own order. `neutral` is 0 on every face (at most 1.4e-5 on 240 heads), so a
# direction mined for it is one of rounding. left and right are the face's own, so left is on the
# right of the image.
BLENDSHAPES = tuple(
    (
        "neutral brow_down_left brow_down_right brow_inner_up brow_outer_up_left "
        "brow_outer_up_right cheek_puff cheek_squint_left cheek_squint_right eye_blink_left "
        "eye_blink_right eye_look_down_left eye_look_down_right eye_look_in_left "
        "eye_look_in_right eye_look_out_left eye_look_out_right eye_look_up_left "
        "eye_look_up_right eye_squint_left eye_squint_right eye_wide_left eye_wide_right "
        "jaw_forward jaw_left jaw_open jaw_right mouth_close mouth_dimple_left "
        "mouth_dimple_right mouth_frown_left mouth_frown_right mouth_funnel mouth_left "
        "mouth_lower_down_left mouth_lower_down_right mouth_press_left mouth_press_right "
        "mouth_pucker mouth_right mouth_roll_lower mouth_roll_upper mouth_shrug_lower "
        "mouth_shrug_upper mouth_smile_left mouth_smile_right mouth_stretch_left "
        "mouth_stretch_right mouth_upper_up_left mouth_upper_up_right nose_sneer_left "
        "nose_sneer_right"
    ).split()
)


def category(blendshape: str) -> str:
    """The model's own name of a blendshape: jaw_open -> jawOpen, neutral -> _neutral."""
    if blendshape == "neutral":
        return "_neutral"
    first, *rest = blendshape.split("_")
    return first + "".join(word.capitalize() for word in rest)


CATEGORIES = {name: category(name) for name in BLENDSHAPES}
TRANSLATION = {
    "translation_x": "to the right",
    "translation_y": "upwards",
    "translation_z": "towards the viewer, so it is below 0",
}


def columns(points: int) -> dict[str, Column]:
    """What the extractor fills, with 468 or 478 landmarks."""
    irises = "" if points == MESH else "; the last ten are the irises, the first 468 the mesh"
    box = "left, top, right, bottom of the mesh; it may reach over the image's edges"
    depth = "z of the landmarks in the unit of x, smaller is nearer, 0 is inside the head"
    retries = "copies of the image looked at before one showed the face; 0 is the image itself"
    where = "from the camera to the middle of the face's points, for a face of average size"
    return {
        "landmarks": Column((points, 2), FRACTION, f"x, y of MediaPipe's points, y down{irises}"),
        "depth": Column((points,), "fraction of the image's width", depth),
        "landmarks_68": Column((68, 2), FRACTION, "x, y of the 68 iBUG landmarks on the mesh"),
        "box": Column((4,), FRACTION, box),
        "faces": Column((), "faces", "how many faces were found, up to max_faces", "int32"),
        "retries": Column((), "copies", retries, "int32"),
        **{name: Column((), "degrees", text) for name, text in POSE.items()},
        **{name: Column((), "cm", f"{way}, {where}") for name, way in TRANSLATION.items()},
        **{
            name: Column((), "1", f"blendshape {category}, 0 to 1; left and right are the face's")
            for name, category in CATEGORIES.items()
        },
    }


# Where the 68 iBUG points lie on the mesh: one of its points, or a share of the way from one to
# another. Source: our own. Eyes, lips and brows are points of MediaPipe's published contours
# (FaceLandmarksConnections). Where several come into question, it is the one that lies nearest
# to the true points of 240 procedural heads and to what dlib, trained on iBUG 300-W, finds there:
# the inner lips' 82 lies 0.013 and 0.024 distances between the eyes' outer corners away, 81,
# which other tables name, 0.068 and 0.066.
#
# The outline: iBUG's nine points from the eye's height to the chin lie equally far apart, as they
# do in face_template.py, so they divide MediaPipe's oval from 127 to 152 into eight equal
# lengths, measured from the front on the canonical face in the model's file. On turned heads
# iBUG's outline follows what can be seen of the cheek, while these points stay where they are on
# the head: at a yaw of 18 to 30 degrees they lie 0.09 away on the far side, 0.07 on the near one.
Place = tuple[int, int, float]  # from, to, share
_OUTLINE: list[Place] = [
    (127, 127, 0.0),
    (234, 93, 0.17),
    (93, 132, 0.29),
    (132, 58, 0.34),
    (58, 172, 0.41),
    (172, 136, 0.80),
    (150, 149, 0.41),
    (176, 148, 0.36),
]
_CHIN: Place = (152, 152, 0.0)
_OTHER_SIDE = {
    127: 356,
    234: 454,
    93: 323,
    132: 361,
    58: 288,
    172: 397,
    136: 365,
    150: 379,
    149: 378,
    176: 400,
    148: 377,
}
_BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
_NOSE: list[Place] = [(168, 168, 0.0), (6, 197, 0.5), (195, 195, 0.0), (4, 4, 0.0)]
_NOSTRILS = [240, 99, 2, 328, 460]
_EYES = [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
_LIPS_OUTER = [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181]
_LIPS_INNER = [78, 82, 13, 312, 308, 317, 14, 87]


def _places() -> list[Place]:
    far = [(_OTHER_SIDE[a], _OTHER_SIDE[b], share) for a, b, share in reversed(_OUTLINE)]
    rest = [(k, k, 0.0) for k in [*_NOSTRILS, *_EYES, *_LIPS_OUTER, *_LIPS_INNER]]
    return [*_OUTLINE, _CHIN, *far, *((k, k, 0.0) for k in _BROWS), *_NOSE, *rest]


IBUG_PLACES = _places()
_FROM, _TO, _SHARE = (np.array(column) for column in zip(*IBUG_PLACES, strict=True))


def ibug_68(points: Array) -> Array:
    """The 68 iBUG points of a face mesh, (468 or 478, D) -> (68, D)."""
    return points[_FROM] + _SHARE[:, None] * (points[_TO] - points[_FROM])


@dataclass(frozen=True)
class View:
    """A rectangle of an image, in whole pixels; it may reach over the image's edges."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3): that part of the image, black beside it."""
        rows, columns = image.shape[:2]
        part = np.zeros((self.height, self.width, 3), np.uint8)
        top, bottom = max(self.top, 0), min(self.top + self.height, rows)
        left, right = max(self.left, 0), min(self.left + self.width, columns)
        part[top - self.top : bottom - self.top, left - self.left : right - self.left] = image[
            top:bottom, left:right
        ]
        return part

    def in_image(self, points: Array, height: int, width: int) -> Array:
        """x, y and z in widths and heights of the view -> those of the image it was cut from.

        Args:
            points: (K, 3); z is in widths, as x is.
        """
        size, image = np.array([self.width, self.height]), np.array([width, height])
        flat = (points[:, :2] * size + [self.left, self.top]) / image
        return np.column_stack([flat, points[:, 2] * self.width / width])


def views(height: int, width: int) -> list[View]:
    """The whole image, then the copies on which a face that is missed there is looked for.

    First with wider and wider margins, for faces that fill the image; then nine parts of 0.7 and
    nine of 0.5 of its edges, the middle first, for small ones and those turned far away.
    """
    found = [View(0, 0, width, height)]
    for margin in (0.25, 0.5, 1.0):
        dx, dy = round(width * margin), round(height * margin)
        found.append(View(-dx, -dy, width + 2 * dx, height + 2 * dy))
    for share in (0.7, 0.5):
        w, h = max(1, round(width * share)), max(1, round(height * share))
        lefts, tops = ((width - w) // 2, 0, width - w), ((height - h) // 2, 0, height - h)
        found += [View(left, top, w, h) for top in tops for left in lefts]
    return found


def around(face: Array) -> list[View]:
    """Two squares around a face, (K, 2) in pixels, on which it is looked for once more."""
    low, high = face.min(axis=0), face.max(axis=0)
    left, top = (low + high) / 2
    edges = [max(1, round(float((high - low).max()) * times)) for times in (1.6, 2.2)]
    return [View(round(left - edge / 2), round(top - edge / 2), edge, edge) for edge in edges]


def numbers(face: Any) -> NDArray[np.float64]:
    """MediaPipe's landmarks as (K, 3)."""
    return np.array([(point.x, point.y, point.z) for point in face], np.float64)


def same_face(one: Array, other: Array) -> bool:
    """Whether two meshes, (K, 2) in pixels, lie within a tenth of the first one's diagonal."""
    apart = np.linalg.norm(one[:MESH] - other[:MESH], axis=1).mean()
    return bool(apart < 0.1 * np.linalg.norm(np.ptp(one, axis=0)))


def in_camera(
    matrix: Array, mesh: Array, view: View, height: int, width: int, focal: float
) -> tuple[Array, Array]:
    """MediaPipe's pose, as a camera sees it that looks at the whole image.

    MediaPipe puts the mesh in front of a camera with a field of view of 63 degrees that looks at
    the middle of what it was given, (u, v, z) -> (u d, -v d, -d) with d = 1 + z - mean z in focal
    lengths, and fits the canonical face to that. Beside the middle this shears the mesh, and the
    pose turns with it: by 5 degrees of yaw at a ray of 21. So its rotation R is followed by
    the one that fits the sheared mesh to the mesh itself, K, and by the one that turns the axis
    of the other camera to the ray on which the face is seen, Q: R' = Q K R. The face stays as
    large in pixels.

    Args:
        matrix: (4, 4) canonical face -> camera, in centimetres.
        mesh: (468 or more, 3) in widths and heights of the view, which is what MediaPipe saw.
        height, width: of the image in pixels.
        focal: of the camera that looks at the image, in image widths.

    Returns:
        (3, 3) rotation and (3,) place of the mesh's middle in centimetres, in a frame with x to
        the right, y up and z towards the viewer.
    """
    rotation = matrix[:3, :3]
    given = view.height / (2 * np.tan(np.radians(FIELD_OF_VIEW / 2)))  # focal length, pixels
    pixels = (mesh[:MESH] - [0.5, 0.5, 0.0]) * [view.width, view.height, view.width]
    flat = pixels * [1.0, -1.0, -1.0]
    away = 1 - (flat[:, 2] - flat[:, 2].mean()) / given
    sheared = np.column_stack([flat[:, :2] / given * away[:, None], -away])
    distance = -(matrix[2, 3] + rotation[2] @ CANONICAL_MIDDLE)
    x, y = flat[:, :2].mean(axis=0)
    x += view.left + (view.width - width) / 2
    y -= view.top + (view.height - height) / 2
    ray = np.array([x / (focal * width), y / (focal * width), -1.0])
    ahead = np.array([0.0, 0.0, -1.0])
    turned = _turn(ahead, ray) @ _rotation(sheared, flat) @ rotation
    return turned, ray * distance * focal * width / given


def _rotation(start: Array, end: Array) -> Array:
    """The rotation of points (K, 3) that brings them nearest to others, up to scale and shift.

    Source: Umeyama (1991), doi:10.1109/34.88573, equations (40)-(43).
    """
    left, _, right = np.linalg.svd((end - end.mean(axis=0)).T @ (start - start.mean(axis=0)))
    return left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right


def _turn(start: Array, end: Array) -> Array:
    """The least rotation between two directions that are less than 180 degrees apart."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(a, b)
    across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + across + across @ across / (1 + a @ b)
