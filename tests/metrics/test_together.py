import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.metrics.linear import linear, noise
from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_model import ModelMetric
from voxplain.metrics.together import measure_all
from voxplain.score.score import Score

EVERY = [metric(name) for name, cls in METRICS.items() if issubclass(cls, ModelMetric)]


def forwards(specs, maps=2, **options):
    """Forwards of a fresh case with so many maps."""
    score, x, worth = linear(**options)
    measure_all([metric(spec) for spec in specs], score, x, noise(worth, maps))
    return score.ledger.forwards


def test_gives_every_metric_the_numbers_it_has_alone():
    score, x, worth = linear(side=6)
    maps = [worth, *noise(worth, 2), worth[:1]]
    together = measure_all(EVERY, score, x, maps)
    assert list(together) == EVERY
    for one in EVERY:
        assert together[one] == one(score, x, maps)


def test_metrics_of_one_curve_score_it_once():
    """Two maps, 8 steps: 7 images a map, the clean one and the empty one."""
    assert forwards(["deletion(steps=8)"]) == 2 * 7 + 2
    assert forwards(["deletion(steps=8)", "morf_aopc(steps=8)", "monotonicity(steps=8)"]) == 2 * 7 + 2


def test_both_orders_share_their_ends():
    specs = ["abpc(steps=8)", "lerf_aopc(steps=8)", "deletion(steps=8)", "insertion(steps=8, imputer='zero')"]
    assert forwards(specs) == 2 * 2 * 7 + 2


def test_random_orders_are_the_same_for_all_maps():
    assert forwards(["delta_aupc(steps=8, permutations=3)"], maps=5) == (5 + 3) * 7 + 2


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("sensitivity_n(shares=[0.1, 0.5], samples=9)", 18),
        ("faithfulness_correlation(samples=9)", 9),
        ("infidelity(samples=9)", 9),
        ("completeness", 1),
        ("modality_importance", 3),
    ],
)
def test_more_maps_cost_nothing_where_only_the_image_is_perturbed(spec, count):
    assert forwards([spec], maps=1) == forwards([spec], maps=6) == 1 + count


def test_sets_of_one_size_are_shared():
    one = forwards(["faithfulness_correlation(share=0.1, samples=9)"])
    assert forwards(["faithfulness_correlation(share=0.1, samples=9)", "sensitivity_n(shares=[0.1], samples=9)"]) == one


def test_other_options_do_not_share():
    both = ["deletion(steps=8)", "deletion(steps=8, imputer='mean')"]
    assert forwards(both) == 2 * forwards(both[:1]) - 1
    assert forwards(["deletion(steps=8)", "deletion(steps=8, sign='absolute')"]) == 4 * 7 + 2


def test_all_of_one_case_with_two_maps_stay_under_a_thousand_forwards():
    assert forwards([str(one) for one in EVERY], side=12, channels=3) < 900


def test_a_metric_that_cannot_be_computed_says_why_and_stops_no_other():
    score, x, worth = linear()
    lost, kept = metric("deletion(imputer='reference')"), metric("deletion")
    found = measure_all([lost, kept], score, x, [worth])
    assert found[lost][0].value is None
    assert found[lost][0].reason == "reference image must be (2, 5, 7) like the input, got none"
    assert found[kept][0].value is not None


def test_the_given_image_is_that_of_the_score():
    score, x, worth = linear(reference=torch.full((1, 2, 5, 7), 0.3, dtype=torch.float64))
    given, number = measure_all(
        [metric("deletion(imputer='reference')"), metric("deletion(imputer=0.3)")], score, x, [worth]
    ).values()
    assert given == number


