"""Score-CAM: masks and weights by hand, every kind of weight, constant channels, and the cost."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.errors import OptionError
from voxplain.methods.score_cam import ScoreCam
from voxplain.score.model import Model
from voxplain.score.score import Score

MODES = {2: "bilinear", 3: "trilinear"}


def close(found, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


class Even(nn.Module):
    """Cells of two voxels a side that tile the input, ReLU before them, and one dead channel if asked for."""

    def __init__(self, rank=2, classes=3, dead=False):
        super().__init__()
        self.halve = {2: nn.Conv2d, 3: nn.Conv3d}[rank](2, 5, 2, stride=2)
        self.act, self.head = nn.ReLU(), nn.Linear(5, classes)
        if dead:
            with torch.no_grad():
                self.halve.weight[1], self.halve.bias[1] = 0, 0.7

    def forward(self, x):
        return self.head(self.act(self.halve(x)).flatten(2).mean(2).tanh())


def by_hand(x, activation, read, weigh):
    """Map (1, *cells) of one sample: each channel enlarged, scaled to 0..1, laid over the image, read."""
    scores, rank = [], x.ndim - 2
    for channel in range(activation.shape[1]):
        wide = functional.interpolate(activation[:, [channel]], x.shape[2:], mode=MODES[rank], align_corners=False)
        wide = (wide - wide.min()) / (wide.max() - wide.min())
        scores.append(read(x * wide))
    weights = weigh(torch.cat(scores)).reshape(1, -1, *[1] * rank)
    return (weights * activation).sum(1, keepdim=True)


def even(rank):
    return batch(rank, count=3, side=6)[..., : 8 if rank == 2 else 6]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("weights", [None, "probability", "softmax", "increase"])
def test_every_kind_of_weight_mask_by_mask(rank, weights):
    module, x = seeded(Even, rank), even(rank)
    score = Score(module, "class_score(2)")
    found = ScoreCam(layer="act", weights=weights, relu=False)(score, x)
    (tap,) = score.tap(x, ["act"]).taps
    read = {
        "probability": lambda image: module(image).softmax(1)[:, 2],
        "softmax": lambda image: module(image)[:, 2],
        "increase": lambda image: module(image)[:, 2] - module(torch.zeros_like(image))[:, 2],
    }[weights or "probability"]
    weigh = (lambda scores: scores.softmax(0)) if weights == "softmax" else (lambda scores: scores)
    for n in range(len(x)):
        expected = by_hand(x[n : n + 1], tap.activation[n : n + 1], read, weigh).detach()
        close(found.values[n : n + 1], expected)
    assert f"weights by {weights or 'probability'}" in found.notes


def test_masks_lie_where_the_cells_lie():
    """A stride of two with padding: cells at voxels 0, 2, 4 ..., not half a voxel further."""
    x = batch(2, count=1)
    module = seeded(Awkward, 2, "classification")
    score = Score(module, "class_score(0)")
    (tap,) = score.tap(x, ["first"]).taps
    assert tap.cells.start == (0.0, 0.0)
    wide = torch.zeros(6, *x.shape[2:], dtype=x.dtype)
    for channel in range(6):
        for i in range(8):
            for j in range(10):
                a, b = min(i / 2, 3), min(j / 2, 4)
                corners = [
                    (int(a), int(b)),
                    (int(a + 0.5), int(b)),
                    (int(a), int(b + 0.5)),
                    (int(a + 0.5), int(b + 0.5)),
                ]
                wide[channel, i, j] = sum(tap.activation[0, channel, p, q] for p, q in corners) / 4
    wide = (wide - wide.amin((1, 2), True)) / (wide.amax((1, 2), True) - wide.amin((1, 2), True))
    weights = module(x * wide[:, None]).softmax(1)[:, 0].detach()
    expected = (weights[:, None, None] * tap.activation[0]).sum(0)
    close(ScoreCam(layer="first", relu=False)(score, x).values[0, 0], expected)


def test_scaling_and_shifting_a_channel_leaves_its_weight():
    module, x = seeded(Even), even(2)
    score = Score(module, "class_score(2)")
    (tap,) = score.tap(x, ["halve"]).taps
    before = ScoreCam(layer="halve", relu=False)(score, x).values

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.copy = module, nn.Identity()

        def forward(self, x):
            features = self.copy(self.inner.halve(x) * 3 + 1)
            return self.inner.head(self.inner.act((features - 1) / 3).flatten(2).mean(2).tanh())

    after = ScoreCam(layer="copy", relu=False)(Score(Shifted(), "class_score(2)"), x).values
    weights = torch.linalg.lstsq(tap.activation[0].flatten(1).T, before[0].flatten()).solution
    close(after[0, 0], (weights[:, None, None] * (3 * tap.activation[0] + 1)).sum(0), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("weights", ["probability", "softmax", "increase"])
def test_a_constant_channel_weighs_nothing_and_is_told(weights):
    module, x = seeded(Even, dead=True), even(2)
    score = Score(module, "class_score(2)")
    found = ScoreCam(layer="act", weights=weights, relu=False)(score, x)
    assert "up to 1 of 5 channels of layer 'act' are constant and weigh nothing" in found.notes
    (tap,) = score.tap(x, ["act"]).taps
    assert tap.activation[:, 1].amin() == tap.activation[:, 1].amax() > 0
    read = {
        "probability": lambda image: score.output(image).softmax(1)[:, 2],
        "softmax": lambda image: score.output(image)[:, 2],
        "increase": lambda image: (score.output(image) - score.output(torch.zeros_like(image)))[:, 2],
    }[weights]
    weigh = (lambda scores: scores.softmax(0)) if weights == "softmax" else (lambda scores: scores)
    for n in range(len(x)):
        rest = tap.activation[n : n + 1, [0, 2, 3, 4]]
        close(found.values[n : n + 1], by_hand(x[n : n + 1], rest, read, weigh))


@pytest.mark.parametrize("weights", ["probability", "softmax", "increase"])
def test_a_layer_of_constants_gives_zeros(weights):
    module = seeded(Even)
    with torch.no_grad():
        module.halve.weight.zero_()
    found = ScoreCam(layer="act", weights=weights)(Score(module, "class_score(2)"), even(2))
    assert found.values.abs().max() == 0
    assert "up to 5 of 5 channels" in " ".join(found.notes)


def test_a_channel_that_differs_by_rounding_only_is_constant():
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Identity(), nn.Linear(2, 3)

        def forward(self, x):
            flat = 1 + 1e-16 * x[:, :1] + 3 * torch.finfo(x.dtype).eps * (x[:, :1] > 0)
            return self.head(self.layer(torch.cat([flat, x[:, 1:]], 1)).flatten(2).mean(2))

    found = ScoreCam(layer="layer")(Score(seeded(Rounded), "class_score(0)"), batch(2))
    assert "up to 1 of 2 channels" in " ".join(found.notes)


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_every_task_has_a_default(rank, task):
    x, score = batch(rank), Score(seeded(Awkward, rank, task), target_for(task))
    found = ScoreCam(layer="second")(score, x)
    assert ("weights by increase" in found.notes) is (task == "regression")
    assert torch.isfinite(found.values).all()
    if task == "segmentation":  # over the region that was predicted from the whole image
        (tap,) = score.tap(x, ["second"]).taps
        likely = Score(seeded(Awkward, rank, task), "region(1, of='probability')")
        _, frozen = likely.freeze(x[:1])
        raw = ScoreCam(layer="second", relu=False)(score, x).values[:1]
        close(raw, by_hand(x[:1], tap.activation[:1], frozen, lambda scores: scores))


def test_probabilities_where_there_are_none_are_refused():
    score = Score(seeded(Awkward, 2, "regression"), "regression()")
    with pytest.raises(OptionError, match=r"^score_cam: weights must be 'softmax' or 'increase' for an output without"):
        ScoreCam(layer="second", weights="probability")(score, batch(2))
    with pytest.raises(OptionError, match=r"^score_cam: weights must be"):
        ScoreCam(weights="logit")


def test_one_logit_and_a_margin_have_their_own_probability():
    x = even(2)
    one = seeded(Even, 2, 1)
    found = ScoreCam(layer="act", relu=False)(Score(one, "class_score(0)"), x)
    (tap,) = Score(one, "class_score(0)").tap(x, ["act"]).taps
    read = lambda image: 1 - one(image).sigmoid()[:, 0]  # noqa: E731
    close(found.values[:1], by_hand(x[:1], tap.activation[:1], read, lambda scores: scores).detach())
    three = seeded(Even, 2, 3)
    margin = ScoreCam(layer="act", relu=False)(Score(three, "margin(2)"), x).values
    close(margin, ScoreCam(layer="act", relu=False)(Score(three, "class_score(2)"), x).values)


def test_the_class_is_that_of_the_whole_image():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    winners = module(x).argmax(1)
    assert len(winners.unique()) > 1
    found = ScoreCam(layer="second", weights="softmax")(Score(module, "class_score"), x)
    for n, winner in enumerate(winners.tolist()):
        own = ScoreCam(layer="second", weights="softmax")(Score(module, f"class_score({winner})"), x[n : n + 1])
        close(found.values[n : n + 1], own.values)


def test_it_costs_two_forwards_and_one_a_channel():
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2, count=3)
    with FlopCounterMode(display=False) as one:
        model(x)
    for weights, more in (("probability", 0), ("increase", 1)):
        with FlopCounterMode(display=False) as whole:
            ScoreCam(layer="second", weights=weights)(Score(model, "class_score"), x)
        cost = whole.get_total_flops() / one.get_total_flops()
        assert cost == pytest.approx(2 + more + 6, abs=0.05)


def test_masks_are_made_chunk_by_chunk():
    """Never more of them at a time than a chunk holds."""
    sizes = []

    class Spying(Score):
        def stream(self, count, make, **options):
            def measured(index):
                made = make(index)
                sizes.append(len(made[0]))
                return made

            return super().stream(count, measured, **options)

    ScoreCam(layer="second")(Spying(seeded(Awkward, 2, "classification"), "class_score(0)", chunk=2), batch(2))
    assert max(sizes) == 2
    assert sum(sizes) == 2 * 6
