import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.shifted import shifted


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_says_about_the_shifted_input_what_the_model_says_about_the_clean_one(rank, task):
    """Also at the borders, where a padded convolution sees zeros that are not shifted."""
    model, x = Model.of(seeded(Awkward, rank, task)), batch(rank)
    with torch.no_grad():
        torch.testing.assert_close(shifted(model, x, 1.7)(x + 1.7), model(x))


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv2d(2, 3, 3, padding="same", bias=False),
        nn.Conv2d(2, 3, 3, padding=(2, 0), groups=1, stride=2),
        nn.Conv2d(2, 4, 3, groups=2, padding=1),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"),
        nn.Conv2d(2, 3, 3, padding=2, dilation=2),
    ],
)
def test_every_kind_of_first_convolution_takes_the_shift_back(first):
    model, x = Model.of(nn.Sequential(first, nn.ReLU(), nn.Flatten()).double()), batch(2)
    with torch.no_grad():
        torch.testing.assert_close(shifted(model, x, -3.0)(x - 3.0), model(x))


def test_a_linear_first_layer_takes_the_shift_back():
    model, x = Model.of(nn.Sequential(nn.Flatten(), nn.Linear(160, 3, bias=False)).double()), batch(2)
    with torch.no_grad():
        torch.testing.assert_close(shifted(model, x, 2.0)(x + 2.0), model(x))


def test_the_model_stays_and_layers_keep_their_names():
    module = seeded(Awkward, 2, "classification")
    model, x = Model.of(module), batch(2)
    before = model(x)
    twin = shifted(model, x, 2.0)
    assert torch.equal(model(x), before)
    assert twin.layers.keys() == model.layers.keys()
    assert twin.layer("second") is twin.module.second


def test_a_first_layer_that_is_neither_convolution_nor_linear_is_refused():
    model = Model.of(nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(160, 3)).double())
    with pytest.raises(InputError, match="first layer must be a convolution or linear"):
        shifted(model, batch(2), 1.0)


def test_a_network_that_reads_the_input_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            return (self.first(x) + x).mean((2, 3))

    with pytest.raises(InputError, match="cannot be taken back"):
        shifted(Model.of(seeded(Twice)), batch(2), 1.0)
