"""Local models that scikit-learn fits: lasso (Tibshirani 1996) and regression trees (Breiman et al. 1984)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from voxplain.errors import missing_extra
from voxplain.ops.solve import Fit

LEAST_PARENT = 10
"""A node of a tree with fewer rows is not split, as in MATLAB's fitrtree."""


def lasso(features: Tensor, values: Tensor, sample_weights: Tensor, alpha: float) -> Fit:
    """Weighted lasso with an unpunished intercept: features (n, feature), values (n, column)."""
    fit = _scikit_learn("linear_model").Lasso
    return _fitted(
        lambda: fit(alpha=alpha), lambda model: (model.coef_, model.intercept_), features, values, sample_weights
    )


def tree(features: Tensor, values: Tensor, sample_weights: Tensor) -> Fit:
    """Weighted regression tree: a feature's weight is how much its splits lower the squared error, a branch.

    Summed over the splits, each weighted by its share of the rows, and divided by the number of splits. It has no sign
    and the square of the values' unit; there is no intercept.
    """
    fit = _scikit_learn("tree").DecisionTreeRegressor
    make = lambda: fit(min_samples_split=LEAST_PARENT, random_state=0)  # noqa: E731 - ties are broken at random
    return _fitted(make, _importance, features, values, sample_weights)


def _importance(model: Any) -> tuple[Any, float]:
    inside = model.tree_
    branches = max(int((inside.children_left >= 0).sum()), 1)
    return inside.compute_feature_importances(normalize=False) / branches, torch.nan


def _fitted(
    make: Callable[[], Any], read: Callable[[Any], tuple[Any, float]], features: Tensor, values: Tensor, weights: Tensor
) -> Fit:
    """One model a column, as one fit."""
    x, w = features.double().cpu().numpy(), weights.double().cpu().numpy()
    columns = []
    for y in values.double().cpu().numpy().T:
        model = make().fit(x, y, sample_weight=w)
        found, intercept = read(model)
        numbers = (intercept, model.score(x, y, sample_weight=w), model.predict(0 * x[:1] + 1)[0])
        columns.append((torch.as_tensor(found, dtype=torch.float64), *map(float, numbers)))
    found, *rest = zip(*columns, strict=True)
    parts = [torch.stack(found, dim=1), *(torch.tensor(one, dtype=torch.float64) for one in rest)]
    return Fit(*(part.to(values.device) for part in parts))


def _scikit_learn(part: str) -> Any:
    try:
        from sklearn import linear_model, tree
    except ImportError as error:
        raise missing_extra("scikit-learn", "segments", "a lasso or a tree as surrogate") from error
    return {"linear_model": linear_model, "tree": tree}[part]
