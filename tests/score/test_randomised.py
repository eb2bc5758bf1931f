import gc
import weakref

import pytest
import torch
from torch import nn

from tests.nets import Awkward, TinyViT, batch, seeded
from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.randomised import layer_order, randomise, randomised


class Chain(nn.Module):
    """Layers that are registered in another order than they run in."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.head(self.norm(self.first(x)).mean((2, 3)))


def weights(model):
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def changed(before, model):
    """Which layers have another weight than before."""
    after = model.module.state_dict()
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_layers_go_from_the_output_to_the_input_as_they_run():
    assert layer_order(Model.of(seeded(Chain)), batch(2)) == ["head", "norm", "first"]


def test_a_layer_that_runs_twice_goes_where_it_runs_last():
    order = layer_order(Model.of(seeded(Awkward, 2, "classification")), batch(2))
    assert order == ["head", "norm", "second", "first"]


def test_what_a_block_holds_itself_goes_before_the_layers_it_feeds():
    """Class token and positions of a transformer are used right after the patch embedding."""
    order = layer_order(Model.of(seeded(TinyViT, 2, "classification")), batch(2))
    assert order[0] == "head"
    assert order[-2:] == ["embed", ""]


def test_each_stage_randomises_more_layers_from_the_output_down():
    model = Model.of(seeded(Chain))
    before = weights(model)
    stages = [(one.layer, one.share, changed(before, one.model)) for one in randomised(model, batch(2))]
    assert [name for name, _, _ in stages] == ["head", "norm", "first"]
    assert [share for _, share, _ in stages] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [len(found) for _, _, found in stages] == [1, 2, 3]
    assert stages[0][2] == {"head"}


def test_stages_are_spread_over_the_layers_and_end_with_all():
    model = Model.of(seeded(Chain))
    before = weights(model)
    *_, last = [(one.share, changed(before, one.model)) for one in randomised(model, batch(2), stages=2)]
    assert last == (1.0, {"head", "norm", "first"})
    assert len(list(randomised(model, batch(2), stages=1))) == 1


def test_the_models_own_weights_and_the_random_state_stay():
    model, state = Model.of(seeded(Chain)), torch.get_rng_state()
    before = weights(model)
    list(randomised(model, batch(2)))
    assert not changed(before, model)
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_seeds_give_equal_weights_whatever_the_number_of_stages():
    model = Model.of(seeded(Chain))
    (all_at_once,) = [weights(one.model) for one in randomised(model, batch(2), stages=1)]
    *_, last = [weights(one.model) for one in randomised(model, batch(2))]
    assert all(torch.equal(all_at_once[name], last[name]) for name in last)
    (other,) = [weights(one.model) for one in randomised(model, batch(2), stages=1, seed=1)]
    assert not torch.equal(other["first.weight"], last["first.weight"])


def test_two_layers_of_one_shape_get_different_weights():
    model = Model.of(seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))))
    (found,) = [weights(one.model) for one in randomised(model, torch.zeros(1, 4, dtype=torch.float64), stages=1)]
    assert not torch.equal(found["0.weight"], found["1.weight"])


def test_only_one_randomised_network_lives_at_a_time():
    model, alive = Model.of(seeded(Chain)), []
    for stage in randomised(model, batch(2)):
        alive.append(weakref.ref(stage.model.module))
    del stage
    gc.collect()
    assert len({id(one()) for one in alive}) == 1
    assert alive[0]() is None


def test_a_layer_starts_afresh_by_its_own_reset():
    """A linear layer's reset draws within 1 / sqrt(inputs), whatever the weights were."""
    layer = nn.Linear(100, 50)
    with torch.no_grad():
        layer.weight.fill_(40)
    randomise(layer, 0)
    assert layer.weight.abs().max() <= 0.1
    assert layer.weight.std() > 0.03


def test_a_batch_norm_loses_its_statistics():
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.running_mean.fill_(5)
        norm.weight.fill_(2)
    randomise(norm, 0)
    assert (norm.running_mean.tolist(), norm.weight.tolist()) == ([0, 0, 0], [1, 1, 1])


class Bare(nn.Module):
    """A weight without a reset of its own."""

    def __init__(self, values):
        super().__init__()
        self.weight = nn.Parameter(values)


def test_weights_without_a_reset_become_normal_with_their_own_mean_and_spread():
    bare = Bare(3 + 2 * torch.randn(4000, generator=torch.Generator().manual_seed(0)))
    before = bare.weight.detach().clone()
    randomise(bare, 0)
    assert abs(torch.corrcoef(torch.stack([before, bare.weight.detach()]))[0, 1]) < 0.05
    assert float(bare.weight.detach().mean()) == pytest.approx(3, abs=0.15)
    assert float(bare.weight.detach().std()) == pytest.approx(2, abs=0.1)


def test_a_constant_weight_without_a_reset_stays():
    bare = Bare(torch.ones(5))
    randomise(bare, 0)
    assert torch.equal(bare.weight, torch.ones(5))


def test_weights_that_a_reset_does_not_reach_are_randomised_too():
    """The magnitude and direction of a normed weight are parameters; its reset would only touch their product."""
    with pytest.warns(FutureWarning):
        layer = Model.of(nn.utils.weight_norm(nn.Linear(4, 4))).module
    before = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    randomise(layer, 0)
    assert not any(torch.equal(before[name], weight) for name, weight in layer.named_parameters())


def test_layers_keep_their_names_and_can_be_read():
    model = Model.of(seeded(Awkward, 2, "classification"))
    for stage in randomised(model, batch(2)):
        assert stage.model.layers.keys() == model.layers.keys()
        assert stage.model.layer("second") is stage.model.module.second
        assert stage.model.layer("second") is not model.layer("second")


def test_a_model_without_weights_is_refused_in_words():
    with pytest.raises(InputError, match="no weights that could be randomised"):
        list(randomised(Model.of(nn.Flatten()), batch(2)))
