"""Whether a network uses what was planted: the feature is swapped in and out of images, and the score must follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from voxplain.data.image import Image
from voxplain.score.target import Margin
from voxplain.study.benchmark_networks import Trained
from voxplain.study.explain import Explainer
from voxplain.study.statistics import mean

SWAPPED = 40
"""Heads of a swap test, which takes three passes each."""

FOLLOWS = 0.9
"""Share of the heads whose class must follow the feature before methods are ranked on a network."""

BESIDE = 0.5
"""What else an image holds may move the score by this share of what the feature moves it, either way; a suppressor that
shows as much more as the feature adds must lower it by this share."""

TARGET = Margin(1, against=0)
"""What is explained: how far the score of 'with' lies above that of 'without'."""


@dataclass(frozen=True)
class Swap:
    """How the score of a network answers to the feature and to what else the same heads hold."""

    heads: int
    follows: float
    """Share of the heads that are classed 'with' with the feature and 'without' without it."""
    effect: float
    """Mean rise of the score when the feature is put in."""
    low: float | None
    high: float | None
    """95 % interval of the effect, by the bootstrap over heads."""
    other: float | None
    """Mean size of the change that what else there is makes, as a share of the effect; of a suppressor how far the
    score falls when it shows as much more as the feature adds: 1 for a network that subtracts all of it. None where
    there is nothing else."""
    used: bool
    """Whether the network uses the feature, and a suppressor where there is one, and nothing else."""
    reason: str
    """Why methods are not ranked on it, '' where they are."""

    def to_table(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def swapped(network: Trained, numbers: Sequence[int]) -> Swap:
    """The swap test of a network on heads that its training did not see."""
    task, simulation, seed = network.task, network.task.simulation, network.seed
    with_it, without = (
        _scores(network, (simulation.drawn(n, seed, feature=feature, other=True).image for n in numbers))
        for feature in (True, False)
    )
    rise = with_it - without
    follows = float(((with_it > 0) & (without < 0)).mean())
    other = None
    if task.other:
        beside = (simulation.drawn(n, seed, feature=True, other=False).image for n in numbers)
        falls = with_it - _scores(network, beside)
        change = falls.mean() if task.suppressor else np.abs(falls).mean()
        other = float(change / max(abs(float(rise.mean())), 1e-9))
    told = mean({str(n): float(one) for n, one in zip(numbers, rise, strict=True)})
    reason = _reason(follows, other, suppressor=task.suppressor)
    return Swap(len(numbers), follows, told.value, told.low, told.high, other, not reason, reason)


def _reason(follows: float, other: float | None, *, suppressor: bool) -> str:
    if follows < FOLLOWS:
        return f"the network does not use the feature: its class follows it in {follows:.0%} of the heads"
    if other is not None and suppressor and other < BESIDE:
        return f"the network does not use the suppressor: it lowers the score by {other:.0%} of what the feature adds"
    if other is not None and not suppressor and other > BESIDE:
        return f"the network uses something else as well: that moves the score by {other:.0%} of what the feature does"
    return ""


def _scores(network: Trained, images: Iterable[Image]) -> np.ndarray[Any, np.dtype[np.float64]]:
    explainer = Explainer(network.model, network.prepare)
    found = []
    for image in images:
        ready = explainer.ready(image)
        found.append(float(explainer.score(ready, TARGET)(ready.x)))
    return np.array(found)
