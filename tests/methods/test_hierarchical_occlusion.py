"""The study's label-flip search, literally and slowly; the search by score drop, its refinement, budget and fills."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, Linear, batch, seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.ops.baselines import baseline
from voxplain.ops.nested_windows import above, gridded, largest, levels, tiled
from voxplain.score.model import Model
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])


# --- label flip: the procedure of the study, word by word ----------------------------------------------------------


def hierarchical(label, x, t, s, w, w_min, roi, zero):
    """The study's search for one image (channel, i, j): `label` predicts a number from a batch of one."""
    c0, calls = label(x[None]), 0
    y0, x0, y1, x1 = roi
    total = np.zeros(x.shape[1:])
    parents = "ALL"

    def level(s, w, parents):
        nonlocal calls
        found, kids = np.zeros(x.shape[1:]), []
        for i in range(y0, y1, s):
            for j in range(x0, x1, s):
                if parents == "ALL" or any(a <= i < a + 2 * w and b <= j < b + 2 * w for a, b in parents):
                    covered = x.clone()
                    rows, columns = slice(i, min(i + w, y1)), slice(j, min(j + w, x1))
                    covered[:, rows, columns] = 0.0 if zero or t == 1 else 1.0
                    d = abs(c0 - label(covered[None]))
                    calls += 1
                    found[rows, columns] = np.maximum(found[rows, columns], d)
                    if d == 1:
                        kids.append((i, j))
        return found, kids

    found, parents = level(s, w, parents)
    total = total + found
    while parents and w > w_min:
        s, w = max(s // 2, 1), w // 2
        found, parents = level(s, w, parents)
        total = total + found
    return total, calls


def undecided(classes: int, rank: int = 2, count: int = 3):
    """A network and images at the edge of a decision, so that covering flips the label at several levels."""
    module = seeded(Awkward, rank, "classification", 2, classes, seed=11)
    x = batch(rank, count=count, side=8, seed=4)
    with torch.no_grad():
        module.head.bias -= module(x).mean(0)
    return module, x


def label_of(module):
    @torch.no_grad()
    def label(images) -> int:
        return int(module(images).argmax(1))

    return label


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("s", "w", "w_min", "roi"),
    [(2, 4, 1, ()), (3, 7, 2, ()), (4, 8, 2, ()), (2, 3, 3, ()), (3, 5, 1, (2, 1, 8, 9)), (5, 30, 5, (0, 3, 7, 9))],
)
def test_label_flip_is_the_studys_procedure(classes, s, w, w_min, roi):
    module, x = undecided(classes)
    spec = f"hierarchical_occlusion(mode='label_flip', window={w}, stride={s}, min_window={w_min}, roi={roi})"
    found = method(spec)(Score(module, "class_score", chunk=15), x)
    predicted = module(x).argmax(1)
    for n, image in enumerate(x):
        t = int(predicted[n])
        box = roi or (0, 0, *image.shape[1:])
        total, calls = hierarchical(label_of(module), image, t, s, w, w_min, box, zero=t > 1)
        fell_back = not total.any() and t == 0
        if fell_back:
            total, more = hierarchical(label_of(module), image, t, s, w, w_min, box, zero=True)
            calls += more
        assert np.array_equal(found.values[n, 0].numpy(), total)
        assert int(found.numbers["evaluations"][n]) == calls
        assert bool(found.numbers["fell_back"][n]) == fell_back
        assert bool(found.numbers["informative"][n]) == bool((total >= 1).any())
    if (w, classes) == (4, 2):
        assert found.values.max() == 3  # all of its levels flip somewhere
        assert len(set(predicted.tolist())) == 2


def test_the_defaults_are_the_studys():
    """Windows of 112 every 28 down to 7 on 224 voxels, filled black for class 1 and white for class 0."""
    plan = levels((112, 112), (28, 28), (7, 7))
    assert [(w[0], s[0]) for w, s in plan] == [(112, 28), (56, 14), (28, 7), (14, 3), (7, 1)]
    x = torch.zeros(1, 1, 224, 224, dtype=torch.float64)
    flat = seeded(Linear, (1, 224, 224))
    with torch.no_grad():
        flat.weight.fill_(1.0)  # both classes alike: the label never flips
        flat.bias.copy_(torch.tensor([0.0, 1.0]))
    found = method("hierarchical_occlusion(mode='label_flip')")(Score(flat, "class_score"), x)
    assert found.numbers["windows_level_1"].tolist() == [64]
    assert list(found.parts) == [f"level_{n}" for n in range(1, 6)]
    assert not found.values.any()


