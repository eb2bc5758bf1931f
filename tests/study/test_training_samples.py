"""From cases to tensors: prepared, of one size, masked where asked, and their truth as the task needs it."""

from dataclasses import replace

import numpy as np
import pytest

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError
from voxplain.phantoms.base import label_picture, picture
from voxplain.space.grid import Grid
from voxplain.study import training_samples
from voxplain.study.training_samples import material
from voxplain.training.recipe import Recipe

CLASSIFY = Recipe(task="classification", network="small_cnn_2d", prepare=Prepare(scale=1 / 255))
SEGMENT = Recipe(task="segmentation", network="small_unet", loss="dice")
MEASURE = Recipe(task="regression", network="pumpkin_net", loss="squared", target_scale=0.001)


def case(name, label="a", shape=(4, 6), mask=None, group=None):
    pixels = np.random.default_rng(len(name) + ord(name[-1])).random(shape)
    drawn = None if mask is None else label_picture(np.asarray(mask), name)
    return Case(name, picture(pixels, name), drawn, label=label, group=group)


def volume(name, brightest):
    values = np.random.default_rng(3).random((2, 5, 6, 7)).astype(np.float32)
    mask = np.zeros((5, 6, 7))
    mask[1:3, 2:4, 1:6] = 1
    mask[0:4, 1:5, brightest] = 2
    grid = Grid((5, 6, 7), np.diag([-1.0, -1.0, 1.0, 1.0]))
    image = Image.of(values, grid, channels=("flair", "t1"), identifier=name)
    return Case(name, image, Image.of(mask, grid, channels=("mask",), unit="label"), label="a")


def test_inputs_are_rows_by_columns_and_classes_are_sorted(tmp_path):
    cases = [case("one", "b"), case("two", "a", group="p")]
    stuff = material(cases, CLASSIFY, tmp_path)
    assert stuff.samples.inputs.shape == (2, 1, 4, 6)
    assert np.allclose(stuff.samples.inputs[0, 0], cases[0].image.values[0, :, :, 0].T / 255)
    assert (stuff.classes, stuff.samples.truth.tolist()) == (("a", "b"), [1, 0])
    assert (stuff.names, stuff.groups, stuff.rank) == (("one", "two"), (None, "p"), 2)


def test_the_recipe_s_order_of_classes_holds(tmp_path):
    recipe = replace(CLASSIFY, classes=("healthy", "affected"))
    stuff = material([case("one", "affected"), case("two", "healthy")], recipe, tmp_path)
    assert stuff.samples.truth.tolist() == [1, 0]
    with pytest.raises(InputError, match="labels must be of the classes healthy, affected, got sick"):
        material([case("one", "sick"), case("two", "healthy")], recipe, tmp_path)


def test_inputs_are_multiplied_by_their_mask(tmp_path):
    mask = np.zeros((4, 6), int)
    mask[1:3, 2:5] = 2
    cases = [case("one", "a", mask=mask), case("two", "b", mask=mask)]
    plain, masked = (
        material(cases, replace(CLASSIFY, prepare=replace(CLASSIFY.prepare, masked=on)), tmp_path).samples.inputs
        for on in (False, True)
    )
    assert np.array_equal(masked, plain * (mask > 0))


def test_numbers_are_scaled_and_must_be_numbers(tmp_path):
    stuff = material([case("one", "1500"), case("two", "2500")], MEASURE, tmp_path)
    assert stuff.samples.truth.tolist() == [1.5, 2.5]
    assert stuff.classes == ()
    with pytest.raises(InputError, match="label of 'two' must be a number, got 'old'"):
        material([case("one", "1"), case("two", "old")], MEASURE, tmp_path)
    with pytest.raises(InputError, match="needs labels that differ"):
        material([case("one", "1"), case("two", "1")], MEASURE, tmp_path)


def test_labels_of_masks_are_the_truth_of_a_segmentation(tmp_path):
    mask = np.zeros((4, 6), int)
    mask[1:3, 2:5] = 2
    cases = [case("one", None, mask=mask), case("two", None, mask=mask * 0)]
    stuff = material(cases, SEGMENT, tmp_path)
    assert np.array_equal(stuff.samples.truth[0], mask)
    assert stuff.classes == ("background", "label 1", "label 2")
    named = material(cases, replace(SEGMENT, classes=("core", "rim")), tmp_path)
    assert named.classes == ("background", "core", "rim")
    with pytest.raises(InputError, match="mask of 'one' must have labels up to 1, got 2"):
        material(cases, replace(SEGMENT, classes=("core",)), tmp_path)


