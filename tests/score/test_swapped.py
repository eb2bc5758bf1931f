import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.swapped import with_model, with_other_class, with_region
from voxplain.types import Access


def frozen(module, target, x):
    return Score(module, target).freeze(x)[1]


def test_another_model_is_asked_about_the_class_that_was_chosen_before():
    x, modules = batch(2, count=1), [seeded(Linear, (2, 8, 10), seed=seed) for seed in range(2)]
    own = frozen(modules[0], "class_score", x)
    chosen = int(own.classes)
    with torch.no_grad():
        expected = modules[1](x)[0, chosen]
    assert float(with_model(own, Model.of(modules[1]))(x)) == pytest.approx(float(expected))


def test_another_model_brings_its_own_limits():
    own = frozen(seeded(Linear, (2, 8, 10)), "class_score", batch(2, count=1))
    narrow = Model.of(seeded(Linear, (2, 8, 10)), access=Access.CALLS, reason="it is remote")
    assert with_model(own, narrow).access is Access.CALLS


@pytest.mark.parametrize("seed", range(6))
def test_another_class_is_never_the_own(seed):
    x, module = batch(2, count=1), seeded(Linear, (2, 8, 10), 5)
    own = frozen(module, "class_score", x)
    other = with_other_class(own, x, seed)
    index = int(other.classes)
    assert index != int(own.classes)
    with torch.no_grad():
        assert float(other(x)) == pytest.approx(float(module(x)[0, index]))


def test_every_other_class_is_drawn_by_some_seed():
    x, module = batch(2, count=1), seeded(Linear, (2, 8, 10), 4)
    own = frozen(module, "class_score(2)", x)
    assert {int(with_other_class(own, x, seed).classes) for seed in range(30)} == {0, 1, 3}


def test_the_rival_of_a_margin_is_not_drawn():
    x, module = batch(2, count=1), seeded(Linear, (2, 8, 10), 3)
    own = frozen(module, "margin(0, against=1)", x)
    assert {int(with_other_class(own, x, seed).classes) for seed in range(10)} == {2}


def test_another_class_of_a_segmentation_is_read_over_the_same_region():
    x, module = batch(2, count=1), seeded(Awkward, 2, "segmentation")
    own = frozen(module, "region(1)", x)
    other = with_other_class(own, x, 0)
    assert torch.equal(other.choice.region, own.choice.region)
    with torch.no_grad():
        expected = module(x)[0, int(other.classes)][own.choice.region[0]].mean()
    assert float(other(x)) == pytest.approx(float(expected))


def test_a_single_output_has_no_other_class():
    x = batch(2, count=1)
    with pytest.raises(InputError, match="no other class"):
        with_other_class(frozen(seeded(Linear, (2, 8, 10), 1), "class_score", x), x, 0)


def test_another_region_is_read():
    x, module = batch(2, count=1), seeded(Awkward, 2, "segmentation")
    region = torch.zeros(1, 8, 10, dtype=torch.bool)
    region[0, 3, 4] = True
    with torch.no_grad():
        expected = module(x)[0, 1, 3, 4]
    assert float(with_region(frozen(module, "region(1)", x), region)(x)) == pytest.approx(float(expected))


def test_a_score_must_be_frozen_before_it_is_changed():
    score = Score(seeded(Linear, (2, 8, 10)), "class_score")
    with pytest.raises(InputError, match="must be frozen"):
        with_other_class(score, batch(2, count=1), 0)
