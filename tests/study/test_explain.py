"""One case from image to attribution: geometry, units, notes, certificate, provenance."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import voxplain as vx
from tests.nets import Awkward, seeded
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError
from voxplain.methods import Map, Method
from voxplain.space.affine import from_parts
from voxplain.space.grid import Grid
from voxplain.types import Access, Quantity

TILT = np.deg2rad(20)
OBLIQUE = from_parts(
    [[np.cos(TILT), 0, np.sin(TILT)], [0, -1, 0], [-np.sin(TILT), 0, np.cos(TILT)]], [1.5, 1.0, 3.0], [-40, 30, 12]
)


def volume(shape=(14, 18, 10), affine=OBLIQUE, seed=0, **named) -> Image:
    values = np.random.default_rng(seed).normal(100, 20, shape)
    return Image.of(values, Grid(shape, affine), identifier="case", **named)


def picture(columns=12, rows=9) -> Image:
    values = np.random.default_rng(1).uniform(0, 255, (columns, rows, 1))
    return Image.of(values, Grid((columns, rows, 1), np.diag([-1.0, -1, 1, 1]), "px"), identifier="picture")


class Reader(nn.Module):
    """The score of class 1 is one voxel of the input, so that a map must point at it and nowhere else."""

    def __init__(self, *place: int) -> None:
        super().__init__()
        self.place = place
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        value = self.gain * x[(slice(None), 0, *self.place)]
        return torch.stack([-value, value], dim=1)


def net(rank=3, task="classification", **options) -> nn.Module:
    return seeded(Awkward, rank, task, channels=1, **options).float()


def test_a_map_lies_on_the_images_own_grid():
    image = volume()
    found = vx.explain(net(), image, "gradient", prepare=Prepare(orientation="RAS", spacing_mm=(2.0, 2.0, 2.0)))
    assert found.grid.same_as(image.grid)
    assert found.values.shape == (1, *image.grid.shape)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients(steps=2)", "occlusion(window=1)"])
def test_an_unprepared_voxel_is_pointed_at_exactly(method):
    found = vx.explain(Reader(3, 7, 5), volume((5, 9, 7)), method, target="class_score(1)")
    values = found.values[0]
    assert np.unravel_index(np.abs(values).argmax(), values.shape) == (3, 7, 5)
    assert np.count_nonzero(values) == 1


def test_rows_and_columns_of_a_picture_are_not_swapped():
    """A network reads [row, column]; the image's first axis is the column."""
    found = vx.explain(Reader(2, 7), picture(), "gradient", target="class_score(1)")
    assert np.flatnonzero(found.values[0, :, :, 0].any(axis=1)).tolist() == [7]
    assert np.flatnonzero(found.values[0, :, :, 0].any(axis=0)).tolist() == [2]


@pytest.mark.parametrize("prepare", [
    Prepare(size=(16, 16, 16), zscore=True),
    Prepare(orientation="RAS", spacing_mm=(1.0, 1.0, 1.0)),
    Prepare(spacing_mm=(3.0, 3.0, 3.0), window=(50.0, 150.0)),
])  # fmt: skip
def test_contributions_add_up_on_the_images_grid(prepare):
    found = vx.explain(net(), volume(), "integrated_gradients(steps=4)", prepare=prepare)
    lost = next(check for check in found.certificate.checks if check.name == "share in padding")
    expected = found.numbers["score"] - found.numbers["score_at_baseline"] + found.numbers["completeness_gap"]
    scale = float(np.abs(found.values).sum(dtype=np.float64))
    assert lost.value == pytest.approx(0, abs=1e-6)
    assert found.values.sum(dtype=np.float64) == pytest.approx(expected, abs=1e-5 * scale)
    assert found.numbers["sum_on_image"] == pytest.approx(expected, abs=1e-5 * scale)


@dataclass(frozen=True, kw_only=True)
class Ones(Method):
    """A derivative that is one everywhere, with everything that may come along."""

    name = "ones"
    title: ClassVar[str] = "Ones"
    citation: ClassVar[str] = "none"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "is one"

    def _map(self, score, x):
        ones, one = torch.ones_like(x), torch.ones_like(x[:, :1])
        options = {"derivative": True, "standard_error": ones, "parts": {"level": ones, "votes": one}}
        sibling = Map(ones, self.quantity, "logits per input unit", layer="next", **options)
        return Map(ones, self.quantity, "logits per input unit", siblings=(sibling,), **options)


