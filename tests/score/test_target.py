"""Which number is meant: every target, every field of it, every head, against plain arithmetic on the output."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from voxplain.errors import InputError, OptionError
from voxplain.score.choice import probabilities, resolved, scores
from voxplain.score.target import TARGETS, ClassScore, Region, target

F64 = torch.float64

LOGITS = torch.tensor([[0.5, 2.0, -1.0, 1.5], [3.0, -2.0, 0.0, 1.0], [-1.0, -2.0, -0.5, -4.0]], dtype=F64)
ONE_LOGIT = torch.tensor([[0.7], [-1.3], [0.0]], dtype=F64)


def maps(*space: int, classes: int = 3, count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, classes, *space, generator=generator, dtype=F64)


def read(spec: str, output: torch.Tensor, head: str = "auto", mask: torch.Tensor | None = None) -> torch.Tensor:
    asked = target(spec)
    return asked.read(output, asked.choose(output, head, mask), head)


def close(found: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=F64), rtol=1e-12, atol=1e-14)


# --- heads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "head", "stands_for"),
    [
        (1, "auto", "one_logit"),
        (4, "auto", "softmax"),
        (1, "multi_label", "multi_label"),
        (4, "multi_label", "multi_label"),
        (1, "softmax", "softmax"),
        (1, "regression", "regression"),
        (1, "one_logit", "one_logit"),
    ],
)
def test_auto_takes_one_channel_as_one_logit_and_several_as_softmax(channels, head, stands_for):
    assert resolved(torch.zeros(2, channels), head) == stands_for


def test_a_one_logit_head_with_several_outputs_is_refused():
    with pytest.raises(InputError, match=r"^a one_logit head must have 1 output, got 4$"):
        read("class_score(0)", LOGITS, "one_logit")


def test_a_one_logit_becomes_two_classes():
    close(scores(ONE_LOGIT, "auto"), [[-0.7, 0.7], [1.3, -1.3], [0.0, 0.0]])


@pytest.mark.parametrize(("head", "output"), [("softmax", LOGITS), ("one_logit", ONE_LOGIT), ("auto", LOGITS)])
def test_probabilities_of_exclusive_classes_sum_to_one(head, output):
    close(probabilities(output, head).sum(1), [1.0, 1.0, 1.0])


def test_probabilities_of_a_one_logit_are_the_sigmoid_and_its_rest():
    close(probabilities(ONE_LOGIT, "auto")[0], [1 - 1 / (1 + math.exp(-0.7)), 1 / (1 + math.exp(-0.7))])


def test_probabilities_of_several_labels_are_a_sigmoid_each():
    close(probabilities(LOGITS, "multi_label"), 1 / (1 + torch.exp(-LOGITS)))


def test_probabilities_of_maps_are_taken_across_classes_not_space():
    close(probabilities(maps(4, 5), "auto").sum(1), torch.ones(2, 4, 5))


def test_a_regression_has_no_probabilities():
    with pytest.raises(InputError, match=r"^the output of a regression model has no probabilities; use regression\(\)"):
        read("region(0, over='whole', of='probability')", maps(4, 4), "regression")


@pytest.mark.parametrize("name", ["class_score", "probability", "margin"])
def test_a_regression_has_no_classes(name):
    with pytest.raises(InputError, match=rf"^{name}: a regression model has no classes; use regression\(\) as target$"):
        read(f"{name}(0)", LOGITS, "regression")


@pytest.mark.parametrize(("of", "unit"), [("logit", "logits"), ("probability", "probability")])
def test_a_region_tells_the_unit_of_what_it_reads(of, unit):
    assert target(f"region(1, of='{of}')").unit == unit


# --- classification ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(4))
def test_class_score_is_the_logit_of_the_class(index):
    close(read(f"class_score({index})", LOGITS), LOGITS[:, index])


def test_without_a_class_each_sample_gets_its_own_highest():
    close(read("class_score", LOGITS), [2.0, 3.0, -0.5])
    assert ClassScore().choose(LOGITS, "auto", None).index.tolist() == [1, 0, 2]


def test_class_score_of_a_one_logit_is_the_logit_and_minus_it():
    close(read("class_score(1)", ONE_LOGIT), ONE_LOGIT[:, 0])
    close(read("class_score(0)", ONE_LOGIT), -ONE_LOGIT[:, 0])


def test_the_predicted_class_of_a_one_logit_has_the_positive_score():
    close(read("class_score", ONE_LOGIT), [0.7, 1.3, 0.0])


def test_probability_is_softmax_or_sigmoid_by_head():
    close(read("probability(2)", LOGITS), LOGITS.softmax(1)[:, 2])
    close(read("probability(2)", LOGITS, "multi_label"), LOGITS.sigmoid()[:, 2])
    close(read("probability(0)", ONE_LOGIT), (-ONE_LOGIT[:, 0]).sigmoid())


def test_margin_is_the_class_less_the_runner_up_of_each_sample():
    close(read("margin", LOGITS), [2.0 - 1.5, 3.0 - 1.0, -0.5 + 1.0])
    close(read("margin(3)", LOGITS), [1.5 - 2.0, 1.0 - 3.0, -4.0 + 0.5])


def test_margin_against_a_named_class():
    close(read("margin(1, against=2)", LOGITS), LOGITS[:, 1] - LOGITS[:, 2])


def test_margin_of_a_one_logit_is_the_log_odds():
    chance = ONE_LOGIT[:, 0].sigmoid()
    close(read("margin(1)", ONE_LOGIT), torch.log(chance / (1 - chance)))
    close(read("margin(0)", ONE_LOGIT), -torch.log(chance / (1 - chance)))


def test_margin_of_several_labels_compares_logits():
    close(read("margin(1)", LOGITS, "multi_label"), [0.5, -5.0, -1.5])


def test_margin_between_a_class_and_itself_is_refused():
    with pytest.raises(InputError, match=r"^margin: the rival must be another class, got 2 against itself$"):
        read("margin(2, against=2)", LOGITS)
    with pytest.raises(InputError, match=r"against itself"):
        read("margin(against=1)", LOGITS)  # the first sample's own class


def test_margin_needs_two_classes():
    with pytest.raises(InputError, match=r"^margin: the model must have at least 2 classes, got 1$"):
        read("margin(0)", ONE_LOGIT, "multi_label")


def test_the_rival_is_kept_when_the_order_changes():
    asked = target("margin")
    choice = asked.choose(LOGITS, "auto", None)
    changed = LOGITS.clone()
    changed[0] = torch.tensor([9.0, 2.0, -1.0, 1.0])
    close(asked.read(changed, choice, "auto")[0], 2.0 - 1.0)


def test_regression_is_the_output_less_the_reference():
    close(read("regression", LOGITS, "regression"), LOGITS[:, 0])
    close(read("regression(2, reference=-1.5)", LOGITS, "regression"), LOGITS[:, 2] + 1.5)


def test_regression_of_one_output_is_not_read_as_a_logit():
    close(read("regression", ONE_LOGIT), ONE_LOGIT[:, 0])


@pytest.mark.parametrize("spec", ["class_score({})", "probability({})", "margin({})", "margin(0, against={})"])
@pytest.mark.parametrize("wrong", [-1, 4, 99])
def test_a_class_out_of_range_is_told_with_the_range(spec, wrong):
    with pytest.raises(InputError, match=rf": class must be between 0 and 3, got {wrong}$"):
        read(spec.format(wrong), LOGITS)


def test_a_one_logit_head_has_classes_0_and_1():
    with pytest.raises(InputError, match=r"class must be between 0 and 1, got 2"):
        read("class_score(2)", ONE_LOGIT)


# --- regions -------------------------------------------------------------------------------------------------------


def regions_of(spec: str, output: torch.Tensor, head: str = "auto", mask: torch.Tensor | None = None) -> np.ndarray:
    return target(spec).choose(output, head, mask).region.numpy()


@pytest.mark.parametrize("space", [(6, 7), (4, 5, 6)])
def test_the_predicted_region_is_where_the_class_wins(space):
    output = maps(*space)
    region = (output.argmax(1) == 2).numpy()
    assert (regions_of("region(2)", output) == region).all()
    for n, value in enumerate(read("region(2)", output)):
        assert float(value) == pytest.approx(float(output[n, 2].numpy()[region[n]].mean()), rel=1e-12)


def test_the_predicted_region_of_a_one_logit_is_where_the_sign_says_so():
    output = maps(6, 7, classes=1)
    assert (regions_of("region(1)", output) == (output[:, 0] > 0).numpy()).all()
    assert (regions_of("region(0)", output) == (output[:, 0] < 0).numpy()).all()
    inside = output[0, 0] < 0
    close(read("region(0)", output)[0], -output[0, 0][inside].mean())


def test_the_predicted_region_of_several_labels_is_above_one_half():
    output = maps(6, 7)
    assert (regions_of("region(1)", output, "multi_label") == (output[:, 1].sigmoid() > 0.5).numpy()).all()


def test_the_whole_image():
    output = maps(4, 5)
    close(read("region(1, over='whole')", output), output[:, 1].mean((1, 2)))


def test_the_sum_instead_of_the_mean():
    output = maps(4, 5)
    close(read("region(1, over='whole', reduce='sum')", output), output[:, 1].sum((1, 2)))


def test_probabilities_instead_of_logits():
    output = maps(4, 5)
    close(read("region(1, over='whole', of='probability')", output), output.softmax(1)[:, 1].mean((1, 2)))
    soft = read("region(1, over='whole', of='probability')", output, "multi_label")
    close(soft, output.sigmoid()[:, 1].mean((1, 2)))


def test_a_given_mask_of_any_numbers_for_all_samples_or_one_each():
    output = maps(4, 5)
    mask = torch.zeros(1, 4, 5)
    mask[0, 1, 2:4] = torch.tensor([1.0, 7.0])
    close(read("region(2, over='mask')", output, mask=mask), output[:, 2, 1, 2:4].mean(1))
    each = torch.zeros(2, 4, 5, dtype=torch.int64)
    each[0, 0, 0], each[1, 3, 4] = 1, 2
    close(read("region(2, over='mask')", output, mask=each), [output[0, 2, 0, 0], output[1, 2, 3, 4]])


def test_a_box_ends_before_its_last_corner():
    output = maps(4, 5, 6)
    close(read("region(1, over='box', box=(1, 0, 2, 3, 2, 5))", output), output[:, 1, 1:3, 0:2, 2:5].flatten(1).mean(1))
    flat = maps(4, 5)
    close(read("region(0, over='box', box=(0, 4, 4, 5))", flat), flat[:, 0, :, 4].mean(1))


def test_one_voxel():
    output = maps(4, 5, 6)
    close(read("region(1, over='voxel', voxel=(3, 0, 5))", output), output[:, 1, 3, 0, 5])


def blobs() -> torch.Tensor:
    """Two samples with three blobs of class 1, of 1, 6 and 4 voxels; diagonal neighbours are no neighbours."""
    output = torch.zeros(2, 2, 7, 8, dtype=F64)
    output[:, 0] = 1
    for sample, flipped in enumerate((False, True)):
        inside = torch.zeros(7, 8, dtype=torch.bool)
        inside[0, 0] = inside[1:3, 1:4] = inside[5:7, 6:8] = True
        inside = inside.flip(0) if flipped else inside
        output[sample, 1][inside] = torch.arange(2.0, 13.0, dtype=F64)
    return output


@pytest.mark.parametrize(("rank", "size"), [(1, 6), (2, 4), (3, 1)])
def test_components_are_counted_by_size_in_each_sample(rank, size):
    found = regions_of(f"region(1, over='component', component={rank})", blobs())
    assert found.sum((1, 2)).tolist() == [size, size]
    assert (found[0] == found[1][::-1]).all()


@given(st.integers(0, 200))
def test_components_are_those_of_scipy_sorted_by_size(seed):
    output = maps(5, 6, 4, classes=2, count=1, seed=seed)
    predicted = (output.argmax(1)[0] == 1).numpy()
    labels, count = ndimage.label(predicted)
    sizes = sorted(((labels == n).sum() for n in range(1, count + 1)), reverse=True)
    for rank in range(1, min(count, 3) + 1):
        region = regions_of(f"region(1, over='component', component={rank})", output)[0]
        assert region.sum() == sizes[rank - 1]
        assert (predicted | ~region).all()
        assert len(np.unique(labels[region])) == 1


def test_values_outside_the_region_do_not_matter_not_even_infinite_ones():
    output = maps(4, 5)
    asked = target("region(1, over='box', box=(0, 0, 2, 2))")
    choice = asked.choose(output, "auto", None)
    broken = output.clone()
    broken[:, :, 3] = -torch.inf
    close(asked.read(broken, choice, "auto"), asked.read(output, choice, "auto"))


def test_the_region_is_kept_when_the_prediction_changes():
    output = maps(4, 5)
    asked = target("region(1)")
    choice = asked.choose(output, "auto", None)
    close(asked.read(-output, choice, "auto"), -asked.read(output, choice, "auto"))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("region(1)", "no voxel is predicted as class 1; use over='whole', a mask or another class"),
        ("region(1, over='component')", "the model predicts no such component"),
        ("region(0, over='component', component=2)", "the model predicts no such component"),
        ("region(1, over='mask')", "the mask has no voxel on the output's grid"),
    ],
)
def test_an_empty_region_is_an_error_that_says_what_to_do(spec, told):
    output = torch.zeros(2, 2, 4, 4)
    output[:, 0] = 1
    with pytest.raises(InputError) as caught:
        read(spec, output, mask=torch.zeros(1, 4, 4))
    assert str(caught.value).endswith(f": the region is empty: {told}")


def test_one_empty_region_in_a_batch_is_an_error_too():
    output = blobs()
    output[1, 1] = -1
    with pytest.raises(InputError, match=r"the region is empty"):
        read("region(1)", output)


def test_a_mask_of_another_shape_is_told_with_both():
    with pytest.raises(InputError) as caught:
        read("region(1, over='mask')", maps(64, 64), mask=torch.ones(1, 32, 32))
    assert str(caught.value) == "region mask is (32, 32) but the model output is (64, 64)"


@pytest.mark.parametrize("shape", [(4, 5), (1, 1, 4, 5), (1, 5, 4), (1, 4, 5, 1)])
def test_a_mask_of_another_rank_or_order_is_told(shape):
    with pytest.raises(InputError, match=r"^region mask is \(.*\) but the model output is \(4, 5\)$"):
        read("region(1, over='mask')", maps(4, 5), mask=torch.ones(shape))


def test_a_missing_mask_is_told():
    with pytest.raises(
        InputError, match=r"^region: over='mask' needs a mask; pass one with --mask \(mask= in Python\)$"
    ):
        read("region(1, over='mask')", maps(4, 5))


@pytest.mark.parametrize(
    ("spec", "got"),
    [
        ("region(1, over='box', box=(0, 0, 5, 5))", r"box .* \(4, 5\), got \(0, 0, 5, 5\)"),
        ("region(1, over='box', box=(2, 2, 2, 3))", r"box .* \(4, 5\), got \(2, 2, 2, 3\)"),
        ("region(1, over='box', box=(-1, 0, 2, 2))", r"box .* \(4, 5\), got \(-1, 0, 2, 2\)"),
        ("region(1, over='box', box=(0, 0, 0, 1, 1, 1))", r"box .* \(4, 5\), got \(0, 0, 0, 1, 1, 1\)"),
        ("region(1, over='voxel', voxel=(4, 0))", r"voxel .* \(4, 5\), got \(4, 0\)"),
        ("region(1, over='voxel', voxel=(-1, 0))", r"voxel .* \(4, 5\), got \(-1, 0\)"),
        ("region(1, over='voxel', voxel=(1, 1, 1))", r"voxel .* \(4, 5\), got \(1, 1, 1\)"),
    ],
)
def test_boxes_and_voxels_must_lie_inside(spec, got):
    with pytest.raises(InputError, match=rf"^region: {got}$".replace(" .* ", " must lie inside the model output ")):
        read(spec, maps(4, 5))


@pytest.mark.parametrize("spec", ["region(3, over='whole')", "region(-1)"])
def test_a_region_of_a_class_out_of_range_is_told(spec):
    with pytest.raises(InputError, match=r"^region: class must be between 0 and 2, got"):
        read(spec, maps(4, 5))


def test_options_of_another_place_are_refused_instead_of_ignored():
    for options in ({"box": (0, 0, 1, 1)}, {"voxel": (0, 0)}, {"component": 2}):
        (name,) = options
        with pytest.raises(OptionError, match=rf"^region: {name} must be left out unless over='{name}', got"):
            Region(1, over="whole", **options)


# --- several classes as one ------------------------------------------------------------------------------------------


def test_the_logit_of_several_classes_makes_the_probability_of_any_of_them():
    output = maps(4, 5, classes=4)
    found = read("region([1, 3], over='whole')", output)
    chance = output.softmax(1)[:, [1, 3]].sum(1)
    # log(p / (1 - p)) of the pair is their logit together less that of the rest.
    rest = torch.logsumexp(output[:, [0, 2]], 1)
    close(found, (torch.log(chance / (1 - chance)) + rest).mean((1, 2)))


def test_the_probability_of_several_classes_is_the_sum_of_theirs():
    output = maps(4, 5)
    close(read("region([0, 2], over='whole', of='probability')", output), 1 - output.softmax(1)[:, 1].mean((1, 2)))


def test_several_classes_are_read_where_any_of_them_is_predicted():
    output = maps(4, 5, 6, classes=4)
    region = np.isin(output.argmax(1).numpy(), (1, 3))
    assert (regions_of("region([1, 3])", output) == region).all()
    together = torch.logsumexp(output[:, [1, 3]], 1)
    close(read("region([3, 1])", output), [together[n][torch.as_tensor(region[n])].mean() for n in range(2)])


def test_a_component_of_several_classes_may_hold_all_of_them():
    output = torch.zeros(1, 3, 3, 6, dtype=F64)
    output[:, 0] = 1
    output[0, 1, 1, 0:2], output[0, 2, 1, 2:4] = 2, 2
    assert regions_of("region([1, 2], over='component')", output).sum() == 4


def test_every_class_of_several_reads_their_number_and_the_others_their_own():
    asked, output = target("region([0, 2], over='whole')"), maps(4, 5, classes=4)
    rows = asked.read_all(output, asked.choose(output, "auto", None), "auto")
    close(rows[:, 0], rows[:, 2])
    close(rows[:, 0], torch.logsumexp(output[:, [0, 2]], 1).mean((1, 2)))
    close(rows[:, [1, 3]], output[:, [1, 3]].mean((2, 3)))


def test_a_list_of_one_class_is_that_class():
    output = maps(4, 5)
    close(read("region([2])", output), read("region(2)", output))


def test_several_classes_that_may_meet_in_a_voxel_are_refused():
    with pytest.raises(InputError, match=r"^region\(index=\[1, 2\]\): several classes must exclude each other"):
        read("region([1, 2])", maps(4, 5), "multi_label")
    with pytest.raises(InputError, match=r"several classes must exclude each other"):
        read("region([0, 1])", maps(4, 5, classes=1))


@pytest.mark.parametrize("classes", ["[]", "[1, 1]"])
def test_several_classes_must_differ(classes):
    with pytest.raises(OptionError, match=r"^region: index must be a class number or a list of different ones, got"):
        target(f"region({classes})")


def test_each_of_several_classes_must_be_one_of_the_models():
    with pytest.raises(InputError, match=r"^region: class must be between 0 and 2, got 3$"):
        read("region([1, 3], over='whole')", maps(4, 5))


def test_several_classes_that_are_predicted_nowhere_are_all_told():
    output = torch.zeros(1, 3, 4, 4)
    output[:, 0] = 1
    with pytest.raises(InputError, match=r"no voxel is predicted as one of classes 1, 2; use over='whole'"):
        read("region([1, 2])", output)


# --- every field does something ------------------------------------------------------------------------------------

MASK = torch.zeros(1, 7, 8)
MASK[0, 4:] = 1

CHANGES = [
    ("class_score", "index", "class_score(0)", "class_score(1)", LOGITS),
    ("probability", "index", "probability(0)", "probability(1)", LOGITS),
    ("margin", "index", "margin(0)", "margin(1)", LOGITS),
    ("margin", "against", "margin(0)", "margin(0, against=2)", LOGITS),
    ("regression", "index", "regression(0)", "regression(1)", LOGITS),
    ("regression", "reference", "regression(0)", "regression(0, reference=1)", LOGITS),
    ("region", "index", "region(0)", "region(1)", blobs()),
    ("region", "index", "region(1, over='whole')", "region([0, 1], over='whole')", blobs()),
    ("region", "reduce", "region(1)", "region(1, reduce='sum')", blobs()),
    ("region", "of", "region(1)", "region(1, of='probability')", blobs()),
    ("region", "over", "region(1)", "region(1, over='whole')", blobs()),
    ("region", "over", "region(1, over='whole')", "region(1, over='mask')", blobs()),
    ("region", "over", "region(1)", "region(1, over='component')", blobs()),
    ("region", "over", "region(1, over='whole')", "region(1, over='boundary')", blobs()),
    ("volume", "index", "volume(0)", "volume([0, 1])", blobs()),
    ("soft_dice", "index", "soft_dice(0)", "soft_dice(1)", blobs()),
    ("region", "component", "region(1, over='component')", "region(1, over='component', component=2)", blobs()),
    (
        "region",
        "box",
        "region(1, over='box', box=(0, 0, 3, 3))",
        "region(1, over='box', box=(0, 0, 3, 4))",
        blobs(),
    ),
    ("region", "voxel", "region(1, over='voxel', voxel=(1, 1))", "region(1, over='voxel', voxel=(1, 2))", blobs()),
]


@pytest.mark.parametrize(("name", "field", "one", "other", "output"), CHANGES, ids=lambda value: str(value)[:30])
def test_every_field_changes_the_number(name, field, one, other, output):
    assert not torch.equal(read(one, output, mask=MASK), read(other, output, mask=MASK))


def test_no_field_is_missing_from_that_list():
    listed = {(name, field) for name, field, *_ in CHANGES}
    assert listed == {(name, field.name) for name, cls in TARGETS.items() for field in fields(cls)}


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "index", "said"),
    [
        ("class_score(2)", 2, "score (logit) of class 2 (pituitary)"),
        ("probability", 0, "probability of class 0 (glioma)"),
        ("probability", 7, "probability of class 7"),
        ("margin(0)", 0, "margin of class 0 (glioma) over its strongest rival"),
        ("margin(0, against=1)", 0, "margin of class 0 (glioma) over class 1 (meningioma)"),
        ("regression(1)", 1, "meningioma"),
        ("regression(5, reference=71.5)", 5, "output 5 minus 71.5"),
        ("region(1)", 1, "mean logit of class 1 (meningioma) over the region predicted as it"),
        (
            "region(1, over='whole', reduce='sum', of='probability')",
            1,
            "sum probability of class 1 (meningioma) over the",
        ),
        ("region(1, over='voxel', voxel=(0, 0))", 1, "over one voxel"),
        ("region(1, over='mask')", 1, "over the given mask"),
        (
            "region([1, 2])",
            1,
            "mean logit of class 1 (meningioma) + class 2 (pituitary) over the region predicted as one of them",
        ),
    ],
)
def test_each_target_is_told_with_class_names(spec, index, said):
    assert said in target(spec).words(index, ("glioma", "meningioma", "pituitary"))


# --- choices -------------------------------------------------------------------------------------------------------


def test_a_choice_of_some_samples_repeats_and_reorders_all_its_parts():
    choice = target("margin").choose(LOGITS, "auto", None)
    some = choice.take(torch.tensor([2, 0, 0]))
    assert some.index.tolist() == [2, 1, 1]
    assert some.against.tolist() == [0, 3, 3]
    region = target("region(1)").choose(blobs(), "auto", None)
    assert torch.equal(region.take(torch.tensor([1])).region[0], region.region[1])


def test_a_choice_of_more_samples_than_there_were_is_told():
    choice = target("class_score").choose(LOGITS, "auto", None)
    with pytest.raises(InputError, match=r"^the score was frozen by a batch of 3 samples, got a larger one$"):
        choice.take(torch.tensor([0, 3]))
