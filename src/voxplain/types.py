"""The vocabulary every floor shares: access levels, quantities, heads."""

from enum import IntEnum, StrEnum
from typing import Literal


class Access(IntEnum):
    """What a method must be able to do with a model; each level includes the ones below."""

    CALLS = 0
    """Outputs only: an ONNX file or a remote model will do."""
    GRADIENT = 1
    """Gradients of the output with respect to the input."""
    LAYERS = 2
    """Activations of inner layers and their gradients."""
    RULES = 3
    """Backward passes with other rules than the derivative."""

    @property
    def words(self) -> str:
        """The level as it is spoken of in messages and listings."""
        return {0: "calls only", 1: "input gradient", 2: "layers", 3: "backward rules"}[int(self)]


class Quantity(StrEnum):
    """What the numbers of a map mean; colours and resampling follow from it."""

    SCORE_UNITS = "score units that add up"
    RELEVANCE = "signed relevance"
    SALIENCY = "non-negative saliency"
    MASK = "mask probability"

    @property
    def adds_up(self) -> bool:
        """True where sums over voxels mean something and must survive resampling."""
        return self is Quantity.SCORE_UNITS

    @property
    def signed(self) -> bool:
        """True where negative values mean evidence against."""
        return self in (Quantity.SCORE_UNITS, Quantity.RELEVANCE)


Head = Literal["auto", "softmax", "one_logit", "multi_label", "regression"]
"""How a model's numbers become probabilities; 'auto' takes one channel as one logit, several as softmax."""

HEADS: tuple[str, ...] = ("auto", "softmax", "one_logit", "multi_label", "regression")
