"""Counted operations against those worked out by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mining.generators.networks.flops import Flops, count_flops
from mining.generators.networks.stylegan2 import StyleGan2


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_and_convolutions_count_two_for_each_multiplication(device):
    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=device)

    x = ones(2, 4, 8, 6)
    cases = [
        (lambda: ones(3, 5) @ ones(5, 7), Flops(0, 0, 2 * 3 * 5 * 7)),
        (lambda: ones(2, 3, 5) @ ones(2, 5, 7), Flops(0, 0, 2 * 2 * 3 * 5 * 7)),
        (lambda: torch.addmm(ones(7), ones(3, 5), ones(5, 7)), Flops(0, 0, 2 * 3 * 5 * 7)),
        # 10 outputs of 4 x 3 x 3 weights, at 8 x 6 pixels of 2 images
        (lambda: F.conv2d(x, ones(10, 4, 3, 3), padding=1), Flops(2 * 360 * 48 * 2, 0, 0)),
        # the same where only every second pixel of each axis is kept
        (
            lambda: F.conv2d(x, ones(10, 4, 3, 3), padding=1, stride=2),
            Flops(2 * 360 * 12 * 2, 0, 0),
        ),
        # each input pixel meets each weight once, however large the output
        (lambda: F.conv_transpose2d(x, ones(4, 10, 3, 3), stride=2), Flops(2 * 360 * 48 * 2, 0, 0)),
        (lambda: F.conv2d(x, ones(4, 1, 3, 3), padding=1, groups=4), Flops(0, 2 * 36 * 48 * 2, 0)),
        (lambda: torch.sin(x) * x, Flops(0, 0, 0)),
    ]
    for call, expected in cases:
        assert count_flops(call) == expected


def test_a_network_is_counted_without_computing_it():
    widths = {"channel_base": 512, "channel_max": 16}
    with torch.device("meta"):
        network = StyleGan2(8, 0, 12, 16, synthesis_kwargs=widths)
        styles = torch.empty(3, sum(layer.channels for layer in network.style_layers))
    found = count_flops(lambda: network.render(styles))
    # 3x3 convolutions of 16 channels: at 4 px, then from 4 and at 8, then from 8 and at 16
    assert found.convolutions == 3 * 2 * 16 * 16 * 9 * (16 + (16 + 64) + (64 + 256))
    # four taps by four: over the 16 channels of both doublings, and the two of the colours
    assert found.filters == 3 * 2 * 16 * (16 * (64 + 256) + 3 * (16 + 64))
    colours = 3 * 2 * 3 * 16 * (16 + 64 + 256)
    energies = 3 * 2 * 16 * 16 * 5
    assert found.products == colours + energies
    assert found.total == found.convolutions + found.filters + found.products
