"""Grad-CAM written out from the paper, several layers at once, and what is said about them."""

import pytest
import torch

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.methods import method
from voxplain.score.score import Score
from voxplain.types import Quantity


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("relu", [True, False])
def test_equations_1_and_2(rank, task, relu):
    score, x = Score(seeded(Awkward, rank, task), target_for(task)), batch(rank)
    found = method(f"grad_cam(layer='second', relu={relu})")(score, x)
    (tap,) = score.tap(x, ["second"]).taps
    for sample in range(len(x)):
        cam = torch.zeros(tap.activation.shape[2:], dtype=x.dtype)
        for channel in range(tap.activation.shape[1]):
            gradient = tap.gradient[sample, channel]
            alpha = gradient.sum() / gradient.numel()
            cam += alpha * tap.activation[sample, channel]
        expected = torch.where(cam > 0, cam, 0.0) if relu else cam
        torch.testing.assert_close(found.values[sample, 0], expected, rtol=1e-10, atol=1e-13)


def test_the_quantity_follows_the_cut():
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    assert method("grad_cam(layer='second')")(score, x).quantity is Quantity.SALIENCY
    uncut = method("grad_cam(layer='second', relu=False)")(score, x)
    assert uncut.quantity is Quantity.RELEVANCE
    assert (uncut.values < 0).any()


def test_several_layers_come_as_siblings_each_as_if_asked_alone():
    score, x = Score(seeded(Awkward, 3, "classification"), "class_score(0)"), batch(3)
    first = method("grad_cam(layer=['drop', 'first', 'second'])")(score, x)
    assert [one.layer for one in (first, *first.siblings)] == ["drop", "first", "second"]
    for one in (first, *first.siblings):
        alone = method(f"grad_cam(layer={one.layer!r})")(score, x)
        torch.testing.assert_close(one.values, alone.values, rtol=1e-12, atol=1e-15)
        assert one.cells == alone.cells
        assert one.siblings == () or one is first


def test_the_map_knows_its_score_classes_layer_and_unit():
    score, x = Score(seeded(Awkward, 2, "classification"), "margin"), batch(2)
    found = method("grad_cam(layer='second')")(score, x)
    assert torch.equal(found.score, score(x))
    assert torch.equal(found.classes, score.output(x).argmax(1))
    assert (found.layer, found.unit) == ("second", "logits (weighted activations)")


def test_a_segmentation_is_read_at_its_coarsest_layer_and_a_classifier_at_its_last():
    unet = pytest.importorskip("monai.networks.nets").BasicUNet
    module = seeded(unet, 2, 1, 2, features=(4, 4, 4, 4, 8, 4))
    x = batch(2, channels=1, side=32)[..., :32]
    found = method("grad_cam")(Score(module, "region(1, over='whole')"), x)
    assert found.layer == "down_4"
    assert found.values.shape[2:] == (2, 2)