def test_the_body_is_what_tissue_is_the_mean_of():
    score, x, worth = linear(channels=1)
    body = torch.zeros(5, 7)
    body[1:3, 1:4] = 1
    tissue, number = (metric(f"deletion(imputer={fill})") for fill in ("'tissue'", float(x[0, 0, 1:3, 1:4].mean())))
    found = measure_all([tissue, number], score, x, [worth], body)
    assert found[tissue][0].value == pytest.approx(found[number][0].value)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_map_with_nan_says_so_and_leaves_the_others(broken):
    score, x, worth = linear()
    spoilt = worth.clone()
    spoilt[0, 0, 0] = broken
    for one, (lost, kept) in measure_all(EVERY, score, x, [spoilt, worth]).items():
        assert (lost.value, lost.reason) == (None, "the map holds values that are NaN or infinite")
        assert kept == one(score, x, [worth])[0]


class Broken(torch.nn.Module):
    """A score that is NaN where it is asked about an image with zeros, or always."""

    def __init__(self, always):
        super().__init__()
        self.weight, self.always = torch.nn.Parameter(torch.ones(1, dtype=torch.float64)), always

    def forward(self, x):
        total = self.weight * x.flatten(1).sum(1, keepdim=True) ** 2
        return torch.where((x == 0).flatten(1).any(1, keepdim=True) | self.always, torch.nan, total)


def test_a_score_that_is_nan_says_so():
    x = batch(2, count=1)
    for found in measure_all(EVERY, Score(Broken(True), "regression()"), x, noise(x[0], 1)).values():
        assert (found[0].value, found[0].reason) == (None, "the model's score of the image is not finite")


def test_a_score_that_becomes_nan_on_the_way_says_so():
    x = batch(2, count=1)
    (found,) = metric("deletion")(Score(Broken(False), "regression()"), x, noise(x[0], 1))
    assert (found.value, found.reason) == (None, "the model's score of an altered image is not finite")


def test_no_step_leaves_the_device():
    """Images and maps are never handed to NumPy; Quantus sends them there and back at each step."""

    class Guard(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            name = getattr(function, "__name__", "")
            large = any(isinstance(one, torch.Tensor) and one.numel() > 300 for one in arguments)
            if name in ("cpu", "numpy", "__array__", "tolist") and large:
                raise AssertionError(f"{tuple(arguments[0].shape)} leaves the device by {name}()")
            return function(*arguments, **(options or {}))

    x = batch(2, count=1, side=18)
    values = noise(x[0], 2)
    score = Score(seeded(Awkward, 2, "classification"), "class_score(1)")
    specs = [one for one in EVERY if one.name != "irof"] + [metric("irof(segmenter='grid')")]
    with Guard():
        measure_all(specs, score, x, values)


def test_images_are_made_chunk_by_chunk():
    largest = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = seeded(Awkward, 2, "classification")

        def forward(self, x):
            largest.append(len(x))
            return self.inner(x)

    x = batch(2, count=1)
    measure_all(EVERY, Score(Watched(), "class_score(1)", chunk=4), x, noise(x[0], 2))
    assert max(largest) == 4


@pytest.mark.parametrize(
    ("shape", "values", "body", "told"),
    [
        ((2, 2, 5, 7), (2, 5, 7), None, r"input must be one sample \(1, channel, \*space\) in 2D or 3D, got"),
        ((1, 2, 5), (2, 5), None, r"input must be one sample \(1, channel, \*space\) in 2D or 3D, got"),
        ((1, 2, 5, 7), (2, 7, 5), None, r"maps must be \(1 or 2, 5, 7\) like the input, got \(2, 7, 5\)"),
        ((1, 2, 5, 7), (3, 5, 7), None, r"maps must be \(1 or 2, 5, 7\) like the input, got \(3, 5, 7\)"),
        ((1, 1, 5, 7), (2, 5, 7), None, r"maps must be \(1, 5, 7\) like the input, got \(2, 5, 7\)"),
        ((1, 2, 5, 7), (2, 5, 7), (7, 5), r"body must be \(5, 7\) like the input, got \(7, 5\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, values, body, told):
    score, _, _ = linear()
    with pytest.raises(InputError, match=told):
        measure_all(EVERY, score, torch.zeros(shape), [torch.zeros(values)], None if body is None else torch.ones(body))
