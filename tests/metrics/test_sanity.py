"""Sanity checks: maps that do not look at the network are found out, and maps that do are not."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr
from torch import nn

from tests.metrics.explaining import Counting, case, explain
from tests.nets import Awkward, Linear, TinyViT, batch, seeded
from voxplain.data.prepare import Prepare
from voxplain.errors import OptionError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_method import Second, measure_methods
from voxplain.ops.controls import CONTROLS
from voxplain.phantoms import phantom
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.randomised import randomised
from voxplain.score.score import Score
from voxplain.score.shipped import model_folder

RANDOMISING = ("mprt", "smooth_mprt", "efficient_mprt")
every_test = pytest.mark.parametrize("name", [*RANDOMISING, "random_logit"])
both_ranks = pytest.mark.parametrize("rank", [2, 3])
SMALL = {"smooth_mprt": "smooth_mprt(stages=2, samples=2)", "mprt": "mprt(stages=2)"}


def control(name):
    return lambda score, x: CONTROLS[name](x)


@both_ranks
@every_test
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_map_that_ignores_the_network_gets_nothing(rank, name, task):
    """Noise is added to the input of the smooth test only, and in the same way before and after."""
    score, x = case(rank, task)
    for map_name in CONTROLS:
        found = metric(SMALL.get(name, name))(score, x, control(map_name))
        assert (found.value, found.chance) == (pytest.approx(0, abs=1e-9), 0)


@both_ranks
@every_test
def test_the_weights_of_a_linear_score_are_forgotten(rank, name):
    """A map that is nothing but the weights loses all resemblance when they are drawn anew."""
    x = batch(rank, count=1, side=24 if rank == 2 else 10, channels=1)
    score = Score(seeded(Linear, tuple(x.shape[1:]), 5), "class_score")
    found = metric(SMALL.get(name, name))(score, x, explain("gradient")).value
    if name == "efficient_mprt":  # normal numbers are as complex before as after
        assert abs(found) < 0.1
    else:
        assert found == pytest.approx(1, abs=4 / np.sqrt(x.numel()))


@both_ranks
def test_mprt_is_one_less_the_rank_correlation_at_each_stage(rank):
    score, x = case(rank)
    ask, frozen = explain("gradient"), score.freeze(x)[1]
    clean = ask(frozen, x)[0].sum(0).abs().flatten()
    expected = []
    for stage in randomised(frozen.model, x):
        other = Score(stage.model, "class_score", choice=frozen.choice)
        expected.append(spearmanr(clean, ask(other, x)[0].sum(0).abs().flatten()).statistic)
    found = metric("mprt(stages=0)")(score, x, ask)
    assert found.value == pytest.approx(1 - np.mean(expected))
    curve = found.curves["similarity"]
    assert curve.values == pytest.approx((1.0, *expected))
    assert curve.at == pytest.approx((0, 0.25, 0.5, 0.75, 1))


def test_smooth_mprt_compares_means_over_noisy_inputs():
    score, x = case()
    counting = Counting("input_x_gradient")
    found = metric("smooth_mprt(stages=1, samples=3)")(score, x, counting)
    (_, first), *rest = counting.asked
    assert torch.equal(first, x)
    own, random = rest[:3], rest[3:]
    assert len(random) == 3
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(own, random, strict=True))
    means = [torch.stack([counting.explain(*one) for one in some]).mean(0)[0].sum(0).abs() for some in (own, random)]
    assert found.value == pytest.approx(1 - spearmanr(*(one.flatten() for one in means)).statistic)


def test_efficient_mprt_is_the_relative_rise_of_the_histograms_entropy():
    score, x = case()
    ask, frozen = explain("gradient"), score.freeze(x)[1]
    (stage,) = randomised(frozen.model, x, stages=1)
    maps = [ask(frozen, x), ask(Score(stage.model, "class_score", choice=frozen.choice), x)]
    before, after = (entropy(np.histogram(one[0].sum(0), bins=100)[0]) for one in maps)
    found = metric("efficient_mprt")(score, x, ask)
    assert found.value == pytest.approx((after - before) / before)
    assert found.numbers["entropy"] == pytest.approx(before)


def test_efficient_mprt_costs_one_map_more():
    counting = Counting()
    metric("efficient_mprt")(*case(), counting)
    assert len(counting.asked) == 2


def test_efficient_mprt_of_a_constant_map_is_not_applicable():
    score, x = case()
    found = metric("efficient_mprt")(score, x, lambda score, x: torch.ones_like(x))
    assert (found.value, found.reason) == (None, "the map has the same value everywhere")


def test_the_random_logit_is_another_class():
    score, x = case()
    counting = Counting()
    metric("random_logit")(score, x, counting)
    (clean, _), (other, _) = counting.asked
    assert int(clean.classes) != int(other.classes)


def test_two_classes_of_opposite_weights_differ_in_sign_only():
    module = seeded(Linear, (1, 8, 10))
    with torch.no_grad():
        module.weight[1] = -module.weight[0]
    score, x = Score(module, "class_score"), batch(2, count=1, channels=1)
    assert metric("random_logit")(score, x, explain("gradient")).value == pytest.approx(0)
    assert metric("random_logit(sign='signed')")(score, x, explain("gradient")).value == pytest.approx(2)


@pytest.mark.parametrize("task", ["regression"])
def test_a_single_output_has_no_random_logit(task):
    score, x = case(2, task)
    assert metric("random_logit")(score, x, explain("gradient")).reason == "the model has no other class"


def test_a_model_without_weights_cannot_be_randomised():
    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    found = metric("mprt")(Score(Model.of(Mean()), "class_score"), batch(2, count=1), explain("gradient"))
    assert found.reason == "the model has no weights that could be randomised"


@every_test
def test_another_seed_gives_another_number(name):
    score, x = case()
    options = {"smooth_mprt": "samples=2, "}.get(name, "")
    found = {metric(f"{name}({options}seed={seed})")(score, x, explain("gradient")).value for seed in (0, 0, 1, 2, 3)}
    assert 1 < len(found) <= 4


@pytest.mark.parametrize(
    "spec",
    ["mprt(stages=-1)", "mprt(seed=-1)", "smooth_mprt(samples=0)", "smooth_mprt(noise=-1)", "efficient_mprt(bins=1)"],
)
def test_impossible_options_are_refused(spec):
    with pytest.raises(OptionError, match=f"{spec.partition('(')[0]}: "):
        metric(spec)


# --- input invariance


@both_ranks
def test_the_gradient_does_not_care_about_a_shift_that_is_taken_back(rank):
    score, x = case(rank)
    found = metric("input_invariance")(score, x, explain("gradient"))
    assert found.value == pytest.approx(0, abs=1e-9)


@both_ranks
def test_input_times_gradient_does(rank):
    """The map moves by shift times gradient (Kindermans et al., section 3)."""
    score, x = case(rank)
    gradient, clean = explain("gradient")(score, x), explain("input_x_gradient")(score, x)
    step = 0.5 * (x.max() - x.min())
    expected = float((step * gradient).norm() / clean.norm())
    assert metric("input_invariance(shift=0.5)")(score, x, explain("input_x_gradient")).value == pytest.approx(expected)


def test_networks_that_cannot_take_a_shift_back_say_so():
    module = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.Flatten()).double().eval()
    found = metric("input_invariance")(Score(module, "class_score"), batch(2, count=1), explain("gradient"))
    assert "first layer must be a convolution or linear" in found.reason


# --- second models


def second(module, **options):
    return Second(Model.of(module), **options)


NEEDED = {"repeatability": "seed", "reproducibility": "architecture", "label_randomisation": "labels"}
every_comparison = pytest.mark.parametrize("name", sorted(NEEDED))


def models():
    """A model like the own one trained anew, one of another architecture, and one that learnt from shuffled labels."""
    return {
        "seed": second(seeded(Awkward, 2, "classification", seed=1)),
        "architecture": second(seeded(TinyViT, 2, "classification", seed=1)),
        "labels": second(seeded(Awkward, 2, "classification", seed=2), shuffled=True),
    }


@every_comparison
def test_the_right_one_of_the_second_models_is_taken(name):
    others = models()
    score, x = case()
    counting = Counting()
    found = metric(name)(score, x, counting, list(others.values()))
    asked = [one.model.module for one, _ in counting.asked]
    assert asked[1:] == [others[NEEDED[name]].model.module]
    alike = spearmanr(*(counting.explain(*one)[0].sum(0).abs().flatten() for one in counting.asked)).statistic
    assert found.value == pytest.approx(1 - alike if name == "label_randomisation" else alike)


@every_comparison
def test_says_which_second_model_is_missing(name):
    score, x = case()
    others = models()
    del others[NEEDED[name]]
    found = metric(name)(score, x, explain("gradient"), list(others.values()))
    assert found.value is None
    assert found.reason.startswith("no second model")


def test_a_model_of_other_widths_is_another_architecture():
    score, x = case()
    wider = [second(seeded(Awkward, 2, "classification", classes=4))]
    assert metric("repeatability")(score, x, explain("gradient"), wider).value is None
    assert metric("reproducibility")(score, x, explain("gradient"), wider).value is not None


def test_the_same_weights_give_the_same_map():
    score, x = case()
    found = metric("repeatability")(score, x, explain("gradient"), [second(seeded(Awkward, 2, "classification"))])
    assert found.value == pytest.approx(1)


def test_several_second_models_are_averaged():
    score, x = case()
    others = [second(seeded(Awkward, 2, "classification", seed=seed)) for seed in (1, 2)]
    ask = explain("gradient")
    alone = [metric("repeatability")(score, x, ask, [one]).value for one in others]
    assert metric("repeatability")(score, x, ask, others).value == pytest.approx(np.mean(alone))


def test_a_second_model_that_wants_another_input_says_so():
    score, x = case()
    other = second(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten()))
    assert "wants 3 channels" in metric("reproducibility")(score, x, explain("gradient"), [other]).reason


@pytest.mark.parametrize("measure", ["ssim", "spearman", "icc"])
def test_every_similarity_serves(measure):
    score, x = case()
    (found,) = measure_methods([metric(f"mprt(similarity={measure!r}, stages=1)")], [(score, x)], [explain("gradient")])
    assert 0 < found[0][0].value <= 2


# --- on a trained network


@pytest.fixture(scope="module")
def tumour():
    """The shipped classifier of tumour types, and one slice of its phantoms."""
    name = "phantom-tumour-types"
    prepared = Prepare.read(model_folder(name) / "prepare.toml")(phantom("tumours(side=128)").sample(0, 1).image, 2)
    return Score(load_model(name), "class_score"), torch.from_numpy(prepared.values)[None]


def test_tells_edge_detectors_guided_backpropagation_and_gradients_apart(tumour):
    """Guided backpropagation keeps its picture while the upper layers are randomised, as Adebayo et al. found."""
    names = ["gradient", "guided_backprop"]
    (found,) = measure_methods([metric("mprt")], [tumour], [*map(explain, names), control("edge_map")])
    gradient, guided, edges = found[0]
    assert edges.value == 0
    assert gradient.value > guided.value + 0.1
    upper = [one.curves["similarity"].values[4] for one in (gradient, guided)]
    assert upper[0] < 0.4
    assert upper[1] > 0.6


def test_every_sanity_check_passes_grad_cam_and_fails_the_edge_detector(tumour):
    specs = ["mprt(stages=4)", "smooth_mprt(stages=2, samples=2)", "random_logit"]
    for ((cam, edges),) in measure_methods(
        [metric(one) for one in specs], [tumour], [explain("grad_cam"), control("edge_map")]
    ):
        assert cam.value > 0.8
        assert edges.value < 0.05


def test_every_sanity_check_is_listed():
    assert {*RANDOMISING, "random_logit", "label_randomisation", "input_invariance"} <= set(METRICS)
