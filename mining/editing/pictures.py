"""Strips and frames of edited images, with what is said of each written below it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Images = NDArray[np.uint8]

GAP = 4  # pixels between pictures
PAPER, INK, PALE = 255, (32, 32, 32), (110, 110, 110)
LARGEST = 100_000_000  # pixels of one picture: 300 MB
FONTS = (9, 20)  # the smallest and the largest letters, in pixels


def strip(images: Images, captions: Sequence[Sequence[str]], titles: Sequence[str]) -> Images:
    """One picture: a row for each latent, a column for each frame.

    Args:
        images: (R, C, H, W, 3) RGB.
        captions: R x C texts, drawn below the images; lines are separated by "\\n".
        titles: R texts, each drawn above its row; "" for none.

    Returns:
        (height, width, 3) RGB.

    Raises:
        InputError: the images are not (R, C, H, W, 3) uint8, the texts do not pair up with them,
            or the picture would be larger than LARGEST pixels.
    """
    _check(images, captions, titles)
    rows, columns, high, wide = images.shape[:4]
    size = letter_size(wide)
    above = _line(size) if any(titles) else 0
    lines = max((text.count("\n") + 1 for row in captions for text in row if text), default=0)
    cell_high, cell_wide = above + high + lines * _line(size) + GAP, wide + GAP
    height, width = rows * cell_high + GAP, columns * cell_wide + GAP
    if height * width > LARGEST:
        raise InputError(
            f"pictures: {rows} rows of {columns} images of {wide} pixels make {width} x {height}, "
            f"more than {LARGEST:,} pixels; ask for fewer, or for smaller ones with --size."
        )
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    for row in range(rows):
        top = GAP + row * cell_high
        _write(sheet, titles[row], GAP, top, width - 2 * GAP, size, INK)
        for column in range(columns):
            left, at = GAP + column * cell_wide, top + above
            sheet[at : at + high, left : left + wide] = images[row, column]
            for place, text in enumerate(captions[row][column].split("\n")):
                below = at + high + place * _line(size)
                _write(sheet, text, left, below, wide, size, PALE)
    return sheet


def frames(
    images: Images, captions: Sequence[Sequence[str]], titles: Sequence[str], across: int = 0
) -> Images:
    """(C, height, width, 3): each column of the strip as a picture of its own.

    Args:
        images, captions, titles: as `strip`.
        across: images side by side; the number that makes it nearly square for 0.
    """
    _check(images, captions, titles)
    count = len(images)
    across = across or int(np.ceil(np.sqrt(count)))
    told = [[_joined(titles[r], text) for text in captions[r]] for r in range(count)]
    lines = max(text.count("\n") for row in told for text in row)
    made = []
    for column in range(images.shape[1]):
        sheet = []
        for first in range(0, count, across):
            some = images[first : first + across, column]
            empty = np.full((across - len(some), *some.shape[1:]), PAPER, np.uint8)
            texts = [row[column] for row in told[first : first + across]] + [""] * len(empty)
            texts[0] += "\n" * (lines - texts[0].count("\n"))  # all frames are equally high
            sheet.append(strip(np.concatenate([some, empty])[None], [texts], [""])[GAP:])
        bare = np.full((GAP, sheet[0].shape[1], 3), PAPER, np.uint8)
        made.append(np.concatenate([bare, *sheet]))
    return np.stack(made)


def there_and_back(pictures: Images) -> Images:
    """Frames that end where they begin: forward, then backward."""
    return np.concatenate([pictures, pictures[-2:0:-1]])


def encode(picture: Images, extension: str) -> bytes:
    """A picture (H, W, 3) RGB as the bytes of a .png or .jpg file."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, 93] if extension != ".png" else []
    done, data = cv2.imencode(extension, np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise InputError(f"pictures: OpenCV could not write {picture.shape} as {extension}.")
    return data.tobytes()


def letter_size(wide: int) -> int:
    """Pixels of the letters below an image that is `wide` pixels wide."""
    return int(np.clip(wide // 12, *FONTS))


def _joined(title: str, caption: str) -> str:
    return "\n".join(filter(None, (title, caption)))


def _line(size: int) -> int:
    return round(1.5 * size)


def _write(
    sheet: Images, text: str, left: int, top: int, wide: int, size: int, ink: tuple[int, int, int]
) -> None:
    """Write one line, in smaller letters where it would be wider than `wide` pixels."""
    import cv2

    if not text:
        return
    font, text = _font(), _printable(text)

    def measured(size: int) -> int:
        return cv2.getTextSize((wide, _line(size)), text, (0, 0), font, size)[2]

    while size > 6 and measured(size) > wide:
        size -= 1
    while len(text) > 4 and measured(size) > wide:
        text = text[:-4] + "..."
    cv2.putText(sheet, text, (left, top + round(1.1 * size)), ink, font, size)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@cache
def _font() -> Any:
    import cv2

    return cv2.FontFace("sans")  # comes with OpenCV


def _check(images: Images, captions: Sequence[Sequence[str]], titles: Sequence[str]) -> None:
    shaped = images.ndim == 5 and images.shape[-1] == 3 and images.dtype == np.uint8
    if not shaped or not images.size:
        raise InputError(
            f"pictures: {images.shape} {images.dtype} came; expected (R, C, H, W, 3) uint8."
        )
    told = [len(row) for row in captions]
    if told != [images.shape[1]] * len(images) or len(titles) != len(images):
        raise InputError(
            f"pictures: {len(images)} rows of {images.shape[1]} images, but {len(titles)} titles "
            f"and captions for {told}; expected one each."
        )
