"""Small JPEG pictures of rendered images, for strips and reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError


def jpeg(image: NDArray[np.uint8], size: int = 128, quality: int = 85) -> bytes:
    """One image as JPEG bytes, at most `size` pixels on its longer side.

    Shrinking averages over areas, so that edges do not alias; small images are not enlarged.

    Args:
        image: (H, W, 3) RGB, 0..255.
        quality: 1..100, as JPEG counts it.

    Raises:
        InputError: the image is not (H, W, 3) uint8.
    """
    import cv2

    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise InputError(f"jpeg: {image.shape} {image.dtype} came; expected (H, W, 3) uint8.")
    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale < 1:
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"jpeg: OpenCV could not encode an image of {image.shape}.")
    return encoded.tobytes()
