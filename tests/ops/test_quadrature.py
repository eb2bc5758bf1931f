"""Quadrature against integrals known in closed form."""

import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxplain.ops.quadrature import Rule, nodes

RULES = get_args(Rule)
counts = st.integers(1, 40)


def integral(rule: str, count: int, function) -> float:
    points, weights = nodes(rule, count)
    return math.fsum(weight * function(point) for point, weight in zip(points, weights, strict=True))


@pytest.mark.parametrize("rule", RULES)
@given(count=counts)
def test_points_lie_inside_in_order_and_weights_are_positive_and_sum_to_one(rule, count):
    points, weights = nodes(rule, count)
    assert len(points) == len(weights) == count
    assert points[0] >= 0
    assert points[-1] <= 1
    assert all(a < b for a, b in itertools.pairwise(points))
    assert all(weight > 0 for weight in weights)
    assert math.fsum(weights) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("rule", RULES)
@given(count=counts)
def test_points_and_weights_are_symmetric(rule, count):
    points, weights = nodes(rule, count)
    assert [1 - point for point in reversed(points)] == pytest.approx(points, abs=1e-14)
    assert list(reversed(weights)) == pytest.approx(weights, rel=1e-9)


@given(count=st.integers(1, 12), data=st.data())
def test_gauss_legendre_is_exact_up_to_degree_2n_minus_1(count, data):
    degree = data.draw(st.integers(0, 2 * count - 1))
    assert integral("gauss_legendre", count, lambda t: t**degree) == pytest.approx(1 / (degree + 1), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_gauss_legendre_is_not_exact_one_degree_further(count):
    assert integral("gauss_legendre", count, lambda t: t ** (2 * count)) != pytest.approx(1 / (2 * count + 1), rel=1e-6)


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid"])
@given(count=counts)
def test_midpoint_and_trapezoid_are_exact_on_lines(rule, count):
    assert integral(rule, count, lambda t: 3 * t - 1) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(("rule", "intervals"), [("midpoint", 6), ("trapezoid", 5)])
def test_error_on_a_square_is_the_textbook_one(rule, intervals):
    """Midpoint: -1 / (12 n^2) of the integral of t^2; trapezoid: + 2 / (12 n^2), n intervals."""
    error = integral(rule, 6, lambda t: t * t) - 1 / 3
    factor = {"midpoint": -1, "trapezoid": 2}[rule]
    assert error == pytest.approx(factor / (12 * intervals**2), rel=1e-9)


def test_trapezoid_takes_both_ends_at_half_weight():
    assert nodes("trapezoid", 3) == ([0.0, 0.5, 1.0], [0.25, 0.5, 0.25])


def test_midpoints_lie_amid_equal_parts():
    assert nodes("midpoint", 2) == ([0.25, 0.75], [0.5, 0.5])


@pytest.mark.parametrize("rule", RULES)
def test_one_point_is_the_middle(rule):
    points, weights = nodes(rule, 1)
    assert (points, weights) == (pytest.approx([0.5]), pytest.approx([1.0]))
