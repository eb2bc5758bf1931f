"""Methods as metrics take them, and a count of how often they were asked."""

from copy import copy

from torch import Tensor

from tests.nets import Awkward, batch, seeded, target_for
from voxplain.methods import method
from voxplain.ops.enlarge import enlarged
from voxplain.score.passes import answered
from voxplain.score.score import Score


def explain(spec):
    """A method that gives maps at the resolution of its input."""
    made = method(spec)

    def ask(score: Score, x: Tensor) -> Tensor:
        found = made(score, x)
        cells = found.cells
        return found.values if cells is None else enlarged(found.values, cells.start, cells.step, x.shape[2:])

    return ask


class Counting:
    """A method that notes what it was asked."""

    def __init__(self, spec="gradient"):
        self.explain = explain(spec)
        self.asked = []

    def __call__(self, score, x):
        alone = copy(score)
        alone.ask = answered  # its own way of asking ends with the metric, which shares passes
        self.asked.append((alone, x))
        return self.explain(score, x)


def case(rank=2, task="classification", seed=1, **options):
    """A score of an awkward network, and an image."""
    module = seeded(Awkward, rank, task)
    return Score(module, target_for(task), **options), batch(rank, count=1, seed=seed)
