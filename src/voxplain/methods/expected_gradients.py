"""Expected gradients. Erion et al., Nature Machine Intelligence 2021, arXiv:1906.10670, equation 4."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.base import Map, Sampled
from voxplain.ops.draws import uniform
from voxplain.ops.references import references
from voxplain.ops.rounds import rounds
from voxplain.ops.running import RunningMean
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class ExpectedGradients(Sampled):
    """What each voxel contributes on the way to the image from baselines drawn among reference images.

    Each draw takes one reference image and one point on the way at random. Signed, in units of the score.
    Law: in expectation the map sums to f(x) - mean f(reference); by how much it misses is reported.
    Costs 2 n + 1 forwards, and one a reference image.
    """

    name = "expected_gradients"
    title: ClassVar[str] = "Expected gradients"
    citation: ClassVar[str] = "Erion et al., Improving performance of deep learning models, arXiv:1906.10670"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - mean f(reference) in expectation"
    cost: ClassVar[str] = "1 + references + 2 samples"
    needs_reference: ClassVar[bool] = True

    samples: int = 200
    """Draws of a reference image and a point on the way to it."""

    def _map(self, score: Score, x: Tensor) -> Map:
        images = references(score.reference, x, self.name)
        at_x, frozen = score.freeze(x)
        at_images = _mean_score(frozen, images, x)
        totals = [RunningMean(x.shape[1:], x.device) for _ in x]
        precise = lambda n: self._precise(totals[n].mean[None], totals[n].standard_error[None])  # noqa: E731
        for going, draws in rounds(self._schedule(), len(x), precise):
            self._draw(frozen, x, images, totals, going, draws)
        values = torch.stack([total.mean for total in totals])
        gap = values.flatten(1).sum(dim=1) - (at_x - at_images)
        used = torch.tensor([total.count for total in totals])
        error = torch.stack([total.standard_error for total in totals]).to(x.dtype) if self.samples > 1 else None
        return Map(
            values.to(x.dtype),
            self.quantity,
            score.target.unit,
            standard_error=error,
            numbers={"score_at_baseline": at_images, "completeness_gap": gap, "samples": used},
            score=at_x,
            classes=frozen.classes,
        )

    def _draw(
        self, score: Score, x: Tensor, images: Tensor, totals: list[RunningMean], going: list[int], draws: range
    ) -> None:
        """Add some draws to the totals of the samples that go on; every sample sees the same draws."""
        place = torch.tensor(going)

        def start(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            numbers = [draws[n] for n in (index // len(going)).tolist()]
            which, alpha = uniform(self._seed(score), numbers, (2,)).unbind(dim=1)
            picked = images[(which * len(images)).long()]
            return picked, place[index % len(going)], alpha.reshape(-1, *[1] * (x.ndim - 1))

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            picked, rows, alpha = start(index)
            return picked + alpha.to(x) * (x[rows] - picked), rows

        for piece in score.stream_grad(len(draws) * len(going), make, like=x):
            picked, rows, _ = start(piece.samples)
            parts = piece.gradient.double() * (x[rows] - picked).double()
            for n in rows.unique().tolist():
                totals[n].add(parts[rows == n])


def _mean_score(score: Score, images: Tensor, x: Tensor) -> Tensor:
    """The mean score of the reference images for each sample's class (batch,), float64."""
    total, count = torch.zeros(len(x), dtype=torch.float64, device=x.device), len(x)
    make = lambda index: (images[index // count], index % count)  # noqa: E731
    for piece in score.stream(len(images) * count, make, like=x):
        total.index_add_(0, (piece.samples % count).to(x.device), piece.values)
    return total / len(images)
