"""Nodes and weights for integrals over 0..1."""

from typing import Literal

import numpy as np

Rule = Literal["gauss_legendre", "midpoint", "trapezoid"]


def nodes(rule: Rule, count: int) -> tuple[list[float], list[float]]:
    """Points in 0..1 and weights that sum to 1; exact for polynomials up to degree 2n-1 (Gauss-Legendre), 1, 1."""
    if rule == "gauss_legendre":
        points, weights = np.polynomial.legendre.leggauss(count)
        return list((points + 1) / 2), list(weights / 2)
    if rule == "midpoint":
        return [(n + 0.5) / count for n in range(count)], [1.0 / count] * count
    if count == 1:
        return [0.5], [1.0]
    ends = [0.5 if n in (0, count - 1) else 1.0 for n in range(count)]
    return [n / (count - 1) for n in range(count)], [weight / (count - 1) for weight in ends]
