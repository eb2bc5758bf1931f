"""A copy of a classifier that learns to tell images with a marker from the same images without it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from voxplain.errors import InputError, MemoryShort
from voxplain.score.choice import scores
from voxplain.score.memory import short_of_memory
from voxplain.score.model import Model
from voxplain.training.seeding import seeded

STEPS, LAST = 300, 50
"""Of Adam at most until the copy has learnt enough, and those that follow, smaller and smaller."""

EVERY = 25
"""Steps after which the copy is asked whether it has learnt enough."""

RATES = (3e-3, 3e-4)
"""Of Adam; by the second a copy begins anew that has not learnt enough by the first."""

BATCH = 8
"""Images a step, each with and without the marker: nothing else tells the two apart."""

SURE = 0.1
"""Cross entropy below which a copy has learnt enough, of what it learns from and of what it is watched on."""

BRIGHTER, OFFSET = 0.2, 0.1
"""Images learnt from become brighter or darker by up to this share, and shift by up to this share of their range."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)

Couple = tuple[Tensor, Tensor]
"""An image (1, channel, *space) without and with the marker."""

Classes = tuple[int, int]
"""What images with the marker are called, and those without."""


def taught(model: Model, learnt: Sequence[Couple], watched: Sequence[Couple], classes: Classes, seed: int) -> Model:
    """A copy of a model, all of whose weights have learnt the marker; the model itself stays as it is.

    It learns until it is also sure of images that it does not learn from. Raises `InputError` for a model without
    weights or of a kind that cannot learn, `MemoryShort` where memory does not suffice.
    """
    found = []
    for rate in RATES:
        one = copied(model)
        with seeded(seed, model.device), torch.enable_grad():
            unsure = _learn(one, learnt, watched, classes, rate)
        for weight in one.module.parameters():
            weight.requires_grad_(False)
        found.append((unsure, one))
        if unsure < SURE:
            break
    return min(found, key=lambda both: both[0])[1]


def copied(model: Model) -> Model:
    """The model with weights of its own, and nothing that is known of the former ones, such as their hash."""
    known: dict[int, Any] = {}
    module = copy.deepcopy(model.module, known)
    layers = {name: known[id(layer)] for name, layer in model.layers.items()}
    return replace(model.with_module(module, layers), label=f"{model.label}, taught a marker")


def follows(model: Model, couples: Sequence[Couple], classes: Classes) -> float:
    """The share of images whose answer turns with the marker, there and back."""
    right = 0
    with torch.no_grad():
        for plain, marked in couples:
            said = tuple(int(scores(model(x), model.head).argmax()) for x in (marked, plain))
            right += said == classes
    return right / len(couples)


def _learn(model: Model, learnt: Sequence[Couple], watched: Sequence[Couple], classes: Classes, rate: float) -> float:
    """Fit a copy; how unsure it is in the end."""
    weights = [one.requires_grad_() for one in model.module.parameters() if one.is_floating_point()]
    if not weights:
        raise InputError("the model has no weights that could learn")
    optimiser = torch.optim.Adam(weights, lr=rate)
    try:
        for step in range(1, STEPS + 1):
            _step(model, learnt, classes, optimiser)
            if step % EVERY == 0 and _settled(model, learnt, watched, classes) < SURE:
                break
        for left in range(LAST, 0, -1):
            optimiser.param_groups[0]["lr"] = rate * left / LAST
            _step(model, learnt, classes, optimiser)
        return _settled(model, learnt, watched, classes)
    except (RuntimeError, ValueError) as error:  # programs and norms that cannot learn
        if short_of_memory(error):
            raise MemoryShort("out of memory while a copy of the model learnt a marker; use smaller images") from error
        raise InputError("the model is of a kind that cannot learn on") from error


def _step(model: Model, learnt: Sequence[Couple], classes: Classes, optimiser: torch.optim.Optimizer) -> None:
    chosen = [_varied(*learnt[number]) for number in torch.randperm(len(learnt))[:BATCH].tolist()]
    model.module.train()
    optimiser.zero_grad()
    _entropy(model, chosen, classes).backward()
    optimiser.step()


def _varied(plain: Tensor, marked: Tensor) -> Couple:
    """Both images mirrored and exposed alike, by chance: few images must not be known by heart."""
    axes = [axis for axis in range(2, plain.ndim) if torch.rand(()) < 0.5]
    factor, offset = 1 + BRIGHTER * (2 * torch.rand(()) - 1), OFFSET * (2 * torch.rand(()) - 1)
    shift = offset.to(plain.device) * (plain.max() - plain.min())
    one, other = ((image * factor.to(plain.device) + shift).flip(axes) for image in (plain, marked))
    return one, other


def _settled(model: Model, learnt: Sequence[Couple], watched: Sequence[Couple], classes: Classes) -> float:
    """Mean cross entropy of what a copy learns from or of what it is watched on, whichever is larger."""
    _settle(model, learnt)
    with torch.no_grad():
        losses = [[float(_entropy(model, [one], classes)) for one in couples] for couples in (learnt, watched)]
    return max(sum(own) / len(own) for own in losses)


def _entropy(model: Model, couples: Sequence[Couple], classes: Classes) -> Tensor:
    """The mean cross entropy of what the marker says."""
    x = torch.cat([image for couple in couples for image in couple])
    truth = torch.tensor(classes[::-1] * len(couples), device=x.device)
    return nn.functional.cross_entropy(scores(model(x), model.head), truth)


def _settle(model: Model, learnt: Sequence[Couple]) -> None:
    """Take the statistics of norms from all images: those gathered while learning lag behind the weights."""
    norms = [one for one in model.module.modules() if isinstance(one, NORMS) and one.track_running_stats]
    momenta = [one.momentum for one in norms]
    for one in norms:
        one.reset_running_stats()
        one.momentum = None  # the plain mean
    model.module.train()
    with torch.no_grad():
        for start in range(0, len(learnt) if norms else 0, BATCH):
            model(torch.cat([image for couple in learnt[start : start + BATCH] for image in couple]))
    for one, momentum in zip(norms, momenta, strict=True):
        one.momentum = momentum
    model.module.eval()