def test_mixed_sizes_and_channels_are_told_before_any_voxel_is_read(tmp_path):
    def unread():
        raise AssertionError("a voxel was read")

    cases = [case("one"), case("two", shape=(5, 6)), case("three")]
    cases = [replace(one, image=replace(one.image, read=unread)) for one in cases]
    sentence = r"got 1 x 4 x 6 \(2: one, three\); 1 x 5 x 6 \(1: two\); set prepare.size or prepare.crop_pad"
    with pytest.raises(InputError, match=sentence):
        material(cases, CLASSIFY, tmp_path)
    colour = replace(case("rgb").image, channels=("red", "green", "blue"), read=unread)
    with pytest.raises(InputError, match="3 x 4 x 6"):
        material([cases[0], Case("rgb", colour, label="b")], CLASSIFY, tmp_path)


def test_one_size_is_made_of_several_by_the_preparation(tmp_path):
    recipe = replace(CLASSIFY, prepare=Prepare(crop_pad=(8, 8)))
    stuff = material([case("one"), case("two", "b", shape=(5, 6))], recipe, tmp_path)
    assert stuff.samples.inputs.shape == (2, 1, 8, 8)


def test_one_class_alone_is_nothing_to_learn(tmp_path):
    with pytest.raises(InputError, match="needs cases of at least two classes, got only a"):
        material([case("one"), case("two")], CLASSIFY, tmp_path)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_the_slice_with_most_of_the_mask_is_taken_from_a_volume(tmp_path, position):
    cases = [volume("one", position), replace(volume("two", position), label="b")]
    recipe = Recipe(task="classification", network="small_cnn_2d", slice="largest", prepare=Prepare(channels=("t1",)))
    stuff = material(cases, recipe, tmp_path)
    values = cases[0].image.values
    assert stuff.rank == 2
    assert np.allclose(np.sort(stuff.samples.inputs[0].ravel()), np.sort(values[1, :, :, position].ravel()))


def test_the_slice_is_axial_however_the_volume_lies_in_its_file(tmp_path):
    upright = volume("one", 3)
    turned = np.eye(4)[:, [2, 0, 1, 3]]
    grid = Grid((7, 5, 6), upright.image.grid.affine @ turned)
    image = Image.of(upright.image.values.transpose(0, 3, 1, 2), grid, channels=("flair", "t1"), identifier="two")
    mask = Image.of(upright.mask.values.transpose(0, 3, 1, 2), grid, channels=("mask",), unit="label")
    recipe = Recipe(task="classification", network="small_cnn_2d", slice="largest")
    stuff = material([upright, Case("two", image, mask, label="b")], recipe, tmp_path)
    assert np.array_equal(stuff.samples.inputs[0], stuff.samples.inputs[1])


def test_large_sets_lie_in_a_file_and_have_the_same_hash(tmp_path, monkeypatch):
    cases = [case("one", "a"), case("two", "b")]
    kept = material(cases, CLASSIFY, tmp_path)
    monkeypatch.setattr(training_samples, "SHARE_OF_MEMORY", 0.0)
    filed = material(cases, CLASSIFY, tmp_path)
    assert isinstance(filed.samples.inputs, np.memmap)
    assert np.array_equal(kept.samples.inputs, filed.samples.inputs)
    assert kept.digest == filed.digest
    assert material([cases[0], case("two", "a"), case("thr", "b")], CLASSIFY, tmp_path).digest != kept.digest


def test_voxels_are_not_kept_beside_the_samples(tmp_path):
    cases = [case("one", "a"), case("two", "b")]
    material(cases, CLASSIFY, tmp_path)
    assert "values" not in vars(cases[0].image)


def test_voxels_that_are_no_numbers_are_told(tmp_path):
    broken = case("one").image.with_values(np.full((1, 6, 4, 1), np.nan))
    with pytest.raises(InputError, match="'one' must hold finite voxels"):
        material([Case("one", broken, label="a"), case("two", "b")], CLASSIFY, tmp_path)
