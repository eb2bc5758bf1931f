import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from voxplain.ops.neighbour_linear import neighbour_linear

SOLVED = 1e-8
"""Twin solvers of one system in float64; ours stops once 1e-10 of its right side is left."""


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def solved_densely(image, removed):
    """The paper's system, built voxel by voxel: each missing one is the weighted mean of the neighbours that exist."""
    space, rank = removed.shape, removed.ndim
    number = np.arange(removed.size).reshape(space)
    matrix, side = sparse.lil_matrix((removed.size, removed.size)), np.zeros((removed.size, len(image)))
    for place in np.ndindex(space):
        row = number[place]
        if not removed[place]:
            matrix[row, row], side[row] = 1.0, image[(slice(None), *place)]
            continue
        for step in np.ndindex(*[3] * rank):
            there = tuple(n + hop - 1 for n, hop in zip(place, step, strict=True))
            apart = sum(hop != 1 for hop in step)
            if apart and all(0 <= n < length for n, length in zip(there, space, strict=True)):
                matrix[row, number[there]] -= 0.5**apart
                matrix[row, row] += 0.5**apart
    return spsolve(sparse.csc_matrix(matrix), side).reshape(removed.size, -1).T.reshape(len(image), *space)


def holes(*space):
    """A block, one that touches the border, every third voxel left, and one voxel left."""
    block, border, sparse_left, one_left = (torch.zeros(space, dtype=torch.bool) for _ in range(4))
    block[tuple(slice(1, side - 2) for side in space)] = True
    border[space[0] // 2 :] = True
    sparse_left.view(-1)[:] = torch.arange(sparse_left.numel()) % 3 > 0
    one_left[:] = True
    one_left[tuple(side // 2 for side in space)] = False
    return torch.stack([block, border, sparse_left, one_left])


@pytest.mark.parametrize("space", [(9, 14), (5, 7, 6), (11, 3)])
def test_solves_the_system_of_the_paper(space):
    image, removed = noise(1, 2, *space), holes(*space)
    found = neighbour_linear(image, removed)
    for own, mask in zip(found, removed, strict=True):
        expected = solved_densely(image[0].numpy(), mask.numpy())
        np.testing.assert_allclose(own.numpy(), expected, rtol=0, atol=SOLVED)


@pytest.mark.parametrize("space", [(12, 9), (6, 5, 7)])
def test_known_voxels_stay_as_they_are(space):
    image, removed = noise(1, 2, *space), holes(*space)
    found = neighbour_linear(image, removed)
    kept = ~removed[:, None].expand_as(found)
    assert torch.equal(found[kept], image.expand_as(found)[kept])


@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)])
def test_a_ramp_is_restored_inside_a_hole(space):
    """The neighbours lie around each voxel in pairs, so that their mean is the ramp's own value."""
    ramp = sum(
        torch.arange(side, dtype=torch.float64).reshape([-1 if a == n else 1 for a in range(len(space))]) * (n + 1)
        for n, side in enumerate(space)
    )
    removed = torch.zeros(space, dtype=torch.bool)
    removed[tuple(slice(2, -2) for _ in space)] = True
    found = neighbour_linear(ramp[None, None], removed[None])
    torch.testing.assert_close(found[0, 0], ramp, rtol=0, atol=1e-7)


def test_fills_lie_between_the_darkest_and_brightest_known_voxel():
    image, removed = noise(1, 1, 40, 33), noise(4, 40, 33, seed=2) < 0.97
    found = neighbour_linear(image, removed)
    for own, mask in zip(found, removed, strict=True):
        known = image[0, 0][~mask]
        assert known.min() - SOLVED <= own.min()
        assert own.max() <= known.max() + SOLVED


def test_an_image_of_which_nothing_is_left_becomes_its_mean():
    image = noise(1, 2, 6, 5)
    found = neighbour_linear(image, torch.ones(1, 6, 5, dtype=torch.bool))
    torch.testing.assert_close(found, image.mean((2, 3), keepdim=True).expand_as(found))


def test_nothing_removed_changes_nothing():
    image = noise(1, 2, 6, 5)
    assert torch.equal(neighbour_linear(image, torch.zeros(1, 6, 5, dtype=torch.bool)), image)


def test_a_mask_alone_is_filled_as_among_others():
    image, removed = noise(1, 2, 9, 8), holes(9, 8)
    together = neighbour_linear(image, removed)
    assert torch.equal(together[1:2], neighbour_linear(image, removed[1:2]))


def test_each_image_is_filled_by_its_own_mask():
    images, removed = noise(4, 1, 9, 8), holes(9, 8)
    found = neighbour_linear(images, removed)
    assert torch.equal(found[2:3], neighbour_linear(images[2:3], removed[2:3]))


def test_single_precision_is_enough_for_large_holes():
    image = noise(1, 1, 96, 80)
    removed = torch.ones(1, 96, 80, dtype=torch.bool)
    removed[:, 10, 5] = removed[:, 70, 60] = False
    rough, exact = neighbour_linear(image.float(), removed), neighbour_linear(image, removed)
    torch.testing.assert_close(rough.double(), exact, rtol=0, atol=2e-3)  # of values in 0..1, two known in 7680
