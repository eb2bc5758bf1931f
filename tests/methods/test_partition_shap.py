"""Owen values by brute force over all orderings of the tree, what absence shows, budgets, and the law."""

from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.ops.baselines import baseline
from voxplain.ops.halving import halves, place, size, spread, whole
from voxplain.score.model import Model
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])
EVERYTHING = 10**6


def score(rank: int = 2, target: str = "class_score(1)", **options) -> Score:
    return Score(seeded(Awkward, rank, "classification"), target, **options)


def orderings(box):
    """Every order of the numbers of a box in which each half comes as a block before or after its other half."""
    parts = halves(box)
    if parts is None:
        yield [box]
        return
    for one in orderings(parts[0]):
        for other in orderings(parts[1]):
            yield one + other
            yield other + one


def owen_by_orderings(module: torch.nn.Module, x: torch.Tensor, absent: torch.Tensor) -> torch.Tensor:
    """The mean over all orderings of what each number adds to class 1 when it comes in (Owen 1977), for one image."""
    orders = list(orderings(whole(tuple(x.shape[1:]))))
    images = []
    for order in orders:
        images.append(absent[0].clone())
        for box in order:
            images.append(images[-1].clone())
            images[-1][place(box)] = x[0][place(box)]
    scores = module(torch.stack(images))[:, 1].reshape(len(orders), -1).tolist()
    total = torch.zeros_like(x[0])
    for order, row in zip(orders, scores, strict=True):
        for box, (before, after) in zip(order, pairwise(row), strict=True):
            total[place(box)] += (after - before) / len(orders)
    return total


@pytest.mark.parametrize(("shape", "count"), [((2, 2, 2), 128), ((1, 2, 3), 32), ((2, 1, 2, 2), 128), ((3, 3, 1), 256)])
def test_exhausted_it_is_the_mean_over_all_orderings_of_the_tree(shape, count):
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert sum(1 for _ in orderings(whole(shape))) == count
    module = seeded(Awkward, len(shape) - 1, "classification", shape[0])
    found = method(f"partition_shap(max_evals={EVERYTHING}, absent=0.2)")(Score(module, "class_score(1)"), x).values
    expected = owen_by_orderings(module, x, torch.full_like(x, 0.2))
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-12)


# --- the law -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("budget", [2, 3, 9, 40])
def test_base_and_map_sum_to_the_score_whatever_the_budget(rank, task, budget):
    x = batch(rank)
    asked = Score(seeded(Awkward, rank, task), target_for(task))
    found = method(f"partition_shap(max_evals={budget})")(asked, x)
    total = found.values.flatten(1).sum(1) + found.numbers["score_at_baseline"]
    torch.testing.assert_close(total, found.score, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.numbers["completeness_gap"], torch.zeros_like(total), rtol=0, atol=1e-12)


def test_every_class_sums_to_its_own_score_and_the_map_is_the_explained_ones():
    x = batch(2, count=6, seed=5) * 3
    module = seeded(Awkward, 2, "classification", seed=3)
    found = method("partition_shap(max_evals=30, absent='mean')")(Score(module, "class_score"), x)
    ends = (module(x) - module(baseline(x, "mean"))).detach()
    torch.testing.assert_close(found.by_class.flatten(2).sum(2), ends, rtol=1e-9, atol=1e-12)
    assert len(found.classes.unique()) > 1
    for n, index in enumerate(found.classes.tolist()):
        assert torch.equal(found.values[n], found.by_class[n, index])
        alone = method("partition_shap(max_evals=30, absent='mean')")(Score(module, f"class_score({1 - index % 2})"), x)
        torch.testing.assert_close(alone.values[n], found.by_class[n, 1 - index % 2], rtol=1e-12, atol=1e-14)


@ranks
@pytest.mark.parametrize("budget", [2, 4, EVERYTHING])
def test_on_a_linear_score_each_box_gets_its_share(rank, budget):
    x = batch(rank, count=1, side=3)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method(f"partition_shap(max_evals={budget}, absent=0.5)")(Score(module, "class_score(0)"), x).values[0]
    share = (module.weight[0] * (x[0] - 0.5)).detach()
    if budget == EVERYTHING:
        torch.testing.assert_close(found, share, rtol=1e-9, atol=1e-12)
        return
    for value in found.unique():  # boxes not opened hold one value each: the mean of their shares
        torch.testing.assert_close(share[found == value].mean(), value, rtol=1e-9, atol=1e-12)


# --- the tree and the budget ---------------------------------------------------------------------------------------


def test_boxes_are_halved_across_the_longest_side_the_first_of_equals_and_channels_last():
    assert halves(((0, 3), (0, 4), (2, 6))) == (((0, 3), (0, 2), (2, 6)), ((0, 3), (2, 4), (2, 6)))
    assert halves(((0, 3), (0, 4), (2, 7))) == (((0, 3), (0, 4), (2, 5)), ((0, 3), (0, 4), (5, 7)))
    assert halves(((0, 9), (1, 2), (3, 5), (0, 1))) == (
        ((0, 9), (1, 2), (3, 4), (0, 1)),
        ((0, 9), (1, 2), (4, 5), (0, 1)),
    )
    assert halves(((0, 3), (1, 2), (3, 4))) == (((0, 2), (1, 2), (3, 4)), ((2, 3), (1, 2), (3, 4)))
    assert halves(((1, 2), (1, 2), (3, 4))) is None


