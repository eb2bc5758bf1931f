"""Gaussian blur, against SciPy."""

import pytest
import torch
from scipy import ndimage

from tests.nets import batch
from voxplain.ops.gaussian import gaussian_blur

borders = pytest.mark.parametrize("border", ["reflect", "nearest", "constant"])


@borders
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("sigma", [0.3, 1.7, 6.0])
def test_equals_scipy_also_where_the_kernel_is_wider_than_the_image(rank, sigma, border):
    x = batch(rank)
    ours = gaussian_blur(x, sigma, border)
    theirs = ndimage.gaussian_filter(x.numpy(), [0, 0, *[sigma] * rank], mode=border)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-14)


@borders
@pytest.mark.parametrize("truncate", [1.0, 2.6, 4.0])
def test_the_kernel_ends_where_scipy_ends_it(truncate, border):
    x = batch(2)
    theirs = ndimage.gaussian_filter(x.numpy(), [0, 0, 1.3, 1.3], mode=border, truncate=truncate)
    torch.testing.assert_close(gaussian_blur(x, 1.3, border, truncate), torch.from_numpy(theirs), rtol=0, atol=1e-14)


def test_each_axis_has_its_own_width():
    x = batch(3)
    theirs = ndimage.gaussian_filter(x.numpy(), [0, 0, 2.0, 0.0, 0.7], mode="reflect")
    torch.testing.assert_close(gaussian_blur(x, (2.0, 0.0, 0.7)), torch.from_numpy(theirs), rtol=0, atol=1e-14)


@borders
def test_a_constant_stays_itself_unless_zeros_lie_beyond(border):
    x = torch.full((1, 1, 9, 7), 3.0, dtype=torch.float64)
    assert torch.allclose(gaussian_blur(x, 2.0, border), x) == (border != "constant")


def test_mirrored_borders_keep_the_sum():
    x = batch(3)
    torch.testing.assert_close(gaussian_blur(x, 3.0).sum(), x.sum())


def test_no_width_is_no_blur():
    x = batch(2)
    assert torch.equal(gaussian_blur(x, 0.0), x)


def test_single_precision_stays_single_precision():
    assert gaussian_blur(batch(2).float(), 1.0).dtype == torch.float32
