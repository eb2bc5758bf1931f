"""Owen values over a tree of halved boxes, from as many evaluations as are allowed.

Owen, 1977; the recursion and its order are those of SHAP's partition explainer (Lundberg, shap, explainers/_partition).
A node is a box in a context: the boxes that are present around it. Its two halves are tried, each alone, and four nodes
take its place, each half with the other absent and with the other present, at half the weight. Nodes that change the
score most are opened first; what is credited to a box that was never opened stays with it as a whole.
"""

import heapq
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from torch import Tensor

from voxplain.ops.halving import Box, halves
from voxplain.ops.ties import stepped


class Node(NamedTuple):
    """A box, its halves, the boxes present around it, the scores (class,) without and with it, and its weight."""

    box: Box
    halves: tuple[Box, Box]
    context: tuple[Box, ...]
    without: Tensor
    present: Tensor
    weight: float


class OwenTree:
    """The nodes of one image that wait to be opened, and the credit (class,) of each box so far."""

    def __init__(self, whole: Box, absent: Tensor, present: Tensor, step: float) -> None:
        """Begin with the whole image: scores (class,) of nothing and of all of it; `step` is what counts as a tie."""
        self.credit: dict[Box, Tensor] = {}
        self.evaluations = 0
        self._step = step
        self._numbers = count()
        self._waiting: list[tuple[float, int, Node]] = []
        self._opened: list[Node] = []
        self._add(whole, (), absent, present, 1.0)

    def ask(self, most: int) -> list[tuple[Box, ...]]:
        """Up to `most` coalitions to be scored next, two a node: which boxes are present in each."""
        wanted: list[tuple[Box, ...]] = []
        while self._waiting and len(wanted) + 2 <= most:
            node = heapq.heappop(self._waiting)[2]
            self._opened.append(node)
            wanted += [(*node.context, half) for half in node.halves]
        self.evaluations += len(wanted)
        return wanted

    def tell(self, scores: Sequence[Tensor]) -> None:
        """The scores (class,) of the coalitions just asked for, in their order."""
        for node, first, second in zip(self._opened, scores[::2], scores[1::2], strict=True):
            one, other = node.halves
            weight = node.weight / 2
            self._add(one, node.context, node.without, first, weight)
            self._add(other, node.context, node.without, second, weight)
            self._add(one, (*node.context, other), second, node.present, weight)
            self._add(other, (*node.context, one), first, node.present, weight)
        self._opened.clear()

    def settle(self) -> dict[Box, Tensor]:
        """The credit of every box, with what waits credited to its own; the sum is the score less that of nothing."""
        for _, _, node in self._waiting:
            self._credit(node.box, (node.present - node.without) * node.weight)
        self._waiting.clear()
        return self.credit

    def _add(self, box: Box, context: tuple[Box, ...], without: Tensor, present: Tensor, weight: float) -> None:
        """Let a box in its context wait; what it changes in any class, by its weight, is its turn."""
        parts, change = halves(box), (present - without) * weight
        if parts is None:
            self._credit(box, change)
            return
        turn = -float(stepped(change.abs().max(), self._step))
        heapq.heappush(self._waiting, (turn, next(self._numbers), Node(box, parts, context, without, present, weight)))

    def _credit(self, box: Box, change: Tensor) -> None:
        self.credit[box] = self.credit[box] + change if box in self.credit else change
