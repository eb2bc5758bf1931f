"""DeepLIFT and DeepSHAP: summation to delta on networks with awkward parts, closed forms, and the rules one by one."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score import deep_lift
from voxplain.score.model import Model
from voxplain.score.score import Score

EXACT = 1e-9
"""Networks of elementwise units and pooling have no quadrature in them; float64 rounding alone is left."""

QUADRATURE = 1e-5
"""Norms over voxels and attention are integrated with 16 points a unit."""


class Mixed(nn.Module):
    """One of the operations under test between two convolutions."""

    def __init__(self, middle, rank: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if rank == 2 else nn.Conv3d
        self.first, self.second, self.middle = conv(2, 4, 3, padding=1), conv(4, 4, 3), middle
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.second(self.middle(self.first(x))).flatten(2).mean(2))


def gap(
    module: nn.Module, spec: str = "deep_lift(baseline='blur')", rank: int = 2, target: str = "class_score"
) -> float:
    x = batch(rank) * 2
    found = method(spec)(Score(module, target, reference=batch(rank, count=3, seed=9)), x)
    apart = (found.score - found.numbers["score_at_baseline"]).abs()
    assert (apart > 1e-5).all(), "the case must have a difference to explain"
    return float((found.numbers["completeness_gap"].abs() / apart).max())


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("spec", ["deep_lift(baseline=0.3)", "deep_shap"])
def test_sums_to_the_difference(rank, task, spec):
    target = "region(1, over='whole')" if task == "segmentation" else target_for(task)
    assert gap(seeded(Awkward, rank, task), spec, rank, target) < EXACT


def gate(x):
    return x * x.mean(dim=(2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    ("middle", "tolerance"),
    [
        (torch.relu, EXACT),
        (functional.gelu, EXACT),
        (functional.silu, EXACT),
        (torch.tanh, EXACT),
        (torch.sigmoid, EXACT),
        (lambda x: x.clamp(-0.5, 0.5), EXACT),
        (nn.PReLU(4), EXACT),
        (nn.MaxPool2d(2), EXACT),
        (nn.MaxPool2d(3, stride=1, padding=1), EXACT),
        (nn.AdaptiveMaxPool2d(4), EXACT),
        (nn.AvgPool2d(2), EXACT),
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), EXACT),
        (nn.ConvTranspose2d(4, 4, 2, stride=2), EXACT),
        (nn.BatchNorm2d(4), EXACT),
        (gate, EXACT),
        (lambda x: x * x, EXACT),
        (lambda x: 1 / (2 + x.abs()), 0.02),
        (nn.InstanceNorm2d(4), QUADRATURE),
        (nn.GroupNorm(2, 4), QUADRATURE),
        (lambda x: x.softmax(dim=1), QUADRATURE),
    ],
    ids=[*map(str, range(20))],
)
def test_every_operation_hands_on_the_whole_difference(middle, tolerance):
    assert gap(seeded(Mixed, middle.double() if isinstance(middle, nn.Module) else middle)) < tolerance


def test_attention_hands_on_the_whole_difference():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.head = nn.Linear(8, 12), nn.Linear(4, 3)

        def forward(self, x):
            q, k, v = self.project(x.flatten(2)[..., :8]).chunk(3, dim=-1)
            return self.head(functional.scaled_dot_product_attention(q, k, v).mean(dim=1))

    assert gap(seeded(Attending)) < QUADRATURE


def test_of_a_linear_score_is_weight_times_difference():
    x = batch(2)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("deep_lift(baseline=0.7)")(Score(module, "class_score(0)"), x)
    torch.testing.assert_close(found.values, module.weight[0].detach() * (x - 0.7), rtol=1e-12, atol=1e-14)


def test_a_unit_switched_off_in_the_image_still_answers_for_the_baseline():
    """f = relu(1 - x): at x = 2 the gradient is 0, but the unit fell from 1 to 0 since x = 0 (the paper's figure 1)."""

    class Saturated(nn.Module):
        def forward(self, x):
            return torch.relu(1 - x).flatten(1)

    found = method("deep_lift")(Score(Saturated(), "regression"), torch.full((1, 1, 1, 1), 2.0).double())
    assert found.values.item() == -1


def test_deep_shap_is_the_mean_over_its_references():
    module, x, images = seeded(Awkward, 2, "classification"), batch(2), batch(2, count=3, seed=9)
    found = method("deep_shap")(Score(module, "class_score(1)", reference=images), x)
    single = [method("deep_shap")(Score(module, "class_score(1)", reference=one[None]), x).values for one in images]
    torch.testing.assert_close(found.values, torch.stack(single).mean(dim=0), rtol=1e-10, atol=1e-12)


def test_costs_five_forwards():
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2)
    with FlopCounterMode(display=False) as one:
        model(x)
    with FlopCounterMode(display=False) as all_of_it:
        method("deep_lift")(Score(model, "class_score"), x)
    assert all_of_it.get_total_flops() / one.get_total_flops() == pytest.approx(5, abs=0.02)


def test_pairs_stay_together_whatever_the_chunk():
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=3)
    found = [method("deep_lift")(Score(module, "class_score(0)", chunk=chunk), x).values for chunk in (1, 2, 5, 6)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-10, atol=1e-12)


def test_deep_shap_refuses_what_it_cannot_compare_with():
    score = Score(seeded(Awkward, 2, "classification"), "class_score")
    with pytest.raises(InputError, match="deep_shap: reference images must be given"):
        method("deep_shap")(score, batch(2))


@pytest.mark.parametrize("part", [1, 100, 10**9])
@pytest.mark.parametrize("spec", ["deep_lift(baseline=0.3)", "deep_shap"])
def test_layers_looked_at_in_parts_give_the_same_map(monkeypatch, part, spec):
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score", reference=batch(2, count=3, seed=9)), batch(2)
    whole = method(spec)(score, x).values
    monkeypatch.setattr(deep_lift, "PART", part)
    assert torch.equal(method(spec)(score, x).values, whole)
