"""The order in which boxes are opened: most change first, ties in the order they came in, whatever the rounding."""

import torch

from voxplain.ops.halving import halves, size, whole
from voxplain.ops.owen import OwenTree
from voxplain.ops.ties import step_of

WHOLE = whole((1, 4, 4))


def opened(rounds: int, noise: float) -> list[tuple]:
    """The coalitions asked for in an additive game, in which every node ties with others, with noise on each score."""
    generator = torch.Generator().manual_seed(7)

    def score(boxes) -> torch.Tensor:
        value = float(sum(size(box) for box in boxes))
        return value + noise * torch.randn(1, generator=generator, dtype=torch.float64)

    step = float(step_of(torch.tensor(16.0), torch.float64))
    tree = OwenTree(WHOLE, score([]), score([WHOLE]), step)
    asked = []
    for _ in range(rounds):
        wanted = tree.ask(4)
        asked += wanted
        tree.tell([score(boxes) for boxes in wanted])
    return asked


def test_rounding_does_not_turn_the_order_of_ties():
    calm = opened(12, 0.0)
    assert len(calm) == 46  # the first round has one node to open
    upper, lower = calm[0][0], calm[1][0]
    assert [coalition[0] for coalition in calm[2:6]] == [*halves(upper), *halves(lower)]
    for _ in range(3):
        assert opened(12, 1e-13) == calm


def test_a_context_holds_the_other_halves_on_the_way_down():
    tree = OwenTree(WHOLE, torch.tensor([0.0]), torch.tensor([1.0]), 1e-9)
    upper, lower = ((0, 1), (0, 2), (0, 4)), ((0, 1), (2, 4), (0, 4))
    assert tree.ask(10) == [(upper,), (lower,)]
    tree.tell([torch.tensor([0.1]), torch.tensor([0.4])])
    left, right = ((0, 1), (0, 2), (0, 2)), ((0, 1), (0, 2), (2, 4))
    below = ((0, 1), (2, 4), (0, 2)), ((0, 1), (2, 4), (2, 4))
    # Each adds: the lower beside the upper 0.9, the upper beside the lower 0.6, the lower alone 0.4, the upper 0.1.
    assert tree.ask(8) == [
        *((upper, part) for part in below),
        *((lower, part) for part in (left, right)),
        *((part,) for part in below),
        *((part,) for part in (left, right)),
    ]
