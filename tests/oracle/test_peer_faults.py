"""Faults measured in other tools that touch these methods, each turned into something we do right."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from voxplain.data.way_back import bring_back, cell_grid
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.space.grid import Grid
from voxplain.types import Quantity


def test_each_sample_of_a_batch_is_explained_for_its_own_class_not_for_the_sum():
    """MONAI: GradCAM on a batch with the default class explains the sum of all predicted classes for every sample."""
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    winners = module(x).argmax(1)
    assert len(winners.unique()) > 1
    free = method("grad_cam(layer='second')")(Score(module, "class_score"), x).values
    for n in range(len(x)):
        own = method("grad_cam(layer='second')")(Score(module, f"class_score({winners[n]})"), x[n : n + 1]).values
        torch.testing.assert_close(free[n : n + 1], own, rtol=1e-10, atol=1e-12)


def test_asking_twice_gives_the_same_gradient_not_twice_as_much():
    """MONAI: VanillaGrad called twice on one tensor doubles, and leaves requires_grad on the user's image."""
    score, x = Score(seeded(Awkward, 3, "classification"), "class_score(0)"), batch(3)
    first, second = method("gradient")(score, x).values, method("gradient")(score, x).values
    assert torch.equal(first, second)
    assert not x.requires_grad


def test_probabilities_follow_the_output_not_the_input_channels():
    """MONAI: OcclusionSensitivity picks sigmoid or softmax by the input's channels; three classes then sum to 1.2."""
    module, x = seeded(Awkward, 2, "classification", channels=1), batch(2, channels=1)
    values = sum(Score(module, f"probability({c})")(x) for c in range(3))
    torch.testing.assert_close(values, torch.ones(2, dtype=torch.float64), rtol=1e-12, atol=0)


def test_one_logit_on_three_channels_gives_no_constant_map():
    """MONAI: three input channels with one logit give a constant map of ones."""
    module, x = seeded(Awkward, 2, "classification", channels=3, classes=1), batch(2, channels=3)
    found = method("occlusion(window=4)")(Score(module, "probability(1)"), x).values
    assert found.std() > 0
    logit = module(x)[:, 0].detach()
    torch.testing.assert_close(Score(module, "probability(1)")(x), logit.sigmoid(), rtol=1e-12, atol=0)
    torch.testing.assert_close(Score(module, "class_score(0)")(x), -logit, rtol=1e-12, atol=0)


def test_most_important_place_has_the_largest_value():
    """MONAI: the default post-processing turns the map upside down."""

    class Bright(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(1, 2, 1, bias=False)
            self.head = nn.Linear(2, 2, bias=False)
            nn.init.constant_(self.features.weight, 1.0)
            nn.init.constant_(self.head.weight, 1.0)

        def forward(self, x):
            return self.head(self.features(x).flatten(2).mean(2))

    x = torch.zeros(1, 1, 8, 8)
    x[..., 5, 2] = 1
    found = method("grad_cam(layer='features')")(Score(Bright(), "class_score(1)"), x).values
    assert divmod(int(found.argmax()), 8) == (5, 2)
    assert found[..., 5, 2] > found[..., 0, 0]


def test_repeated_use_leaves_no_hooks_behind():
    """MONAI: five GradCAM objects leave five forward and five backward hooks."""
    model = Model.of(seeded(Awkward, 2, "classification"))
    for _ in range(5):
        method("grad_cam(layer='second')")(Score(model, "class_score(0)"), batch(2))
    assert not any(part._forward_hooks or part._backward_hooks for part in model.module.modules())


def test_activation_before_an_in_place_relu_is_kept():
    """A plain hook on a convolution before an in-place ReLU stores what the ReLU made of it."""

    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(2, 4, 3, padding=1)
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.act(self.features(x)).flatten(2).mean(2))

    module, x = seeded(InPlace), batch(2)
    _, (tap,), _ = Score(module, "class_score(0)").tap(x, ["features"])
    torch.testing.assert_close(tap.activation, module.features(x).detach(), rtol=1e-12, atol=1e-14)
    assert (tap.activation < 0).any()


def test_magnitudes_can_be_compared_between_samples():
    """pytorch-grad-cam: each map is scaled to 0..1 on its own, so that a faint and a strong finding look alike."""
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    strong = method("grad_cam(layer='second', relu=False)")(
        Score(module, "class_score(0)"), torch.cat([x[:1], 3 * x[:1]])
    )
    assert strong.values[1].abs().max() > 1.5 * strong.values[0].abs().max()


def test_the_users_own_index_error_is_not_swallowed():
    """pytorch-grad-cam: `with GradCAM(...)` swallows an IndexError of the user's code."""
    score = Score(seeded(Awkward, 2, "classification"), "class_score(0)")

    def make(index):
        raise IndexError("the user's own")

    with pytest.raises(IndexError, match="the user's own"):
        list(score.stream(2, make, like=batch(2)))


def test_a_wrong_class_speaks_of_classes_not_of_integration_steps():
    """Captum: a wrong target reports an output of 50 rows, which is the number of integration steps."""
    score = Score(seeded(Awkward, 2, "classification"), "class_score(7)")
    with pytest.raises(InputError, match="class must be between 0 and 2, got 7"):
        method("integrated_gradients(steps=50)")(score, batch(2))


def test_a_missing_layer_is_told_with_the_nearest_name():
    """MONAI: a missing layer is a bare KeyError."""
    with pytest.raises(OptionError, match="unknown layer 'secnd'; did you mean 'second'"):
        method("grad_cam(layer='secnd')")(Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_coarse_cell_comes_out_where_it_lies_in_2d_and_in_3d(rank):
    """pytorch-grad-cam: cell 1 of 4 over 16 voxels lies at 5.5; its 2D maps say so, its 3D maps say 5.29 and ring."""
    shape = (16, 16, 1) if rank == 2 else (16, 16, 16)
    coarse = np.zeros((1, *[4] * rank), np.float32)
    coarse[(0, *[1] * rank)] = 1
    grid = Grid(shape)
    cells = cell_grid(grid, [1.5] * rank, [4.0] * rank, [4] * rank)
    fine = bring_back(coarse, grid, grid, Quantity.SALIENCY, cells=cells).values[0]
    for axis in range(rank):
        profile = fine.sum(axis=tuple(n for n in range(3) if n != axis), dtype=np.float64)
        assert (profile @ np.arange(16)) / profile.sum() == pytest.approx(5.5, abs=1e-6)
    assert fine.min() >= 0
