"""Networks of known weights in the place of trained ones, for benchmarks."""

import torch
from torch import nn

from voxplain.data.prepare import Prepare
from voxplain.score.model import Model
from voxplain.study.benchmark_networks import TASKS, Trained


class Corners(nn.Module):
    """Sees the four corners of a slice (batch, 1, 56, 48), where the marker lies, or the middle alone."""

    def __init__(self, corners=True):
        super().__init__()
        rows, columns = torch.arange(56)[:, None], torch.arange(48)
        in_corner = (torch.minimum(rows, 55 - rows) < 10) & (torch.minimum(columns, 47 - columns) < 8)
        self.register_buffer("seen", (in_corner if corners else ~in_corner).float())

    def forward(self, x):
        bright = (torch.relu(x[:, 0] - 0.6) * self.seen).sum(dim=(1, 2))
        return torch.stack([torch.ones_like(bright), 1 * bright], dim=1)


def network(task="shortcut", seed=0, module=None):
    return Trained(TASKS[task], seed, Model.of(module or Corners()), Prepare(scale=0.001), 1.0)
