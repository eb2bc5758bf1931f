"""DeepLIFT and DeepSHAP against Captum, on networks in Captum's reach: each activation a module of its own."""

import pytest
import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import nn

from tests.nets import batch, seeded
from tests.oracle.agreement import assert_same
from voxplain.methods import method
from voxplain.score.score import Score

pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")


class Plain(nn.Module):
    """Convolutions with batch norm, max and average pooling, and three kinds of units, none used twice.

    No maximum stands beside a ReLU: there Captum's maps do not sum to the difference (shown below).
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d)
        most, mean = (nn.MaxPool2d, nn.AvgPool2d) if rank == 2 else (nn.MaxPool3d, nn.AvgPool3d)
        self.layers = nn.Sequential(
            conv(2, 5, 3, padding=1), norm(5), most(2), conv(5, 4, 3, padding=1), nn.ReLU(),
            conv(4, 4, 1), nn.ELU(), mean(2),
            nn.Flatten(), nn.LazyLinear(6), nn.Sigmoid(), nn.Linear(6, 3),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def plain(rank: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = Plain(rank)
        module(batch(rank).float())
    return seeded(lambda: module)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("index", [0, 2])
def test_deep_lift(rank, index):
    module, x = plain(rank), batch(rank) * 2
    found = method("deep_lift(baseline=0.2)")(Score(module, f"class_score({index})"), x)
    expected = DeepLift(module).attribute(x.clone().requires_grad_(), torch.full_like(x, 0.2), target=index)
    assert_same("deep_lift", "Captum", found.values, expected.detach())


@pytest.mark.parametrize("rank", [2, 3])
def test_deep_shap(rank):
    module, x, images = plain(rank), batch(rank) * 2, batch(rank, count=4, seed=9)
    found = method("deep_shap")(Score(module, "class_score(1)", reference=images), x)
    expected = DeepLiftShap(module).attribute(x.clone().requires_grad_(), images, target=1)
    assert_same("deep_shap", "Captum", found.values, expected.detach())


def test_captum_loses_the_sum_where_a_maximum_stands_beside_a_relu_and_we_keep_it():
    def adjoining():
        return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3))

    module, x = seeded(adjoining), batch(2) * 2
    found = method("deep_lift(baseline=0.2)")(Score(module, "class_score(0)"), x)
    assert found.numbers["completeness_gap"].abs().max() < 1e-12
    start = torch.full_like(x, 0.2)
    _, gap = DeepLift(module).attribute(x.requires_grad_(), start, target=0, return_convergence_delta=True)
    assert gap.abs().max() > 1e-3
