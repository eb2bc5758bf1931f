"""Targets: which number of the model's output is meant; the table of all of them, and one by its spec."""

from voxplain.score.choice import Choice as Choice
from voxplain.score.target_base import Target as Target
from voxplain.score.target_base import class_words as class_words
from voxplain.score.target_classes import ClassScore as ClassScore
from voxplain.score.target_classes import Margin as Margin
from voxplain.score.target_classes import Probability as Probability
from voxplain.score.target_classes import Regression as Regression
from voxplain.score.target_region import Region as Region
from voxplain.score.target_volume import SoftDice as SoftDice
from voxplain.score.target_volume import Volume as Volume
from voxplain.spec import build

TARGETS: dict[str, type[Target]] = {
    cls.name: cls for cls in (ClassScore, Probability, Margin, Region, Volume, SoftDice, Regression)
}
"""Every target by name."""


def target(source: str | Target) -> Target:
    """The target a spec such as 'region(1, over="mask")' stands for."""
    built: Target = build(source, TARGETS, "target")
    return built
