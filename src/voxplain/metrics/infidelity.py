"""Infidelity: how far a map is from foretelling what perturbations do. Yeh et al., NeurIPS 2019, arXiv:1901.09392."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import PerturbedMetric
from voxplain.ops.draws import normal, uniform

PARTS = 4
"""Without a side given a patch is about so many times shorter than the image."""


@dataclass(frozen=True, kw_only=True)
class Infidelity(PerturbedMetric):
    """Mean of (I . S - (f(x) - f(x - I)))^2 over perturbations I of the clean image, each on its own; squared score.

    0 where the map foretells every fall. The chance level is what a blank map gets. Perturbations are the same for all
    maps. Costs samples forwards.
    """

    name: ClassVar[str] = "infidelity"
    title: ClassVar[str] = "Infidelity"
    citation: ClassVar[str] = (
        "Yeh et al.: On the (in)fidelity and sensitivity of explanations. NeurIPS (2019), arXiv:1901.09392"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    perturbation: Literal["patch", "noise"] = "patch"
    """A square or cube at a random place is replaced, or Gaussian noise is taken from every voxel."""
    side: int | None = None
    """Side of the patch in voxels; left out: a quarter of each side of the image."""
    noise: float = 0.2
    """Standard deviation of the noise, as a share of each channel's own."""
    samples: int = 64
    """Perturbations drawn."""
    reading: Literal["gradient", "contribution"] = "gradient"
    """gradient: values are multiplied by the change of each voxel; contribution: those of a patch are summed up."""
    scaled: bool = True
    """Multiply each map by the positive number that suits it best (as Yeh et al. do to compare methods), so that its
    unit does not count; false: the definition itself."""

    def _check(self) -> None:
        super()._check()
        self._require(self.side is None or self.side >= 1, "side", "at least 1")
        self._require(self.noise > 0, "noise", "more than 0")
        self._require(self.samples >= 1, "samples", "at least 1")
        patches = self.perturbation == "patch"
        self._require(patches or self.reading == "gradient", "reading", "'gradient' with perturbation='noise'")

    def _measure(self, probe: Probe) -> list[Measured]:
        foretold = torch.empty(len(probe.maps), self.samples, dtype=torch.float64, device=probe.x.device)

        def make(index: Tensor) -> Tensor:
            change, gone = self._changes(probe, index)
            weight = change if self.reading == "gradient" else gone
            for row, values in zip(foretold, probe.maps, strict=True):
                row[index] = (weight * values).flatten(1).sum(dim=1, dtype=torch.float64)
            return probe.x - change

        falls = probe.clean - probe.scores(self.samples, make)
        return [self._judge(row, falls) for row in foretold]

    def _judge(self, foretold: Tensor, falls: Tensor) -> Measured:
        fit = float(foretold @ falls) / max(float(foretold @ foretold), torch.finfo(torch.float64).tiny)
        # A map that points the wrong way shall not gain from being turned round: at best it counts as blank.
        scale = max(fit, 0.0) if self.scaled else 1.0
        value = float((scale * foretold - falls).square().mean())
        return Measured(value, chance=float(falls.square().mean()), numbers={"scale": scale})

    def _changes(self, probe: Probe, index: Tensor) -> tuple[Tensor, Tensor]:
        """What perturbations take away (n, channel, *space), and 1 where they do."""
        seed, x = self._seed(probe), probe.x
        if self.perturbation == "noise":
            deviation = x.flatten(2).double().std(dim=2, correction=0).reshape(1, -1, *[1] * (x.ndim - 2))
            change = self.noise * deviation * normal(seed, index, x.shape[1:], x.device)
            return change.to(x.dtype), torch.ones_like(x)
        gone = self._patches(x, uniform(seed, index, [x.ndim - 2]))
        return torch.where(gone[:, None], x - self._without(probe, gone), 0.0), gone[:, None].to(x.dtype)

    def _patches(self, x: Tensor, places: Tensor) -> Tensor:
        """Voxels (n, *space) of patches that lie whole in the image, at places (n, axis) uniform in 0..1."""
        gone = torch.ones((len(places), *[1] * (x.ndim - 2)), dtype=torch.bool, device=x.device)
        for axis, length in enumerate(x.shape[2:]):
            side = min(length, max(1, round(length / PARTS)) if self.side is None else self.side)
            start = (places[:, axis] * (length - side + 1)).floor().to(x.device)
            apart = torch.arange(length, device=x.device) - start[:, None]
            inside = (apart >= 0) & (apart < side)
            gone = gone & inside.reshape(len(places), *[length if n == axis else 1 for n in range(x.ndim - 2)])
        return gone
