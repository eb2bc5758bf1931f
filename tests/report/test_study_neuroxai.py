"""The figures of the NeuroXAI study: the source's look, ranges of whole maps, single panels, and names of files."""

import json

import numpy as np
import PIL.Image
import pytest

from tests.report.made import LPS, attribution, blob, volume
from voxplain.data.attribution import Coarse
from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.data.slices import axial_slice
from voxplain.report import study_neuroxai_flow, study_neuroxai_volumes
from voxplain.report.figures_layers import draw_flow
from voxplain.report.figures_runs import CaseMaps
from voxplain.report.study_neuroxai import write_figures
from voxplain.report.study_neuroxai_flow import write_flow_figures
from voxplain.report.study_neuroxai_maps import by_name, in_grey, of_layer, signed, write_panels
from voxplain.report.study_neuroxai_volumes import Drawn
from voxplain.space.grid import Grid
from voxplain.study.study_neuroxai_flow import Layer, save_flow
from voxplain.types import Quantity

SHAPE = (10, 12, 8)
METHODS = {
    "vanilla": "gradient",
    "gbp": "guided_backprop",
    "ig": "integrated_gradients",
    "gig": "guided_ig",
    "smooth": "smoothgrad",
    "gcam": "grad_cam(layer='last')",
    "ggcam": "guided_grad_cam(layer='last')",
}


def sequences() -> Image:
    values = np.stack([volume(LPS, SHAPE).values[0] * factor for factor in (1, 2)])
    return Image.of(values, Grid(SHAPE, LPS), channels=("flair", "t1"), identifier="head")


def maps(image: Image) -> tuple:
    values = np.stack([blob(SHAPE, (2, 3, 4)), -2 * blob(SHAPE, (7, 8, 4))])
    found = []
    for name, spec in METHODS.items():
        coarse = Coarse(values[:1], image.grid) if name == "gcam" else None
        own = values[:1] if name == "gcam" else values
        options = {"channels": ("all",) if name == "gcam" else image.channels, "coarse": coarse}
        found.append(attribution(image, own, Quantity.RELEVANCE, method=spec, **options))
    return tuple(found)


def case(image: Image, prediction=None) -> CaseMaps:
    return CaseMaps("head", image, None, prediction, {}, maps(image), ("",) * 7)


def layer(number: int, values: np.ndarray, *, low: float = 0.0, high: float = 8.0, limit: float = 4.0) -> Layer:
    name = f"conv3d_{number}"
    return Layer(number, name, Quantity.SALIENCY, "logits", values, low, high, limit, 0.25)


def test_maps_are_found_by_the_sources_names_in_the_order_of_its_panels():
    assert list(by_name(case(sequences()), METHODS)) == list(METHODS)


def test_gradients_are_shown_as_magnitudes_over_all_sequences_in_grey_and_grad_cam_in_jet():
    found = by_name(case(sequences()), METHODS)
    shown = in_grey("ig", found["ig"])
    np.testing.assert_allclose(shown.values, np.abs(found["ig"].values).sum(axis=0))
    assert (shown.colours, shown.quantity, shown.name) == ("grey", Quantity.SALIENCY, "IG")
    assert in_grey("gcam", found["gcam"]).colours == "jet"
    assert signed("ig", found["ig"]).values.min() < -1


def test_a_layers_slice_keeps_the_range_and_limits_of_its_whole_map():
    image = axial_slice(sequences(), 4)
    shown = of_layer(layer(1, np.ones((1, *image.grid.shape), np.float32)), "gcam")
    assert shown.scale.raw == (0, 8)
    assert (shown.scale.low, shown.scale.high) == (0, 4)
    assert "from the whole map" in shown.scale.words


def test_a_layer_whose_whole_map_is_constant_is_flagged_and_others_are_not():
    image = axial_slice(sequences(), 4)
    flat = np.zeros((1, *image.grid.shape), np.float32)
    layers = [of_layer(layer(1, flat, high=0.0, limit=0.0), "gcam"), of_layer(layer(2, flat), "gcam")]
    words = " ".join(text.get_text() for text in draw_flow(image, layers).findobj() if hasattr(text, "get_text"))
    assert "Truly constant: layer 1." in words


def test_panels_are_one_pixel_a_voxel_as_seen_on_the_screen(tmp_path):
    image = sequences()
    found = {name: in_grey(name, one) for name, one in by_name(case(image), METHODS).items()}
    labels = np.zeros(SHAPE, np.int64)
    labels[2, 3, 4] = 2
    names = {name: f"{name}.png" for name in (*found, "gcam_overlay", "MRI", "pred")}
    written = write_panels(tmp_path, names, image, found, {"pred": labels}, index=4, channel="t1")
    assert {path.name for path in written} == set(names.values())
    # Voxel axes of LPS run to the patient's left and back: columns and rows of the screen.
    pred = np.asarray(PIL.Image.open(tmp_path / "pred.png"))
    assert pred.shape == (12, 10, 3)
    assert np.argwhere(pred[..., 0] == 255).tolist() == [[3, 2]]
    vanilla = np.asarray(PIL.Image.open(tmp_path / "vanilla.png")).astype(int)[..., 0]
    assert np.unravel_index(vanilla.argmax(), vanilla.shape) == (8, 7)


