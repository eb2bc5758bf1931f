import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from voxplain.ops.ranks import area_under_roc, average_precision, average_ranks, levels, marked_among_top


def drawn(count=60, values=9, seed=0):
    """Values with many ties, and marks."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(values, (count,), generator=generator).double()
    return numbers, torch.rand(count, generator=generator) < 0.3


@pytest.mark.parametrize("values", [1, 9, 10**6])
def test_average_ranks_equal_scipy(values):
    numbers, _ = drawn(values=values)
    assert average_ranks(numbers).tolist() == rankdata(numbers.numpy()).tolist()


@pytest.mark.parametrize("values", [1, 9, 10**6])
def test_areas_equal_scikit_learn(values):
    numbers, marks = drawn(values=values)
    assert area_under_roc(numbers, marks) == pytest.approx(roc_auc_score(marks, numbers), abs=1e-14)
    assert average_precision(numbers, marks) == pytest.approx(average_precision_score(marks, numbers), abs=1e-14)


def test_levels_go_from_the_largest_down():
    found = levels(torch.tensor([2.0, 5.0, 2.0, 7.0]), torch.tensor([True, False, False, True]))
    assert (found.values.tolist(), found.size.tolist(), found.marked.tolist()) == ([7, 5, 2], [1, 1, 2], [1, 0, 1])


def test_the_top_is_counted_from_the_largest_down():
    values, marks = torch.tensor([1.0, 4.0, 3.0, 2.0]), torch.tensor([True, True, False, True])
    assert [marked_among_top(values, marks, k) for k in (1, 2, 3, 4)] == [1, 1, 2, 3]


def test_values_tied_at_the_border_are_taken_with_equal_chance():
    values, marks = torch.tensor([5.0, 1.0, 1.0, 1.0, 1.0]), torch.tensor([True, True, False, False, False])
    assert marked_among_top(values, marks, 3) == pytest.approx(1 + 2 / 4)
