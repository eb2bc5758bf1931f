"""Robustness to small and to medical changes of the image, in closed form on linear scores and against Captum."""

import pytest
import torch
from captum.metrics import sensitivity_max

from tests.metrics.explaining import Counting, case, explain
from tests.nets import Awkward, Linear, batch, seeded
from voxplain.errors import OptionError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_inputs import Moved
from voxplain.metrics.base_neighbours import Neighbours
from voxplain.ops.controls import CONTROLS
from voxplain.ops.nuisances import uniform_noise
from voxplain.score.score import Score

NAMES = sorted(name for name, cls in METRICS.items() if issubclass(cls, Neighbours))
every_one = pytest.mark.parametrize("name", NAMES)
both_ranks = pytest.mark.parametrize("rank", [2, 3])
KINDS = ("bias_field", "noise", "window", "rotation", "spacing")


def linear(rank=2):
    """A linear score of an image without zeros, and its weights (1, channel, *space)."""
    x = 2 + batch(rank, count=1).clamp(-1, 1)
    module = seeded(Linear, tuple(x.shape[1:]))
    return Score(module, "class_score(1)"), x, module.weight[1].detach()[None]


def neighbours(x, count=4, radius=0.02):
    return [uniform_noise(x, radius, 0, number) for number in range(count)]


# --- neighbours


@both_ranks
@pytest.mark.parametrize("name", [name for name in NAMES if "representation" not in name])
def test_the_weights_of_a_linear_score_are_the_map_of_every_neighbour(rank, name):
    score, x, _ = linear(rank)
    assert metric(f"{name}(samples=3)")(score, x, explain("gradient")).value == pytest.approx(0, abs=1e-12)


@both_ranks
def test_sensitivities_of_input_times_gradient_are_known_on_a_linear_score(rank):
    score, x, weight = linear(rank)
    moved = [float((weight * (other - x)).norm() / (weight * x).norm()) for other in neighbours(x)]
    found = {
        name: metric(f"{name}_sensitivity(samples=4)")(score, x, explain("input_x_gradient")).value
        for name in ("max", "avg")
    }
    assert found["max"] == pytest.approx(max(moved))
    assert found["avg"] == pytest.approx(sum(moved) / 4)


@both_ranks
def test_the_lipschitz_estimate_is_known_on_a_linear_score(rank):
    score, x, weight = linear(rank)
    steep = [float((weight * (other - x)).norm() / (other - x).norm()) for other in neighbours(x)]
    found = metric("local_lipschitz(samples=4)")(score, x, explain("input_x_gradient")).value
    assert found == pytest.approx(max(steep))
    assert found <= float(weight.abs().max())


@both_ranks
def test_relative_stabilities_are_known_on_a_linear_score(rank):
    """The map w x changes by the same share as the image itself."""
    score, x, _ = linear(rank)
    ask = explain("input_x_gradient")
    assert metric("relative_input_stability(samples=4)")(score, x, ask).value == pytest.approx(1)
    module, relative = score.model.module, [(((other - x) / x).norm(), other) for other in neighbours(x)]
    expected = max(float(one / (module(other) - module(x)).detach().norm()) for one, other in relative)
    assert metric("relative_output_stability(samples=4)")(score, x, ask).value == pytest.approx(expected)


@pytest.mark.parametrize("layer", [None, "first"])
def test_representation_stability_is_that_of_a_layer(layer):
    score, x = case()
    ask, name = explain("gradient"), layer or "second"
    option = f", layer={layer!r}" if layer else ""
    found = metric(f"relative_representation_stability(samples=2{option})")(score, x, ask).value
    frozen = score.freeze(x)[1]
    ratios = []
    for other in neighbours(x, 2):
        maps = [ask(frozen, one) for one in (x, other)]
        inside = [frozen.tap(one, [name], back=False).taps[0].activation for one in (x, other)]
        rise = [((a - b) / torch.where(a == 0, 1e-6, a)).norm() for a, b in (maps, inside)]
        ratios.append(float(rise[0] / rise[1]))
    assert found == pytest.approx(max(ratios))


