"""Generators of the published architectures: from a checkpoint, or with random weights.

make_generator("stylegan2", checkpoint="ffhq.pkl", precision="released")
make_generator("stylegan2", random={"img_resolution": 64, "seed": 0})
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mining.generators.base import Floats
from mining.generators.networks.base import Noise, Precision
from mining.generators.torch_generator import Conditions, TorchGenerator
from schemas.errors import InputError
from schemas.registry import Registry, load

if TYPE_CHECKING:
    from mining.generators.checkpoints.base import Checkpoint
    from mining.generators.networks.base import Network

NETWORKS: Registry = {
    "stylegan2": ("mining.generators.networks.stylegan2:StyleGan2", ""),
    "stylegan3": ("mining.generators.networks.stylegan3:StyleGan3", ""),
    "eg3d": ("mining.generators.networks.eg3d:Eg3d", ""),
}
FILTERS = ("up_filter", "down_filter")  # of StyleGAN3
RANDOM_LICENCE = "none: random weights"
SAMPLES = 4096  # of z, behind the mean of w of a network with random weights
DEFAULTS = {"z_dim": 512, "c_dim": 0, "w_dim": 512, "img_channels": 3, "seed": 0}
COUNTS = {"z_dim": 0, "c_dim": 0, "w_dim": 1, "img_resolution": 1, "img_channels": 1}  # at least
MOST = 1 << 16  # of each of them


def stylegan2(
    checkpoint: str | None = None,
    sha256: str | None = None,
    random: dict[str, Any] | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    noise: Noise = "fixed",
    compile: str | None = None,
    label: int | None = None,
) -> TorchGenerator:
    """StyleGAN2 or StyleGAN2-ADA.

    Args:
        checkpoint: a path, a URL or a known name; see mining/generators/checkpoints.
        sha256: of the checkpoint's file, refused where it differs.
        random: the network's arguments with a "seed", for random weights in place of a checkpoint.
        device, precision, noise, compile: see `TorchGenerator`.
        label: the class of every image, for conditional networks; None draws classes evenly.

    Raises:
        InputError: the file, an argument or the label does not fit.
    """
    network, content, licence = loaded("stylegan2", checkpoint, sha256, random)
    return TorchGenerator(
        "stylegan2",
        network,
        licence,
        {**content, "label": label},
        conditions=classes(network.c_dim, label),
        device=device,
        precision=precision,
        noise=noise,
        compile=compile,
        fingerprint_tells_all=True,
    )


def stylegan3(
    checkpoint: str | None = None,
    sha256: str | None = None,
    random: dict[str, Any] | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    compile: str | None = None,
    label: int | None = None,
    rotation: float = 0.0,
    translation: tuple[float, float] = (0.0, 0.0),
) -> TorchGenerator:
    """StyleGAN3-T or -R.

    Args:
        rotation: of every image about its centre, in degrees, counter-clockwise.
        translation: of every image afterwards, to the right and down, in image widths.
        checkpoint, sha256, random, device, precision, compile, label: as for `stylegan2`.

    Raises:
        InputError: the file, an argument or the label does not fit.
    """
    network, content, licence = loaded("stylegan3", checkpoint, sha256, random)
    moved: dict[str, Any] = {}
    if not all(map(math.isfinite, (rotation, *translation))):
        raise InputError(
            f"generator 'stylegan3': rotation {rotation} and translation {translation} came; "
            "expected finite numbers."
        )
    if rotation or any(translation):
        from mining.generators.networks.fourier import image_transform

        moved["transform"] = image_transform(rotation, *translation)
    return TorchGenerator(
        "stylegan3",
        network,
        licence,
        {**content, "label": label, "rotation": rotation, "translation": list(translation)},
        conditions=classes(network.c_dim, label),
        device=device,
        precision=precision,
        compile=compile,
        fingerprint_tells_all=True,
        render_options=moved,
    )


def loaded(
    architecture: str,
    checkpoint: str | None,
    sha256: str | None,
    random: Mapping[str, Any] | None,
    conditions: Conditions | None = None,
) -> tuple[Network, dict[str, Any], str]:
    """A network with its weights, what decides its images, and its licence.

    Raises:
        InputError: none or both of checkpoint and random came, or the weights are of another
            architecture.
    """
    if (checkpoint is None) == (random is None):
        came = "neither came" if checkpoint is None else "both came"
        raise InputError(
            f"generator {architecture!r} needs the option 'checkpoint' (a file, URL or known name) "
            f"or 'random' (arguments for random weights); {came}. Null takes one back."
        )
    if random is not None:
        network = random_network(architecture, random, conditions)
        content = {"architecture": architecture, "random": {**DEFAULTS, **random}}
        return network, content, RANDOM_LICENCE
    from mining.generators.checkpoints import read_checkpoint

    assert checkpoint is not None  # one of both came
    found: Checkpoint = read_checkpoint(checkpoint, sha256=sha256)
    if found.architecture != architecture:
        raise InputError(
            f"generator {architecture!r}: {checkpoint} holds a {found.architecture}; expected "
            f"{architecture}. Set generator.name to {found.architecture}."
        )
    return network_of(found), {"weights": found.sha256}, found.licence


def make_network(architecture: str, config: Mapping[str, Any]) -> Any:
    """The network of these arguments, with the weights that it starts from.

    Raises:
        InputError: the arguments do not fit the architecture.
    """
    network = load("architecture", architecture, NETWORKS)
    for name, least in COUNTS.items():
        count = config.get(name, least)
        if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= MOST:
            raise InputError(
                f"{architecture}: {name} is {count!r:.40}; expected a whole number from {least} "
                f"to {MOST}."
            )
    try:
        return network(**config)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{architecture}: the network cannot be made with the arguments "
            f"{json.dumps(config, default=str)[:300]}: {str(error).partition(chr(10))[0]}"
        ) from None


def network_of(checkpoint: Checkpoint) -> Any:
    """The network with a checkpoint's weights.

    It is laid out without memory first, so that a file's arguments cost nothing before its
    tensors are known to fit them.

    Raises:
        InputError: tensors are missing, unknown, or of another shape than the arguments say.
    """
    import torch

    with torch.device("meta"):
        network = make_network(checkpoint.architecture, checkpoint.config)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    came = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    wrong = [name for name in wanted if came.get(name) != wanted[name]]
    wrong += [name for name in came if name not in wanted]
    if wrong:
        name = wrong[0]
        raise InputError(
            f"checkpoint {checkpoint.source}: tensor {name!r} has shape {came.get(name)}, its "
            f"{checkpoint.architecture} needs {wanted.get(name)} ({len(wrong)} tensors disagree)."
        )
    floats = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    for name, own in network.state_dict().items():
        if name.endswith(FILTERS):  # made from the arguments, and only checked against the file
            if not torch.allclose(own, floats[name], atol=1e-5):
                raise InputError(
                    f"checkpoint {checkpoint.source}: its filter {name!r} is not the one of its "
                    "arguments; it was made by a program that is not known here."
                )
            floats[name] = own
    network.load_state_dict(floats, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def random_network(
    architecture: str, settings: Mapping[str, Any], conditions: Conditions | None = None
) -> Any:
    """A network with random weights, and the mean of w that belongs to them.

    Args:
        settings: the network's arguments, and "seed".
        conditions: draws those over which the mean is taken; classes, evenly, where it is None.
    """
    import torch

    config = {**DEFAULTS, **settings}
    seed = config.pop("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise InputError(f"{architecture}: random.seed is {seed!r}; expected a whole number >= 0.")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = make_network(architecture, config).eval().requires_grad_(False)
        z = torch.randn(SAMPLES, network.z_dim)
        draw = conditions or classes(network.c_dim)
        drawn = draw(SAMPLES, np.random.default_rng(seed)) if draw else None
        w = network.map(z, None if drawn is None else torch.from_numpy(drawn))
        network.w_avg.copy_(w.mean(dim=0))
    return network


def classes(c_dim: int, label: int | None = None) -> Conditions | None:
    """Draws one-hot rows; None for networks without a condition.

    Raises:
        InputError: the label is outside the network's classes.
    """
    if label is not None and not 0 <= label < c_dim:
        known = f"0..{c_dim - 1}" if c_dim else "none: the network has no classes"
        raise InputError(f"label {label} came; expected {known}.")
    if not c_dim:
        return None

    def draw(count: int, rng: np.random.Generator) -> Floats:
        # drawn in either case, so that a fixed label leaves the rest of the stream where it is
        drawn = rng.integers(c_dim, size=count)
        return np.eye(c_dim, dtype=np.float32)[drawn if label is None else np.full(count, label)]

    return draw
