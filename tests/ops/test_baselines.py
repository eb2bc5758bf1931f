"""What stands for 'nothing there', compared with plain loops over samples and channels."""

from itertools import product

import pytest
import torch

from tests.nets import batch
from voxplain.errors import OptionError
from voxplain.ops.baselines import FILLS, baseline, blurred

ranks = pytest.mark.parametrize("rank", [2, 3])


@ranks
@pytest.mark.parametrize("fill", [*FILLS, 0.25, -3, 0])
def test_a_baseline_has_the_images_shape_type_and_leaves_it_alone(rank, fill):
    x = batch(rank)
    before = x.clone()
    found = baseline(x, fill)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert torch.equal(x, before)


@ranks
def test_a_number_stands_everywhere(rank):
    assert torch.equal(baseline(batch(rank), -1.5), torch.full_like(batch(rank), -1.5))


@ranks
def test_zero_is_zero_even_where_the_image_is_not_finite(rank):
    x = batch(rank)
    x[0, 0] = float("inf")
    assert torch.equal(baseline(x, "zero"), torch.zeros_like(x))


@ranks
@pytest.mark.parametrize(("fill", "of"), [("mean", torch.mean), ("minimum", torch.min)])
def test_mean_and_minimum_are_those_of_each_channel_of_each_sample(rank, fill, of):
    x = batch(rank, count=3)
    found = baseline(x, fill)
    for sample, channel in product(range(3), range(2)):
        expected = of(x[sample, channel]).expand_as(x[sample, channel])
        torch.testing.assert_close(found[sample, channel], expected, rtol=1e-12, atol=1e-14)


def boxed(line: torch.Tensor, side: int) -> torch.Tensor:
    """A line averaged over centred boxes; at the ends only what is inside counts."""
    half = side // 2
    return torch.stack([line[max(0, n - half) : n + half + 1].mean() for n in range(len(line))])


@ranks
@pytest.mark.parametrize("side", [8, 16, 40])
def test_blur_is_a_box_of_an_eighth_along_each_axis_three_times(rank, side):
    x = torch.randn(1, 1, *[side, 9, 5][:rank], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    widths = [{8: 3, 16: 3, 40: 5}[side], 3, 3]
    expected = x[0, 0].clone()
    for _ in range(3):
        for axis in range(rank):
            lines = expected.movedim(axis, 0).flatten(1)
            smooth = torch.stack([boxed(line, widths[axis]) for line in lines.T], dim=1)
            expected = smooth.reshape(expected.movedim(axis, 0).shape).movedim(0, axis)
    torch.testing.assert_close(blurred(x)[0, 0], expected, rtol=1e-12, atol=1e-13)


@ranks
def test_blur_blurs_small_images_too(rank):
    x = batch(rank, side=4)
    assert (baseline(x, "blur") - x).abs().max() > 0.1
    assert baseline(x, "blur").std() < x.std()


@ranks
def test_blur_keeps_a_constant_image_up_to_its_borders(rank):
    x = torch.full((1, 2, *[12, 9, 3][:rank]), 7.0, dtype=torch.float64)
    torch.testing.assert_close(baseline(x, "blur"), x, rtol=1e-12, atol=0)


def test_blur_leaves_axes_of_one_or_two_voxels_alone():
    x = batch(2)[:, :, :, :1]
    assert torch.equal(blurred(x.expand(-1, -1, -1, 2))[..., 0], blurred(x)[..., 0])


@ranks
def test_one_sample_knows_nothing_of_another(rank):
    x = batch(rank)
    for fill in FILLS:
        alone = torch.cat([baseline(x[n : n + 1], fill) for n in range(len(x))])
        torch.testing.assert_close(baseline(x, fill), alone, rtol=1e-12, atol=1e-14)


def test_an_unknown_fill_is_never_a_blur():
    with pytest.raises(OptionError, match=r"unknown fill .black."):
        baseline(batch(2), "black")
