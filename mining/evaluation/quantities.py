"""Which columns of different backends mean the same quantity.

Columns of one name are one quantity. Where backends call it differently, a line of QUANTITIES says
how each of its names is read; to add one, add its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mining.extractors.registry import unmarked

Reading = tuple[str, ...]  # the mean of these columns; a name with a minus counts negatively

# quantity -> its readings; of each backend the first that it has columns for is taken
QUANTITIES: Mapping[str, tuple[Reading, ...]] = {
    "mouth_open": (("mouth_open",), ("jaw_open",), ("mouth_slightly_open",)),
    "smile": (("smile",), ("mouth_smile_left", "mouth_smile_right"), ("smiling",)),
    "eye_closed": (("eye_closed",), ("eye_blink_left", "eye_blink_right")),
    "brow_raise": (("brow_raise",), ("brow_inner_up",)),
    "frown": (("frown",), ("brow_down_left", "brow_down_right"), ("-brow_gap",)),
    "pucker": (("pucker",), ("mouth_pucker",)),
    # a face's own left eye looks out to the image's right
    "gaze_x": (
        ("gaze_x",),
        ("eye_look_out_left", "eye_look_in_right", "-eye_look_in_left", "-eye_look_out_right"),
    ),
    "gaze_y": (
        ("gaze_y",),
        ("eye_look_up_left", "eye_look_up_right", "-eye_look_down_left", "-eye_look_down_right"),
    ),
    "eye_distance": (("eye_distance",), ("eye_spacing",)),
    "male": (("male",), ("-female",), ("gender",)),
    "age": (("age",), ("-young",)),
    "glasses": (("glasses",), ("eyeglasses",)),
    "beard": (("beard",), ("-no_beard",)),
}
# what only says how sure a backend is of itself: the same name, but another thing in each
PRIVATE = frozenset({"score", "confidence", "error", "residual"})
# a head turns about its neck: the face that a detector sees moves sideways with yaw and roll, and
# up and down with pitch
CARRIED = {"yaw": "translation_x", "pitch": "translation_y", "roll": "translation_x"}
# the truth's columns carry no unit; by the signs and units of `Truth`, these are angles
TRUE_UNITS = {"yaw": "degrees", "pitch": "degrees", "roll": "degrees"}
# backends that see faces through another, unless their option `source` names one
READS = {"geometry": "dlib", "shape3d": "dlib", "deca": "dlib"}
# of them, those that read the picture itself, where the other's landmarks say to crop it: a point
# that is off moves their crop and not their numbers, but they fail and slip with it
CROPPED = frozenset({"deca"})


def readings(columns: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Reading]]:
    """Quantity -> source -> how it is read there, for every quantity that any source has.

    Args:
        columns: source -> the names of its scalars, without the source's prefix.
    """
    found: dict[str, dict[str, Reading]] = {}
    for source, names in columns.items():
        present = set(names) - PRIVATE
        for quantity, ways in QUANTITIES.items():
            for way in ways:
                if {name.removeprefix("-") for name in way} <= present:
                    found.setdefault(quantity, {})[source] = way
                    break
        for name in names:
            if name in present and name not in QUANTITIES:
                found.setdefault(name, {})[source] = (name,)
    return found


def meanings(attributes: Iterable[str]) -> dict[str, frozenset[str]]:
    """Attribute -> the quantities that it tells of; two that share one are no rivals.

    Of each attribute these are its name, the name without a backend's prefix (mouth_open for
    shape3d_mouth_open), the quantities that one of their readings finds in it, and the turns that
    carry it.

    Args:
        attributes: as a run names them: columns, those of a second backend with its prefix.
    """
    read = {
        quantity: {name.removeprefix("-") for way in ways for name in way}
        for quantity, ways in QUANTITIES.items()
    }
    names = list(attributes)
    known = {
        *names,
        *CARRIED,
        *CARRIED.values(),
        *(name for ways in read.values() for name in ways),
    }
    known -= PRIVATE
    found = {}
    for name in names:
        bare = {other for other in known if f"_{name}".endswith(f"_{other}")}
        quantities = {quantity for quantity, ways in read.items() if bare & ways}
        turns = {turn for turn, moved in CARRIED.items() if moved in bare}
        found[name] = frozenset({name} | bare | quantities | turns)
    return found


def root_of(load: str, name: str, options: Mapping[str, Any]) -> str:
    """Through which backend another sees faces; its own name where it looks by itself.

    Args:
        load: its name in the settings, with a mark or without: "shape3d@mesh".
        name: that its columns begin with, such as mesh3d.
    """
    kind = unmarked(load)
    return str(options.get("source", READS[kind])) if kind in READS else name


def said(reading: Reading) -> str:
    """A reading in words: "jaw_open", "mean of a and -b"."""
    return reading[0] if len(reading) == 1 else f"mean of {', '.join(reading)}"