def test_all_of_a_derivative_is_told_by_the_images_own_intensity():
    image = Image.of(np.random.default_rng(0).normal(100, 20, (2, 5, 6, 7)), Grid((5, 6, 7), OBLIQUE), unit="HU")
    prepare = Prepare(scale=-1.0, std=(2.0, 4.0))
    module = seeded(Awkward, 3, "classification", channels=2).float()
    found = vx.explain(module, image, Ones(), prepare=prepare)
    gains = np.array([-0.5, -0.25]).reshape(2, 1, 1, 1) * np.ones((2, 5, 6, 7))
    assert [one.layer for one in found] == ["", "next"]
    for one in found:
        np.testing.assert_allclose(one.values, gains)
        np.testing.assert_allclose(one.standard_error, -gains, err_msg="a standard error is never negative")
        np.testing.assert_allclose(one.parts["level"], gains)
        assert (one.parts["votes"] == 1).all()
        assert one.unit == "logits per HU"


@pytest.mark.parametrize(
    ("std", "value", "unit"), [((2.0, 2.0), 0.5, "logits per HU"), ((2.0, 4.0), 1, "logits per input unit")]
)
def test_one_derivative_for_all_channels_is_told_by_raw_intensity_where_their_gains_agree(std, value, unit):
    class One(Ones):
        def _map(self, score, x):
            return Map(torch.ones_like(x[:, :1]), self.quantity, "logits per input unit", derivative=True)

    image = Image.of(np.random.default_rng(0).normal(100, 20, (2, 5, 6, 7)), Grid((5, 6, 7), OBLIQUE), unit="HU")
    module = seeded(Awkward, 3, "classification", channels=2).float()
    found = vx.explain(module, image, One(), prepare=Prepare(std=std))
    assert (found.values.shape[0], found.unit) == (1, unit)
    np.testing.assert_allclose(found.values, value)


