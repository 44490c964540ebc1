"""Volume rendering: rays from cameras, samples along them, and what adds up on the way.

Source: Mildenhall et al. (2020), "NeRF", arXiv:2003.08934, sections 4 and 5.2; the quadrature
between samples and the sampling of Chan et al. (2022), arXiv:2112.07945, as released.

The release draws random numbers for every image it renders. Here they are an argument, `Draws`:
by default the middle of every interval, so that a latent and a camera decide the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from schemas.errors import InputError

Field = Callable[[Tensor], tuple[Tensor, Tensor]]  # (N, 3, P) -> density (N, P), colours (N, C, P)

DENSITY_SHIFT = 1.0  # density = softplus(raw - 1)
FLOOR = 0.01  # added to every weight, so that importance samples reach everywhere
TINY = 1e-5  # a bin of less probability is not divided by
CPU_CHUNK, CHUNK = 1024, 2**15  # rays at a time: what caches hold; about 3 GB of 96 samples a ray
NOTHING = 1e-30  # opacity by which depth is not divided


@dataclass(frozen=True)
class VolumeSettings:
    """How rays are sampled. Lengths are in the volume's unit."""

    box: float  # side of the cube, around the origin, that the field fills
    near: float | None  # distance of a ray's first sample; None where the ray enters the box
    far: float | None  # distance of its last; None where it leaves the box
    coarse: int  # samples spread over [near, far]
    fine: int  # samples drawn where the coarse ones found something
    disparity: bool = False  # spread evenly in 1 / distance
    white_back: bool = False  # what shines through is white, not black


