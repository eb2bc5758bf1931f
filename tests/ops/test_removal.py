import torch

from voxplain.ops.removal import part_sums, random_order, removal_ranks


def test_the_largest_value_is_removed_first():
    assert removal_ranks(torch.tensor([[0.1, 3.0, -2.0, 0.5]]), 0).tolist() == [[2, 0, 3, 1]]


def test_every_map_has_its_own_order():
    ranks = removal_ranks(torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]), 0)
    assert ranks.tolist() == [[2, 1, 0], [0, 2, 1]]


def test_equal_values_come_in_random_order_and_not_by_place():
    values = torch.zeros(1, 200)
    values[0, 0] = -1
    ranks = removal_ranks(values, 0)[0]
    assert ranks[0] == 199
    first, second = ranks[1:100].double().mean(), ranks[100:].double().mean()
    assert abs(first - second) < 25  # 99 apart by place; random halves lie 8 apart


def test_equal_values_come_in_the_same_order_in_all_maps():
    ranks = removal_ranks(torch.zeros(2, 50), 0)
    assert torch.equal(ranks[0], ranks[1])
    assert not torch.equal(ranks[0], removal_ranks(torch.zeros(1, 50), 1)[0])


def test_an_order_holds_every_part_once():
    assert random_order(30, 5, 2).sort().values.tolist() == list(range(30))


def test_orders_differ_by_number_and_seed():
    orders = {tuple(random_order(30, seed, number).tolist()) for seed in (0, 1) for number in (0, 1)}
    assert len(orders) == 4


def test_part_sums_add_up_each_part_of_each_map():
    labels = torch.tensor([[0, 1], [1, 2]])
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]])
    assert part_sums(values, labels).tolist() == [[1, 5, 4], [0, 1, -1]]
