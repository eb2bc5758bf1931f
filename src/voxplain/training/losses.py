"""What a training makes small, and the score that it shows meanwhile, by task."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxplain.errors import InputError, missing_extra

Measure = Callable[[Tensor, Tensor], Tensor]
"""Outputs of the network and truth of a batch -> one number."""

SCORES = {"classification": "accuracy", "regression": "mae", "segmentation": "dice"}
"""Task -> the score that is shown each epoch and that may choose the best one."""

HIGHER_IS_BETTER = {"accuracy": True, "mae": False, "dice": True}


def loss(name: str) -> Measure:
    """The loss of that name: mean over the batch (and the voxels)."""
    if name in ("dice", "balanced_dice"):
        return _dice_and_cross_entropy(balanced=name == "balanced_dice")
    if name == "cross_entropy":
        return lambda outputs, truth: nn.functional.cross_entropy(outputs, truth.long())
    distance = nn.functional.mse_loss if name == "squared" else nn.functional.l1_loss
    return lambda outputs, truth: distance(_numbers(outputs), truth.to(outputs.dtype))


def score(task: str) -> Measure:
    """The score of a batch: share of right classes, mean absolute error, or mean Dice of the labels present."""
    return {"classification": _accuracy, "regression": _absolute_error, "segmentation": _dice}[task]


def _numbers(outputs: Tensor) -> Tensor:
    """One number a case; raises where a network gives several."""
    if outputs.flatten(1).shape[1] != 1:
        raise InputError(f"a network for regression must give one number a case, got {tuple(outputs.shape[1:])}")
    return outputs.flatten()


def _accuracy(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs.argmax(dim=1) == truth).float().mean()


def _absolute_error(outputs: Tensor, truth: Tensor) -> Tensor:
    return nn.functional.l1_loss(_numbers(outputs), truth.to(outputs.dtype))


def _dice(outputs: Tensor, truth: Tensor) -> Tensor:
    """Mean over the labels above 0 that truth or prediction has, all cases of the batch together."""
    found = outputs.argmax(dim=1)
    labels = range(1, outputs.shape[1])
    overlap = torch.stack([((found == label) & (truth == label)).sum() for label in labels])
    total = torch.stack([(found == label).sum() + (truth == label).sum() for label in labels])
    present = total > 0
    return (2 * overlap[present] / total[present]).mean() if present.any() else torch.ones((), device=outputs.device)


def _dice_and_cross_entropy(*, balanced: bool) -> Measure:
    try:
        from monai.losses.dice import DiceLoss
    except ImportError as error:
        raise missing_extra("monai", "monai", "the loss 'dice'") from error
    # Over the whole batch: a label that one case lacks would give a loss that nothing can lower.
    dice = DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)

    def both(outputs: Tensor, truth: Tensor) -> Tensor:
        labels = truth.long()
        weight = _balance(labels, outputs.shape[1]) if balanced else None
        lost: Tensor = dice(outputs, labels[:, None]) + nn.functional.cross_entropy(outputs, labels, weight)
        return lost

    return both


def _balance(labels: Tensor, classes: int) -> Tensor:
    """One over the square root of each class's voxels in the batch.

    In the usual mean the background drowns a label of a thousandth of the volume: its probability falls so low
    everywhere that no gradient is left to raise it.
    """
    return torch.bincount(labels.flatten(), minlength=classes).clamp(min=1).to(torch.float32).rsqrt()
