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


class TinyViT(nn.Module):
    """Patches of 2 voxels as tokens behind a class token; attention fused, inside a module, and spelled out in turn."""

    def __init__(self, rank: int, task: str, channels: int = 2, classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.task = task
        grid = (4, 5, 4)[:rank]  # of the sides that `batch` gives
        self.embed = CONV[rank](channels, width, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, width) / 4)
        self.position = nn.Parameter(torch.randn(1, 1 + torch.Size(grid).numel(), width) / 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.queries = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.inside = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mix = nn.Linear(width, width)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        outputs = 1 if task == "regression" else classes
        self.head = CONV[rank](width, outputs, 1) if task == "segmentation" else nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1) + self.position
        tokens = tokens + functional.scaled_dot_product_attention(*self.heads(0, tokens)).transpose(1, 2).flatten(2)
        inner = self.norms[1](tokens)
        tokens = tokens + self.inside(inner, inner, inner, need_weights=False)[0]
        query, key, value = self.heads(1, self.norms[2](tokens))
        weights = self.drop((2 * query @ key.transpose(-2, -1)).softmax(-1))
        tokens = tokens + (weights @ value).transpose(1, 2).flatten(2)
        tokens = self.norms[3](tokens + self.act(self.mix(tokens)))
        if self.task != "segmentation":
            return self.head(tokens[:, 0])
        cells = self.head(tokens[:, 1:].transpose(1, 2).unflatten(2, patches.shape[2:]))
        return functional.interpolate(cells, x.shape[2:])

    def heads(self, number: int, tokens: Tensor) -> Tensor:
        """Query, key and value of two heads (3, batch, head, token, width)."""
        split = self.queries[number](tokens).unflatten(2, (3, 2, -1))
        return split.permute(2, 0, 3, 1, 4)


NETWORKS: dict[str, type[nn.Module]] = {"attention_rollout": TinyViT}
"""Methods that want another network than `Awkward`, built and asked in the same way."""


def network(name: str) -> type[nn.Module]:
    """The network on which a method is held to its contract."""
    return NETWORKS.get(name, Awkward)


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
