"""One head to one image: geometry, raster, colour, light, backdrop, glasses, pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mining.generators.head import extras, palette
from mining.generators.head.camera import Camera, pose_matrix, rotate
from mining.generators.head.curves import Array, bell, fade, fractal_noise, mix, smoothstep
from mining.generators.head.hair import shell_colours
from mining.generators.head.identity import FACE_WIDTH
from mining.generators.head.lighting import FAR, Surface, shade
from mining.generators.head.model import HeadModel, head_model, visible_jaw
from mining.generators.head.raster import (
    Fragments,
    grid_normals,
    grid_triangles,
    nearest_parts,
    rasterise,
)
from mining.generators.head.skin import Skin, head_colours
from mining.generators.head.texture import head_atlas

Values = dict[str, float]


@dataclass(frozen=True)
class Part:
    """One grid in the camera frame, ready to draw."""

    kind: str  # head, ear, neck, cloth or hair
    own: Array  # (3, rows, columns) before posing
    posed: Array  # (3, rows, columns) in the camera frame
    flipped: bool  # rows run downwards, so triangles turn the other way


@dataclass(frozen=True)
class Rendered:
    """An image and the truth about its 68 landmarks."""

    image: NDArray[np.uint8]  # (resolution, resolution, 3) RGB
    landmarks_2d: NDArray[np.float32]  # (68, 2) fractions of the image
    landmarks_3d: NDArray[np.float32]  # (68, 3) millimetres in the camera frame


def assemble(model: HeadModel, values: Values, camera: Camera) -> list[Part]:
    """Every grid of this head, posed. The neck turns by part, the shoulders not at all."""
    head = model.vertices(values)
    parts = [Part("head", head, camera.pose(head), False)]
    for side in (-1, 1):
        ear = extras.ear(side, values)
        parts.append(Part("ear", ear, camera.pose(ear), side > 0))
    neck = extras.neck(values)
    turn = pose_matrix(0.45 * values["yaw"], 0.3 * values["pitch"], 0.5 * values["roll"])
    turned = rotate(neck, turn, extras.NECK_PIVOT)
    neck_posed = mix(neck, turned, smoothstep(-120, -40, neck[1]))
    parts.append(Part("neck", neck, camera.place(neck_posed.astype(np.float32)), True))
    cloth = extras.shoulders()
    parts.append(Part("cloth", cloth, camera.place(cloth), True))
    hair = extras.hair_shell(values)
    parts.append(Part("hair", hair, camera.pose(hair), True))
    return parts


def _draw(part: Part, camera: Camera) -> tuple[Array, Fragments, Array]:
    """The part's screen positions, its fragments and their depths."""
    screen = camera.project(part.posed).astype(np.float32)
    _, rows, columns = part.own.shape
    triangles = grid_triangles(rows, columns, part.flipped)
    fragments = rasterise(screen.reshape(3, -1), triangles, camera.size)
    return screen, fragments, fragments.interpolate(screen[2])


def _head_surface(model: HeadModel, f: Fragments, values: Values) -> tuple[Array, Array, Array]:
    """Colour, gloss and openness of the head's fragments."""
    rows, columns = model.sheet.x.shape
    row, column = np.divmod(f.corners, columns)
    at_row = (row * f.weights).sum(0).astype(np.float32)
    at_column = (column * f.weights).sum(0).astype(np.float32)
    masks = head_atlas().sample(at_column, at_row)
    x, y, azimuth = (f.interpolate(field) for field in _sheet_coordinates())
    skin = Skin(x, y, azimuth, masks)
    colour, gloss = head_colours(skin, values)
    return colour, gloss, masks["open"]


@lru_cache(maxsize=1)
def _sheet_coordinates() -> tuple[Array, Array, Array]:
    sheet = head_model().sheet
    x, y, azimuth = (a.astype(np.float32) for a in (sheet.x, sheet.y, sheet.azimuth))
    return x, y, azimuth


