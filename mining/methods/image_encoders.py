"""Networks that read a shape model's codes from crops of faces, differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mining.extractors.deca import LICENCE, SIZE
from mining.extractors.deca_weights import CODES, load_encoder
from mining.extractors.geometry import POSE
from mining.extractors.models import Model, find_model
from mining.methods.flame_jaw import JawShift, read_jaw
from mining.methods.image_options import WHO, EncoderOptions
from mining.methods.shape_loss import ShapePoints
from mining.shape3d.expression_names import column_names
from mining.shape3d.model import ShapeModel
from mining.shape3d.model_files import Loaded
from schemas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

JAW = "jaw_open"
STEEPEST = 1 - 1e-6  # sine of the pitch where arcsin's slope still is a number


@dataclass(frozen=True)
class ShapeEncoder:
    """Crops of faces -> yaw, pitch, roll, a jaw where there is one, expressions, identity."""

    names: tuple[str, ...]  # K, of what moves
    units: tuple[str, ...]  # K
    identities: int  # I
    jaw: bool
    size: int  # pixels of a crop
    read: Callable[[Tensor], Tensor]  # (N, 3, size, size) in -1..1 -> (N, K + I)
    model: Model  # the file

    @property
    def moving(self) -> int:
        """K."""
        return len(self.names)


def load_shape_encoder(
    options: EncoderOptions, shape: ShapeModel, identities: int, expressions: int, device: str
) -> ShapeEncoder:
    """The encoder of the options, tried on one image.

    Args:
        identities, expressions: at most so many are read; a TorchScript file gives as many
            expressions as are asked for, and the rest of what it gives is identity.

    Raises:
        InputError: the file is none, damaged or hostile, or gives other numbers than the shape
            model has coefficients.
    """
    expressions = min(expressions, len(shape.expression))
    jaw = options.kind == "deca" if options.jaw is None else options.jaw
    names, units = _columns(shape, expressions, jaw)
    if options.kind == "deca":
        identities = min(identities, len(shape.identity), CODES["shape"])
        if expressions > CODES["expression"]:
            raise InputError(
                f"{WHO}: {expressions} expressions came; DECA gives {CODES['expression']}."
            )
        model = find_model(WHO, options.file, sha256=options.sha256, licence=LICENCE)
        read = deca_codes(model, jaw, expressions, identities, device)
        return ShapeEncoder(names, units, identities, jaw, SIZE, read, model)
    return _torchscript(options, shape, names, units, jaw, device)


def _columns(
    shape: ShapeModel, expressions: int, jaw: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of what moves; expressions without a name count from 0."""
    said = shape.expression_names[:expressions]
    angles = (*POSE, JAW) if jaw else tuple(POSE)
    named = column_names(WHO, said, {*angles, "expression", "identity"})
    numbered = tuple(f"expression_{k}" for k in range(len(named), expressions))
    units = ("degrees",) * len(angles) + (shape.expression_unit,) * expressions
    return (*angles, *named, *numbered), units


def shape_points(model: Loaded, encoder: ShapeEncoder, device: str) -> ShapePoints:
    """Equation (1) at the landmarks for an encoder's codes.

    Raises:
        InputError: the encoder gives a jaw, and the shape model has none.
    """
    import torch

    expressions = encoder.moving - len(POSE) - encoder.jaw
    sparse, jaw = model.shape.landmarks(encoder.identities, expressions), None
    if encoder.jaw:
        if model.shape.name != "flame":
            raise InputError(
                f"{WHO}: a jaw came with the shape model {model.shape.name!r}; expected FLAME, "
                "which alone says how a jaw turns. Set jaw: false."
            )
        like = torch.zeros((), device=device)
        jaw = JawShift(read_jaw(WHO, model, encoder.identities, expressions), like)
    return ShapePoints(sparse, jaw=jaw, device=device)


def deca_codes(
    model: Model, jaw: bool, expressions: int, identities: int, device: str
) -> Callable[[Tensor], Tensor]:
    """DECA's coarse encoder: (N, 3, 224, 224) in -1..1 -> (N, K + I), gradients kept.

    Angles are those of `mining.extractors.deca`, the jaw its jaw_open.
    Source: Feng et al. (2021), doi:10.1145/3450626.3459936.
    """
    import torch

    from mining.generators.devices import arithmetic

    network = load_encoder(WHO, model).to(device)

    def read(crops: Tensor) -> Tensor:
        with arithmetic("float32"):
            found = network((crops.to(device) + 1) / 2)
        part = dict(zip(CODES, found.split(list(CODES.values()), dim=1), strict=True))
        moving = [euler_angles(rotation(part["pose"][:, :3]))]
        if jaw:
            moving.append(torch.rad2deg(part["pose"][:, 3:4]))
        moving += [part["expression"][:, :expressions], part["shape"][:, :identities]]
        return torch.cat(moving, dim=1)

    return read


def rotation(turn: Tensor) -> Tensor:
    """(N, 3) axis times angle a in radians -> (N, 3, 3): R = I + sin(a) K + (1 - cos(a)) K K.

    Source: Rodrigues' formula; 1 - cos(a) as 2 sin^2(a / 2), which small angles do not round off.
    """
    import torch

    angle = (turn.square().sum(dim=1) + 1e-20).sqrt()[:, None, None]  # a slope at no turn, too
    x, y, z = turn.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    half = torch.sin(angle / 2) / angle
    eye = torch.eye(3, dtype=turn.dtype, device=turn.device)
    return eye + torch.sin(angle) / angle * cross + 2 * half.square() * (cross @ cross)


def euler_angles(turned: Tensor) -> Tensor:
    """(N, 3, 3) -> (N, 3) yaw, pitch, roll in degrees, as `mining.extractors.geometry` has them."""
    import torch

    yaw = torch.atan2(-turned[:, 2, 0], turned[:, 2, 2])
    pitch = torch.asin((-turned[:, 2, 1]).clamp(-STEEPEST, STEEPEST))
    roll = torch.atan2(-turned[:, 0, 1], turned[:, 1, 1])
    return torch.rad2deg(torch.stack([yaw, pitch, -roll], dim=1))


def _torchscript(
    options: EncoderOptions,
    shape: ShapeModel,
    names: tuple[str, ...],
    units: tuple[str, ...],
    jaw: bool,
    device: str,
) -> ShapeEncoder:
    """An encoder of one's own: (N, 3, size, size) in `span` -> (N, K + I).

    A TorchScript file is a program that torch runs: give only files that you trust as you trust
    code, and their sha256 where you know it.
    """
    import torch

    from mining.editing.image_networks import feature_network

    network = feature_network(
        f"{WHO}: encoder", options.file, options.sha256, options.size, options.span, device
    )
    tried = network(torch.zeros(1, 3, options.size, options.size))
    width, least, most = tried.shape[1], len(names), len(names) + len(shape.identity)
    if not least <= width <= most:
        raise InputError(
            f"{WHO}: encoder {options.file} gives {width} numbers; expected {least} "
            f"({', '.join(names[:5])} ...) and behind them up to {len(shape.identity)} of identity "
            f"of the shape model {shape.name!r}."
        )
    model = find_model(WHO, options.file, sha256=options.sha256)
    return ShapeEncoder(names, units, width - least, jaw, options.size, network, model)
