"""Hierarchical occlusion, coarse to fine: the label-flip search of the distal-myopathy study, and by score drop."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError, OptionError
from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import baseline
from voxplain.ops.nested_windows import Keep, Search, Sides, above, flipped, largest, levels, region_of
from voxplain.ops.noise import noise
from voxplain.ops.patches import Window
from voxplain.ops.per_axis import listed, per_axis
from voxplain.ops.ties import step_of
from voxplain.score.score import Make, Score
from voxplain.score.windows import covered_scores
from voxplain.score.windows_covered import Covered
from voxplain.types import Access, Quantity

TOP = 25.0
"""Per cent of a level's windows that are refined unless told otherwise: in 2D every level then costs about the same."""

Fill = Literal["opposite", "zero", "one", "mean", "minimum", "blur", "noise"]


@dataclass(frozen=True, kw_only=True)
class HierarchicalOcclusion(Method):
    """Where covering windows hurts the score (or flips the label), searched from large windows to small ones.

    'score_drop': what the score loses, in its own units, summed over the levels; only the windows that lose most are
    searched on, by smaller ones inside them. 'label_flip': on how many levels a window over the voxel changes the
    predicted label; only flipping windows are searched on. The levels are parts. Costs 1 + windows forwards.
    """

    name = "hierarchical_occlusion"
    title: ClassVar[str] = "Hierarchical occlusion"
    citation: ClassVar[str] = "Distal-myopathy MRI study, hierarchical occlusion (xai-for-mri)"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "the sum of its levels; a level is the largest fall of the score under any of its windows"
    cost: ClassVar[str] = "1 + evaluations"

    mode: Literal["score_drop", "label_flip"] = "score_drop"
    """What is looked for: the fall of the score, or a change of the predicted label."""
    window: int | tuple[int, ...] | None = None
    """Side of the first windows in voxels, one or one an axis; left out: a quarter of each side (label_flip: half)."""
    stride: int | tuple[int, ...] | None = None
    """Distance between the first windows; left out: the window (label_flip: a quarter of it). Both halve each level."""
    min_window: int | tuple[int, ...] | None = None
    """Windows above this side are halved once more; left out: a sixteenth of the first window, at least 1."""
    fill: float | Fill | None = None
    """What covers: opposite (white for class 0, else black), zero, one, mean, minimum, blur, noise or a number.

    Left out: zero (label_flip: opposite).
    """
    black: float = 0.0
    """What 'opposite' calls black, in units of the network's input."""
    white: float = 1.0
    """What 'opposite' calls white, in units of the network's input."""
    top: float | None = None
    """score_drop: refine this per cent of a level's windows, those with the largest falls; left out: 25."""
    threshold: float | None = None
    """score_drop: refine windows whose fall is above this, instead of the top share."""
    overlap: Literal["max", "mean"] = "max"
    """score_drop: what a voxel under several windows of a level gets."""
    labels: Literal["difference", "changed"] = "difference"
    """label_flip: count by how much the label's number differs, as the study does, or every other label as 1."""
    fallback: bool = True
    """label_flip: an image without any flip is searched again with zeros as fill."""
    evaluations: int | None = None
    """Covered images a sample at most (the fallback has as many again); left out: no limit."""
    roi: tuple[int, ...] = ()
    """First and past-the-last voxel of the part to search, such as (i0, j0, i1, j1); left out: all of the image."""
    seed: int | None = None
    """Seed of fill='noise'; left out: the run's own."""

    def _check(self) -> None:
        for option in ("window", "stride", "min_window"):
            self._require(min(listed(getattr(self, option)), default=1) >= 1, option, "at least 1")
            self._require(getattr(self, option) != (), option, "a number or one an axis")
        self._require(self.top is None or 0 < self.top <= 100, "top", "above 0 and at most 100")
        self._require(self.threshold is None or self.threshold >= 0, "threshold", "at least 0")
        self._require(self.evaluations is None or self.evaluations >= 1, "evaluations", "at least 1")
        self._require(self.seed is None or self.seed >= 0, "seed", "at least 0")
        self._require(self.top is None or self.threshold is None, "top", "left out with threshold")
        flips = self.mode == "label_flip"
        for option in ("top", "threshold"):
            self._require(not flips or getattr(self, option) is None, option, "left out with mode='label_flip'")
        self._require(not flips or self.overlap == "max", "overlap", "'max' with mode='label_flip'")

    def _map(self, score: Score, x: Tensor) -> Map:
        if self._flips and score.target.name == "regression":
            raise InputError("hierarchical_occlusion: a regression has no label to flip; use mode='score_drop'")
        clean, frozen = score.freeze(x)
        known = self._labels(frozen, len(x), lambda index: (x[index], index), x) if self._flips else clean
        cover, everyone = self._cover(score, x, frozen.classes), list(range(len(x)))
        found = self._searched(frozen, x, cover, known, everyone)
        empty = [n for n in everyone if self._flips and self.fallback and not found[n].maps.any() and cover[n].any()]
        for n, again in zip(empty, self._searched(frozen, x, torch.zeros_like(x), known, empty), strict=True):
            again.counts = [a + b for a, b in zip(again.counts, found[n].counts, strict=True)]
            found[n] = again
        maps = torch.stack([search.maps for search in found])[:, :, None]
        counts = torch.tensor([search.counts for search in found])
        numbers = {"evaluations": counts.sum(dim=1)}
        numbers |= {f"windows_level_{n}": count for n, count in enumerate(counts.unbind(dim=1), start=1)}
        return Map(
            maps.sum(dim=1).to(x),
            self.quantity,
            "levels" if self._flips else f"{score.target.unit} (falls when covered, summed over levels)",
            parts={f"level_{n}": part.to(x) for n, part in enumerate(maps.unbind(dim=1), start=1)},
            numbers=numbers | (_counters(known, maps, empty) if self._flips else {}),
            score=clean,
            classes=frozen.classes,
        )

    @property
    def _flips(self) -> bool:
        return self.mode == "label_flip"

    def _searched(self, score: Score, x: Tensor, cover: Tensor, known: Tensor, rows: list[int]) -> list[Search]:
        """The finished search of each of the given samples; a level of all of them shares its chunks."""
        searches = [self._search(score, tuple(x.shape[2:]), known[row]) for row in rows]
        while jobs := [(row, at) for row, search in zip(rows, searches, strict=True) for at in search.ask()]:
            worth = self._worth(score, x, cover, known, jobs).cpu()
            for search in searches:
                count = len(search.ask())
                if count:
                    search.tell(worth[:count])
                worth = worth[count:]
        return searches

    def _worth(self, score: Score, x: Tensor, cover: Tensor, known: Tensor, jobs: list[tuple[int, Window]]) -> Tensor:
        """What covering each window does to its sample (window,): the fall of the score, or the change of the label."""
        samples = torch.tensor([row for row, _ in jobs])
        covered = Covered(x, cover, samples, [window for _, window in jobs])
        before = known[samples.to(known.device)]
        found = covered_scores(score, covered, every=self._flips).values
        if not self._flips:
            return (before - found).clamp_min(0)
        change = (found.argmax(1) - before).abs().double()
        return change if self.labels == "difference" else change.clamp_max(1)

    @staticmethod
    def _labels(score: Score, count: int, make: Make, x: Tensor) -> Tensor:
        """The predicted class (n,) of images that `make` builds."""
        return torch.cat([piece.values.argmax(1) for piece in score.stream(count, make, like=x, every=True)])

    def _search(self, score: Score, size: tuple[int, ...], known: Tensor) -> Search:
        region = region_of(self.roi, size, "hierarchical_occlusion: roi")
        plan = self._plan([part.stop - part.start for part in region])
        keep: Keep = flipped
        if not self._flips:
            step = float(step_of(known, score.model.dtype))
            keep = partial(largest, share=(TOP if self.top is None else self.top) / 100, step=step)
        if self.threshold is not None:
            keep = partial(above, threshold=self.threshold)
        mean = self.overlap == "mean"
        search = Search(size, region, plan, keep, clipped=not self._flips, mean=mean, limit=self.evaluations)
        if self.evaluations is not None and len(search.ask()) > self.evaluations:
            needed = f"at least {len(search.ask())}, the windows of the first level"
            raise OptionError(f"hierarchical_occlusion: evaluations must be {needed}, got {self.evaluations}")
        return search

    def _plan(self, lengths: list[int]) -> list[tuple[Sides, Sides]]:
        """Window and stride of each level."""

        def given(option: str, otherwise: list[int]) -> Sides:
            value = getattr(self, option)
            chosen = per_axis(value, len(lengths), f"hierarchical_occlusion: {option}") if value else otherwise
            return tuple(max(side, 1) for side in chosen)

        window = given("window", [length // (2 if self._flips else 4) for length in lengths])
        stride = given("stride", [side // 4 for side in window] if self._flips else list(window))
        if any(hop > side for hop, side in zip(stride, window, strict=True)):
            raise OptionError(f"hierarchical_occlusion: stride must not exceed the window {window}, got {stride}")
        return levels(window, stride, given("min_window", [side // 16 for side in window]))

    def _cover(self, score: Score, x: Tensor, classes: Tensor) -> Tensor:
        """What covers each sample, in the shape of the batch."""
        fill = ("opposite" if self._flips else "zero") if self.fill is None else self.fill
        each = (-1, *[1] * (x.ndim - 1))
        if fill == "opposite":  # bright tissue is evidence of disease in the study: covered black, or white if healthy
            healthy = (classes == 0).to(x.device).reshape(each)
            return torch.where(healthy, self.white, self.black).to(x.dtype).expand_as(x)
        if fill == "noise":
            return noise(x, score.seed if self.seed is None else self.seed)
        return baseline(x, 1.0 if fill == "one" else fill)


def _counters(known: Tensor, maps: Tensor, again: list[int]) -> dict[str, Any]:
    """Of each sample its label, whether its map says anything and took the fallback; of each label how many there are.

    The counts are the study's: how many images of the batch got a label, and how many of these an informative map.
    """
    informative = maps.flatten(1).amax(dim=1) >= 1
    counts = {}
    for label in known.unique().tolist():
        counts[f"predicted_as_{label}"] = int((known == label).sum())
        counts[f"informative_as_{label}"] = int(informative[(known == label).to(informative.device)].sum())
    fell_back = torch.zeros_like(informative)
    fell_back[again] = True
    return {"label": known, "informative": informative, "fell_back": fell_back, **counts}