@pytest.mark.parametrize(("key", "kept"), [("2", {0, 2}), ("1", {0, 1}), ("all", {0, 1, 2}), ("0", {0, 1, 2})])
def test_a_part_shows_its_own_predicted_label_and_the_whole_tumour_all(key, kept):
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3
    part = {"key": key, "title": "part"}
    drawn = Drawn(case(sequences()), part, 4, labels, METHODS, "last", "flair", "HGG")
    assert set(np.unique(drawn.shown_labels)) == kept
    assert drawn.name("GCAM", "last", "flair") == f"head_last_{key}_flair_GCAM.png"
    assert drawn.title.startswith("head, HGG: part")


def test_figures_of_volumes_have_the_sequence_asked_for_below_their_maps(tmp_path, monkeypatch):
    image, asked = sequences(), []
    drawn = Drawn(case(image), {"key": "all", "title": "part"}, 4, np.ones(SHAPE, int), METHODS, "last", "t1", "HGG")
    assert (drawn.options()["channel"], drawn.options()["index"]) == ("t1", 4)
    monkeypatch.setattr(study_neuroxai_volumes, "write_panels", lambda *_, **where: asked.append(where) or [])
    study_neuroxai_volumes._panels(drawn, tmp_path)
    assert asked == [{"index": 4, "channel": "t1"}]


def test_a_flow_is_drawn_for_each_part_and_method_and_layer_by_layer_for_the_whole_tumour(tmp_path, monkeypatch):
    image, home = sequences(), tmp_path / "head"
    run = home / "run"
    found = maps(image)[0]
    write_nifti(run / "cases" / "head" / "image.nii.gz", image.values, image.grid)
    mask = np.zeros(SHAPE)
    mask[2:4, 3:6, 4:6] = 1  # 12 of 960 voxels
    write_nifti(run / "cases" / "head" / "mask.nii.gz", mask, image.grid, np.uint8)
    facts = {"id": "head", "channels": ["flair", "t1"], "prediction": {"class_names": ["background", "necrosis"]}}
    (run / "cases" / "head" / "case.json").write_text(json.dumps(facts))
    found.save(run / "maps" / "gradient.nii.gz")
    row = {
        "case": "head",
        "target": found.target,
        "method": "gradient",
        "map": "maps/gradient.nii.gz",
        "status": "done",
    }
    (run / "rows.jsonl").write_text(json.dumps(row) + "\n")
    write_nifti(home / "prediction.nii.gz", np.ones(SHAPE), image.grid, np.uint8)
    parts = [{"key": key, "title": key, "target": found.target, "voxels": 3} for key in ("1", "all")]
    flat = np.random.default_rng(0).random((1, 10, 12, 1)).astype(np.float32)
    layers = [layer(number, number * flat) for number in (1, 2, 3)]
    for part in parts:
        save_flow({"gcam": layers, "ggcam": layers}, home / "flow" / f"{part['key']}.safetensors")
    told = {
        "layers": ["conv3d_1", "conv3d_2", "conv3d_3"],
        "modality": "t1",
        "cases": [{"id": "head", "folder": "head", "slice": 4, "label": "HGG", "parts": parts}],
    }
    montages, drawn = [], study_neuroxai_flow.draw_flow
    monkeypatch.setattr(study_neuroxai_flow, "draw_flow", lambda *a, **o: montages.append((a[1], o)) or drawn(*a, **o))
    singles, single = [], study_neuroxai_flow.draw_single
    monkeypatch.setattr(
        study_neuroxai_flow, "draw_single", lambda *a, **o: singles.append((a[1], o)) or single(*a, **o)
    )
    chances, inside = [], study_neuroxai_flow._inside
    monkeypatch.setattr(study_neuroxai_flow, "_inside", lambda *a: chances.append(a[-1]) or inside(*a))
    names = {path.name for path in write_flow_figures(tmp_path, told, tmp_path / "out")}
    assert chances == [12 / 960]
    # Grey over an image would pass for tissue, so that montages of guided Grad-CAM have colours.
    assert [{one.colours for one in shown} for shown, _ in montages] == [{"jet"}, {None}] * 2
    assert {options["channel"] for _, options in (*montages, *singles)} == {"t1"}
    told = [(shown.name, options["layer"]) for shown, options in singles]
    assert told == [(name, f"conv3d_{n}") for name in ("Grad-CAM", "Guided Grad-CAM") for n in (1, 2, 3)]
    assert {options["class_names"] for _, options in singles} == {("background", "necrosis")}
    files = {f"head_flow_{key}_{method}.png" for key in ("1", "all") for method in ("GCAM", "GGCAM")}
    single = {f"head_conv3d_{n}_all_t1_{method}.png" for n in (1, 2, 3) for method in ("GCAM", "GGCAM")}
    assert names == files | single | {"head_flow__inside.png"}


def test_the_flows_shares_stand_beside_the_tumours_share_of_the_image(tmp_path):
    flat = np.ones((1, 10, 12, 1), np.float32)
    save_flow({name: [layer(1, flat)] for name in ("gcam", "ggcam")}, tmp_path / "flow" / "all.safetensors")
    told = {"id": "head", "parts": [{"key": "all", "title": "whole tumour"}]}
    figure = study_neuroxai_flow._inside(tmp_path, told, ["conv3d_1"], 0.1)
    for axes in figure.axes:
        shares, chance = axes.lines
        assert (shares.get_ydata().tolist(), set(chance.get_ydata())) == ([0.25], {0.1})
    assert "chance" in figure.axes[0].get_legend().get_texts()[1].get_text()


def test_nothing_is_drawn_of_a_half_that_was_left_out(tmp_path):
    assert write_figures(tmp_path) == []
