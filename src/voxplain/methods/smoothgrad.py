"""SmoothGrad. Smilkov et al., 2017, arXiv:1706.03825, section 3; squares, variance: Hooker et al., arXiv:1806.10758."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method, Sampled
from voxplain.ops.draws import generator, normal
from voxplain.ops.rounds import rounds
from voxplain.ops.running import RunningMean
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Sampled):
    """The mean of another method's maps over noisy copies of the image, at that method's resolution.

    Meaning, unit and sign are the inner method's; of squares or variances, a strength without sign. Class and region
    are those of the clean image. Law: on a linear score the smoothed gradient is the gradient.
    Costs 1 forward and n times the inner method.
    """

    name = "smoothgrad"
    title: ClassVar[str] = "SmoothGrad"
    citation: ClassVar[str] = "Smilkov et al., SmoothGrad: removing noise by adding noise, arXiv:1706.03825"
    access: ClassVar[Access] = Access.GRADIENT  # of the default inner method
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "is the gradient of a linear score (inner='gradient', kind='mean')"
    cost: ClassVar[str] = "1 + samples x inner"

    inner: Method | None = None
    """The method that is smoothed; left out: gradient."""
    kind: Literal["mean", "squared", "variance"] = "mean"
    """What is taken over the noisy maps: their mean, the mean of their squares, or their variance."""
    samples: int = 25
    """Noisy copies of the image."""
    noise: float = 0.15
    """Standard deviation of the noise as a share of the image's range (largest less smallest value)."""
    noise_std: float | None = None
    """Standard deviation of the noise in units of the network's input, instead of `noise`."""

    def _check(self) -> None:
        super()._check()
        self._require(self.noise > 0, "noise", "more than 0")
        self._require(self.noise_std is None or self.noise_std > 0, "noise_std", "more than 0")
        varies = self.kind == "variance"
        self._require(not varies or self.samples > 1, "samples", "at least 2 for a variance")
        self._require(not varies or self.tolerance is None, "tolerance", "left out for a variance")

    @property
    def needed_access(self) -> Access:
        return self.access if self.inner is None else self.inner.needed_access

    @property
    def wants_reference(self) -> bool:
        return self.inner is not None and self.inner.wants_reference

    @property
    def _slopes(self) -> bool:
        """True where gradients are smoothed: these need no maps of their own, so that many draws fit into a pass."""
        return self.inner is None or self.inner.name == "gradient"

    def _map(self, score: Score, x: Tensor) -> Map:
        clean, frozen = score.freeze(x)
        std, seed = self._std(x), self._seed(score)
        maps, totals = self._begun(score, x)
        precise = lambda n: all(self._enough(rows[n]) for rows in totals)  # noqa: E731
        for going, draws in rounds(self._schedule(), len(x), precise):
            if self._slopes:
                self._add_slopes(frozen, x, std, totals[0], going, draws)
                continue
            for number in draws:
                noise = normal(seed, [number], x.shape[1:], x.device).to(x)
                maps = self._explained(frozen, x + std * noise, seed, number)
                totals = totals or [[RunningMean(one.values.shape[1:], x.device) for _ in x] for one in maps]
                self._add(maps, totals, going)
        used = torch.tensor([row.count for row in totals[0]])
        numbers = {"noise_std": std.flatten(), "samples": used}
        first, *others = [
            replace(self._smooth(one, rows), score=clean, classes=frozen.classes, numbers=numbers)
            for one, rows in zip(maps, totals, strict=True)
        ]
        return replace(first, siblings=tuple(others))

    def _std(self, x: Tensor) -> Tensor:
        """Standard deviation of the noise for each image, shaped to multiply a batch."""
        flat = x.flatten(1)
        std = self.noise * (flat.amax(dim=1) - flat.amin(dim=1))
        if self.noise_std is not None:
            std = torch.full_like(std, self.noise_std)
        return std.reshape(-1, *[1] * (x.ndim - 1))

    def _begun(self, score: Score, x: Tensor) -> tuple[list[Map], list[list[RunningMean]]]:
        """What is smoothed, and a total a map and image; both are known beforehand for gradients only."""
        if not self._slopes:
            return [], []
        slope = Map(x, Quantity.RELEVANCE, f"{score.target.unit} per input unit", derivative=True)
        return [slope], [[RunningMean(x.shape[1:], x.device) for _ in x]]

    def _add_slopes(
        self, score: Score, x: Tensor, std: Tensor, totals: Sequence[RunningMean], going: Sequence[int], draws: range
    ) -> None:
        """Take in the gradients at the noisy copies of these draws, as many at once as fit."""
        some, seed = torch.tensor(going), self._seed(score)

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            numbers, which = torch.unique(index // len(some) + draws.start, return_inverse=True)
            noise = normal(seed, numbers, x.shape[1:], x.device)[which.to(x.device)].to(x)
            rows = some[index % len(some)]
            return x[rows] + std[rows] * noise, rows

        for piece in score.stream_grad(len(some) * len(draws), make, like=x):
            rows = some[piece.samples % len(some)]
            for n in rows.unique().tolist():
                values = piece.gradient[(rows == n).to(x.device)].double()
                totals[n].add(values**2 if self.kind == "squared" else values)

    def _explained(self, score: Score, noisy: Tensor, seed: int, number: int) -> list[Map]:
        """The inner method's maps of noisy copies, one a layer; an inner method that draws gets a seed a copy."""
        inner = self.inner
        if inner is None:
            raise RuntimeError("gradients are smoothed without an inner method")
        if isinstance(inner, Sampled) and inner.seed is None:
            inner = replace(inner, seed=generator(seed, number).initial_seed())
        found = inner(score, noisy)
        return [found, *found.siblings]

    def _add(self, maps: Sequence[Map], totals: Sequence[Sequence[RunningMean]], going: Sequence[int]) -> None:
        for one, rows in zip(maps, totals, strict=True):
            for n in going:
                values = one.values[n : n + 1].double()
                rows[n].add(values**2 if self.kind == "squared" else values)

    def _enough(self, total: RunningMean) -> bool:
        return self._precise(total.mean[None], total.standard_error[None])

    def _smooth(self, one: Map, rows: Sequence[RunningMean]) -> Map:
        """What came out in place of a noisy map."""
        varies = self.kind == "variance"
        values = torch.stack([row.variance if varies else row.mean for row in rows])
        error = None
        if not varies and self.samples > 1:
            error = torch.stack([row.standard_error for row in rows]).to(one.values)
        mean = self.kind == "mean"
        return replace(
            one,
            values=values.to(one.values),
            standard_error=error,
            quantity=one.quantity if mean else Quantity.SALIENCY,
            unit=one.unit if mean else f"square of ({one.unit})",
            derivative=one.derivative and mean,
            parts={},
            siblings=(),
            by_class=None,
        )
