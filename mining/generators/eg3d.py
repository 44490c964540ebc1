"""EG3D behind the generator protocol: its condition is a camera, which sets the pose."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from mining.generators.camera import (
    FFHQ,
    Orbit,
    PosePrior,
    camera_angles,
    camera_labels,
    sample_angles,
    turned_labels,
)
from mining.generators.networks.base import Noise, Precision
from mining.generators.pretrained import loaded
from mining.generators.torch_generator import Conditions, TorchGenerator
from schemas.errors import InputError

CAMERA = 25  # numbers of a condition


class CameraGenerator(TorchGenerator):
    """EG3D with its weights: what `TorchGenerator` offers, and poses, depth and density."""

    orbit: Orbit = FFHQ

    def pose(self, condition: Floats) -> Floats:
        """(N, 25) -> (N, 3) yaw, pitch and roll in degrees of a face that these cameras see."""
        return camera_angles(condition).astype(np.float32)

    def with_pose(
        self,
        condition: Floats,
        yaw: float | NDArray,
        pitch: float | NDArray,
        roll: float | NDArray,
    ) -> Floats:
        """(N, 25) cameras that see the face so, with the same lens, distance and point in view.

        Args:
            yaw, pitch, roll: degrees, one number or (N,).

        Raises:
            InputError: angles of another shape, or such as `turned_labels` refuses.
        """
        count = len(condition)
        if any(np.shape(a) not in ((), (count,)) for a in (yaw, pitch, roll)):
            shapes = ", ".join(str(np.shape(a)) for a in (yaw, pitch, roll))
            raise InputError(
                f"{self.name}: yaw, pitch and roll of shapes {shapes} came; expected one number "
                f"each, or ({count},)."
            )
        angles = np.stack([np.broadcast_to(a, count) for a in (yaw, pitch, roll)], axis=1)
        return turned_labels(condition, angles, self.orbit.pivot)

    def depth(self, w_plus: Floats, condition: Floats) -> tuple[Floats, Floats]:
        """Depth and opacity, both (N, r, r), at the neural rendering resolution r.

        Depth is the mean distance from the camera along the pixel's ray, in the volume's unit.
        """
        import torch

        from mining.generators.devices import arithmetic

        self._check("w_plus", w_plus, (self.num_ws, self.w_dim))
        self._check_condition(condition, len(w_plus))
        with torch.inference_mode(), arithmetic(self._precision):
            styles = self._network.styles(self._there(w_plus))
            view = self._eg3d.render_all(styles, self._there(condition), self._noise)
        return self._host(view.depth[:, 0]), self._host(view.opacity[:, 0])

    def density(self, w_plus: Floats, side: int) -> Floats:
        """(N, side, side, side) raw densities by x, y, z; the release cuts surfaces at 10.

        The cube and its axes are those of `networks.geometry.density_volume`; no camera acts here.
        """
        import torch

        from mining.generators.devices import arithmetic
        from mining.generators.networks.geometry import density_volume

        self._check("w_plus", w_plus, (self.num_ws, self.w_dim))
        with torch.inference_mode(), arithmetic(self._precision):
            styles = self._network.styles(self._there(w_plus))
            return density_volume(self._eg3d, styles, side, self._noise)

    @property
    def _eg3d(self) -> Any:
        return self._network


def eg3d(
    checkpoint: str | None = None,
    sha256: str | None = None,
    random: dict[str, Any] | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    noise: Noise = "fixed",
    compile: str | None = None,
    poses: PosePrior | None = None,
    orbit: Orbit | None = None,
) -> CameraGenerator:
    """EG3D, whose images depend on a camera beside the latent.

    Args:
        checkpoint, sha256, random, device, precision, noise, compile: as for `stylegan2`.
        poses: how the cameras of samples are spread; `PosePrior()` where it is None.
        orbit: where they stand and what they look at; that of the weights where it is None.

    Raises:
        InputError: the file or an argument does not fit.
    """
    poses = poses or PosePrior()
    if random is not None:
        random = {"c_dim": CAMERA, **random}
    draw = cameras(poses, orbit or FFHQ)
    network, content, licence = loaded("eg3d", checkpoint, sha256, random, draw)
    found: Any = network
    seen_from: Orbit = orbit or found.orbit
    made = CameraGenerator(
        "eg3d",
        network,
        licence,
        {**content, "poses": asdict(poses), "orbit": asdict(seen_from)},
        conditions=cameras(poses, seen_from),
        device=device,
        precision=precision,
        noise=noise,
        compile=compile,
        fingerprint_tells_all=True,
    )
    made.orbit = seen_from
    return made


def cameras(poses: PosePrior, orbit: Orbit) -> Conditions:
    """Draws (N, 25) labels of cameras on the orbit."""

    def draw(count: int, rng: np.random.Generator) -> Floats:
        return camera_labels(sample_angles(count, rng, poses), orbit)

    return draw
