"""Region ablation: occlusion (Zeiler, Fergus, ECCV 2014, arXiv:1311.2901, section 4.2) of named regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError, shortened
from voxplain.methods.base import Map, Method
from voxplain.ops import segments
from voxplain.ops.baselines import baseline
from voxplain.score.score import Score
from voxplain.score.windows import covered_scores
from voxplain.score.windows_covered import Covered
from voxplain.types import Access, Quantity

FLAT_BACKGROUND = 0.01
"""Where fewer voxels share the least value the image has no flat background: noise has a least voxel too."""


@dataclass(frozen=True, kw_only=True)
class RegionAblation(Method):
    """How much the score falls when a whole region, such as an organ or an atlas label, is covered; units of the score.

    Positive: the region speaks for the target. `region_labels` and `falls` list the same as numbers. Without labels
    the two regions are the background (0) and the rest (1): a score that falls with the background is a shortcut.
    Costs 1 + regions forwards.
    """

    name = "region_ablation"
    title: ClassVar[str] = "Region ablation"
    citation: ClassVar[str] = "Zeiler and Fergus, Visualizing and understanding convolutional networks, arXiv:1311.2901"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "on a linear score, a region's value is its share of f(x) - f(fill)"
    cost: ClassVar[str] = "1 + regions"

    regions: Literal["auto", "given", "background"] = "auto"
    """given: the labels that come with the image; background: it and the rest; auto: labels if there are any."""
    include_zero: bool = False
    """Cover label 0 of given labels too, which usually means none of the others."""
    background: float | None = None
    """Voxels at or below this value in every channel are background; left out: each channel's least value."""
    fill: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What covers a region: zero, mean, minimum, blur or a number, in units of the network's input."""
    channels: Literal["together", "each"] = "together"
    """Cover all channels at once, or each alone (one map a channel, as many times the cost)."""

    def _check(self) -> None:
        given = self.regions == "given"
        self._require(self.background is None or not given, "background", "left out with regions='given'")
        self._require(not self.include_zero or self.regions != "background", "include_zero", "false without labels")

    def _map(self, score: Score, x: Tensor) -> Map:
        labels, names = self._regions(score, x)
        clean, frozen = score.freeze(x)
        groups = 1 if self.channels == "together" else x.shape[1]
        falls = torch.full((len(x), groups, len(names)), torch.nan, dtype=torch.float64, device=x.device)
        cover, maps = baseline(x, self.fill), []
        for row in range(len(x)):
            here = torch.isin(torch.tensor(names), labels[row].unique().cpu())
            parts = _numbered(labels[row], [name for name, there in zip(names, here, strict=True) if there], groups)
            covered = self._covered(frozen, x, cover, parts, int(here.sum()) * groups, row)
            fall = clean[row] - covered
            falls[row][:, here] = fall.reshape(groups, -1)
            maps.append(torch.cat([fall, fall.new_zeros(1)])[parts])
        listed = falls[:, 0] if self.channels == "together" else falls
        return Map(
            torch.stack(maps).to(x.dtype),
            self.quantity,
            f"{score.target.unit} (fall when covered)",
            parts={"segments": labels[:, None]},
            numbers={"region_labels": names, "falls": listed},
            score=clean,
            classes=frozen.classes,
            notes=(f"regions: {shortened(map(str, names))}",),
        )

    @staticmethod
    def _covered(score: Score, x: Tensor, cover: Tensor, parts: Tensor, count: int, row: int) -> Tensor:
        """Scores (n,) of one sample with each of the numbered parts (group, *space) under its cover."""
        windows = [_bounds((parts == number).any(dim=0)) for number in range(count)]

        def under(index: Tensor) -> Tensor:
            number = index.to(x.device).reshape(-1, *[1] * parts.ndim)
            return torch.where(parts == number, cover[row], x[row])

        rows = torch.full((count,), row)
        return covered_scores(score, Covered(x, under, rows, windows)).values

    def _regions(self, score: Score, x: Tensor) -> tuple[Tensor, list[int]]:
        """Labels (batch, *space) and those of them that are covered, in any sample."""
        if self.regions == "background" or (self.regions == "auto" and score.segments is None):
            return self._background(x), [0, 1]
        labels = segments.given(score.segments, x, self.name)
        kept = labels if self.include_zero else labels.masked_select(labels != 0)
        empty = [row for row, own in enumerate(labels) if not self.include_zero and not own.any()]
        if empty:
            raise InputError(
                "region_ablation: segments must hold a label besides 0, got none; or use include_zero=True"
            )
        return labels, kept.unique().tolist()

    def _background(self, x: Tensor) -> Tensor:
        """0 in the background of each sample and 1 elsewhere."""
        ends = (
            x.flatten(2).amin(dim=2)
            if self.background is None
            else torch.full_like(x.flatten(2)[..., 0], self.background)
        )
        dark = (x <= ends.reshape(*ends.shape, *[1] * (x.ndim - 2))).all(dim=1)
        least = 0.0 if self.background is not None else FLAT_BACKGROUND
        for share in dark.flatten(1).double().mean(dim=1).tolist():
            if not least < share < 1:
                what = "none" if share == 0 else "all" if share == 1 else f"{share:.2g} of them"
                raise InputError(
                    f"region_ablation: the background must be some but not all voxels, got {what}; "
                    "pass background=... or give labelled segments"
                )
        return (~dark).long()


def _numbered(labels: Tensor, names: list[int], groups: int) -> Tensor:
    """Numbers (group, *space) from 0 of the named regions, group by group; the last number is all the rest."""
    rest = len(names) * groups
    parts = torch.full_like(labels, rest)
    for number, name in enumerate(names):
        parts[labels == name] = number
    return torch.stack([torch.where(parts == rest, rest, parts + len(names) * group) for group in range(groups)])


def _bounds(region: Tensor) -> tuple[slice, ...]:
    """The smallest box around the voxels of a region."""
    return tuple(slice(int(places.min()), int(places.max()) + 1) for places in region.nonzero().unbind(1))
