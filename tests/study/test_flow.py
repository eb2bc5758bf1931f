"""The flow: every convolution in the order of running, one pass for all, and numbers that say what a map is like."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import voxplain as vx
from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.ops.gini import gini
from voxplain.score.model import Model
from voxplain.score.networks import deepseg_unet, deepseg_unet_small
from voxplain.score.target import ClassScore, Region
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.flow import FlowPlan, flow_table, run_flow
from voxplain.study.flow_layers import flow_layers
from voxplain.study.flow_maps import flowing, flowing_names, layer_maps
from voxplain.study.flow_numbers import layer_numbers, sampled, with_comparisons
from voxplain.study.plan import Plan
from voxplain.study.run_folder import RunFolder
from voxplain.types import Quantity

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])

ROUNDING = 1e-5
"""Of sums in single precision."""


def chain() -> nn.Module:
    """Three convolutions, of which the middle one answers with negative numbers to what is not negative."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        first, last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
    pooled = nn.Sequential(first, nn.ReLU(), inner, nn.ReLU(), last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return pooled.double().eval()


def film(side: int = 12) -> Image:
    values = np.random.default_rng(2).random((1, side, side + 2, 1))
    return Image.of(values, Grid((side, side + 2, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px"), identifier="film")


def head() -> Image:
    values = np.random.default_rng(1).random((4, 8, 16, 8))
    return Image.of(values, Grid((8, 16, 8), LPS), channels=("flair", "t1", "t1ce", "t2"), identifier="head")


def segmenter() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return deepseg_unet(channels=4, classes=4, filters=3, depth=2).eval()


# --- which layers ---


def test_all_convolutions_of_the_26_layer_network_and_of_the_small_one():
    found = flow_layers(Model.of(deepseg_unet()), torch.zeros(1, 4, 32, 32, 32))
    assert found.names == ("conv3d", *(f"conv3d_{n}" for n in range(1, 25)), "output_layer")
    assert found.left_out == ()
    assert len(flow_layers(Model.of(deepseg_unet_small()), torch.zeros(1, 4, 8, 8, 8)).names) == 16


def test_a_pattern_means_convolutions_and_a_full_name_any_layer_in_the_order_of_running():
    model, x = Model.of(segmenter()), torch.zeros(1, 4, 8, 8, 8)
    assert flow_layers(model, x, ["conv3d_1*"]).names == ("conv3d_1",)
    assert flow_layers(model, x, ["output*", "activation_2", "conv3d"]).names == (
        "conv3d",
        "activation_2",
        "output_layer",
    )


def test_an_unknown_layer_is_named_with_the_nearest():
    with pytest.raises(OptionError, match=r"unknown layer 'conv3d_99'.*conv3d_9"):
        flow_layers(Model.of(segmenter()), torch.zeros(1, 4, 8, 8, 8), ["conv3d_99"])


class Twice(nn.Module):
    """Uses one convolution twice, another never."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.unused = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.shared(self.shared(self.first(x)).relu()).mean(dim=(2, 3))


def test_a_layer_that_runs_twice_is_left_out_with_a_sentence_and_an_unused_one_is_none():
    found = flow_layers(Model.of(Twice()), torch.zeros(1, 1, 4, 4))
    assert found == (("first",), ("layer 'shared' runs 2 times in one pass",))
    with pytest.raises(InputError, match="runs 2 times"):
        flow_layers(Model.of(Twice()), torch.zeros(1, 1, 4, 4), ["shared"])


def test_a_network_without_convolutions_says_so():
    model = Model.of(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with pytest.raises(InputError, match="no convolution"):
        flow_layers(model, torch.zeros(1, 1, 4, 4))


def test_layers_of_sliding_windows_are_those_of_one_window():
    from voxplain.score.sliding import SlidingWindow

    windows = SlidingWindow(roi=(8, 8, 8), overlap=0.5).around(segmenter(), 3)
    model = Model.of(windows)
    found = flow_layers(model, torch.zeros(1, 4, 16, 8, 8))
    assert [name.removeprefix("network.") for name in found.names] == list(
        flow_layers(Model.of(segmenter()), torch.zeros(1, 4, 8, 8, 8)).names
    )
    assert found.left_out == ()


# --- which methods ---


def test_relatives_of_cams_and_gradients_flow_and_no_other():
    assert set(flowing_names()) == {
        "grad_cam", "gated_grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam",
        "guided_grad_cam", "layer_gradient", "gradient", "input_x_gradient",
    }  # fmt: skip
    for name in flowing_names():
        flowing(method(name))


@pytest.mark.parametrize("name", ["score_cam", "ablation_cam"])
def test_a_perturbing_cam_is_refused_and_the_way_out_is_told(name):
    with pytest.raises(
        InputError, match=rf"{name} runs the network once for every channel .*explain for \"{name}\(layer="
    ):
        flowing(method(name))


def test_a_method_without_layers_and_a_method_with_one_are_refused():
    with pytest.raises(InputError, match="lime has no maps of layers; flows are made of gradient"):
        flowing(method("lime"))
    with pytest.raises(InputError, match="leave layer out of grad_cam"):
        flowing(method("grad_cam(layer='conv3d')"))


def test_options_of_methods_stay():
    assert flowing(method("grad_cam(relu=False)")) == method("grad_cam(relu=False)")


# --- maps ---


@pytest.mark.parametrize("spec", ["grad_cam", "guided_grad_cam", "eigen_cam", "layer_gradient"])
def test_each_layer_has_the_map_that_the_method_gives_of_it_alone(spec):
    found = vx.flow(segmenter(), head(), spec, target="region(1, over='whole')")
    assert len(found.maps) == 11
    for one in (found.maps[0], found.maps[5], found.maps[-1]):
        alone = vx.explain(segmenter(), head(), f"{spec}(layer='{one.layer}')", target="region(1, over='whole')")
        np.testing.assert_allclose(one.values, alone.values, atol=ROUNDING * float(np.abs(alone.values).max()))
        assert (one.method, one.layer, one.quantity, one.unit) == (spec, alone.layer, alone.quantity, alone.unit)
        if spec != "guided_grad_cam":
            np.testing.assert_array_equal(one.coarse.grid.affine, alone.coarse.grid.affine)
        assert not one.parts
        for key in ("method", "target"):
            assert one.provenance.request[key] == alone.provenance.request[key]


def test_the_gradient_at_a_layer_is_that_of_its_definition():
    module, image = chain(), film()
    x = torch.from_numpy(image.values[0, :, :, 0].T.copy())[None, None].double()
    inner = module[:3](x).detach().requires_grad_()
    module[3:](inner)[0, 1].backward()
    found = vx.flow(module, image, "gradient", target="class_score(1)", layers="2").maps[0]
    assert (found.method, found.quantity, found.unit) == ("layer_gradient", Quantity.SALIENCY, "logits per activation")
    np.testing.assert_allclose(found.coarse.values[0, :, :, 0], inner.grad.abs().sum(1)[0], rtol=ROUNDING)


def test_input_x_gradient_at_a_layer_is_activation_x_gradient_with_its_sign():
    module, image = chain(), film()
    x = torch.from_numpy(image.values[0, :, :, 0].T.copy())[None, None].double()
    inner = module[:3](x).detach().requires_grad_()
    module[3:](inner)[0, 1].backward()
    found = vx.flow(module, image, "input_x_gradient", target="class_score(1)", layers="2").maps[0]
    expected = (inner.grad * inner.detach()).sum(1)[0]
    assert expected.min() < 0
    np.testing.assert_allclose(found.coarse.values[0, :, :, 0], expected, atol=ROUNDING * float(expected.abs().max()))


def test_several_questions_share_one_forward():
    explainer = Explainer(Model.of(segmenter()))
    ready = explainer.ready(head())
    target = Region(1, over="whole")
    asked = [(target, method("grad_cam")), (target, method("hires_cam"))]
    found = list(layer_maps(explainer, ready, asked, ("conv3d", "conv3d_4")))
    assert [(one.question, one.layer) for one in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    calls = [one.attribution.provenance.record for one in found]
    assert sum(calls[n]["forwards"] for n in (0, 2)) == 1
    assert sum(calls[n]["backwards"] for n in (0, 2)) == 1


def test_maps_of_verified_flows_are_made_twice():
    explainer = Explainer(Model.of(chain()), verify=True)
    ready = explainer.ready(film())
    (one,) = layer_maps(explainer, ready, [(ClassScore(1), method("grad_cam"))], ("2",))
    assert "made twice with equal bytes" in [check.sentence for check in one.attribution.certificate.checks]


def test_a_network_that_answers_nan_is_refused():
    module = chain()
    with torch.no_grad():
        module[4].bias[:] = torch.nan
    with pytest.raises(InputError, match="finite scores"):
        vx.flow(module, film(), target="class_score(1)")


# --- numbers ---


def single(values: np.ndarray, notes: tuple[str, ...] = (), layer: str = "a") -> Attribution:
    grid = Grid(values.shape[1:], np.eye(4))
    return Attribution(values.astype(np.float32), grid, Quantity.RELEVANCE, "m", "t", layer=layer, notes=notes)


def test_numbers_of_a_map_in_closed_form():
    values = np.zeros((1, 2, 2, 1))
    values[0, :, :, 0] = [[0, 1], [-3, 0]]
    found = layer_numbers(4, single(values))
    assert (found["number"], found["cells"], found["low"], found["high"]) == (4, "2 x 2 x 1", -3, 1)
    assert found["energy"] == 10 / 4
    # Sorted magnitudes 0 0 1 3: G = 2 (3 * 1 + 4 * 3) / (4 * 4) - 5 / 4.
    assert found["sparseness"] == pytest.approx(0.625)
    assert (found["constant"], found["why"]) == (False, "")


@pytest.mark.parametrize(("values", "expected"), [([5, 5, 5, 5], 0.0), ([0, 0, 0, -2], 0.75), ([0, 0, 0, 0], None)])
def test_sparseness_of_an_even_map_a_single_cell_and_nothing(values, expected):
    assert gini(np.array(values, np.float32)) == (expected if expected is None else pytest.approx(expected))


def test_the_raw_range_is_that_of_the_layers_own_cells():
    halves = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = vx.flow(halves, film(), "hires_cam(relu=False)", target="class_score(1)", layers="0")
    one, row = found.maps[0], found.rows[0]
    assert (row["low"], row["high"]) == (float(one.coarse.values.min()), float(one.coarse.values.max()))
    assert row["high"] > float(one.values.max()), "interpolation at voxel centres narrows the range"
    assert row["cells"] == "7 x 6 x 1"


def test_energy_shares_sum_to_one_and_agreement_is_spearman_with_the_last_layer():
    from scipy.stats import spearmanr

    found = vx.flow(segmenter(), head(), "hires_cam(relu=False)", target="region(1, over='whole')")
    assert sum(row["energy_share"] for row in found.rows) == pytest.approx(1)
    told = [pair for pair in zip(found.maps, found.rows, strict=True) if not pair[1]["constant"]]
    assert len(told) == 11
    for one, row in told:
        expected = spearmanr(one.values.ravel(), found.maps[-1].values.ravel()).statistic
        assert row["agreement"] == pytest.approx(expected, abs=1e-6)
    assert found.rows[-1]["agreement"] == pytest.approx(1)


def test_a_constant_map_agrees_with_nothing_and_zeros_have_no_shares():
    flat, slope = single(np.full((1, 3, 3, 3), 2.0)), single(np.arange(27.0).reshape(1, 3, 3, 3))
    rows = [layer_numbers(n, one) for n, one in enumerate((flat, slope), 1)]
    found = with_comparisons(rows, [sampled(flat), sampled(slope)])
    assert [row["agreement"] for row in found] == [None, pytest.approx(1)]
    found = with_comparisons(rows[::-1], [sampled(slope), sampled(flat)])
    assert [row["agreement"] for row in found] == [None, None]
    zeros = single(np.zeros((1, 3, 3, 3)))
    (row,) = with_comparisons([layer_numbers(1, zeros)], [sampled(zeros)])
    assert (row["energy_share"], row["sparseness"], row["agreement"], row["constant"]) == (None, None, None, True)


def test_large_maps_are_compared_at_evenly_spaced_voxels():
    values = np.arange(200 * 200 * 40, dtype=np.float32).reshape(1, 200, 200, 40)
    found = sampled(single(values))
    assert found.size == 100 * 100 * 20  # every second voxel
    np.testing.assert_array_equal(found[:2], [0, 2])
    flat = np.zeros((2, 1024, 1024, 1), np.float32)
    flat[1] = -1
    assert (sampled(single(flat)) == 1).sum() == 512 * 512


# --- why a map is blank ---


def blank(module: nn.Module, spec: str, layer: str) -> str:
    (row,) = vx.flow(module, film(), spec, target="class_score(1)", layers=layer).rows
    assert row["constant"]
    return row["why"]


def one_by_one(*weights: float) -> nn.Module:
    """Convolutions of one channel with these weights, ReLU between, the mean as the only class."""
    parts: list[nn.Module] = []
    for weight in weights:
        convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(convolution.weight, weight)
        parts += [convolution, nn.ReLU()]
    return nn.Sequential(*parts[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_sum_below_zero_everywhere_is_cut_by_relu_and_kept_without_it():
    module = one_by_one(2.0, -1.0)
    assert "relu=True cuts the rest" in blank(module, "grad_cam", "0")
    (row,) = vx.flow(module, film(), "grad_cam(relu=False)", target="class_score(1)", layers="0").rows
    assert not row["constant"]
    assert row["high"] < 0


def test_a_dead_layer_and_a_layer_without_a_say_are_told_apart():
    assert "all activations are zero" in blank(one_by_one(0.0, 1.0), "grad_cam", "0")
    assert "the score's gradient is zero" in blank(one_by_one(-1.0, 1.0), "grad_cam", "0")
    assert "no place has both activation and weight" in blank(one_by_one(2.0, -1.0), "gated_grad_cam", "0")


def test_a_layer_of_one_cell_is_constant_for_that_reason():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 1, 1), nn.Flatten())
    assert blank(module, "layer_gradient", "2") == "the layer has a single cell"


def test_a_saturated_probability_leaves_no_gradient_where_the_logit_has_one():
    module = nn.Sequential(*one_by_one(300.0)[:1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        module[-1].weight[:] = torch.tensor([[1.0], [0.0]])
    told = {one: vx.flow(module, film(), target=f"{one}(0)").rows[0] for one in ("class_score", "probability")}
    assert told["probability"]["why"].startswith("the score's gradient is zero")
    assert not told["class_score"]["constant"]


# --- runs ---


def plan(module: nn.Module, *specs: str, layers: tuple[str, ...] = (), **options) -> FlowPlan:
    given = Plan(Model.of(module), Prepare(), (ClassScore(1),), tuple(map(method, specs)), **options)
    return FlowPlan.of(given, layers)


def test_a_run_has_a_map_and_numbers_for_each_layer(tmp_path):
    outcome = run_flow(plan(chain(), "grad_cam", "gradient"), [Case("film", film())], tmp_path / "run")
    rows = RunFolder(tmp_path / "run").rows()
    assert rows == json.loads(json.dumps(outcome.rows))
    assert [(row["method"], row["layer"], row["number"]) for row in rows] == [
        (name, layer, n) for name in ("grad_cam", "layer_gradient") for n, layer in enumerate("024", 1)
    ]
    for row in rows:
        assert row["map"].endswith(f"{row['method']}-{row['layer']}.nii.gz")
        saved = Attribution.load(tmp_path / "run" / row["map"])
        assert (saved.method, saved.layer) == (row["method"], row["layer"])
        assert row["high"] == pytest.approx(float(saved.coarse.values.max()))
        assert "model unchanged" in [check.name for check in saved.certificate.checks]
    header = (tmp_path / "run" / "table.csv").read_text().splitlines()[0].split(",")
    assert {"case", "map", "low", "high", "energy_share", "sparseness", "agreement", "constant", "why"} <= set(header)


def test_a_run_goes_on_and_another_pattern_is_another_run(tmp_path):
    cases = [Case("film", film()), Case("other", replace(film(), identifier="other"))]
    run_flow(plan(chain(), "grad_cam", layers=("0",)), cases, tmp_path / "run")
    said: list[str] = []
    outcome = run_flow(plan(chain(), "grad_cam", layers=("0",)), cases, tmp_path / "run", say=said.append)
    assert sum("already there" in line for line in said) == 2
    assert all("sparseness" in row for row in outcome.rows)
    with pytest.raises(InputError, match="another run"):
        run_flow(plan(chain(), "grad_cam", layers=("2",)), cases, tmp_path / "run")


def test_a_failed_case_is_a_row_of_a_table_and_an_error_alone(tmp_path):
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = chain()

        def forward(self, x):
            if x.shape[-1] != 12:
                raise ValueError("no")
            return self.inner(x)

    odd = Case("odd", replace(film(9), identifier="odd"))
    outcome = run_flow(plan(Picky(), "grad_cam"), [odd, Case("film", film())], tmp_path / "run")
    assert [row["status"] for row in outcome.rows] == ["failed", "done", "done", "done"]
    with pytest.raises(InputError):
        run_flow(plan(Picky(), "grad_cam"), [odd], tmp_path / "alone", single=True)


def test_the_table_shows_one_case_or_the_medians_of_several():
    rows = [
        {"layer": "a", "number": 1, "cells": "2 x 2 x 1", "low": 0.0, "high": high, "energy_share": 0.5,
         "sparseness": 0.1, "agreement": None, "constant": high == 0, "why": "dead" if high == 0 else ""}
        for high in (0.0, 2.0, 8.0)
    ]  # fmt: skip
    (_, one) = flow_table(rows[1:2])
    assert one.split() == ["1", "a", "2", "x", "2", "x", "1", "0", "2", "0.5", "0.1", "-"]
    (_, many) = flow_table(rows)
    assert "constant in 1 of 3 cases: dead" in many
    assert many.split()[8] == "2"


def test_a_flow_in_python_tells_its_layers_and_prints_its_table():
    found = vx.flow(one_by_one(2.0, -1.0, -1.0), film(), "grad_cam", target="class_score(1)", layers=["0", "2"])
    assert found.layers == ("0", "2")
    assert found.constant == ("0", "2")
    assert str(found).splitlines()[0].split()[:3] == ["number", "layer", "cells"]