def test_replicated_channels_are_summed_back_into_the_grey_one():
    """The adjoint: the derivative by grey is the sum over the three channels, each with its own gain."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 4.0]))

        def forward(self, x):
            value = (x * self.weight.reshape(1, 3, 1, 1)).flatten(1).sum(1)
            return torch.stack([-value, value], 1)

    prepare = Prepare(scale=0.5, grey_to_rgb=True, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    found = vx.explain(Sum(), picture(), "gradient", target="class_score(1)", prepare=prepare)
    assert found.values.shape[0] == 1
    np.testing.assert_allclose(found.values, 0.5 * (1 / 0.5 + 2 / 1 + 4 / 2), rtol=1e-5)
    assert found.unit == "logits per a.u."


def test_a_coarse_map_lies_where_its_cells_are_measured():
    """Without padding the first cell of a 5 x 5 x 5 convolution lies two voxels inside; the map must say so."""

    class Unpadded(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv3d(1, 1, 5, stride=3, bias=False)
            self.head = nn.Linear(1, 2, bias=False)
            nn.init.constant_(self.features.weight, 1.0)
            nn.init.constant_(self.head.weight, 1.0)

        def forward(self, x):
            return self.head(self.features(x).relu().flatten(2).mean(2))

    shape = (17, 14, 20)
    values = np.zeros(shape)
    values[8, 5, 11] = 1  # the centre of cell (2, 1, 3)
    image = Image.of(values, Grid(shape, OBLIQUE))
    found = vx.explain(Unpadded(), image, "grad_cam(layer='features')", target="class_score(1)")
    cell = np.unravel_index(found.coarse.values[0].argmax(), found.coarse.values[0].shape)
    assert cell == (2, 1, 3)
    np.testing.assert_allclose(found.coarse.grid.world(cell), image.grid.world([8, 5, 11]), atol=1e-9)
    assert np.unravel_index(found.values[0].argmax(), shape) == (8, 5, 11)


def test_several_methods_and_layers_come_back_as_a_list():
    found = vx.explain(net(), volume(), ["gradient", "grad_cam(layer=['first', 'second'])"])
    assert [(one.method.split("(")[0], one.layer) for one in found] == [
        ("gradient", ""), ("grad_cam", "first"), ("grad_cam", "second"),
    ]  # fmt: skip


@pytest.mark.parametrize(("task", "default"), [("segmentation", "region"), ("classification", "class_score")])
def test_the_default_target_fits_the_output(task, default):
    found = vx.explain(net(task=task), volume(), "gradient")
    assert found.target.startswith(default)
    assert found.target_words


def test_a_regression_head_is_explained_as_a_value():
    model = vx.Model.of(net(task="regression"), head="regression", class_names=("age",))
    found = vx.explain(model, volume(), "integrated_gradients(steps=2)")
    assert (found.target, found.target_words, found.unit) == ("regression", "age", "output units")


def test_class_names_appear_in_the_targets_words():
    model = vx.Model.of(net(), class_names=("healthy", "glioma", "other"))
    assert vx.explain(model, volume(), "gradient", target="class_score(1)").target_words.endswith("class 1 (glioma)")


def test_a_volume_and_a_slice_number_make_a_picture_for_a_2d_network():
    image = volume()
    found = vx.explain(net(rank=2), image, "gradient", slice=4)
    assert found.grid.is_2d
    assert found.grid.orientation[:2] == "LP"
    with pytest.raises(InputError, match="pass --slice"):
        vx.explain(net(rank=2), image, "gradient")


def test_verify_says_that_bytes_are_equal():
    found = vx.explain(net(), volume(), "integrated_gradients(steps=2)", verify=True)
    assert ("determinism", "passed") in [(check.name, check.outcome) for check in found.certificate.checks]


def test_verify_holds_for_a_derivative_that_preparation_rescaled():
    found = vx.explain(net(), volume(), "gradient", prepare=Prepare(zscore=True), verify=True)
    assert found.certificate.passed, found.certificate.failures


def test_channels_are_named_in_the_order_the_network_got_them():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, x):
            value = self.gain * x[:, 0].flatten(1).sum(1)
            return torch.stack([-value, value], 1)

    values = np.random.default_rng(0).normal(100, 20, (3, 5, 6, 7))
    image = Image.of(values, Grid((5, 6, 7), OBLIQUE), channels=("flair", "t1", "t2"))
    found = vx.explain(First(), image, "gradient", prepare=Prepare(channels=("t2", "flair")))
    assert found.channels == ("t2", "flair")
    assert found.values[0].any()
    assert not found.values[1].any()


@pytest.mark.parametrize("names", [("one",), ("a", "b", "c", "d")])
def test_class_names_must_be_as_many_as_classes(names):
    with pytest.raises(InputError, match="class names must be one for each of the model's 3"):
        vx.explain(vx.Model.of(net(), class_names=names), volume(), "gradient")


def test_a_baseline_with_the_same_score_is_told_without_a_division():
    module = net()
    with torch.no_grad():
        module.head.weight.zero_()
    found = vx.explain(module, volume(), "integrated_gradients(steps=2)")
    (check,) = (check for check in found.certificate.checks if check.name == "completeness")
    assert (check.outcome, check.value) == ("passed", None)
    assert check.sentence == "f(x) equals f(baseline), and the map sums to 0"


def test_verify_catches_a_model_that_rolls_dice():
    class Dice(Awkward):
        def forward(self, x):
            return super().forward(x + 0.1 * torch.randn_like(x))

    with torch.random.fork_rng():
        found = vx.explain(seeded(Dice, 3, "classification", channels=1).float(), volume(), "gradient", verify=True)
    assert "determinism" in [check.name for check in found.certificate.failures]


def test_a_map_that_points_nowhere_fails_its_certificate():
    module = net()
    with torch.no_grad():
        module.head.weight[1] = 0
    found = vx.explain(module, volume(), "grad_cam(layer='second')", target="class_score(1)")
    assert not found.certificate.passed
    assert "not constant" in [check.name for check in found.certificate.failures]


def test_a_map_that_is_constant_up_to_rounding_fails_its_certificate():
    class Nearly(Ones):
        def _map(self, score, x):
            noise = 1e-8 * torch.arange(x.numel(), dtype=torch.float64).reshape(x.shape) / x.numel()
            return Map(1 + noise, self.quantity, "logits")

    assert "not constant" in [check.name for check in vx.explain(net(), volume(), Nearly()).certificate.failures]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_model_that_gives_no_number_is_refused_by_case_and_method(value):
    module = net()
    with torch.no_grad():
        module.head.bias[0] = value
    with pytest.raises(InputError, match=f"gradient: the model must give finite scores, got {value} for case 'case'"):
        vx.explain(module, volume(), "gradient", target="class_score(0)")


def test_too_few_steps_fail_the_completeness_check():
    module = net(seed=2)
    prepare = Prepare(zscore=True)
    rough = vx.explain(
        module, volume(), "integrated_gradients(steps=1, rule='trapezoid', baseline=3.0)", prepare=prepare
    )
    fine = vx.explain(module, volume(), "integrated_gradients(steps=64, baseline=3.0)", prepare=prepare)
    gaps = [next(c.value for c in one.certificate.checks if c.name == "completeness") for one in (rough, fine)]
    assert gaps[1] < 0.05 < gaps[0]
    assert not rough.certificate.passed
    assert fine.certificate.passed


def nonlinearities(module, method):
    found = vx.explain(module, volume(), method, target="class_score(1)")
    return [check for check in found.certificate.checks if check.name == "nonlinearities covered"]


def test_the_certificate_counts_the_nonlinearities_that_backward_rules_handled():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv3d(1, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            x = torch.relu(torch.nn.functional.max_pool3d(self.first(x), 2))
            return self.head(nn.functional.relu_(x - 0.1).flatten(2).mean(2))

    (guided,) = nonlinearities(Three(), "guided_backprop")
    assert (guided.outcome, guided.value) == ("noted", 2)
    told = "handled 2 nonlinearities (relu 2); 1 nonlinearity (max_pool3d 1) passed by their derivative"
    assert guided.sentence == f"backward rules {told}"
    (lrp,) = nonlinearities(Three(), "lrp")
    assert (lrp.outcome, lrp.value) == ("passed", 3)
    assert nonlinearities(Three(), "gradient") == []


def test_rules_that_handle_nothing_fail_the_certificate():
    class Smooth(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv3d(1, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.sigmoid(self.first(x)).flatten(2).mean(2))

    (check,) = nonlinearities(Smooth(), "guided_backprop")
    assert check.outcome == "failed"
    assert "handle none of the network's nonlinearities: 1 nonlinearity (sigmoid 1)" in check.sentence


def test_amounts_that_leave_out_much_of_the_score_fail_the_completeness_check():
    """Instance norm has no bias that stands for the image's own mean: full_grad cannot add up there."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.head = nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.Linear(4, 2)
            nn.init.constant_(self.norm.bias, 1.0)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.first(x))).flatten(2).mean(2))

    torch.manual_seed(0)
    good, bad = (vx.explain(one, volume(), "full_grad(signed=True)") for one in (net(), Normed()))
    checks = [next(c for c in one.certificate.checks if c.name == "completeness") for one in (good, bad)]
    assert [check.outcome for check in checks] == ["passed", "failed"]
    assert "misses f(x) = " in checks[1].sentence


