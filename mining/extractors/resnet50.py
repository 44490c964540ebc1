"""ResNet-50 without its classifier, in plain torch, its parameters named as everywhere.

Source: He et al. (2016), doi:10.1109/CVPR.2016.90, table 1; the stride lies on the 3 x 3
convolution, as in the ImageNet weights that torchvision publishes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEATURES = 2048
BLOCKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first
WIDER = 4  # a block's output over its width


class Bottleneck(nn.Module):
    """y = relu(f(x) + x), f of 1 x 1, 3 x 3 and 1 x 1 convolutions; x is projected where sizes
    change."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = WIDER * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """(N, 3, H, W) -> (N, 2048), the mean of the last features over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages, inputs = [], 64
        for width, count, stride in BLOCKS:
            blocks = []
            for block in range(count):
                blocks.append(Bottleneck(inputs, width, 1 if block else stride))
                inputs = WIDER * width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))


class Regressor(nn.Module):
    """(N, 3, H, W) -> (N, outputs): ResNet-50, then two linear layers with a ReLU between."""

    def __init__(self, outputs: int, hidden: int = 1024) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.encoder(x))
