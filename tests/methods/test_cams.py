"""The relatives of class activation maps, each written out place by place, and what holds between them."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.methods.cam import Cam, GradientCam
from voxplain.methods.eigen_cam import EigenCam
from voxplain.methods.gated_grad_cam import GatedGradCam
from voxplain.methods.grad_cam import GradCam
from voxplain.methods.grad_cam_pp import GradCamPp
from voxplain.methods.hires_cam import HiresCam
from voxplain.methods.layer_cam import LayerCam
from voxplain.methods.xgrad_cam import XgradCam
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Quantity

FORMULAS: tuple[type[GradientCam], ...] = (GradCam, GatedGradCam, GradCamPp, HiresCam, LayerCam, XgradCam)
EVERY = (*FORMULAS, EigenCam)

every = pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.name)
kinds = pytest.mark.parametrize(("rank", "task"), KINDS)
ranks = pytest.mark.parametrize("rank", [2, 3])


def close(found, expected, rtol=1e-10, atol=1e-13):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def by_hand(cls, activation, gradient):
    """The map (*cells) of one sample, channel by channel and place by place, as the papers write it."""
    cam = torch.zeros(activation.shape[1:], dtype=torch.float64)
    for a, g in zip(activation, gradient, strict=True):
        places = list(zip(a.flatten().tolist(), g.flatten().tolist(), strict=True))
        weight: float | torch.Tensor
        if cls is GradCam:
            weight = sum(slope for _, slope in places) / len(places)
        elif cls is GatedGradCam:
            weight = sum(slope for value, slope in places if slope > 0 and value > 0) / len(places)
        elif cls is GradCamPp:
            total, weight = sum(value for value, _ in places), 0.0
            for _, slope in places:
                alpha = slope**2 / (2 * slope**2 + total * slope**3) if slope != 0 else 0.0
                weight += alpha * max(slope, 0.0)
        elif cls is XgradCam:
            total = sum(value for value, _ in places)
            weight = sum(value / total * slope for value, slope in places) if total != 0 else 0.0
        else:
            weight = g if cls is HiresCam else torch.where(g > 0, g, 0.0)
        cam += weight * a
    return cam


# --- formulas ------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("cls", FORMULAS, ids=lambda cls: cls.name)
@pytest.mark.parametrize("relu", [True, False])
def test_formula_place_by_place(rank, task, cls, relu):
    score, x = Score(seeded(Awkward, rank, task), target_for(task)), batch(rank)
    found = cls(layer="second", relu=relu)(score, x)
    (tap,) = score.tap(x, ["second"]).taps
    assert (tap.activation < 0).any()
    assert (tap.gradient < 0).any()
    for n in range(len(x)):
        expected = by_hand(cls, tap.activation[n], tap.gradient[n])
        close(found.values[n, 0], torch.where(expected > 0, expected, 0.0) if relu else expected)


class Rectified(nn.Module):
    """ReLU layers without biases, ending in pooling and a linear layer: a piecewise linear network through zero."""

    def __init__(self, rank: int, bias: bool = False) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.first, self.second = conv(2, 5, 3, stride=2, bias=bias), conv(5, 4, 3, padding=1, bias=bias)
        self.relu, self.last = nn.ReLU(), nn.ReLU()
        self.head = nn.Linear(4, 3, bias=bias)

    def forward(self, x):
        return self.head(self.last(self.second(self.relu(self.first(x)))).flatten(2).mean(2))


@ranks
@pytest.mark.parametrize("cls", FORMULAS, ids=lambda cls: cls.name)
def test_formula_after_a_relu_with_dead_channels(rank, cls):
    module, x = seeded(Rectified, rank), batch(rank)
    with torch.no_grad():
        module.first.weight[3] = 0  # this channel is dead
    score = Score(module, "class_score(0)")
    found = cls(layer="relu", relu=False)(score, x).values
    (tap,) = score.tap(x, ["relu"]).taps
    assert (tap.activation.flatten(2).amax(2) == 0).any()
    assert torch.isfinite(found).all()
    for n in range(len(x)):
        close(found[n, 0], by_hand(cls, tap.activation[n], tap.gradient[n]))


@every
def test_the_quantity_follows_the_cut(cls):
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    cut, kept = cls(layer="second", relu=True)(score, x), cls(layer="second", relu=False)(score, x)
    assert (cut.quantity, kept.quantity) == (Quantity.SALIENCY, Quantity.RELEVANCE)
    assert (kept.values < 0).any()
    close(cut.values, kept.values.clamp_min(0))
    assert cls(layer="second")(score, x).quantity is cls.quantity


# --- laws ----------------------------------------------------------------------------------------------------------


@ranks
def test_hires_cam_equals_grad_cam_where_pooling_and_a_linear_layer_follow(rank):
    score, x = Score(seeded(Awkward, rank, "classification"), "class_score(2)"), batch(rank)
    close(HiresCam(layer="drop")(score, x).values, GradCam(layer="drop")(score, x).values)
    earlier = [cls(layer="second", relu=False)(score, x).values for cls in (HiresCam, GradCam)]
    assert not torch.allclose(*earlier), "elsewhere they differ"


@ranks
def test_hires_cam_sums_to_the_score_less_the_bias_where_all_that_follows_is_linear(rank):
    """Also where the head sees places, which Grad-CAM does not."""

    class Sighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = seeded(Awkward, rank, "segmentation").first, nn.LazyLinear(3)

        def forward(self, x):
            return self.head(self.features(x).flatten(1))

    module, x = Sighted().double(), batch(rank)
    module(x)
    score = Score(module, "class_score(1)")
    found = HiresCam(layer="features", relu=False)(score, x).values
    close(found.flatten(1).sum(1), score(x) - module.head.bias[1].detach(), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(GradCam(layer="features", relu=False)(score, x).values.flatten(1).sum(1), score(x))


@ranks
@pytest.mark.parametrize("cls", [XgradCam, HiresCam])
@pytest.mark.parametrize("layer", ["relu", "last"])
def test_the_sum_is_the_score_of_a_relu_network_without_biases(rank, cls, layer):
    score, x = Score(seeded(Rectified, rank), "class_score(1)"), batch(rank)
    found = cls(layer=layer, relu=False)(score, x).values
    close(found.flatten(1).sum(1), score(x), rtol=1e-9, atol=1e-12)


def test_xgrad_cam_does_not_sum_to_a_score_with_biases_in_between():
    score, x = Score(seeded(Rectified, 2, bias=True), "class_score(1)"), batch(2)
    found = XgradCam(layer="relu", relu=False)(score, x).values
    assert not torch.allclose(found.flatten(1).sum(1), score(x), rtol=1e-3)


def test_a_channel_that_sums_to_nothing_weighs_nothing():
    """Its shares are not defined: activations that cancel in XGrad-CAM, a denominator of nothing in Grad-CAM++."""
    activation = torch.tensor([[[[1.0, -1.0], [2.0, -2.0]], [[1.0, 2.0], [0.0, 1.0]]]], dtype=torch.float64)
    gradient = torch.tensor([[[[3.0, 1.0], [0.5, 2.0]], [[1.0, 0.0], [2.0, 1.0]]]], dtype=torch.float64)
    alone = by_hand(XgradCam, activation[0, 1:], gradient[0, 1:])
    close(XgradCam()._cam(activation, gradient)[0, 0], alone)
    activation = torch.full((1, 1, 1, 2), -0.5, dtype=torch.float64)
    gradient = torch.tensor([[[[2.0, 1.0]]]], dtype=torch.float64)
    close(GradCamPp()._cam(activation, gradient), activation * 1.0)  # 2 - 1 * 2 is nothing; 1 / (2 - 1 * 1) is one


@ranks
def test_layer_cam_equals_hires_cam_where_no_gradient_is_negative(rank):
    module = seeded(Rectified, rank)
    with torch.no_grad():
        module.second.weight.abs_()
        module.head.weight.abs_()
    score, x = Score(module, "class_score(0)"), batch(rank)
    close(LayerCam(layer="relu")(score, x).values, HiresCam(layer="relu")(score, x).values)


def test_gated_grad_cam_equals_grad_cam_where_both_gates_are_open():
    class Open(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.head = nn.Softplus(), nn.Linear(2, 3)

        def forward(self, x):
            return self.head(self.lift(x).flatten(2).mean(2))

    module = seeded(Open)
    with torch.no_grad():
        module.head.weight.abs_()
    score, x = Score(module, "class_score(2)"), batch(2)
    close(GatedGradCam(layer="lift")(score, x).values, GradCam(layer="lift", relu=False)(score, x).values)
    with torch.no_grad():
        module.head.weight[:, 0].neg_()
    closed = Score(module, "class_score(2)")
    assert not torch.allclose(GatedGradCam(layer="lift")(closed, x).values, GradCam(layer="lift")(closed, x).values)


def test_grad_cam_pp_weighs_between_nothing_and_half_the_positive_gradients():
    score, x = Score(seeded(Rectified, 2), "class_score(0)"), batch(2)
    (tap,) = score.tap(x, ["relu"]).taps
    most = (tap.gradient.relu().sum((2, 3), keepdim=True) / 2 * tap.activation).sum(1, keepdim=True)
    found = GradCamPp(layer="relu")(score, x).values
    assert (found >= 0).all()
    assert (found <= most + 1e-12).all()


def test_grad_cam_pp_of_faint_gradients_is_not_swamped_by_a_constant():
    """Gradients a million times smaller leave alpha at one half: half the sum of the positive ones."""
    module, x = seeded(Rectified, 2), batch(2)
    with torch.no_grad():
        module.head.weight *= 1e-9
    score = Score(module, "class_score(0)")
    (tap,) = score.tap(x, ["relu"]).taps
    half = (tap.gradient.relu().sum((2, 3), keepdim=True) / 2 * tap.activation).sum(1, keepdim=True)
    close(GradCamPp(layer="relu")(score, x).values, half, rtol=1e-6, atol=0)


@ranks
def test_eigen_cam_has_the_largest_variance_of_all_weights_of_unit_length(rank):
    score, x = Score(seeded(Awkward, rank, "classification"), "class_score(0)"), batch(rank)
    found = EigenCam(layer="second")(score, x).values
    (tap,) = score.tap(x, ["second"]).taps
    for n in range(len(x)):
        columns = tap.activation[n].flatten(1)
        largest = torch.linalg.eigvalsh(columns.cov(correction=0))[-1]
        close(found[n].var(correction=0), largest)
        assert abs(found[n].mean()) < 1e-12


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("layer", ["second", "first"])
def test_eigen_cam_is_the_first_component_high_where_the_channels_are(centred, layer):
    """Both Gram matrices: six channels at few places, and at many."""
    module = seeded(Awkward, 2, "classification")
    x = batch(2, side=4 if layer == "first" else 12)[..., : 4 if layer == "first" else None]
    score = Score(module, "class_score(0)")
    found = EigenCam(layer=layer, centred=centred)(score, x).values
    (tap,) = score.tap(x, [layer]).taps
    assert (tap.activation[0, 0].numel() < 6) is (layer == "first")
    for n in range(len(x)):
        columns = tap.activation[n].flatten(1).T
        columns = columns - columns.mean(0) if centred else columns
        loadings = torch.linalg.svd(columns, full_matrices=False).Vh[0]
        close(found[n].flatten(), columns @ loadings * loadings.sum().sign(), rtol=1e-9, atol=1e-11)


def test_eigen_cam_turns_its_map_the_same_way_where_the_loadings_balance():
    """After a norm over channels the loadings sum to nothing but rounding: then their first largest is positive."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 6, 3), nn.GroupNorm(1, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            x = self.first(x)
            x = self.norm(x - x.mean(1, keepdim=True))
            return self.head(x.flatten(2).mean(2))

    score, x = Score(seeded(Normed), "class_score(0)"), batch(2)
    found = EigenCam(layer="norm")(score, x).values
    (tap,) = score.tap(x, ["norm"]).taps
    assert tap.activation.sum(1).abs().max() < 1e-12
    for n in range(len(x)):
        columns = tap.activation[n].flatten(1).T
        columns = columns - columns.mean(0)
        loadings = torch.linalg.svd(columns, full_matrices=False).Vh[0]
        assert loadings.sum().abs() < 1e-9
        turned = loadings * loadings[loadings.abs().argmax()].sign()
        close(found[n].flatten(), columns @ turned, rtol=1e-9, atol=1e-11)


