"""When a training stops: the two rules of the myopathy study, on the validation loss of each epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxplain.errors import InputError, OptionError, unknown

RULES = ("tolerant", "strict")


@dataclass(kw_only=True)
class Stopping:
    """Counts epochs without progress; `update` says whether the training should end now.

    "tolerant" (the study's original): a new minimum resets the counter; it rises only where the loss is above the
    minimum by more than `delta`. "strict": the counter rises unless the loss is below the minimum by more than `delta`.
    """

    patience: int = 5
    """Stop when the counter reaches this many epochs."""
    delta: float = 0.006
    """Differences up to this are no change, in units of the loss."""
    rule: str = "tolerant"
    """"tolerant" or "strict"."""
    epochs: int = field(default=0, init=False)
    """Epochs seen so far: where the training stopped, once it has."""
    minimum: float = field(default=math.inf, init=False)
    """The loss that the next one is compared with."""
    waited: int = field(default=0, init=False)
    """The counter."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("stopping rule", self.rule, RULES)
        if self.patience < 1 or not self.delta >= 0:
            raise OptionError(f"patience must be at least 1 and delta at least 0, got {self.patience}, {self.delta:g}")

    def update(self, loss: float) -> bool:
        """Take in the validation loss of one more epoch; true where the training should stop now."""
        if math.isnan(loss):
            raise InputError(f"validation loss must be a number, got nan in epoch {self.epochs + 1}")
        self.epochs += 1
        slack = self.delta if self.rule == "strict" else 0.0
        if loss < self.minimum - slack:
            self.minimum, self.waited = loss, 0
        elif self.rule == "strict" or loss > self.minimum + self.delta:
            self.waited += 1
        return self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep so that a training goes on as if it had never been interrupted."""
        return {"epochs": self.epochs, "minimum": self.minimum, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.epochs, self.minimum = int(state["epochs"]), float(state["minimum"])
        self.waited = int(state["waited"])
