"""Targets of whole structures and of single lesions, against closed forms."""

import pytest
import torch

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.score.score import Score
from voxplain.score.target import SoftDice, Volume, target


def output(*labels: list[list[int]]) -> torch.Tensor:
    """Logits (batch, 3, rows, columns) whose highest class is the label."""
    found = torch.tensor(labels)
    return torch.nn.functional.one_hot(found, 3).movedim(-1, 1).double() * 4


TWO = output([[1, 1, 0, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 2, 2]])
"""A component of four and one of a single voxel of class 1, one of two of class 2."""


def region(spec: str, mask: list[list[int]] | None = None) -> list[list[int]]:
    given = None if mask is None else torch.tensor([mask])
    return target(spec).choose(TWO, "auto", given).region[0].int().tolist()


def test_a_false_positive_is_a_predicted_component_that_the_mask_has_nothing_of():
    mask = [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert region("region(1, over='false_positive')", mask) == [[0, 0, 0, 0, 1], [0] * 5, [0] * 5]
    nothing = [[0] * 5] * 2 + [[1, 0, 0, 0, 0]]
    found = region("region(1, over='false_positive')", nothing)
    assert found == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5], "the largest comes first"
    assert region("region(1, over='false_positive', component=2)", nothing) == [[0, 0, 0, 0, 1], [0] * 5, [0] * 5]


def test_a_missed_one_is_a_component_of_the_mask_that_the_prediction_has_nothing_of():
    mask = [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]]
    assert region("region(1, over='missed')", mask) == [[0] * 5, [0] * 5, [1, 1, 0, 0, 0]]
    assert region("region(1, over='missed', component=2)", mask) == [[0] * 5, [0] * 5, [0, 0, 0, 1, 0]]
    assert region("region([1, 2], over='missed')", mask) == [[0] * 5, [0] * 5, [1, 1, 0, 0, 0]]


def test_the_boundary_is_what_touches_another_voxel_or_the_edge():
    whole = output([[1] * 5] * 5)
    found = target("region(1, over='boundary')").choose(whole, "auto", None).region[0]
    assert int(found.sum()) == 16
    assert not found[1:4, 1:4].any()


@pytest.mark.parametrize(("spec", "mask", "words"), [
    ("region(1, over='false_positive')", [[1] * 5] * 3, "every predicted component touches the mask"),
    ("region(1, over='missed')", [[1] * 5] * 3, "the prediction touches every component of the mask"),
    ("region(1, over='false_positive')", None, "over='false_positive' needs a mask; pass one with --mask"),
    ("soft_dice(1)", None, "soft_dice needs a mask; pass one with --mask"),
    ("soft_dice(1)", [[0] * 5] * 3, "soft_dice: the mask has no voxel"),
])  # fmt: skip
def test_what_is_not_there_is_told(spec, mask, words):
    given = None if mask is None else torch.tensor([mask])
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        target(spec).choose(TWO, "auto", given)


def test_only_components_are_counted():
    with pytest.raises(OptionError, match="component must be left out unless"):
        target("region(1, over='boundary', component=2)")
    with pytest.raises(OptionError, match="index must be a class number or a list of different ones"):
        target("volume([1, 1])")


def score(spec: str, spacing: tuple[float, ...] | None = (1.0, 2.0, 3.0), **options) -> Score:
    return Score(seeded(Awkward, 3, "segmentation"), spec, spacing_mm=spacing, **options)


X = batch(3)


def test_a_volume_is_in_millilitres():
    asked = score("volume(1)")
    probabilities = asked.model(X).softmax(dim=1)
    cells = X[0, 0].numel() / probabilities[0, 0].numel()
    expected = probabilities[:, 1].flatten(1).sum(1) * 6 * cells / 1000
    torch.testing.assert_close(asked(X), expected, rtol=1e-12, atol=0)
    both = score("volume([1, 2])")(X)
    torch.testing.assert_close(both, expected + score("volume(2)")(X), rtol=1e-12, atol=0)
    every = torch.cat([piece.values for piece in asked.freeze(X)[1].stream(
        len(X), lambda index: (X[index], index), like=X, every=True)])  # fmt: skip
    torch.testing.assert_close(every[:, 1], expected, rtol=1e-12, atol=0)


def test_voxels_of_a_coarser_output_are_larger():
    coarse = torch.nn.Conv3d(1, 2, 2, stride=2).double()
    x = torch.randn(1, 1, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = Score(coarse, "volume(1)", spacing_mm=(1.0, 2.0, 3.0))(x)
    expected = coarse(x).softmax(1)[:, 1].sum() * 6 * 8 / 1000
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_a_volume_s_gradient_is_that_of_the_millilitres():
    asked = score("volume(1)")
    found = method("gradient")(asked, X)
    step = 1e-6 * torch.randn(X.shape, generator=torch.Generator().manual_seed(0), dtype=X.dtype)
    change = asked(X + step) - asked(X - step)
    torch.testing.assert_close((found.values * step).flatten(1).sum(1) * 2, change, rtol=1e-4, atol=0)


def test_without_millimetres_there_is_no_volume():
    with pytest.raises(InputError, match="volume: the image must be a volume in millimetres"):
        score("volume(1)", spacing=None)(X)
    with pytest.raises(InputError, match="volume: the image must be a volume in millimetres"):
        Score(seeded(Awkward, 2, "segmentation"), "volume(1)", spacing_mm=(1.0, 1.0))(batch(2))


def test_soft_dice_is_the_overlap_of_probabilities_and_mask():
    output = score("volume(1)").model(X)
    mask = (torch.arange(output[0, 0].numel()) % 3 == 0).reshape(1, *output.shape[2:]).double()
    found = score("soft_dice(1)", mask=mask)(X)
    inside, all_of_it = (output.softmax(1)[:, 1] * mask), output.softmax(1)[:, 1]
    expected = 2 * inside.flatten(1).sum(1) / (all_of_it.flatten(1).sum(1) + mask.sum())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    perfect = TWO.argmax(1) == 1
    choice = SoftDice(1).choose(TWO * 100, "auto", perfect)
    assert SoftDice(1).read(TWO * 100, choice, "auto").item() == pytest.approx(1)


def test_they_say_what_they_mean():
    names = ("background", "oedema", "rim")
    assert Volume((1, 2)).words(1, names) == "volume of class 1 (oedema) + class 2 (rim)"
    assert SoftDice(2).words(2, names) == "soft Dice of class 2 (rim) and the given mask"
    assert (Volume(1).unit, SoftDice(1).unit) == ("ml", "Dice")
    told = target("region(1, over='false_positive')").words(1, names)
    assert told == "mean logit of class 1 (oedema) over a predicted component that the mask has nothing of"