def test_eigen_cam_does_not_ask_the_target_and_a_constant_layer_gives_zeros():
    module, x = seeded(Rectified, 2), batch(2)
    maps = [EigenCam(layer="relu")(Score(module, f"class_score({c})"), x).values for c in range(3)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    with torch.no_grad():
        module.first.weight.zero_()
    assert EigenCam(layer="relu")(Score(module, "class_score(0)"), x).values.abs().max() == 0


# --- one family ----------------------------------------------------------------------------------------------------


@every
def test_class_zero_is_a_class_like_others(cls):
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    with torch.no_grad():
        winners = module(x).argmax(1)
    assert (winners != 0).any()
    found = cls(layer="second")(Score(module, "class_score(0)"), x)
    assert (found.classes == 0).all()
    (tap,) = Score(module, "class_score(0)").tap(x, ["second"]).taps
    if cls in FORMULAS:
        raw = cls(layer="second", relu=False)(Score(module, "class_score(0)"), x).values
        close(raw[3, 0], by_hand(cls, tap.activation[3], tap.gradient[3]))


@every
def test_layers_come_as_siblings_each_as_if_asked_alone(cls):
    score, x = Score(seeded(Awkward, 3, "classification"), "class_score(0)"), batch(3)
    first = cls(layer=("drop", "first", "second"))(score, x)
    assert [one.layer for one in (first, *first.siblings)] == ["drop", "first", "second"]
    for one in (first, *first.siblings):
        alone = cls(layer=one.layer)(score, x)
        close(one.values, alone.values, rtol=1e-12, atol=1e-15)
        assert (one.cells, one.quantity, one.unit) == (alone.cells, alone.quantity, alone.unit)


@every
def test_a_layer_chosen_automatically_is_named(cls):
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    found = cls()(score, x)
    assert found.notes[0] == f"layer {found.layer!r} was chosen automatically"
    close(found.values, cls(layer=found.layer)(score, x).values)


@every
def test_no_layers_at_all_and_unknown_ones_are_refused(cls):
    with pytest.raises(OptionError, match=rf"^{cls.name}: layer must be a name or a list of names, got \(\)"):
        cls(layer=())
    with pytest.raises(OptionError, match=r"unknown layer 'secnd'; did you mean 'second'\?"):
        cls(layer="secnd")(Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2))


