import numpy as np
import pytest
import torch

from tests.metrics.linear import ask, linear, noise, value
from tests.nets import Awkward, batch, seeded
from voxplain.metrics import metric
from voxplain.ops.neighbour_linear import neighbour_linear
from voxplain.score.score import Score

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)


def without(score, x, values, share, *, least):
    """The score with a share of the voxels interpolated, without noise."""
    flat = values.sum(0).flatten() * (1 if least else -1)
    removed = torch.zeros(flat.numel(), dtype=torch.bool)
    removed[flat.argsort()[: round(share * flat.numel())]] = True
    return float(score(neighbour_linear(x, removed.reshape(1, *x.shape[2:])))[0])


@pytest.mark.parametrize("rank", [2, 3])
def test_is_the_mean_score_without_the_least_relevant_less_that_without_the_most(rank):
    score, x, worth = linear(rank)
    lerf, morf = (np.mean([without(score, x, worth, s, least=last) for s in SHARES]) for last in (True, False))
    found = ask("road", score, x, worth)[0]
    # Noise of a hundredth of the image's deviation, through weights of about 1, at up to 100 and 400 voxels.
    assert found.value == pytest.approx(lerf - morf, abs=0.01 * 3 * worth.numel() ** 0.5)
    assert found.value == pytest.approx(found.numbers["lerf"] - found.numbers["morf"])
    assert found.curves["most relevant first"].at == SHARES


@pytest.mark.parametrize("rank", [2, 3])
def test_is_never_constantly_zero(rank):
    """Quantus' ROAD gives 0 whatever the map; ours tells apart maps of an ordinary network."""
    module, x = seeded(Awkward, rank, "classification"), batch(rank, count=1)
    values = [one.value for one in metric("road")(Score(module, "class_score(1)"), x, noise(x[0], 5))]
    assert len({round(one, 9) for one in values}) == 5
    assert min(abs(one) for one in values) > 1e-6


def test_knows_the_better_map():
    score, x, worth = linear(2, side=10)
    good, *others, opposite = [one.value for one in ask("road", score, x, worth, *noise(worth, 10), -worth)]
    assert good > max(others)
    assert opposite == pytest.approx(-good, abs=1e-9)


def test_takes_other_imputers():
    score, x, worth = linear(side=4)  # 24 voxels, 12 of them removed
    most, least = (
        ask("road(imputer='zero', shares=[0.5])", score, x, one)[0].numbers["morf"] for one in (worth, -worth)
    )
    assert most + least == pytest.approx(float((score(x) + score(torch.zeros_like(x)))[0]))


def test_differs_by_imputer():
    score, x, worth = linear()
    assert value("road", score, x, worth) != pytest.approx(value("road(imputer='zero')", score, x, worth))
