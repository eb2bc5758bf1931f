"""When a score counts as affine in a layer, and that it never does where it is not."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.score.affine import affine_from
from voxplain.score.score import Score


class Tail(nn.Module):
    """A layer, and what follows it."""

    def __init__(self, tail, rank=2):
        super().__init__()
        self.layer = {2: nn.Conv2d, 3: nn.Conv3d}[rank](2, 4, 3)
        self.norm, self.drop = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[rank](4), nn.Dropout(0.3)
        self.conv, self.head = {2: nn.Conv2d, 3: nn.Conv3d}[rank](4, 4, 1), nn.Linear(4, 3)
        self.tail = tail

    def forward(self, x):
        return self.tail(self, self.layer(x))


def pooled(net, a):
    return net.head(a.flatten(2).mean(2))


def outcome(tail, target="class_score", rank=2):
    return affine_from(Score(seeded(Tail, tail, rank), target), batch(rank), "layer")


AFFINE = {
    "mean": pooled,
    "adaptive": lambda net, a: net.head(functional.adaptive_avg_pool2d(a, 1).flatten(1)),
    "modules": lambda net, a: net.head(nn.Flatten()(nn.AdaptiveAvgPool2d(1)(net.drop(net.norm(a))))),
    "convolution": lambda net, a: pooled(net, net.conv(a)),
    "in place": lambda net, a: pooled(net, a.mul_(2).add_(1)),
    "residual": lambda net, a: pooled(net, net.conv(a) + a),
    "parts": lambda net, a: pooled(net, torch.cat([a[:, :2], a[:, 2:] / 3], 1)),
    "resized": lambda net, a: pooled(net, functional.interpolate(functional.pad(a, (1, 1)), scale_factor=2)),
    "product with a constant": lambda net, a: pooled(net, a * net.head.weight[0, 0]),
}

BENT = {
    "relu": lambda net, a: pooled(net, a.relu()),
    "functional relu in place": lambda net, a: pooled(net, functional.relu_(a)),
    "maximum": lambda net, a: net.head(a.amax((2, 3))),
    "max pooling": lambda net, a: pooled(net, functional.max_pool2d(a, 2)),
    "square": lambda net, a: pooled(net, a * a),
    "power": lambda net, a: pooled(net, a**2),
    "gate": lambda net, a: pooled(net, a * a.mean((2, 3), keepdim=True)),
    "attention": lambda net, a: pooled(net, (a.flatten(2) @ a.flatten(2).mT @ a.flatten(2)).unflatten(2, a.shape[2:])),
    "mask of its own": lambda net, a: pooled(net, a * (a > 0)),
    "choice of its own": lambda net, a: pooled(net, torch.where(a > 0, a, 0.1 * a)),
    "detached factor": lambda net, a: pooled(net, a * a.detach()),
    "detached term": lambda net, a: pooled(net, a + a.detach()),
    "data of its own": lambda net, a: pooled(net, a + a.data),
    "divided by itself": lambda net, a: pooled(net, a / a.sum((2, 3), keepdim=True)),
    "constant over it": lambda net, a: pooled(net, 1 / a),
    "layer norm": lambda net, a: pooled(net, functional.layer_norm(a, a.shape[1:])),
    "instance norm": lambda net, a: pooled(net, functional.instance_norm(a)),
    "batch statistics": lambda net, a: pooled(net, functional.batch_norm(a, None, None, training=True)),
    "rounded": lambda net, a: pooled(net, a.round()),
    "whole numbers": lambda net, a: pooled(net, a.to(torch.int32).to(a.dtype)),
    "sorted": lambda net, a: pooled(net, a.sort(1).values),
    "written into": lambda net, a: pooled(net, _written(a)),
    "written over a view": lambda net, a: pooled(net, _over(a)),
    "softmax": lambda net, a: pooled(net, a).softmax(1),
    "checked on the way": lambda net, a: pooled(net, a) if bool(a.sum() > 0) else pooled(net, 2 * a),
}


def _empty(a):
    return torch.zeros(a.shape, dtype=a.dtype, device=a.device)


def _written(a):
    target = _empty(a)
    target[:] = a
    return target + a


def _over(a):
    target = _empty(a)
    part = target[:, :2]
    part += a[:, :2]
    return target + a


@pytest.mark.parametrize("name", sorted(AFFINE))
def test_pooling_and_whatever_is_linear_counts(name):
    assert outcome(AFFINE[name])


@pytest.mark.parametrize("name", sorted(BENT))
def test_whatever_bends_does_not_count(name):
    assert not outcome(BENT[name])


def test_the_target_belongs_to_what_follows():
    assert outcome(pooled, "class_score(0)")
    assert outcome(pooled, "margin")
    assert outcome(pooled, "regression(1, reference=3)")
    assert not outcome(pooled, "probability")


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_every_task_in_2d_and_3d(rank, task):
    score, x = Score(seeded(Awkward, rank, task), target_for(task)), batch(rank)
    assert [affine_from(score, x, name) for name in ("drop", "second", "first")] == [True, False, False]


def test_a_region_of_logits_is_linear_and_one_of_probabilities_is_not():
    module, x = seeded(Awkward, 2, "segmentation"), batch(2)
    assert affine_from(Score(module, "region(1, reduce='sum')"), x, "drop")
    assert not affine_from(Score(module, "region(1, of='probability')"), x, "drop")


def test_one_number_a_sample_without_an_axis_of_classes_counts():
    assert outcome(lambda net, a: pooled(net, a)[:, 0], "regression()")


def test_a_layer_that_the_score_does_not_depend_on_does_not_count():
    assert not outcome(lambda net, a: pooled(net, _empty(a) + 1))


def test_nothing_is_run_for_it():
    score, x = Score(seeded(Tail, pooled, 3), "class_score"), batch(3)
    with FlopCounterMode(display=False) as counter:
        affine_from(score, x, "layer")
    assert counter.get_total_flops() == 0
    assert score.ledger.forwards == 0
