"""A GAN of one's own in one file: the torch module, then the class that lets LatentLode mine it.

Copy it, put your module in place of `Gan`, and name it in the settings as `own_gan:OwnGan`, its
folder on PYTHONPATH. `brightness.py` beside it measures what this one draws.
"""

import hashlib

import numpy as np
import torch
from torch import nn

DIM = 16


class Gan(nn.Module):
    """z (N, 16) -> images (N, 3, 64, 64) in -1..1: a soft disc, black around it.

    Seeded and not trained, so that the direction of each of its numbers is known: the rows of
    `layout.weight`, which are x, y, radius, red, green and blue.
    """

    def __init__(self):
        super().__init__()
        self.layout = nn.Linear(DIM, 6)
        nn.init.orthogonal_(self.layout.weight)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x, y, radius, *colour = self.layout(z).T[..., None, None]
        ticks = torch.linspace(-1, 1, 64)
        distance = torch.hypot(ticks - 0.25 * x, ticks[:, None] - 0.25 * y)
        disc = torch.sigmoid(24 * (0.3 + 0.05 * radius - distance))
        return 2 * disc[:, None] * torch.sigmoid(1 + torch.stack(colour, dim=1)) - 1


class OwnGan:
    """What `mining/generators/base.py` asks for; this GAN has no mapping, so its w is z."""

    name, licence = "own_gan", "Apache-2.0"
    z_dim, w_dim, c_dim, resolution = DIM, DIM, 0, 64
    num_ws, layer_names, spaces = 1, ("layout",), ("z", "w")

    def __init__(self, seed: int = 0):
        # where weights are trained, take `path: str` instead of a seed, and in these lines' place:
        # self.gan = Gan().eval(); self.gan.load_state_dict(torch.load(path, map_location="cpu"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gan = Gan().eval()

    def fingerprint(self) -> str:
        # raise the version with any change of code that changes an image
        weights = b"".join(tensor.numpy().tobytes() for tensor in self.gan.state_dict().values())
        return hashlib.sha256(b"own_gan, version 1" + weights).hexdigest()

    def mean_w(self) -> np.ndarray:
        return np.zeros(DIM, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> np.ndarray:
        return np.float32(psi) * z

    def broadcast(self, w) -> np.ndarray:
        return w[:, None]

    @torch.inference_mode()
    def synthesize(self, w_plus, condition=None) -> np.ndarray:
        images = self.gan(torch.from_numpy(w_plus[:, 0]))
        return (127.5 * images + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
