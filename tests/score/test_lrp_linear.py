"""The arithmetic that relevance rules share: few passes over memory, and the numbers of the plain formulas."""

import pytest
import torch

from voxplain.score.lrp_linear import Handling, alpha_beta, divided, left_over, stabilised
from voxplain.score.rules import DERIVATIVE, Pass

SINGLE = 1e-6
"""Share of the largest sum that single precision may lose where a sample's values are added in pairs."""


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [1e-6, 0.25, 0.0])
def test_the_stabiliser_has_the_sign_of_the_sum_and_is_positive_at_either_zero(dtype, epsilon):
    z = torch.cat([numbers(50, dtype=dtype), torch.tensor([0.0, -0.0], dtype=dtype)])
    before = z.clone()
    expected = torch.where(z < 0, z - epsilon, z + epsilon)
    found = stabilised(z, epsilon)
    assert torch.equal(found, expected)
    assert torch.equal(1 / found, 1 / expected), "the sign of zero counts, too"
    assert torch.equal(z, before)
    assert found.dtype == dtype


def test_the_stabiliser_keeps_the_layout():
    z = numbers(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert stabilised(z, 1e-6).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5)])
def test_quotients_and_what_is_left_are_those_of_the_formula(shape):
    relevance, own, ratio = numbers(3, 4, 5), numbers(*shape, seed=1), numbers(3, 4, 5, seed=2)
    kept = [part.clone() for part in (relevance, own, ratio)]
    assert torch.equal(left_over(relevance, ratio, own), relevance - ratio * own)
    assert torch.equal(divided(relevance, own.clone()), relevance / own)
    assert all(torch.equal(part, before) for part, before in zip((relevance, own, ratio), kept, strict=True))


@pytest.mark.parametrize("shape", [(), (5,), (3, 7, 6, 5)])
def test_what_is_absorbed_is_the_whole_sum_times_its_factor(shape):
    kept, met = numbers(*shape), Pass(DERIVATIVE)
    met.absorb(kept)
    met.absorb(kept, -2.0)
    assert met.kept == pytest.approx(-float(kept.sum()), rel=1e-12)
    assert all(part.ndim == 0 and part.dtype == torch.float64 for part in met.absorbed)


def test_single_precision_sums_stay_near_the_exact_one():
    kept, met = numbers(4, 64, 56, 56, dtype=torch.float32) + 1, Pass(DERIVATIVE)
    met.absorb(kept)
    assert met.kept == pytest.approx(float(kept.double().sum()), rel=SINGLE)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (2.0, 1.0), (3.0, 2.0)])
def test_alpha_and_beta_weigh_the_two_signs(alpha, beta):
    x, weight, relevance = numbers(4, 6), numbers(3, 6, seed=1), numbers(4, 3, seed=2)
    linear, met = Dense(x, weight), Pass(DERIVATIVE)
    found = alpha_beta(linear, relevance, Handling(), met, alpha=alpha, beta=beta)
    given = x[:, None] * weight
    positive, negative = given.clamp(min=0), given.clamp(max=0)
    shares = alpha * positive / (positive.sum(2, keepdim=True) + 1e-6)
    shares = shares - beta * negative / (negative.sum(2, keepdim=True) - 1e-6)
    expected = (shares * relevance[..., None]).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert met.kept == pytest.approx(float(relevance.sum() - expected.sum()), abs=1e-9)


class Dense:
    """A linear map without a bias, as rules see one."""

    bias = None

    def __init__(self, x, weight):
        self.x, self.weight = x, weight
        self.nonnegative = bool((x >= 0).all())

    def branch(self, x, change):
        from voxplain.score.linear_map import Branch

        leaf = x.detach().requires_grad_()
        return Branch(leaf, leaf @ change(self.weight).T)
