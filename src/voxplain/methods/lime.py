"""LIME for images. Ribeiro, Singh, Guestrin, KDD 2016, arXiv:1602.04938, algorithm 1, as lime 0.2.0.1 computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.segmented import Segmented, Segments
from voxplain.ops.baselines import baseline
from voxplain.ops.draws import uniform
from voxplain.ops.fusion import rank_correlations
from voxplain.ops.segments import segment_means
from voxplain.ops.solve import Fit, ridge
from voxplain.ops.surrogates import lasso, tree
from voxplain.score.players import coalition_scores
from voxplain.score.score import Score
from voxplain.types import Quantity

ALPHA = {"ridge": 1.0, "lasso": 0.01}
"""Penalty of each surrogate that has one, unless it is given."""


@dataclass(frozen=True, kw_only=True)
class Lime(Segmented):
    """How the score depends on each segment in a simple model of images that miss about half of them, signed.

    Each voxel holds its segment's weight, in units of the score (a tree's importance has no sign and squared units).
    `local_r2` says how well the simple model fits, `stability` how alike two fits to half of the samples each order
    the segments (Spearman). The standard error is that of the draws. Costs 1 + samples forwards, for all classes.
    """

    name = "lime"
    title: ClassVar[str] = "LIME"
    citation: ClassVar[str] = "Ribeiro et al., Why should I trust you?, arXiv:1602.04938"
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "on a linear score, with little penalty, a segment's weight is its share of f(x) - f(fill)"
    cost: ClassVar[str] = "1 + samples"
    planar: ClassVar[str] = "quickshift"

    segmenter: Literal["auto", "quickshift", "slic", "grid", "given"] = "auto"
    """Who cuts the image; auto: given labels if there are any, else quickshift in 2D and slic in 3D."""
    samples: int = 1000
    """Images scored, the untouched one first."""
    fill: float | Literal["segment_mean", "zero", "mean", "minimum", "blur"] = "segment_mean"
    """What covers a segment: its own mean, zero, mean, minimum, blur or a number, in units of the network's input."""
    surrogate: Literal["ridge", "lasso", "tree"] = "ridge"
    """The simple model: ridge regression, lasso, or a regression tree, whose importances have no sign."""
    alpha: float | None = None
    """Penalty of ridge (left out: 1) or lasso (left out: 0.01)."""
    weighted: bool = True
    """Images with more segments present count more; false: all count the same."""
    kernel_width: float = 0.25
    """How fast the weight of an image falls with its cosine distance from the untouched one."""

    def _check(self) -> None:
        super()._check()
        self._require(self.samples >= 2, "samples", "at least 2")
        self._require(self.alpha is None or self.surrogate != "tree", "alpha", "left out with surrogate='tree'")
        self._require(self.alpha is None or self.alpha > 0, "alpha", "more than 0")
        self._require(self.kernel_width > 0, "kernel_width", "more than 0")
        ridge_only = self.tolerance is None or self.surrogate == "ridge"
        self._require(ridge_only, "tolerance", "left out unless surrogate='ridge', as others have no standard error")

    def _found(self, score: Score, x: Tensor, row: int, labels: Tensor) -> Segments:
        cover = self._cover(x[row], labels)
        players, column = int(labels.max()) + 1, int(score.classes[row])
        presence, values = torch.empty(0, players, dtype=torch.bool), torch.empty(0)
        for count in self._schedule():
            drawn = uniform(self._seed(score), range(len(presence), count), (players,)) < 0.5
            drawn[: 1 - min(len(presence), 1)] = True  # the first of all is the untouched image
            scores = coalition_scores(score, x[row], cover, labels, drawn, row)
            presence, values = torch.cat([presence, drawn]), torch.cat([values.to(scores), scores])
            fit = self._fit(presence, values)
            error = None if fit.standard_error is None else fit.standard_error[:, column]
            if error is not None and self._precise(fit.weights[None, :, column], error[None]):
                break
        halves = torch.stack([self._fit(presence[half::2], values[half::2]).weights.T for half in (0, 1)])
        numbers = {
            "intercept": fit.intercept,
            "local_r2": fit.r2,
            "local_prediction": fit.all_present,
            "stability": rank_correlations(halves[:, :, None])[:, 0, 1],
            "samples": torch.tensor(len(values)),
        }
        return Segments(labels, fit.weights, error, numbers)

    def _cover(self, image: Tensor, labels: Tensor) -> Tensor:
        if self.fill == "segment_mean":
            return segment_means(image, labels)
        return baseline(image[None], self.fill)[0]

    def _fit(self, presence: Tensor, values: Tensor) -> Fit:
        features = presence.to(values)
        weights = self._weights(features)
        if self.surrogate == "tree":
            return tree(features, values, weights)
        alpha = self.alpha or ALPHA[self.surrogate]
        if self.surrogate == "lasso":
            return lasso(features, values, weights, alpha)
        return ridge(features, values, weights, alpha, fixed=1)

    def _weights(self, features: Tensor) -> Tensor:
        """How much each image counts: sqrt(exp(-d^2 / width^2)), d the cosine distance from all present."""
        if not self.weighted:
            return torch.ones_like(features[:, 0])
        cosine = (features.sum(dim=1) / features.shape[1]).sqrt()
        return torch.exp(-(((1 - cosine) / self.kernel_width) ** 2) / 2)

    def _quantity(self) -> Quantity:
        return Quantity.SALIENCY if self.surrogate == "tree" else self.quantity

    def _unit(self, score: Score) -> str:
        words = "squared, importance" if self.surrogate == "tree" else "weight"
        return f"{score.target.unit} ({words} of a segment)"
