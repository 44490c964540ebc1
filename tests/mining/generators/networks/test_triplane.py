"""Tri-planes: which axes they span, where their pixels lie, and the decoder behind them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.networks.triplane import (
    PLANE_AXES,
    Decoder,
    merge_planes,
    plane_axes_of,
    sample_planes,
)
from schemas.errors import InputError

SIDE = 16


def sampled(planes, points, kind="released", box=1.0):
    return sample_planes(merge_planes(planes, PLANE_AXES[kind]), points, box)


def random_planes(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def ramps(box: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes of two channels that hold their columns' and their rows' coordinate."""
    at = ((torch.arange(SIDE) + 0.5) / SIDE - 0.5) * box
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([columns, rows]).expand(1, 3, -1, -1, -1), at


inside = st.tuples(*[st.floats(-0.45, 0.45)] * 3)


@given(inside, st.sampled_from([1.0, 1.6]))
def test_each_plane_reads_the_axes_it_is_said_to_span(point, box):
    planes, _ = ramps(box)
    points = torch.tensor(point, dtype=torch.float32).view(1, 3, 1)
    for kind, axes in PLANE_AXES.items():
        for n, (column, row) in enumerate(axes):
            alone = torch.zeros(1, 3, 2, SIDE, SIDE)
            alone[:, n] = planes[:, n]
            found = 3 * sampled(alone, points, kind, box)[0, :, 0]
            assert found.tolist() == pytest.approx([point[column], point[row]], abs=1e-6)


def test_the_released_planes_are_two_and_the_corrected_three():
    """A feature of y and z together: no released plane can tell such points apart."""
    assert len(merge_planes(random_planes(), PLANE_AXES["released"])) == 2
    assert len(merge_planes(random_planes(), PLANE_AXES["corrected"])) == 3
    y, z = 0.2, 0.3
    points = torch.tensor([[0, y, z], [0, -y, z], [0, y, -z], [0, -y, -z]]).T[None]
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0])  # the part that y and z have only together
    released, corrected = (
        (sampled(random_planes()[:1], points, kind)[0] * signs).sum(dim=1) for kind in PLANE_AXES
    )
    torch.testing.assert_close(released, torch.zeros(4), atol=1e-6, rtol=0)
    assert corrected.abs().min() > 1e-3


@pytest.mark.parametrize("kind", PLANE_AXES)
def test_merged_planes_are_the_mean_of_single_ones(kind):
    planes = random_planes()
    points = torch.rand(2, 3, 50, generator=torch.Generator().manual_seed(1)) - 0.5
    singles = []
    for n in range(3):
        alone = torch.zeros_like(planes)
        alone[:, n] = planes[:, n]
        singles.append(sampled(alone, points, kind))
    torch.testing.assert_close(sampled(planes, points, kind), sum(singles), atol=1e-6, rtol=1e-5)


def test_features_fade_to_nothing_beyond_the_box():
    planes = torch.ones(1, 3, 4, SIDE, SIDE)
    edge = 0.5 - 0.5 / SIDE  # the outermost pixels' centres
    points = torch.tensor([[0.0, 0, 0], [edge, edge, edge], [0.6, 0.6, 0.6], [0.6, 0.0, 0.0]]).T
    found = sampled(planes, points[None])[0, 0]
    # x = 0.6 is outside all three released planes
    assert found.tolist() == pytest.approx([1, 1, 0, 0], abs=1e-5)
    corrected = sampled(planes, points[None], "corrected")[0, 0]
    assert corrected.tolist() == pytest.approx([1, 1, 0, 1 / 3], abs=1e-5)


def test_shapes_of_points_are_kept():
    points = torch.zeros(2, 3, 5, 7)
    assert sampled(random_planes(), points).shape == (2, 4, 5, 7)


def test_unknown_axes_are_refused():
    with pytest.raises(InputError, match="'fixed'; expected one of released, corrected"):
        plane_axes_of("fixed")


def test_the_decoder_is_the_network_that_its_tensors_say():
    decoder = Decoder(4, 6, lr_multiplier=0.5)
    x = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    first, second = decoder.net["0"], decoder.net["2"]
    torch.nn.init.normal_(first.bias)
    torch.nn.init.normal_(second.bias)
    hidden = torch.nn.functional.softplus(x.mT @ first.weight.T * (0.5 / 4**0.5) + first.bias * 0.5)
    out = hidden @ second.weight.T * (0.5 / 64**0.5) + second.bias * 0.5
    density, colours = decoder(x)
    torch.testing.assert_close(density, out[..., 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoder.density(x), out[..., 0], atol=1e-5, rtol=1e-5)
    expected = torch.sigmoid(out[..., 1:].mT) * 1.002 - 0.001
    torch.testing.assert_close(colours, expected, atol=1e-5, rtol=1e-5)
    assert set(decoder.state_dict()) == {f"net.{n}.{t}" for n in (0, 2) for t in ("weight", "bias")}
