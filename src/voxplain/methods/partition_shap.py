"""Partition SHAP: Owen values over halved boxes. Owen 1977; Lundberg and Lee, NIPS 2017, arXiv:1705.07874; shap."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import baseline
from voxplain.ops.box_mean import box_mean
from voxplain.ops.halving import Box, place, spread, whole
from voxplain.ops.owen import OwenTree
from voxplain.ops.per_axis import listed, per_axis
from voxplain.ops.references import references
from voxplain.ops.ties import step_of
from voxplain.score.score import Make, Score
from voxplain.types import Access, Quantity

Wanted = list[tuple[int, tuple[Box, ...]]]
"""Sample of the batch and the boxes of it that are present."""


@dataclass(frozen=True, kw_only=True)
class PartitionShap(Method):
    """What each voxel and channel adds to the score (Owen values), in units of the score; the rest is 'absent'.

    Law (efficiency): the map sums to f(x) - f(absent) whatever the budget; boxes that were never opened share their
    value evenly. With enough evaluations the values are exact. Costs `max_evals` forwards (and one for all classes).
    """

    name = "partition_shap"
    title: ClassVar[str] = "Partition SHAP"
    citation: ClassVar[str] = "Lundberg and Lee, A unified approach to interpreting predictions, arXiv:1705.07874"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(absent)"
    cost: ClassVar[str] = "max_evals"

    max_evals: int = 500
    """Images scored at most, the one explained and the absent one among them."""
    absent: float | Literal["blur", "zero", "mean", "minimum", "reference"] = "blur"
    """What absent voxels show: blur (a box mean), zero, mean, minimum, the first reference image, or a number."""
    size: int | tuple[int, ...] = 64
    """Side of the box of absent='blur' in voxels, one number or one an axis."""
    classes: Literal["all", "explained"] = "all"
    """Open boxes by what they change in any class, which gives a map of each, or in the explained one alone."""
    together: int = 10
    """Images scored before the next boxes are chosen (shap's batch size); the order of opening depends on it."""

    def _check(self) -> None:
        self._require(self.max_evals >= 2, "max_evals", "at least 2")
        self._require(min(listed(self.size), default=0) >= 1, "size", "at least 1")
        self._require(self.together >= 2, "together", "at least 2")

    def _map(self, score: Score, x: Tensor) -> Map:
        clean, frozen = score.freeze(x)
        absent = self._absent(score, x)
        base = self._scores(frozen, len(x), lambda index: (absent[index], index), x)
        present = clean[:, None]
        if self.classes == "all":
            present = self._scores(frozen, len(x), lambda index: (x[index], index), x)
        trees = self._opened(frozen, x, absent, base, present)
        every = torch.stack([spread(tree.settle(), tuple(x.shape[1:])) for tree in trees]).to(x.device)
        column = frozen.classes.to(x.device) if self.classes == "all" else torch.zeros(len(x), dtype=torch.long)
        at_absent, values = (part[torch.arange(len(x)), column] for part in (base, every))
        return Map(
            values.to(x.dtype),
            self.quantity,
            score.target.unit,
            numbers={
                "score_at_baseline": at_absent,
                "completeness_gap": values.flatten(1).sum(dim=1) - (clean - at_absent),
                "evaluations": torch.tensor([tree.evaluations + 2 for tree in trees]),
            },
            score=clean,
            classes=frozen.classes,
            by_class=every.to(x.dtype) if self.classes == "all" else None,
        )

    def _opened(self, score: Score, x: Tensor, absent: Tensor, base: Tensor, present: Tensor) -> list[OwenTree]:
        """One tree a sample, opened in rounds until the budget is spent; a round of all samples shares its chunks."""
        steps = step_of(torch.maximum(base.abs(), present.abs()).amax(dim=1), score.model.dtype).tolist()
        box = whole(tuple(x.shape[1:]))
        trees = [OwenTree(box, *ends) for ends in zip(base.cpu(), present.cpu(), steps, strict=True)]
        while True:
            asked = [tree.ask(min(self.together, self.max_evals - 2 - tree.evaluations)) for tree in trees]
            wanted = [(row, boxes) for row, coalitions in enumerate(asked) for boxes in coalitions]
            if not wanted:
                return trees
            scores = iter(self._coalitions(score, x, absent, wanted).cpu())
            for tree, coalitions in zip(trees, asked, strict=True):
                tree.tell([next(scores) for _ in coalitions])

    def _coalitions(self, score: Score, x: Tensor, absent: Tensor, wanted: Wanted) -> Tensor:
        """Scores (n, class) of images in which only the wanted boxes are present."""

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            chosen = [wanted[number] for number in index.tolist()]
            rows = torch.tensor([row for row, _ in chosen])
            batch = absent[rows.to(x.device)]  # a copy
            for slot, (row, boxes) in enumerate(chosen):
                for box in boxes:
                    batch[slot][place(box)] = x[row][place(box)]
            return batch, rows

        return self._scores(score, len(wanted), make, x)

    def _scores(self, score: Score, count: int, make: Make, x: Tensor) -> Tensor:
        """Scores (n, class) of images that `make` builds; the explained class is the only column where it is alone."""
        every = self.classes == "all"
        values = torch.cat([piece.values for piece in score.stream(count, make, like=x, every=every)])
        return values if every else values[:, None]

    def _absent(self, score: Score, x: Tensor) -> Tensor:
        """What absent voxels show, in the shape of the batch."""
        if self.absent == "blur":
            return box_mean(x, per_axis(self.size, x.ndim - 2, "partition_shap: size"))
        if self.absent == "reference":
            return references(score.reference, x, self.name)[:1].expand_as(x)
        return baseline(x, self.absent)
