"""Small plain networks in 2D and 3D, for phantoms, tests and first trials; each trains in seconds on one core."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from voxplain.errors import InputError

_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Block(nn.Sequential):
    """Convolution of width 3 with zero padding, batch norm, ReLU; `stride` 2 halves every side."""

    def __init__(self, spatial_dims: int, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        convolution = _CONVOLUTION[spatial_dims](channels, width, 3, stride=stride, padding=1, bias=False)
        self.add_module("conv", convolution)
        self.add_module("norm", _NORM[spatial_dims](width))
        self.add_module("relu", nn.ReLU())


class SmallCNN(nn.Module):
    """`depth` blocks (each doubles the width, the first two halve the sides), mean over space, one linear layer."""

    def __init__(self, *, spatial_dims: int, channels: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        _check(spatial_dims=spatial_dims, channels=channels, outputs=outputs, width=width, depth=depth)
        widths = [channels, *(width * 2**level for level in range(depth))]
        blocks = (
            Block(spatial_dims, before, after, stride=2 if level < 2 else 1)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (batch, outputs) of x (batch, channel, *space)."""
        features = self.blocks(x)
        outputs: Tensor = self.head(features.flatten(2).mean(dim=2))
        return outputs


class SmallUNet(nn.Module):
    """A U-shaped network of `depth` halvings: class logits at every voxel, on grids of any size."""

    def __init__(self, *, spatial_dims: int, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        _check(spatial_dims=spatial_dims, channels=channels, classes=classes, width=width, depth=depth)
        widths = [width * 2**level for level in range(depth + 1)]
        pairs = list(pairwise(widths))
        self.entry = Block(spatial_dims, channels, width)
        self.down = nn.ModuleList(Block(spatial_dims, upper, lower, stride=2) for upper, lower in pairs)
        self.up = nn.ModuleList(Block(spatial_dims, upper + lower, upper) for upper, lower in reversed(pairs))
        self.head = _CONVOLUTION[spatial_dims](width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes, *space) of x (batch, channel, *space)."""
        x = self.entry(x)
        kept = []
        for block in self.down:
            kept.append(x)
            x = block(x)
        for block in self.up:
            skip = kept.pop()
            # To the size of the skip and not times two: odd sides would otherwise come back one voxel short.
            x = nn.functional.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        return logits


def small_cnn_2d(*, channels: int = 1, classes: int = 2, width: int = 8, depth: int = 2) -> nn.Module:
    """Classifier of pictures: (batch, channels, rows, columns) to logits (batch, classes)."""
    return SmallCNN(spatial_dims=2, channels=channels, outputs=classes, width=width, depth=depth)


def small_cnn_3d(*, channels: int = 1, classes: int = 2, width: int = 8, depth: int = 2) -> nn.Module:
    """Classifier of volumes: (batch, channels, i, j, k) to logits (batch, classes)."""
    return SmallCNN(spatial_dims=3, channels=channels, outputs=classes, width=width, depth=depth)


def small_unet(
    *, spatial_dims: int = 2, channels: int = 1, classes: int = 2, width: int = 8, depth: int = 2
) -> nn.Module:
    """Segmenter of pictures or volumes: (batch, channels, *space) to logits (batch, classes, *space)."""
    return SmallUNet(spatial_dims=spatial_dims, channels=channels, classes=classes, width=width, depth=depth)


def small_regressor(
    *, spatial_dims: int = 2, channels: int = 1, outputs: int = 1, width: int = 8, depth: int = 3
) -> nn.Module:
    """Numbers such as an age from pictures or volumes: (batch, channels, *space) to (batch, outputs)."""
    return SmallCNN(spatial_dims=spatial_dims, channels=channels, outputs=outputs, width=width, depth=depth)


def _check(**options: int) -> None:
    """Raise unless there are 2 or 3 spatial axes and every count is at least 1."""
    if options["spatial_dims"] not in _CONVOLUTION:
        raise InputError(f"spatial_dims must be 2 or 3, got {options['spatial_dims']}")
    for name, value in options.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