@pytest.mark.parametrize("cls", [GradCamPp, XgradCam])
def test_negative_activations_are_told_where_the_definition_was_not_meant_for_them(cls):
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    (note,) = cls(layer="second")(score, x).notes
    assert note == f"layer 'second' has negative activations, for which {cls.title} was not meant"
    assert Score(seeded(Rectified, 2), "class_score(0)").tap(x, ["relu"]).taps[0].activation.min() >= 0
    assert cls(layer="relu")(Score(seeded(Rectified, 2), "class_score(0)"), x).notes == ()


def test_the_base_stands_for_no_method():
    for cls in (Cam, GradientCam):
        with pytest.raises(TypeError):
            cls()


def test_float32_stays_near_the_truth():
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    for cls in EVERY:
        truth = cls(layer="second")(Score(module, "class_score(0)"), x).values
        single = cls(layer="second")(Score(Model.of(seeded(Awkward, 2, "classification").float()), "class_score(0)"), x)
        assert single.values.dtype == torch.float32
        close(single.values.double(), truth, rtol=1e-4, atol=1e-5 * float(truth.abs().max()))


# --- cost ----------------------------------------------------------------------------------------------------------


def flops(job) -> int:
    with FlopCounterMode(display=False) as counter:
        job()
    return counter.get_total_flops()