def test_white_covers_the_healthy_and_black_the_others():
    """The label flips where a window of the fill is seen, and only there."""
    module = seeded(Linear, (1, 8, 8))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[1, 0, 2, 5] = 1.0
        module.bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    x[1, 0, 2, 5] = 1.0  # class 1; all others are class 0
    spec = "hierarchical_occlusion(mode='label_flip', window=4, stride=4, min_window=2)"
    found = method(spec)(Score(module, "class_score"), x)
    assert found.numbers["label"].tolist() == [0, 1]
    for n in range(2):
        assert found.values[n, 0, 2:4, 4:6].eq(2).all()
        assert found.values[n].sum() == 4 * 4 + 4
        assert found.parts["level_1"][n, 0, :4, 4:].eq(1).all()
    turned = method(spec.replace("min_window", "black=1.0, white=0.0, fallback=False, min_window"))(
        Score(module, "class_score"), x
    )
    assert not turned.values.any()


def test_an_image_without_a_flip_is_searched_again_with_zeros():
    module = seeded(Linear, (1, 8, 8))
    with torch.no_grad():
        module.weight.zero_()
        module.weight[0, 0, 1, 1] = 1.0
        module.bias.copy_(torch.tensor([0.0, 0.5]))
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)  # class 0 by one white voxel: white covers change nothing
    spec = "hierarchical_occlusion(mode='label_flip', window=4, stride=4, min_window=4{})"
    found = method(spec.format(""))(Score(module, "class_score"), x)
    assert found.values.sum() == 16
    assert [found.numbers[key].tolist() for key in ("informative", "fell_back", "evaluations")] == [[True], [True], [8]]
    without = method(spec.format(", fallback=False"))(Score(module, "class_score"), x)
    assert not without.values.any()
    assert [without.numbers[key].tolist() for key in ("informative", "fell_back")] == [[False], [False]]


def test_the_four_counters():
    module, x = undecided(2)
    found = method("hierarchical_occlusion(mode='label_flip', window=4, stride=4)")(Score(module, "class_score"), x)
    label, informative = found.numbers["label"], found.numbers["informative"]
    for index in (0, 1):
        assert found.numbers[f"predicted_as_{index}"] == int((label == index).sum()) > 0
        assert found.numbers[f"informative_as_{index}"] == int((informative & (label == index)).sum())
    assert 0 < int(informative.sum()) < len(x)


def test_with_more_than_two_classes_any_change_may_count_as_one():
    module, x = undecided(4)
    spec = "hierarchical_occlusion(mode='label_flip', window=4, stride=4, min_window=4, fallback=False, labels={!r})"
    by_number = method(spec.format("difference"))(Score(module, "class_score"), x).values
    changed = method(spec.format("changed"))(Score(module, "class_score"), x).values
    assert by_number.max() > 1
    assert torch.equal(changed, by_number.clamp_max(1))


def test_a_segmentation_flips_where_the_region_is_better_explained_by_another_class():
    module = seeded(Awkward, 2, "segmentation")
    x = batch(2, count=3)
    asked = Score(module, "region(1, over='whole')")
    found = method("hierarchical_occlusion(mode='label_flip', window=4, stride=4)")(asked, x)
    assert found.numbers["label"].tolist() == module(x).flatten(2).mean(2).argmax(1).tolist()


def test_a_regression_has_no_label():
    with pytest.raises(InputError, match=r"^hierarchical_occlusion: a regression has no label to flip; use mode="):
        method("hierarchical_occlusion(mode='label_flip')")(
            Score(seeded(Awkward, 2, "regression"), "regression()"), batch(2)
        )


