"""Eyes drawn per pixel in template millimetres: eyeball, iris, lids, lashes, crease."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mining.generators.head import palette
from mining.generators.head.curves import Array, mix, smoothstep
from mining.generators.head.template import EYE_HALF_WIDTH, EYE_X, lid_curves

LASH_GROWTH = 2.2  # a shut eye's lash line is this much thicker: dlib reads thin ones as open
GAZE_REACH = (4.6, 3.0)  # millimetres that the iris moves at gaze +-1, across and up
LID_FOLLOWS = 0.10  # closure by which the upper lid sinks with a lowered gaze, as on people
IRIS_RADIUS, PUPIL_RADIUS = 5.8, 2.2

Values = dict[str, float]


@dataclass(frozen=True)
class EyePixels:
    """The K pixels around both eyes, mirrored onto one."""

    across: Array  # (K,) |x| in millimetres
    up: Array  # (K,) y
    side: Array  # (K,) sign of x
    along: Array  # (K,) -1 at the inner corner, 1 at the outer
    width: Array  # (K,) 1 between the corners, 0 beyond
    upper: Array  # (K,) height of the upper lid
    lower: Array  # (K,) height of the lower lid
    rest: Array  # (K,) height of the upper lid of a wide open eye
    closed: float  # the lids' closure
    shut: float  # the same, but 0 for an eye opened wide

    @property
    def visible(self) -> Array:
        """(K,) 1 where the eyeball shows between the lids."""
        soft = 0.35
        above = smoothstep(-soft, soft, self.up - self.lower)
        return smoothstep(-soft, soft, self.upper - self.up) * above * self.width


def draw_eyes(
    colour: Array, gloss: Array, x: Array, y: Array, azimuth: Array, grain: Array, values: Values
) -> None:
    """Paint both eyes onto (3, F) colour and take the gloss off the eyeballs, in place."""
    near = (np.abs(np.abs(x) - EYE_X) < 19) & (np.abs(y - 39) < 12) & (np.abs(azimuth) < 1.26)
    pixels = np.flatnonzero(near)
    if not len(pixels):
        return
    eye = _eye_pixels(x[pixels], y[pixels], values)
    painted = colour[:, pixels]
    _lid(painted, eye, values)
    painted = mix(painted, _eyeball(eye, grain[pixels], values), eye.visible)
    _lashes(painted, eye, values)
    colour[:, pixels] = painted
    gloss[pixels] *= 1 - 0.6 * eye.visible


def _eye_pixels(x: Array, y: Array, values: Values) -> EyePixels:
    across = np.abs(x)
    closed = values["eye_closed"]
    closed -= LID_FOLLOWS * values["gaze_y"] * (1 - max(closed, 0.0))
    upper, lower = lid_curves(across, closed, values["lid_shape"])
    return EyePixels(
        across=across,
        up=y,
        side=np.sign(x),
        along=(across - EYE_X) / EYE_HALF_WIDTH,
        width=smoothstep(EYE_HALF_WIDTH + 0.6, EYE_HALF_WIDTH - 0.6, np.abs(across - EYE_X)),
        upper=upper,
        lower=lower,
        rest=lid_curves(across, -0.12, values["lid_shape"])[0],
        closed=closed,
        shut=max(closed, 0.0),
    )


def _eyeball(eye: EyePixels, grain: Array, values: Values) -> Array:
    """(3, K) sclera, iris, pupil and the light's reflection."""
    centre_x = EYE_X - 0.6 + eye.side * values["gaze_x"] * GAZE_REACH[0]
    centre_y = 38.4 + values["gaze_y"] * GAZE_REACH[1]
    radius = np.hypot(eye.across - centre_x, eye.up - centre_y)
    under_lid = smoothstep(3.0, 0.0, eye.upper - eye.up)
    white = palette.linear(214, 206, 202) * (0.62 + 0.38 * values["skin_tone"])
    sclera = white[:, None] * (1 - 0.38 * eye.along * eye.along) * (1 - 0.55 * under_lid)
    corner = palette.linear(190, 120, 112)[:, None]
    sclera = mix(sclera, corner, smoothstep(-0.86, -0.97, eye.along))

    hue = palette.ramp(palette.IRIS, values["iris_hue"])[:, None]
    rays = 0.75 + 0.5 * smoothstep(5.4, 2.5, radius) + 0.1 * grain
    iris = hue * rays * (1 - 0.75 * smoothstep(4.7, IRIS_RADIUS + 0.1, radius))
    iris = iris * smoothstep(PUPIL_RADIUS - 0.3, PUPIL_RADIUS + 0.3, radius) + 0.004
    iris = iris * (1 - 0.35 * under_lid)
    ball = mix(sclera, iris, smoothstep(IRIS_RADIUS + 0.3, IRIS_RADIUS - 0.3, radius))
    dx, dy = (eye.across - centre_x) * eye.side + 1.9, eye.up - centre_y - 2.0
    return ball + 0.85 * np.exp(-(dx * dx + dy * dy) / 0.9)


def _lid(painted: Array, eye: EyePixels, values: Values) -> None:
    """The crease above the eye, the darker skin of a lowered lid, and eye shadow."""
    above_rest = eye.up - eye.rest - 2.6
    crease = np.exp(-((above_rest - 0.8 * (1 - eye.closed)) ** 2)) * eye.width
    painted *= 1 - 0.28 * (1 - 0.8 * eye.shut) * crease
    above = eye.up - eye.upper
    lowered = smoothstep(0, 1.5, above) * smoothstep(1, -2.5, above_rest) * eye.width
    covered = smoothstep(0, 1, above) * smoothstep(0, 1.2, eye.rest + 2.8 - eye.up) * eye.width
    shadow = 0.10 + 0.45 * values["make_up"]
    for channel, (own, paint) in zip(painted, ((0.19, 0.8), (0.25, 1.0), (0.26, 1.0)), strict=True):
        channel *= (1 - own * eye.shut * lowered) * (1 - paint * shadow * covered)


def _lashes(painted: Array, eye: EyePixels, values: Values) -> None:
    """A dark line along the upper lid that thickens as the eye shuts, a faint one below."""
    thick = (1.5 + 0.45 * eye.along) * (0.8 + 0.5 * values["make_up"])
    thick = np.maximum(thick * (1 + LASH_GROWTH * eye.shut), 0.35)
    off = np.abs(eye.up - eye.upper - 0.25 + 0.4 * LASH_GROWTH * eye.shut) / thick
    painted *= 1 - 0.98 * np.exp(-(off**2.5)) * eye.width
    below = 0.5 * np.exp(-(((eye.up - eye.lower + 0.1) / 0.6) ** 2)) * eye.width
    painted *= 1 - (0.5 + 0.6 * eye.closed) * below