def passes(score, job) -> int:
    """FLOPs of the passes that the job, given the score, asks for; products in the maps' formulas are not in it."""
    spent = []

    def counted(asks):
        found = []
        spent.append(flops(lambda: found.extend(score.ask(asks))))
        return found

    bound = copy.copy(score)
    bound.ask = counted
    job(bound)
    return sum(spent)


@ranks
def test_all_of_them_at_all_layers_cost_one_forward_and_one_backward_to_the_deepest(rank):
    model, x = Model.of(seeded(Awkward, rank, "classification")), batch(rank, count=3)
    score, layers = Score(model, "class_score"), ("drop", "first", "second")
    deepest = flops(lambda: score.tap(x, ["first"]))
    assert flops(lambda: model(x)) < deepest < flops(lambda: score.grad(x))
    jobs = [lambda bound, cls=cls: cls(layer=layers)(bound, x) for cls in EVERY]
    found = []
    assert passes(score, lambda asked: found.extend(together([(asked, job) for job in jobs]))) == deepest
    for cls, shared in zip(EVERY, found, strict=True):
        alone = cls(layer=layers)(score, x)
        for one, other in zip((shared, *shared.siblings), (alone, *alone.siblings), strict=True):
            close(one.values, other.values, rtol=1e-12, atol=1e-15)


def test_on_a_resnet_they_share_one_pass_too():
    torchvision = pytest.importorskip("torchvision")
    model, x = Model.of(seeded(torchvision.models.resnet18, num_classes=3)), batch(2, channels=3, side=32)[..., :32]
    score, layers = Score(model, "class_score"), ("layer2", "layer3", "layer4")
    deepest = flops(lambda: score.tap(x, ["layer2"]))
    jobs = [lambda bound, cls=cls: cls(layer=layers)(bound, x) for cls in EVERY]
    assert passes(score, lambda asked: together([(asked, job) for job in jobs])) == deepest
    assert deepest < 2 * flops(lambda: model(x))
    last = flops(lambda: HiresCam(layer="layer4")(score, x))
    assert last == pytest.approx(flops(lambda: model(x)), rel=1e-3)


def test_a_list_of_layers_is_read_from_text():
    built = method("grad_cam(layer=['first', 'second'])")
    assert built == GradCam(layer=("first", "second"))


def test_a_layer_that_runs_twice_is_refused():
    with pytest.raises(InputError, match="runs 2 times"):
        HiresCam(layer="norm")(Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2))
