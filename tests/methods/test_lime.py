"""LIME against a plain second implementation, in closed form on a linear score, with every segmenter and surrogate."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import InputError, OptionError
from voxplain.methods import method, segmented
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.draws import uniform
from voxplain.ops.segments import grid
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Quantity


def score(rank: int = 2, task: str = "classification", **options) -> Score:
    target = "class_score(1)" if task == "classification" else target_for(task)
    return Score(seeded(Awkward, rank, task), target, **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def by_hand(asked: Score, x, labels, cover, samples: int, seed: int, alpha: float = 1.0):
    """Weights of the segments, intercept, R2 and local prediction of one image, from the paper, row by row."""
    frozen = asked.freeze(x)[1]
    players = int(labels.max()) + 1
    rows, values, weights = [], [], []
    for number in range(samples):
        present = uniform(seed, [number], (players,))[0] < 0.5
        if number == 0:
            present = torch.ones_like(present)
        image = cover.clone()
        for segment in range(players):
            if present[segment]:
                image[0, :, labels == segment] = x[0, :, labels == segment]
        row = present.double()
        cosine = (row.sum() / (row.norm() * players**0.5)) if row.any() else torch.tensor(0.0)
        rows.append(row)
        values.append(frozen(image)[0])
        weights.append(torch.exp(-((1 - cosine) ** 2) / 0.25**2).sqrt())
    z, y, w = torch.stack(rows), torch.stack(values), torch.stack(weights).double()
    # The penalty as further rows, the intercept as a further column: plain least squares.
    left = torch.cat(
        [w.sqrt()[:, None] * torch.cat([z, torch.ones(samples, 1).double()], 1), alpha**0.5 * punished(players)]
    )
    right = torch.cat([w.sqrt() * y, torch.zeros(players, dtype=torch.float64)])
    found = torch.linalg.lstsq(left, right[:, None]).solution[:, 0]
    predicted = z @ found[:-1] + found[-1]
    spread = (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
    return found[:-1], found[-1], 1 - (w * (y - predicted) ** 2).sum() / spread, predicted[0]


def punished(players: int) -> torch.Tensor:
    return torch.cat([torch.eye(players), torch.zeros(players, 1)], dim=1).double()


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_equals_a_plain_implementation(rank, task):
    x = batch(rank, count=1)
    labels = grid(x.shape[2:], 6)
    found = method("lime(samples=40, segmenter='grid', segments=6, fill=0.3)")(score(rank, task, seed=5), x)
    weights, intercept, r2, local = by_hand(score(rank, task), x, labels, torch.full_like(x, 0.3), 40, seed=5)
    close(found.values[0, 0], weights[labels])
    close(found.parts["segments"][0, 0], labels)
    close(found.numbers["segment_values"][0], weights)
    for name, number in (("intercept", intercept), ("local_r2", r2), ("local_prediction", local)):
        close(found.numbers[name][0], number)


@pytest.mark.parametrize("fill", [*FILLS, -0.7])
def test_the_fill_of_each_sample_covers_its_segments(fill):
    x = batch(2)
    labels = grid(x.shape[2:], 4)
    found = method(f"lime(samples=20, segmenter='grid', segments=4, fill={fill!r})")(score(), x)
    for n in range(2):
        one = x[n : n + 1]
        close(found.values[n, 0], by_hand(score(), one, labels, baseline(one, fill), 20, seed=0)[0][labels])


def test_a_segment_can_be_covered_by_its_own_mean():
    x = batch(2, count=1)
    labels, cover = grid(x.shape[2:], 4), x.clone()
    for segment in range(4):
        inside = labels == segment
        cover[0, :, inside] = x[0, :, inside].mean(dim=1, keepdim=True)
    found = method("lime(samples=20, segmenter='grid', segments=4)")(score(), x)
    close(found.values[0, 0], by_hand(score(), x, labels, cover, 20, seed=0)[0][labels])


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("channels", ["together", "each"])
def test_on_a_linear_score_a_weight_is_the_share_of_its_segment(rank, channels):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    spec = f"lime(samples=60, segmenter='grid', segments=4, fill=0.5, alpha=1e-9, channels={channels!r})"
    found = method(spec)(Score(module, "class_score(1)"), x)
    labels = grid(x.shape[2:], 4)
    shares = module.weight[1].detach() * (x - 0.5)
    shares = shares if channels == "each" else shares.sum(dim=1, keepdim=True)
    for segment in labels.unique():
        inside = labels == segment
        expected = shares[..., inside].sum(dim=-1, keepdim=True).expand(-1, -1, int(inside.sum()))
        torch.testing.assert_close(found.values[..., inside], expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(
        found.numbers["intercept"], Score(module, "class_score(1)")(0 * x + 0.5), rtol=0, atol=1e-7
    )
    torch.testing.assert_close(found.numbers["local_prediction"], found.score, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.numbers["local_r2"], torch.ones(2).double())
    torch.testing.assert_close(found.numbers["stability"], torch.ones(2).double())
    assert found.standard_error.abs().max() < 1e-6


def test_all_classes_come_from_the_same_evaluations():
    x = batch(2)
    spec = "lime(samples=20, segmenter='grid', segments=6)"
    found = method(spec)(score(), x)
    assert found.by_class.shape == (2, 3, 1, 8, 10)
    for label in range(3):
        alone = method(spec)(Score(seeded(Awkward, 2, "classification"), f"class_score({label})"), x)
        close(found.by_class[:, label], alone.values)
        close(alone.by_class, found.by_class)


def test_too_many_classes_to_hold_are_left_out_and_it_is_said(monkeypatch):
    monkeypatch.setattr(segmented, "MOST_VALUES", 100)
    found = method("lime(samples=20, segmenter='grid', segments=6)")(score(), batch(2))
    assert found.by_class is None
    assert found.notes[-1] == "maps of all 3 classes are too large to keep; only the explained one is here"


def test_each_sample_of_a_mixed_batch_has_the_numbers_of_its_own_class():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    spec = "lime(samples=80, segmenter='grid', segments=4, tolerance=0.04)"
    together = method(spec)(Score(module, "class_score"), x)
    assert len(together.classes.unique()) > 1
    for n in range(6):
        alone = method(spec)(Score(module, "class_score"), x[n : n + 1])
        close(together.standard_error[n], alone.standard_error[0])
        for name, number in alone.numbers.items():
            close(together.numbers[name][n], number[0])


def test_the_seed_of_the_run_serves_unless_the_method_has_its_own():
    x, spec = batch(2), "lime(samples=20, segmenter='grid', segments=6{})"
    one, other = (method(spec.format(""))(score(seed=seed), x).values for seed in (1, 2))
    assert not torch.equal(one, other)
    assert torch.equal(method(spec.format(", seed=2"))(score(seed=1), x).values, other)


def test_every_sample_sees_the_same_draws():
    x = batch(2, count=1).expand(3, -1, -1, -1)
    found = method("lime(samples=20, segmenter='grid', segments=6)")(score(), x).values
    close(found[0], found[2])


# --- segments --------------------------------------------------------------------------------------------------------


def test_without_a_choice_the_given_segments_serve():
    x = batch(2)
    labels = torch.where(grid(x.shape[2:], 4) % 2 == 1, 9, -4)
    found = method("lime(samples=20)")(score(segments=labels[None]), x)
    close(found.parts["segments"], (labels == 9).long()[None, None].expand(2, 1, -1, -1))
    assert found.notes == ("segments by given: 2",)
    assert found.numbers["segments"].tolist() == [2, 2]


def test_each_sample_may_have_segments_of_its_own():
    x = batch(2)
    labels = torch.stack([grid(x.shape[2:], 4), grid(x.shape[2:], 9)])
    together = method("lime(samples=30)")(score(segments=labels), x)
    assert together.numbers["segments"].tolist() == [4, 9]
    assert together.notes == ("segments by given: 4 to 9",)
    assert together.numbers["segment_values"].isnan().sum(dim=1).tolist() == [5, 0]
    for n in range(2):
        close(together.values[n], method("lime(samples=30)")(score(segments=labels[n : n + 1]), x[n : n + 1]).values[0])


@pytest.mark.parametrize(("rank", "who"), [(2, "quickshift"), (3, "slic")])
def test_without_labels_there_are_superpixels_or_supervoxels(rank, who):
    x = torch.nn.functional.interpolate(batch(rank, count=1, side=4), scale_factor=8 if rank == 2 else 3)
    found = method("lime(samples=8, kernel=1.5)")(score(rank), x)
    assert found.notes[0].startswith(f"segments by {who}: ")
    assert int(found.numbers["segments"]) == int(found.parts["segments"].max()) + 1 >= 2


def test_slic_makes_supervoxels_that_know_the_voxel_size():
    x = batch(3, count=1, side=12)
    spec = "lime(samples=8, segmenter='slic', segments=8, compactness=100)"
    plain, thick = (method(spec)(score(3, spacing_mm=sides), x).parts["segments"] for sides in (None, (1.0, 1.0, 5.0)))
    assert not torch.equal(plain, thick)


def test_a_grid_can_be_given_by_its_window():
    x = batch(2, count=1)
    found = method("lime(samples=8, segmenter='grid', window=[4, 5])")(score(), x).parts["segments"]
    assert torch.equal(found[0, 0], torch.arange(8)[:, None] // 4 * 2 + torch.arange(10) // 5)


def test_the_background_is_one_segment():
    x = batch(2, count=1)
    x[..., :3], x[:, 0, :, 5:] = -5.0, -5.0
    found = method("lime(samples=20, segmenter='grid', segments=6, background=-4)")(score(), x)
    labels = found.parts["segments"][0, 0]
    assert len(labels[:, :3].unique()) == 1
    assert not torch.isin(labels[:, 3:], labels[0, 0]).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("segmenter='quickshift'", "segmenter must be 'slic', 'grid' or 'given' for a volume (quickshift is 2D only)"),
        ("segmenter='given'", "segments must be given, got none; pass segments=... or choose another segmenter"),
        ("segmenter='grid', window=[2, 2]", "window must have 1 or 3 numbers for this image, got 2"),
        ("segmenter='grid', window=99", "the image must have at least 2 segments, got 1 from grid"),
        ("samples=1", "samples must be at least 2, got 1"),
        ("segments=1", "segments must be at least 2, got 1"),
        ("window=3", "window must be left out unless segmenter='grid', got 3"),
        ("segmenter='grid', window=0", "window must be at least 1, got 0"),
        ("kernel=0.5", "kernel must be at least 1, got 0.5"),
        ("compactness=0", "compactness must be more than 0, got 0"),
        ("black_white=[1, 1]", "black_white must be two numbers, the smaller one first, got (1, 1)"),
        ("alpha=0", "alpha must be more than 0, got 0"),
        ("alpha=1, surrogate='tree'", "alpha must be left out with surrogate='tree', got 1"),
        ("kernel_width=0", "kernel_width must be more than 0, got 0"),
        ("tolerance=0.1, surrogate='tree'", "tolerance must be left out unless surrogate='ridge'"),
    ],
)
def test_what_cannot_be_done_is_told(options, said):
    with pytest.raises(InputError) as caught:
        method(f"lime({options})")(score(3), batch(3))
    assert str(caught.value).startswith(f"lime: {said}")


def test_segments_that_do_not_fit_are_told():
    with pytest.raises(InputError, match=r"^lime: segments must be \(2, 8, 10\) .* got \(1, 8, 9\)$"):
        method("lime")(score(segments=torch.zeros(1, 8, 9, dtype=torch.int64)), batch(2))


def test_a_voxel_size_of_another_rank_is_told():
    with pytest.raises(InputError, match=r"^lime: the voxel size must have 3 sides for this image, got \(1.0, 2.0\)$"):
        method("lime(segmenter='grid')")(score(3, spacing_mm=(1.0, 2.0)), batch(3))


# --- surrogates ------------------------------------------------------------------------------------------------------


def test_a_lasso_leaves_segments_out():
    x = batch(2)
    found = method("lime(samples=60, segmenter='grid', segments=9, surrogate='lasso', alpha=0.002)")(score(), x)
    assert found.quantity is Quantity.RELEVANCE
    assert found.standard_error is None
    weights = found.numbers["segment_values"]
    assert (weights == 0).any()
    assert (weights != 0).any()


def test_the_flavour_of_matlab():
    """49 boxes, 2048 images at the image's mean, an unweighted tree: importances without sign."""
    x = batch(2, count=1, side=14)
    spec = "lime(segmenter='grid', segments=49, samples=2048, fill='mean', surrogate='tree', weighted=False)"
    found = method(spec)(score(), x)
    assert found.quantity is Quantity.SALIENCY
    assert found.unit == "logits (squared, importance of a segment)"
    assert (found.values >= 0).all()
    assert (found.values > 0).any()
    assert found.numbers["segments"].tolist() == [49]
    assert torch.isnan(found.numbers["intercept"]).all()
    assert found.standard_error is None


