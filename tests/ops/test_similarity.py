import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from voxplain.ops.similarity import icc, similarity, spearman, ssim

SHAPES = {2: (31, 24), 3: (15, 13, 17)}


def pair(rank, seed=0):
    """Two maps that have something in common."""
    generator = torch.Generator().manual_seed(seed)
    a, noise = (torch.randn(SHAPES[rank], generator=generator, dtype=torch.float64) for _ in range(2))
    return a, a + noise


@pytest.mark.parametrize("rank", [2, 3])
def test_structural_similarity_equals_scikit_image(rank):
    a, b = (one.abs() / 4 for one in pair(rank))
    theirs = structural_similarity(
        a.numpy(), b.numpy(), gaussian_weights=True, use_sample_covariance=False, data_range=1.0
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-12)


def test_structural_similarity_of_a_thin_slab_uses_all_of_its_planes():
    a, b = pair(3)
    assert -1 < ssim(a[:3], b[:3]) < 1


@pytest.mark.parametrize("rank", [2, 3])
def test_rank_correlation_equals_scipy_with_ties(rank):
    a, b = (one.round() for one in pair(rank))
    assert spearman(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-12)


def test_intraclass_correlation_equals_the_example_of_shrout_and_fleiss():
    """Judges 1 and 2 of their table 2, from the mean squares of a two-way analysis of variance by hand."""
    a, b = torch.tensor([9.0, 6, 8, 7, 10, 6]), torch.tensor([2.0, 1, 4, 1, 5, 2])
    ratings = np.stack([a, b], axis=1)
    rows, columns, grand = ratings.mean(1), ratings.mean(0), ratings.mean()
    between = 2 * ((rows - grand) ** 2).sum() / 5
    judges = 6 * ((columns - grand) ** 2).sum() / 1
    rest = ((ratings - rows[:, None] - columns[None] + grand) ** 2).sum() / 5
    assert icc(a, b) == pytest.approx((between - rest) / (between + rest + 2 * (judges - rest) / 6))


def test_intraclass_correlation_asks_for_agreement_not_for_order():
    a = torch.linspace(0, 1, 50)
    assert icc(a, a) == pytest.approx(1)
    assert icc(a, a + 1) < 0.5
    assert icc(a, -a) < 0


@pytest.mark.parametrize("measure", ["ssim", "spearman", "icc"])
def test_a_map_is_like_itself_at_any_scale(measure):
    a, _ = pair(2)
    assert similarity(measure, a, 7 * a) == pytest.approx(1)


@pytest.mark.parametrize("measure", ["ssim", "spearman", "icc"])
def test_the_negative_of_a_map_is_unlike_it(measure):
    a, _ = pair(2)
    assert similarity(measure, a, -a) < -0.8


@pytest.mark.parametrize("measure", ["ssim", "spearman", "icc"])
def test_maps_without_structure_are_like_each_other_only(measure):
    a, _ = pair(2)
    assert similarity(measure, a, torch.zeros_like(a)) == 0
    assert similarity(measure, torch.ones_like(a), a) == 0
    assert similarity(measure, torch.ones_like(a), torch.zeros_like(a)) == 1
