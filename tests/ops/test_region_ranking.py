"""Regions joined by density, against the algorithm written out with whole masks."""

import numpy as np
import pytest
from scipy import ndimage

from voxplain.ops.region_ranking import joined_by_density, regions


def ball(radius: int, rank: int) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(-radius, radius + 1)] * rank)
    return sum(axis**2 for axis in axes) <= radius**2


def labelled(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """Blotchy labels: the nearest of some random places."""
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, shape, (count, len(shape)))
    voxels = np.stack(np.indices(shape), axis=-1)[..., None, :]
    return ((voxels - places) ** 2).sum(-1).argmin(-1)


def written_out(masks: list[np.ndarray], values: np.ndarray, least_new: int) -> np.ndarray:
    out, taken, left = np.full(values.shape, np.nan), np.zeros(values.shape, dtype=bool), list(masks)
    while left := [mask for mask in left if (mask & ~taken).sum() >= least_new]:
        best = max(left, key=lambda mask: values[mask & ~taken].mean())
        new = best & ~taken
        out[new] = values[new].mean()
        taken |= new
        left = [mask for mask in left if mask is not best]
    if not taken.all():
        out[~taken] = values[~taken].mean()
    return out


@pytest.mark.parametrize("shape", [(12, 15), (6, 7, 8)])
@pytest.mark.parametrize("dilation", [0, 1, 3])
def test_every_segment_is_grown_by_a_disk_or_ball(shape, dilation):
    cuts = [labelled(shape, count, seed) for seed, count in enumerate((4, 9))]
    found = regions(cuts, dilation).toarray().astype(bool)
    expected = [cut == label for cut in cuts for label in np.unique(cut)]
    if dilation:
        expected = [ndimage.binary_dilation(mask, ball(dilation, len(shape))) for mask in expected]
    assert np.array_equal(found, np.stack([mask.ravel() for mask in expected]))


def test_labels_may_have_gaps_and_be_negative():
    cut = np.array([[-3, -3, 7], [0, 7, 7]])
    found = regions([cut], 0).toarray().reshape(3, 2, 3)
    for label, mask in zip((-3, 0, 7), found, strict=True):
        assert np.array_equal(mask, cut == label)


@pytest.mark.parametrize("shape", [(12, 15), (6, 7, 8)])
@pytest.mark.parametrize("dilation", [0, 2])
@pytest.mark.parametrize("least_new", [1, 12])
def test_regions_join_in_the_order_of_their_density(shape, dilation, least_new):
    cuts = [labelled(shape, count, seed) for seed, count in enumerate((4, 9, 20))]
    values = np.random.default_rng(5).normal(size=shape)
    masks = regions(cuts, dilation).toarray().astype(bool).reshape(-1, *shape)
    found = joined_by_density(regions(cuts, dilation), values.ravel(), least_new).reshape(shape)
    np.testing.assert_allclose(found, written_out(list(masks), values, least_new), rtol=1e-9, atol=1e-12)
    assert found.sum() == pytest.approx(values.sum())


def test_what_no_region_may_take_is_one_part():
    values = np.arange(6.0)
    found = joined_by_density(regions([np.array([[0, 0, 0], [1, 2, 3]])], 0), values, 3)
    np.testing.assert_allclose(found, [1, 1, 1, 4, 4, 4])


def test_the_largest_mean_joins_first_not_the_largest_sum():
    cuts = [np.array([[0, 0, 1, 1, 1, 1]]), np.array([[0, 1, 1, 1, 1, 1]])]
    values = np.array([0.0, 9.0, 3.0, 3.0, 3.0, 3.0])
    found = joined_by_density(regions(cuts, 0), values, 1)
    np.testing.assert_allclose(found, [4.5, 4.5, 3, 3, 3, 3])
