"""What every method of the table promises, in 2D and 3D, for every task."""

import dataclasses

import pytest
import torch

from tests.nets import KINDS, batch, network, seeded, target_for
from tests.specs import NOT_HOMOGENEOUS, SPECS, ask, scored
from voxplain.errors import VoxplainError
from voxplain.methods import METHODS, method
from voxplain.score.model import Model
from voxplain.types import Access, Quantity

every_kind = pytest.mark.parametrize(("rank", "task"), KINDS)
every_method = pytest.mark.parametrize("name", sorted(METHODS))


def test_every_method_is_under_contract():
    assert set(SPECS) == set(METHODS)


@every_kind
@every_method
def test_map_is_finite_and_on_the_grid(rank, task, name):
    x = batch(rank)
    found = ask(rank, task, name, x)
    assert torch.isfinite(found.values).all()
    assert found.values.shape[0] == len(x)
    assert found.values.ndim == x.ndim
    if found.cells is None:
        assert found.values.shape[2:] == x.shape[2:]
    else:
        assert len(found.cells.start) == len(found.cells.step) == rank
    assert found.values.abs().sum() > 0
    assert found.unit


@every_kind
@every_method
def test_batch_equals_one_by_one(rank, task, name):
    x = batch(rank, count=3)
    together = ask(rank, task, name, x).values
    alone = torch.cat([ask(rank, task, name, x[n : n + 1]).values for n in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


@every_kind
@every_method
def test_chunks_of_one_and_of_many_agree(rank, task, name):
    one, many = ask(rank, task, name, chunk=1).values, ask(rank, task, name, chunk=7).values
    torch.testing.assert_close(one, many, rtol=1e-10, atol=1e-12)


@every_method
def test_equal_requests_give_equal_bytes(name):
    assert torch.equal(ask(3, "classification", name).values, ask(3, "classification", name).values)


@every_kind
@every_method
def test_leaves_no_trace(rank, task, name):
    module = seeded(network(name), rank, task).train()
    module.drop.weight_of_the_user = "mine"
    x = batch(rank)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    image, random_state = x.clone(), torch.get_rng_state()
    method(SPECS[name])(scored(module, target_for(task), rank), x)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert module.act.inplace
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())
    assert torch.equal(x, image)
    assert x.grad is None
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)


@every_method
def test_leaves_no_hooks_after_an_error(name):
    class Failing(network(name)):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("the head fell off")

    model = Model.of(seeded(Failing, 2, "classification"))
    with pytest.raises(VoxplainError, match="the head fell off"):
        method(SPECS[name])(scored(model, "class_score(0)"), batch(2))
    assert not any(part._forward_hooks or part._backward_hooks for part in model.module.modules())
    assert torch.is_grad_enabled()


@every_method
def test_leaves_no_hooks_after_an_interrupt(name):
    class Interrupted(network(name)):
        def forward(self, x):
            super().forward(x)
            raise KeyboardInterrupt

    model = Model.of(seeded(Interrupted, 2, "classification"))
    with pytest.raises(KeyboardInterrupt):
        method(SPECS[name])(scored(model, "class_score(0)"), batch(2))
    assert not any(part._forward_hooks or part._backward_hooks for part in model.module.modules())
    assert torch.is_grad_enabled()


@every_method
def test_declared_access_is_enough_and_needed(name):
    declared = METHODS[name].access
    ask(2, "classification", name, access=declared)
    if declared > Access.CALLS:
        with pytest.raises(VoxplainError, match="needs"):
            ask(2, "classification", name, access=Access(declared - 1))


@every_method
def test_class_is_chosen_once_per_sample_from_the_clean_image(name):
    """Each sample of a mixed batch is explained for its own class, also where perturbing changes the winner."""
    module, x = seeded(network(name), 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    with torch.no_grad():
        winners = module(x).argmax(1)
    assert len(winners.unique()) > 1, "the test needs samples of different classes"
    free = method(SPECS[name])(scored(module, "class_score"), x)
    assert torch.equal(free.classes, winners)
    for n, winner in enumerate(winners.tolist()):
        fixed = method(SPECS[name])(scored(module, f"class_score({winner})"), x[n : n + 1])
        torch.testing.assert_close(free.values[n : n + 1], fixed.values, rtol=1e-10, atol=1e-12)


@every_method
def test_declared_quantity_is_what_it_gives(name):
    found = ask(2, "classification", name)
    assert found.quantity is METHODS[name].quantity
    if found.quantity in (Quantity.SALIENCY, Quantity.MASK):
        assert (found.values >= 0).all()


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(NOT_HOMOGENEOUS)))
def test_a_scaled_score_scales_the_map(name):
    """Twice the logits, twice the map: nothing is normalised inside a method."""
    module = seeded(network(name), 2, "classification")
    once = method(SPECS[name])(scored(module, "class_score(1)"), batch(2)).values
    with torch.no_grad():
        module.head.weight *= 2
        module.head.bias *= 2
    twice = method(SPECS[name])(scored(module, "class_score(1)"), batch(2)).values
    torch.testing.assert_close(twice, 2 * once, rtol=1e-10, atol=1e-12)


@every_method
def test_declares_what_listings_show(name):
    cls = METHODS[name]
    assert cls.name == name
    for told in (cls.title, cls.citation, cls.law, cls.__doc__):
        assert told
    assert dataclasses.fields(cls) is not None


@every_method
def test_wrong_rank_and_broken_voxels_are_refused_in_words(name):
    with pytest.raises(VoxplainError, match="2D or 3D"):
        ask(2, "classification", name, torch.ones(2, 8, dtype=torch.float64)[None])
    broken = batch(2)
    broken[0, 0, 0, 0] = float("nan")
    with pytest.raises(VoxplainError, match="finite"):
        ask(2, "classification", name, broken)