def test_the_maps_of_the_other_classes_from_the_same_calls_lie_beside_the_explained_one(tmp_path):
    spec = "lime(samples=40, segments=6)"
    found = vx.explain(net(), volume(), spec, target="class_score(1)")
    other = vx.explain(net(), volume(), spec, target="class_score(2)")
    assert {name for name in found.parts if name.startswith("class_")} == {"class_0", "class_2"}
    np.testing.assert_allclose(found.parts["class_2"], other.values, rtol=1e-5, atol=1e-7)
    found.save(tmp_path / "map.nii.gz")
    again = vx.Attribution.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(again.parts["class_0"], found.parts["class_0"])


def test_maps_of_too_many_classes_are_told_instead_of_written():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = net(), nn.Linear(3, 13)

        def forward(self, x):
            return self.head(self.inner(x))

    found = vx.explain(Many(), volume(), "lime(samples=40, segments=6)")
    assert not any(name.startswith("class_") for name in found.parts)
    assert "the same calls gave maps of all 13 classes; only the explained one is written" in found.notes


def test_a_map_by_rules_tells_what_the_voxels_got_of_the_score():
    found = vx.explain(net(seed=2), volume(), "lrp", prepare=Prepare(zscore=True), target="class_score(1)")
    (check,) = (check for check in found.certificate.checks if check.name == "conservation")
    assert check.outcome == "noted"
    assert check.value == pytest.approx(found.numbers["absorbed"])
    assert check.sentence.startswith(f"the map sums to {found.numbers['relevance_sum']:.4g} of the score")


def test_relevance_that_small_denominators_blew_up_fails_its_certificate():
    class Cancelling(nn.Module):
        """Two inputs whose contributions cancel: their sum is small, their shares of it are huge."""

        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(2520, 2, bias=False), nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.one.weight.copy_(torch.tensor([1.0, -1.0]).repeat(1260).expand(2, -1))

        def forward(self, x):
            return self.two(self.one(x.flatten(1)))

    torch.manual_seed(0)
    values = volume().values - volume().values.mean()
    found = vx.explain(Cancelling(), volume().with_values(1e4 + values), "lrp(rules='epsilon')")
    (check,) = found.certificate.failures
    assert check.name == "conservation"
    assert "relevance grew to" in check.sentence


