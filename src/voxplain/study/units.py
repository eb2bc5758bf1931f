"""Network dissection: which channels of a layer respond to which label. Bau et al., CVPR 2017, arXiv:1704.05796."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.slices import axial_slice
from voxplain.data.way_back import cell_grid
from voxplain.errors import InputError
from voxplain.ops.top_quantile import TopQuantile
from voxplain.score.cells import even_cells
from voxplain.score.score import Score
from voxplain.score.target import ClassScore, Region, Regression, Target
from voxplain.space.grid import Grid
from voxplain.space.resample import inside, resample
from voxplain.spec import Options
from voxplain.study.explain import Explainer

Array = npt.NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Dissecting(Options):
    """How channels are compared with labels."""

    name: ClassVar[str] = "units"

    layer: str
    """The layer whose channels are looked at."""
    quantile: float = 0.005
    """A channel is active where it exceeds the value that this share of its activations in all cases exceed."""

    def _check(self) -> None:
        self._require(0 < self.quantile < 1, "quantile", "between 0 and 1")


@dataclass(frozen=True, eq=False)
class Activation:
    """One case's activations of a layer, and what they are compared with."""

    image: Image
    labels: npt.NDArray[np.int64]
    """(i, j, k) on the image's grid; -1 where the network saw nothing of the image."""
    values: npt.NDArray[np.float32]
    """(channel, i, j, k) on `cells`."""
    cells: Grid

    def on_image(self, channel: int) -> npt.NDArray[np.float32]:
        """One channel read at the voxels of the image (i, j, k), linear between the centres of its cells."""
        own = self.values[channel : channel + 1]
        return np.asarray(resample(own, self.cells, self.image.grid, outside="edge")[0])


@dataclass(frozen=True, eq=False)
class Units:
    """What the channels of a layer respond to, over all cases together."""

    layer: str
    labels: tuple[int, ...]
    iou: Array
    """(channel, label): voxels that are both active and of the label, over voxels that are either."""
    thresholds: Array
    """(channel,): what activations exceed where a channel is active."""
    active: Array
    """(channel,): share of voxels where it is active."""
    sizes: Array
    """(label,): share of voxels with this label."""

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """(channel,): the place in `labels` of the label that a channel fits best."""
        return np.asarray(self.iou.argmax(axis=1))

    @property
    def chance(self) -> Array:
        """(channel, label): the IoU of a channel as often active, but anywhere."""
        both = self.active[:, None] * self.sizes
        return both / np.maximum(self.active[:, None] + self.sizes - both, np.finfo(np.float64).tiny)

    @property
    def ceiling(self) -> Array:
        """(channel, label): the largest IoU of a channel as often active; the quantile sets it, not the network."""
        lower, upper = np.minimum(self.active[:, None], self.sizes), np.maximum(self.active[:, None], self.sizes)
        return lower / np.maximum(upper, np.finfo(np.float64).tiny)

    @property
    def above_chance(self) -> npt.NDArray[np.bool_]:
        """(channel,): whether it fits its best label better than one that is active anywhere."""
        rows = np.arange(len(self.iou))
        return np.asarray(self.iou[rows, self.best] > self.chance[rows, self.best])

    def ranked(self) -> list[int]:
        """Channels by the IoU with their best label, the highest first."""
        return [int(one) for one in np.argsort(-self.iou.max(axis=1), kind="stable")]


def dissect(explainer: Explainer, cases: Sequence[Case], how: Dissecting, say: Say = lambda line: None) -> Units:
    """Which labels of the cases' masks the channels of a layer respond to.

    Cases are read three times, one forward each: two readings find the exact thresholds over all cases in two
    histograms a channel, whatever the number of cases; the third counts voxels on the images' own grids. Raises
    `InputError` for a case without a mask, or masks without a label.
    """
    if not cases:
        raise InputError("units needs at least one case, got none")
    target = readable(explainer, cases[0])
    tops: TopQuantile | None = None
    labels: set[int] = set()
    for one in _read(explainer, cases, how.layer, target, say, "1 of 3"):
        tops = tops or TopQuantile(len(one.values), how.quantile)
        tops.count(one.values)
        labels |= set(np.unique(one.labels[one.labels > 0]).tolist())
    if tops is None or not labels:
        raise InputError("units needs masks with a label besides 0, got none")
    for one in _read(explainer, cases, how.layer, target, say, "2 of 3"):
        tops.refine(one.values)
    return _counted(explainer, cases, how.layer, target, say, (tops.thresholds, tuple(sorted(labels))))


