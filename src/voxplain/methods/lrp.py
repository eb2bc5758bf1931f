"""Layer-wise relevance propagation. Bach et al., PLoS ONE 10(7), 2015, doi:10.1371/journal.pone.0130140.

The equations of the rules stand in `voxplain.score.lrp_linear`, the composites in `voxplain.score.lrp_composites`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.lrp_composites import CompositeName, RuleName, Sizes, composite_rules, single_rules
from voxplain.score.lrp_linear import Handling
from voxplain.score.rules import Rules
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

PRESET_EPSILON, EPSILON = 0.1, 1e-6
"""Stabilisers of the epsilon rule: in the presets A of iNNvestigate, and everywhere else."""


@dataclass(frozen=True, kw_only=True)
class Lrp(Method):
    """How much each voxel contributed to the score, handed down layer by layer and split by contribution.

    Units of the score, signed. Law: the sum over voxels and channels plus what biases, stabilisers and constants kept
    (`absorbed`) is the score; `unaccounted` says by how much the books of all operations miss that. Costs 3 forwards
    with epsilon-plus and 5 with alpha2-beta1 on a ReLU network, 2 and 4 more where all activations are signed. An
    operation without a rule is refused by name.
    """

    name = "lrp"
    title: ClassVar[str] = "Layer-wise relevance propagation"
    citation: ClassVar[str] = "Bach et al., On pixel-wise explanations, doi:10.1371/journal.pone.0130140"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to the score less the absorbed share"
    cost: ClassVar[str] = "3 (epsilon-plus) to 5"

    composite: CompositeName | None = None
    """Which rules go to convolutions, dense layers and the first layer; left out: epsilon_plus_flat."""
    rules: RuleName | None = None
    """One rule for all layers instead ('z_box': in the first layer, z+ in all others)."""
    epsilon: float | None = None
    """Stabiliser of the epsilon rule; left out: 0.000001, in the presets A 0.1."""
    alpha: float = 2.0
    """Weight of positive contributions in the alpha-beta rule; that of negative ones is alpha - 1."""
    gamma: float = 0.25
    """How much the gamma rule favours weights of the unit's own sign."""
    low: float | tuple[float, ...] | None = None
    """Lowest possible voxel for z-box, one or one a channel; left out: each image's own lowest."""
    high: float | tuple[float, ...] | None = None
    """Highest possible voxel for z-box, one or one a channel; left out: each image's own highest."""
    bias: bool | Literal["positive part", "library"] = "positive part"
    """Biases keep a share of their own sign; false: none; 'library': of both signs at once, as iNNvestigate 1.0.8."""
    spread: bool = False
    """Spread relevance evenly over a unit's inputs where no contribution accounts for it, so that none is lost."""

    def _check(self) -> None:
        self._require(self.composite is None or self.rules is None, "rules", "left out where composite is given")
        self._require(self.epsilon is None or self.epsilon >= 0, "epsilon", "at least 0")
        self._require(self.alpha >= 1, "alpha", "at least 1")
        alone = self.alpha == 2.0 or self.rules == "alpha_beta"
        self._require(alone, "alpha", "left out except with rules='alpha_beta'")
        self._require(self.gamma >= 0, "gamma", "at least 0")

    def _map(self, score: Score, x: Tensor) -> Map:
        for option, bound in (("low", self.low), ("high", self.high)):
            fits = not isinstance(bound, tuple) or len(bound) == x.shape[1]
            self._require(fits, option, f"one value or one for each of {x.shape[1]} channels")
        ruled = score.back(x, self._rules())
        total = ruled.gradient.double().flatten(1).sum(1)
        missing = ruled.values - total
        kept = sum(float(met.kept) for met in ruled.met)
        numbers = {"relevance_sum": total, "absorbed": missing, "unaccounted": abs(float(missing.sum()) - kept)}
        found = ruled.gradient
        return Map(found, self.quantity, score.target.unit, score=ruled.values, classes=ruled.classes, numbers=numbers)

    def _rules(self) -> Rules:
        how = Handling(bias=self.bias, spread=self.spread)
        name = self.composite or "epsilon_plus_flat"
        usual = PRESET_EPSILON if name.startswith("preset") else EPSILON
        epsilon = usual if self.epsilon is None else self.epsilon
        sizes = Sizes(epsilon=epsilon, alpha=self.alpha, gamma=self.gamma, low=self.low, high=self.high)
        return composite_rules(name, sizes, how) if self.rules is None else single_rules(self.rules, sizes, how)
