"""Region ablation: given labels, the background, every fill, against covering by hand."""

import pytest
import torch

from tests.nets import KINDS, Awkward, Linear, batch, seeded, target_for
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.segments import grid
from voxplain.score.score import Score


def score(rank: int = 2, task: str = "classification", **options) -> Score:
    target = "class_score(1)" if task == "classification" else target_for(task)
    return Score(seeded(Awkward, rank, task), target, **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def organs(x: torch.Tensor) -> torch.Tensor:
    """Labels 0, 5, 7, 40 on a grid, one labelling for a batch."""
    return torch.tensor([0, 7, 5, 40])[grid(x.shape[2:], 4 if x.ndim == 4 else 2) % 4][None]


def fall(asked: Score, x, inside, cover, channels=slice(None)) -> torch.Tensor:
    """The fall of each sample's score with the voxels `inside` covered in some channels."""
    clean, frozen = asked.freeze(x)
    covered = x.clone()
    covered[:, channels] = torch.where(inside, cover[:, channels], x[:, channels])
    return clean - frozen(covered)


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_a_region_has_the_fall_of_the_score_when_it_is_covered(rank, task):
    x = batch(rank)
    labels = organs(x)
    found = method("region_ablation(fill=0.3)")(score(rank, task, segments=labels), x)
    names = [name for name in labels.unique().tolist() if name]
    assert found.numbers["region_labels"] == names
    assert found.values.shape == (2, 1, *x.shape[2:])
    for place, name in enumerate(names):
        expected = fall(score(rank, task), x, labels == name, torch.full_like(x, 0.3))
        for n in range(2):
            close(found.values[n, 0][labels[0] == name].unique().squeeze(), expected[n])
            close(found.numbers["falls"][n, place], expected[n])
    assert found.values[:, 0][(labels == 0).expand(2, *x.shape[2:])].abs().max() == 0
    close(found.parts["segments"], labels[:, None].expand(2, 1, *x.shape[2:]))


@pytest.mark.parametrize("fill", FILLS)
def test_each_sample_has_a_fill_of_its_own(fill):
    x = batch(2)
    labels = organs(x)
    found = method(f"region_ablation(fill={fill!r})")(score(segments=labels), x)
    expected = fall(score(), x, labels == 5, baseline(x, fill))
    close(found.numbers["falls"][:, 0], expected)


def test_label_zero_is_covered_on_request():
    x = batch(2)
    labels = organs(x)
    found = method("region_ablation(include_zero=True)")(score(segments=labels), x)
    assert found.numbers["region_labels"] == [0, 5, 7, 40]
    close(found.values[:, 0, 0, 0], fall(score(), x, labels == 0, torch.zeros_like(x)))
    assert found.notes == ("regions: 0, 5, 7, 40",)


def test_channels_can_be_covered_each_on_its_own():
    x = batch(2)
    labels = organs(x)
    found = method("region_ablation(channels='each')")(score(segments=labels), x)
    assert found.values.shape == x.shape
    for channel in range(2):
        expected = fall(score(), x, labels == 7, torch.zeros_like(x), slice(channel, channel + 1))
        close(found.numbers["falls"][:, channel, 1], expected)
        close(found.values[:, channel][:, labels[0] == 7][:, 0], expected)


def test_on_a_linear_score_a_region_has_its_share():
    x = batch(3)
    module = seeded(Linear, tuple(x.shape[1:]))
    labels = grid(x.shape[2:], 8)[None]
    found = method("region_ablation(include_zero=True, fill=0.5)")(Score(module, "class_score(0)", segments=labels), x)
    shares = (module.weight[0].detach() * (x - 0.5)).sum(dim=1)
    expected = torch.stack([shares[:, labels[0] == n].sum(dim=1) for n in range(int(labels.max()) + 1)], dim=1)
    close(found.numbers["falls"], expected)


def test_samples_may_have_different_regions():
    x = batch(2)
    one = grid(x.shape[2:], 4)
    labels = torch.stack([one + 1, (one == 2).long() * 3])
    found = method("region_ablation")(score(segments=labels), x)
    assert found.numbers["region_labels"] == [1, 2, 3, 4]
    assert found.numbers["falls"][1].isnan().tolist() == [True, True, False, True]
    assert torch.isfinite(found.values).all()
    for n in range(2):
        alone = method("region_ablation")(score(segments=labels[n : n + 1]), x[n : n + 1])
        close(found.values[n], alone.values[0])


# --- the background --------------------------------------------------------------------------------------------------


def framed() -> torch.Tensor:
    """Images whose outer columns hold each channel's least value."""
    x = batch(2)
    x[:, 0, :, :2], x[:, 1, :, :2] = -7.0, -9.0
    return x


@pytest.mark.parametrize("options", ["", "regions='background'", "background=-6"])
def test_without_labels_the_regions_are_the_background_and_the_rest(options):
    x = framed()
    found = method(f"region_ablation({options})")(score(), x)
    dark = torch.zeros(8, 10, dtype=torch.bool)
    dark[:, :2] = True
    assert found.numbers["region_labels"] == [0, 1]
    falls = found.numbers["falls"]
    close(falls[:, 0], fall(score(), x, dark, torch.zeros_like(x)))
    close(falls[:, 1], fall(score(), x, ~dark, torch.zeros_like(x)))
    assert torch.equal(found.parts["segments"][0, 0], (~dark).long())


def test_given_labels_come_before_the_background():
    x = framed()
    assert method("region_ablation")(score(segments=organs(x)), x).numbers["region_labels"] == [5, 7, 40]
    by_choice = method("region_ablation(regions='background')")(score(segments=organs(x)), x)
    assert by_choice.numbers["region_labels"] == [0, 1]


@pytest.mark.parametrize("rank", [2, 3])
def test_costs_one_and_the_regions(rank):
    x = batch(rank)
    asked = score(rank, segments=organs(x))
    regions = len(method("region_ablation")(asked, x).numbers["region_labels"])
    assert asked.ledger.forwards == (1 + regions) * len(x)


@pytest.mark.parametrize(
    ("options", "labels", "said"),
    [
        ("regions='given'", None, "segments must be given, got none; pass segments=... or choose another segmenter"),
        ("", torch.zeros(1, 8, 10, dtype=torch.int64), "segments must hold a label besides 0, got none; "),
        ("", torch.ones(1, 8, 9, dtype=torch.int64), "segments must be (2, 8, 10) (or 1 for all samples) like the "),
        ("", None, "the background must be some but not all voxels, got none; pass background=... or give "),
        ("background=99", None, "the background must be some but not all voxels, got all; pass background=... or "),
        ("regions='given', background=0", None, "background must be left out with regions='given', got 0"),
        ("regions='background', include_zero=True", None, "include_zero must be false without labels, got True"),
    ],
)
def test_what_cannot_be_done_is_told(options, labels, said):
    with pytest.raises(InputError) as caught:
        method(f"region_ablation({options})")(score(segments=labels), batch(2))
    assert str(caught.value).startswith(f"region_ablation: {said}")
