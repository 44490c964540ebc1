"""What other tools read: the shapes, spaces and places of their direction files.

Facts from the tools' own code; `read_at` names the commit that was read.

- interfacegan: .npy (1, D) of norm 1, in Z or W; its edit.py asserts that shape. On codes (N, D) it
  goes to code + (d - code . b) b, so that d is the distance from the boundary b; on codes
  (N, num_ws, D) to w+ + d b.
- e4e: .pt, a plain tensor (1, D) or (1, num_ws, D), w+ + factor * direction. PTI does the same.
- stylegan3-editing: .npy float32 (1, D), w+ + factor * direction; (1, num_ws, D) broadcasts alike.
- ganspace: .npz of components (K, 1, D) of W, means (1, D) and stdevs (K,); rows start to end get
  sigma * stdev * component.
- ganspace as .pt: a dict comp (K, 1, D), mean (1, D), std (K,), which e4e and PTI read; rows start
  to end get (strength - coordinate of w - mean) * std * comp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown

FORMATS = ("npy", "pt", "safetensors", "ganspace", "json", "bundle")
SCALES = ("unit", "sigma", "calibration")
MOST_ROWS = 64  # of W+; StyleGAN's have 18 at most


@dataclass(frozen=True)
class Layout:
    """One tool's files."""

    tool: str
    formats: tuple[str, ...]
    spaces: tuple[str, ...]
    place: str  # where a file goes and how it is named to the tool
    read_at: str  # the code that says so


LAYOUTS = {
    "interfacegan": Layout(
        "InterFaceGAN",
        ("npy",),
        ("z", "w"),
        "anywhere; python edit.py -m MODEL -b FILE.npy -s Z (or W) -n 10 -o OUT. In the notebook, "
        "boundaries/<MODEL>_<attribute>_boundary.npy for Z and <MODEL>_<attribute>_w_boundary.npy "
        "for W.",
        "github.com/genforce/interfacegan 8da3fc0, edit.py and utils/manipulator.py",
    ),
    "e4e": Layout(
        "encoder4editing and PTI",
        ("pt",),
        ("w", "w+"),
        "editings/interfacegan_directions/<name>.pt, beside age.pt and smile.pt, then "
        "LatentEditor.apply_interfacegan(latents, torch.load(FILE), factor); PTI's wrapper takes "
        "the three paths interfacegan_age, _smile and _rotation of configs/paths_config.py.",
        "github.com/omertov/encoder4editing 99ea505, editings/latent_editor.py; "
        "github.com/danielroich/PTI da94d59, scripts/latent_editor_wrapper.py",
    ),
    "stylegan3-editing": Layout(
        "stylegan3-editing",
        ("npy",),
        ("w", "w+"),
        "editing/interfacegan/boundaries/ffhq/<name>_boundary.npy (ffhqu for unaligned), named "
        "in interfacegan_aligned_edit_paths of configs/paths_config.py: age, smile, pose or Male.",
        "github.com/yuval-alaluf/stylegan3-editing 36ce2b4, editing/interfacegan/face_editor.py",
    ),
    "ganspace": Layout(
        "GANSpace",
        ("ganspace", "pt"),
        ("w", "w+"),
        "the .npz replaces cache/components/<model>-<class>_<layer>_ipca_c<K>_n<N>_w.npz, run with "
        "--use_w, -c K, -n N and --layer style (g_mapping for StyleGAN); the .pt replaces "
        "editings/ganspace_pca/ffhq_pca.pt of encoder4editing and PTI.",
        "github.com/harskish/ganspace 5a704c4, decomposition.py compute, visualize.py, "
        "interactive.py; github.com/omertov/encoder4editing 99ea505, editings/ganspace.py",
    ),
}


