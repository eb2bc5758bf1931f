"""A linear score with a known map, and what metrics of it must be."""

import torch

from tests.nets import Linear, batch, seeded
from voxplain.metrics import metric
from voxplain.score.score import Score


def linear(rank=2, channels=2, side=5, **options):
    """A score <w, x> + b, one input, and what each voxel adds to the score beyond zero (channel, *space)."""
    x = batch(rank, count=1, channels=channels, side=side)
    module = seeded(Linear, tuple(x.shape[1:]))
    return Score(module, "class_score(1)", **options), x, (module.weight[1] * x[0]).detach()


def weights(score):
    """The gradient of the linear score (channel, *space)."""
    return score.model.module.weight[1].detach()


def noise(like, count, seed=0):
    """Maps that know nothing (count, *shape of like)."""
    return torch.randn(count, *like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ask(spec, score, x, *maps, **options):
    """What a metric found about each map."""
    return metric(spec)(score, x, maps, **options)


def value(spec, score, x, values, **options):
    """The number of one map."""
    (found,) = ask(spec, score, x, values, **options)
    return found.value
