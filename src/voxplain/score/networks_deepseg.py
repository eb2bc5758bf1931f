"""The 3D U-Net of NeuroXAI ("DeepSeg"): its skips carry what goes INTO a level, its layers have the source's names."""

import torch
from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.ops.relabel import FewRelabelled

FILTERS, DEPTH = 8, 5
"""Channels after the first convolution, and levels, of the source."""


class DeepSegUNet(nn.Module):
    """`depth` levels: 5 * depth + 1 convolutions `conv3d`, `conv3d_1`, ... `output_layer`, in the order they run.

    A level down: twice (convolution of width 3, batch norm, ReLU), then maximum of 2. A level up: convolution of width
    2, norm, ReLU, nearest doubling, the level's own input from the way down put beside it, twice as on the way down.
    `postprocess` is what the source does to predicted labels: few enhancing voxels become necrosis.
    """

    def __init__(
        self, *, channels: int, classes: int, filters: int, depth: int, dropout: float, widest: int | None = None
    ) -> None:
        super().__init__()
        self.depth, self.blocks = depth, 0
        self.postprocess = FewRelabelled(label=3, to=1, fewer_than=200) if classes == 4 else None
        most = widest or filters * 2**depth
        widths = [channels, *(min(filters * 2**level, most) for level in range(depth))]
        for level in range(depth):
            self._add_block(widths[level], widths[level + 1])
            self._add_block(widths[level + 1], widths[level + 1])
        self.pool, self.dropout, self.upsample = nn.MaxPool3d(2), nn.Dropout3d(dropout), nn.Upsample(scale_factor=2)
        below = widths[depth]
        for level in reversed(range(depth)):
            skip, width = widths[level], widths[level + 1]
            self._add_block(below, width, kernel=2)
            self._add_block(width + skip, width)
            self._add_block(width, width)
            below = width
        self.output_layer = nn.Conv3d(below, classes, 1)

    def _add_block(self, before: int, after: int, kernel: int = 3) -> None:
        suffix = f"_{self.blocks}" if self.blocks else ""
        # A kernel of 2 is padded behind alone, in the forward pass, as Keras does for "same".
        self.add_module(f"conv3d{suffix}", nn.Conv3d(before, after, kernel, padding=1 if kernel == 3 else 0))
        self.add_module(f"batch_normalization{suffix}", nn.BatchNorm3d(after))
        self.add_module(f"activation{suffix}", nn.ReLU())
        self.blocks += 1

    def _block(self, number: int, x: Tensor) -> Tensor:
        suffix = f"_{number}" if number else ""
        for kind in ("conv3d", "batch_normalization", "activation"):
            x = self.get_submodule(f"{kind}{suffix}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes, i, j, k) of volumes (batch, channel, i, j, k), every side a multiple of 2^depth."""
        if any(side % 2**self.depth for side in x.shape[2:]):
            raise InputError(
                f"this U-Net of {self.depth} levels needs sides that are multiples of {2**self.depth}, got "
                f"{tuple(x.shape[2:])}; prepare with crop_pad=... or pad_multiple={2**self.depth}"
            )
        skips = []
        for level in range(self.depth):
            skips.append(x)
            x = self.pool(self._block(2 * level + 1, self._block(2 * level, x)))
        x = self.dropout(x)
        for first in range(2 * self.depth, 5 * self.depth, 3):
            x = self.upsample(self._block(first, nn.functional.pad(x, (0, 1) * 3)))
            x = torch.cat([x, skips.pop()], dim=1)
            x = self._block(first + 2, self._block(first + 1, x))
        logits: Tensor = self.output_layer(x)
        return logits


def deepseg_unet(
    *,
    channels: int = 4,
    classes: int = 4,
    filters: int = FILTERS,
    depth: int = DEPTH,
    dropout: float = 0.5,
    widest: int | None = None,
) -> nn.Module:
    """Segmenter of volumes: (batch, channels, i, j, k) to logits (batch, classes, i, j, k), after NeuroXAI's U-Net.

    26 convolutions and 2.6 million parameters; the source crops to 192 x 224 x 160. Classes there: background,
    necrosis, oedema, enhancing tumour. Channels double from level to level, up to `widest` if that is given; with 16
    it has 150,000 parameters in the same 26 convolutions.
    """
    counts = {"channels": channels, "filters": filters, "depth": depth, "widest": 1 if widest is None else widest}
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"deepseg_unet: {name} must be at least 1, got {value}")
    if classes < 2:
        raise InputError(f"deepseg_unet: classes must be at least 2 with the background, got {classes}")
    return DeepSegUNet(channels=channels, classes=classes, filters=filters, depth=depth, dropout=dropout, widest=widest)


def deepseg_unet_small(*, channels: int = 4, classes: int = 4, dropout: float = 0.2) -> nn.Module:
    """The same with three levels (16 convolutions, 160,000 parameters), for volumes whose sides are multiples of 8."""
    return deepseg_unet(channels=channels, classes=classes, depth=3, dropout=dropout)