def test_unweighted_images_count_the_same():
    x = batch(2, count=1)
    labels = grid(x.shape[2:], 4)
    spec = "lime(samples=30, segmenter='grid', segments=4, fill='zero', {})"
    plain = method(spec.format("weighted=False"))(score(), x).values
    wide = method(spec.format("kernel_width=1e6"))(score(), x).values
    torch.testing.assert_close(plain, wide, rtol=1e-6, atol=1e-9)
    narrow = method(spec.format("kernel_width=0.1"))(score(), x).values
    assert not torch.allclose(plain, narrow, rtol=1e-3)
    assert labels.shape == plain.shape[2:]


# --- how sure --------------------------------------------------------------------------------------------------------


def test_errors_are_the_spread_over_seeds():
    x = batch(2, count=1)
    runs = [method(f"lime(samples=60, segmenter='grid', segments=6, seed={n})")(score(), x) for n in range(40)]
    spread = torch.stack([run.values for run in runs]).std(dim=0)
    error = torch.stack([run.standard_error for run in runs]).mean(dim=0)
    assert 0.8 < float((error / spread).mean()) < 1.25


def test_looks_on_the_way_change_nothing():
    x, spec = batch(2), "lime(samples=90, segmenter='grid', segments=6{})"
    looked, plain = (method(spec.format(option))(score(), x) for option in (", tolerance=1e-12", ""))
    close(looked.values, plain.values)
    close(looked.standard_error, plain.standard_error)


