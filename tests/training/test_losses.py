"""Losses and scores of a batch, against numbers worked out by hand."""

import math

import pytest
import torch

from voxplain.errors import InputError
from voxplain.training.losses import loss, score


def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_classes():
    assert float(loss("cross_entropy")(torch.zeros(2, 4), torch.tensor([0, 3]))) == pytest.approx(math.log(4))


def test_squared_and_absolute_errors_are_means_over_cases():
    outputs, truth = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 1.0])
    assert float(loss("squared")(outputs, truth)) == 5.0
    assert float(loss("absolute")(outputs, truth)) == 2.0
    assert float(score("regression")(outputs, truth)) == 2.0


def test_a_regression_does_not_take_several_numbers_a_case():
    with pytest.raises(InputError, match=r"must give one number a case, got \(2,\)"):
        loss("squared")(torch.zeros(3, 2), torch.zeros(3))


def test_accuracy_is_the_share_of_highest_logits_that_are_right():
    outputs = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert float(score("classification")(outputs, torch.tensor([0, 1, 1]))) == pytest.approx(2 / 3)


def logits(labels, classes):
    return 20 * torch.nn.functional.one_hot(labels.long(), classes).movedim(-1, 1).float()


def test_dice_is_the_mean_over_the_labels_that_occur():
    truth = torch.tensor([[[1, 1, 0, 0]]])
    found = torch.tensor([[[1, 0, 0, 0]]])
    # Label 2 occurs nowhere and does not count; label 1 has 2 * 1 / (1 + 2).
    assert float(score("segmentation")(logits(found, 3), truth)) == pytest.approx(2 / 3)
    assert float(score("segmentation")(logits(truth * 0, 3), truth * 0)) == 1.0


def test_small_labels_count_for_more_than_their_voxels_in_the_balanced_loss():
    truth = torch.tensor([[[0] * 9 + [1]]])
    outputs = torch.zeros(1, 2, 1, 10)
    outputs[:, 0] = 2.0  # background everywhere
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    # Weights 1/3 for each of 9 voxels and 1 for the one that is missed.
    differ = float(loss("balanced_dice")(outputs, truth) - loss("dice")(outputs, truth))
    assert differ == pytest.approx((3 * right + wrong) / 4 - (9 * right + wrong) / 10, abs=1e-5)


def test_the_dice_loss_is_near_zero_for_the_truth_and_falls_with_better_masks():
    truth = torch.tensor([[[1, 1, 2, 0]]], dtype=torch.uint8)
    worse = torch.tensor([[[1, 0, 2, 0]]])
    measure = loss("dice")
    # DiceCELoss smooths its fractions by 1e-5.
    assert float(measure(logits(truth, 3), truth)) == pytest.approx(0, abs=1e-4)
    assert float(measure(logits(worse, 3), truth)) > 0.5