def test_maximum_sensitivity_equals_captum():
    score, x = case()
    others, frozen = iter(neighbours(x, 3)), score.freeze(x)[1]
    ask = explain("gradient")

    def maps(inputs):  # as a tuple: of a bare tensor Captum 0.9 takes the first image's channels for several inputs
        return (ask(frozen, inputs[0] if isinstance(inputs, tuple) else inputs),)

    theirs = sensitivity_max(
        maps,
        x,
        perturb_func=lambda inputs: next(others),
        n_perturb_samples=3,
        max_examples_per_batch=1,
    )
    assert metric("max_sensitivity(samples=3)")(score, x, ask).value == pytest.approx(float(theirs))


def test_neighbours_of_another_class_do_not_count():
    """Agarwal et al. compare maps of one prediction; a neighbour beyond the border is another question."""
    score, x, _ = linear()
    with torch.no_grad():  # the image on the border between the two classes, a hair on the second one's side
        logits = score.model.module(x)[0]
        score.model.module.bias += torch.tensor([float(logits[1] - logits[0]) - 1e-6, 0.0])
    found = metric("relative_input_stability(samples=12)")(score, x, explain("input_x_gradient"))
    same = sum(int(score.model(other).argmax()) for other in neighbours(x, 12))
    assert 0 < same < 12
    assert found.numbers["neighbours"] == same


def test_without_a_neighbour_of_the_same_class_there_is_no_number():
    class Fickle(Awkward):
        def forward(self, x):
            found = super().forward(x)
            return found if torch.equal(x.cpu(), clean) else found.roll(1, 1)

    clean = batch(2, count=1)
    score = Score(seeded(Fickle, 2, "classification"), "class_score(0)")
    found = metric("relative_output_stability(samples=2)")(score, clean, explain("gradient"))
    assert (found.value, found.reason) == (None, "the prediction is another one for every neighbour")


@every_one
def test_five_axes_are_no_obstacle(name):
    """Quantus refuses volumes, or fails on them in its relative stabilities."""
    score, x = case(3)
    assert metric(f"{name}(samples=2)")(score, x, explain("gradient")).value > 0


@every_one
def test_segmentation_and_regression_are_measured_too(name):
    for task in ("segmentation", "regression"):
        score, x = case(2, task)
        assert metric(f"{name}(samples=2)")(score, x, explain("gradient")).value > 0


@every_one
def test_another_seed_gives_other_neighbours(name):
    score, x = case()
    found = {metric(f"{name}(samples=1, seed={seed})")(score, x, explain("gradient")).value for seed in (0, 0, 1)}
    assert len(found) == 2


@every_one
@pytest.mark.parametrize(("option", "value"), [("radius", 0), ("samples", 0), ("seed", -1)])
def test_impossible_options_are_refused(name, option, value):
    with pytest.raises(OptionError, match=f"{name}: {option} must be"):
        metric(f"{name}({option}={value})")


# --- nuisances


@both_ranks
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_never_changes_stays(rank, kind):
    """For moved images that is a map that moves along: here one that is read from the image."""
    score, x = case(rank, spacing_mm=(1.0, 1.5, 2.0)[:rank])
    smooth = torch.stack(torch.meshgrid(*(torch.linspace(0, 1, n).double() for n in x.shape[2:]), indexing="ij")).sum(0)
    image = smooth.expand_as(x).clone()
    constant = kind in ("rotation", "spacing")
    found = metric(f"nuisance(of={kind!r}, samples=2)")(
        score, image, (lambda score, x: x) if constant else lambda score, x: image
    )
    assert found.value == pytest.approx(1, abs=1e-3)


