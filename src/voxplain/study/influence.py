"""Region by label: which parts of the input drive which output, by covering them and by the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.methods.base import Map
from voxplain.methods.input_x_gradient import InputXGradient
from voxplain.methods.region_ablation import FLAT_BACKGROUND
from voxplain.ops.baselines import baseline
from voxplain.score.target import ClassScore, Region, Regression, Target
from voxplain.spec import Options
from voxplain.study.explain import Explainer
from voxplain.study.ready import Ready
from voxplain.study.sharing import found_together

Array = npt.NDArray[np.float64]

AIR = -1
"""Stands for voxels without a label that show nothing, in labels of regions."""


@dataclass(frozen=True, kw_only=True)
class Influencing(Options):
    """How influence is measured."""

    name: ClassVar[str] = "influence"

    regions: Literal["auto", "segments", "mask", "predicted"] = "auto"
    """Which labels cut the input into regions; auto: segments, else the mask, else what the model predicts."""
    fill: float | Literal["tissue", "zero", "mean", "minimum", "blur"] = "tissue"
    """What covers a region: the mean of tissue without a label, zero, mean, minimum or blur of the image, a number."""


@dataclass(frozen=True, eq=False)
class Influence:
    """How much each region of one image has to say in each output."""

    regions: tuple[int, ...]
    """Labels of the regions; 0: tissue without a label."""
    outputs: tuple[int, ...]
    """Classes of a segmentation or classification, or outputs of a regression."""
    falls: Array
    """(region, output): by how much an output's score falls when the region is covered; positive: it speaks for it."""
    shares: Array
    """(region, output): the region's part of the magnitude of gradient x input; what is missing to 1 lies in air."""
    sizes: Array
    """(region,): the region's part of all voxels, which `shares` would be if place did not matter."""
    scores: Array
    """(output,): clean scores, logits for classes."""
    unit: str
    left_out: tuple[str, ...] = ()
    """Which outputs have no column and why."""


def influence_of(explainer: Explainer, ready: Ready, how: Influencing) -> Influence:
    """The influence of every labelled region of a case on every output, each output over its own predicted region.

    Costs a forward for each region and one more, and a backward for each output. Raises `InputError` where there are
    no regions, or nothing was predicted.
    """
    targets, left_out = outputs_of(ready)
    labels = regions_of(ready, how.regions)
    regions = tuple(int(one) for one in labels.unique() if one != AIR)
    clean, falls = _falls(explainer, ready, list(targets.values()), labels, regions, how.fill)
    shares = _shares(explainer, ready, list(targets.values()), labels, regions)
    sizes = np.array([float((labels == region).double().mean()) for region in regions])
    unit = next(iter(targets.values())).unit
    return Influence(regions, tuple(targets), falls, shares, sizes, clean, unit, tuple(left_out))


def outputs_of(ready: Ready) -> tuple[dict[int, Target], list[str]]:
    """The target of each output that was predicted, and sentences on the others."""
    told = ready.prediction
    if told.kind != "segmentation":
        kind = ClassScore if told.kind == "classification" else Regression
        return {number: kind(number) for number in range(len(told.scores))}, []
    if isinstance(told.default_target, Region) and told.default_target.over == "whole":
        return {0: told.default_target}, []
    classes = range(0 if told.overlapping else 1, len(told.scores))
    found: dict[int, Target] = {number: Region(number) for number in classes if told.scores[number]}
    if not found:
        raise InputError("influence needs an output to measure, but the model predicts no label anywhere")
    return found, [f"label {number} is predicted nowhere" for number in classes if number not in found]


def regions_of(ready: Ready, kind: str) -> Tensor:
    """Labels (*space) of the regions on the tensor's grid; `AIR` where an unlabelled voxel shows nothing."""
    given: Mapping[str, Tensor | None] = {
        "segments": None if ready.labels is None else ready.labels[0],
        "mask": None if ready.region is None else ready.region[0],
        "predicted": _predicted(ready),
    }
    chosen = next((one for one in given if given[one] is not None), "predicted") if kind == "auto" else kind
    labels = given[chosen]
    if labels is None:
        raise InputError(f"influence: regions={chosen!r} needs them, got none; pass --segments or --mask")
    labels = labels.to(ready.x.device, torch.long)
    if not bool(labels.any()):
        raise InputError(f"influence: regions={chosen!r} must have a label besides 0, got none")
    return labels.where(~((labels == 0) & air(ready.x)[0]), AIR)


def _predicted(ready: Ready) -> Tensor | None:
    labels = ready.prediction.labels
    return labels if labels is not None and labels.shape == ready.x.shape[2:] else None


def air(x: Tensor) -> Tensor:
    """Where every channel of a batch shows its least value (batch, *space), in images that have a flat background."""
    least = x.flatten(2).amin(dim=2).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    dark = (x <= least).all(dim=1)
    flat = dark.flatten(1).double().mean(dim=1) > FLAT_BACKGROUND
    return dark & flat.reshape(-1, *[1] * (x.ndim - 2))


def _falls(
    explainer: Explainer,
    ready: Ready,
    targets: Sequence[Target],
    labels: Tensor,
    regions: Sequence[int],
    fill: float | str,
) -> tuple[Array, Array]:
    """Clean scores (output,), and by how much covering each region lowers them (region, output)."""
    score, head = explainer.score(ready, targets[0]), explainer.model.head
    output = score.output(ready.x)
    choices = [target.choose(output, head, None) for target in targets]

    def read(output: Tensor) -> Array:
        values = [target.read(output, choice, head) for target, choice in zip(targets, choices, strict=True)]
        return np.array([float(value[0]) for value in values])

    clean, cover = read(output), _cover(ready.x, labels, fill)
    covered = [read(score.output(torch.where(labels == region, cover, ready.x))) for region in regions]
    return clean, clean - np.stack(covered)


def _cover(x: Tensor, labels: Tensor, fill: float | str) -> Tensor:
    """What is put in a region's place (1, channel, *space)."""
    if fill != "tissue":
        return baseline(x, fill)
    tissue = labels == 0
    tissue = tissue if bool(tissue.any()) else labels != AIR
    means = x[:, :, tissue].mean(dim=2)
    return means.reshape(*means.shape, *[1] * labels.ndim).expand_as(x)


def _shares(
    explainer: Explainer, ready: Ready, targets: Sequence[Target], labels: Tensor, regions: Sequence[int]
) -> Array:
    """Each region's part of the magnitude of gradient x input (region, output); NaN where there is none at all."""
    scores = [explainer.score(ready, target) for target in targets]
    found = found_together(scores, [InputXGradient()] * len(targets), ready.x, each=False)
    columns = []
    for one in found:
        if isinstance(one, Map):  # errors were raised
            size = one.values[0].double().abs().sum(dim=0)
            parts = torch.stack([size[labels == region].sum() for region in regions])
            columns.append((parts / size.sum()).cpu().numpy())
    return np.stack(columns, axis=1)
