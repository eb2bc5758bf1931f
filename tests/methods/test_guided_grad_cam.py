"""Guided Grad-CAM: the product of its two factors, of one scalar, at the voxels of the input; and its cost."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods.grad_cam import GradCam
from voxplain.methods.guided_grad_cam import GuidedGradCam
from voxplain.ops.enlarge import enlarged
from voxplain.score.activation_rules import GUIDED
from voxplain.score.model import Model
from voxplain.score.score import Score


def close(found, expected, rtol=1e-10, atol=1e-13):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("relu", [True, False])
def test_it_is_the_product_of_its_factors(rank, task, relu):
    score, x = Score(seeded(Awkward, rank, task), target_for(task)), batch(rank)
    found = GuidedGradCam(layer="second", relu=relu)(score, x)
    cam = GradCam(layer="second", relu=relu)(score, x)
    guided = score.with_rules(GUIDED).grad(x).gradient
    assert found.values.shape == x.shape
    assert found.cells is None
    close(found.parts["guided_backprop"], guided)
    close(found.parts["grad_cam"], enlarged(cam.values, cam.cells.start, cam.cells.step, x.shape[2:]))
    close(found.values, found.parts["grad_cam"] * guided)
    assert (found.values < 0).any()


class Plain(nn.Module):
    """Cells of two voxels a side that tile the input, and ReLUs as modules."""

    def __init__(self):
        super().__init__()
        self.first, self.act = nn.Conv2d(2, 5, 2, stride=2), nn.ReLU()
        self.second, self.last, self.head = nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.last(self.second(self.act(self.first(x)))).flatten(2).mean(2))


@pytest.mark.parametrize("layer", ["act", "second"])
def test_it_equals_one_written_out_with_hooks(layer):
    module, x = seeded(Plain), batch(2, side=6)[..., :8]
    found = GuidedGradCam(layer=layer)(Score(module, "class_score(0)"), x).values
    kept, handles = {}, []
    for part in (module.act, module.last):
        handles.append(part.register_full_backward_hook(lambda m, g_in, g_out: (g_in[0].clamp_min(0),)))
    leaf = x.clone().requires_grad_()
    (guided,) = torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)
    for handle in handles:
        handle.remove()
    module.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.setdefault("activation", o))
    (gradient,) = torch.autograd.grad(module(leaf)[:, 0].sum(), kept["activation"])
    cam = (gradient.mean((2, 3), keepdim=True) * kept["activation"].detach()).sum(1, keepdim=True).relu()
    wide = functional.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)
    close(found, guided * wide)


def test_both_factors_belong_to_the_class_of_each_sample():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    winners = module(x).argmax(1)
    assert len(winners.unique()) > 1
    found = GuidedGradCam(layer="second")(Score(module, "class_score"), x)
    assert torch.equal(found.classes, winners)
    for n, winner in enumerate(winners.tolist()):
        own = GuidedGradCam(layer="second")(Score(module, f"class_score({winner})"), x[n : n + 1])
        for name in ("grad_cam", "guided_backprop"):
            close(found.parts[name][n : n + 1], own.parts[name])


def test_layers_come_as_siblings_and_share_the_guided_factor():
    score, x = Score(seeded(Awkward, 3, "classification"), "class_score(0)"), batch(3)
    first = GuidedGradCam(layer=("drop", "second"))(score, x)
    (second,) = first.siblings
    assert (first.layer, second.layer) == ("drop", "second")
    for one in (first, second):
        close(one.values, GuidedGradCam(layer=one.layer)(score, x).values)


def test_an_unknown_layer_is_told():
    with pytest.raises(OptionError, match="unknown layer 'secnd'"):
        GuidedGradCam(layer="secnd")(Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2))


@pytest.mark.parametrize("rank", [2, 3])
def test_it_costs_one_forward_and_the_two_backwards(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    score = Score(model, "class_score")

    def flops(job):
        with FlopCounterMode(display=False) as counter:
            job()
        return counter.get_total_flops()

    forward = flops(lambda: model(x))
    whole = flops(lambda: score.tap(x, ["second"])) + flops(lambda: score.with_rules(GUIDED).grad(x)) - forward
    assert flops(lambda: GuidedGradCam(layer="second")(score, x)) == pytest.approx(whole, rel=0.02)
