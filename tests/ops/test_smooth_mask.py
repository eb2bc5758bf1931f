"""The smooth max-convolution voxel by voxel, its derivative by automatic differentiation, and the area's loss."""

from itertools import product
from math import exp, sqrt

import pytest
import torch

from voxplain.ops.smooth_mask import COLDNESS, LEAST_WEIGHT, Made, SmoothMask, area_loss

SHAPES = pytest.mark.parametrize(
    ("size", "step", "sigma"),
    [
        ((9, 11), (2, 3), (4.0, 6.0)),
        ((5, 6, 7), (2, 1, 3), (3.0, 2.0, 5.0)),
        ((4, 3), (1, 1), (1.5, 2.5)),
        ((1, 6), (4, 2), (3, 3)),
    ],
)


def random_grid(smooth: SmoothMask, count: int = 2) -> torch.Tensor:
    return torch.rand(count, *smooth.cells, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def literal(grid: torch.Tensor, size, step, sigma) -> torch.Tensor:
    """One mask from the definition: a sum over cells for every voxel; outside, the outer cells go on."""
    cells = grid.shape
    reach = [1 + -int(-width // hop) for width, hop in zip(sigma, step, strict=True)]

    def weight(voxel, cell) -> float:
        middle = [c * hop + (hop - 1) / 2 for c, hop in zip(cell, step, strict=True)]
        away = sqrt(sum(((v - m) / width) ** 2 for v, m, width in zip(voxel, middle, sigma, strict=True)))
        return exp(-2 * max(0.0, away - 0.5) ** 2)

    mask = torch.zeros(size, dtype=torch.float64)
    for voxel in product(*map(range, size)):
        own = [v // hop for v, hop in zip(voxel, step, strict=True)]
        parts = []
        for offset in product(*(range(-r, r + 1) for r in reach)):
            cell = [o + shift for o, shift in zip(own, offset, strict=True)]
            places = product(*(range(o * hop, (o + 1) * hop) for o, hop in zip(own, step, strict=True)))
            if max(weight(place, cell) for place in places) >= LEAST_WEIGHT:
                held = tuple(min(max(c, 0), n - 1) for c, n in zip(cell, cells, strict=True))
                parts.append(weight(voxel, cell) * float(grid[held]))
        raised = [exp(COLDNESS * part) for part in parts]
        mask[voxel] = sum(p * w for p, w in zip(parts, raised, strict=True)) / sum(raised)
    return mask


@SHAPES
def test_each_voxel_is_the_smooth_maximum_of_the_cells_around_it(size, step, sigma):
    smooth = SmoothMask(size, step, sigma)
    grid = random_grid(smooth)
    found = smooth(grid).masks
    for n in range(len(grid)):
        torch.testing.assert_close(found[n], literal(grid[n], size, step, sigma), rtol=1e-10, atol=1e-12)
    assert found.min() >= 0
    assert found.max() <= 1


@SHAPES
def test_the_derivative_is_that_of_automatic_differentiation(size, step, sigma):
    smooth = SmoothMask(size, step, sigma)
    grid = random_grid(smooth).requires_grad_()
    made = smooth(grid)
    slope = torch.randn(made.masks.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (expected,) = torch.autograd.grad((made.masks * slope).sum(), grid)
    found = smooth.pulled_back(grid.detach(), Made(*(part.detach() for part in made)), slope)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_one_full_cell_makes_a_round_spot_as_wide_as_sigma():
    smooth = SmoothMask((33, 33), (3, 3), (9.0, 9.0))
    grid = torch.zeros(1, *smooth.cells, dtype=torch.float64)
    grid[0, 5, 5] = 1.0
    mask = smooth(grid).masks[0]
    assert mask[16, 16] == pytest.approx(1.0, abs=1e-6)  # the middle of cell (5, 5)
    torch.testing.assert_close(mask, mask.T)
    torch.testing.assert_close(mask, mask.flip(0))
    assert mask[16, 20] > 0.99
    assert mask[16, 31] == 0


def test_nothing_is_nothing_and_all_is_all():
    smooth = SmoothMask((7, 8), (2, 2), (4.0, 4.0))
    nothing, everything = smooth(torch.zeros(1, *smooth.cells)).masks, smooth(torch.ones(1, *smooth.cells)).masks
    assert nothing.eq(0).all()
    assert everything.min() > 0.8


def by_sorting(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Equation 5: the sorted mask against the sorted mask of the wanted area."""
    wanted = torch.zeros(mask.numel(), dtype=mask.dtype)
    wanted[mask.numel() - count :] = 1
    return (mask.flatten().sort().values - wanted).square().mean()


def test_the_area_loss_is_that_of_the_sorted_mask():
    masks = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    counts = [1, 7, 29]
    loss, slope = area_loss(masks.detach(), counts)
    for n, count in enumerate(counts):
        expected = by_sorting(masks[n], count)
        torch.testing.assert_close(loss[n], expected.detach())
        torch.testing.assert_close(slope[n], torch.autograd.grad(expected, masks)[0][n])


def test_ties_share_the_area():
    flat, slope = area_loss(torch.full((1, 4, 5), 0.5, dtype=torch.float64), [5])
    torch.testing.assert_close(slope, torch.full_like(slope, 2 * (0.5 - 0.25) / 20))
    mask = torch.tensor([[0.9, 0.4, 0.4 + 1e-13, 0.4, 0.1]], dtype=torch.float64)
    _, slope = area_loss(mask, [2])
    torch.testing.assert_close(slope * 5 / 2, mask - torch.tensor([[1, 1 / 3, 1 / 3, 1 / 3, 0]], dtype=torch.float64))
    assert flat > 0
