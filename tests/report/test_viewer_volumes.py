"""What the viewer shows: exact or in few bits, on the run's own grid, with facts that say so."""

import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from tests.report.made import LPS, RAS, attribution, blob, failed, picture, volume
from tests.report.seen import spot
from voxplain.data.image import Image
from voxplain.errors import FileError
from voxplain.report import viewer_volumes
from voxplain.report.contents import read_run
from voxplain.report.viewer_assets import index, without_layer
from voxplain.report.viewer_volumes import Shelf, display_grid
from voxplain.space.grid import Grid
from voxplain.types import Quantity


def shelf(run) -> Shelf:
    return Shelf(read_run(run.folder))


def exact(found) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(found.exact())


def few_bits(found) -> tuple[dict, np.ndarray]:
    facts, file = found.packed()
    return facts, nibabel.Nifti1Image.from_bytes(gzip.decompress(file)).get_fdata()


def test_every_channel_mask_and_map_has_a_key(run):
    grey = volume(shape=(6, 7, 8))
    image = Image.of(np.repeat(grey.values, 2, axis=0), grey.grid, channels=("T1", "FLAIR"), identifier="case a")
    run.case(image, mask=volume(shape=(6, 7, 8)))
    run.map(attribution(image), image)
    run.map(attribution(image), image, "gradient")
    assert list(shelf(run).places) == ["c0-i0", "c0-i1", "c0-mask", "c0-m0", "c0-m1"]


def segmented(run, said: dict, shape: tuple[int, int, int] = (6, 7, 8)) -> Shelf:
    image = volume(shape=(6, 7, 8))
    run.case(image, labels=volume(shape=shape), prediction={"kind": "segmentation", **said})
    run.map(attribution(image), image)
    return shelf(run)


def test_a_prediction_is_a_layer_with_the_names_of_its_classes(run):
    found = segmented(run, {"class_names": ["background", "oedema"], "scores": [9, 1, 1]})
    assert list(found.places) == ["c0-i0", "c0-prediction", "c0-m0"]
    assert index(found)["cases"][0]["prediction"] == "c0-prediction"
    assert found.volume("c0-prediction").facts["names"] == ["background", "oedema", "class 2"]


def test_label_0_of_overlapping_classes_is_none_of_them(run):
    found = segmented(run, {"class_names": ["oedema", "rim"], "scores": [9, 1], "overlapping": True})
    assert found.volume("c0-prediction").facts["names"] == ["no class", "oedema", "rim"]


@pytest.mark.parametrize(("said", "shape"), [({"scores": [9]}, (6, 7, 8)), ({"scores": [9, 1]}, (7, 7, 8))])
def test_a_prediction_of_one_number_or_on_another_grid_is_no_layer(run, said, shape):
    found = segmented(run, said, shape)
    assert list(found.places) == ["c0-i0", "c0-m0"]
    assert index(found)["cases"][0]["prediction"] == ""


def test_a_map_is_served_exactly_and_in_its_place(run):
    image = volume(LPS)
    values = blob(image.grid.shape, (5, 6, 4)) - 0.1
    run.case(image)
    run.map(attribution(image, values), image)
    file = exact(shelf(run).volume("c0-m0"))
    assert np.array_equal(file.get_fdata(), values)
    assert np.allclose(file.affine, image.grid.affine)


def test_few_bits_say_how_coarse_they_are(run):
    image = volume()
    values = blob(image.grid.shape, (5, 6, 4)) - 0.1
    run.case(image)
    run.map(attribution(image, values), image)
    facts, seen = few_bits(shelf(run).volume("c0-m0"))
    assert facts["step"] == pytest.approx(0.9 / 127)
    assert np.abs(seen - values).max() <= facts["step"] / 2 * (1 + 1e-5)  # a header states the step in float32
    assert facts["raw"] == pytest.approx([-0.1, 0.9])