def test_a_tolerance_stops_early_sample_by_sample():
    x = batch(2)
    found = method("lime(samples=400, segmenter='grid', segments=4, tolerance=0.03)")(score(), x)
    used = found.numbers["samples"].tolist()
    assert all(count in (100, 200) for count in used), "the first look must not be enough for this test"
    for n, count in enumerate(used):
        alone = method(f"lime(samples={count}, segmenter='grid', segments=4)")(score(), x[n : n + 1])
        close(found.values[n], alone.values[0])
        error = alone.standard_error.max() / alone.values.abs().max()
        assert float(error) <= 0.03


def test_stability_falls_with_fewer_samples():
    x = batch(2, count=1)
    few, many = (
        np.mean(
            [
                float(
                    method(f"lime(samples={n}, segmenter='grid', segments=9, seed={s})")(score(), x).numbers[
                        "stability"
                    ]
                )
                for s in range(10)
            ]
        )
        for n in (12, 200)
    )
    assert few < many
    assert many > 0.8


@pytest.mark.parametrize("rank", [2, 3])
def test_costs_the_clean_image_and_the_samples(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    asked = Score(model, "class_score")
    with FlopCounterMode(display=False) as whole:
        method("lime(samples=50, segmenter='grid', segments=4)")(asked, x)
    assert asked.ledger.forwards == (1 + 50) * len(x)
    assert whole.get_total_flops() / one.get_total_flops() / len(x) == pytest.approx(1 + 50, rel=0.02)


def test_an_option_of_another_kind_is_told():
    with pytest.raises(OptionError, match="lime: surrogate must be one of 'ridge', 'lasso', 'tree'"):
        method("lime(surrogate='forest')")
