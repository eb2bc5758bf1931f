"""Fusing maps: the study's algorithm transcribed loop by loop from its description, and the laws of the other rules."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from voxplain.ops.fusion import RULES, blocks, fused, rank_correlations, to_ranks, to_unit_range, votes


def maps(rank: int = 2, count: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (16, 11) if rank == 2 else (8, 9, 7)
    raw = torch.randn(count, 2, 1, *shape, generator=generator, dtype=torch.float64)
    raw[:, :, :, 3:6, 3:6] += 4  # where the members agree
    return torch.stack([to_unit_range(blocks(one, 3)) for one in raw])


def of(found: torch.Tensor, rule: str, threshold: float = 0.5, weights=None, binary: bool = False) -> torch.Tensor:
    return fused(found, rule, threshold=threshold, weights=weights or [1.0] * len(found), binary=binary)


def slow_blocks(picture: np.ndarray, side: int) -> np.ndarray:
    out = np.empty_like(picture)
    for top in range(0, picture.shape[0], side):
        for left in range(0, picture.shape[1], side):
            place = (slice(top, top + side), slice(left, left + side))
            out[place] = picture[place].mean()
    return out


def stretched(picture: np.ndarray) -> np.ndarray:
    picture = np.where(picture < 0, 0, picture)
    span = picture.max() - picture.min()
    return (picture - picture.min()) / span if span else np.zeros_like(picture)


def slow(pictures: list[np.ndarray], rule: str, threshold: float, binary: bool) -> np.ndarray:
    """The three rules of the study."""
    n, count, mean = len(pictures), np.zeros(pictures[0].shape), np.zeros(pictures[0].shape)
    for picture in pictures:
        vote = {"threshold": picture >= threshold, "average": picture > 0, "intersection": picture > 0.2}[rule]
        count += vote
        mean += (picture if rule == "average" else picture * vote) / n
    keep = {"threshold": count >= n - 1, "average": count >= n / 2, "intersection": count == n}[rule]
    if binary:
        return keep.astype(float)
    if rule == "threshold":
        return stretched(mean) * keep
    result = mean * keep
    return np.where(result <= 0.5, 0, result) if rule == "average" else result


@pytest.mark.parametrize("rule", ["threshold", "average", "intersection"])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_the_studys_rules_are_those_of_its_description(rule, binary, threshold):
    found = maps()
    for sample in range(2):
        pictures = [one[sample, 0].numpy() for one in found]
        expected = slow(pictures, rule, threshold, binary)
        assert expected.any(), "the case must have something to keep"
        np.testing.assert_allclose(
            of(found, rule, threshold, binary=binary)[sample, 0].numpy(), expected, rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("side", [1, 3, 7, 30])
def test_blocks_are_means_also_where_they_are_cut(side):
    picture = torch.randn(1, 1, 16, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(blocks(picture, side)[0, 0], slow_blocks(picture[0, 0].numpy(), side), rtol=1e-12)


def test_blocks_in_3d_are_those_of_2d_plane_by_plane_for_equal_planes():
    picture = torch.randn(1, 1, 16, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    volume = picture[..., None].expand(-1, -1, -1, -1, 5)
    torch.testing.assert_close(blocks(volume, 4), blocks(picture, 4)[..., None].expand_as(volume))


def test_a_constant_map_is_not_stretched_to_look_like_something():
    assert not to_unit_range(torch.full((1, 1, 4, 4), 3.0)).any()
    assert not to_unit_range(torch.full((1, 1, 4, 4), -3.0)).any()
    assert not to_ranks(torch.full((1, 1, 4, 4), 3.0)).any()


def test_ranks_share_ties():
    row = torch.tensor([3.0, 1.0, 3.0, 2.0, 3.0], dtype=torch.float64).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(to_ranks(row).flatten(), (rankdata(row.flatten()) - 1) / 4)


def test_rank_correlations_are_spearmans():
    found = maps(3)
    got = rank_correlations(found)
    for sample in range(2):
        expected = spearmanr(np.stack([one[sample].flatten().numpy() for one in found], axis=1)).statistic
        np.testing.assert_allclose(got[sample], expected, atol=1e-12)


@pytest.mark.parametrize("rule", ["median", "variance_weighted", "product", "intersection"])
def test_equal_members_give_themselves_back(rule):
    one = maps()[0]
    same = torch.stack([one] * 3)
    expected = one * (one > 0.2) if rule == "intersection" else one
    torch.testing.assert_close(of(same, rule), expected)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("rank", [2, 3])
def test_every_rule_stays_within_0_and_1_and_does_not_depend_on_the_members_order(rule, rank):
    found = maps(rank)
    got = of(found, rule)
    assert got.min() >= 0
    assert got.max() <= 1
    assert got.any()
    torch.testing.assert_close(of(found.flip(0), rule), got)


def test_median_is_numpys_also_for_an_even_number():
    np.testing.assert_allclose(of(maps(count=4), "median"), np.median(maps(count=4), axis=0))


def test_majority_needs_more_than_half():
    found = torch.tensor([0.9, 0.9, 0.1, 0.1]).reshape(4, 1, 1, 1, 1)
    assert not of(found, "majority").any()
    assert of(torch.cat([found, found[:1]]), "majority").any()


def test_product_is_zero_where_one_member_is():
    found = maps()
    assert not of(found, "product")[(found == 0).any(dim=0)].any()
    torch.testing.assert_close(of(found, "product"), found.prod(dim=0) ** 0.25)


def test_disagreement_lowers_the_variance_weighted_mean():
    agree, differ = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.9])
    found = torch.stack([agree, differ], dim=1).reshape(2, 1, 1, 2, 1).double()
    got = of(found, "variance_weighted").flatten()
    assert got[0] == 0.5
    assert got[1] < 0.5


def test_weights_count():
    found = maps(count=3)
    torch.testing.assert_close(
        of(found, "majority", 0.01, [0.0, 2.0, 0.0], binary=False),
        found[1] * (votes(found, "majority", 0.01).sum(dim=0) > 1.5),
    )
