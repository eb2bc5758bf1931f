"""The floor: bare torch on a copy prepared the best way, in the layout and number at once that are fastest."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse


class Layout(NamedTuple):
    """How a floor holds its tensors, and how many samples it takes at once."""

    last: bool
    """Channels last in memory."""
    count: int

    def __str__(self) -> str:
        return f"{'channels last' if self.last else 'channels first'}, {self.count} at once"

    def chunks(self, x: Tensor) -> list[Tensor]:
        """A batch in parts of this number and layout."""
        return [self.laid(part) for part in x.split(self.count)]

    def laid(self, x: Tensor) -> Tensor:
        """A batch in this layout."""
        if not self.last:
            return x.contiguous()
        return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def layouts(*counts: int) -> list[Layout]:
    """Both layouts with each number at once."""
    return [Layout(last, count) for count in dict.fromkeys(counts) for last in (True, False)]


def folded(network: nn.Module, device: torch.device, layout: Layout) -> nn.Module:
    """A frozen copy with batch norms folded into their convolutions, prepared by torch alone."""
    twin = fuse(network).requires_grad_(False).to(device)
    if not layout.last:
        return twin
    volumetric = any(isinstance(part, nn.Conv3d) for part in twin.modules())
    return twin.to(memory_format=torch.channels_last_3d if volumetric else torch.channels_last)
