"""Every kind of figure is drawn from a run folder by its name, and refuses options that it does not have."""

import inspect
from importlib import import_module

import numpy as np
import pytest

from tests.report.made import RunMaker, attribution, blob, volume
from tests.report.seen import words
from voxplain.data.image import Image
from voxplain.errors import FileError, InputError, OptionError
from voxplain.report.contents import read_run
from voxplain.report.figure_kinds import DEFAULT_METHOD, KINDS, draw_kind
from voxplain.types import Quantity

NEEDS_ANOTHER_RUN = ("modalities", "gallery", "ensemble", "levels")
"""Kinds of maps that the folder below does not hold; each is drawn in the tests of its own module."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two cases with all that most kinds need: layers, an error, segments, classes."""
    run = RunMaker(tmp_path_factory.mktemp("kinds") / "run")
    for n, label in enumerate(("glioma", "healthy")):
        image = volume(identifier=f"case {n}")
        run.case(image, f"c{n}", label=label, mask=Image.of(blob(image.grid.shape, (5, 6, 4)) > 0.5, image.grid))
        numbers = {"share_in_mask": 0.5 + 0.1 * n, "mask_share": 0.02}
        layers = [attribution(image, method="grad_cam", layer=layer) for layer in ("layer1", "layer4")]
        for found in layers:
            run.map(found, image, f"{n}-{found.layer}", layer=found.layer, **numbers)
        error = np.full((1, *image.grid.shape), 0.1, np.float32)
        found = attribution(image, method="rise(samples=9)", standard_error=error)
        run.map(found, image, f"{n}-rise", **numbers)
        cut = np.indices(image.grid.shape)[0] // 5
        weights = np.array([0.1, 0.9, -0.4, 0.2])[cut].astype(np.float32)
        parts = {"segments": cut[None].astype(np.float32), "class_0": -weights[None]}
        for method in ("lime", "partition_shap"):
            named = {"method": method, "parts": parts, "numbers": {"class": 1}}
            run.map(attribution(image, weights, Quantity.RELEVANCE, **named), image, f"{n}-{method}", **numbers)
    return run.folder


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NEEDS_ANOTHER_RUN])
def test_a_kind_is_drawn_by_its_name(folder, kind):
    figure = draw_kind(folder, kind, title="my title")
    assert "my title" in words(figure) or "my title" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_a_kind_reaches_its_function(kind):
    module, name = KINDS[kind].place.split(":")
    draw = getattr(import_module(f"voxplain.report.{module}"), name)
    parameters = inspect.signature(draw).parameters
    passed_on = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    assert passed_on or set(KINDS[kind].takes) <= set(parameters)
    assert ("method" in parameters) == ("method" in KINDS[kind].takes)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("overlay", {"plane": "coronal", "index": 3, "opacity": 0.3, "colours": "black_fire_red"}),
        ("montage", {"slices": 3, "columns": 2, "colours": "black_fire_red", "plane": "sagittal"}),
        ("methods", {"shared": True, "columns": 2, "index": 4}),
        ("single", {"method": "lime", "opacity": 0.3, "colours": "red_white_blue"}),
        ("matrix", {"cases": ["case 1"], "shared": False, "plane": "coronal"}),
        ("layer-matrix", {"cases": ["case 1"], "shared": True}),
        ("flow", {"shared": True, "columns": 2, "plane": "coronal"}),
        ("agreement", {"columns": 2, "index": 4}),
        ("grid", {"columns": 1, "cases": ["case 0"]}),
        ("distributions", {"measure": "mask_share"}),
        ("ranks", {"test": "nemenyi"}),
    ],
)
def test_a_kind_takes_its_options(folder, kind, options):
    assert draw_kind(folder, kind, **options).get_size_inches().min() > 0


def test_options_that_are_left_out_are_the_functions_own(folder):
    both = [words(draw_kind(folder, "overlay", **options)) for options in ({}, {"opacity": None, "plane": None})]
    assert both[0] == both[1]


def test_the_first_slice_may_be_asked_for(folder):
    assert "Axial slice 0, as asked." in words(draw_kind(folder, "overlay", index=0))


def test_a_kind_of_one_method_is_drawn_of_the_runs_first_one(folder):
    assert set(DEFAULT_METHOD) <= set(KINDS)
    assert "grad_cam" in words(draw_kind(folder, "overlay"))


def test_a_palette_and_a_slice_change_the_picture(folder):
    text = words(draw_kind(folder, "overlay", index=3, colours="black_fire_red"))
    assert "Axial slice 3, as asked." in text
    assert "White is the end of both sides: read the bar." in text


@pytest.mark.parametrize(
    ("kind", "options", "error", "said"),
    [
        ("montag", {}, OptionError, "unknown kind of figure 'montag'; did you mean 'montage'"),
        (
            "shap",
            {"opacity": 0.5},
            OptionError,
            "kind 'shap' has no option 'opacity'; it has method, case, plane, slice",
        ),
        ("matrix", {"index": 3}, OptionError, "kind 'matrix' has no option 'slice'"),
        ("montage", {"colours": "viridis"}, InputError, "palette 'viridis' has one side"),
        ("overlay", {"method": "lrp"}, InputError, "must have a map of 'lrp', the run has grad_cam"),
        ("planes", {"case": "nobody"}, InputError, "has no case 'nobody'"),
        ("levels", {}, InputError, "hierarchical_occlusion"),
    ],
)
def test_what_a_kind_cannot_do_is_refused(folder, kind, options, error, said):
    with pytest.raises(error, match=said):
        draw_kind(folder, kind, **options)


def test_a_folder_without_maps_is_refused(run):
    with pytest.raises(FileError, match="must hold a case with an image and a map"):
        draw_kind(run.folder, "overlay")


def test_the_folder_has_what_the_tests_need(folder):
    assert read_run(folder).missing == ()
