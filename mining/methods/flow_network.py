"""The flow's velocity: a network of gated layers, in torch. Imported when a flow runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch.nn.functional import silu

from schemas.errors import MissingBackendError, RunError

Weights = Mapping[str, torch.Tensor]
WAVES = (0.5, 1.0, 2.0)  # half turns of the sines and cosines of time
CLOCK = 2 * len(WAVES)  # numbers that tell the time
MOST_STEPS = 10_000  # of a solver


def shapes(width: int, conditions: int, hidden: tuple[int, ...], embedded: int) -> dict:
    """Name -> shape of every array of the network.

    Args:
        width: D, numbers of a latent. conditions: K. embedded: as `FlowConfig.embedded`.
    """
    told = conditions + CLOCK
    found: dict[str, tuple[int, ...]] = {}
    if embedded:
        for number, into in enumerate((told, embedded)):
            found[f"embed.{number}.weight"] = (embedded, into)
            found[f"embed.{number}.bias"] = (embedded,)
    gates = embedded or told
    sizes = (width, *hidden, width)
    for number, (into, out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        found[f"layer.{number}.weight"] = (out, into)
        found[f"layer.{number}.bias"] = (out,)
        found[f"layer.{number}.gate"] = (out, gates)
        found[f"layer.{number}.gate_bias"] = (out,)
        found[f"layer.{number}.shift"] = (out, gates)
    return found


def first_weights(
    width: int, conditions: int, hidden: tuple[int, ...], embedded: int, seed: int
) -> dict[str, torch.Tensor]:
    """Weights before training, float32: uniform in +-1/sqrt(fan in), biases zero.

    The last layer is zero, so the flow starts as the identity.
    """
    draws = torch.Generator().manual_seed(seed)
    found = {}
    last = f"layer.{len(hidden)}."
    for name, shape in shapes(width, conditions, hidden, embedded).items():
        found[name] = torch.zeros(shape)
        if len(shape) == 2 and (not name.startswith(last) or name.endswith("gate")):
            found[name] = (torch.rand(shape, generator=draws) * 2 - 1) / shape[1] ** 0.5
    return found


def clock(time: torch.Tensor) -> torch.Tensor:
    """(N,) times in 0..1 -> (N, CLOCK) sines and cosines of WAVES half turns."""
    turns = [wave * math.pi * time for wave in WAVES]
    return torch.stack([f(turn) for turn in turns for f in (torch.sin, torch.cos)], dim=-1)


def velocity(
    weights: Weights, time: torch.Tensor, x: torch.Tensor, conditions: torch.Tensor
) -> torch.Tensor:
    """dx/dt of N latents: (N,), (N, D), (N, K) -> (N, D).

    Every layer is linear in what comes in; time and conditions scale and shift what goes out:
    y = (W x + b) * 2 sigmoid(G c + g) + S c, the "concatsquash" layer of Grathwohl et al. (2019),
    https://openreview.net/forum?id=rJxgknCcK7; SiLU between the layers.
    """
    told = torch.cat([conditions, clock(time)], dim=1)
    for number in (0, 1):
        if f"embed.{number}.weight" in weights:
            name = f"embed.{number}."
            told = silu(told @ weights[name + "weight"].T + weights[name + "bias"])
    for number in range(layers_of(weights)):
        name = f"layer.{number}."
        x = x if number == 0 else silu(x)
        gate = 2 * torch.sigmoid(told @ weights[name + "gate"].T + weights[name + "gate_bias"])
        shift = told @ weights[name + "shift"].T
        x = (x @ weights[name + "weight"].T + weights[name + "bias"]) * gate + shift
    return x


def layers_of(weights: Mapping[str, object]) -> int:
    """How many layers the arrays are of."""
    return sum(name.startswith("layer.") and name.endswith(".gate") for name in weights)


def integrate(
    weights: Weights,
    x: torch.Tensor,
    conditions: torch.Tensor,
    ends: tuple[float, float],
    solver: str,
    tolerance: float,
) -> tuple[torch.Tensor, int]:
    """Follow the flow from one time to another: (N, D) -> (N, D), and the evaluations it took.

    Noise is at time 0, latents at time 1. The solver chooses its steps by the error over all rows
    together, so a row's result hangs on the others, within the tolerance.

    Raises:
        MissingBackendError: torchdiffeq is not installed.
        RunError: the solver cannot keep the tolerance.
    """
    count = 0

    def slope(time: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return velocity(weights, time.expand(len(state)), state, conditions)

    times = torch.tensor(ends, dtype=x.dtype, device=x.device)
    return solved(slope, x, times, solver, tolerance)[-1], count


def solved(slope: Callable, state, times: torch.Tensor, solver: str, tolerance: float):
    """torchdiffeq's solution at the times, of a tensor or a tuple of them; errors as `integrate`.

    Source: Chen (2018), https://github.com/rtqichen/torchdiffeq; Dormand & Prince (1980),
    doi:10.1016/0771-050X(80)90013-3, for dopri5.
    """
    odeint = backend()
    bounded = {"max_num_steps": MOST_STEPS}
    try:
        found = odeint(
            slope, state, times, rtol=tolerance, atol=tolerance, method=solver, options=bounded
        )
    except AssertionError as error:  # how torchdiffeq says that steps became too small or too many
        said = " ".join(str(error).split())[:120]
        raise RunError(
            f"attribute_flow: {solver} cannot follow the flow to {tolerance:g} ({said}); take a "
            "larger tolerance, or latents nearer to those that it was trained on."
        ) from error
    parts = found if isinstance(found, tuple) else (found,)
    if not all(torch.isfinite(part).all() for part in parts):
        raise RunError("attribute_flow: the flow leads to latents that are not finite numbers.")
    return found


def backend() -> Callable:
    """torchdiffeq's solver; MissingBackendError where it is not installed."""
    try:
        from torchdiffeq import odeint
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            "attribute_flow needs the package 'torchdiffeq': pip install 'latentlode[flow]'"
        ) from error
    return odeint
