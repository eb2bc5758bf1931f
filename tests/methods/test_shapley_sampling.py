"""Shapley sampling: order by order against a plain walk, efficient always, exact in closed forms."""

import pytest
import torch

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.draws import generator
from voxplain.ops.segments import grid
from voxplain.score.score import Score


def score(rank: int = 2, task: str = "classification", **options) -> Score:
    target = "class_score(1)" if task == "classification" else target_for(task)
    return Score(seeded(Awkward, rank, task), target, **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def walked(asked: Score, x, labels, cover, samples: int, seed: int, antithetic: bool) -> torch.Tensor:
    """Gains (draw, segment) when one segment after the other appears, image by image."""
    frozen, players = asked.freeze(x)[1], int(labels.max()) + 1
    gains = torch.zeros(samples, players, dtype=torch.float64)
    for draw in range(samples):
        order = torch.randperm(players, generator=generator(seed, draw)).tolist()
        ways = [order, order[::-1]] if antithetic else [order]
        for way in ways:
            image, before = cover.clone(), frozen(cover)[0]
            for segment in way:
                image[0, :, labels == segment] = x[0, :, labels == segment]
                after = frozen(image)[0]
                gains[draw, segment] += (after - before) / len(ways)
                before = after
    return gains


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("antithetic", [True, False])
def test_equals_a_plain_walk(rank, task, antithetic):
    x = batch(rank, count=1)
    labels = grid(x.shape[2:], 6)
    spec = f"shapley_sampling(segmenter='grid', segments=6, samples=3, absent=0.2, antithetic={antithetic})"
    found = method(spec)(score(rank, task, seed=4), x)
    gains = walked(score(rank, task), x, labels, torch.full_like(x, 0.2), 3, 4, antithetic)
    counts = torch.bincount(labels.flatten())
    close(found.values[0, 0], (gains.mean(dim=0) / counts)[labels])
    close(found.standard_error[0, 0], (gains.std(dim=0) / 3**0.5 / counts)[labels])
    close(found.numbers["segment_values"][0], gains.mean(dim=0))


@pytest.mark.parametrize("absent", [*FILLS, 0.7])
def test_the_map_sums_to_the_difference_whatever_the_samples(absent):
    x = batch(3)
    found = method(f"shapley_sampling(segmenter='grid', segments=9, samples=2, absent={absent!r})")(score(3), x)
    at_absent = score(3)(baseline(x, absent))
    close(found.values.flatten(1).sum(dim=1), found.score - at_absent)
    close(found.numbers["score_at_baseline"], at_absent)


@pytest.mark.parametrize("channels", ["together", "each"])
def test_one_order_is_exact_on_a_linear_score(channels):
    x = batch(2)
    module = seeded(Linear, tuple(x.shape[1:]))
    spec = f"shapley_sampling(segmenter='grid', segments=6, samples=1, antithetic=False, channels={channels!r})"
    found = method(spec)(Score(module, "class_score(0)"), x)
    shares = module.weight[0].detach() * x
    shares = shares if channels == "each" else shares.sum(dim=1, keepdim=True)
    labels = grid(x.shape[2:], 6)
    for segment in labels.unique():
        inside = labels == segment
        close(found.values[..., inside].sum(dim=-1), shares[..., inside].sum(dim=-1))
    assert found.standard_error is None


class Squared(Linear):
    """A score with pairwise interactions only."""

    def forward(self, x):
        return super().forward(x) ** 2


def test_one_order_both_ways_is_exact_with_pairwise_interactions():
    x = batch(2)
    asked = Score(seeded(Squared, tuple(x.shape[1:])), "class_score(0)")
    exact = method("kernel_shap(segmenter='grid', segments=6)")(asked, x).values
    both, one_way = (
        method(f"shapley_sampling(segmenter='grid', segments=6, samples=1, antithetic={way})")(asked, x).values
        for way in (True, False)
    )
    close(both, exact)
    assert not torch.allclose(one_way, exact, rtol=0.01)


def test_many_orders_come_near_the_exact_values():
    x = batch(2)
    exact = method("kernel_shap(segmenter='grid', segments=6)")(score(), x).values
    found = method("shapley_sampling(segmenter='grid', segments=6, samples=150)")(score(), x)
    assert ((found.values - exact).abs() <= 4 * found.standard_error).all()
    assert float(found.standard_error.max()) < 0.05 * float(exact.abs().max())


def test_each_sample_of_a_mixed_batch_has_the_numbers_of_its_own_class():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    spec = "shapley_sampling(segmenter='grid', segments=4, samples=3)"
    together = method(spec)(Score(module, "class_score"), x)
    assert len(together.classes.unique()) > 1
    for n in range(6):
        alone = method(spec)(Score(module, "class_score"), x[n : n + 1])
        close(together.standard_error[n], alone.standard_error[0])
        for number, of_all in zip(alone.numbers.values(), together.numbers.values(), strict=True):
            close(of_all[n], number[0])


def test_all_classes_come_from_the_same_evaluations():
    x, spec = batch(2), "shapley_sampling(segmenter='grid', segments=4, samples=3)"
    found = method(spec)(score(), x)
    for label in range(3):
        alone = method(spec)(Score(seeded(Awkward, 2, "classification"), f"class_score({label})"), x)
        close(found.by_class[:, label], alone.values)


def test_rounds_of_orders_do_not_show(monkeypatch):
    from voxplain.methods import shapley_sampling

    x, spec = batch(2), "shapley_sampling(segmenter='grid', segments=4, samples=7)"
    once = method(spec)(score(), x)
    monkeypatch.setattr(shapley_sampling, "TOGETHER", 3)
    again = method(spec)(score(), x)
    close(once.values, again.values)
    close(once.standard_error, again.standard_error)


def test_looks_on_the_way_change_nothing():
    x, spec = batch(2), "shapley_sampling(samples=17, segmenter='grid', segments=6{})"
    looked, plain = (method(spec.format(option))(score(), x) for option in (", tolerance=1e-12", ""))
    close(looked.values, plain.values)
    close(looked.standard_error, plain.standard_error)


def test_a_tolerance_stops_early_sample_by_sample():
    x = batch(2)
    spec = "shapley_sampling(samples=160, segmenter='grid', segments=6, antithetic=False{})"
    found = method(spec.format(", tolerance=0.03"))(score(), x)
    used = found.numbers["samples"].tolist()
    assert set(used) == {20, 80}, "the samples must differ for this test"
    error = found.standard_error.flatten(1).amax(dim=1) / found.values.abs().flatten(1).amax(dim=1)
    assert (error <= 0.03).all()
    for n, count in enumerate(used):
        alone = method(spec.format("").replace("160", str(count)))(score(), x[n : n + 1])
        close(found.values[n], alone.values[0])


@pytest.mark.parametrize(("antithetic", "walks"), [(True, 2), (False, 1)])
@pytest.mark.parametrize("rank", [2, 3])
def test_costs_the_ends_and_the_steps_between(rank, antithetic, walks):
    asked, x = score(rank), batch(rank)
    spec = f"shapley_sampling(segmenter='grid', segments=8, samples=5, antithetic={antithetic})"
    players = int(method(spec)(asked, x).numbers["segments"][0])
    assert asked.ledger.forwards == (3 + 5 * walks * (players - 1)) * len(x)


def test_no_samples_are_told():
    with pytest.raises(OptionError, match="shapley_sampling: samples must be at least 1, got 0"):
        method("shapley_sampling(samples=0)")


def test_two_segments_are_enough():
    x = batch(2)
    found = method("shapley_sampling(segmenter='grid', window=[8, 5], samples=1)")(score(), x)
    close(found.values, method("kernel_shap(segmenter='grid', window=[8, 5])")(score(), x).values)