@pytest.mark.parametrize(("peak", "sign"), [(100, 1), (100, -1), (1e7, 1)])
def test_a_map_with_a_far_peak_keeps_its_weak_values_apart(run, peak, sign):
    image = volume()
    values = blob(image.grid.shape, (5, 6, 4))
    values[1, 1, 1] = sign * peak
    run.case(image)
    run.map(attribution(image, values), image)
    facts, seen = few_bits(shelf(run).volume("c0-m0"))
    limit = facts["limit"]
    assert limit < 2  # one voxel in a thousand does not decide the colours
    assert facts["step"] < limit / 60
    weak = np.abs(values) < 2
    assert np.abs(seen - values)[weak].max() <= facts["step"] / 2 * (1 + 1e-5)
    assert seen[1, 1, 1] == pytest.approx(sign * min(peak, 500 * limit), abs=facts["step"])  # and cut beyond
    assert facts["raw"][sign > 0] == pytest.approx(sign * peak)


def test_an_image_of_whole_grey_levels_stays_exact(run):
    image = picture()
    image = image.with_values(np.rint(image.values))
    run.case(image)
    facts, seen = few_bits(shelf(run).volume("c0-i0"))
    assert facts["step"] == 0
    assert facts["cut"] is None
    assert np.array_equal(seen[..., None] if seen.ndim == 2 else seen, image.values[0])


def test_an_image_is_cut_at_its_window(run):
    image = volume()
    run.case(image)
    facts, seen = few_bits(shelf(run).volume("c0-i0"))
    assert facts["cut"] == [facts["low"], facts["high"]]
    assert seen.min() == pytest.approx(facts["low"], rel=1e-6)
    assert facts["raw"] == [0, 100]


def test_the_labels_of_a_mask_are_kept(run):
    image = volume()
    labels = np.zeros(image.grid.shape, np.float32)
    labels[2:5, 3, 4], labels[9, 9, 9] = 1, 300
    run.case(image, mask=image.with_values(labels[None]))
    facts, seen = few_bits(shelf(run).volume("c0-mask"))
    assert facts["labels"] == [1, 300]
    assert np.array_equal(seen, labels)


def test_a_mask_on_another_grid_is_not_shown(run):
    run.case(volume(), mask=volume(shape=(5, 5, 5)))
    assert list(shelf(run).places) == ["c0-i0"]


def test_a_map_on_another_grid_is_refused_in_words(run):
    image = volume()
    run.case(image)
    run.map(attribution(volume(shape=(5, 5, 5))), image)
    with pytest.raises(FileError, match="does not lie on the image's grid"):
        shelf(run).volume("c0-m0")


def test_a_broken_map_is_refused_in_words(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image).write_bytes(b"not a map")
    with pytest.raises(FileError, match="NIfTI"):
        shelf(run).volume("c0-m0")


def test_maps_without_their_image_lie_on_black(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image)
    (run.folder / "cases/c1/image.nii.gz").unlink()
    found = shelf(run)
    assert index(found)["cases"][0]["images"] == [{"key": "c0-i0", "channel": "image is missing"}]
    assert not exact(found.volume("c0-i0")).get_fdata().any()
    assert exact(found.volume("c0-m0")).get_fdata().max() > 0


def test_values_that_are_no_numbers_are_counted(run):
    image = volume()
    values = blob(image.grid.shape, (5, 6, 4))
    values[0, 0, 0], values[0, 0, 1] = np.nan, np.inf
    run.case(image)
    run.map(attribution(image, values), image)
    found = shelf(run).volume("c0-m0")
    assert found.facts["lost"] == 2
    assert exact(found).get_fdata()[0, 0, :2].tolist() == [0, 0]


@pytest.mark.parametrize(("values", "quantity", "words"), [
    (0.0, Quantity.RELEVANCE, "constant"), (-1.0, Quantity.SALIENCY, "constant"),
])  # fmt: skip
def test_a_map_without_contrast_says_why_it_is_not_drawn(run, values, quantity, words):
    image = volume()
    run.case(image)
    run.map(attribution(image, np.full(image.grid.shape, values), quantity), image)
    assert words in shelf(run).volume("c0-m0").facts["blank"]


def test_the_facts_of_a_map_say_what_failed_and_where_it_is_strongest(run):
    image = volume()
    run.case(image)
    run.map(attribution(image, blob(image.grid.shape, (5, 6, 4)), certificate=failed(), notes=("odd",)), image)
    facts = shelf(run).volume("c0-m0").facts
    assert facts["failures"] == ["completeness: the sum misses the score by 40 %"]
    assert facts["checks"] == 2
    assert facts["peak"] == [10, 12, 12]  # voxel (5, 6, 4) times 2, 2 and 3 mm
    assert facts["notes"] == ["odd"]
    assert facts["signed"]