def volume_settings(rendering_kwargs: Mapping[str, Any]) -> VolumeSettings:
    """The release's `rendering_kwargs`, checked.

    Raises:
        InputError: a number is missing or makes no sense, or a mode is not of any release.
    """
    given = dict(rendering_kwargs)
    names = ("box_warp", "ray_start", "ray_end", "depth_resolution")
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"eg3d: rendering_kwargs lack {', '.join(missing)}.")
    if given.get("clamp_mode", "softplus") != "softplus":
        raise InputError(f"eg3d: clamp_mode {given['clamp_mode']!r}; expected 'softplus'.")
    near, far = given["ray_start"], given["ray_end"]
    auto = near == far == "auto"
    disparity = bool(given.get("disparity_space_sampling", False))
    if not auto and not (_number(near) and _number(far) and near < far):
        raise InputError(f"eg3d: ray_start {near!r}, ray_end {far!r}; expected numbers or 'auto'.")
    if disparity and (auto or near <= 0):
        raise InputError("eg3d: disparity_space_sampling needs ray_start > 0 as a number.")
    if not (_number(given["box_warp"]) and given["box_warp"] > 0):
        raise InputError(f"eg3d: box_warp {given['box_warp']!r}; expected more than 0.")
    coarse, fine = given["depth_resolution"], given.get("depth_resolution_importance", 0)
    if coarse < (4 if fine else 2) or fine < 0:
        raise InputError(
            f"eg3d: depth_resolution {coarse} with {fine} importance samples; expected at least "
            "2, or 4 where there are importance samples."
        )
    return VolumeSettings(
        box=float(given["box_warp"]),
        near=None if auto else float(near),
        far=None if auto else float(far),
        coarse=int(coarse),
        fine=int(fine),
        disparity=disparity,
        white_back=bool(given.get("white_back", False)),
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Rays:
    """M rays of each of N cameras."""

    origins: Tensor  # (N, 3, 1)
    directions: Tensor  # (N, 3, M), of length 1

    def at(self, depths: Tensor) -> Tensor:
        """(N, M, D) distances -> (N, 3, M, D) points."""
        return self.origins[..., None] + self.directions[..., None] * depths[:, None]


def camera_rays(labels: Tensor, resolution: int) -> Rays:
    """One ray through the middle of each pixel, row by row from the image's upper left.

    d = R K^-1 (u, v, 1)' normalised, with u, v in image widths.

    Args:
        labels: (N, 25), see `mining.generators.camera`.
        resolution: pixels; M is its square.
    """
    pose, lens = labels[:, :16].unflatten(1, (4, 4)), labels[:, 16:].unflatten(1, (3, 3))
    at = (torch.arange(resolution, device=labels.device, dtype=labels.dtype) + 0.5) / resolution
    v, u = (axis.flatten() for axis in torch.meshgrid(at, at, indexing="ij"))
    y = (v - lens[:, 1, 2, None]) / lens[:, 1, 1, None]
    x = (u - lens[:, 0, 2, None] - lens[:, 0, 1, None] * y) / lens[:, 0, 0, None]
    directions = pose[:, :3, :3] @ torch.stack([x, y, torch.ones_like(x)], dim=1)
    return Rays(pose[:, :3, 3:], F.normalize(directions, dim=1))


def ray_limits(rays: Rays, settings: VolumeSettings) -> tuple[Tensor, Tensor]:
    """Distances of the first and the last sample, each (N, M, 1).

    Where they follow from the box: its entry and exit. Rays that miss it get the least and the
    greatest entry of their image's other rays, as released (there: of the whole batch's).
    """
    shape = (*rays.directions.shape[::2], 1)
    if settings.near is not None and settings.far is not None:
        like = rays.directions
        return like.new_full(shape, settings.near), like.new_full(shape, settings.far)
    half = settings.box / 2
    sides = torch.stack([(s * half - rays.origins) / rays.directions for s in (-1, 1)])
    near = sides.amin(dim=0).amax(dim=1)
    far = sides.amax(dim=0).amin(dim=1)
    hit = far > near
    inf = near.new_full((), torch.inf)  # no copy from the host, for which a GPU would wait
    first = torch.where(hit, near, inf).amin(dim=1, keepdim=True)
    last = torch.where(hit, near, -inf).amax(dim=1, keepdim=True)
    some = hit.any(dim=1, keepdim=True)
    near = torch.where(hit, near, torch.where(some, first, -torch.ones_like(first)))
    far = torch.where(hit, far, torch.where(some, last, -2 * torch.ones_like(last)))
    return near[..., None], far[..., None]


@dataclass(frozen=True)
class Draws:
    """Numbers in [0, 1) that place samples; each size may be 1 where it would repeat."""

    coarse: Tensor  # (N, M, coarse): how far into its interval each stratified sample lies
    fine: Tensor  # (N, M, fine): quantiles of the importance samples

    def part(self, rays: slice) -> Draws:
        """Those of some rays."""
        return Draws(*(t if t.shape[1] == 1 else t[:, rays] for t in (self.coarse, self.fine)))


def midpoint_draws(settings: VolumeSettings, device: torch.device) -> Draws:
    """The middle of every interval and of every quantile: nothing is left to chance."""
    coarse = torch.full((1, 1, settings.coarse), 0.5, device=device)
    fine = (torch.arange(settings.fine, device=device) + 0.5) / max(settings.fine, 1)
    return Draws(coarse, fine.expand(1, 1, -1))


def random_draws(keys: Tensor, rays: int, settings: VolumeSettings) -> Draws:
    """Uniform numbers, as the release draws them, from one seed per image.

    Every image has a generator of its own on the CPU, seeded by its row of `keys`: neither its
    place in a batch nor the machine matters.

    Args:
        keys: (N, S), such as styles.
        rays: M.
    """
    rows = keys.detach().float().cpu().numpy()
    digests = (hashlib.sha256(b"rays" + row.tobytes()).digest()[:8] for row in rows)
    sources = [torch.Generator().manual_seed(int.from_bytes(d, "big") >> 1) for d in digests]
    coarse, fine = (
        torch.stack([torch.rand(rays, size, generator=source) for source in sources])
        for size in (settings.coarse, settings.fine)
    )
    return Draws(coarse.to(keys.device), fine.to(keys.device))


def stratified_depths(
    near: Tensor, far: Tensor, settings: VolumeSettings, jitter: Tensor
) -> Tensor:
    """Distances t_k = near + (far - near) (k + u_k) / (D - 1), or the same in 1 / t.

    With D samples on D - 1 steps the last interval lies beyond `far`, as released.

    Args:
        near, far: (N, M, 1).
        jitter: u, broadcast to (N, M, D).
    """
    steps = torch.arange(settings.coarse, device=near.device, dtype=near.dtype)
    at = (steps + jitter) / (settings.coarse - 1)
    if settings.disparity:
        return 1 / ((1 - at) / near + at / far)
    return near + (far - near) * at


def interval_weights(density: Tensor, depths: Tensor) -> Tensor:
    """What each interval between samples adds to the ray's colour.

    w_i = T_i (1 - exp(-s_i d_i)), T_i = exp(-sum_{j<i} s_j d_j), with d_i the interval's length
    and s_i = softplus(mean of the raw densities at its ends - 1).
    Source: Max (1995), doi:10.1109/2945.468400; NeRF, equation 3.

    Args:
        density, depths: (N, M, D), in ascending order of depth.

    Returns:
        (N, M, D - 1); their sum is the ray's opacity.
    """
    middle = (density[..., 1:] + density[..., :-1]) / 2
    optical = F.softplus(middle - DENSITY_SHIFT) * depths.diff(dim=-1)
    before = F.pad(optical.cumsum(dim=-1)[..., :-1], (1, 0))
    return (1 - torch.exp(-optical)) * torch.exp(-before)


@torch.no_grad()
def importance_depths(depths: Tensor, weights: Tensor, quantiles: Tensor) -> Tensor:
    """Distances drawn from the smoothed weights of coarse samples, by the inverse of their CDF.

    Bins lie between the middles of the intervals. The release pairs the bin [m_j, m_j+1] with the
    weight of interval j + 1 and leaves out the last bin; so do we.
    Source: NeRF, section 5.2; the smoothing of mip-NeRF, arXiv:2103.13415.

    Args:
        depths: (N, M, D). weights: (N, M, D - 1). quantiles: broadcast to (N, M, K).

    Returns:
        (N, M, K), ascending where the quantiles are.
    """
    padded = F.pad(weights, (1, 1))
    larger = torch.maximum(padded[..., 1:], padded[..., :-1])
    smooth = (larger[..., 1:] + larger[..., :-1])[..., 1:-1] / 2 + FLOOR + TINY
    cdf = F.pad((smooth / smooth.sum(dim=-1, keepdim=True)).cumsum(dim=-1), (1, 0))
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    u = quantiles.expand(*depths.shape[:2], -1).contiguous()
    above = torch.searchsorted(cdf, u, right=True)
    low, high = above - 1, above.clamp(max=cdf.shape[-1] - 1)
    start, stop = cdf.gather(-1, low), cdf.gather(-1, high)
    left, right = middles.gather(-1, low), middles.gather(-1, high)
    width = stop - start
    width = torch.where(width < TINY, torch.ones_like(width), width)
    return left + (u - start) / width * (right - left)


@dataclass(frozen=True)
class Rendered:
    """What N x M rays brought."""

    colours: Tensor  # (N, C, M), -1..1
    depth: Tensor  # (N, M) mean distance of what was seen; the farthest sample's for empty rays
    opacity: Tensor  # (N, M), 0..1


def render_volume(
    field: Field,
    rays: Rays,
    settings: VolumeSettings,
    draws: Draws | None = None,
    rays_per_chunk: int | None = None,
) -> Rendered:
    """Colours and depths along rays through a field, with hierarchical sampling.

    Args:
        draws: None takes the middles.
        rays_per_chunk: so many rays of all images together are held in memory at a time, which
            changes the result by rounding alone; None takes `CHUNK` or `CPU_CHUNK`.
    """
    draws = draws or midpoint_draws(settings, rays.directions.device)
    near, far = ray_limits(rays, settings)
    size = rays_per_chunk or (CPU_CHUNK if near.device.type == "cpu" else CHUNK)
    parts = []
    for part in _chunks(rays.directions.shape[2], max(size // len(near), 1)):
        some = Rays(rays.origins, rays.directions[:, :, part])
        parts.append(_render(field, some, near[:, part], far[:, part], settings, draws.part(part)))
    colours, depth, opacity, deepest = (torch.cat(t, dim=-1) for t in zip(*parts, strict=True))
    farthest = deepest.amax(dim=1, keepdim=True)
    depth = torch.where(opacity > 0, depth, farthest)
    if settings.white_back:
        colours = colours + (1 - opacity)[:, None]
    return Rendered(colours * 2 - 1, depth, opacity)


def _chunks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def _render(
    field: Field,
    rays: Rays,
    near: Tensor,
    far: Tensor,
    settings: VolumeSettings,
    draws: Draws,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colours 0..1, mean depth, opacity and the farthest sample of each ray.

    An interval's colour is the mean of its ends', so a sample counts with the mean weight of the
    intervals beside it. Those weights are put back in the samples' order, and colours are never
    sorted.
    """
    depths = stratified_depths(near, far, settings, draws.coarse)
    density, colours = _look_up(field, rays, depths)
    seen = [colours]
    if settings.fine:
        weights = interval_weights(density.detach(), depths)
        fine = importance_depths(depths, weights, draws.fine)
        fine_density, fine_colours = _look_up(field, rays, fine)
        seen.append(fine_colours)
        depths, density = torch.cat([depths, fine], -1), torch.cat([density, fine_density], -1)
    depths, order = depths.sort(dim=-1)
    weights = interval_weights(density.gather(-1, order), depths)
    opacity = weights.sum(dim=-1)
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    mean_depth = (weights * middles).sum(dim=-1) / opacity.clamp(min=NOTHING)
    beside = (F.pad(weights, (1, 0)) + F.pad(weights, (0, 1))) / 2
    shares = torch.zeros_like(beside).scatter(-1, order, beside)
    split = shares.split([c.shape[-1] for c in seen], dim=-1)
    total = sum((c * s[:, None]).sum(dim=-1) for c, s in zip(seen, split, strict=True))
    return torch.as_tensor(total), mean_depth, opacity, depths[..., -1]


def _look_up(field: Field, rays: Rays, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Density (N, M, D) and colours (N, C, M, D) at distances (N, M, D)."""
    density, colours = field(rays.at(depths).flatten(2))
    return density.unflatten(1, depths.shape[1:]), colours.unflatten(2, depths.shape[1:])