@both_ranks
@pytest.mark.parametrize("kind", KINDS)
def test_a_stronger_nuisance_moves_a_gradient_further(rank, kind):
    score, x = case(rank)
    weak, strong = {"spacing": (1.01, 2.0), "rotation": (0.5, 40), "window": (0.01, 0.5)}.get(kind, (0.01, 0.8))
    ask = explain("gradient")
    found = [metric(f"nuisance(of={kind!r}, strength={one})")(score, x, ask).value for one in (weak, strong)]
    assert found[1] < found[0] <= 1


def test_a_map_that_stays_behind_when_the_image_turns_is_found_out():
    score, x = case()
    still = CONTROLS["random_map"](x)
    fixed = metric("nuisance(of='rotation', strength=30)")(score, x, lambda score, x: still)
    assert fixed.value < 0.6


def test_what_was_turned_out_of_the_image_does_not_count():
    """Corners come back as the border; a map that is large there must not be blamed for it."""
    score, x = case()
    ramp = torch.linspace(-1, 1, x.shape[2]).double()[:, None] * torch.linspace(-1, 1, x.shape[3]).double()
    found = metric("nuisance(of='rotation', strength=25, sign='signed')")(
        score, ramp.expand_as(x).clone(), lambda score, x: x
    )
    assert found.value > 0.97


@both_ranks
def test_the_region_of_a_segmentation_turns_with_the_image(rank):
    counting = Counting()
    score, x = case(rank, "segmentation")
    metric("nuisance(of='rotation', strength=80, samples=3)")(score, x, counting)
    clean, *turned = [asked.choice.region for asked, _ in counting.asked]
    assert all(not torch.equal(one, clean) for one in turned)
    assert all(one.any() for one in turned)


def test_a_thin_volume_that_turns_out_of_view_has_no_number():
    """Two planes, tilted: no voxel comes back from within them, or some do where the tilt is small."""
    x = batch(3, count=1)[..., :2]
    score = Score(seeded(Linear, tuple(x.shape[1:])), "class_score(0)")
    ask = explain("input_x_gradient")
    specs = [f"nuisance(of='rotation', strength=80, samples=1, seed={seed})" for seed in range(6)]
    found = [metric(spec)(score, x, ask) for spec in specs]
    assert {one.reason for one in found if one.value is None} == {"nothing of the image stayed in view"}
    assert all(-1 <= one.value <= 1 for one in found if one.value is not None)


def test_turns_are_counted_in_degrees_and_millimetres():
    """By 90 degrees a bar of 4 voxels of 3 mm becomes one of 12 voxels of 1 mm."""
    x = torch.zeros(1, 1, 9, 27, dtype=torch.float64)
    x[0, 0, 2:7, 13] = 1
    score = Score(seeded(Linear, (1, 9, 27)), "class_score(0)", spacing_mm=(3.0, 1.0))
    angles = [one.x for seed in range(40) for one in Moved(90.0, 1.0, 1, seed).inputs(score.freeze(x)[1], x)]
    longest = max(int((one[0, 0, 4] > 0.5).sum()) for one in angles)
    assert 12 <= longest <= 16


def test_the_voxel_size_is_a_multiple_of_the_own():
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    x[0, 0, 6:15, 6:15] = 1
    (one,) = Moved(0.0, 1.5, 1, 0).inputs(Score(seeded(Linear, (1, 21, 21)), "class_score(0)"), x)
    assert float(one.x.sum()) == pytest.approx((9 / 1.5) ** 2, rel=0.1)
    torch.testing.assert_close(one.back(one.x)[0, 0, 8:13, 8:13], x[0, 0, 8:13, 8:13])


def test_chance_is_the_likeness_to_a_random_map():
    score, x = case(2)
    found = metric("nuisance")(score, x, explain("gradient"))
    assert abs(found.chance) < 0.4
    assert found.value > found.chance


@pytest.mark.parametrize(
    "options", ["of='tilt'", "strength=0", "of='window', strength=1", "samples=0", "of='spacing', strength=0.1"]
)
def test_impossible_nuisances_are_refused(options):
    with pytest.raises(OptionError, match="nuisance: "):
        metric(f"nuisance({options})")
