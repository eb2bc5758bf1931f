"""Closed forms of weighted least squares against scikit-learn and against a solver with an explicit constraint."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, Ridge
from sklearn.tree import DecisionTreeRegressor

from voxplain.ops.solve import r_squared, ridge, shared_out
from voxplain.ops.surrogates import lasso, tree


def problem(n: int = 60, features: int = 7, columns: int = 2, seed: int = 0):
    source = torch.Generator().manual_seed(seed)
    present = torch.rand(n, features, generator=source, dtype=torch.float64) < 0.5
    present[0] = True
    truth = torch.randn(features, columns, generator=source, dtype=torch.float64)
    noise = torch.randn(n, columns, generator=source, dtype=torch.float64)
    return (
        present.double(),
        present.double() @ truth + 0.3 * noise + 2,
        torch.rand(n, generator=source, dtype=torch.float64),
    )


def same(ours: torch.Tensor, theirs: object) -> None:
    torch.testing.assert_close(ours, torch.as_tensor(np.asarray(theirs)).to(ours), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0])
def test_ridge_is_that_of_scikit_learn(alpha):
    x, y, w = problem()
    found = ridge(x, y, w, alpha)
    for column in range(2):
        model = Ridge(alpha=alpha).fit(x.numpy(), y[:, column].numpy(), sample_weight=w.numpy())
        same(found.weights[:, column], model.coef_)
        same(found.intercept[column], model.intercept_)
        same(found.r2[column], model.score(x.numpy(), y[:, column].numpy(), sample_weight=w.numpy()))
        same(found.all_present[column], model.predict(np.ones((1, 7)))[0])


def test_ridge_stands_features_that_never_change():
    x, y, w = problem(n=5, features=9)
    x[:, 4] = 1
    assert torch.isfinite(ridge(x, y, w, 1.0).weights).all()
    assert ridge(x, y, w, 1.0).weights[4].abs().max() < 1e-12


def test_lasso_is_that_of_scikit_learn():
    x, y, w = problem()
    found = lasso(x, y, w, 0.05)
    model = Lasso(alpha=0.05).fit(x.numpy(), y[:, 1].numpy(), sample_weight=w.numpy())
    same(found.weights[:, 1], model.coef_)
    same(found.intercept[1], model.intercept_)
    same(found.all_present[1], model.predict(np.ones((1, 7)))[0])
    assert (found.weights == 0).any(), "a lasso leaves features out"


def test_a_tree_tells_how_much_each_feature_lowers_the_error_a_split():
    x, y, w = problem()
    found = tree(x, y, w)
    model = DecisionTreeRegressor(min_samples_split=10, random_state=0).fit(
        x.numpy(), y[:, 0].numpy(), sample_weight=w.numpy()
    )
    inside, lowered = model.tree_, np.zeros(7)
    for node in range(inside.node_count):
        left, right = inside.children_left[node], inside.children_right[node]
        if left < 0:
            continue
        mass = inside.weighted_n_node_samples / inside.weighted_n_node_samples[0]
        risk = mass * inside.impurity
        lowered[inside.feature[node]] += risk[node] - risk[left] - risk[right]
    same(found.weights[:, 0], lowered / (inside.children_left >= 0).sum())
    same(found.r2[0], model.score(x.numpy(), y[:, 0].numpy(), sample_weight=w.numpy()))
    assert torch.isnan(found.intercept).all()


def test_a_tree_of_equal_values_has_no_importance():
    x, y, w = problem()
    assert tree(x, torch.ones_like(y), w).weights.abs().max() == 0


def test_r_squared_of_equal_values_is_one_if_they_are_met():
    ones, w = torch.ones(5, 1, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    assert r_squared(ones, ones, w).tolist() == [1.0]
    assert r_squared(ones, 2 * ones, w).tolist() == [0.0]


def test_ridge_errors_are_the_spread_over_draws():
    weights, errors = [], []
    for seed in range(200):
        source = torch.Generator().manual_seed(seed)
        x = (torch.rand(80, 6, generator=source, dtype=torch.float64) < 0.5).double()
        y = x[:, :1] * 2 + x[:, 1:2] * x[:, 2:3] * 3 + x[:, 3:4] * torch.randn(80, 1, generator=source).double()
        found = ridge(x, y, torch.rand(80, generator=source, dtype=torch.float64) + 0.1, 1e-6)
        weights.append(found.weights[:, 0])
        errors.append(found.standard_error[:, 0])
    ratio = torch.stack(errors).mean(dim=0) / torch.stack(weights).std(dim=0)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=0.15)


@pytest.mark.parametrize("fixed", [0, 3])
def test_ridge_errors_are_those_of_mackinnon_and_white(fixed):
    """HC2 written out: the intercept as a column of ones, the weights in the rows."""
    z, y, w = problem(n=20)
    root = w.sqrt()[:, None]
    design, values = root * torch.cat([z, torch.ones(20, 1)], dim=1), root * y
    punished = torch.diag(torch.tensor([2.0] * 7 + [0.0], dtype=torch.float64))
    bread = torch.linalg.inv(design.T @ design + punished)
    left = values - design @ (bread @ (design.T @ values))
    taken = (design @ bread @ design.T).diagonal()
    noise = left**2 / (1 - taken)[:, None]
    errors = [
        (bread @ (design.T * (noise[:, n] * (torch.arange(20) >= fixed))) @ design @ bread).diagonal() for n in (0, 1)
    ]
    same(ridge(z, y, w, 2.0, fixed=fixed).standard_error, torch.stack(errors, dim=1)[:7].sqrt())


def test_shares_solve_the_constrained_problem():
    """Lagrange: minimise the weighted squares under a fixed sum, as one linear system."""
    z, y, w = problem(n=40)
    total = torch.tensor([1.5, -0.5], dtype=torch.float64)
    found = shared_out(z.bool(), y, w, total)
    system = torch.zeros(8, 8, dtype=torch.float64)
    system[:7, :7] = 2 * z.T @ (w[:, None] * z)
    system[7, :7] = system[:7, 7] = 1
    right = torch.cat([2 * z.T @ (w[:, None] * y), total[None]])
    same(found.values, torch.linalg.solve(system, right)[:7])
    same(found.residuals, y - z @ found.values)


def test_shares_that_are_left_open_are_equal():
    z = torch.tensor([[True, False, False], [False, True, True]])
    worth = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    found = shared_out(z, worth, torch.ones(2), torch.tensor([3.0], dtype=torch.float64))
    same(found.values[:, 0], [1.0, 1.0, 1.0])