def check_layout(cards: Sequence[DirectionCard], form: str, layout: str | None, scale: str) -> None:
    """Refuse what a tool would not read or would take for something else.

    Raises:
        InputError: the format, layout or scale is unknown, or they and the cards do not go
            together.
    """
    for kind, name, known in (("format", form, FORMATS), ("scale", scale, SCALES)):
        if name not in known:
            raise unknown(kind, name, known)
    if layout is not None and layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if form == "ganspace" and layout is None:
        layout = "ganspace"
    if layout is None:
        return
    tool = LAYOUTS[layout]
    if form not in tool.formats:
        raise InputError(
            f"export: {tool.tool} does not read {form}; expected --format "
            f"{' or '.join(tool.formats)} with --layout {layout}."
        )
    for card in cards:
        if card.space not in tool.spaces:
            raise InputError(
                f"export: {_name(card)} lies in {card.space}, {tool.tool} edits "
                f"{' and '.join(tool.spaces)}; choose others by --space, or another format."
            )
    if layout in ("interfacegan", "ganspace") and scale != "unit":
        raise InputError(
            f"export: {tool.tool} expects directions of norm 1 and steps by itself; leave --scale "
            "out."
        )


def laid_out(
    card: DirectionCard, scale: str = "unit", rows: int | None = None, flat: bool = False
) -> NDArray[np.float32]:
    """A card's vector as a tool adds it: scaled, tied to rows of W+, still where layers stay.

    Args:
        scale: "unit" for norm 1, "sigma" for one natural step, "calibration" for one unit of the
            attribute.
        rows: how many rows of W+ a vector of W is repeated to; None leaves it one row.
        flat: the file says by itself which layers move.

    Returns:
        (D,) or (num_ws, D). With scale "unit" the vector's own float32 values; rows outside the
        card's layers are zero.

    Raises:
        InputError: an artefact came, the scale was not measured, or the rows do not fit.
    """
    if card.artefact:
        raise InputError(
            f"export: {_name(card)} is a {card.artefact.kind} and no single vector; expected "
            "--format bundle, which holds its file, or json."
        )
    vector = np.asarray(card.vector, np.float32)
    if scale != "unit":
        vector = _scaled(card, vector, scale)
    if rows is not None:
        vector = _tied(card, vector, rows)
    if not card.layers or (flat and vector.ndim == 1):
        return vector
    if vector.ndim == 1:
        raise InputError(
            f"export: {_name(card)} moves only layers {' '.join(map(str, card.layers))}, one row "
            "would move all; add --rows with the rows of the generator's W+ (18 at 1024 pixels)."
        )
    return np.where(np.isin(np.arange(len(vector)), card.layers)[:, None], vector, np.float32(0))


def step_of(card: DirectionCard, scale: str) -> float:
    """How many steps of norm 1 the scale means.

    Raises:
        InputError: it was not measured for this card.
    """
    if scale == "unit":
        return 1.0
    if scale == "sigma":
        found = card.sigma
    else:
        found = card.calibration.step if card.calibration else float("nan")
    if not np.isfinite(found) or found == 0:
        raise InputError(
            f"export: the {scale} of {_name(card)} was not measured; expected --scale unit, which "
            "every card has."
        )
    return found


def _scaled(card: DirectionCard, vector: NDArray[np.float32], scale: str) -> NDArray[np.float32]:
    step = step_of(card, scale)
    with np.errstate(over="ignore", under="ignore"):
        scaled = (vector * np.float64(step)).astype(np.float32)
    if not np.isfinite(scaled).all() or (vector.any() and not scaled.any()):
        raise InputError(
            f"export: the {scale} of {_name(card)} is {step:g}, beyond what float32 holds; "
            "expected --scale unit."
        )
    return scaled


def _tied(card: DirectionCard, vector: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    if not 1 <= rows <= MOST_ROWS:
        raise InputError(f"export: --rows {rows}; expected 1 to {MOST_ROWS}.")
    if card.space not in ("w", "w+"):
        raise InputError(f"export: {_name(card)} lies in {card.space} and has no rows of W+.")
    if vector.ndim == 2 and len(vector) != rows:
        raise InputError(f"export: {_name(card)} has {len(vector)} rows, --rows asks for {rows}.")
    if any(layer >= rows for layer in card.layers):
        raise InputError(
            f"export: {_name(card)} moves layers {' '.join(map(str, card.layers))}, --rows {rows} "
            f"has 0 to {rows - 1}."
        )
    return vector if vector.ndim == 2 else np.tile(vector, (rows, 1))


def _name(card: DirectionCard) -> str:
    return f"{card.attribute!r} by {card.method!r} ({card.direction_id[:10]})"
