"""Named composites of relevance rules: which rule goes to convolutions, to dense layers and to the first layer.

Epsilon-plus and alpha2-beta1 with and without flat: Kohlbrenner et al., IJCNN 2020, arXiv:1910.09840; gamma and box:
Montavon et al., 2019, chapter 10; presets A: iNNvestigate (Alber et al., JMLR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from voxplain.score import lrp_linear
from voxplain.score.lrp_linear import Bound, Handling
from voxplain.score.lrp_rules import Composite, LinearRule, lrp
from voxplain.score.rules import Rules

CompositeName = Literal[
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_gamma_box",
    "alpha2_beta1",
    "alpha2_beta1_flat",
    "preset_a",
    "preset_a_flat",
]

RuleName = Literal["epsilon", "z_plus", "alpha_beta", "gamma", "w2", "flat", "z_box"]

COMPOSITES: dict[CompositeName, tuple[RuleName, RuleName, RuleName | None]] = {
    "epsilon_plus": ("z_plus", "epsilon", None),
    "epsilon_plus_flat": ("z_plus", "epsilon", "flat"),
    "epsilon_gamma_box": ("gamma", "epsilon", "z_box"),
    "alpha2_beta1": ("alpha_beta", "epsilon", None),
    "alpha2_beta1_flat": ("alpha_beta", "epsilon", "flat"),
    "preset_a": ("z_plus", "epsilon", None),
    "preset_a_flat": ("z_plus", "epsilon", "flat"),
}
"""The rule of convolutions, of dense layers, and of the first layer with weights where it has its own."""

BOUNDED = ("z_plus", "w2", "flat", "z_box")
"""Single rules that never give an input a share outside 0 to 1: sums are then split in the same way."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The numbers in the rules."""

    epsilon: float = 1e-6
    alpha: float = 2.0
    """Weight of positive contributions; that of negative ones is one less."""
    gamma: float = 0.25
    low: Bound = None
    high: Bound = None

    def rule(self, name: RuleName) -> LinearRule:
        """A rule with its numbers filled in."""
        rules: dict[RuleName, LinearRule] = {
            "epsilon": partial(lrp_linear.epsilon, size=self.epsilon),
            "z_plus": lrp_linear.alpha_beta,
            "alpha_beta": partial(lrp_linear.alpha_beta, alpha=self.alpha, beta=self.alpha - 1),
            "gamma": partial(lrp_linear.gamma, size=self.gamma),
            "w2": partial(lrp_linear.same_for_all_inputs, square=True),
            "flat": lrp_linear.same_for_all_inputs,
            "z_box": partial(lrp_linear.z_box, low=self.low, high=self.high),
        }
        return rules[name]


def composite_rules(name: CompositeName, sizes: Sizes, how: Handling) -> Rules:
    """The rule set of a named composite."""
    convolution, dense, first = COMPOSITES[name]
    own = None if first is None else sizes.rule(first)
    return lrp("lrp", Composite(convolution=sizes.rule(convolution), dense=sizes.rule(dense), first=own), how)


def single_rules(name: RuleName, sizes: Sizes, how: Handling) -> Rules:
    """One rule for all layers; z-box, which needs bounds, for the first layer and z+ for the others."""
    inner = sizes.rule("z_plus" if name == "z_box" else name)
    parts = Composite(convolution=inner, dense=inner, first=sizes.rule(name), bounded=name in BOUNDED)
    return lrp("lrp", parts, how)