def test_credit_is_spread_evenly_over_a_box_and_adds_up_where_boxes_nest():
    outer, inner = ((0, 1), (0, 2), (0, 3)), ((0, 1), (0, 1), (0, 2))
    total = spread({outer: torch.tensor([6.0]).double(), inner: torch.tensor([1.0]).double()}, (1, 2, 3))
    assert total.tolist() == [[[[1.5, 1.5, 1.0], [1.0, 1.0, 1.0]]]]
    assert size(outer) == 6


@pytest.mark.parametrize(("budget", "spent"), [(2, 2), (3, 2), (4, 4), (11, 10), (50, 50)])
def test_never_scores_more_images_than_allowed(budget, spent):
    x = batch(2, count=1)
    asked = score()
    found = method(f"partition_shap(max_evals={budget}, classes='explained')")(asked, x)
    assert found.numbers["evaluations"].tolist() == [spent]
    assert asked.ledger.forwards == spent


@ranks
def test_costs_the_budget_and_one_more_for_all_classes(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    for classes, cost in (("all", 13), ("explained", 12)):
        with FlopCounterMode(display=False) as all_of_it:
            method(f"partition_shap(max_evals=12, classes={classes!r})")(Score(model, "class_score"), x)
        assert all_of_it.get_total_flops() / one.get_total_flops() / 3 == pytest.approx(cost, abs=0.02)


def test_the_box_that_changes_the_score_most_is_opened_first():
    """All of the weight in one corner: the boxes left around it are large, those at it small."""
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    module = seeded(Linear, (1, 8, 8))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[:, 0, 6, 1] = 1.0
    found = method("partition_shap(max_evals=200, absent=0, together=2)")(Score(module, "class_score(0)"), x).values
    assert found[0, 0, 6, 1] == pytest.approx(1.0)
    assert found.abs().sum() == pytest.approx(1.0)


def test_on_ties_a_sample_of_a_batch_opens_the_same_boxes_as_alone():
    x = batch(2, count=3, side=9)
    for spec in ("partition_shap(max_evals=30)", "partition_shap(max_evals=20, together=2, absent='zero')"):
        together = method(spec)(score(chunk=4), x).values
        alone = torch.cat([method(spec)(score(chunk=3), x[n : n + 1]).values for n in range(3)])
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-13)


# --- absence -------------------------------------------------------------------------------------------------------


def by_hand(x: torch.Tensor, sides: tuple[int, ...]) -> torch.Tensor:
    """Box means voxel by voxel: the box begins side // 2 before the voxel; beyond the border the image is mirrored."""

    def mirrored(index: int, length: int) -> int:
        while not 0 <= index < length:
            index = -index if index < 0 else 2 * (length - 1) - index
            if length == 1:
                return 0
        return index

    out = torch.zeros_like(x)
    for voxel in torch.cartesian_prod(*[torch.arange(n) for n in x.shape[2:]]).tolist():
        offsets = torch.cartesian_prod(*[torch.arange(side) for side in sides]).tolist()
        for offset in offsets:
            at = [mirrored(i + o - s // 2, n) for i, o, s, n in zip(voxel, offset, sides, x.shape[2:], strict=True)]
            out[(slice(None), slice(None), *voxel)] += x[(slice(None), slice(None), *at)] / len(offsets)
    return out


@pytest.mark.parametrize(
    ("shape", "sides"), [((4, 5), (3, 3)), ((4, 5), (2, 13)), ((3, 4, 2), (4, 3, 9)), ((1, 6), (5, 4))]
)
def test_the_blur_is_a_box_mean_with_mirrored_borders(shape, sides):
    x = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    asked = score(len(shape))
    found = method(f"partition_shap(max_evals=2, size={sides})")(asked, x)
    torch.testing.assert_close(found.numbers["score_at_baseline"], asked(by_hand(x, sides)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("absent", ["zero", "mean", "minimum", 0.4])
def test_absence_may_be_a_constant_of_the_image(absent):
    x = batch(2, count=3)
    found = method(f"partition_shap(max_evals=2, absent={absent!r})")(score(), x)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score()(baseline(x, absent)))


def test_absence_may_be_the_first_reference_image():
    x, others = batch(2), batch(2, seed=9)
    found = method("partition_shap(max_evals=6, absent='reference')")(score(reference=others), x)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score()(others[:1]).expand(2))
    with pytest.raises(InputError, match=r"^partition_shap: reference images must be given, got none"):
        method("partition_shap(absent='reference')")(score(), x)
    with pytest.raises(
        InputError, match=r"^partition_shap: reference images must have the input's shape \(2, 8, 10\), got"
    ):
        method("partition_shap(absent='reference')")(score(reference=others[..., :9]), x)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("max_evals=1", r"max_evals must be at least 2, got 1"),
        ("together=1", r"together must be at least 2, got 1"),
        ("size=0", r"size must be at least 1, got 0"),
        ("size=()", r"size must be at least 1, got \(\)"),
        ("size=(3, 3, 3)", r"size must have 1 or 2 numbers for this image, got 3"),
        ("absent='noise'", r"absent must be .*, got 'noise'"),
    ],
)
def test_what_cannot_be_done_is_refused(options, told):
    with pytest.raises(OptionError, match=f"^partition_shap: {told}$"):
        method(f"partition_shap({options})")(score(), batch(2))