def _counted(
    explainer: Explainer,
    cases: Sequence[Case],
    layer: str,
    target: Target,
    say: Say,
    known: tuple[npt.NDArray[np.float32], tuple[int, ...]],
) -> Units:
    """Voxels counted on the images' grids, with known thresholds and labels."""
    thresholds, labels = known
    both, sizes = np.zeros((len(thresholds), len(labels))), np.zeros(len(labels))
    active, voxels = np.zeros(len(thresholds)), 0
    for one in _read(explainer, cases, layer, target, say, "3 of 3"):
        seen = one.labels >= 0
        place = np.searchsorted([0, *labels], one.labels[seen])  # 0: no label
        sizes += np.bincount(place, minlength=len(labels) + 1)[1:]
        voxels += int(seen.sum())
        for channel, threshold in enumerate(thresholds):
            on = one.on_image(channel)[seen] > threshold
            active[channel] += on.sum()
            both[channel] += np.bincount(place[on], minlength=len(labels) + 1)[1:]
    either = active[:, None] + sizes - both
    iou = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return Units(layer, labels, iou, thresholds.astype(np.float64), active / voxels, sizes / voxels)


def readable(explainer: Explainer, case: Case) -> Target:
    """Any number of the output: the way forward needs one, and what it is does not matter."""
    kind = explainer.ready(case.image, case.mask, case.slice).prediction.kind
    if kind == "segmentation":
        return Region(0, over="whole")
    return ClassScore(0) if kind == "classification" else Regression(0)


def _read(
    explainer: Explainer, cases: Sequence[Case], layer: str, target: Target, say: Say, reading: str
) -> Iterator[Activation]:
    for number, case in enumerate(cases, 1):
        say(f"reading {reading}, case {number} of {len(cases)}: {case.identifier}")
        yield activation(explainer, case, layer, target)


def activation(explainer: Explainer, case: Case, layer: str, target: Target) -> Activation:
    """The activations of a layer for one case; raises `InputError` where it has no mask."""
    image, mask = _sliced(case.image, case.slice), case.mask and _sliced(case.mask, case.slice)
    if mask is None:
        raise InputError(f"units needs the mask of every case, and case {case.identifier!r} has none")
    model = explainer.model
    prepared = explainer.prepare(image, model.rank or (2 if image.grid.is_2d else 3), mask)
    x = torch.from_numpy(prepared.values)[None].to(model.device, model.dtype)
    (tap,) = Score(model, target, budget=explainer.budget).tap(x, [layer], back=False).taps
    values = tap.activation[0].float().cpu().numpy()
    # A segmenter learns to answer for the voxel itself, so its layers lie as its output does; centres of receptive
    # fields drift where a network pads on one side.
    places = even_cells(tuple(x.shape[2:]), values.shape[1:]) if isinstance(target, Region) else tap.cells
    cells = cell_grid(prepared.grid, places.start, places.step, values.shape[1:])
    labels = np.where(inside(prepared.grid, image.grid), np.rint(mask.values[0]), -1).astype(np.int64)
    return Activation(image, labels, values if values.ndim == 4 else values[..., None], cells)


def _sliced(image: Image, index: int | None) -> Image:
    return image if index is None else axial_slice(image, index)


def unit_rows(units: Units, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each channel and label; `names` are by label."""
    best, chance, ceiling = units.best, units.chance, units.ceiling
    return [
        {
            "layer": units.layer,
            "channel": channel,
            "label": label,
            "label_name": names[label] if label < len(names) else f"label {label}",
            "iou": float(units.iou[channel, place]),
            "best": bool(best[channel] == place),
            "chance": float(chance[channel, place]),
            "ceiling": float(ceiling[channel, place]),
            "threshold": float(units.thresholds[channel]),
            "active": float(units.active[channel]),
            "size": float(units.sizes[place]),
        }
        for channel in range(len(units.iou))
        for place, label in enumerate(units.labels)
    ]