def test_equal_requests_have_equal_keys_and_bytes_and_others_have_not():
    module, image = net(), volume()
    first, again = (vx.explain(module, image, "gradient", target="class_score(1)") for _ in range(2))
    assert first.provenance.key == again.provenance.key
    assert np.array_equal(first.values, again.values)
    others = [
        vx.explain(module, image, "gradient", target="class_score(2)"),
        vx.explain(module, image, "gradient", target="class_score(1)", seed=1),
        vx.explain(module, image, "gradient", target="class_score(1)", prepare=Prepare(scale=2.0)),
        vx.explain(module, volume(seed=5), "gradient", target="class_score(1)"),
        vx.explain(net(seed=4), image, "gradient", target="class_score(1)"),
        vx.explain(module, image, "occlusion(window=5)", target="class_score(1)"),
    ]
    assert len({first.provenance.key, *(one.provenance.key for one in others)}) == 1 + len(others)


def test_saves_and_loads_the_whole_story(tmp_path):
    first, second = vx.explain(net(), volume(), ["grad_cam(layer='second')", "gradient"])
    for found in (first, second):
        back = vx.Attribution.load(found.save(tmp_path / "map.nii.gz"))
        assert np.array_equal(back.values, found.values)
        np.testing.assert_allclose(back.grid.affine, found.grid.affine, atol=1e-6)
        assert back.certificate == found.certificate
        assert back.provenance == found.provenance
        assert (back.quantity, back.unit, back.layer, back.numbers) == (
            found.quantity, found.unit, found.layer, found.numbers,
        )  # fmt: skip
    assert first.quantity is Quantity.SALIENCY
    assert np.array_equal(vx.Attribution.load(first.save(tmp_path / "cam.nii")).coarse.values, first.coarse.values)


def test_a_picture_without_millimetres_is_loaded_without_them(tmp_path):
    found = vx.explain(net(rank=2), picture(), "grad_cam(layer='second')")
    back = vx.Attribution.load(found.save(tmp_path / "map.nii.gz"))
    assert (back.grid.unit, back.coarse.grid.unit) == ("px", "px")


def test_a_sidecar_knows_no_nan_and_says_when_it_is_not_ours(tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    found = vx.explain(net(), volume(), "gradient")
    found.values[0, 0, 0, 0] = np.nan
    path = found.save(tmp_path / "map.nii.gz")
    assert json.loads((tmp_path / "map.json").read_text(), parse_constant=refuse)["sum"] is None
    for broken, words in (('{"quantity": "signed relevance"}', "has no entry"), ("[]", "must be one that save")):
        (tmp_path / "map.json").write_text(broken)
        with pytest.raises(FileError, match=rf"'map\.json' {words}"):
            vx.Attribution.load(path)


def test_plots_itself_over_its_image():
    assert vx.explain(net(), volume(), "gradient").plot().axes


def test_the_users_module_stays_as_it_was():
    module = net().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    vx.explain(module, volume(), ["gradient", "grad_cam", "occlusion", "integrated_gradients(steps=2)"])
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in module.parameters())


@pytest.mark.parametrize("spec", ["kernel_shap(samples=30, {})", "lime(samples=30, {})"])
def test_labels_of_segments_come_back_as_labels(spec):
    """Whole numbers are read from the nearest voxel: mixed or poured ones would name segments that are not there."""
    image = volume(shape=(14, 18, 10), affine=np.diag([2.0, 1.0, 3.0, 1.0]))
    method = spec.format("segmenter='grid', segments=6")
    found = vx.explain(net(), image, method, prepare=Prepare(spacing_mm=(1.5, 1.5, 1.5)))
    labels = found.parts["segments"]
    assert labels.shape == (1, *image.grid.shape)
    assert set(np.unique(labels)) == set(range(len(found.numbers["segment_values"])))


def test_a_network_of_masked_images_is_asked_about_the_masked_image():
    image = volume(affine=np.eye(4))
    mask = image.with_values(np.zeros_like(image.values))
    mask.values[0, 4:9, 4:9, 4:9] = 1
    inside, outside = (5, 5, 5), (1, 1, 1)
    masked = Prepare(masked=True)
    assert vx.explain(Reader(*inside), image, "gradient", prepare=masked, mask=mask).numbers["score"] > 50
    assert vx.explain(Reader(*outside), image, "gradient", prepare=masked, mask=mask).numbers["score"] == 0
    with pytest.raises(InputError, match="masked needs the mask of image 'case', got none"):
        vx.explain(Reader(*inside), image, "gradient", prepare=masked)
