"""Small networks for tests: every task in 2D and 3D, awkward on purpose (in-place, functional, reused parts)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

KINDS = [(rank, task) for rank in (2, 3) for task in ("classification", "segmentation", "regression")]
"""Every rank and task of the contract."""

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Awkward(nn.Module):
    """Two convolutions, batch norm, a residual, in-place and functional ReLU; head by task."""

    def __init__(self, rank: int, task: str, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        self.task = task
        self.first = CONV[rank](channels, 6, 3, padding=1, stride=1 if task == "segmentation" else 2)
        self.norm = NORM[rank](6)
        self.act = nn.ReLU(inplace=True)
        self.second = CONV[rank](6, 6, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        outputs = 1 if task == "regression" else classes
        self.head = CONV[rank](6, outputs, 1) if task == "segmentation" else nn.Linear(6, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(x)))
        y = self.norm(self.second(x))
        y += functional.leaky_relu(x, 0.1)
        x = self.drop(self.act(y))
        return self.head(x) if self.task == "segmentation" else self.head(x.flatten(2).mean(2))


class Linear(nn.Module):
    """A linear score: f(x) = <weight, x> + bias a class, known in closed form."""

    def __init__(self, shape: tuple[int, ...], classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, *shape))
        self.bias = nn.Parameter(torch.randn(classes))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.flatten(1).T + self.bias


def seeded(build: object, *arguments: object, seed: int = 0, **options: object) -> nn.Module:
    """A float64 network in evaluation mode, equal for equal seeds, with batch statistics that are not the defaults."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module: nn.Module = build(*arguments, **options)  # type: ignore[operator]
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2.0)
    return module.double().eval()


def batch(rank: int, *, count: int = 2, channels: int = 2, side: int = 8, seed: int = 1) -> Tensor:
    """Random inputs (count, channels, *space), float64, sides that differ by axis."""
    generator = torch.Generator().manual_seed(seed)
    sides = [side, side + 2, side + 1][:rank]
    return torch.randn(count, channels, *sides, generator=generator, dtype=torch.float64)


def target_for(task: str) -> str:
    """A target that fits the task."""
    return {"classification": "class_score", "segmentation": "region(1)", "regression": "regression()"}[task]
