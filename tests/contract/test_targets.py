"""What every target promises: one number a sample, chosen once, told in words."""

import pytest
import torch

from voxplain.errors import InputError, OptionError
from voxplain.score.target import TARGETS, target

MAPS = ("region", "volume", "soft_dice")
OUTPUTS = {"class_score": (3, 4), "probability": (3, 4), "margin": (3, 4), "regression": (3, 1)}
OUTPUTS |= dict.fromkeys(MAPS, (3, 4, 5, 6))
MASK = torch.ones(1, 5, 6)
SPECS = {"region": "region(1, over='whole')", "regression": "regression()"}

every_target = pytest.mark.parametrize("name", sorted(TARGETS))


def output_for(name: str) -> torch.Tensor:
    return torch.randn(OUTPUTS[name], generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_target
def test_one_number_a_sample_with_a_gradient(name):
    output, asked = output_for(name).requires_grad_(), target(SPECS.get(name, name))
    values = asked.read(output, asked.choose(output.detach(), "auto", MASK), "auto")
    assert values.shape == (3,)
    (gradient,) = torch.autograd.grad(values.sum(), output)
    assert gradient.abs().sum() > 0


@every_target
def test_choice_of_some_samples_is_theirs(name):
    output, asked = output_for(name), target(SPECS.get(name, name))
    choice, rows = asked.choose(output, "auto", MASK), torch.tensor([2, 0, 0])
    some = asked.read(output[rows], choice.take(rows), "auto")
    assert torch.equal(some, asked.read(output, choice, "auto")[rows])


@every_target
def test_says_what_it_means_with_class_names(name):
    assert "tumour" in target(SPECS.get(name, name)).words(1, ("background", "tumour"))


@every_target
def test_an_output_of_another_kind_is_refused_with_advice(name):
    wrong = torch.zeros(2, 3) if name in MAPS else torch.zeros(2, 3, 4, 4)
    with pytest.raises(InputError, match="as target"):
        target(SPECS.get(name, name)).choose(wrong, "auto", None)


@every_target
def test_a_class_out_of_range_is_refused_with_the_range(name):
    with pytest.raises(InputError, match=r"between 0 and \d, got 9"):
        target(f"{name}(9)").choose(output_for(name), "auto", MASK)


def test_an_unknown_target_gets_a_suggestion():
    with pytest.raises(OptionError, match="did you mean 'class_score'"):
        target("class_scores(1)")
