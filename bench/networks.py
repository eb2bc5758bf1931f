"""The networks of the benchmark, as a user has them, and its images; random weights, no downloads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

SETTLING = 3
"""Batches from which batch norms take their statistics, so that activations are of the size they have in practice."""


@cache
def resnet18() -> nn.Module:
    """Torchvision's ResNet-18, 1000 classes."""
    return _torchvision("resnet18")


@cache
def resnet50() -> nn.Module:
    """Torchvision's ResNet-50, 1000 classes."""
    return _torchvision("resnet50")


@cache
def vgg16() -> nn.Module:
    """Torchvision's VGG-16, 1000 classes; it has no norms."""
    return _torchvision("vgg16")


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    torch.manual_seed(0)
    return settled(getattr(models, name)(weights=None), (3, 64, 64))


@cache
def resnet18_3d() -> nn.Module:
    """MONAI's 3D ResNet-18, one channel, two classes."""
    from monai.networks.nets import resnet18 as made

    torch.manual_seed(0)
    return settled(made(spatial_dims=3, n_input_channels=1, num_classes=2), (1, 32, 32, 32))


@cache
def resnet50_3d() -> nn.Module:
    """MONAI's 3D ResNet-50, four channels, two classes."""
    from monai.networks.nets import resnet50 as made

    torch.manual_seed(0)
    return settled(made(spatial_dims=3, n_input_channels=4, num_classes=2), (4, 32, 32, 32))


@cache
def unet_3d() -> nn.Module:
    """MONAI's 3D U-Net of five levels and eight filters at the first, four channels, four classes."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    channels = (8, 16, 32, 64, 128)
    return settled(UNet(3, 4, 4, channels, strides=(2,) * 4, num_res_units=2, norm="batch"), (4, 32, 32, 32))


@cache
def segresnet_3d() -> nn.Module:
    """MONAI's 3D SegResNet of eight filters, four channels, four classes."""
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    return SegResNet(spatial_dims=3, init_filters=8, in_channels=4, out_channels=4).eval()


@cache
def densenet121_3d() -> nn.Module:
    """MONAI's 3D DenseNet-121, one channel, two classes."""
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return settled(DenseNet121(spatial_dims=3, in_channels=1, out_channels=2), (1, 32, 32, 32))


def settled(network: nn.Module, shape: Sequence[int]) -> nn.Module:
    """The network in evaluation mode, with norms that scale and shift as trained ones do."""
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # the statistics of all batches seen
            nn.init.normal_(part.bias, std=0.1)
    with torch.no_grad():
        for _ in range(SETTLING):
            network.train()(torch.rand(2, *shape))
    return network.eval()


def on(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy of one's own on a device: libraries leave hooks on what they are given."""
    return copy.deepcopy(network).to(device)


def picture(device: torch.device, *shape: int, seed: int = 0) -> Tensor:
    """A random batch (batch, channel, *space) between 0 and 1, smooth over some voxels as images are."""
    coarse = [max(2, side // 8) for side in shape[2:]]
    noise = torch.rand(*shape[:2], *coarse, generator=torch.Generator().manual_seed(seed))
    mode: Any = "bilinear" if len(coarse) == 2 else "trilinear"
    fine = 0.1 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed + 1))
    smooth = nn.functional.interpolate(noise, shape[2:], mode=mode, align_corners=False)
    return (0.9 * smooth + fine).to(device)
