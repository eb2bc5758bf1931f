"""What every method does with a batch before it looks at it."""

import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, network, seeded
from tests.specs import SPECS, scored
from voxplain.errors import InputError
from voxplain.methods import METHODS, method, table
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Access

every_method = pytest.mark.parametrize("name", sorted(METHODS))


def score(name: str = "gradient") -> Score:
    return scored(seeded(network(name), 2, "classification"), "class_score(0)")


@every_method
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_broken_voxel_is_told(name, value):
    x = batch(2)
    x[1, 1, 7, 9] = value
    with pytest.raises(InputError, match=rf"^{name}: input must be finite, got NaN or infinite voxels$"):
        method(SPECS[name])(score(name), x)


@every_method
@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 2), (2, 2, 8), (1, 2, 8, 8, 8, 8), (0, 2, 8, 8), (2, 2, 0, 8)])
def test_what_is_no_batch_of_images_is_told_with_its_shape(name, shape):
    with pytest.raises(InputError) as caught:
        method(SPECS[name])(score(name), torch.zeros(shape, dtype=torch.float64))
    assert str(caught.value) == f"{name}: input must be (batch, channel, *space) in 2D or 3D, got {tuple(shape)}"


@every_method
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.bool])
def test_whole_numbers_are_read_as_the_models_own_numbers(name, dtype):
    whole = (batch(2) * 3).abs().to(dtype)
    found, expected = method(SPECS[name])(score(name), whole), method(SPECS[name])(score(name), whole.double())
    assert torch.equal(found.values, expected.values)
    assert found.values.dtype == torch.float64


@every_method
def test_a_model_of_outputs_only_is_told_why_or_explained(name):
    model = Model.of(seeded(network(name), 2, "classification"), access=Access.CALLS, reason="it is far away")
    asked = scored(model, "class_score(0)")
    if METHODS[name].access is Access.CALLS:
        assert torch.isfinite(method(SPECS[name])(asked, batch(2)).values).all()
    else:
        with pytest.raises(InputError, match=rf"^{name} needs .*, but this model offers calls only: it is far away$"):
            method(SPECS[name])(asked, batch(2))


@every_method
def test_the_clean_score_and_the_class_come_with_the_map(name):
    x = batch(2, count=6, seed=5) * 3
    asked = scored(seeded(network(name), 2, "classification", seed=3), "class_score")
    found = method(SPECS[name])(asked, x)
    torch.testing.assert_close(found.score, asked(x), rtol=1e-12, atol=1e-14)
    assert torch.equal(found.classes, asked.output(x).argmax(1))


@every_method
def test_channels_last_memory_and_slices_give_the_same_map(name):
    x = batch(2)
    strided = torch.cat([x, x], 3)[..., : x.shape[3]]
    expected = method(SPECS[name])(score(name), x).values
    for other in (x.to(memory_format=torch.channels_last), strided):
        torch.testing.assert_close(method(SPECS[name])(score(name), other).values, expected)


def test_only_derivatives_change_with_the_scale_of_intensities():
    changing = {name for name in METHODS if method(SPECS[name])(score(name), batch(2)).derivative}
    assert changing == {"gradient", "smoothgrad", "guided_grad_cam", "guided_backprop", "deconvnet"}


def test_methods_of_other_packages_join_and_cannot_take_our_names(monkeypatch):
    class Entry:
        def __init__(self, name, cls):
            self.name, self.cls = name, cls

        def load(self):
            return self.cls

    theirs = [Entry("theirs", METHODS["gradient"]), Entry("occlusion", METHODS["gradient"])]
    monkeypatch.setattr("voxplain.methods.entry_points", lambda group: theirs if group == "voxplain.methods" else [])
    assert table()["theirs"] is METHODS["gradient"]
    assert table()["occlusion"] is METHODS["occlusion"]


def test_an_attached_module_stays_attached():
    """A score on part of a larger network leaves the larger one alone."""
    whole = nn.ModuleDict({"part": seeded(Awkward, 2, "classification")})
    method("grad_cam(layer='second')")(Score(whole["part"], "class_score(0)"), batch(2))
    assert all(weight.requires_grad for weight in whole.parameters())
