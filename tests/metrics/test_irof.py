import numpy as np
import pytest
import torch

from tests.metrics.linear import ask, linear, noise, value
from voxplain.metrics import metric

GIVEN = "irof(segmenter='given', imputer='zero')"


def labelled(rank=2, **options):
    """A linear score of an input cut into parts of very different sizes, and above 0."""
    score, x, worth = linear(rank, **options)
    labels = torch.zeros(1, *x.shape[2:], dtype=torch.int64)
    labels.view(-1)[:] = (torch.arange(labels.numel()).double() ** 0.5).long()
    score.segments = 10 * labels
    with torch.no_grad():
        score.model.module.bias[1] += 30 - float(score(x)[0])
    return score, x, worth, labels[0]


@pytest.mark.parametrize("rank", [2, 3])
def test_is_the_area_over_the_share_of_the_score_left(rank):
    score, x, worth, labels = labelled(rank)
    means = [float(worth.sum(0)[labels == n].mean()) for n in range(int(labels.max()) + 1)]
    image, left = x.clone(), [1.0]
    for number in np.argsort(means)[::-1]:
        image[:, :, labels == number] = 0
        left.append(float(score(image)[0]) / 30)
    found = ask(GIVEN, score, x, worth)[0]
    assert found.value == pytest.approx(1 - np.trapezoid(left, dx=1 / len(means)))
    assert found.curves["share of the score left"].values == pytest.approx(left)


def test_a_segments_value_is_its_mean_and_not_its_sum():
    """Sums would let the largest segment win wherever a map is positive."""
    score, x, worth, labels = labelled()
    sums = torch.zeros_like(worth[:1])
    for number in range(int(labels.max()) + 1):
        sums[0][labels == number] = (worth + 5).sum(0)[labels == number].sum()
    assert value(GIVEN, score, x, worth + 5) != pytest.approx(value(GIVEN, score, x, sums))
    assert value(GIVEN, score, x, worth + 5) == value(GIVEN, score, x, worth)


def test_no_map_beats_the_worth_of_each_segment_when_segments_are_alike():
    score, x, worth, _ = labelled()
    score.segments = torch.arange(worth[0].numel()).reshape(1, *worth.shape[1:]) // 5
    found = [one.value for one in ask(GIVEN, score, x, worth, *noise(worth, 20))]
    assert found[0] > max(found[1:])


@pytest.mark.parametrize("segmenter", ["slic", "grid"])
@pytest.mark.parametrize("rank", [2, 3])
def test_cuts_the_image_itself(rank, segmenter):
    """Quantus' IROF fails with NumPy 2.4, and on volumes."""
    score, x, worth, _ = labelled(rank, side=12)
    x = torch.nn.functional.interpolate(x, scale_factor=2)[(..., *[slice(0, side) for side in x.shape[2:]])]
    with torch.no_grad():
        score.model.module.bias[1] += 1000
    (found,) = ask(f"irof(segmenter='{segmenter}', segments=9)", score, x, worth)
    assert np.isfinite(found.value)
    assert len(found.curves["share of the score left"].at) > 2


def test_takes_the_mean_of_the_image_for_removed_segments():
    assert metric("irof").imputer == "mean"


def test_does_not_apply_where_the_score_is_not_above_0():
    score, x, worth, _ = labelled()
    with torch.no_grad():
        score.model.module.bias[1] -= 31
    assert ask("irof", score, x, worth)[0].reason == "the clean score is not above 0, so that no share of it remains"


def test_does_not_apply_to_an_image_of_one_segment():
    score, x, worth, _ = labelled()
    score.segments = torch.ones(1, *x.shape[2:], dtype=torch.int64)
    assert ask(GIVEN, score, x, worth)[0].reason == "the image could not be cut into segments"
