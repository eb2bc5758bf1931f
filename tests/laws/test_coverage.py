"""Standard errors are what they claim: over many seeds, 95 % intervals cover the long-run value in 95 % of voxels."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.nets import batch, seeded
from voxplain.methods import method
from voxplain.methods.base import Sampled
from voxplain.score.score import Score

SAMPLED = {
    "smoothgrad": "smoothgrad(noise_std=0.3)",
    "smoothgrad_squared": "smoothgrad(noise_std=0.3, kind='squared')",
    "expected_gradients": "expected_gradients",
    "rise": "rise(cells=3)",
    "shapley_sampling": "shapley_sampling(segmenter='grid', segments=9, antithetic=False)",
}
"""Methods whose map is a mean over draws."""

WITHIN = 1.96
"""Standard errors on either side that hold 95 % of a normal distribution."""

LONG_RUN = 50
"""How many times more draws stand for infinitely many: their own error widens the true interval by 1 %."""

every_method = pytest.mark.parametrize("name", sorted(SAMPLED))


class Smooth(nn.Module):
    """A network without kinks: its gradients under noise have a variance everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = nn.functional.softplus(2 * self.first(x))
        return self.head(torch.tanh(self.second(x)).flatten(2).mean(2))


def coverage(name: str, seeds: int, samples: int) -> float:
    """The share of voxels, averaged over seeds, whose interval holds the long-run value."""
    reference = batch(2, count=4, channels=1, side=7, seed=9)
    score = Score(seeded(Smooth), "class_score(1)", reference=reference, chunk=256)
    x = batch(2, count=1, channels=1, side=7)
    built = method(SAMPLED[name])
    assert isinstance(built, Sampled)
    truth = replace(built, samples=LONG_RUN * samples, seed=10**6)(score, x).values
    shares = []
    for seed in range(seeds):
        found = replace(built, samples=samples, seed=seed)(score, x)
        assert found.standard_error is not None
        held = (found.values - truth).abs() <= WITHIN * found.standard_error
        shares.append(held.double().mean().item())
    return sum(shares) / seeds


@pytest.mark.slow
@every_method
def test_intervals_of_200_samples_cover_95_percent_over_200_seeds(name):
    assert coverage(name, seeds=200, samples=200) == pytest.approx(0.95, abs=0.02)


@every_method
def test_intervals_cover_95_percent_roughly_where_seeds_are_few(name):
    assert coverage(name, seeds=25, samples=30) == pytest.approx(0.95, abs=0.05)