def _other_surface(part: Part, f: Fragments, values: Values) -> tuple[Array, Array, Array]:
    """Colour, gloss and openness of ears, neck, cloth and the hair's shell."""
    count = len(f.pixel)
    ones = np.ones(count, np.float32)
    skin = palette.skin_colour(values)[:, None]
    if part.kind == "ear":
        from_centre = (f.corners // part.own.shape[2] * f.weights).sum(0) / (part.own.shape[1] - 1)
        shell = 1 - 0.5 * bell(from_centre.astype(np.float32), 0.42, 0.16)
        return skin * np.array([[1.02], [0.90], [0.88]], np.float32) * ones, 0.10 * ones, shell
    if part.kind == "neck":
        return skin * np.float32(0.97) * ones, 0.12 * ones, ones
    if part.kind == "cloth":
        return palette.cloth_colour(values)[:, None] * ones, 0.02 * ones, ones
    x, y, z = (f.interpolate(part.own[i]) for i in range(3))
    azimuth = np.arctan2(x, -(z + 92.0))
    colour = shell_colours(y, azimuth, values)
    return colour, 0.05 * ones, ones


@lru_cache(maxsize=8)
def _backdrop(size: int) -> Array:
    """(size, size) brightness: lighter above, with soft blotches."""
    fall = np.linspace(1.1, 0.8, size, dtype=np.float32)[:, None]
    return fall * (1 + 0.10 * fractal_noise((size, size), np.random.default_rng(3), 3, 2))


def _vertices_normal(part: Part, fragments: Fragments) -> Array:
    normals = grid_normals(part.posed.astype(np.float32), part.flipped)
    n = np.stack([fragments.interpolate(component) for component in normals])
    return n / (np.sqrt((n * n).sum(0)) + np.float32(1e-9))


def _lit_scene(
    model: HeadModel, parts: list[Part], drawn: list[Fragments], values: Values, camera: Camera
) -> tuple[Array, Array]:
    """(3, size * size) radiance in front of the backdrop, and the (size, size) depth."""
    size = camera.size
    depth = np.full(size * size, FAR, np.float32)
    pieces = []
    for part, fragments in zip(parts, drawn, strict=True):
        if not len(fragments.pixel):
            continue
        depth[fragments.pixel] = fragments.interpolate(part.posed[2].astype(np.float32))
        surface = (
            _head_surface(model, fragments, values)
            if part.kind == "head"
            else _other_surface(part, fragments, values)
        )
        pieces.append((fragments.pixel, _vertices_normal(part, fragments), *surface))
    surface = Surface(*(np.concatenate(column, axis=-1) for column in zip(*pieces, strict=True)))
    depth = depth.reshape(size, size)
    radiance = shade(surface, depth, values, camera.pixels_per_mm)
    scene = palette.background_colour(values)[:, None] * _backdrop(size).reshape(-1)
    scene[:, surface.pixel] = radiance
    return scene, depth


def _draw_glasses(scene: Array, depth: Array, values: Values, camera: Camera) -> Array:
    """Lay the frame, its shadow and the lenses' tint over (3, size, size) radiance."""
    worn = fade(0.3, 0.5, values["glasses"])
    if worn < 0.01:
        return scene
    size, scale = camera.size, camera.size / 256.0
    width = np.float32(1 + FACE_WIDTH * values["face_width"])
    frame = np.zeros(size * size, np.float32)
    for ribbon in extras.glasses_ribbons():
        own = ribbon * np.array([width, 1, 1], np.float32)[:, None, None]
        screen = camera.project(camera.pose(own)).astype(np.float32).reshape(3, -1)
        for flipped in (False, True):
            found = rasterise(screen, grid_triangles(2, ribbon.shape[2], flipped), size)
            seen = found.interpolate(screen[2]) > depth.reshape(-1)[found.pixel] - 1
            frame[found.pixel[seen]] = 1.0
    frame = frame.reshape(size, size)
    shadow = cv2.GaussianBlur(np.roll(frame, int(2.5 * scale), 0), (0, 0), 1.3 * scale)
    scene = scene * (1 - 0.35 * worn * shadow * (1 - frame))
    tone = np.linspace(1.5, 1.0, size, dtype=np.float32)[:, None]
    dark, horn = palette.linear(22, 22, 24), palette.linear(90, 50, 25)
    plastic = mix(dark, horn, values["clothing"])[:, None, None] * tone
    scene = mix(scene, plastic, frame * worn)
    glass = np.zeros((size, size), np.float32)
    for lens in extras.lenses():
        own = lens * np.array([width, 1, 1], np.float32)[:, None]
        outline = camera.project(camera.pose(own))[:2].T
        cv2.fillPoly(glass, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return scene * (1 - 0.06 * worn * glass) + 0.012 * worn * glass


def _soften_edges(image: Array, depth: Array) -> Array:
    """Blend a little blur in along the silhouettes, where one sample per pixel leaves stairs."""
    step = cv2.dilate(depth, np.ones((3, 3), np.uint8)) - cv2.erode(
        depth, np.ones((3, 3), np.uint8)
    )
    edge = cv2.GaussianBlur((step > 12).astype(np.float32), (0, 0), 0.8)[..., None]
    return mix(image, cv2.GaussianBlur(image, (0, 0), 0.9), np.clip(edge, 0, 1))


def develop(scene: Array, depth: Array, resolution: int) -> NDArray[np.uint8]:
    """(3, S, S) radiance to (resolution, resolution, 3) bytes: soft shoulder, gamma 2.2, resize."""
    light = np.ascontiguousarray(np.clip(scene, 0, None).transpose(1, 2, 0))
    light = light * (1 + 0.12 * light) / (1 + 0.22 * light)
    image = np.clip(light, 0, 1) ** np.float32(1 / 2.2)
    image = _soften_edges(image, depth)
    if image.shape[0] != resolution:
        image = cv2.resize(image, (resolution, resolution), interpolation=cv2.INTER_AREA)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def render(values: Values, resolution: int, supersampling: float) -> Rendered:
    """Draw one head and measure its true landmarks."""
    model = head_model()
    size = int(round(resolution * supersampling))
    camera = Camera(values, size)
    parts = assemble(model, values, camera)
    drawings = [_draw(part, camera) for part in parts]
    visible = nearest_parts([(f, z) for _, f, z in drawings], size)
    scene, depth = _lit_scene(model, parts, visible, values, camera)
    scene = _draw_glasses(scene.reshape(3, size, size), depth, values, camera)
    image = develop(scene, depth, resolution)

    closed = values["eye_closed"]
    posed = model.landmarks(parts[0].posed, closed)
    facing = grid_normals(parts[0].posed, False)[2]
    pixels = visible_jaw(
        camera.project(posed)[:2],
        drawings[0][0],
        facing,
        parts[0].own[1],
        model.landmark_grid(closed),
        values["roll"],
    )
    return Rendered(
        image=image,
        landmarks_2d=((pixels.T + 0.5) / size).astype(np.float32),
        landmarks_3d=posed.T.astype(np.float32),
    )
