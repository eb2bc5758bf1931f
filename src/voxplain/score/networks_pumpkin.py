"""PumpkinNet: reads an age from pictures of 98 x 98 pixels, after the description of XDLreg's network."""

from itertools import pairwise

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.networks_pretrained import begin_as_keras
from voxplain.score.same_padding import SameMaxPool

SIDE = 98
"""Rows and columns of its pictures."""

WIDTHS = (1, 16, 16, 32, 64, 32)
"""Channels from the picture to the last convolution, whose kernel is 1 x 1."""

PLACES = 4
"""Rows and columns that five halvings leave of 98: 49, 25, 13, 7, 4."""


class PumpkinNet(nn.Module):
    """Five times convolution, ReLU and overlapping maximum (3 x 3, stride 2), then two linear layers."""

    def __init__(self, *, outputs: int, bias: float | None, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for number, (before, after) in enumerate(pairwise(WIDTHS), start=1):
            if batch_norm:
                self.features.add_module(f"norm{number}", nn.BatchNorm2d(before))
            kernel = 1 if number == len(WIDTHS) - 1 else 3
            self.features.add_module(f"conv{number}", nn.Conv2d(before, after, kernel, padding=kernel // 2))
            self.features.add_module(f"relu{number}", nn.ReLU())
            self.features.add_module(f"pool{number}", SameMaxPool((3, 3), (2, 2)))
        self.flatten, self.dropout = nn.Flatten(), nn.Dropout(dropout)
        self.dense, self.relu = nn.Linear(WIDTHS[-1] * PLACES**2, 64), nn.ReLU()
        self.head = nn.Linear(64, outputs, bias=bias is not None)
        begin_as_keras(self)
        if bias is not None:
            nn.init.constant_(self.head.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Ages (batch, 1), or logits (batch, classes), of pictures (batch, 1, 98, 98)."""
        if tuple(x.shape[1:]) != (1, SIDE, SIDE):
            raise InputError(f"pumpkin_net reads one channel of {SIDE} x {SIDE} pixels, got {tuple(x.shape[1:])}")
        outputs: Tensor = self.head(self.relu(self.dense(self.dropout(self.flatten(self.features(x))))))
        return outputs


def pumpkin_net(
    *, bias: float | None = None, batch_norm: bool = False, classes: int | None = None, dropout: float = 0.5
) -> nn.Module:
    """Ages from pictures: (batch, 1, 98, 98) to (batch, 1); 60,593 parameters.

    `bias` is where the last bias begins: the mean target of the training data, so that the relevance of LRP is evidence
    for more or less than that. `classes=2` is the young/old variant: logits, and no last bias.
    """
    if classes is None:
        return PumpkinNet(outputs=1, bias=bias or 0.0, batch_norm=batch_norm, dropout=dropout)
    if classes < 2:
        raise InputError(f"pumpkin_net: classes must be at least 2, or left out for an age, got {classes}")
    if bias is not None:
        raise InputError(f"pumpkin_net: bias must be left out with classes, whose head has none, got {bias}")
    return PumpkinNet(outputs=classes, bias=None, batch_norm=batch_norm, dropout=dropout)
