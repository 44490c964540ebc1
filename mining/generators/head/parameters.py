"""The parameters of the head: names, rows of W+, units, ranges, and how they hang together.

Signs: yaw > 0 turns the face to the image's right, pitch > 0 makes it look up, roll > 0 leans it
clockwise in the image. gaze_x > 0 looks to the image's right, gaze_y > 0 up. shift_x > 0 moves the
head right, shift_y > 0 up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mining.generators.base import Floats
from mining.generators.head.curves import sigmoid

LAYERS = ("pose", "identity", "expression", "colour", "age", "scene")


@dataclass(frozen=True)
class Parameter:
    """One knob. value = low + (high - low) sigmoid(slope * logit + offset)."""

    name: str
    layer: str
    low: float = -1.0
    high: float = 1.0
    slope: float = 1.5
    offset: float = 0.0
    unit: str = "1"


def _pose() -> list[Parameter]:
    return [
        Parameter("yaw", "pose", -30, 30, 1.35, unit="degrees"),
        Parameter("pitch", "pose", -20, 20, 1.65, unit="degrees"),
        Parameter("roll", "pose", -10, 10, 2.3, unit="degrees"),
        Parameter("shift_x", "pose", -10, 10, unit="mm"),
        Parameter("shift_y", "pose", -8, 8, unit="mm"),
        Parameter("scale", "pose", 0.9, 1.1),
    ]


IDENTITY_NAMES = (
    "face_width face_length jaw_width chin_width chin_projection forehead_height cheekbone "
    "cheek_fat nose_length nose_width nose_height nose_tip nose_bridge eye_spacing eye_size "
    "eye_slant eye_depth lid_shape brow_height brow_ridge mouth_width lip_upper lip_lower "
    "mouth_height nose_bend mouth_tilt brow_tilt"
).split()


def _expression() -> list[Parameter]:
    return [
        Parameter("smile", "expression", -0.35, 1.0),
        Parameter("mouth_open", "expression", 0.0, 1.0, 1.9, -1.0),
        Parameter("eye_closed", "expression", -0.10, 1.02, 1.7, -1.2),
        Parameter("brow_raise", "expression", -0.5, 1.0, 1.5, -0.6),
        Parameter("frown", "expression", -0.1, 1.0, 1.7, -1.3),
        Parameter("pucker", "expression", 0.0, 1.0, 2.0, -2.2),
        Parameter("gaze_x", "expression"),
        Parameter("gaze_y", "expression"),
    ]


def _colour() -> list[Parameter]:
    plain = "lip_red brow_thickness brow_dark hair_dark iris_hue hair_fringe hair_length".split()
    return [
        Parameter("skin_tone", "colour", 0.06, 1.0, 1.7, 0.35),
        Parameter("skin_red", "colour", -0.5, 1.0, 1.8),
        *(Parameter(name, "colour", 0.0, 1.0, 2.1) for name in plain),
        Parameter("hair_red", "colour", -0.3, 1.0, 1.5, -0.8),
        Parameter("hair_volume", "colour"),
        Parameter("hair_curl", "colour", 0.0, 1.0, 2.2, -1.2),
        Parameter("hair_parting", "colour"),
        Parameter("freckles", "colour", 0.0, 1.0, 2.0, -1.5),
    ]


def _age() -> list[Parameter]:
    return [
        Parameter("age", "age", 0.0, 1.0, 1.9),
        Parameter("wrinkles", "age", 0.0, 1.0, 2.0, -1.8),
        Parameter("grey", "age", 0.0, 1.0, 2.3, -2.3),
        Parameter("hairline", "age", 0.0, 1.0, 2.0, -1.3),
        Parameter("beard", "age", 0.0, 1.0, 2.5, -1.8),
        Parameter("glasses", "age", 0.0, 1.0, 8.0, -6.0),
        Parameter("make_up", "age", 0.0, 1.0, 2.0),
    ]


def _scene() -> list[Parameter]:
    return [
        Parameter("light_azimuth", "scene", -40, 40, unit="degrees"),
        Parameter("light_elevation", "scene", 0, 46, unit="degrees"),
        Parameter("light_ambient", "scene", 0.37, 0.65),
        Parameter("background_hue", "scene", 0.0, 1.0),
        Parameter("background_value", "scene", 0.0, 1.0),
        Parameter("clothing", "scene", 0.0, 1.0),
    ]


PARAMETERS: tuple[Parameter, ...] = (
    *_pose(),
    *(Parameter(name, "identity", slope=1.6) for name in IDENTITY_NAMES),
    *_expression(),
    *_colour(),
    *_age(),
    *_scene(),
)
NAMES = tuple(p.name for p in PARAMETERS)
UNITS = tuple(p.unit for p in PARAMETERS)
ROWS = tuple(LAYERS.index(p.layer) for p in PARAMETERS)

# child: (parent, sign). The logit of a child is e * sign * parent + sqrt(1 - e^2) * its own part,
# with e the setting `entanglement`; a parent stands before its children here.
ENTANGLED = {
    "grey": ("age", 1.0),
    "wrinkles": ("age", 1.0),
    "beard": ("jaw_width", 1.0),
    "hair_length": ("beard", -1.0),
    "make_up": ("hair_length", 1.0),
    "lip_red": ("make_up", 1.0),
    "eye_closed": ("smile", 1.0),
    "cheek_fat": ("face_width", 1.0),
    "hair_dark": ("skin_tone", -1.0),
}


def entangling_matrix(entanglement: float) -> np.ndarray:
    """(P, P) float64 L: independent unit logits u become L u, each again of unit variance."""
    matrix = np.eye(len(NAMES))
    for child, (parent, sign) in ENTANGLED.items():
        row = NAMES.index(child)
        own = np.sqrt(1.0 - entanglement**2)
        matrix[row] = entanglement * sign * matrix[NAMES.index(parent)]
        matrix[row, row] = own
    return matrix


def _column(field: str) -> np.ndarray:
    return np.array([getattr(p, field) for p in PARAMETERS], np.float64)


LOW, HIGH, SLOPE, OFFSET = (_column(f) for f in ("low", "high", "slope", "offset"))


def squash(logits: np.ndarray) -> np.ndarray:
    """(..., P) logits to values in their units."""
    return LOW + (HIGH - LOW) * sigmoid(SLOPE * logits + OFFSET)


def unsquash(name: str, value: float) -> float:
    """The logit at which parameter `name` has `value`, kept inside the open range."""
    p = PARAMETERS[NAMES.index(name)]
    share = np.clip((value - p.low) / (p.high - p.low), 1e-6, 1 - 1e-6)
    return float((np.log(share / (1 - share)) - p.offset) / p.slope)


def as_dict(values: Floats | np.ndarray) -> dict[str, float]:
    """One (P,) row by name, as plain floats, so that float32 arrays stay float32."""
    return dict(zip(NAMES, values.tolist(), strict=True))
