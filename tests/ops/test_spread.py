"""Amounts of coarse cells shared among voxels."""

import pytest
import torch

from voxplain.ops.spread import spread


def laid(cells, start, step, size):
    return spread(torch.tensor(cells, dtype=torch.float64)[None, None], (start,), (step,), (size,))[0, 0].tolist()


def test_cells_on_voxels_stay_as_they_are():
    assert laid([1.0, -2.0, 3.0], 0.0, 1.0, 3) == [1.0, -2.0, 3.0]


def test_a_cell_falls_off_to_its_neighbours():
    assert laid([0.0, 8.0, 0.0], 0.5, 2.0, 6) == pytest.approx([0, 1, 3, 3, 1, 0])


def test_what_the_edge_cuts_goes_to_the_voxels_inside():
    assert laid([7.0, 0.0, 0.0], 0.5, 2.0, 6) == pytest.approx([3, 3, 1, 0, 0, 0])


def test_finer_cells_give_to_the_voxels_around_them():
    assert laid([1.0, 1.0, 1.0, 1.0], -0.25, 0.5, 2) == pytest.approx([2, 2])


def test_a_cell_beyond_the_edge_gives_to_the_outermost_voxel():
    assert laid([5.0, 1.0], -4.0, 1.0, 2) == [6, 0]
    assert laid([5.0, 1.0], 0.0, 9.0, 2) == pytest.approx([5 * 9 / 17 + 8 / 17, 5 * 8 / 17 + 9 / 17])


@pytest.mark.parametrize(
    ("cells", "start", "step", "size"),
    [((4, 5), (0.0, 1.5), (2.0, 4.0), (8, 19)), ((3, 2, 6), (-3.0, 0.5, 0.0), (4.0, 2.0, 0.5), (9, 4, 3))],
)
def test_sums_are_kept_for_each_sample_and_channel(cells, start, step, size):
    values = torch.randn(2, 3, *cells, dtype=torch.float64)
    found = spread(values, start, step, size)
    assert found.shape == (2, 3, *size)
    torch.testing.assert_close(found.flatten(2).sum(2), values.flatten(2).sum(2), rtol=1e-12, atol=1e-12)


def test_axes_are_not_exchanged():
    values = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    values[0, 0, 0, 2] = 1
    found = spread(values, (0.0, 0.0), (1.0, 1.0), (4, 5))
    assert found[0, 0, 0, 2] == 1
    assert found.sum() == 1
