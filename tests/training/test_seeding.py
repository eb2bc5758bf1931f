import pytest
import torch

from voxplain.training.seeding import seeded


def test_the_same_seed_draws_the_same_numbers_whatever_the_global_state():
    torch.rand(3)
    with seeded(4):
        first = torch.rand(5)
    torch.rand(2)
    with seeded(4):
        assert torch.equal(torch.rand(5), first)


def test_another_seed_draws_others():
    with seeded(4):
        first = torch.rand(5)
    with seeded(5):
        assert not torch.equal(torch.rand(5), first)


def test_the_global_random_state_is_left_alone_also_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), seeded(0):
        torch.rand(3).reshape(2)
    assert torch.equal(before, torch.random.get_rng_state())
