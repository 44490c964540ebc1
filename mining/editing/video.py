"""MP4 films (H.264) by the program that the package imageio-ffmpeg brings."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError, MissingBackendError, RunError

QUALITY = 8  # of 10, as imageio-ffmpeg counts
PAPER = 255


def check_video() -> None:
    """MissingBackendError where no film can be written."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except ImportError as error:
        raise MissingBackendError(
            "video: an .mp4 needs the package 'imageio-ffmpeg': pip install 'latentlode[video]', "
            "or write a .gif."
        ) from error
    except RuntimeError as error:  # no program for this machine
        raise MissingBackendError(f"video: {' '.join(str(error).split())}") from error


def encode_mp4(frames: NDArray[np.uint8], per_second: float = 12.5) -> bytes:
    """Frames (F, H, W, 3) as an MP4; odd edges grow by one white pixel, as H.264 wants them even.

    Raises:
        InputError: the frames are not (F, H, W, 3) uint8 with F > 0.
        MissingBackendError: imageio-ffmpeg is not installed.
        RunError: its program failed.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise InputError(
            f"video: {frames.shape} {frames.dtype} came; expected (F, H, W, 3) uint8, F > 0."
        )
    check_video()
    import imageio_ffmpeg

    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    frames = np.pad(frames, odd, constant_values=PAPER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (frames.shape[2], frames.shape[1]),
            fps=per_second,  # type: ignore[arg-type]  # its default is a whole number
            quality=QUALITY,
            macro_block_size=2,
            ffmpeg_log_level="error",
        )
        try:
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
            writer.close()
            return path.read_bytes()
        except (OSError, StopIteration) as error:
            said = " ".join(str(error).split())[:200]
            raise RunError(
                f"video: the film could not be written: {said or 'ffmpeg failed'}"
            ) from error