def test_a_picture_without_geometry_lies_as_it_is_stored(run):
    image = picture()
    image = replace(image, grid=Grid(image.grid.shape, np.diag([3.0, 1, 1, 1]), "px"))
    grid = display_grid(image.grid)
    # In radiological convention patient left and posterior are right and down.
    assert grid.orientation == "LPS"
    assert grid.spacing == (1, 1, 1)


@pytest.mark.parametrize(("order", "plane"), [((0, 1, 2), "axial"), ((0, 2, 1), "coronal"), ((1, 2, 0), "sagittal")])
def test_a_single_slice_is_shown_in_its_own_plane(run, order, plane):
    grid = Grid((9, 8, 7), RAS).permuted(order).window((0, 0, 0), (6, 5, 1))
    image = volume(grid.affine, grid.shape).with_values(np.random.default_rng(0).random(grid.shape)[None])
    run.case(image)
    facts = shelf(run).volume("c0-i0").facts
    assert facts["plane"] == plane
    assert facts["oriented"]


def test_voxels_and_world_are_carried_into_each_other(run):
    run.case(volume(LPS))
    facts = shelf(run).volume("c0-i0").facts
    whole = np.vstack([facts["to_world"], [0, 0, 0, 1]])
    assert np.allclose(np.array(facts["to_voxels"]) @ whole, np.eye(4)[:3])
    assert facts["axes"] == ((0, -1), (1, -1), (2, 1))
    assert np.allclose(facts["centre"], whole[:3] @ [10, 12, 8, 1])


def test_a_picture_too_large_for_a_graphics_card_is_shown_in_blocks(run, monkeypatch):
    monkeypatch.setattr(viewer_volumes, "LARGEST_SIDE", 20)
    image = picture(41, 30)
    values = spot(image, (33, 7, 0), -5) + spot(image, (32, 6, 0), 2)
    run.case(image)
    run.map(attribution(image, values), image)
    found = shelf(run)
    grey, seen = found.volume("c0-i0"), found.volume("c0-m0")
    assert grey.facts["blocks"] == [3, 2, 1]
    assert grey.values.shape == (14, 15, 1)
    assert np.allclose(grey.values[0, 0], image.values[0, :3, :2].mean())
    # The strongest of a block stands for it, with its sign; and blocks lie where their voxels lay.
    assert seen.values[11, 3, 0] == -5
    assert np.abs(seen.values).sum() == 5 + 2 * (32 // 3 != 33 // 3)
    assert np.allclose(grey.grid.world((11, 3, 0)), display_grid(image.grid).world((34, 6.5, 0)))


def test_maps_of_many_layers_are_one_method():
    assert without_layer("grad_cam(layer='conv1')", "conv1") == "grad_cam"
    assert without_layer("guided_grad_cam(layer='conv1', signed=True)", "conv1") == "guided_grad_cam(signed=True)"
    assert without_layer("cam(signed=True, layer='a.b')", "a.b") == "cam(signed=True)"
    assert without_layer("grad_cam(layer='conv1')", "conv2") == "grad_cam(layer='conv1')"
    assert without_layer("gradient", "") == "gradient"


def test_the_index_offers_maps_with_their_problems_and_leaves_out_refused_methods(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image, layer="conv1")
    run.row(case="case a", method="lime", target="class_score(1)", status="refused", error="no", map=None)
    run.row(case="case a", method="lrp", target="class_score(1)", status="failed", error="broke", map=None)
    maps = index(shelf(run))["cases"][0]["maps"]
    assert [(one["key"], one["problem"], one["layer"]) for one in maps] == [("c0-m0", "", "conv1"), ("", "broke", "")]


def test_palettes_are_two_sided_where_maps_are_signed(run):
    run.case(volume())
    palettes = index(shelf(run))["palettes"]
    assert all(("negative" in one) == one["signed"] for one in palettes.values())
    warm, cold = palettes["diverging"]["positive"][-1], palettes["diverging"]["negative"][-1]
    assert warm[0] > warm[2]
    assert cold[2] > cold[0]
