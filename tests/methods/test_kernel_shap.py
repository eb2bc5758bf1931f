"""Kernel SHAP: exact where all coalitions fit, efficient always, in closed form on a linear score."""

import math
from itertools import permutations

import pytest
import torch

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.segments import grid
from voxplain.score.score import Score


def score(rank: int = 2, task: str = "classification", **options) -> Score:
    target = "class_score(1)" if task == "classification" else target_for(task)
    return Score(seeded(Awkward, rank, task), target, **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def by_orders(asked: Score, x, labels, cover) -> torch.Tensor:
    """Shapley value of each segment: its mean gain over every order in which the segments appear."""
    frozen, players, known = asked.freeze(x)[1], int(labels.max()) + 1, {}

    def worth(inside: frozenset[int]) -> float:
        if inside not in known:
            image = cover.clone()
            for segment in inside:
                image[0, :, labels == segment] = x[0, :, labels == segment]
            known[inside] = float(frozen(image)[0])
        return known[inside]

    total = torch.zeros(players, dtype=torch.float64)
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            total[player] += worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place]))
    return total / math.factorial(players)


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_few_segments_get_their_exact_shapley_values(rank, task):
    x = batch(rank, count=1)
    labels = grid(x.shape[2:], 4 if rank == 2 else 6)
    found = method(f"kernel_shap(segmenter='grid', segments={4 if rank == 2 else 6}, samples=300)")(
        score(rank, task), x
    )
    values = by_orders(score(rank, task), x, labels, torch.zeros_like(x)) if len(labels.unique()) < 7 else None
    if values is not None:
        close(found.numbers["segment_values"][0], values)
        close(found.values[0, 0], (values / torch.bincount(labels.flatten()))[labels])
    assert found.standard_error.abs().max() == 0
    assert found.parts["segments"].shape == (1, 1, *x.shape[2:])


@pytest.mark.parametrize("absent", [*FILLS, 0.7])
@pytest.mark.parametrize("samples", [18, 40, 101])
def test_the_map_sums_to_the_difference_whatever_the_samples(absent, samples):
    x = batch(2)
    found = method(f"kernel_shap(segmenter='grid', segments=9, absent={absent!r}, samples={samples})")(score(), x)
    at_absent = score()(baseline(x, absent))
    close(found.values.flatten(1).sum(dim=1), found.score - at_absent)
    close(found.numbers["score_at_baseline"], at_absent)
    close(found.by_class[:, 1], found.values)
    assert int(found.numbers["samples"].max()) <= samples
    assert float(found.standard_error.max()) > 0


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("channels", ["together", "each"])
@pytest.mark.parametrize("samples", [60, 1000])
def test_on_a_linear_score_a_value_is_the_share_of_its_segment(rank, channels, samples):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    spec = f"kernel_shap(segmenter='grid', segments=8, absent=0.5, samples={samples}, channels={channels!r})"
    found = method(spec)(Score(module, "class_score(1)"), x)
    shares = module.weight[1].detach() * (x - 0.5)
    shares = shares if channels == "each" else shares.sum(dim=1, keepdim=True)
    labels = grid(x.shape[2:], 8)
    for segment in labels.unique():
        inside = labels == segment
        close(found.values[..., inside].sum(dim=-1), shares[..., inside].sum(dim=-1))
        assert float(found.values[..., inside].std(dim=-1).max()) < 1e-12, "the value is spread evenly"


def test_segments_without_effect_get_nothing_and_twins_the_same():
    class Twins(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            left, right = x[..., :4].mean(dim=(1, 2, 3)), x[..., 4:8].mean(dim=(1, 2, 3))
            return torch.stack([self.scale * left * right + torch.tanh(left + right), left], dim=1)

    x = torch.ones(1, 2, 4, 12, dtype=torch.float64)
    found = method("kernel_shap(segmenter='grid', window=[4, 4])")(Score(seeded(Twins), "class_score(0)"), x)
    left, right, idle = found.numbers["segment_values"][0].tolist()
    assert left == pytest.approx(right)
    assert idle == pytest.approx(0, abs=1e-12)
    assert left + right == pytest.approx(1 + math.tanh(2))


def test_each_sample_of_a_mixed_batch_has_the_numbers_of_its_own_class():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    spec = "kernel_shap(segmenter='grid', segments=9, samples=60)"
    together = method(spec)(Score(module, "class_score"), x)
    assert len(together.classes.unique()) > 1
    for n in range(6):
        alone = method(spec)(Score(module, "class_score"), x[n : n + 1])
        close(together.standard_error[n], alone.standard_error[0])
        for number, of_all in zip(alone.numbers.values(), together.numbers.values(), strict=True):
            close(of_all[n], number[0])


def test_all_classes_come_from_the_same_evaluations():
    x, spec = batch(2), "kernel_shap(segmenter='grid', segments=9, samples=40)"
    found = method(spec)(score(), x)
    for label in range(3):
        alone = method(spec)(Score(seeded(Awkward, 2, "classification"), f"class_score({label})"), x)
        close(found.by_class[:, label], alone.values)


@pytest.mark.parametrize(("segments", "samples", "least"), [(4, 7, 8), (9, 17, 18), (2, 1, 2)])
def test_too_few_samples_for_the_segments_are_told(segments, samples, least):
    with pytest.raises(OptionError) as caught:
        method(f"kernel_shap(segmenter='grid', segments={segments}, samples={samples})")(score(), batch(2))
    assert str(caught.value) == (
        f"kernel_shap: samples must be at least {least} for {segments} segments, got {samples}; "
        "take more samples or fewer segments"
    )


def test_no_samples_are_told():
    with pytest.raises(OptionError, match="kernel_shap: samples must be at least 1, got 0"):
        method("kernel_shap(samples=0)")


def test_errors_are_the_spread_over_seeds():
    x = batch(2, count=1)
    runs = [method(f"kernel_shap(samples=60, segmenter='grid', segments=12, seed={n})")(score(), x) for n in range(40)]
    spread = torch.stack([run.values for run in runs]).std(dim=0)
    error = torch.stack([run.standard_error for run in runs]).mean(dim=0)
    assert 0.75 < float((error / spread).mean()) < 1.3


def test_looks_on_the_way_change_nothing():
    x, spec = batch(2), "kernel_shap(samples=300, segmenter='grid', segments=12{})"
    looked, plain = (method(spec.format(option))(score(), x) for option in (", tolerance=1e-12", ""))
    close(looked.values, plain.values)
    close(looked.standard_error, plain.standard_error)


def test_a_tolerance_stops_early_sample_by_sample():
    x = batch(2)
    spec = "kernel_shap(samples=800, segmenter='grid', segments=12{})"
    found, whole = (method(spec.format(option))(score(), x) for option in (", tolerance=0.3", ""))
    used = found.numbers["samples"].tolist()
    assert all(count in (200, 400) for count in used)
    close(found.values.flatten(1).sum(dim=1), whole.values.flatten(1).sum(dim=1))
    error = found.standard_error.flatten(1).amax(dim=1) / found.values.abs().flatten(1).amax(dim=1)
    assert (error <= 0.3).all()
    assert not torch.equal(found.values, whole.values)


@pytest.mark.parametrize(("rank", "segments", "samples", "used"), [(2, 4, 1000, 14), (2, 9, 40, 40), (3, 8, 21, 20)])
def test_costs_the_ends_and_the_samples(rank, segments, samples, used):
    asked, x = score(rank), batch(rank)
    method(f"kernel_shap(segmenter='grid', segments={segments}, samples={samples})")(asked, x)
    assert asked.ledger.forwards == (3 + used) * len(x)
