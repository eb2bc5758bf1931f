"""Fine-tune torchvision's SqueezeNet 1.0 on a CPU in minutes: frozen layers are computed once, the last trained."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import squeezenet1_0

FROZEN = 10
"""Modules of SqueezeNet's `features` that stay as ImageNet made them: their outputs are computed once."""

VARIANTS, EPOCHS, BATCH, DECAY, PENALTY = 5, 10, 32, 0.01, 0.03
"""Versions of each picture; passes; pictures a step; weight decay; penalty of the first classifier's weights."""

RATES = (1e-3, 3e-4)
"""Highest learning rate of the last fire modules and of the classifier."""

HEAD_START = 20.0
"""Added to every class alike: SqueezeNet has a ReLU behind its last convolution, and a class below 0 would be dead."""

Labelled = tuple[Tensor, Tensor]
"""Prepared pictures (picture, 3, rows, columns) and their class numbers (picture,)."""


def imagenet_squeezenet(weights: Path, classes: int) -> Any:
    """SqueezeNet 1.0 with ImageNet weights from an .npz file and an untrained last layer for so many classes."""
    network = squeezenet1_0()
    with np.load(weights) as arrays:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    network.classifier[1] = nn.Conv2d(512, classes, 1)
    return network.eval()


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures flipped, turned up to 15 degrees, zoomed, shifted and changed in contrast, all by lot."""
    draw = torch.rand(6, len(pictures), generator=generator) * 2 - 1
    flip, turn, zoom = draw[0].sign(), 0.26 * draw[1], 1 + 0.1 * draw[2]
    cosine, sine, shift = turn.cos() * zoom, turn.sin() * zoom, 0.14 * draw[3:5]
    rows = torch.stack([cosine * flip, -sine, shift[0], sine * flip, cosine, shift[1]], dim=1)
    where = functional.affine_grid(rows.reshape(-1, 2, 3), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, where, padding_mode="border", align_corners=False)
    black = moved.amin(dim=(2, 3), keepdim=True)
    return black + (moved - black) * (1 + 0.2 * draw[5]).reshape(-1, 1, 1, 1)


def fine_tune(network: Any, train: Labelled, val: Labelled, seed: int = 0) -> list[dict[str, float]]:
    """Train the last fire modules and the classifier; the network keeps the epoch with the lowest loss on `val`.

    Returns loss and accuracy on `val` for each epoch; epoch 0 is the linear classifier on frozen features.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    frozen, last = network.features[:FROZEN], network.features[FROZEN:]
    kept = [_outputs(frozen, train[0])]
    kept += [_outputs(frozen, augmented(train[0], generator)) for _ in range(VARIANTS - 1)]
    _start_classifier(network.classifier[1], torch.cat([_outputs(last, x) for x in kept]), train[1].repeat(VARIANTS))
    trained = nn.Sequential(last, nn.Sequential(*network.classifier, nn.Flatten()))
    return _epochs(trained, kept, train[1], (_outputs(frozen, val[0]), val[1]))


def probabilities(network: Any, pictures: Tensor) -> Tensor:
    """Class probabilities (picture, class)."""
    with torch.no_grad():
        return torch.cat([network(batch).softmax(dim=1) for batch in pictures.split(BATCH)])


def _outputs(modules: nn.Module, x: Tensor) -> Tensor:
    """What frozen modules make of many pictures, in half precision to fit into memory."""
    with torch.no_grad():
        return torch.cat([modules(batch.float()).half() for batch in x.split(BATCH)])


def _start_classifier(layer: Any, features: Tensor, labels: Tensor) -> None:
    """Give the last layer the weights of a penalised linear classifier of features averaged over space."""
    averaged = features.float().mean(dim=(2, 3))
    mean, deviation = averaged.mean(dim=0), averaged.std(dim=0) + 1e-3
    weight = torch.zeros(layer.out_channels, layer.in_channels, requires_grad=True)
    bias = torch.zeros(layer.out_channels, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> float:
        search.zero_grad()
        scores = (averaged - mean) / deviation @ weight.T + bias
        found = functional.cross_entropy(scores, labels) + PENALTY * weight.square().sum()
        torch.autograd.backward(found)
        return float(found.detach())

    search.step(loss)
    with torch.no_grad():
        layer.weight.copy_((weight / deviation)[:, :, None, None])
        layer.bias.copy_(bias - weight @ (mean / deviation) + HEAD_START)


def _epochs(trained: nn.Sequential, kept: list[Tensor], labels: Tensor, val: Labelled) -> list[dict[str, float]]:
    """Train with one learning-rate cycle and go back to the best epoch."""
    groups = [{"params": part.parameters(), "lr": rate} for part, rate in zip(trained, RATES, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, list(RATES), total_steps=steps, pct_start=0.15)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    for epoch in range(EPOCHS + 1):
        if epoch > 0:
            _epoch(trained, kept, labels, optimizer, schedule)
        history.append({"epoch": epoch, **_judged(trained, val)})
        print("  epoch {epoch}: val loss {loss:.3f}, val accuracy {accuracy:.3f}".format(**history[-1]), flush=True)
        if history[-1]["loss"] == min(entry["loss"] for entry in history):
            best = {name: value.clone() for name, value in trained.state_dict().items()}
    trained.load_state_dict(best)
    trained.eval()
    return history


def _epoch(trained: nn.Module, kept: list[Tensor], labels: Tensor, optimizer: Any, schedule: Any) -> None:
    """One pass over the slices, each time in a variant drawn by lot."""
    trained.train()
    for batch in torch.randperm(len(labels)).split(BATCH):
        variants = torch.randint(len(kept), (len(batch),))
        x = torch.stack([kept[int(variant)][int(n)] for variant, n in zip(variants, batch, strict=True)]).float()
        loss = functional.cross_entropy(trained(x), labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def _judged(trained: nn.Module, val: Labelled) -> dict[str, float]:
    """Loss and accuracy."""
    trained.eval()
    with torch.no_grad():
        scores = torch.cat([trained(batch.float()) for batch in val[0].split(BATCH)])
    right = (scores.argmax(dim=1) == val[1]).double().mean()
    return {"loss": float(functional.cross_entropy(scores, val[1])), "accuracy": float(right)}