# --- score drop ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def by_hand(module, x: torch.Tensor, index: int, cover, window: int, stride: int, smallest: int, keep, mean: bool):
    """The search for one image (1, channel, *space), one window at a time: maps by level."""
    size = x.shape[2:]
    clean = float(module(x)[0, index])
    places = tiled(tuple(slice(0, n) for n in size), (window,) * len(size), (stride,) * len(size))
    maps = []
    while True:
        falls = []
        for place in places:
            covered = x.clone()
            covered[(slice(None), slice(None), *place)] = cover[(slice(None), slice(None), *place)]
            falls.append(max(0.0, clean - float(module(covered)[0, index])))
        level = torch.zeros(size, dtype=torch.float64)
        for voxel in torch.cartesian_prod(*[torch.arange(n) for n in size]).tolist():
            over = [
                fall
                for place, fall in zip(places, falls, strict=True)
                if all(part.start <= i < part.stop for part, i in zip(place, voxel, strict=True))
            ]
            level[tuple(voxel)] = (sum(over) / len(over) if mean else max(over)) if over else 0.0
        maps.append(level)
        kept = keep(places, falls)
        if window <= smallest or not kept:
            return maps
        window, stride = window // 2, max(stride // 2, 1)
        places, seen = [], set()
        for parent in kept:
            for place in tiled(parent, (window,) * len(size), (stride,) * len(size)):
                key = str(place)
                if key not in seen:
                    seen.add(key)
                    places.append(place)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@ranks
