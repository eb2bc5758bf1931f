"""Draws belong to their seed and number."""

import torch

from voxplain.ops.draws import generator, normal, uniform


def test_a_draw_does_not_depend_on_its_neighbours():
    together = normal(3, [0, 1, 2], (4, 5))
    assert torch.equal(together[1], normal(3, [1], (4, 5))[0])
    assert torch.equal(uniform(3, torch.tensor([2, 0]), (6,))[1], uniform(3, [0], (6,))[0])


def test_seeds_and_numbers_that_are_near_draw_apart():
    assert not torch.equal(normal(0, [1], (9,)), normal(1, [0], (9,)))
    assert len({float(torch.rand(1, generator=generator(seed, n))) for seed in range(9) for n in range(9)}) == 81


def test_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    normal(0, range(3), (4,)), uniform(0, range(3), (4,))
    assert torch.equal(torch.get_rng_state(), before)


def test_moments_are_those_of_the_distributions():
    """Means over 40000 draws lie within four standard errors."""
    bells, flat = normal(1, range(4), (10000,)), uniform(1, range(4), (10000,))
    assert abs(bells.mean()) < 4 / 200
    assert abs(bells.var() - 1) < 4 * 2**0.5 / 200
    assert abs(flat.mean() - 0.5) < 4 / (12**0.5 * 200)
