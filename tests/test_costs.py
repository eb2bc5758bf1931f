"""What each method costs, counted by torch's FLOP counter in forwards of one sample."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, batch, seeded
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score

SLACK = 0.02
"""The target's own arithmetic; convolutions and matrix products are all the counter sees."""

COUNT = 3


def forwards(spec: str, rank: int) -> float:
    """The cost of a method on a batch, in forwards of one sample, per sample."""
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=COUNT)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    score = Score(model, "class_score")
    with FlopCounterMode(display=False) as all_of_it:
        method(spec)(score, x)
    return all_of_it.get_total_flops() / one.get_total_flops() / COUNT


ranks = pytest.mark.parametrize("rank", [2, 3])


@ranks
def test_gradient_costs_two(rank):
    assert forwards("gradient", rank) == pytest.approx(2.0, abs=SLACK)


@ranks
@pytest.mark.parametrize("steps", [1, 5])
def test_integrated_gradients_cost_two_a_step_and_the_two_ends(rank, steps):
    assert forwards(f"integrated_gradients(steps={steps})", rank) == pytest.approx(2 * steps + 2, abs=SLACK)


@ranks
def test_grad_cam_at_the_last_layer_costs_one(rank):
    assert forwards("grad_cam(layer='drop')", rank) == pytest.approx(1.0, abs=SLACK)


@ranks
def test_grad_cam_pays_only_the_backward_to_its_layer(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=1)
    with FlopCounterMode(display=False) as whole:
        model(x)
    with FlopCounterMode(display=False) as second:
        model.layer("second")(torch.zeros(1, 6, *[(n + 1) // 2 for n in x.shape[2:]], dtype=torch.float64))
    share = second.get_total_flops() / whole.get_total_flops()
    assert forwards("grad_cam(layer='first')", rank) == pytest.approx(1 + share, abs=SLACK)


@ranks
def test_grad_cam_at_many_layers_costs_no_more_than_at_the_deepest(rank):
    assert forwards("grad_cam(layer=['first', 'second', 'drop'])", rank) == pytest.approx(
        forwards("grad_cam(layer='first')", rank),
        abs=0.05,  # a product for each further layer's sum
    )


@ranks
def test_choosing_the_layer_costs_nothing(rank):
    assert forwards("grad_cam", rank) == pytest.approx(forwards("grad_cam(layer='drop')", rank), abs=SLACK)


@ranks
def test_occlusion_costs_one_and_the_positions(rank):
    positions = 1
    for side in batch(rank).shape[2:]:
        positions *= -(-side // 4)
    assert forwards("occlusion(window=4)", rank) == pytest.approx(1 + positions, abs=SLACK)


@pytest.mark.parametrize("spec", ["gradient", "integrated_gradients(steps=2)", "grad_cam", "occlusion(window=4)"])
def test_weights_never_get_gradients(spec):
    model = Model.of(seeded(Awkward, 2, "classification"))
    asked = []
    for weight in model.module.parameters():
        assert not weight.requires_grad
        asked.append(weight)
    method(spec)(Score(model, "class_score"), batch(2))
    assert all(weight.grad is None and not weight.requires_grad for weight in asked)
