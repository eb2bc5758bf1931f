from math import pi

import pytest
import torch

from voxplain.ops.moves import kept, moved, rotation


def picture(*shape, at):
    x = torch.zeros(1, 1, *shape, dtype=torch.float64)
    x[(0, 0, *at)] = 1
    return x


def test_a_quarter_turn_carries_the_first_axis_to_the_second():
    x = picture(5, 5, at=(4, 2))  # two steps along the first axis from the middle
    found = moved(x, rotation(pi / 2), (1, 1))
    torch.testing.assert_close(found, picture(5, 5, at=(2, 4)), atol=1e-12, rtol=0)


def test_a_quarter_turn_is_torchs_on_a_square():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(moved(x, rotation(pi / 2), (1, 1)), torch.rot90(x, 1, (2, 3)))


def test_turns_are_made_in_millimetres():
    """Two steps of 3 mm along the first axis are six of 1 mm along the second."""
    x = picture(5, 13, at=(4, 6))
    found = moved(x, rotation(pi / 2), (3, 1), "zeros", "nearest")
    assert found[0, 0, 2, 12] == 1


def test_a_turn_about_the_third_axis_is_the_turn_in_each_plane():
    x = torch.randn(1, 1, 7, 6, 3, dtype=torch.float64)
    turn, flat = rotation(0.3, torch.tensor([0.0, 0.0, 2.0])), rotation(0.3)
    planes = torch.stack([moved(x[..., k], flat, (1, 1.5)) for k in range(3)], dim=-1)
    torch.testing.assert_close(moved(x, turn, (1, 1.5, 2)), planes)


def test_rotations_keep_lengths():
    turn = rotation(0.7, torch.tensor([1.0, -2.0, 0.5]))
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(16, 20), (12, 10, 14)])
def test_the_inverse_brings_a_smooth_image_back_where_it_was_kept(shape):
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape), indexing="ij")
    x = sum(place * (n + 1) for n, place in enumerate(axes))[None, None]
    turn = rotation(0.2, None if len(shape) == 2 else torch.tensor([1.0, 1.0, 0.0])) / 1.1
    there = moved(x, turn, (1.0,) * len(shape))
    back = moved(there, torch.linalg.inv(turn), (1.0,) * len(shape))
    inside = kept(x, turn, (1.0,) * len(shape))
    assert 0.4 < inside.double().mean() <= 1
    # Linear interpolation of a linear image is exact, twice.
    torch.testing.assert_close(back[0, 0][inside], x[0, 0][inside], atol=1e-10, rtol=0)


def test_a_zoom_in_loses_the_rim():
    inside = kept(torch.zeros(1, 1, 20, 20), 2 * torch.eye(2), (1, 1))
    assert inside[10, 10]
    assert not inside[0, 0]
    assert inside.double().mean() == pytest.approx(0.25, abs=0.1)


def test_beyond_the_border_the_border_goes_on_or_lie_zeros():
    x = torch.ones(1, 1, 8, 8)
    assert moved(x, 0.5 * torch.eye(2), (1, 1)).min() == 1
    assert moved(x, 0.5 * torch.eye(2), (1, 1), "zeros")[0, 0, 0, 0] == 0