@pytest.mark.parametrize("overlap", ["max", "mean"])
@pytest.mark.parametrize("stride", [4, 3])
def test_the_top_share_of_windows_is_searched_on(rank, overlap, stride):
    module, x = seeded(Awkward, rank, "classification"), batch(rank, count=2, side=8 if rank == 2 else 5)

    def keep(places, falls):
        order = sorted(range(len(falls)), key=lambda n: -falls[n])[: -(-len(falls) * 30 // 100)]
        return [places[n] for n in order if falls[n] > 1e-12]

    spec = f"hierarchical_occlusion(window=4, stride={stride}, min_window=2, top=30, overlap={overlap!r}, fill=0.2)"
    found = method(spec)(Score(module, "class_score(1)"), x)
    for n in range(2):
        maps = by_hand(module, x[n : n + 1], 1, torch.full_like(x[:1], 0.2), 4, stride, 2, keep, overlap == "mean")
        assert len(maps) == len(found.parts) == 2
        for number, level in enumerate(maps, start=1):
            close(found.parts[f"level_{number}"][n, 0], level)
        close(found.values[n, 0], sum(maps))


def test_windows_above_the_threshold_are_searched_on():
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=1)
    asked = Score(module, "class_score(2)")
    coarse = method("hierarchical_occlusion(window=4, min_window=4)")(asked, x).values
    threshold = float(coarse.unique().quantile(0.6))
    keep = lambda places, falls: [p for p, fall in zip(places, falls, strict=True) if fall > threshold]  # noqa: E731
    maps = by_hand(module, x, 2, torch.zeros_like(x), 4, 4, 1, keep, False)
    found = method(f"hierarchical_occlusion(window=4, min_window=1, threshold={threshold})")(asked, x)
    close(found.values[0, 0], sum(maps))
    assert 0 < int(found.numbers["windows_level_2"]) < int(4 * found.numbers["windows_level_1"])


@ranks
def test_on_a_linear_score_the_heaviest_voxel_is_found_level_by_level(rank):
    shape = (2, *[8] * rank)
    module = seeded(Linear, shape)
    heavy = (slice(None), *[5, 2, 6][:rank])
    with torch.no_grad():
        module.weight.mul_(0.001)
        module.weight[0][heavy] = 1.0
    x = torch.ones(1, *shape, dtype=torch.float64)
    found = method("hierarchical_occlusion(window=4, min_window=1, top=1)")(Score(module, "class_score(0)"), x)
    assert [int(found.numbers[f"windows_level_{n}"]) for n in (1, 2, 3)] == [2**rank] * 3
    peak = found.values[0, 0].argmax()
    assert tuple(int(i) for i in torch.unravel_index(peak, shape[1:])) == tuple([5, 2, 6][:rank])
    share = (module.weight[0] * x[0]).detach().sum(0)
    assert found.parts["level_3"][0, 0].max() == pytest.approx(float(share.max()))


def test_smaller_windows_stay_inside_their_parent():
    x = batch(2, count=1, side=7)  # 7 x 9: nothing divides evenly
    found = method("hierarchical_occlusion(window=5, min_window=2, top=1)")(
        Score(seeded(Awkward, 2, "classification"), "class_score(1)"), x
    )
    first, second = found.parts["level_1"][0, 0], found.parts["level_2"][0, 0]
    parent = first == first.max()
    assert second.any()
    assert not second[~parent].any()


def test_ties_are_searched_on_in_order_and_noise_is_not_worth_anything():
    near = torch.tensor([1.0, 3.0, 3.0 + 1e-13, 0.5, 3.0], dtype=torch.float64)
    assert largest(near, 0.4, 1e-9) == [1, 2]
    assert largest(torch.tensor([0.0, 1e-15, 0.0]).double(), 1.0, 1e-9) == []
    assert largest(torch.tensor([0.1, 0.2, 0.3]).double(), 0.34, 1e-9) == [2, 1]
    assert above(torch.tensor([0.1, 0.2, 0.3]), 0.15) == [2, 1]


@pytest.mark.parametrize("limit", [4, 7, 8, 11, 12, 17, 100])
def test_never_covers_more_often_than_allowed(limit):
    x = batch(2, count=3)[..., :8]  # 4 windows of which 2 are searched on by 4 each, then 4 by 4 each
    asked = Score(seeded(Awkward, 2, "classification"), "class_score(1)")
    spec = "hierarchical_occlusion(window=4, min_window=1, top=50, evaluations={})"
    found, free = (method(spec.format(most))(asked, x) for most in (limit, None))
    assert int(found.numbers["evaluations"].max()) <= limit
    assert asked.ledger.forwards == 6 + int((found.numbers["evaluations"] + free.numbers["evaluations"]).sum())
    for n in range(3):
        assert int(found.numbers["evaluations"][n]) == min(limit // 4 * 4, int(free.numbers["evaluations"][n]))
    if limit == 11:  # one window of the four is refined: the one that lost most
        worst = free.parts["level_1"] == free.parts["level_1"].amax(dim=(2, 3), keepdim=True)
        assert found.parts["level_2"][worst].any()
        assert not found.parts["level_2"][~worst].any()


def test_a_budget_below_the_first_level_is_refused():
    told = r"^hierarchical_occlusion: evaluations must be at least 6, the windows of the first level, got 5$"
    with pytest.raises(OptionError, match=told):
        method("hierarchical_occlusion(window=4, evaluations=5)")(
            Score(seeded(Awkward, 2, "classification"), "class_score(1)"), batch(2)
        )


@ranks
def test_costs_one_and_the_windows(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    for spec, extra in (
        ("hierarchical_occlusion(window=4)", 1),
        ("hierarchical_occlusion(mode='label_flip', window=4, stride=4, min_window=2)", 2),
    ):
        with FlopCounterMode(display=False) as all_of_it:
            found = method(spec)(Score(model, "class_score"), x)
        spent = float(found.numbers["evaluations"].sum()) + 3 * extra
        assert all_of_it.get_total_flops() / one.get_total_flops() == pytest.approx(spent, abs=0.02)


# --- fills, region, limits -----------------------------------------------------------------------------------------


def cover_of(fill, x, classes):
    """What each fill shows, by definition."""
    if fill == "one":
        return torch.ones_like(x)
    if fill == "opposite":
        return torch.stack([torch.full_like(image, float(c == 0)) for image, c in zip(x, classes, strict=True)])
    return baseline(x, fill)


@pytest.mark.parametrize("fill", ["opposite", "zero", "one", "mean", "minimum", "blur", 0.7])
def test_the_fill_covers_each_sample_with_its_own(fill):
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    asked = Score(module, "class_score")
    found = method(f"hierarchical_occlusion(window=4, min_window=4, fill={fill!r})")(asked, x)
    cover = cover_of(fill, x, found.classes.tolist())
    for n, index in enumerate(found.classes.tolist()):
        (level,) = by_hand(module, x[n : n + 1], index, cover[n : n + 1], 4, 4, 4, lambda *_: [], False)
        close(found.values[n, 0], level)


def test_noise_has_each_channels_mean_and_spread_and_follows_the_seed():
    x = batch(3, count=2, side=12) * torch.tensor([1.0, 5.0]).reshape(1, 2, 1, 1, 1) + 3
    seen = []

    class Watching(Awkward):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    module = seeded(Watching, 3, "classification")
    spec = "hierarchical_occlusion(window=99, min_window=99, fill='noise'{})"
    method(spec.format(", seed=4"))(Score(Model.of(module), "class_score(0)", chunk=2), x)
    noise = seen[-1]
    torch.testing.assert_close(noise.mean(dim=(2, 3, 4)), x.mean(dim=(2, 3, 4)), rtol=0.05, atol=0.3)
    torch.testing.assert_close(noise.std(dim=(2, 3, 4)), x.std(dim=(2, 3, 4)), rtol=0.1, atol=0)
    values = [method(spec.format(f", seed={n}"))(Score(module, "class_score(0)"), x).values for n in (4, 4, 5)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    by_run = method(spec.format(""))(Score(module, "class_score(0)", seed=5), x).values
    assert torch.equal(by_run, values[2])


def test_only_the_region_of_interest_is_searched():
    asked = Score(seeded(Awkward, 2, "classification"), "class_score(1)")
    found = method("hierarchical_occlusion(window=2, min_window=1, roi=(1, 2, 6, 9), top=100)")(asked, batch(2))
    inside = torch.zeros_like(found.values, dtype=torch.bool)
    inside[..., 1:6, 2:9] = True
    assert found.values[inside].any()
    assert not found.values[~inside].any()


def test_windows_on_the_grid_are_asked_by_their_corner_only():
    region = (slice(0, 8), slice(0, 6))
    assert len(gridded(region, (4, 4), (2, 2))) == 12
    corners = [
        tuple(part.start for part in place) for place in gridded(region, (2, 2), (2, 2), [(slice(4, 8), slice(2, 6))])
    ]
    assert corners == [(4, 2), (4, 4), (6, 2), (6, 4)]
    odd = gridded(region, (3, 3), (3, 3), [(slice(2, 8), slice(0, 6))])
    assert [(place[0].start, place[1].start) for place in odd] == [(3, 0), (3, 3), (6, 0), (6, 3)]
    assert odd[-1] == (slice(6, 8), slice(3, 6))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("window=0", r"window must be at least 1, got 0"),
        ("window=()", r"window must be a number or one an axis, got \(\)"),
        ("window=(4, 4, 4)", r"window must have 1 or 2 numbers for this image, got 3"),
        ("window=2, stride=3", r"stride must not exceed the window \(2, 2\), got \(3, 3\)"),
        ("top=0", r"top must be above 0 and at most 100, got 0"),
        ("top=10, threshold=0.1", r"top must be left out with threshold, got 10"),
        ("threshold=-1", r"threshold must be at least 0, got -1"),
        ("evaluations=0", r"evaluations must be at least 1, got 0"),
        ("mode='label_flip', top=10", r"top must be left out with mode='label_flip', got 10"),
        ("mode='label_flip', overlap='mean'", r"overlap must be 'max' with mode='label_flip', got 'mean'"),
        ("roi=(0, 0, 9, 9)", r"roi must lie inside the image \(8, 10\), got \(0, 0, 9, 9\)"),
        ("roi=(0, 0, 4)", r"roi must lie inside the image \(8, 10\), got \(0, 0, 4\)"),
        ("roi=(3, 0, 3, 4)", r"roi must lie inside the image \(8, 10\), got \(3, 0, 3, 4\)"),
    ],
)
def test_what_cannot_be_done_is_refused(options, told):
    with pytest.raises(OptionError, match=f"^hierarchical_occlusion: {told}$"):
        method(f"hierarchical_occlusion({options})")(
            Score(seeded(Awkward, 2, "classification"), "class_score(1)"), batch(2)
        )
